"""The recipe of Section 4.3: AdamW, layer-wise learning-rate decay, linear warm-up, cosine, lowest validation loss.

``fit`` sees training and validation crops only; no test crop can reach it. A run that was cut off
goes on from its last checkpoint (``loop``) when it is started again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from timm.optim import param_groups_layer_decay
from timm.scheduler import CosineLRScheduler
from torch.utils.data import DataLoader

from ...project.params import Variant
from ...project.recipes import Train
from ...training.detector import Detector, over_views
from ...training.devices import gathered, shown
from ...training.loading import Batch
from ...training.loop import Best, Fit, Loop, Sums, Terms, read
from ...training.losses import TRIPLET_LOSSES, active_fraction, cross_entropy


@dataclass(frozen=True)
class Objective:
    """``L = L_BCE + w · L_tri`` (Section 3.3); ``triplet`` is ``none`` or a key of ``TRIPLET_LOSSES``."""

    triplet: str
    margin: float
    weight: float
    selection: str = "total"

    def __call__(
        self,
        embeddings: torch.Tensor,
        logits: torch.Tensor,
        labels: torch.Tensor,
        triplet_labels: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Scalars ``total``, ``cross_entropy``, ``triplet`` and ``active`` (share of valid triplets that act)."""
        classification = cross_entropy(logits, labels)
        if self.triplet == "none":
            nothing = torch.zeros_like(classification)
            return {
                "total": classification,
                "cross_entropy": classification,
                "triplet": nothing,
                "active": nothing,
            }
        triplet = TRIPLET_LOSSES[self.triplet](embeddings, triplet_labels, self.margin)
        active = active_fraction(embeddings.detach(), triplet_labels, self.margin)
        return {
            "total": classification + self.weight * triplet,
            "cross_entropy": classification,
            "triplet": triplet,
            "active": torch.as_tensor(active, device=classification.device),
        }


def objective(variant: Variant, recipe: Train) -> Objective:
    """The objective of one row of Table 3; ``ValueError`` if ``params.yaml`` names an unknown loss."""
    if variant.triplet not in {"none", *TRIPLET_LOSSES}:
        raise ValueError(
            f"triplet loss {variant.triplet!r} is unknown; known: none, {', '.join(TRIPLET_LOSSES)}"
        )
    if recipe.selection not in {"total", "cross_entropy"}:
        raise ValueError(f"train.selection is {recipe.selection!r}; known: total, cross_entropy")
    if recipe.balance not in {"none", "first_epoch"}:
        raise ValueError(f"train.balance is {recipe.balance!r}; known: none, first_epoch")
    return Objective(variant.triplet, variant.margin, variant.weight, recipe.selection)


def optimiser(model: Detector, recipe: Train) -> torch.optim.AdamW:
    """AdamW over groups whose ``lr_scale`` is ``layer_decay ** (depth + 1 - layer)``; no decay for 1-D tensors."""
    groups = param_groups_layer_decay(
        model.encoder,
        weight_decay=recipe.weight_decay,
        layer_decay=recipe.layer_decay,
        no_weight_decay_list=model.encoder.no_weight_decay(),
    )
    return torch.optim.AdamW(
        groups, lr=recipe.learning_rate, betas=(0.9, 0.999), fused=recipe.fused
    )


def schedule(
    optimizer: torch.optim.Optimizer, recipe: Train, steps_per_epoch: int
) -> CosineLRScheduler:
    """Linear warm-up from 0, then half a cosine to the floor; ``step_update(t)`` goes *before* step t.

    timm's scheduler multiplies by each group's ``lr_scale``; torch's own schedulers would ignore it
    and layer decay would silently not act. Raises ``ValueError`` if no epoch is left after the
    warm-up.
    """
    if recipe.warmup_epochs >= recipe.epochs:
        raise ValueError(
            f"train.warmup_epochs is {recipe.warmup_epochs}: keep it below train.epochs, {recipe.epochs}"
        )
    return CosineLRScheduler(
        optimizer,
        t_initial=(recipe.epochs - recipe.warmup_epochs) * steps_per_epoch,
        lr_min=recipe.min_learning_rate,
        warmup_t=recipe.warmup_epochs * steps_per_epoch,
        warmup_lr_init=0.0,
        warmup_prefix=True,
        t_in_epochs=False,
    )


class _FineTuning(Loop):
    """The steps of ``fit``; the checkpoint also holds the weight of the triplet loss."""

    def __init__(
        self,
        model: Detector,
        train: DataLoader,
        validation: DataLoader,
        loss: Objective,
        recipe: Train,
        *,
        fabric: Fabric,
        **rest: Any,
    ) -> None:
        bare = model.to(memory_format=torch.channels_last) if recipe.channels_last else model
        optimizer = optimiser(bare, recipe)
        self.model, wrapped = fabric.setup(
            torch.compile(bare) if recipe.compile else bare, optimizer
        )
        super().__init__(
            train, wrapped, schedule(optimizer, recipe, len(train)), recipe, fabric=fabric, **rest
        )
        self.bare, self.validation, self.loss = bare, validation, loss
        self.best = Best()
        self.parts |= {"model": bare, "best": self.best}

    def state(self) -> dict[str, Any]:
        return super().state() | {"weight": self.loss.weight}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.loss = replace(self.loss, weight=state["weight"])

    def terms(self, batch: Batch) -> Terms:
        self.model.train()
        images, labels, triplet_labels = (self.fabric.to_device(part) for part in batch[:3])
        whole = (
            gathered(part, self.fabric)
            for part in (*over_views(self.model, images), labels, triplet_labels)
        )
        return self.loss(*whole)

    def finish_epoch(self, means: dict[str, float], what: str) -> dict[str, float]:
        if not self.history and self.recipe.balance == "first_epoch":
            self.loss = balanced(self.loss, means)
        validation = _validate(self.model, self.validation, self.loss, self.fabric, what)
        self.best.offer(-validation, len(self.history) + 1, self.bare.state_dict())
        return {
            "train_loss": means["total"],
            "cross_entropy": means["cross_entropy"],
            "triplet_loss": means["triplet"],
            "triplet_weight": self.loss.weight,
            "active_fraction": means["active"],
            "learning_rate": max(group["lr"] for group in self.optimizer.param_groups),
            "validation_loss": validation,
        }


def balanced(loss: Objective, means: dict[str, float]) -> Objective:
    """``loss`` with the weight that brings both losses into a similar range: mean cross-entropy / mean triplet loss.

    The paper sets it by hand ("both losses in a similar range", Section 3.3). Without a triplet
    loss nothing changes.
    """
    return (
        replace(loss, weight=means["cross_entropy"] / means["triplet"])
        if means["triplet"] > 0
        else loss
    )


def fit(
    model: Detector,
    train: DataLoader,
    validation: DataLoader,
    loss: Objective,
    recipe: Train,
    *,
    seed: int,
    scratch: Path,
    fabric: Fabric,
    report: Callable[[str], None] = print,
) -> Fit:
    """Train for ``recipe.epochs``, keep the epoch with the lowest validation loss (Section 4.3).

    Resumes from ``scratch/last.pt``: a resumed run repeats an uninterrupted one exactly, and
    several devices repeat one up to rounding, because a batch depends on (seed, step) only. Raises
    ``ValueError`` on a loss that is not finite, naming the crops, and if a batch does not fit into
    memory, naming a size that does.
    """
    run = _FineTuning(
        model,
        train,
        validation,
        loss,
        recipe,
        seed=seed,
        scratch=scratch,
        fabric=fabric,
        report=report,
    )
    history = run.run()
    return Fit(history, run.best.epoch, run.best.weights, run.loss.weight, run.watch.summary())


@torch.no_grad()
def _validate(
    model: Detector, loader: DataLoader, loss: Objective, fabric: Fabric, what: str
) -> float:
    """Mean over all crops; each device has whole batches of its own, which are those of one device."""
    model.eval()
    sums = Sums()
    for batch in shown(loader, f"{what} validation", len(loader), fabric):
        images, labels, triplet_labels, items = (fabric.to_device(part) for part in batch)
        terms = loss(*over_views(model, images), labels, triplet_labels)
        sums.add(read(terms, lambda items=items: items, "sample", "train"), len(images))
    return sums.over_devices(fabric).means()[loss.selection]
