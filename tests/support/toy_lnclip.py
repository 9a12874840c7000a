"""A toy of LNCLIP-DF: crops of noise, a recipe of seconds, one run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from deepfake_repro.crops.store import CropStore, encode, write_part
from deepfake_repro.methods.lnclip import sphere
from deepfake_repro.methods.lnclip.pairing import PairedBatches
from deepfake_repro.methods.lnclip.recipe import train_lnclip
from deepfake_repro.project import params
from deepfake_repro.training.loading import CropDataset, evaluation_loader, seeded_loader
from deepfake_repro.training.transforms import (
    Normalisation,
    evaluation_transform,
    training_transform,
)

ROOT = Path(__file__).resolve().parents[2]
PAPER = params.load(ROOT / "params.yaml").profile("paper").lnclip
RECIPE = replace(
    PAPER,
    architecture="vit_tiny_patch16_224",
    depth=1,
    input_size=32,
    augmentation="windows",
    epochs=3,
    cycle_epochs=3,
    learning_rate=0.03,
    batch_size=16,
    selection="validation_loss",
    precision="32-true",
    workers=0,
    start="unused",
)
NORM = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CPU = Fabric(accelerator="cpu", devices=1)
CROPS, TRAIN, VALIDATION = 128, 96, 32


def toy_store(folder) -> CropStore:
    """128 crops of noise; the odd ones (fake) are redder."""
    draw = np.random.default_rng(0)
    rows = []
    for number in range(CROPS):
        image = draw.integers(60, 180, (40, 40, 3), dtype=np.uint8)
        image[..., 0] += np.uint8(60 * (number % 2))
        rows.append(
            {
                "video_id": f"toy/{number:03d}",
                "frame": 0,
                "seconds": 0.0,
                "face": 0,
                "x0": 0.0,
                "y0": 0.0,
                "x1": 40.0,
                "y1": 40.0,
                "score": 1.0,
                "landmarks": [0.0] * 10,
                "width": 40,
                "height": 40,
                "image": encode(image, "png"),
            }
        )
    write_part(folder / "toy.arrow", rows)
    return CropStore(folder)


def loaders(store, recipe, fabric=CPU):
    part = fabric.global_rank, fabric.world_size
    labels = np.arange(CROPS) % 2
    videos = np.array([f"v{number // 4 * 2 + number % 2}" for number in range(CROPS)])
    shape = (recipe.augmentation, recipe.input_size, NORM)
    crops = CropDataset(store, np.arange(TRAIN), training_transform(*shape), labels[:TRAIN])
    held_out = CropDataset(
        store, np.arange(TRAIN, CROPS), evaluation_transform(*shape), labels[TRAIN:]
    )
    batches = PairedBatches(
        labels[:TRAIN],
        videos[:TRAIN],
        recipe.batch_size,
        paired=recipe.paired,
        seed=0,
        rank=part[0],
        world=part[1],
    )
    return (
        seeded_loader(crops, batches, 0),
        evaluation_loader(held_out, 16, 0, *part),
        videos[TRAIN:],
    )


def run(store, scratch, recipe=RECIPE, fabric=CPU):
    torch.manual_seed(0)
    detector = sphere.build_sphere_detector(recipe)
    before = {name: tensor.detach().clone() for name, tensor in detector.named_parameters()}
    train, validation, videos = loaders(store, recipe, fabric)
    result = train_lnclip(
        detector,
        train,
        validation,
        videos,
        recipe,
        seed=0,
        scratch=scratch,
        fabric=fabric,
        report=lambda line: None,
    )
    return detector, before, result, validation
