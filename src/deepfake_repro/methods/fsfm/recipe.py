"""FSFM's own pre-training at any scale: masked image modelling and instance discrimination (Section 3.2).

An *online* network sees a quarter of the patches of a real face. It must paint the hidden ones (``L_m``, and
``L_fr`` over the region that is hidden whole) and must describe the face as a slowly following *target* network
does, which sees all of it (``L_sim``). Written from the published description; no code of FSFM is in it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning_fabric import Fabric
from timm.scheduler import CosineLRScheduler
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ...project.recipes import Pretrain
from ...training.devices import gathered
from ...training.loading import Batch, seed_of
from ...training.loop import Loop, Terms
from ...training.transforms import Normalisation
from .masks import crfr_p
from .networks import FSFM, Branch, target_of


@torch.no_grad()
def follow(target: Branch, model: FSFM, momentum: float) -> None:
    """One step of the moving average: theta_k <- m theta_k + (1 - m) theta_q."""
    online = dict(model.named_parameters())
    for name, parameter in target.named_parameters():
        parameter.lerp_(online[name], 1 - momentum)


def momentum_at(step: int, steps: int, start: float = 0.996) -> float:
    """Momentum before step ``step`` of ``steps``: half a cosine from ``start`` to 1."""
    return 1 - (1 - start) / 2 * (1 + math.cos(math.pi * step / steps))


def patchify(images: torch.Tensor, patch: int) -> torch.Tensor:
    """``[B, 3, S, S]`` -> ``[B, N, 3 p²]``: patches row by row, in each the pixels row by row, channels last."""
    batch, channels, height, width = images.shape
    parts = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return parts.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def unpatchify(patches: torch.Tensor, patch: int) -> torch.Tensor:
    """The inverse of ``patchify`` for square images."""
    side = math.isqrt(patches.shape[1])
    parts = patches.reshape(len(patches), side, side, patch, patch, -1)
    return parts.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, side * patch, side * patch)


def _moments(patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (unbiased variance, + 1e-6) of each patch, ``[B, N, 1]``."""
    return patches.mean(-1, keepdim=True), (patches.var(-1, keepdim=True) + 1e-6).sqrt()


def normalised_patches(images: torch.Tensor, patch: int) -> torch.Tensor:
    """What the pixel decoder must paint: patches ``[B, N, 3 p²]`` less their mean, by their deviation."""
    patches = patchify(images, patch)
    mean, deviation = _moments(patches)
    return (patches - mean) / deviation


def patch_errors(pred: torch.Tensor, target_patches: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each patch, fp32 ``[B, N]``, of patches ``[B, N, 3 p²]``."""
    return (pred.float() - target_patches).square().mean(-1)


def reconstruction_losses(errors: torch.Tensor, mask: torch.Tensor,
                          facial: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``L_m`` and ``L_fr``: mean error over the hidden patches, and over the region hidden whole.

    ``errors`` of the patches and masks ``[B, N]``; sums run over the whole batch. A batch whose faces all lack the
    region has ``L_fr`` = 0 (FSFM divides 0 by 0 there).
    """
    hidden, region = ((errors * part).sum() / part.sum().clamp(min=1) for part in (mask, facial))
    return hidden, region


def similarity_loss(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """``L_sim`` = -1/2 · mean cosine of queries and keys ``[B, out]``."""
    return -0.5 * F.cosine_similarity(query.float(), key.float()).mean()


@torch.no_grad()
def reconstruct(model: FSFM, images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Images ``[B, 3, S, S]`` with hidden patches as the network paints them, for people to look at.

    The network predicts normalised patches; each takes its mean and deviation from the true one.
    """
    patches = patchify(images, model.patch)
    mean, deviation = _moments(patches)
    painted = model(images, mask)[0].float() * deviation + mean
    return unpatchify(torch.where(mask[..., None], painted, patches), model.patch)


def neighbours_agree(vectors: torch.Tensor, video: Sequence[str]) -> float:
    """Share of ``vectors`` ``[N, D]`` whose nearest other one, by cosine, is of the same video."""
    unit = F.normalize(vectors, dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-2.0).argmax(1)
    return sum(video[one] == video[other] for one, other in enumerate(nearest.tolist())) / len(video)


@dataclass(frozen=True)
class PretrainFit:
    """Outcome of ``pretrain``: per epoch ``epoch, loss, masked, facial, similarity, learning_rate, momentum``; speed."""

    history: pd.DataFrame
    speed: dict[str, float] = field(default_factory=dict)


def optimiser(model: FSFM, recipe: Pretrain) -> torch.optim.AdamW:
    """AdamW (0.9, 0.95); weight decay on tensors of two or more dimensions only.

    The encoder learns ``recipe.encoder_rate`` times as fast as the new parts: 1 where both begin from nothing, less
    where pre-training goes on from weights that the first steps under random decoders would spoil.
    """
    encoder = set(map(id, model.encoder_parameters()))
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for parameter in filter(lambda p: p.requires_grad, model.parameters()):
        rate = recipe.encoder_rate if id(parameter) in encoder else 1.0
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW([{"params": some, "lr_scale": rate, "weight_decay": decay}
                              for (rate, decay), some in groups.items()], lr=recipe.learning_rate, betas=(0.9, 0.95))


def schedule(optimizer: torch.optim.Optimizer, recipe: Pretrain, steps_per_epoch: int) -> CosineLRScheduler:
    """Linear warm-up from 0, then half a cosine to 0, set before each step. Raises ``ValueError``."""
    if recipe.warmup_epochs >= recipe.epochs:
        raise ValueError(f"pretrain.warmup_epochs is {recipe.warmup_epochs}: keep it below pretrain.epochs, "
                         f"{recipe.epochs}")
    return CosineLRScheduler(optimizer, t_initial=(recipe.epochs - recipe.warmup_epochs) * steps_per_epoch, lr_min=0.0,
                             warmup_t=recipe.warmup_epochs * steps_per_epoch, warmup_lr_init=0.0, warmup_prefix=True,
                             t_in_epochs=False)


class _Pretraining(Loop):
    """The steps of ``pretrain``: the online network learns, the target follows it."""

    block, rows = "pretrain", "real training crops"

    def __init__(self, model: FSFM, loader: DataLoader, recipe: Pretrain, *, fabric: Fabric, **rest: Any) -> None:
        self.online, self.target = model, fabric.to_device(target_of(model, recipe))
        optimizer = optimiser(model, recipe)
        self.network, wrapped = fabric.setup(model, optimizer)
        super().__init__(loader, wrapped, schedule(optimizer, recipe, len(loader)), recipe, fabric=fabric, **rest)
        self.parts |= {"model": model, "target": self.target}

    def momentum(self, step: int) -> float:
        return momentum_at(step, self.recipe.epochs * len(self.loader), self.recipe.momentum)

    def update(self) -> None:
        super().update()
        follow(self.target, self.online, self.momentum(self.step))

    def finish_epoch(self, means: dict[str, float], what: str) -> dict[str, float]:
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        return {**means, "learning_rate": rate, "momentum": self.momentum(self.step - 1)}

    def masks(self, groups: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """CRFR-P draws one region for the whole batch, so every device draws the masks of all."""
        everyone = gathered(self.fabric.to_device(groups.byte()), self.fabric).cpu().bool()
        drawn = torch.Generator().manual_seed(seed_of(self.seed, self.step, 1))
        return crfr_p(everyone, self.recipe.mask_ratio, drawn)

    def terms(self, batch: Batch) -> Terms:
        self.network.train()
        images, fabric = self.fabric.to_device(batch[0]), self.fabric
        mask, facial = (fabric.to_device(part) for part in self.masks(batch[1]))
        pixels, query = self.network(images, mask[fabric.global_rank::fabric.world_size])
        with torch.no_grad(), fabric.autocast():
            key = self.target(images)
        errors = patch_errors(pixels, normalised_patches(images, self.online.patch))
        errors, query, key = (gathered(part, fabric) for part in (errors, query, key))
        masked, region = reconstruction_losses(errors, mask, facial)
        similarity = similarity_loss(query, key)
        loss = masked + self.recipe.facial_weight * region + self.recipe.similarity_weight * similarity
        return {"loss": loss, "masked": masked, "facial": region, "similarity": similarity}


def pretrain(model: FSFM, loader: DataLoader, recipe: Pretrain, *, seed: int, scratch: Path, fabric: Fabric,
             report: Callable[[str], None] = print) -> PretrainFit:
    """Pre-train ``model`` in place for ``recipe.epochs``: L = L_m + 0.007 L_fr + 0.1 L_sim (Section 3.2).

    Resumes from ``scratch/last.pt`` and then repeats an uninterrupted run exactly; several devices repeat one up to
    rounding. Raises ``ValueError`` on a loss that is not finite, naming the crops.
    """
    run = _Pretraining(model, loader, recipe, seed=seed, scratch=scratch, fabric=fabric, report=report)
    return PretrainFit(run.run(), run.watch.summary())


def save_checkpoint(model: FSFM, folder: Path, norm: Normalisation, recipe: Pretrain) -> None:
    """Write ``checkpoint.pth`` and ``pretrain_ds_mean_std.txt`` as FSFM releases them, for ``load_fsfm``."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    torch.save({"model": state, "epoch": recipe.epochs, "args": argparse.Namespace(**asdict(recipe))},
               folder / "checkpoint.pth")
    (folder / "pretrain_ds_mean_std.txt").write_text(json.dumps({"mean": norm.mean, "std": norm.std}) + "\n")
