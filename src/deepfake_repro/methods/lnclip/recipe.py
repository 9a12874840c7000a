"""LNCLIP-DF's recipe: a cyclic cosine rate, paired batches, the epoch that validation prefers.

The optimizer, the checkpoint and the result contain LayerNorms and head only: a hundred thousand
numbers. The second paper chose its checkpoints on held-out parts of corpora that are test sets too;
here the validation split of the training corpora decides, and no test crop can reach
``train_lnclip``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from sklearn.metrics import average_precision_score
from torch import nn
from torch.utils.data import DataLoader

from ...evaluation.metrics import auc
from ...project.recipes import LnClip
from ...training.detector import Detector, by_view, over_views, probabilities
from ...training.devices import gather_across_devices, gather_batches, with_progress
from ...training.loading import Batch, derive_seed
from ...training.loop import BestEpoch, Loop, SelectedResult, Sums, Terms
from ...training.schedules import StepSchedule
from .sphere import SphereObjective, interpolate, trainable

SELECTIONS = {"validation_loss": -1.0, "video_auc": 1.0, "video_map": 1.0}
"""Column of the history that chooses the epoch; the sign says whether more is better."""


def build_optimizer(detector: Detector, recipe: LnClip) -> torch.optim.AdamW:
    """Build AdamW over the trained parameters only; without weight decay it is the paper's Adam."""
    return torch.optim.AdamW(
        trainable(detector).values(),
        lr=recipe.learning_rate,
        betas=(0.9, 0.999),
        weight_decay=recipe.weight_decay,
    )


def learning_rate(epoch: float, recipe: LnClip) -> float:
    """Compute the rate at ``epoch`` (fractions are steps): per cycle a warm-up, then half a cosine.

    One epoch of linear warm-up in cycles of ten is the paper's; none is torch's
    ``CosineAnnealingWarmRestarts``, the code's. Raises ``ValueError`` if the warm-up fills the
    cycle.
    """
    if recipe.warmup_epochs >= recipe.cycle_epochs:
        raise ValueError(
            f"lnclip.warmup_epochs is {recipe.warmup_epochs}: keep it below lnclip.cycle_epochs, "
            f"{recipe.cycle_epochs}"
        )
    position = epoch % recipe.cycle_epochs
    low = recipe.min_learning_rate
    high = recipe.learning_rate
    if position < recipe.warmup_epochs:
        first = recipe.warmup_learning_rate
        return first + (high - first) * position / recipe.warmup_epochs
    share = (position - recipe.warmup_epochs) / (recipe.cycle_epochs - recipe.warmup_epochs)
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


class _LnClip(Loop):
    """The steps of ``train_lnclip``; frozen parameters are the start's and in no checkpoint."""

    block = "lnclip"

    def __init__(
        self,
        detector: Detector,
        train: DataLoader,
        validation: DataLoader,
        videos: Sequence[str],
        recipe: LnClip,
        *,
        fabric: Fabric,
        **rest: Any,
    ) -> None:
        if recipe.selection not in SELECTIONS:
            raise ValueError(
                f"lnclip.selection is {recipe.selection!r}; known: {', '.join(SELECTIONS)}"
            )
        self.network, optimizer = fabric.setup(detector, build_optimizer(detector, recipe))
        steps = len(train)
        schedule = StepSchedule(optimizer, lambda step: learning_rate(step / steps, recipe))
        super().__init__(train, optimizer, schedule, recipe, fabric=fabric, **rest)
        self.detector = detector
        self.validation = validation
        self.videos = videos
        self.objective = SphereObjective(recipe.alignment, recipe.uniformity)
        self.best = BestEpoch()
        self.parts["best"] = self.best

    def tuned(self) -> dict[str, torch.Tensor]:
        """Return the trained tensors by name."""
        return {name: parameter.detach() for name, parameter in trainable(self.detector).items()}

    def state(self) -> dict[str, Any]:
        return super().state() | {"tuned": self.tuned()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        load_tuned(self.detector, state["tuned"])

    def terms(self, batch: Batch) -> Terms:
        self.network.train()
        images, labels = (self.fabric.to_device(part) for part in batch[:2])
        parts = (*self.network(images), labels)
        features, logits, labels = (gather_across_devices(part, self.fabric) for part in parts)
        if self.fabric.world_size > 1:
            # Every device makes the same new features, those that a single device would make.
            torch.manual_seed(derive_seed(self.seed, self.step, 0))
        features, labels = interpolate(features, labels, self.recipe.slerp)
        if self.recipe.slerp:
            logits = self.detector.encoder.get_classifier()(features)
        return self.objective(features, logits, labels)

    def finish_epoch(self, means: dict[str, float], caption: str) -> dict[str, float]:
        batches = with_progress(
            self.validation, f"{caption} validation", len(self.validation), self.fabric
        )
        validation = evaluate(self.network, batches, self.videos, self.objective, self.fabric)
        selection = self.recipe.selection
        value = SELECTIONS[selection] * validation[selection]
        self.best.offer(value, len(self.history) + 1, self.tuned())
        return {
            "train_loss": means.pop("total"),
            **means,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            **validation,
        }


def train_lnclip(
    detector: Detector,
    train: DataLoader,
    validation: DataLoader,
    videos: Sequence[str],
    recipe: LnClip,
    *,
    seed: int,
    scratch: Path,
    fabric: Fabric,
    report: Callable[[str], None] = print,
) -> SelectedResult:
    """Tune for ``recipe.epochs``, keep the trained tensors of the epoch ``selection`` prefers.

    ``train``: over :class:`.methods.lnclip.pairing.PairedBatches`; ``videos``: the video of each
    validation crop, in the loader's order. Resumes from ``scratch/last.pt`` and repeats an
    uninterrupted run exactly; several devices repeat one up to rounding. Raises ``ValueError`` for
    a loss that is not finite.
    """
    run = _LnClip(
        detector,
        train,
        validation,
        videos,
        recipe,
        seed=seed,
        scratch=scratch,
        fabric=fabric,
        report=report,
    )
    history = run.run()
    return SelectedResult(
        history, run.watch.summary(), best_epoch=run.best.epoch, best_state=run.best.weights
    )


def load_tuned(detector: Detector, state: dict[str, torch.Tensor]) -> None:
    """Load the tensors that ``train_lnclip`` kept; ``ValueError`` for any other set of tensors."""
    if set(state) != set(trainable(detector)):
        raise ValueError(
            "these weights are not of this network's LayerNorms and head: "
            "run the stage train_lnclip"
        )
    detector.load_state_dict(state, strict=False)


@torch.no_grad()
def evaluate(
    network: nn.Module,
    batches: Iterable[Batch],
    videos: Sequence[str],
    objective: SphereObjective,
    fabric: Fabric,
) -> dict[str, float]:
    """Compute ``validation_loss`` (mean over crops), ``video_auc`` and ``video_map`` in [0, 1].

    A crop's feature is the normalised mean over its views, a video's score the mean P(fake) of its
    crops. Each device evaluates whole ``batches``; ``videos`` lists those of all crops, in order.
    """
    network.eval()
    sums = Sums()
    scores = []
    targets = []
    for images, labels, *_ in batches:
        features, logits = by_view(network, fabric.to_device(images))
        features = F.normalize(features.mean(1), dim=1)
        terms = objective(features, logits.mean(1), fabric.to_device(labels))
        sums.add(terms, len(images))
        scores.append(probabilities(logits)[:, 1].cpu())
        targets.append(labels)
    all_scores = torch.cat(gather_batches(scores, fabric)).double()
    all_targets = torch.cat(gather_batches(targets, fabric))
    crops = pd.DataFrame({"video": videos, "label": all_targets, "score": all_scores})
    means = crops.groupby("video").mean()
    label = means["label"].to_numpy().astype(np.int64)
    score = means["score"].to_numpy()
    return {
        "validation_loss": sums.over_devices(fabric).means()["total"],
        "video_auc": auc(label, score),
        "video_map": float(average_precision_score(label, score)),
    }


@torch.inference_mode()
def extract_features(
    detector: Detector, loader: DataLoader, fabric: Fabric
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute unit features ``[N, D]`` and labels ``[N]`` of a loader's crops, on the CPU.

    A crop's feature is the normalised mean over its views.
    """
    detector.eval()
    features = []
    labels = []
    for images, batch_labels, *_ in loader:
        embeddings, _ = over_views(detector, fabric.to_device(images))
        features.append(F.normalize(embeddings, dim=1).cpu())
        labels.append(batch_labels)
    return torch.cat(features), torch.cat(labels)
