"""The row of LNCLIP-DF from ``params.yaml`` to its training, as notebook 09 shows step by step.

On several devices the same steps run under ``torchrun`` (``python -m deepfake_repro train``); the
notebook then loads their last checkpoint from the scratch folder and has nothing left to train.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from ...crops.store import CropStore
from ...project.code.closure import code_digest
from ...project.params import load
from ...project.paths import Paths, profile_paths
from ...project.provenance import file_digest, fingerprint
from ...project.recipes import LnClip
from ...training.detector import Detector
from ...training.devices import launch_fabric
from ...training.loading import CropDataset, evaluation_loader, positions, seeded_loader
from ...training.loop import SelectedResult
from ...training.transforms import (
    Normalisation,
    Transform,
    evaluation_transform,
    training_transform,
)
from .pairing import PairedBatches, choose_sources, source_videos
from .recipe import train_lnclip
from .sphere import start_sphere_detector


def start_detector(recipe: LnClip, seed: int) -> tuple[Detector, Normalisation]:
    """Build the network with its start weights; return how its inputs are normalised."""
    torch.manual_seed(seed)
    return start_sphere_detector(recipe)


def training_rows(paths: Paths, recipe: LnClip, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """List the crops to train on, as ``lnclip.sources`` chooses, and the source video of each."""
    rows = pd.read_parquet(paths.samples / "train.parquet")
    sources = source_videos(rows, pd.read_parquet(paths.training_index))
    chosen = choose_sources(rows["label"].to_numpy(), sources, recipe.sources, seed)
    return rows[chosen], sources[chosen]


def validation_rows(paths: Paths) -> pd.DataFrame:
    """List the validation crops, shuffled once, so that each batch contains both classes."""
    return pd.read_parquet(paths.samples / "validation.parquet").sample(frac=1, random_state=0)


def paired_batches(
    rows: pd.DataFrame,
    sources: np.ndarray,
    recipe: LnClip,
    seed: int,
    rank: int = 0,
    world: int = 1,
) -> PairedBatches:
    """Make the batches of an epoch, paired if ``lnclip.paired`` says so."""
    return PairedBatches(
        rows["label"].to_numpy(),
        sources,
        recipe.batch_size,
        paired=recipe.paired,
        seed=seed,
        rank=rank,
        world=world,
    )


def crop_dataset(paths: Paths, rows: pd.DataFrame, transform: Transform) -> CropDataset:
    """Make the dataset of the crops of ``rows`` with their labels."""
    store = CropStore(paths.training_crops)
    return CropDataset(store, positions(store, rows), transform, rows["label"])


def build_loaders(
    paths: Paths, recipe: LnClip, norm: Normalisation, seed: int, fabric: Fabric
) -> tuple[DataLoader, DataLoader]:
    """Make loaders of this device's part of each training batch and of its validation batches."""
    part = (fabric.global_rank, fabric.world_size)
    view = (recipe.augmentation, recipe.input_size, norm)
    rows, sources = training_rows(paths, recipe, seed)
    train = crop_dataset(paths, rows, training_transform(*view))
    validation = crop_dataset(paths, validation_rows(paths), evaluation_transform(*view))
    return (
        seeded_loader(train, paired_batches(rows, sources, recipe, seed, *part), recipe.workers),
        evaluation_loader(validation, recipe.batch_size, recipe.workers, *part),
    )


def input_files(paths: Paths) -> list[Path]:
    """List the tables of training and validation crops."""
    return [paths.samples / "train.parquet", paths.samples / "validation.parquet"]


def scratch_path(paths: Paths, recipe: LnClip, seed: int) -> Path:
    """Name the folder of the run's checkpoints by parameters, code and data.

    Workers do not count: a run may resume on other devices.
    """
    digests = [file_digest(path) for path in (*input_files(paths), paths.training_index)]
    return paths.scratch(
        fingerprint(replace(recipe, workers=0), seed, code_digest(train_row), *digests)
    )


def train_row(profile: str, variant: str, seed: int) -> SelectedResult:
    """Train the row on the available devices; its last checkpoint remains, for notebook 09."""
    paths = profile_paths(profile)
    recipe = load().profile(profile, variant).lnclip
    fabric = launch_fabric(recipe.precision)
    detector, norm = start_detector(recipe, seed)
    train, validation = build_loaders(paths, recipe, norm, seed, fabric)
    return train_lnclip(
        detector,
        train,
        validation,
        validation_rows(paths)["video_id"].tolist(),
        recipe,
        seed=seed,
        scratch=scratch_path(paths, recipe, seed),
        fabric=fabric,
    )
