"""SBI's recipe: pairs of a real face and its self-blended copy, sharpness-aware SGD, a rate that falls at the end.

Only real crops are read, in training and in validation: the fakes are made here. What SBI publishes is its last
epoch, so that is what is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from timm.optim import param_groups_layer_decay
from torch.utils.data import DataLoader

from ...evaluation.metrics import auc
from ...project.params import Variant
from ...project.progress import track
from ...project.recipes import Sbi
from ...training.detector import Detector, over_views
from ...training.labels import class_names as classes
from ...training.loading import Batch, seed_of
from ...training.loop import Loop, Rate, Sums, Terms
from ...training.losses import cross_entropy
from ...training.transforms import Normalisation, evaluation_transform
from .blending import Draws, Pairs, random_views, self_blend


class Sam:
    """Sharpness-aware minimisation (Foret et al. 2021): the gradient is taken ``radius`` uphill of the weights.

    Without ``climb`` before it, ``step`` is the optimiser's own.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, radius: float) -> None:
        self.optimizer, self.radius, self.moves = optimizer, radius, []

    @torch.no_grad()
    def climb(self) -> None:
        """Move all weights by ``radius`` along the gradient; call between the two backward passes."""
        weights = [w for group in self.optimizer.param_groups for w in group["params"] if w.grad is not None]
        norm = torch.stack([w.grad.norm() for w in weights]).norm()
        self.moves = [(w, w.grad * (self.radius / (norm + 1e-12))) for w in weights]
        for weight, move in self.moves:
            weight.add_(move)
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def step(self) -> None:
        """Go back to where ``climb`` began and step by the gradient found uphill."""
        for weight, move in self.moves:
            weight.sub_(move)
        self.moves = []
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def optimiser(model: Detector, recipe: Sbi) -> torch.optim.Optimizer:
    """``sgd`` as SBI, or ``adamw`` with decay by layer, for a ViT. Raises ``ValueError`` for another name."""
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum)
    if recipe.optimiser == "adamw":
        groups = param_groups_layer_decay(model.encoder, recipe.weight_decay, layer_decay=recipe.layer_decay)
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999))
    raise ValueError(f"sbi.optimiser is {recipe.optimiser!r}; known: sgd, adamw")


def rate(recipe: Sbi, epoch: int, share: float = 0.0) -> float:
    """Learning rate at a ``share`` of epoch 0, 1, …: constant up to ``constant_epochs``, then linearly to 0.

    As SBI has it, it falls from epoch to epoch; within the first ``warmup_epochs`` (SBI: none) it rises from step to
    step.
    """
    falling = recipe.epochs - recipe.constant_epochs
    rising = (epoch + share) / recipe.warmup_epochs if epoch < recipe.warmup_epochs else 1.0
    return recipe.learning_rate * min(1.0, rising, (recipe.epochs - epoch) / falling if falling else 1.0)


def normalised(images: torch.Tensor, norm: Normalisation) -> torch.Tensor:
    """uint8 ``[B, 3, S, S]`` -> the network's input, float32."""
    mean, std = (torch.tensor(part, device=images.device)[:, None, None] for part in (norm.mean, norm.std))
    return (images.float() / 255 - mean) / std


@dataclass(frozen=True)
class Task:
    """What turns loader batches into inputs and labels: recipe, normalisation, and how far crops are enlarged."""

    recipe: Sbi
    norm: Normalisation
    margin: float

    def pairs(self, batch: list[torch.Tensor], generator: torch.Generator) -> Pairs:
        """The self-blended pairs of one batch of a loader over ``RealCrops``."""
        images, hulls, _ = batch
        return self_blend(images, hulls, self.recipe.blend, Draws(generator, len(images), images.device))

    def training_inputs(self, pairs: Pairs, generator: torch.Generator) -> torch.Tensor:
        """A random view of each image, the same of both images of a pair: ``[2B, 3, s, s]``, reals first."""
        draws = Draws(generator, len(pairs.real), pairs.real.device)
        return normalised(random_views(torch.cat([pairs.real, pairs.fake]), self.recipe, self.margin, draws), self.norm)

    def evaluation_inputs(self, pairs: Pairs) -> torch.Tensor:
        """The fixed views in which test crops are seen: ``[2B, V, 3, s, s]``, reals first."""
        view = evaluation_transform(self.recipe.augmentation, self.recipe.input_size, self.norm)
        images = torch.cat([pairs.real, pairs.fake]).permute(0, 2, 3, 1)
        return torch.stack([view(image) for image in images.cpu().numpy()]).to(images.device)


@dataclass(frozen=True)
class SbiFit:
    """Outcome of ``fit``: a row per epoch (columns as those of ``training.Fit``, and ``validation_auc``), and at what
    speed (``loop.Stopwatch``).
    """

    history: pd.DataFrame
    speed: dict[str, float] = field(default_factory=dict)


class _Sbi(Loop):
    """The steps of ``fit``."""

    block, size, rows = "sbi", "pairs", "real crops"

    def __init__(self, model: Detector, train: DataLoader, validation: DataLoader, task: Task, *, fabric: Fabric,
                 **rest: Any) -> None:
        recipe, steps = task.recipe, len(train)
        self.model, optimizer = fabric.setup(model, optimiser(model, recipe))
        clock = Rate(optimizer, lambda step: rate(recipe, step // steps, (step % steps + 1) / steps))
        super().__init__(train, optimizer, clock, recipe, fabric=fabric, **rest)
        self.validation, self.task, self.sam = validation, task, Sam(optimizer, recipe.sam_radius)
        self.parts["model"] = model

    def loss(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross-entropy and logits ``[2B, 2]`` of inputs whose first half is real."""
        _, logits = over_views(self.model, inputs)
        labels = torch.arange(2, device=inputs.device).repeat_interleave(len(inputs) // 2)
        return cross_entropy(logits, labels), logits

    def terms(self, batch: Batch) -> Terms:
        self.model.train()
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.step, 1))
        pairs = self.task.pairs([self.fabric.to_device(part) for part in batch], generator)
        self.inputs = self.task.training_inputs(pairs, generator)
        return {"loss": self.loss(self.inputs)[0]}

    def update(self) -> None:
        if self.recipe.sam_radius:
            self.sam.climb()
            self.fabric.backward(self.loss(self.inputs)[0])
        self.sam.step()

    def finish_epoch(self, means: dict[str, float], what: str) -> dict[str, float]:
        top = max(group["lr"] for group in self.optimizer.param_groups)
        return {"train_loss": means["loss"], "active_fraction": 0.0, "learning_rate": top, **self.validate(what)}

    @torch.no_grad()
    def validate(self, what: str) -> dict[str, float]:
        """Loss and AUC over pairs of the validation faces, the same pairs after every epoch."""
        torch.manual_seed(0)  # which hulls the loader draws
        generator, sums, scores = torch.Generator().manual_seed(0), Sums(), []
        self.model.eval()
        for batch in track(self.validation, f"{what} validation"):
            batch = [self.fabric.to_device(part) for part in batch]
            loss, logits = self.loss(self.task.evaluation_inputs(self.task.pairs(batch, generator)))
            sums.add({"loss": loss}, len(batch[0]))
            scores.append(logits.float().softmax(1)[:, 1].unflatten(0, (2, -1)).cpu())
        real, fake = torch.cat(scores, 1).numpy()
        labels = np.repeat([0, 1], [len(real), len(fake)])
        return {"validation_loss": sums.means()["loss"], "validation_auc": auc(labels, np.concatenate([real, fake]))}


def fit(model: Detector, train: DataLoader, validation: DataLoader, task: Task, *, seed: int, scratch: Path,
        fabric: Fabric, report: Callable[[str], None] = print) -> SbiFit:
    """Train ``model`` in place for ``recipe.epochs`` on self-blended pairs; loaders are over ``RealCrops``. One device.

    Resumes from ``scratch/last.pt`` and then repeats an uninterrupted run exactly. Weights of SBI's authors
    (``recipe.weights``) are not trained: their one row, epoch 0, is how they do in validation. Raises ``ValueError``
    on a non-finite loss, naming the crops.
    """
    run = _Sbi(model, train, validation, task, seed=seed, scratch=scratch, fabric=fabric, report=report)
    if task.recipe.weights:
        nothing = {"epoch": 0, "train_loss": math.nan, "active_fraction": 0.0, "learning_rate": 0.0}
        return SbiFit(pd.DataFrame([nothing | run.validate("published weights")]))
    return SbiFit(run.run(), run.watch.summary())


def manifest(recipe: Sbi, variant: Variant, norm: Normalisation, trained_epochs: int) -> dict:
    """What a user of the weights must know, under the keys of ``training.manifest``."""
    return {"architecture": recipe.architecture, "depth": recipe.depth, "input_size": recipe.input_size,
            "views": recipe.augmentation, "classes": list(classes("binary")), "mean": list(norm.mean),
            "std": list(norm.std), "best_epoch": trained_epochs, "variant": asdict(variant), "train": asdict(recipe)}
