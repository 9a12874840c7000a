"""Pictures, pairs and a toy of the training on self-blended images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric

from deepfake_repro.crops.store import CropStore, encode, write_part
from deepfake_repro.methods.sbi.faces import RealCrops
from deepfake_repro.methods.sbi.recipe import Task, train_sbi
from deepfake_repro.project import params
from deepfake_repro.training.detector import build_detector
from deepfake_repro.training.loading import evaluation_loader, training_loader
from deepfake_repro.training.transforms import Normalisation

PARAMS = params.load(Path(__file__).resolve().parents[2] / "params.yaml")
RECIPE = PARAMS.profile("demo").sbi
BLEND = RECIPE.blend
NORM = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
SIDE = 96


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(number, side=SIDE, seed=0):
    """Smooth coloured noise, uint8 [N, 3, S, S]."""
    rng = np.random.default_rng(seed)
    images = [
        cv2.GaussianBlur(rng.integers(0, 256, (side, side, 3), np.uint8), (0, 0), 2)
        for _ in range(number)
    ]
    images = [cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX) for image in images]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def write(folder, images):
    write_part(
        folder / "toy.arrow",
        [
            {
                "video_id": f"v{number}",
                "frame": 0,
                "seconds": 0.0,
                "face": 0,
                "x0": 0.0,
                "y0": 0.0,
                "x1": 1.0,
                "y1": 1.0,
                "score": 1.0,
                "landmarks": [0.0] * 10,
                "width": 9,
                "height": 9,
                "image": encode(np.asarray(image), "png"),
            }
            for number, image in enumerate(images)
        ],
    )


def table(number, label=0):
    return pd.DataFrame(
        {
            "video_id": [f"v{n}" for n in range(number)],
            "frame": 0,
            "face": 0,
            "label": label,
            "dataset": "ffpp",
        }
    )


def toy_faces(folder):
    """Forty crops: the even ones real, the odd ones fake and unreadable, so that reading one
    fails.
    """
    images = [image.permute(1, 2, 0).numpy() for image in pictures(40)]
    write(folder, images)

    class Guarded(CropStore):
        def image(self, row):
            assert row % 2 == 0, f"fake crop {row} was read"
            return super().image(row)

    rows = table(40).iloc[::2].reset_index(drop=True)
    turn = np.linspace(0, 2 * np.pi, 81, endpoint=False)
    circle = (48 + 30 * np.stack([np.cos(turn), np.sin(turn)], 1)).astype(np.float32).ravel()
    points = rows[["video_id", "frame", "face"]].assign(points=[circle] * len(rows))
    return RealCrops(Guarded(folder), rows, points, replace(BLEND, hulls=("face",)))


TOY = replace(
    RECIPE,
    architecture="vit_tiny_patch16_224",
    depth=1,
    input_size=64,
    pairs=5,
    epochs=2,
    warmup_epochs=0,
    constant_epochs=1,
    optimiser="sgd",
    learning_rate=0.05,
)


CPU = Fabric(accelerator="cpu", devices=1)


def trained(toy, scratch, recipe=TOY, report=lambda line: None, fabric=CPU):
    torch.manual_seed(0)
    network = build_detector(recipe.architecture, 2, depth=1, input_size=64, head_std=0.02)
    task = Task(recipe, NORM, 0.3)
    train = training_loader(toy, recipe.pairs, 0, 0, fabric.global_rank, fabric.world_size)
    validation = evaluation_loader(toy, 5, 0)
    return network, train_sbi(
        network, train, validation, task, seed=0, scratch=scratch, fabric=fabric, report=report
    )
