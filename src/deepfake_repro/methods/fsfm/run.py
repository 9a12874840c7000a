"""Pre-training from ``params.yaml`` to its last step, as notebook 03b shows step by step.

On several devices the same steps run under ``torchrun`` (``python -m deepfake_repro pretrain``);
the notebook then loads their last checkpoint from the scratch folder and has nothing left to train.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from ...crops.store import CropStore
from ...faces.landmarks import FaceMesh
from ...project.code.closure import code_digest
from ...project.params import Profile, load
from ...project.paths import ASSETS, Paths, profile_paths
from ...project.provenance import file_digest, fingerprint
from ...training import checkpoints
from ...training.detector import build_detector
from ...training.devices import launch_fabric
from ...training.loading import CROP_KEY, training_loader
from ...training.loop import TrainingResult
from ...training.transforms import Normalisation
from .masks import (
    LandmarkParser,
    RealFaces,
    measure_normalisation,
    real_faces_of,
    real_training_faces,
)
from .networks import FSFM, initialise_from_scratch
from .recipe import pretrain

SEED = 0


def real_crops(paths: Paths, options: Profile) -> pd.DataFrame:
    """List the real crops that ``pretrain.faces`` names (Section 3.2).

    They are those of the training sample, or all of a corpus.
    """
    index = pd.read_parquet(paths.training_index)
    if options.pretrain.faces == "sample":
        return real_training_faces(pd.read_parquet(paths.samples / "train.parquet"), index)
    return real_faces_of(
        options.pretrain.faces, CropStore(paths.training_crops).table(CROP_KEY), index
    )


def start_network(
    options: Profile, store: CropStore, rows: pd.DataFrame
) -> tuple[FSFM, Normalisation]:
    """Build the online network with the weights of ``pretrain.start``, or from scratch.

    Also returns how its inputs are normalised.
    """
    torch.manual_seed(SEED)
    train = options.train
    detector = build_detector(train.architecture, 2, depth=train.depth, input_size=train.input_size)
    if options.pretrain.start:
        norm = checkpoints.load_start(detector, options.pretrain.start)
    else:
        initialise_from_scratch(detector.vit)
        norm = measure_normalisation(store, rows)
    return FSFM(detector.vit, options.pretrain), norm


def face_dataset(
    paths: Paths, options: Profile, rows: pd.DataFrame, patch: int, norm: Normalisation
) -> RealFaces:
    """Make the dataset of the crops of ``rows``; the face mesh finds their regions now."""
    mesh = FaceMesh(paths.base / ASSETS / "face_landmarks.tflite")
    return RealFaces(
        CropStore(paths.training_crops),
        rows,
        LandmarkParser(mesh, options.crops.margin),
        options.train.augmentation,
        options.train.input_size,
        patch,
        norm,
        workers=options.pretrain.workers,
    )


def build_loader(faces: RealFaces, options: Profile, fabric: Fabric) -> DataLoader:
    """Make the loader of this device's part of each batch."""
    recipe = options.pretrain
    return training_loader(
        faces, recipe.batch_size, recipe.workers, SEED, fabric.global_rank, fabric.world_size
    )


def input_files(paths: Paths) -> list[Path]:
    """List what a run is trained from."""
    return [paths.samples / "train.parquet", paths.training_index]


def scratch_path(paths: Paths, options: Profile) -> Path:
    """Name the folder of the checkpoints by parameters, code and data.

    Devices and workers do not count: a run may resume on other devices.
    """
    recipe = replace(options.pretrain, devices=1, workers=0)
    digests = [file_digest(path) for path in input_files(paths)]
    return paths.scratch(
        fingerprint(options.train, recipe, SEED, code_digest(pretrain_profile), *digests)
    )


def pretrain_profile(profile: str) -> TrainingResult:
    """Pre-train on the available devices; the last checkpoint remains, for notebook 03b."""
    paths = profile_paths(profile)
    options = load().profile(profile)
    fabric = launch_fabric(options.pretrain.precision)
    rows = real_crops(paths, options)
    online, norm = start_network(options, CropStore(paths.training_crops), rows)
    faces = face_dataset(paths, options, rows, online.patch, norm)
    return pretrain(
        online,
        build_loader(faces, options, fabric),
        options.pretrain,
        seed=SEED,
        scratch=scratch_path(paths, options),
        fabric=fabric,
    )
