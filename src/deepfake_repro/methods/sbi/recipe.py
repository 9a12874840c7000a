"""SBI's recipe: pairs of a real face and its self-blended copy, sharpness-aware SGD.

Only real crops are read, in training and in validation: the fakes are made here. SBI publishes its
last epoch, so that is what is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
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
from ...training.devices import gather_across_devices, with_progress
from ...training.loading import Batch, derive_seed
from ...training.loop import Loop, Sums, Terms, TrainingResult
from ...training.losses import cross_entropy
from ...training.schedules import StepSchedule
from ...training.transforms import Normalisation, evaluation_transform
from .blending import Draws, Pairs, random_views, self_blend


class Sam:
    """Sharpness-aware minimisation (Foret et al. 2021): use the gradient ``radius`` uphill.

    Without ``climb`` before it, ``step`` is the optimizer's own.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, radius: float) -> None:
        self.optimizer = optimizer
        self.radius = radius
        self.moves: list[tuple[torch.Tensor, torch.Tensor]] = []

    @torch.no_grad()
    def climb(self) -> None:
        """Move all weights by ``radius`` along the gradient; call between the backward passes."""
        weights = [
            weight
            for group in self.optimizer.param_groups
            for weight in group["params"]
            if weight.grad is not None
        ]
        norm = torch.stack([weight.grad.norm() for weight in weights]).norm()
        self.moves = [(weight, weight.grad * (self.radius / (norm + 1e-12))) for weight in weights]
        for weight, move in self.moves:
            weight.add_(move)
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def step(self) -> None:
        """Return to where ``climb`` began and step along the gradient computed uphill."""
        for weight, move in self.moves:
            weight.sub_(move)
        self.moves = []
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def build_optimizer(model: Detector, recipe: Sbi) -> torch.optim.Optimizer:
    """Build ``sgd``, as in SBI, or ``adamw`` with layer-wise decay, for a ViT.

    Raises ``ValueError`` for another name.
    """
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


def learning_rate(recipe: Sbi, epoch: int, share: float = 0.0) -> float:
    """Compute the rate at a ``share`` of epoch 0, 1, …: constant, then linear to 0.

    As in SBI it falls from epoch to epoch, after ``constant_epochs``; within the first
    ``warmup_epochs`` (SBI: none) it rises from step to step.
    """
    falling_epochs = recipe.epochs - recipe.constant_epochs
    falling = (recipe.epochs - epoch) / falling_epochs if falling_epochs else 1.0
    rising = (epoch + share) / recipe.warmup_epochs if epoch < recipe.warmup_epochs else 1.0
    return recipe.learning_rate * min(1.0, rising, falling)


def normalise(images: torch.Tensor, norm: Normalisation) -> torch.Tensor:
    """Turn uint8 ``[B, 3, S, S]`` into the network's input, float32."""
    mean = torch.tensor(norm.mean, device=images.device)[:, None, None]
    std = torch.tensor(norm.std, device=images.device)[:, None, None]
    return (images.float() / 255 - mean) / std


@dataclass(frozen=True)
class Task:
    """Turns batches into inputs: recipe, normalisation, and how much crops were enlarged."""

    recipe: Sbi
    norm: Normalisation
    margin: float

    def pairs(
        self, batch: list[torch.Tensor], generator: torch.Generator, rank: int = 0, world: int = 1
    ) -> Pairs:
        """Self-blend a batch over ``RealCrops``, or this device's part of it."""
        images, hulls, _ = batch
        draws = Draws(generator, len(images), images.device, rank, world)
        return self_blend(images, hulls, self.recipe.blend, draws)

    def training_inputs(
        self, pairs: Pairs, generator: torch.Generator, rank: int = 0, world: int = 1
    ) -> torch.Tensor:
        """Cut a random view per pair, the same of both images: ``[2B, 3, s, s]``, reals first."""
        draws = Draws(generator, len(pairs.real), pairs.real.device, rank, world)
        images = torch.cat([pairs.real, pairs.fake])
        return normalise(random_views(images, self.recipe, self.margin, draws), self.norm)

    def evaluation_inputs(self, pairs: Pairs) -> torch.Tensor:
        """Cut the fixed views of evaluation: ``[2B, V, 3, s, s]``, reals first."""
        view = evaluation_transform(self.recipe.augmentation, self.recipe.input_size, self.norm)
        images = torch.cat([pairs.real, pairs.fake]).permute(0, 2, 3, 1)
        return torch.stack([view(image) for image in images.cpu().numpy()]).to(images.device)


def pair_loss(logits: torch.Tensor) -> torch.Tensor:
    """Compute the cross-entropy of logits ``[2B, 2]``, reals first, then fakes."""
    labels = torch.arange(2, device=logits.device).repeat_interleave(len(logits) // 2)
    return cross_entropy(logits, labels)


class _Sbi(Loop):
    """The steps of ``train_sbi``."""

    block = "sbi"
    size = "pairs"
    rows = "real crops"

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
        recipe = task.recipe
        steps = len(train)
        synced = sync_batch_norms(model, fabric)
        self.model, optimizer = fabric.setup(synced, build_optimizer(model, recipe))

        def rate_at(step: int) -> float:
            return learning_rate(recipe, step // steps, (step % steps + 1) / steps)

        schedule = StepSchedule(optimizer, rate_at)
        super().__init__(train, optimizer, schedule, recipe, fabric=fabric, **rest)
        self.validation = validation
        self.task = task
        self.sam = Sam(optimizer, recipe.sam_radius)
        self.parts["model"] = model

    def loss(self) -> torch.Tensor:
        """Compute the loss of the whole batch; ``inputs`` is this device's part."""
        _, logits = over_views(self.model, self.inputs)
        return pair_loss(gather_across_devices(logits, self.fabric))

    def terms(self, batch: Batch) -> Terms:
        self.model.train()
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.step, 1))
        part = (self.fabric.global_rank, self.fabric.world_size)
        pairs = self.task.pairs([self.fabric.to_device(each) for each in batch], generator, *part)
        self.inputs = self.task.training_inputs(pairs, generator, *part)
        return {"total": self.loss()}

    def update(self) -> None:
        if self.recipe.sam_radius:
            self.sam.climb()
            self.fabric.backward(self.loss())
        self.sam.step()

    def finish_epoch(self, means: dict[str, float], caption: str) -> dict[str, float]:
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        return {
            "train_loss": means["total"],
            "active_fraction": 0.0,
            "learning_rate": rate,
            **self.validate(caption),
        }

    @torch.no_grad()
    def validate(self, caption: str) -> dict[str, float]:
        """Compute loss and AUC over pairs of the validation faces.

        The pairs are the same after every epoch and on every device.
        """
        torch.manual_seed(0)  # for the hulls that the loader draws
        generator = torch.Generator().manual_seed(0)
        sums = Sums()
        scores = []
        self.model.eval()
        batches = with_progress(
            self.validation, f"{caption} validation", len(self.validation), self.fabric
        )
        for batch in batches:
            pairs = self.task.pairs([self.fabric.to_device(part) for part in batch], generator)
            _, logits = over_views(self.model, self.task.evaluation_inputs(pairs))
            sums.add({"total": pair_loss(logits)}, len(batch[0]))
            scores.append(logits.float().softmax(1)[:, 1].unflatten(0, (2, -1)).cpu())
        real, fake = torch.cat(scores, 1).numpy()
        labels = np.repeat([0, 1], [len(real), len(fake)])
        return {
            "validation_loss": sums.means()["total"],
            "validation_auc": auc(labels, np.concatenate([real, fake])),
        }


def sync_batch_norms(model: Detector, fabric: Fabric) -> Detector:
    """Let an EfficientNet's batch norms see the whole batch on several devices.

    Raises ``ValueError`` on several CPUs, which cannot do that.
    """
    has_batch_norms = any(isinstance(part, nn.BatchNorm2d) for part in model.modules())
    if fabric.world_size == 1 or not has_batch_norms:
        return model
    if fabric.device.type != "cuda":
        config = model.encoder.default_cfg
        assert isinstance(config, dict)
        raise ValueError(
            f"sbi.architecture {config['architecture']} has batch norms, which processes on CPUs "
            "cannot share: train on one process, or on GPUs"
        )
    model.encoder = convert_sync_batchnorm(model.encoder)
    return model


def train_sbi(
    model: Detector,
    train: DataLoader,
    validation: DataLoader,
    task: Task,
    *,
    seed: int,
    scratch: Path,
    fabric: Fabric,
    report: Callable[[str], None] = print,
) -> TrainingResult:
    """Train ``model`` in place on self-blended pairs; the loaders are over ``RealCrops``.

    The history has the columns of fine-tuning and ``validation_auc``. Resumes from
    ``scratch/last.pt`` and then repeats an uninterrupted run exactly; several devices repeat one up
    to rounding. Published weights (``recipe.weights``) are not trained: their only row, epoch 0,
    has their validation scores. Raises ``ValueError`` for a loss that is not finite, naming the
    crops, and for batch norms on several CPUs.
    """
    run = _Sbi(
        model, train, validation, task, seed=seed, scratch=scratch, fabric=fabric, report=report
    )
    if task.recipe.weights:
        row = {"epoch": 0, "train_loss": math.nan, "active_fraction": 0.0, "learning_rate": 0.0}
        return TrainingResult(pd.DataFrame([row | run.validate("published weights")]))
    history = run.run()
    return TrainingResult(history, run.watch.summary())
