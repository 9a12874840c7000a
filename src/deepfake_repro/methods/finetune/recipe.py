"""The recipe of Section 4.3: AdamW, layer-wise decay, warm-up, cosine, lowest validation loss.

``fine_tune`` receives training and validation crops only; no test crop can reach it. An interrupted
run resumes from its last checkpoint (``training.loop``) when rerun.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from timm.optim import param_groups_layer_decay
from timm.scheduler import CosineLRScheduler
from torch import nn
from torch.utils.data import DataLoader

from ...project.params import Variant
from ...project.recipes import Loss, Train
from ...training.detector import Detector, over_views
from ...training.devices import gather_across_devices, with_progress
from ...training.loading import Batch
from ...training.loop import (
    LOSS,
    BestEpoch,
    Loop,
    SelectedResult,
    Sums,
    Terms,
    not_finite,
    read_terms,
)
from ...training.losses import (
    PUBLISHED,
    EmbeddingLoss,
    active_fraction,
    build_loss,
    cross_entropy,
)
from ...training.schedules import warmup_cosine


@dataclass(frozen=True)
class Objective:
    """The loss ``L = L_BCE + w · L_tri`` (Section 3.3).

    ``loss``: the row's loss on embeddings, computed by ``value``; ``weight``: its weight;
    ``selection``: the term whose validation mean chooses the epoch.
    """

    loss: Loss
    weight: float
    selection: str = "total"
    value: EmbeddingLoss | None = field(default=None, compare=False)

    def __call__(
        self,
        embeddings: torch.Tensor,
        logits: torch.Tensor,
        labels: torch.Tensor,
        triplet_labels: torch.Tensor,
    ) -> Terms:
        """Compute scalars ``total``, ``cross_entropy``, ``triplet`` and ``active``.

        ``active`` is the share of valid triplets that are active, NaN for a loss without a margin.
        """
        classification = cross_entropy(logits, labels)
        if self.value is None:
            zero = torch.zeros_like(classification)
            return {
                "total": classification,
                "cross_entropy": classification,
                "triplet": zero,
                "active": zero,
            }
        triplet = self.value(embeddings, triplet_labels)
        return {
            "total": classification + self.weight * triplet,
            "cross_entropy": classification,
            "triplet": triplet,
            "active": self._active(embeddings.detach(), triplet_labels),
        }

    def _active(self, embeddings: torch.Tensor, triplet_labels: torch.Tensor) -> torch.Tensor:
        if self.loss.name.startswith(PUBLISHED):
            return torch.full((), math.nan, device=embeddings.device)
        return active_fraction(embeddings, triplet_labels, self.loss.margin)


def build_objective(variant: Variant, recipe: Train) -> Objective:
    """Build the objective of a row of Table 3; ``ValueError`` for an unknown value."""
    if recipe.selection not in {"total", "cross_entropy"}:
        raise ValueError(f"train.selection is {recipe.selection!r}; known: total, cross_entropy")
    if recipe.balance not in {"none", "first_epoch"}:
        raise ValueError(f"train.balance is {recipe.balance!r}; known: none, first_epoch")
    value = None if variant.loss.name == "none" else build_loss(variant.loss)
    return Objective(variant.loss, variant.loss.weight, recipe.selection, value)


def build_optimizer(model: Detector, recipe: Train) -> torch.optim.AdamW:
    """Build AdamW with layer-wise decay of the learning rate and no weight decay for 1-D tensors.

    A group's ``lr_scale`` is ``layer_decay ** (depth + 1 - layer)``.
    """
    groups = param_groups_layer_decay(
        model.encoder,
        weight_decay=recipe.weight_decay,
        layer_decay=recipe.layer_decay,
        no_weight_decay_list=model.no_weight_decay(),
    )
    return torch.optim.AdamW(
        groups, lr=recipe.learning_rate, betas=(0.9, 0.999), fused=recipe.fused
    )


def build_schedule(
    optimizer: torch.optim.Optimizer, recipe: Train, steps_per_epoch: int
) -> CosineLRScheduler:
    """Build the schedule of Section 4.3; ``step_update(t)`` is called *before* step t."""
    return warmup_cosine(
        optimizer,
        epochs=recipe.epochs,
        warmup_epochs=recipe.warmup_epochs,
        steps_per_epoch=steps_per_epoch,
        floor=recipe.min_learning_rate,
        block="train",
    )


class _FineTuning(Loop):
    """The steps of ``fine_tune``; the checkpoint also keeps the weight of the triplet loss."""

    def __init__(
        self,
        model: Detector,
        train: DataLoader,
        validation: DataLoader,
        objective: Objective,
        recipe: Train,
        *,
        fabric: Fabric,
        **rest: Any,
    ) -> None:
        bare = model.to(memory_format=torch.channels_last) if recipe.channels_last else model
        optimizer = build_optimizer(bare, recipe)
        schedule = build_schedule(optimizer, recipe, len(train))
        # torch types what compile returns as a function.
        network = cast(nn.Module, torch.compile(bare)) if recipe.compile else bare
        self.model, wrapped = fabric.setup(network, optimizer)
        super().__init__(train, wrapped, schedule, recipe, fabric=fabric, **rest)
        self.bare = bare
        self.validation = validation
        self.objective = objective
        self.best = BestEpoch()
        self.parts |= {"model": bare, "best": self.best}

    def state(self) -> dict[str, Any]:
        return super().state() | {"weight": self.objective.weight}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.objective = replace(self.objective, weight=state["weight"])

    def terms(self, batch: Batch) -> Terms:
        self.model.train()
        images, labels, triplet_labels = (self.fabric.to_device(part) for part in batch[:3])
        embeddings, logits = over_views(self.model, images)
        parts = (embeddings, logits, labels, triplet_labels)
        return self.objective(*(gather_across_devices(part, self.fabric) for part in parts))

    def finish_epoch(self, means: dict[str, float], caption: str) -> dict[str, float]:
        if not self.history and self.recipe.balance == "first_epoch":
            self.objective = balance(self.objective, means)
        validation = _validate(self.model, self.validation, self.objective, self.fabric, caption)
        self.best.offer(-validation, len(self.history) + 1, self.bare.state_dict())
        return {
            "train_loss": means["total"],
            "cross_entropy": means["cross_entropy"],
            "triplet_loss": means["triplet"],
            "triplet_weight": self.objective.weight,
            "active_fraction": means["active"],
            "learning_rate": max(group["lr"] for group in self.optimizer.param_groups),
            "validation_loss": validation,
        }


def balance(objective: Objective, means: dict[str, float]) -> Objective:
    """Set the weight that brings both losses into a similar range (Section 3.3).

    It is mean cross-entropy / mean triplet loss; the paper sets it by hand. Without a triplet loss
    nothing changes.
    """
    if means["triplet"] > 0:
        return replace(objective, weight=means["cross_entropy"] / means["triplet"])
    return objective


def fine_tune(
    model: Detector,
    train: DataLoader,
    validation: DataLoader,
    objective: Objective,
    recipe: Train,
    *,
    seed: int,
    scratch: Path,
    fabric: Fabric,
    report: Callable[[str], None] = print,
) -> SelectedResult:
    """Train for ``recipe.epochs``, keep the epoch with the lowest validation loss (Section 4.3).

    Resumes from ``scratch/last.pt``: a resumed run repeats an uninterrupted one exactly, and
    several devices repeat one up to rounding, because a batch depends on (seed, step) only. Raises
    ``ValueError`` for a loss that is not finite, naming the crops, and for a batch that does not
    fit into memory, naming a size that does.
    """
    run = _FineTuning(
        model,
        train,
        validation,
        objective,
        recipe,
        seed=seed,
        scratch=scratch,
        fabric=fabric,
        report=report,
    )
    history = run.run()
    return SelectedResult(
        history,
        run.watch.summary(),
        best_epoch=run.best.epoch,
        best_state=run.best.weights,
        triplet_weight=run.objective.weight,
    )


@torch.no_grad()
def _validate(
    model: nn.Module, loader: DataLoader, objective: Objective, fabric: Fabric, caption: str
) -> float:
    """Average the selected term over all crops; each device evaluates whole batches."""
    model.eval()
    sums = Sums()
    for batch in with_progress(loader, f"{caption} validation", len(loader), fabric):
        images, labels, triplet_labels, items = (fabric.to_device(part) for part in batch)
        embeddings, logits = over_views(model, images)
        terms = objective(embeddings, logits, labels, triplet_labels)
        values = read_terms(terms)
        if not math.isfinite(values[LOSS]):
            raise not_finite(values[LOSS], items, "sample", "train")
        sums.add(values, len(images))
    return sums.over_devices(fabric).means()[objective.selection]
