"""One row of Table 3 from ``params.yaml`` to its training: what notebook 05 shows step by step.

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
from ...project.recipes import Train
from ...training import checkpoints
from ...training.detector import Detector, build_detector
from ...training.devices import this_fabric
from ...training.labels import class_labels, class_names
from ...training.loading import CropDataset, evaluation_loader, positions, training_loader
from ...training.loop import Fit
from ...training.transforms import Normalisation, evaluation_transform, training_transform
from .recipe import fit, objective

SAMPLES = ("train", "validation")


def start(row: Variant, options: Profile, seed: int) -> tuple[Detector, Normalisation]:
    """The row's network with its start weights, and how its inputs are normalised (Section 3.2)."""
    torch.manual_seed(seed)
    recipe, classes = options.train, class_names(row.labels)
    detector = build_detector(
        recipe.architecture,
        len(classes),
        depth=recipe.depth,
        input_size=recipe.input_size,
        drop_path=recipe.drop_path,
        head_std=recipe.head_std,
    )
    return detector, checkpoints.load_start(detector, str(getattr(options.start, row.init)))


def crops(
    paths: Paths, row: Variant, recipe: Train, norm: Normalisation
) -> tuple[CropDataset, CropDataset]:
    """Training and validation crops with the row's labels; triplets are over its classes or over real/fake.

    Validation crops are shuffled once, so that each batch has triplets.
    """
    store, shape = CropStore(paths.crops), (recipe.augmentation, recipe.input_size, norm)
    triplet_scheme = row.labels if recipe.triplet_labels == "attribution" else "binary"
    transforms = training_transform(*shape), evaluation_transform(*shape)
    found = []
    for file, transform in zip(sample_files(paths), transforms, strict=True):
        rows = pd.read_parquet(file)
        rows = rows if file.stem == "train" else rows.sample(frac=1, random_state=0)
        found.append(
            CropDataset(
                store,
                positions(store, rows),
                transform,
                class_labels(rows, row.labels),
                class_labels(rows, triplet_scheme),
            )
        )
    return found[0], found[1]


def loaders(
    train: CropDataset, validation: CropDataset, recipe: Train, seed: int, fabric: Fabric
) -> tuple[DataLoader, DataLoader]:
    """This device's part of every training batch, and its validation batches."""
    part = fabric.global_rank, fabric.world_size
    return (
        training_loader(train, recipe.batch_size, recipe.workers, seed, *part),
        evaluation_loader(validation, recipe.batch_size, recipe.workers, *part),
    )


def sample_files(paths: Paths) -> list[Path]:
    """The two tables that a run is trained from."""
    return [paths.samples / f"{name}.parquet" for name in SAMPLES]


def scratch(paths: Paths, row: Variant, options: Profile, seed: int) -> Path:
    """Folder of the run's checkpoints, named by parameters, code and data; a run may go on on other devices."""
    anywhere = replace(options.train, devices=1, workers=0)
    digests = [file_digest(file) for file in sample_files(paths)]
    return paths.scratch(
        fingerprint(row, options.start, anywhere, seed, code_digest(train_row), *digests)
    )


def train_row(profile: str, variant: str, seed: int) -> Fit:
    """Train one row on the devices at hand; what remains is the last checkpoint, for notebook 05."""
    chosen, paths = load(), profile_paths(profile)
    row, options = chosen.variant(variant), chosen.profile(profile)
    fabric = this_fabric(options.train.precision)
    detector, norm = start(row, options, seed)
    train, validation = loaders(
        *crops(paths, row, options.train, norm), options.train, seed, fabric
    )
    return fit(
        detector,
        train,
        validation,
        objective(row, options.train),
        options.train,
        seed=seed,
        scratch=scratch(paths, row, options, seed),
        fabric=fabric,
    )
