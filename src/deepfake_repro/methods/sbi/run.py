"""The SBI row from ``params.yaml`` to its training: what notebook 05b shows step by step.

On several devices the same steps run under ``torchrun`` (``python -m deepfake_repro train``); the
notebook then finds their last checkpoint in the scratch folder and has nothing left to train.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from ...crops.store import CropStore
from ...project.closure import code_digest
from ...project.params import Profile, Variant, load
from ...project.paths import Paths, profile_paths
from ...project.provenance import file_digest, fingerprint
from ...project.recipes import Sbi
from ...training.checkpoints import load_sbi, load_start
from ...training.detector import Detector, build_detector
from ...training.devices import this_fabric
from ...training.labels import class_names
from ...training.loading import evaluation_loader, training_loader
from ...training.transforms import Normalisation
from .faces import RealCrops, real_faces
from .recipe import SbiFit, Task, fit

SAMPLES = {"train": "train", "validation": "val"}
"""Table of the sample -> split of its videos."""
PLAIN = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Pixels divided by 255, as SBI has them."""


def faces(paths: Paths, recipe: Sbi) -> tuple[RealCrops, RealCrops]:
    """Training and validation crops with their landmarks: real faces only."""
    store, index, points = (
        CropStore(paths.crops),
        pd.read_parquet(paths.index),
        pd.read_parquet(paths.landmarks),
    )
    train, validation = (
        RealCrops(
            store,
            real_faces(pd.read_parquet(paths.samples / f"{table}.parquet"), index, split, recipe),
            points,
            recipe.blend,
        )
        for table, split in SAMPLES.items()
    )
    return train, validation


def start(
    paths: Paths, row: Variant, options: Profile, seed: int
) -> tuple[Detector, Normalisation]:
    """The row's network with its start weights or SBI's published ones, and how its inputs are normalised."""
    torch.manual_seed(seed)
    recipe = options.sbi
    detector = build_detector(
        recipe.architecture,
        len(class_names(row.labels)),
        depth=recipe.depth,
        input_size=recipe.input_size,
        drop_path=recipe.drop_path,
        head_std=recipe.head_std,
    )
    if recipe.weights:
        return detector, load_sbi(detector, paths.base / recipe.weights)
    norm = load_start(detector, options.start.sbi)
    return detector, norm if recipe.normalisation == "start" else PLAIN


def loaders(
    train: RealCrops, validation: RealCrops, recipe: Sbi, seed: int, fabric: Fabric
) -> tuple[DataLoader, DataLoader]:
    """This device's part of every training batch, and all validation batches: their pairs are drawn one after another."""
    return (
        training_loader(
            train, recipe.pairs, recipe.workers, seed, fabric.global_rank, fabric.world_size
        ),
        evaluation_loader(validation, recipe.pairs, recipe.workers),
    )


def input_files(paths: Paths, recipe: Sbi) -> list[Path]:
    """What a run is trained from."""
    files = [*(paths.samples / f"{table}.parquet" for table in SAMPLES), paths.landmarks]
    return files + ([paths.base / recipe.weights] if recipe.weights else [])


def scratch(paths: Paths, row: Variant, options: Profile, seed: int) -> Path:
    """Folder of the run's checkpoints, named by parameters, code and data; a run may go on on other devices."""
    anywhere = replace(options.sbi, workers=0)
    digests = [file_digest(file) for file in input_files(paths, options.sbi)]
    return paths.scratch(
        fingerprint(row, options.start, anywhere, seed, code_digest(train_row), *digests)
    )


def train_row(profile: str, variant: str, seed: int) -> SbiFit:
    """Train the row on the devices at hand; what remains is the last checkpoint, for notebook 05b."""
    chosen, paths = load(), profile_paths(profile)
    row, options = chosen.variant(variant), chosen.profile(profile)
    recipe = options.sbi
    fabric = this_fabric(recipe.precision)
    detector, norm = start(paths, row, options, seed)
    train, validation = loaders(*faces(paths, recipe), recipe, seed, fabric)
    return fit(
        detector,
        train,
        validation,
        Task(recipe, norm, options.crops.margin),
        seed=seed,
        scratch=scratch(paths, row, options, seed),
        fabric=fabric,
    )
