"""LNCLIP-DF's recipe: cycles of a cosine rate, batches of pairs, the epoch kept that the validation split prefers.

Only LayerNorms and head are in the optimiser, in the checkpoint and in the outcome: a hundred
thousand numbers. The second paper chose its checkpoints on held-out parts of corpora that are test
sets too; here the validation split of the training corpora decides, and no test crop can reach
``fit``.
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
from torch.utils.data import DataLoader

from ...evaluation.metrics import auc
from ...project.recipes import LnClip
from ...training.detector import Detector, by_view, over_views, probabilities
from ...training.devices import gathered, of_all_devices, shown
from ...training.loading import Batch, seed_of
from ...training.loop import Best, Fit, Loop, Rate, Sums, Terms
from .sphere import SphereObjective, interpolated, trainable

SELECTIONS = {"validation_loss": -1.0, "video_auc": 1.0, "video_map": 1.0}
"""Column of the history that chooses the epoch; the sign says whether more is better."""


def optimiser(detector: Detector, recipe: LnClip) -> torch.optim.AdamW:
    """AdamW over the trained parameters only; without weight decay it is Adam, the paper's word."""
    return torch.optim.AdamW(
        trainable(detector).values(),
        lr=recipe.learning_rate,
        betas=(0.9, 0.999),
        weight_decay=recipe.weight_decay,
    )


def learning_rate(epoch: float, recipe: LnClip) -> float:
    """Rate at ``epoch`` (fractions count steps): in each cycle a linear warm-up, then half a cosine to the floor.

    One warm-up epoch in cycles of ten is the paper's; none is torch's
    ``CosineAnnealingWarmRestarts``, the code's. Raises ``ValueError`` if the warm-up fills the
    cycle.
    """
    if recipe.warmup_epochs >= recipe.cycle_epochs:
        raise ValueError(
            f"lnclip.warmup_epochs is {recipe.warmup_epochs}: keep it below lnclip.cycle_epochs, "
            f"{recipe.cycle_epochs}"
        )
    place, low, high = epoch % recipe.cycle_epochs, recipe.min_learning_rate, recipe.learning_rate
    if place < recipe.warmup_epochs:
        return (
            recipe.warmup_learning_rate
            + (high - recipe.warmup_learning_rate) * place / recipe.warmup_epochs
        )
    share = (place - recipe.warmup_epochs) / (recipe.cycle_epochs - recipe.warmup_epochs)
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


class _LnClip(Loop):
    """The steps of ``fit``; the frozen parameters are those of the start and in no checkpoint."""

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
        self.network, optimizer = fabric.setup(detector, optimiser(detector, recipe))
        clock = Rate(optimizer, lambda step: learning_rate(step / len(train), recipe))
        super().__init__(train, optimizer, clock, recipe, fabric=fabric, **rest)
        self.detector, self.validation, self.videos = detector, validation, videos
        self.loss, self.best = SphereObjective(recipe.alignment, recipe.uniformity), Best()
        self.parts["best"] = self.best

    def tuned(self) -> dict[str, torch.Tensor]:
        """The tensors that are trained."""
        return {name: parameter.detach() for name, parameter in trainable(self.detector).items()}

    def state(self) -> dict[str, Any]:
        return super().state() | {"tuned": self.tuned()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        restore(self.detector, state["tuned"])

    def terms(self, batch: Batch) -> Terms:
        self.network.train()
        images, labels = (self.fabric.to_device(part) for part in batch[:2])
        features, logits, labels = (
            gathered(part, self.fabric) for part in (*self.network(images), labels)
        )
        if (
            self.fabric.world_size > 1
        ):  # every device makes the same new features, those that one would make
            torch.manual_seed(seed_of(self.seed, self.step, 0))
        features, several = interpolated(features, labels, self.recipe.slerp)
        return self.loss(
            features, self.detector.encoder.head(features) if self.recipe.slerp else logits, several
        )

    def finish_epoch(self, means: dict[str, float], what: str) -> dict[str, float]:
        batches = shown(self.validation, f"{what} validation", len(self.validation), self.fabric)
        found = evaluate(self.network, batches, self.videos, self.loss, self.fabric)
        selection = self.recipe.selection
        self.best.offer(
            SELECTIONS[selection] * found[selection], len(self.history) + 1, self.tuned()
        )
        return {
            "train_loss": means.pop("total"),
            **means,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            **found,
        }


def fit(
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
) -> Fit:
    """Tune for ``recipe.epochs``; ``best_state`` holds the trained tensors of the epoch that ``selection`` prefers.

    ``train``: over :class:`.methods.lnclip.pairing.PairedBatches`; ``videos``: video of each validation crop, in the
    loader's order. Resumes from ``scratch/last.pt`` and repeats an uninterrupted run exactly; several devices repeat
    one up to rounding. Raises ``ValueError`` on a non-finite loss.
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
    return Fit(run.run(), run.best.epoch, run.best.weights, speed=run.watch.summary())


def restore(detector: Detector, state: dict[str, torch.Tensor]) -> None:
    """Put the tensors that ``fit`` kept into ``detector``; exactly its trained ones, else ``ValueError``."""
    if set(state) != set(trainable(detector)):
        raise ValueError(
            "these weights are not of this network's LayerNorms and head: run the stage train_lnclip"
        )
    detector.load_state_dict(state, strict=False)


@torch.no_grad()
def evaluate(
    network: Detector,
    batches: Iterable[Batch],
    videos: Sequence[str],
    loss: SphereObjective,
    fabric: Fabric,
) -> dict[str, float]:
    """``validation_loss`` (mean of the batches' totals), ``video_auc`` and ``video_map`` in [0, 1].

    A crop's feature is the normalised mean over its views, a video's score the mean P(fake) of its
    crops. Each device has whole ``batches`` of its own, which are those of one device; ``videos``:
    of all crops, in their order.
    """
    network.eval()
    sums, scores, targets = Sums(), [], []
    for images, labels, *_ in batches:
        features, logits = by_view(network, fabric.to_device(images))
        sums.add(
            loss(F.normalize(features.mean(1), dim=1), logits.mean(1), fabric.to_device(labels)),
            len(images),
        )
        scores.append(probabilities(logits)[:, 1].cpu())
        targets.append(labels)
    scores, targets = (torch.cat(of_all_devices(part, fabric)) for part in (scores, targets))
    crops = pd.DataFrame({"video": videos, "label": targets, "score": scores.double()})
    of_video = crops.groupby("video").mean()
    label, score = of_video["label"].to_numpy().astype(np.int64), of_video["score"].to_numpy()
    return {
        "validation_loss": sums.over_devices(fabric).means()["total"],
        "video_auc": auc(label, score),
        "video_map": float(average_precision_score(label, score)),
    }


@torch.inference_mode()
def features(
    detector: Detector, loader: DataLoader, fabric: Fabric
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit features ``[N, D]`` (normalised means over views) and labels ``[N]`` of a loader's crops, on the CPU."""
    detector.eval()
    found = [
        (F.normalize(over_views(detector, fabric.to_device(images))[0], dim=1).cpu(), labels)
        for images, labels, *_ in loader
    ]
    return torch.cat([part for part, _ in found]), torch.cat([part for _, part in found])
