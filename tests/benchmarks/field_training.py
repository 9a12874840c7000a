"""How the field fine-tunes, written from the description of FSFM's loop: the baseline of
``test_training_bench``.

A file per crop, read and augmented by PIL; workers started anew in every epoch; the rate set in
each step; fp16 autocast with a gradient scaler (on a CPU ``amp``: bf16 or none); the loss read to
the host, the norm of the gradient computed though nothing is clipped, the device waited for in each
step; AdamW without options; Batch All from pytorch-metric-learning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from pytorch_metric_learning import distances, losses, reducers
from timm.optim import param_groups_layer_decay
from torch.utils.data import DataLoader, Dataset

from deepfake_repro.project.params import Variant
from deepfake_repro.project.recipes import Train
from deepfake_repro.training.detector import Detector
from deepfake_repro.training.transforms import Normalisation, training_transform


class Files(Dataset):
    """Image files and labels."""

    def __init__(
        self, files: Sequence[Path], labels: Sequence[int], recipe: Train, norm: Normalisation
    ) -> None:
        self.files, self.labels = files, labels
        _, self.transform = training_transform(
            "fsfm", recipe.input_size, norm
        ).transforms  # without its ToPILImage

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.files[item]).convert("RGB")), int(self.labels[item])


def train(
    model: Detector,
    data: Files,
    recipe: Train,
    row: Variant,
    device: torch.device,
    workers: int,
    amp: torch.dtype | None,
) -> int:
    """Train ``recipe.epochs``; the number of images seen."""
    loader = DataLoader(
        data,
        recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    groups = param_groups_layer_decay(
        model.encoder, recipe.weight_decay, layer_decay=recipe.layer_decay
    )
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    scaler = torch.amp.GradScaler(device.type, enabled=amp is torch.float16)
    triplets = losses.TripletMarginLoss(
        margin=row.loss.margin,
        distance=distances.LpDistance(normalize_embeddings=False),
        reducer=reducers.AvgNonZeroReducer(),
    )
    model.train().to(device)
    for epoch in range(recipe.epochs):
        for step, (images, labels) in enumerate(loader):
            set_rates(optimizer, recipe, epoch + step / len(loader))
            images, labels = (
                images.to(device, non_blocking=True),
                labels.to(device, non_blocking=True),
            )
            with torch.autocast(device.type, amp or torch.bfloat16, enabled=amp is not None):
                embeddings, logits = model(images)
                loss = torch.nn.functional.cross_entropy(
                    logits, labels
                ) + row.loss.weight * triplets(embeddings, labels)
            if not math.isfinite(loss.item()):
                raise ValueError(f"loss is {loss.item()}")
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.stack(
                [p.grad.norm() for p in model.parameters() if p.grad is not None]
            ).norm().item()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            if device.type == "cuda":
                torch.cuda.synchronize()
    return recipe.epochs * len(loader) * recipe.batch_size


def set_rates(optimizer: torch.optim.Optimizer, recipe: Train, epoch: float) -> None:
    """Linear warm-up, half a cosine, by group."""
    if epoch < recipe.warmup_epochs:
        rate = recipe.learning_rate * epoch / recipe.warmup_epochs
    else:
        share = (epoch - recipe.warmup_epochs) / (recipe.epochs - recipe.warmup_epochs)
        low, high = recipe.min_learning_rate, recipe.learning_rate
        rate = low + (high - low) * (1 + math.cos(math.pi * share)) / 2
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
