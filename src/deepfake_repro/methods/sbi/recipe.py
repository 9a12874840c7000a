"""SBI's recipe: pairs of a real face and its self-blended copy, sharpness-aware SGD, a rate that falls at the end.

Only real crops are read, in training and in validation: the fakes are made here. What SBI publishes
is its last epoch, so that is what is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from timm.layers import convert_sync_batchnorm
from timm.optim import param_groups_layer_decay
from torch import nn
from torch.utils.data import DataLoader

from ...evaluation.metrics import auc
from ...project.recipes import Sbi
from ...training.detector import Detector, over_views
from ...training.devices import gathered, shown
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
        weights = [
            w
            for group in self.optimizer.param_groups
            for w in group["params"]
            if w.grad is not None
        ]
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
        return torch.optim.SGD(
            model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum
        )
    if recipe.optimiser == "adamw":
        groups = param_groups_layer_decay(
            model.encoder, recipe.weight_decay, layer_decay=recipe.layer_decay
        )
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999))
    raise ValueError(f"sbi.optimiser is {recipe.optimiser!r}; known: sgd, adamw")


def rate(recipe: Sbi, epoch: int, share: float = 0.0) -> float:
    """Learning rate at a ``share`` of epoch 0, 1, …: constant up to ``constant_epochs``, then linearly to 0.

    As SBI has it, it falls from epoch to epoch; within the first ``warmup_epochs`` (SBI: none) it
    rises from step to step.
    """
    falling = recipe.epochs - recipe.constant_epochs
    rising = (epoch + share) / recipe.warmup_epochs if epoch < recipe.warmup_epochs else 1.0
    return recipe.learning_rate * min(
        1.0, rising, (recipe.epochs - epoch) / falling if falling else 1.0
    )


def normalised(images: torch.Tensor, norm: Normalisation) -> torch.Tensor:
    """uint8 ``[B, 3, S, S]`` -> the network's input, float32."""
    mean, std = (
        torch.tensor(part, device=images.device)[:, None, None] for part in (norm.mean, norm.std)
    )
    return (images.float() / 255 - mean) / std


@dataclass(frozen=True)
class Task:
    """What turns loader batches into inputs and labels: recipe, normalisation, and how far crops are enlarged."""

    recipe: Sbi
    norm: Normalisation
    margin: float

    def pairs(
        self, batch: list[torch.Tensor], generator: torch.Generator, rank: int = 0, world: int = 1
    ) -> Pairs:
        """The self-blended pairs of one batch of a loader over ``RealCrops``, or of this device's part of it."""
        images, hulls, _ = batch
        return self_blend(
            images,
            hulls,
            self.recipe.blend,
            Draws(generator, len(images), images.device, rank, world),
        )

    def training_inputs(
        self, pairs: Pairs, generator: torch.Generator, rank: int = 0, world: int = 1
    ) -> torch.Tensor:
        """A random view of each image, the same of both images of a pair: ``[2B, 3, s, s]``, reals first."""
        draws = Draws(generator, len(pairs.real), pairs.real.device, rank, world)
        return normalised(
            random_views(torch.cat([pairs.real, pairs.fake]), self.recipe, self.margin, draws),
            self.norm,
        )

    def evaluation_inputs(self, pairs: Pairs) -> torch.Tensor:
        """The fixed views in which test crops are seen: ``[2B, V, 3, s, s]``, reals first."""
        view = evaluation_transform(self.recipe.augmentation, self.recipe.input_size, self.norm)
        images = torch.cat([pairs.real, pairs.fake]).permute(0, 2, 3, 1)
        return torch.stack([view(image) for image in images.cpu().numpy()]).to(images.device)


@dataclass(frozen=True)
class SbiFit:
    """Outcome of ``fit``: a row per epoch (columns as those of ``Fit``, and ``validation_auc``), and at what
    speed (``loop.Stopwatch``).
    """

    history: pd.DataFrame
    speed: dict[str, float] = field(default_factory=dict)


def pair_loss(logits: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits ``[2B, 2]`` whose first half is of real images and the second of fake ones."""
    return cross_entropy(
        logits, torch.arange(2, device=logits.device).repeat_interleave(len(logits) // 2)
    )


class _Sbi(Loop):
    """The steps of ``fit``."""

    block, size, rows = "sbi", "pairs", "real crops"

    def __init__(
        self,
        model: Detector,
        train: DataLoader,
        validation: DataLoader,
        task: Task,
        *,
        fabric: Fabric,
        **rest: Any,
    ) -> None:
        recipe, steps = task.recipe, len(train)
        self.model, optimizer = fabric.setup(
            norms_of_whole_batches(model, fabric), optimiser(model, recipe)
        )
        clock = Rate(
            optimizer, lambda step: rate(recipe, step // steps, (step % steps + 1) / steps)
        )
        super().__init__(train, optimizer, clock, recipe, fabric=fabric, **rest)
        self.validation, self.task, self.sam = validation, task, Sam(optimizer, recipe.sam_radius)
        self.parts["model"] = model

    def loss(self) -> torch.Tensor:
        """Cross-entropy of the whole batch, of which this device has ``inputs``."""
        _, logits = over_views(self.model, self.inputs)
        return pair_loss(gathered(logits, self.fabric))

    def terms(self, batch: Batch) -> Terms:
        self.model.train()
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.step, 1))
        mine = self.fabric.global_rank, self.fabric.world_size
        pairs = self.task.pairs([self.fabric.to_device(part) for part in batch], generator, *mine)
        self.inputs = self.task.training_inputs(pairs, generator, *mine)
        return {"loss": self.loss()}

    def update(self) -> None:
        if self.recipe.sam_radius:
            self.sam.climb()
            self.fabric.backward(self.loss())
        self.sam.step()

    def finish_epoch(self, means: dict[str, float], what: str) -> dict[str, float]:
        top = max(group["lr"] for group in self.optimizer.param_groups)
        return {
            "train_loss": means["loss"],
            "active_fraction": 0.0,
            "learning_rate": top,
            **self.validate(what),
        }

    @torch.no_grad()
    def validate(self, what: str) -> dict[str, float]:
        """Loss and AUC over pairs of the validation faces, the same pairs after every epoch and on every device."""
        torch.manual_seed(0)  # which hulls the loader draws
        generator, sums, scores = torch.Generator().manual_seed(0), Sums(), []
        self.model.eval()
        for batch in shown(
            self.validation, f"{what} validation", len(self.validation), self.fabric
        ):
            batch = [self.fabric.to_device(part) for part in batch]
            _, logits = over_views(
                self.model, self.task.evaluation_inputs(self.task.pairs(batch, generator))
            )
            sums.add({"loss": pair_loss(logits)}, len(batch[0]))
            scores.append(logits.float().softmax(1)[:, 1].unflatten(0, (2, -1)).cpu())
        real, fake = torch.cat(scores, 1).numpy()
        labels = np.repeat([0, 1], [len(real), len(fake)])
        return {
            "validation_loss": sums.means()["loss"],
            "validation_auc": auc(labels, np.concatenate([real, fake])),
        }


def norms_of_whole_batches(model: Detector, fabric: Fabric) -> Detector:
    """``model``; on several devices an EfficientNet's batch norms count the whole batch, which CPUs cannot do."""
    if fabric.world_size == 1 or not any(
        isinstance(part, nn.BatchNorm2d) for part in model.modules()
    ):
        return model
    if fabric.device.type != "cuda":
        raise ValueError(
            f"sbi.architecture {model.encoder.default_cfg['architecture']} has batch norms, which processes "
            "on CPUs cannot share: train on one process, or on GPUs"
        )
    model.encoder = convert_sync_batchnorm(model.encoder)
    return model


def fit(
    model: Detector,
    train: DataLoader,
    validation: DataLoader,
    task: Task,
    *,
    seed: int,
    scratch: Path,
    fabric: Fabric,
    report: Callable[[str], None] = print,
) -> SbiFit:
    """Train ``model`` in place for ``recipe.epochs`` on self-blended pairs; loaders are over ``RealCrops``.

    Resumes from ``scratch/last.pt`` and then repeats an uninterrupted run exactly; several devices
    repeat one up to rounding. Weights of SBI's authors (``recipe.weights``) are not trained: their
    one row, epoch 0, is how they do in validation. Raises ``ValueError`` on a non-finite loss,
    naming the crops, and for batch norms on several CPUs.
    """
    run = _Sbi(
        model, train, validation, task, seed=seed, scratch=scratch, fabric=fabric, report=report
    )
    if task.recipe.weights:
        nothing = {"epoch": 0, "train_loss": math.nan, "active_fraction": 0.0, "learning_rate": 0.0}
        return SbiFit(pd.DataFrame([nothing | run.validate("published weights")]))
    return SbiFit(run.run(), run.watch.summary())
