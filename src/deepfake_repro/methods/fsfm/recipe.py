"""FSFM's pre-training at any scale: masked image modelling, instance discrimination (Section 3.2).

An *online* network sees a quarter of the patches of a real face. It must reconstruct the hidden
ones (``L_m``, and ``L_fr`` over the region that is hidden whole), and describe the face as a slowly
following *target* network does that sees all of it (``L_sim``). Written from the published
description; it contains no code of FSFM.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from timm.layers import Attention
from timm.scheduler import CosineLRScheduler
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ...project.recipes import Pretrain
from ...training.devices import gather_across_devices
from ...training.loading import Batch, derive_seed
from ...training.loop import Loop, Terms, TrainingResult
from ...training.schedules import warmup_cosine
from ...training.transforms import Normalisation
from .masks import crfr_p
from .networks import FSFM, Target, build_target


@torch.no_grad()
def follow(target: Target, model: FSFM, momentum: float) -> None:
    """Take one step of the moving average: theta_k <- m theta_k + (1 - m) theta_q."""
    online = dict(model.named_parameters())
    for name, parameter in target.named_parameters():
        parameter.lerp_(online[name], 1 - momentum)


def momentum_at(step: int, steps: int, start: float = 0.996) -> float:
    """Compute the momentum before step ``step`` of ``steps``: half a cosine from ``start`` to 1."""
    return 1 - (1 - start) / 2 * (1 + math.cos(math.pi * step / steps))


def patchify(images: torch.Tensor, patch: int) -> torch.Tensor:
    """Cut ``[B, 3, S, S]`` into patches ``[B, N, 3 p²]``.

    Patches are in row order, and so are the pixels of each; channels come last.
    """
    batch, channels, height, width = images.shape
    parts = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return parts.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def unpatchify(patches: torch.Tensor, patch: int) -> torch.Tensor:
    """Invert ``patchify`` for square images."""
    side = math.isqrt(patches.shape[1])
    parts = patches.reshape(len(patches), side, side, patch, patch, -1)
    return parts.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, side * patch, side * patch)


def _moments(patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute mean and standard deviation (unbiased variance, + 1e-6) per patch, ``[B, N, 1]``."""
    return patches.mean(-1, keepdim=True), (patches.var(-1, keepdim=True) + 1e-6).sqrt()


def normalised_patches(images: torch.Tensor, patch: int) -> torch.Tensor:
    """Compute the pixel decoder's target: patches ``[B, N, 3 p²]``, standardised one by one."""
    patches = patchify(images, patch)
    mean, deviation = _moments(patches)
    return (patches - mean) / deviation


def patch_errors(predicted: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Compute the mean squared error per patch, fp32 ``[B, N]``, of patches ``[B, N, 3 p²]``."""
    return (predicted.float() - expected).square().mean(-1)


def reconstruction_losses(
    errors: torch.Tensor, mask: torch.Tensor, facial: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute ``L_m`` and ``L_fr``: mean error over hidden patches, and over the hidden region.

    ``errors`` of the patches and masks ``[B, N]``; sums run over the whole batch. A batch whose
    faces all lack the region has ``L_fr`` = 0 (FSFM divides 0 by 0 there).
    """
    hidden, region = ((errors * part).sum() / part.sum().clamp(min=1) for part in (mask, facial))
    return hidden, region


def similarity_loss(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Compute ``L_sim`` = -1/2 · mean cosine of queries and keys ``[B, out]``."""
    return -0.5 * F.cosine_similarity(query.float(), key.float()).mean()


@torch.no_grad()
def reconstruct(model: FSFM, images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Fill the hidden patches of ``[B, 3, S, S]`` with the network's prediction, for viewing.

    The network predicts normalised patches; each is given the mean and deviation of the true one.
    """
    patches = patchify(images, model.patch)
    mean, deviation = _moments(patches)
    predicted = model(images, mask)[0].float() * deviation + mean
    return unpatchify(torch.where(mask[..., None], predicted, patches), model.patch)


def neighbours_agree(vectors: torch.Tensor, video: Sequence[str]) -> float:
    """Compute the share of ``vectors`` ``[N, D]`` whose nearest neighbour is of the same video."""
    unit = F.normalize(vectors, dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-2.0).argmax(1).tolist()
    return sum(video[item] == video[other] for item, other in enumerate(nearest)) / len(video)


def build_optimizer(model: FSFM, recipe: Pretrain) -> torch.optim.AdamW:
    """Build AdamW (0.9, 0.95); weight decay on tensors of two or more dimensions only.

    The encoder learns ``recipe.encoder_rate`` times as fast as the new parts: 1 where both start
    from scratch, less where the encoder has weights that the first steps under random decoders
    would spoil.
    """
    encoder = {id(parameter) for parameter in model.encoder_parameters()}
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        scale = recipe.encoder_rate if id(parameter) in encoder else 1.0
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((scale, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr_scale": scale, "weight_decay": decay}
            for (scale, decay), parameters in groups.items()
        ],
        lr=recipe.learning_rate,
        betas=(0.9, 0.95),
    )


def build_schedule(
    optimizer: torch.optim.Optimizer, recipe: Pretrain, steps_per_epoch: int
) -> CosineLRScheduler:
    """Build the schedule: linear warm-up from 0, then half a cosine to 0."""
    return warmup_cosine(
        optimizer,
        epochs=recipe.epochs,
        warmup_epochs=recipe.warmup_epochs,
        steps_per_epoch=steps_per_epoch,
        floor=0.0,
        block="pretrain",
    )


class _Pretraining(Loop):
    """The steps of ``pretrain``: the online network learns, the target follows it."""

    block = "pretrain"
    rows = "real training crops"

    def __init__(
        self, model: FSFM, loader: DataLoader, recipe: Pretrain, *, fabric: Fabric, **rest: Any
    ) -> None:
        self.online = model
        self.target = build_target(model, recipe)
        fabric.to_device(self.target)
        optimizer = build_optimizer(model, recipe)
        schedule = build_schedule(optimizer, recipe, len(loader))
        self.network, wrapped = fabric.setup(model, optimizer)
        super().__init__(loader, wrapped, schedule, recipe, fabric=fabric, **rest)
        self.parts |= {"model": model, "target": self.target}

    def momentum(self, step: int) -> float:
        return momentum_at(step, self.recipe.epochs * len(self.loader), self.recipe.momentum)

    def update(self) -> None:
        super().update()
        follow(self.target, self.online, self.momentum(self.step))

    def finish_epoch(self, means: dict[str, float], caption: str) -> dict[str, float]:
        return {
            "loss": means.pop("total"),
            **means,
            "learning_rate": max(group["lr"] for group in self.optimizer.param_groups),
            "momentum": self.momentum(self.step - 1),
        }

    def masks(self, groups: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the masks of all devices: CRFR-P draws one region for the whole batch."""
        gathered = gather_across_devices(self.fabric.to_device(groups.byte()), self.fabric)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.step, 1))
        return crfr_p(gathered.cpu().bool(), self.recipe.mask_ratio, generator)

    def terms(self, batch: Batch) -> Terms:
        self.network.train()
        fabric = self.fabric
        images = fabric.to_device(batch[0])
        mask, facial = (fabric.to_device(part) for part in self.masks(batch[1]))
        pixels, query = self.network(images, mask[fabric.global_rank :: fabric.world_size])
        with torch.no_grad(), fabric.autocast():
            key = self.target(images)
        errors = patch_errors(pixels, normalised_patches(images, self.online.patch))
        parts = (errors, query, key)
        errors, query, key = (gather_across_devices(part, fabric) for part in parts)
        masked, region = reconstruction_losses(errors, mask, facial)
        similarity = similarity_loss(query, key)
        total = (
            masked + self.recipe.facial_weight * region + self.recipe.similarity_weight * similarity
        )
        return {"total": total, "masked": masked, "facial": region, "similarity": similarity}


def pretrain(
    model: FSFM,
    loader: DataLoader,
    recipe: Pretrain,
    *,
    seed: int,
    scratch: Path,
    fabric: Fabric,
    report: Callable[[str], None] = print,
) -> TrainingResult:
    """Pre-train ``model`` in place: L = L_m + 0.007 L_fr + 0.1 L_sim (Section 3.2).

    The history has ``epoch, loss, masked, facial, similarity, learning_rate, momentum``. Resumes
    from ``scratch/last.pt`` and then repeats an uninterrupted run exactly; several devices repeat
    one up to rounding. Raises ``ValueError`` for a loss that is not finite, naming the crops.
    """
    run = _Pretraining(
        model, loader, recipe, seed=seed, scratch=scratch, fabric=fabric, report=report
    )
    history = run.run()
    return TrainingResult(history, run.watch.summary())


def save_checkpoint(model: FSFM, folder: Path, norm: Normalisation, recipe: Pretrain) -> None:
    """Write ``checkpoint.pth`` and ``pretrain_ds_mean_std.txt`` as FSFM releases them.

    The file also states the encoder's number of ``heads``, which its tensors do not tell.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (heads,) = {part.num_heads for part in model.blocks.modules() if isinstance(part, Attention)}
    content = {
        "model": {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()},
        "epoch": recipe.epochs,
        "args": argparse.Namespace(**asdict(recipe)),
        "heads": heads,
    }
    torch.save(content, folder / "checkpoint.pth")
    (folder / "pretrain_ds_mean_std.txt").write_text(
        json.dumps({"mean": norm.mean, "std": norm.std}) + "\n"
    )
