"""One row of Table 3 from ``params.yaml`` to its training, as notebook 05 shows step by step.

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
from ...project.recipes import Train
from ...training import checkpoints
from ...training.detector import Detector, build_detector
from ...training.devices import launch_fabric
from ...training.labels import class_labels, class_names
from ...training.loading import CropDataset, evaluation_loader, positions, training_loader
from ...training.loop import SelectedResult
from ...training.transforms import (
    Normalisation,
    Transform,
    evaluation_transform,
    training_transform,
)
from .recipe import build_objective, fine_tune


def start_detector(row: Variant, options: Profile, seed: int) -> tuple[Detector, Normalisation]:
    """Build the row's network with its start weights; return how its inputs are normalised."""
    torch.manual_seed(seed)
    recipe = options.train
    detector = build_detector(
        recipe.architecture,
        len(class_names(row.labels)),
        depth=recipe.depth,
        input_size=recipe.input_size,
        drop_path=recipe.drop_path,
        head_std=recipe.head_std,
    )
    return detector, checkpoints.load_start(detector, str(getattr(options.start, row.init)))


def crop_datasets(
    paths: Paths, row: Variant, recipe: Train, norm: Normalisation
) -> tuple[CropDataset, CropDataset]:
    """Make the datasets of training and validation crops with the row's labels.

    Triplets are over its classes, or over real/fake if ``recipe.triplet_labels`` says so.
    Validation crops are shuffled once, so that each batch has triplets.
    """
    store = CropStore(paths.training_crops)
    triplet_scheme = row.labels if recipe.triplet_labels == "attribution" else "binary"

    def dataset(rows: pd.DataFrame, transform: Transform) -> CropDataset:
        return CropDataset(
            store,
            positions(store, rows),
            transform,
            class_labels(rows, row.labels),
            class_labels(rows, triplet_scheme),
        )

    view = (recipe.augmentation, recipe.input_size, norm)
    train, validation = (pd.read_parquet(path) for path in input_files(paths))
    validation = validation.sample(frac=1, random_state=0)
    return (
        dataset(train, training_transform(*view)),
        dataset(validation, evaluation_transform(*view)),
    )


def build_loaders(
    train: CropDataset, validation: CropDataset, recipe: Train, seed: int, fabric: Fabric
) -> tuple[DataLoader, DataLoader]:
    """Make loaders of this device's part of each training batch and of its validation batches."""
    part = (fabric.global_rank, fabric.world_size)
    return (
        training_loader(train, recipe.batch_size, recipe.workers, seed, *part),
        evaluation_loader(validation, recipe.batch_size, recipe.workers, *part),
    )


def input_files(paths: Paths) -> list[Path]:
    """List the tables of training and validation crops."""
    return [paths.samples / "train.parquet", paths.samples / "validation.parquet"]


def scratch_path(paths: Paths, row: Variant, options: Profile, seed: int) -> Path:
    """Name the folder of the run's checkpoints by parameters, code and data.

    Devices and workers do not count: a run may resume on other devices.
    """
    recipe = replace(options.train, devices=1, workers=0)
    digests = [file_digest(path) for path in input_files(paths)]
    return paths.scratch(
        fingerprint(row, options.start, recipe, seed, code_digest(train_row), *digests)
    )


def train_row(profile: str, variant: str, seed: int) -> SelectedResult:
    """Train one row on the available devices; its last checkpoint remains, for notebook 05."""
    params = load()
    row = params.variant(variant)
    options = params.profile(profile, variant)
    paths = profile_paths(profile)
    fabric = launch_fabric(options.train.precision)
    detector, norm = start_detector(row, options, seed)
    datasets = crop_datasets(paths, row, options.train, norm)
    train, validation = build_loaders(*datasets, options.train, seed, fabric)
    return fine_tune(
        detector,
        train,
        validation,
        build_objective(row, options.train),
        options.train,
        seed=seed,
        scratch=scratch_path(paths, row, options, seed),
        fabric=fabric,
    )
