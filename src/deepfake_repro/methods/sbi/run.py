"""The SBI row from ``params.yaml`` to its training, as notebook 05b shows step by step.

On several devices the same steps run under ``torchrun`` (``python -m deepfake_repro train``); the
notebook then loads their last checkpoint from the scratch folder and has nothing left to train.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from ...crops.store import CropStore
from ...project.code.closure import code_digest
from ...project.params import Profile, Variant, load
from ...project.paths import Paths, profile_paths
from ...project.provenance import file_digest, fingerprint
from ...project.recipes import Sbi
from ...training.checkpoints import load_sbi, load_start
from ...training.detector import Detector, build_detector
from ...training.devices import launch_fabric
from ...training.labels import class_names
from ...training.loading import evaluation_loader, training_loader
from ...training.loop import TrainingResult
from ...training.transforms import UNCHANGED, Normalisation
from .faces import SPLITS, RealCrops, sampled_faces
from .recipe import Task, train_sbi


def face_datasets(paths: Paths, recipe: Sbi) -> tuple[RealCrops, RealCrops]:
    """Make the datasets of real training and validation crops with their landmarks."""
    store = CropStore(paths.training_crops)
    index = pd.read_parquet(paths.training_index)
    points = pd.read_parquet(paths.landmarks)
    train, validation = (
        RealCrops(store, sampled_faces(paths, index, table, recipe), points, recipe.blend)
        for table in SPLITS
    )
    return train, validation


def start_detector(
    paths: Paths, row: Variant, options: Profile, seed: int
) -> tuple[Detector, Normalisation]:
    """Build the row's network with its start weights, or SBI's published ones.

    Also returns how its inputs are normalised.
    """
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
    norm = load_start(detector, str(getattr(options.start, row.init)))
    return detector, norm if recipe.normalisation == "start" else UNCHANGED


def build_loaders(
    train: RealCrops, validation: RealCrops, recipe: Sbi, seed: int, fabric: Fabric
) -> tuple[DataLoader, DataLoader]:
    """Make loaders of this device's part of each training batch, and of all validation batches.

    Validation pairs are drawn one batch after the other, so every device needs all of them.
    """
    return (
        training_loader(
            train, recipe.pairs, recipe.workers, seed, fabric.global_rank, fabric.world_size
        ),
        evaluation_loader(validation, recipe.pairs, recipe.workers),
    )


def input_files(paths: Paths, recipe: Sbi) -> list[Path]:
    """List what a run is trained from."""
    files = [*(paths.samples / f"{table}.parquet" for table in SPLITS), paths.landmarks]
    if recipe.weights:
        files.append(paths.base / recipe.weights)
    return files


def scratch_path(paths: Paths, row: Variant, options: Profile, seed: int) -> Path:
    """Name the folder of the run's checkpoints by parameters, code and data.

    Workers do not count: a run may resume on other devices.
    """
    recipe = replace(options.sbi, workers=0)
    digests = [file_digest(path) for path in input_files(paths, options.sbi)]
    return paths.scratch(
        fingerprint(row, options.start, recipe, seed, code_digest(train_row), *digests)
    )


def train_row(profile: str, variant: str, seed: int) -> TrainingResult:
    """Train the row on the available devices; its last checkpoint remains, for notebook 05b."""
    params = load()
    row = params.variant(variant)
    options = params.profile(profile, variant)
    recipe = options.sbi
    paths = profile_paths(profile)
    fabric = launch_fabric(recipe.precision)
    detector, norm = start_detector(paths, row, options, seed)
    train, validation = build_loaders(*face_datasets(paths, recipe), recipe, seed, fabric)
    return train_sbi(
        detector,
        train,
        validation,
        Task(recipe, norm, options.crops.margin),
        seed=seed,
        scratch=scratch_path(paths, row, options, seed),
        fabric=fabric,
    )
