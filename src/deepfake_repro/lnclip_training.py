"""LNCLIP-DF's recipe: cycles of a cosine rate, batches of pairs, the epoch kept that the validation split prefers.

Only LayerNorms and head are in the optimiser, in the checkpoint and in the outcome: a hundred thousand numbers. The
second paper chose its checkpoints on held-out parts of corpora that are test sets too; here the validation split of
the training corpora decides, and no test crop can reach ``fit``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from sklearn.metrics import average_precision_score
from torch.utils.data import DataLoader

from .augment import Normalisation
from .baselines import LnClip
from .dataset import set_epoch
from .lnclip import CLASSES, SphereObjective, interpolated, trainable
from .metrics import auc
from .model import Detector
from .progress import track
from .training import Fit, Sums

SELECTIONS = {"validation_loss": -1.0, "video_auc": 1.0, "video_map": 1.0}
"""Column of the history that chooses the epoch; the sign says whether more is better."""


def optimiser(detector: Detector, recipe: LnClip) -> torch.optim.AdamW:
    """AdamW over the trained parameters only; without weight decay it is Adam, the paper's word."""
    return torch.optim.AdamW(trainable(detector).values(), lr=recipe.learning_rate, betas=(0.9, 0.999),
                             weight_decay=recipe.weight_decay)


def learning_rate(epoch: float, recipe: LnClip) -> float:
    """Rate at ``epoch`` (fractions count steps): in each cycle a linear warm-up, then half a cosine to the floor.

    One warm-up epoch in cycles of ten is the paper's; none is torch's ``CosineAnnealingWarmRestarts``, the code's.
    Raises ``ValueError`` if the warm-up fills the cycle.
    """
    if recipe.warmup_epochs >= recipe.cycle_epochs:
        raise ValueError(f"lnclip.warmup_epochs is {recipe.warmup_epochs}: keep it below lnclip.cycle_epochs, "
                         f"{recipe.cycle_epochs}")
    place, low, high = epoch % recipe.cycle_epochs, recipe.min_learning_rate, recipe.learning_rate
    if place < recipe.warmup_epochs:
        return recipe.warmup_learning_rate + (high - recipe.warmup_learning_rate) * place / recipe.warmup_epochs
    share = (place - recipe.warmup_epochs) / (recipe.cycle_epochs - recipe.warmup_epochs)
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


class _State:
    """What a resumed run needs; the frozen parameters are those of the start."""

    def __init__(self, detector: Detector, optimizer: torch.optim.Optimizer, selection: str, scratch: Path) -> None:
        if selection not in SELECTIONS:
            raise ValueError(f"lnclip.selection is {selection!r}; known: {', '.join(SELECTIONS)}")
        self.parameters, self.optimizer, self.file = trainable(detector), optimizer, scratch / "last.pt"
        self.selection = selection
        self.history: list[dict[str, float]] = []
        self.best = {"value": -math.inf, "epoch": 0, "state": {}}

    def tensors(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().cpu().clone() for name, parameter in self.parameters.items()}

    def finish_epoch(self, row: dict[str, float]) -> None:
        """Append the epoch's row, keep its weights if it is the best so far, write the checkpoint."""
        self.history.append(row)
        value = SELECTIONS[self.selection] * row[self.selection]
        if value > self.best["value"]:
            self.best = {"value": value, "epoch": len(self.history), "state": self.tensors()}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_suffix(".part")
        torch.save({"state": self.tensors(), "optimizer": self.optimizer.state_dict(), "history": self.history,
                    "best": self.best}, temporary)
        os.replace(temporary, self.file)

    @torch.no_grad()
    def resume(self) -> bool:
        if not self.file.is_file():
            return False
        saved = torch.load(self.file, map_location="cpu", weights_only=True)
        for name, parameter in self.parameters.items():
            parameter.copy_(saved["state"][name])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.history, self.best = saved["history"], saved["best"]
        return True


def fit(detector: Detector, train: DataLoader, validation: DataLoader, videos: Sequence[str], recipe: LnClip, *,
        seed: int, scratch: Path, fabric: Fabric, report: Callable[[str], None] = print) -> Fit:
    """Tune for ``recipe.epochs``; ``best_state`` holds the trained tensors of the epoch that ``selection`` prefers.

    ``train``: of :func:`deepfake_repro.pairing.paired_loader`; ``videos``: video of each validation crop, in the
    loader's order. Resumes from ``scratch/last.pt`` and repeats an uninterrupted run exactly. Raises ``ValueError``
    on a non-finite loss. One device.
    """
    loss = SphereObjective(recipe.alignment, recipe.uniformity)
    network, optimizer = fabric.setup(detector, optimiser(detector, recipe))
    state = _State(detector, optimizer, recipe.selection, scratch)
    if state.resume():
        report(f"resumed after epoch {len(state.history)}/{recipe.epochs} from {scratch.name}")
    while (epoch := len(state.history)) < recipe.epochs:
        set_epoch(train, seed, epoch)
        train.batch_sampler.epoch = epoch
        what = f"epoch {epoch + 1}/{recipe.epochs}"
        row = {"epoch": epoch + 1, **_train_epoch(network, detector, track(train, f"{what} train"), loss, optimizer,
                                                  recipe, epoch, fabric)}
        row |= evaluate(network, track(validation, f"{what} validation"), videos, loss, fabric)
        state.finish_epoch(row)
        report(f"{what}: " + ", ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "epoch"))
    return Fit(pd.DataFrame(state.history), state.best["epoch"], state.best["state"])


def restore(detector: Detector, state: dict[str, torch.Tensor]) -> None:
    """Put the tensors that ``fit`` kept into ``detector``; exactly its trained ones, else ``ValueError``."""
    if set(state) != set(trainable(detector)):
        raise ValueError("these weights are not of this network's LayerNorms and head: run the stage train_lnclip")
    detector.load_state_dict(state, strict=False)


def _train_epoch(network: Detector, detector: Detector, batches: track, loss: SphereObjective,
                 optimizer: torch.optim.Optimizer, recipe: LnClip, epoch: int, fabric: Fabric) -> dict[str, float]:
    network.train()
    sums, steps = Sums(), len(batches)
    for number, (images, labels, _, items) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(epoch + number / steps, recipe)
        features, logits = network(fabric.to_device(images))
        features, several = interpolated(features, fabric.to_device(labels), recipe.slerp)
        terms = loss(features, detector.encoder.head(features) if recipe.slerp else logits, several)
        if not torch.isfinite(terms["total"]):
            raise ValueError(f"loss is {terms['total'].item()} on the batch of crops {items.tolist()} (rows of the "
                             "sample): lower lnclip.learning_rate or look at these crops")
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(terms["total"])
        optimizer.step()
        sums.add(terms, len(images))
    means = sums.means()
    return {"train_loss": means.pop("total"), **means, "learning_rate": optimizer.param_groups[0]["lr"]}


@torch.no_grad()
def evaluate(network: Detector, batches: track, videos: Sequence[str], loss: SphereObjective,
             fabric: Fabric) -> dict[str, float]:
    """``validation_loss`` (mean of the batches' totals), ``video_auc`` and ``video_map`` in [0, 1].

    A crop's feature is the normalised mean over its views, a video's score the mean P(fake) of its crops.
    """
    network.eval()
    sums, scores, targets = Sums(), [], []
    for images, labels, *_ in batches:
        features, logits = (part.unflatten(0, images.shape[:2])
                            for part in network(fabric.to_device(images).flatten(0, 1)))
        sums.add(loss(F.normalize(features.mean(1), dim=1), logits.mean(1), fabric.to_device(labels)), len(images))
        scores.append(logits.float().softmax(-1).mean(1)[:, 1].cpu())
        targets.append(labels)
    crops = pd.DataFrame({"video": videos, "label": torch.cat(targets), "score": torch.cat(scores).double()})
    of_video = crops.groupby("video").mean()
    label, score = of_video["label"].to_numpy().astype(np.int64), of_video["score"].to_numpy()
    return {"validation_loss": sums.means()["total"], "video_auc": auc(label, score),
            "video_map": float(average_precision_score(label, score))}


@torch.inference_mode()
def features(detector: Detector, loader: DataLoader, fabric: Fabric) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit features ``[N, D]`` (normalised means over views) and labels ``[N]`` of a loader's crops, on the CPU."""
    detector.eval()
    found = [(F.normalize(detector.embed(fabric.to_device(images).flatten(0, 1)).unflatten(0, images.shape[:2]).mean(1),
                          dim=1).cpu(), labels) for images, labels, *_ in loader]
    return torch.cat([part for part, _ in found]), torch.cat([part for _, part in found])


def manifest(recipe: LnClip, norm: Normalisation, best_epoch: int) -> dict:
    """What a user of the weights must know: method, network, classes, normalisation, recipe."""
    return {"method": "lnclip", "architecture": recipe.architecture, "depth": recipe.depth,
            "input_size": recipe.input_size, "views": recipe.augmentation, "classes": list(CLASSES),
            "mean": list(norm.mean), "std": list(norm.std), "best_epoch": best_epoch, "train": asdict(recipe)}
