"""The row of LNCLIP-DF from ``params.yaml`` to its training: what notebook 09 shows step by step.

On several devices the same steps run under ``torchrun`` (``python -m deepfake_repro train``); the
notebook then finds their last checkpoint in the scratch folder and has nothing left to train.
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
from ...project.closure import code_digest
from ...project.params import load
from ...project.paths import Paths, profile_paths
from ...project.provenance import file_digest, fingerprint
from ...project.recipes import LnClip
from ...training.detector import Detector
from ...training.devices import this_fabric
from ...training.loading import CropDataset, evaluation_loader, loader_of, positions
from ...training.loop import Fit
from ...training.transforms import (
    Normalisation,
    Transform,
    evaluation_transform,
    training_transform,
)
from .pairing import PairedBatches, chosen_sources, source_videos
from .recipe import fit
from .sphere import build


def start(recipe: LnClip, seed: int) -> tuple[Detector, Normalisation]:
    """The network with its start weights, LayerNorms and head trainable, and how its inputs are normalised."""
    torch.manual_seed(seed)
    return build(recipe)


def training_rows(paths: Paths, recipe: LnClip, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Crops to train on, those of the sample that ``lnclip.sources`` chooses, and the source video of each."""
    rows = pd.read_parquet(paths.samples / "train.parquet")
    labels, sources = rows["label"].to_numpy(), source_videos(rows, pd.read_parquet(paths.index))
    chosen = chosen_sources(labels, sources, recipe.sources, seed)
    return rows[chosen], sources[chosen]


def validation_rows(paths: Paths) -> pd.DataFrame:
    """Validation crops, shuffled once, so that each batch holds both classes."""
    return pd.read_parquet(paths.samples / "validation.parquet").sample(frac=1, random_state=0)


def batches(
    rows: pd.DataFrame,
    sources: np.ndarray,
    recipe: LnClip,
    seed: int,
    rank: int = 0,
    world: int = 1,
) -> PairedBatches:
    """The order of an epoch: pairs of one source side by side, as ``lnclip.paired`` says."""
    return PairedBatches(
        rows["label"].to_numpy(),
        sources,
        recipe.batch_size,
        paired=recipe.paired,
        seed=seed,
        rank=rank,
        world=world,
    )


def crops(paths: Paths, rows: pd.DataFrame, transform: Transform) -> CropDataset:
    """The crops of ``rows`` with their labels."""
    store = CropStore(paths.crops)
    return CropDataset(store, positions(store, rows), transform, rows["label"])


def loaders(
    paths: Paths, recipe: LnClip, norm: Normalisation, seed: int, fabric: Fabric
) -> tuple[DataLoader, DataLoader]:
    """This device's part of every training batch, and its validation batches."""
    part, shape = (
        (fabric.global_rank, fabric.world_size),
        (recipe.augmentation, recipe.input_size, norm),
    )
    rows, sources = training_rows(paths, recipe, seed)
    train = crops(paths, rows, training_transform(*shape))
    validation = crops(paths, validation_rows(paths), evaluation_transform(*shape))
    return (
        loader_of(train, batches(rows, sources, recipe, seed, *part), recipe.workers),
        evaluation_loader(validation, recipe.batch_size, recipe.workers, *part),
    )


def input_files(paths: Paths) -> list[Path]:
    """The two tables that a run is trained from."""
    return [paths.samples / f"{name}.parquet" for name in ("train", "validation")]


def scratch(paths: Paths, recipe: LnClip, seed: int) -> Path:
    """Folder of the run's checkpoints, named by parameters, code and data; a run may go on on other devices."""
    digests = [file_digest(file) for file in (*input_files(paths), paths.index)]
    return paths.scratch(
        fingerprint(replace(recipe, workers=0), seed, code_digest(train_row), *digests)
    )


def train_row(profile: str, variant: str, seed: int) -> Fit:
    """Train the row on the devices at hand; what remains is the last checkpoint, for notebook 09."""
    paths, recipe = profile_paths(profile), load().profile(profile).lnclip
    fabric = this_fabric(recipe.precision)
    detector, norm = start(recipe, seed)
    train, validation = loaders(paths, recipe, norm, seed, fabric)
    return fit(
        detector,
        train,
        validation,
        validation_rows(paths)["video_id"].tolist(),
        recipe,
        seed=seed,
        scratch=scratch(paths, recipe, seed),
        fabric=fabric,
    )
