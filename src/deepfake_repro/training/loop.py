"""The training loop that all methods share: it may be cut off after any step and on any machine.

Whatever is random is a function of (seed, step) or (seed, epoch, item), so a checkpoint needs no
generator's state: step, weights, optimiser and what has been recorded are enough to end with the
same bits. On several devices each holds a part of every batch; embeddings are gathered before a
loss is computed, so that the loss is the batch's own.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from ..project.files import replacing
from .devices import gathered, shown
from .loading import Batch, seed_of, set_epoch

Terms = dict[str, torch.Tensor]


class Sums:
    """Means over samples of per-batch means."""

    def __init__(self, count: int = 0, sums: dict[str, float] | None = None) -> None:
        self.count, self.sums = count, sums or {}

    def add(self, terms: dict[str, float] | Terms, samples: int) -> None:
        """Add the terms of a batch of ``samples`` crops."""
        self.count += samples
        for key, value in terms.items():
            plain = value.item() if isinstance(value, torch.Tensor) else value
            self.sums[key] = self.sums.get(key, 0.0) + plain * samples

    def means(self) -> dict[str, float]:
        """Mean of each term over all crops added."""
        return {key: value / max(self.count, 1) for key, value in self.sums.items()}

    def over_devices(self, fabric: Fabric) -> Sums:
        """The sums of all devices together; a device may have added nothing."""
        everyone: list[tuple[int, dict[str, float]]] = [(self.count, self.sums)]
        if fabric.world_size > 1:
            everyone = [None] * fabric.world_size
            torch.distributed.all_gather_object(everyone, (self.count, self.sums))
        total = Sums()
        for count, sums in everyone:
            total.count += count
            total.sums |= {key: total.sums.get(key, 0.0) + value for key, value in sums.items()}
        return total


def read(
    terms: Terms, items: Callable[[], torch.Tensor], rows: str, block: str
) -> dict[str, float]:
    """The values of scalar ``terms``; the first is the loss. One transfer, for each makes the GPU wait.

    Raises ``ValueError`` naming the batch's ``items()`` (rows of the table ``rows``) if the loss is
    not finite.
    """
    values = dict(
        zip(
            terms,
            torch.stack([term.detach().float() for term in terms.values()]).tolist(),
            strict=True,
        )
    )
    loss = next(iter(values.values()))
    if not abs(loss) < float("inf"):
        raise ValueError(
            f"loss is {loss} on the batch of crops {items().tolist()} (rows of the {rows}): "
            f"lower {block}.learning_rate or look at these crops"
        )
    return values


class Stopwatch:
    """Crops a second of the training steps, and the share of their time in which the loop waited for the loader.

    Every step ends by reading the loss (``read``), and so leaves at most the work of its backward
    pass and update on the device's queue while it waits: on a GPU the share is an upper bound of
    the idle time for lack of crops.
    """

    def __init__(self, crops: int = 0, seconds: float = 0.0, waiting: float = 0.0) -> None:
        self.crops, self.seconds, self.waiting = crops, seconds, waiting

    def timed(self, loader: Iterable[Batch], whole: Callable[[Batch], int]) -> Iterator[Batch]:
        """The batches of ``loader``; ``whole`` counts the crops of a batch on all devices."""
        batches, last = iter(loader), time.perf_counter()
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.waiting += time.perf_counter() - asked
            if batch is None:
                return
            yield batch
            now = time.perf_counter()
            self.crops, self.seconds, last = (
                self.crops + whole(batch),
                self.seconds + now - last,
                now,
            )

    def summary(self) -> dict[str, float]:
        """``crops_per_second``, ``waiting_share`` and ``training_seconds``, over all steps that count."""
        seconds = max(self.seconds, 1e-9)
        return {
            "crops_per_second": round(self.crops / seconds, 1),
            "waiting_share": round(self.waiting / seconds, 3),
            "training_seconds": round(self.seconds, 1),
        }


class Clock(Protocol):
    """What sets the learning rates: one of timm's schedulers, or ``Rate``."""

    def step_update(self, step: int) -> None:
        """Set the rates of step 0, 1, …; called before it."""


class Rate:
    """A learning rate that is any function of the step, times each group's ``lr_scale``."""

    def __init__(self, optimizer: torch.optim.Optimizer, of_step: Callable[[int], float]) -> None:
        self.optimizer, self.of_step = optimizer, of_step

    def step_update(self, step: int) -> None:
        """See ``Clock``."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.of_step(step) * group.get("lr_scale", 1.0)


class Best:
    """The epoch (1, 2, …) of the highest value so far, the first of equals, and a copy of its weights."""

    def __init__(self) -> None:
        self.value, self.epoch, self.weights = -float("inf"), 0, {}

    def offer(self, value: float, epoch: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Take this epoch if it is better than all before."""
        if value > self.value:
            copies = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
            self.value, self.epoch, self.weights = value, epoch, copies

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        vars(self).update(state)


@dataclass(frozen=True)
class Fit:
    """Outcome of ``fit``: one row per epoch, the weights of the epoch with the lowest validation loss, and at what
    speed (``Stopwatch``); ``triplet_weight`` is the one that ``train.balance`` found, or the variant's.
    """

    history: pd.DataFrame
    best_epoch: int
    best_state: dict[str, torch.Tensor]
    triplet_weight: float = 0.0
    speed: dict[str, float] = field(default_factory=dict)


class Loop(ABC):
    """Steps and epochs of a training whose every step can be its last.

    A subclass says what a batch costs (``terms``) and what an epoch's row of the history is
    (``finish_epoch``). It adds to ``parts`` all that has a ``state_dict``, and extends ``state``
    and ``restore`` by what else it must remember. ``block`` is its part of ``params.yaml``,
    ``size`` the key there that counts a batch, ``rows`` the table of crops.
    """

    block, size, rows = "train", "batch_size", "sample"

    def __init__(
        self,
        loader: DataLoader,
        optimizer: torch.optim.Optimizer,
        clock: Clock,
        recipe: Any,
        *,
        seed: int,
        scratch: Path,
        fabric: Fabric,
        report: Callable[[str], None],
    ) -> None:
        self.loader, self.optimizer, self.clock, self.recipe = loader, optimizer, clock, recipe
        self.seed, self.file, self.fabric = seed, scratch / "last.pt", fabric
        self.report = report if fabric.is_global_zero else lambda line: None
        self.step, self.sums, self.history, self.watch = 0, Sums(), [], Stopwatch()
        self.parts: dict[str, Any] = {"optimizer": optimizer}

    @abstractmethod
    def terms(self, batch: Batch) -> Terms:
        """Scalar terms of one batch, the loss first, over the whole batch of all devices."""

    @abstractmethod
    def finish_epoch(self, means: dict[str, float], what: str) -> dict[str, float]:
        """The row of the history, from the means over the epoch's steps."""

    def update(self) -> None:
        """Move the weights along the gradients."""
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """All that the rest of the run depends on, of plain values and tensors."""
        return {
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "step": self.step,
            "history": self.history,
            "sums": vars(self.sums),
            "watch": vars(self.watch),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Become what ``state`` says."""
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        self.step, self.history = state["step"], state["history"]
        self.sums, self.watch = Sums(**state["sums"]), Stopwatch(**state["watch"])

    def run(self) -> pd.DataFrame:
        """Train to the end, from the last checkpoint where there is one; the history, a row per epoch."""
        epochs, steps = self.recipe.epochs, len(self.loader)
        if self.file.is_file():
            self.restore(torch.load(self.file, map_location="cpu", weights_only=True))
            self.report(
                f"resumed after step {self.step}/{epochs * steps} from {self.file.parent.name}"
            )
        while self.step < epochs * steps:
            epoch, start = divmod(self.step, steps)
            what = f"epoch {epoch + 1}/{epochs}"
            self._steps(epoch, start, what)
            row = {"epoch": epoch + 1, **self.finish_epoch(self.sums.means(), what)}
            self.history, self.sums = [*self.history, row], Sums()
            self.save()
            self.report(
                f"{what}: "
                + ", ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "epoch")
            )
        return pd.DataFrame(self.history)

    def _steps(self, epoch: int, start: int, what: str) -> None:
        set_epoch(self.loader, epoch, start)
        batches = self.watch.timed(
            self.loader, lambda batch: len(batch[0]) * self.fabric.world_size
        )
        for batch in shown(batches, f"{what} {self.block}", len(self.loader) - start, self.fabric):
            self._step(batch)
            if self.step % self.recipe.checkpoint_steps == 0 and self.step % len(self.loader):
                self.save()

    def _step(self, batch: Batch) -> None:
        try:
            values = self._learn(batch)
        except torch.OutOfMemoryError:
            values = None  # only when this handler is left is the memory of the failed step free
        if values is None:
            raise ValueError(self._what_fits(batch))
        self.sums.add(values, len(batch[0]) * self.fabric.world_size)
        self.step += 1

    def _learn(self, batch: Batch) -> dict[str, float]:
        self.clock.step_update(self.step)
        torch.manual_seed(seed_of(self.seed, self.step, self.fabric.global_rank))  # drop path
        terms = self.terms(batch)
        values = read(
            terms,
            lambda: gathered(self.fabric.to_device(batch[-1]), self.fabric),
            self.rows,
            self.block,
        )
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(next(iter(terms.values())))
        self.update()
        return values

    def _what_fits(self, batch: Batch) -> str:
        """Try smaller batches; only one device can, for on several the others wait."""
        size = fits = len(batch[0])
        told = f"a batch of {size} crops does not fit into the memory of {self.fabric.device}: "
        if self.fabric.world_size > 1:
            return (
                told + f"set {self.block}.{self.size} to half of it or less, or take more devices"
            )
        while fits := fits // 2:
            try:
                self._learn([part[:fits] for part in batch])
            except torch.OutOfMemoryError:
                continue
            break
        return told + (
            f"{fits} would fit, set {self.block}.{self.size}" if fits else "not even one does"
        )

    def save(self) -> None:
        """Write the checkpoint, whole or not at all; device 0 does."""
        if self.fabric.is_global_zero:
            with replacing(self.file) as temporary, temporary.open("wb") as file:
                torch.save(self.state(), file)
        self.fabric.barrier()
