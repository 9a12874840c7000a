"""How the field fine-tunes: the baseline of ``certify`` and of the benchmark of training.

Written from the description of FSFM's loop. A file per crop, read and augmented by PIL; workers
started anew in every epoch; the rate set in each step; fp16 autocast with a gradient scaler (on a
CPU ``amp``: bf16 or none); the loss read to the host, the norm of the gradient computed though
nothing is clipped, the device waited for in each step; AdamW without options; Batch All from
pytorch-metric-learning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from pytorch_metric_learning import distances, losses, reducers
from timm.optim import param_groups_layer_decay
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from ...project.params import Variant
from ...project.recipes import Train
from ...training.detector import Detector
from ...training.transforms import Normalisation, training_transform


class Files(Dataset):
    """Image files and labels."""

    def __init__(
        self, files: Sequence[Path], labels: Sequence[int], recipe: Train, norm: Normalisation
    ) -> None:
        self.files = files
        self.labels = labels
        whole = training_transform(recipe.augmentation, recipe.input_size, norm)
        assert isinstance(whole, v2.Compose)
        # The images come from PIL already.
        steps = [step for step in whole.transforms if not isinstance(step, v2.ToPILImage)]
        self.transform = v2.Compose(steps)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.files[item]).convert("RGB")), int(self.labels[item])


def build_loader(data: Files, recipe: Train, workers: int, on_gpu: bool) -> DataLoader:
    """Load shuffled batches."""
    return DataLoader(
        data,
        recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=on_gpu,
    )


def train(
    model: Detector,
    loader: DataLoader,
    recipe: Train,
    row: Variant,
    device: torch.device,
    amp: torch.dtype | None,
) -> int:
    """Train ``recipe.epochs`` and return the number of images seen."""
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
            images = images.to(device, non_blocking=True)
            labels = labels.to(device, non_blocking=True)
            with torch.autocast(device.type, amp or torch.bfloat16, enabled=amp is not None):
                embeddings, logits = model(images)
                triplet = triplets(embeddings, labels)
                loss = cross_entropy(logits, labels) + row.loss.weight * triplet
            if not math.isfinite(loss.item()):
                raise ValueError(f"loss is {loss.item()}")
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            gradients = [each.grad.norm() for each in model.parameters() if each.grad is not None]
            torch.stack(gradients).norm().item()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            if device.type == "cuda":
                torch.cuda.synchronize()
    return recipe.epochs * len(loader) * recipe.batch_size


def set_rates(optimizer: torch.optim.Optimizer, recipe: Train, epoch: float) -> None:
    """Set the rate of each group: linear warm-up, then half a cosine."""
    if epoch < recipe.warmup_epochs:
        rate = recipe.learning_rate * epoch / recipe.warmup_epochs
    else:
        share = (epoch - recipe.warmup_epochs) / (recipe.epochs - recipe.warmup_epochs)
        low, high = recipe.min_learning_rate, recipe.learning_rate
        rate = low + (high - low) * (1 + math.cos(math.pi * share)) / 2
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
