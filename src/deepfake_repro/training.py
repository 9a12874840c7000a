"""The recipe of Section 4.3: AdamW, layer-wise learning-rate decay, linear warm-up, cosine, lowest validation loss.

``fit`` sees training and validation crops only; no test crop can reach it. A run writes a checkpoint after
every epoch to a scratch folder and continues from there when it is started again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from lightning_fabric import Fabric
from timm.optim import param_groups_layer_decay
from timm.scheduler import CosineLRScheduler
from torch.utils.data import DataLoader

from .dataset import set_epoch
from .losses import TRIPLET_LOSSES, active_fraction, cross_entropy
from .model import Detector
from .params import Train, Variant
from .progress import track


@dataclass(frozen=True)
class Objective:
    """``L = L_BCE + w · L_tri`` (Section 3.3); ``triplet`` is ``none`` or a key of ``TRIPLET_LOSSES``."""

    triplet: str
    margin: float
    weight: float
    selection: str = "total"

    def __call__(self, embeddings: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor,
                 triplet_labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scalars ``total``, ``cross_entropy``, ``triplet`` and ``active`` (share of valid triplets that act)."""
        classification = cross_entropy(logits, labels)
        if self.triplet == "none":
            nothing = torch.zeros_like(classification)
            return {"total": classification, "cross_entropy": classification, "triplet": nothing, "active": nothing}
        triplet = TRIPLET_LOSSES[self.triplet](embeddings, triplet_labels, self.margin)
        active = active_fraction(embeddings.detach(), triplet_labels, self.margin)
        return {"total": classification + self.weight * triplet, "cross_entropy": classification,
                "triplet": triplet, "active": torch.as_tensor(active, device=classification.device)}


def objective(variant: Variant, recipe: Train) -> Objective:
    """The objective of one row of Table 3; ``ValueError`` if ``params.yaml`` names an unknown loss."""
    if variant.triplet not in {"none", *TRIPLET_LOSSES}:
        raise ValueError(f"triplet loss {variant.triplet!r} is unknown; known: none, {', '.join(TRIPLET_LOSSES)}")
    if recipe.selection not in {"total", "cross_entropy"}:
        raise ValueError(f"train.selection is {recipe.selection!r}; known: total, cross_entropy")
    return Objective(variant.triplet, variant.margin, variant.weight, recipe.selection)


def optimiser(model: Detector, recipe: Train) -> torch.optim.AdamW:
    """AdamW over groups whose ``lr_scale`` is ``layer_decay ** (depth + 1 - layer)``; no decay for 1-D tensors."""
    groups = param_groups_layer_decay(
        model.encoder, weight_decay=recipe.weight_decay, layer_decay=recipe.layer_decay,
        no_weight_decay_list=model.encoder.no_weight_decay())
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.999))


def schedule(optimizer: torch.optim.Optimizer, recipe: Train, steps_per_epoch: int) -> CosineLRScheduler:
    """Linear warm-up from 0, then half a cosine to the floor; ``step_update(t)`` goes *before* step t.

    timm's scheduler multiplies by each group's ``lr_scale``; torch's own schedulers would ignore it and
    layer decay would silently not act. Raises ``ValueError`` if no epoch is left after the warm-up.
    """
    if recipe.warmup_epochs >= recipe.epochs:
        raise ValueError(f"train.warmup_epochs is {recipe.warmup_epochs}: keep it below train.epochs, {recipe.epochs}")
    return CosineLRScheduler(
        optimizer, t_initial=(recipe.epochs - recipe.warmup_epochs) * steps_per_epoch,
        lr_min=recipe.min_learning_rate, warmup_t=recipe.warmup_epochs * steps_per_epoch, warmup_lr_init=0.0,
        warmup_prefix=True, t_in_epochs=False)


@dataclass(frozen=True)
class Fit:
    """Outcome of ``fit``: one row per epoch, and the weights of the epoch with the lowest validation loss."""

    history: pd.DataFrame
    best_epoch: int
    best_state: dict[str, torch.Tensor]


class _State:
    """All that a resumed run needs; saved whole after each epoch."""

    def __init__(self, model: Detector, optimizer: torch.optim.Optimizer, scratch: Path) -> None:
        self.model, self.optimizer, self.file = model, optimizer, scratch / "last.pt"
        self.epoch, self.history, self.best = 0, [], {"loss": math.inf, "epoch": -1, "state": {}}

    def save(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_suffix(".part")
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "epoch": self.epoch,
                    "history": self.history, "best": self.best}, temporary)
        os.replace(temporary, self.file)

    def resume(self) -> bool:
        if not self.file.is_file():
            return False
        saved = torch.load(self.file, map_location="cpu", weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.epoch, self.history, self.best = saved["epoch"], saved["history"], saved["best"]
        return True

    def finish_epoch(self, row: dict[str, float]) -> None:
        self.history.append(row)
        if row["validation_loss"] < self.best["loss"]:
            state = {key: tensor.detach().cpu().clone() for key, tensor in self.model.state_dict().items()}
            self.best = {"loss": row["validation_loss"], "epoch": self.epoch, "state": state}
        self.epoch += 1
        self.save()


def fit(model: Detector, train: DataLoader, validation: DataLoader, loss: Objective, recipe: Train, *, seed: int,
        scratch: Path, fabric: Fabric, report: Callable[[str], None] = print) -> Fit:
    """Train for ``recipe.epochs``, keep the epoch with the lowest validation loss (Section 4.3).

    Resumes from ``scratch/last.pt``: a resumed run repeats an uninterrupted one exactly, because order and
    augmentation of an epoch depend on (seed, epoch) only. Raises ``ValueError`` on a non-finite loss.
    """
    optimizer = optimiser(model, recipe)
    model, optimizer = fabric.setup(model, optimizer)
    state = _State(model, optimizer, scratch)
    if state.resume():
        report(f"resumed after epoch {state.epoch}/{recipe.epochs} from {scratch.name}")
    clock = schedule(optimizer, recipe, len(train))
    while state.epoch < recipe.epochs:
        set_epoch(train, seed, state.epoch)
        what = f"epoch {state.epoch + 1}/{recipe.epochs}"
        trained = _train_epoch(model, train, loss, optimizer, clock, state.epoch, fabric, what)
        row = {"epoch": state.epoch + 1, **trained, "validation_loss": _validate(model, validation, loss, fabric, what)}
        state.finish_epoch(row)
        report(f"{what}: " + ", ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "epoch"))
    return Fit(pd.DataFrame(state.history), state.best["epoch"] + 1, state.best["state"])


def _train_epoch(model: Detector, loader: DataLoader, loss: Objective, optimizer: torch.optim.Optimizer,
                 clock: CosineLRScheduler, epoch: int, fabric: Fabric, what: str) -> dict[str, float]:
    model.train()
    sums = Sums()
    for number, batch in enumerate(track(loader, f"{what} train")):
        clock.step_update(epoch * len(loader) + number)
        terms = _terms(model, batch, loss, fabric)
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(terms["total"])
        optimizer.step()
        sums.add(terms, len(batch[0]))
    means = sums.means()
    top = max(group["lr"] for group in optimizer.param_groups)
    return {"train_loss": means["total"], "cross_entropy": means["cross_entropy"], "triplet_loss": means["triplet"],
            "active_fraction": means["active"], "learning_rate": top}


@torch.no_grad()
def _validate(model: Detector, loader: DataLoader, loss: Objective, fabric: Fabric, what: str) -> float:
    model.eval()
    sums = Sums()
    for batch in track(loader, f"{what} validation"):
        sums.add(_terms(model, batch, loss, fabric), len(batch[0]))
    return sums.means()[loss.selection]


def _terms(model: Detector, batch: Iterable[torch.Tensor], loss: Objective, fabric: Fabric) -> dict[str, torch.Tensor]:
    """Loss terms of one batch; a crop with several views counts once, with the mean of its views."""
    images, labels, triplet_labels, items = (fabric.to_device(part) for part in batch)
    embeddings, logits = over_views(model, images)
    terms = loss(embeddings, logits, labels, triplet_labels)
    if not torch.isfinite(terms["total"]):
        raise ValueError(f"loss is {terms['total'].item()} on the batch of crops {items.tolist()} (rows of the "
                         "sample): lower train.learning_rate or look at these crops")
    return terms


def over_views(model: Detector, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings ``[B, D]`` and logits ``[B, C]`` of ``[B, 3, S, S]``, or averaged over V views ``[B, V, 3, S, S]``."""
    if images.ndim == 4:
        return model(images)
    embeddings, logits = model(images.flatten(0, 1))
    return tuple(part.unflatten(0, images.shape[:2]).mean(1) for part in (embeddings, logits))


class Sums:
    """Means over samples of per-batch means."""

    def __init__(self) -> None:
        self.count, self.sums = 0, {}

    def add(self, terms: dict[str, torch.Tensor], samples: int) -> None:
        """Add the terms of a batch of ``samples`` crops."""
        self.count += samples
        for key, value in terms.items():
            self.sums[key] = self.sums.get(key, 0.0) + float(value.detach()) * samples

    def means(self) -> dict[str, float]:
        """Mean of each term over all crops added."""
        return {key: value / max(self.count, 1) for key, value in self.sums.items()}


def manifest(recipe: Train, variant: Variant, classes: tuple[str, ...], mean: tuple[float, ...],
             std: tuple[float, ...], best_epoch: int) -> dict:
    """What a user of the weights must know: network, classes, normalisation, recipe."""
    return {"architecture": recipe.architecture, "depth": recipe.depth, "input_size": recipe.input_size,
            "views": recipe.augmentation, "classes": list(classes), "mean": list(mean), "std": list(std),
            "best_epoch": best_epoch, "variant": asdict(variant), "train": asdict(recipe)}
