"""The training loop that all methods share; a run can stop after any step and resume elsewhere.

Everything random is a function of (seed, step) or (seed, epoch, item), so a checkpoint needs no
generator's state: step, weights, optimizer and what has been recorded are enough to end with the
same bits. With several devices each has a part of every batch; embeddings are gathered before a
loss is computed, so the loss is that of the whole batch.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from ..project.files import replacing
from .devices import gather_across_devices, with_progress
from .loading import Batch, derive_seed, set_epoch
from .schedules import Schedule

Terms = dict[str, torch.Tensor]
"""Scalars of a batch by name: the loss under ``LOSS``, and what else the history records."""
LOSS = "total"
"""The term that is minimised; every method's terms contain it."""


class Sums:
    """Sums of per-batch means, weighted by the number of samples."""

    def __init__(self, count: int = 0, sums: dict[str, float] | None = None) -> None:
        self.count = count
        self.sums = sums or {}

    def add(self, terms: dict[str, float] | Terms, samples: int) -> None:
        """Add the terms of a batch of ``samples`` crops."""
        self.count += samples
        for key, value in terms.items():
            plain = value.item() if isinstance(value, torch.Tensor) else value
            self.sums[key] = self.sums.get(key, 0.0) + plain * samples

    def means(self) -> dict[str, float]:
        """Average each term over all crops added."""
        return {key: value / max(self.count, 1) for key, value in self.sums.items()}

    def over_devices(self, fabric: Fabric) -> Sums:
        """Add up the sums of all devices; a device may have added nothing."""
        parts = [(self.count, self.sums)]
        if fabric.world_size > 1:
            parts = parts * fabric.world_size
            torch.distributed.all_gather_object(parts, (self.count, self.sums))
        total = Sums()
        for count, sums in parts:
            total.count += count
            total.sums |= {key: total.sums.get(key, 0.0) + value for key, value in sums.items()}
        return total


def read_terms(terms: Terms) -> dict[str, float]:
    """Read the values of scalar ``terms`` in one transfer, because the GPU waits for each."""
    scalars = torch.stack([term.detach().float() for term in terms.values()])
    return dict(zip(terms, scalars.tolist(), strict=True))


def not_finite(loss: float, items: torch.Tensor, rows: str, block: str) -> ValueError:
    """Make the error that names the crops of a batch without a finite loss.

    ``items``: their rows in the table ``rows``; ``block``: the block of ``params.yaml``.
    """
    return ValueError(
        f"loss is {loss} on the batch of crops {items.tolist()} (rows of the {rows}): "
        f"lower {block}.learning_rate or look at these crops"
    )


class Stopwatch:
    """Crops per second of the training steps, and the share of time spent waiting for the loader.

    Every step ends by reading the loss (``read_terms``), so while the loop waits for the loader the
    device has at most the backward pass and update of one step to do: on a GPU the share is an
    upper bound of the time it idles for lack of crops.
    """

    def __init__(self, crops: int = 0, seconds: float = 0.0, waiting: float = 0.0) -> None:
        self.crops = crops
        self.seconds = seconds
        self.waiting = waiting

    def timed(self, loader: Iterable[Batch], count: Callable[[Batch], int]) -> Iterator[Batch]:
        """Yield the batches of ``loader``; ``count`` counts a batch's crops on all devices."""
        batches = iter(loader)
        last = time.perf_counter()
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.waiting += time.perf_counter() - asked
            if batch is None:
                return
            yield batch
            now = time.perf_counter()
            self.crops += count(batch)
            self.seconds += now - last
            last = now

    def summary(self) -> dict[str, float]:
        """Return ``crops_per_second``, ``waiting_share`` and ``training_seconds`` of all steps."""
        seconds = max(self.seconds, 1e-9)
        return {
            "crops_per_second": round(self.crops / seconds, 1),
            "waiting_share": round(self.waiting / seconds, 3),
            "training_seconds": round(self.seconds, 1),
        }


class BestEpoch:
    """The epoch (1, 2, …) of the highest value so far, the first of equals, with its weights."""

    def __init__(self) -> None:
        self.value = -math.inf
        self.epoch = 0
        self.weights: dict[str, torch.Tensor] = {}

    def offer(self, value: float, epoch: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep a copy of this epoch's ``weights`` if its value is higher than all before."""
        if value > self.value:
            self.value = value
            self.epoch = epoch
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what the checkpoint keeps."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        vars(self).update(state)


@dataclass(frozen=True)
class TrainingResult:
    """Outcome of a training: one row of ``history`` per epoch, and the ``Stopwatch``'s summary."""

    history: pd.DataFrame
    speed: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SelectedResult(TrainingResult):
    """Outcome of a training that keeps its best epoch in validation, with that epoch's weights.

    ``triplet_weight``: the weight that ``train.balance`` set, or the variant's.
    """

    best_epoch: int = 0
    best_state: dict[str, torch.Tensor] = field(default_factory=dict)
    triplet_weight: float = 0.0


class Loop(ABC):
    """Steps and epochs of a training that can be resumed after any step.

    A subclass computes the terms of a batch (``terms``) and an epoch's row of the history
    (``finish_epoch``). It adds to ``parts`` everything that has a ``state_dict``, and extends
    ``state`` and ``restore`` by anything else to remember. ``block`` is its block of
    ``params.yaml``, ``size`` the key there that counts a batch, ``rows`` the table of crops.
    """

    block = "train"
    size = "batch_size"
    rows = "sample"

    def __init__(
        self,
        loader: DataLoader,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        recipe: Any,
        *,
        seed: int,
        scratch: Path,
        fabric: Fabric,
        report: Callable[[str], None],
    ) -> None:
        self.loader = loader
        self.optimizer = optimizer
        self.schedule = schedule
        self.recipe = recipe
        self.seed = seed
        self.checkpoint = scratch / "last.pt"
        self.fabric = fabric
        self.report = report if fabric.is_global_zero else lambda line: None
        self.step = 0
        self.sums = Sums()
        self.history: list[dict[str, float]] = []
        self.watch = Stopwatch()
        self.parts: dict[str, Any] = {"optimizer": optimizer}

    @abstractmethod
    def terms(self, batch: Batch) -> Terms:
        """Compute the terms of one batch, over the parts of all devices; ``LOSS`` is minimised."""

    @abstractmethod
    def finish_epoch(self, means: dict[str, float], caption: str) -> dict[str, float]:
        """Make the row of the history from the means of the terms over the epoch's steps."""

    def update(self) -> None:
        """Move the weights along the gradients."""
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on, as plain values and tensors."""
        return {
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "step": self.step,
            "history": self.history,
            "sums": vars(self.sums),
            "watch": vars(self.watch),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what ``state`` returned."""
        for name, part in self.parts.items():
            part.load_state_dict(state["parts"][name])
        self.step = state["step"]
        self.history = state["history"]
        self.sums = Sums(**state["sums"])
        self.watch = Stopwatch(**state["watch"])

    def run(self) -> pd.DataFrame:
        """Train to the end, from the last checkpoint if there is one; return one row per epoch."""
        epochs = self.recipe.epochs
        steps = len(self.loader)
        if self.checkpoint.is_file():
            self.restore(torch.load(self.checkpoint, map_location="cpu", weights_only=True))
            folder = self.checkpoint.parent.name
            self.report(f"resumed after step {self.step}/{epochs * steps} from {folder}")
        while self.step < epochs * steps:
            epoch, start = divmod(self.step, steps)
            caption = f"epoch {epoch + 1}/{epochs}"
            self._run_epoch(epoch, start, caption)
            values = self.finish_epoch(self.sums.means(), caption)
            self.history = [*self.history, {"epoch": epoch + 1, **values}]
            self.sums = Sums()
            self.save()
            listing = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
            self.report(f"{caption}: {listing}")
        return pd.DataFrame(self.history)

    def _run_epoch(self, epoch: int, start: int, caption: str) -> None:
        set_epoch(self.loader, epoch, start)
        batches = self.watch.timed(self.loader, self._count)
        steps = len(self.loader)
        for batch in with_progress(batches, f"{caption} {self.block}", steps - start, self.fabric):
            self._run_step(batch)
            if self.step % self.recipe.checkpoint_steps == 0 and self.step % steps:
                self.save()

    def _run_step(self, batch: Batch) -> None:
        try:
            values = self._learn(batch)
        except torch.OutOfMemoryError:
            values = None  # the memory of the failed step is free only outside this handler
        if values is None:
            raise ValueError(self._out_of_memory(batch))
        self.sums.add(values, self._count(batch))
        self.step += 1

    def _count(self, batch: Batch) -> int:
        """Count the crops of a batch on all devices."""
        return len(batch[0]) * self.fabric.world_size

    def _learn(self, batch: Batch) -> dict[str, float]:
        self.schedule.step_update(self.step)
        # For drop path.
        torch.manual_seed(derive_seed(self.seed, self.step, self.fabric.global_rank))
        terms = self.terms(batch)
        values = read_terms(terms)
        if not math.isfinite(values[LOSS]):
            items = gather_across_devices(self.fabric.to_device(batch[-1]), self.fabric)
            raise not_finite(values[LOSS], items, self.rows, self.block)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(terms[LOSS])
        self.update()
        return values

    def _out_of_memory(self, batch: Batch) -> str:
        """Say how large a batch fits, by trying smaller ones.

        Only a single device can try; on several, the others wait for this one.
        """
        size = len(batch[0])
        key = f"{self.block}.{self.size}"
        problem = f"a batch of {size} crops does not fit into the memory of {self.fabric.device}"
        if self.fabric.world_size > 1:
            return f"{problem}: set {key} to half of it or less, or use more devices"
        smaller = size // 2
        while smaller:
            try:
                self._learn([part[:smaller] for part in batch])
            except torch.OutOfMemoryError:
                smaller //= 2
                continue
            return f"{problem}: {smaller} would fit, set {key}"
        return f"{problem}: not even one does"

    def save(self) -> None:
        """Write the checkpoint atomically, on device 0."""
        if self.fabric.is_global_zero:
            with replacing(self.checkpoint) as temporary, temporary.open("wb") as file:
                torch.save(self.state(), file)
        self.fabric.barrier()
