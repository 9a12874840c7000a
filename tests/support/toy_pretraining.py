"""A small pre-training: network, faces, run."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from timm.models.vision_transformer import VisionTransformer
from torch.utils.data import Dataset

from deepfake_repro.methods.fsfm.networks import FSFM
from deepfake_repro.methods.fsfm.recipe import pretrain
from deepfake_repro.project import params, recipes
from deepfake_repro.training.loading import training_loader
from deepfake_repro.training.loop import TrainingResult

ROOT = Path(__file__).resolve().parents[2]
PAPER = params.load(ROOT / "params.yaml").profile("paper").pretrain
SMALL = replace(
    PAPER,
    epochs=3,
    warmup_epochs=1,
    batch_size=4,
    learning_rate=1e-3,
    decoder_depth=1,
    decoder_width=16,
    decoder_heads=2,
    rep_depth=1,
    rep_heads=3,
    projector_hidden=32,
    projector_out=8,
    precision="32-true",
    workers=0,
    checkpoint_steps=2,
)
FACE, PATCH, COUNT = 32, 8, 16


def encoder(pool: str = "avg") -> VisionTransformer:
    return VisionTransformer(
        img_size=FACE,
        patch_size=PATCH,
        embed_dim=24,
        depth=2,
        num_heads=3,
        num_classes=2,
        global_pool=pool,
    )


def small(seed: int = 0, recipe: recipes.Pretrain = SMALL) -> FSFM:
    torch.manual_seed(seed)
    return FSFM(encoder(), recipe)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def hidden(*rows: list[int]) -> torch.Tensor:
    mask = torch.zeros(len(rows), COUNT, dtype=torch.bool)
    for number, row in enumerate(rows):
        mask[number, row] = True
    return mask


MASK = hidden([0, 3, 4, 7, 8, 9, 11, 15], [1, 2, 5, 6, 10, 12, 13, 14])


class Faces(Dataset):
    """Twelve fixed images with fresh noise from torch's generator, as the random window of real
    training has.
    """

    def __init__(self, poison: int | None = None) -> None:
        self.images, self.poison = noise(12, 3, FACE, FACE, seed=3), poison
        self.groups = torch.rand(12, 8, COUNT, generator=torch.Generator().manual_seed(4)) < 0.3

    def __len__(self) -> int:
        return 12

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        image = self.images[item] + 0.1 * torch.randn(3, FACE, FACE)
        return image * (math.nan if item == self.poison else 1), self.groups[item], item


def run(
    scratch: Path,
    online: FSFM,
    faces: Dataset | None = None,
    recipe: recipes.Pretrain = SMALL,
    report=lambda line: None,
) -> TrainingResult:
    loader = training_loader(faces or Faces(), recipe.batch_size, 0, seed=5)
    return pretrain(
        online,
        loader,
        recipe,
        seed=5,
        scratch=scratch,
        fabric=Fabric(accelerator="cpu", devices=1),
        report=report,
    )
