"""Pre-training from ``params.yaml`` to its last step: what notebook 03b shows step by step.

On several devices the same steps run under ``torchrun`` (``python -m deepfake_repro pretrain``);
the notebook then finds their last checkpoint in the scratch folder and has nothing left to train.
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
from ...project.closure import code_digest
from ...project.params import Profile, load
from ...project.paths import ASSETS, Paths, profile_paths
from ...project.provenance import file_digest, fingerprint
from ...training import checkpoints
from ...training.detector import build_detector
from ...training.devices import this_fabric
from ...training.loading import CROP_KEY, training_loader
from ...training.transforms import Normalisation
from .masks import (
    LandmarkParser,
    RealFaces,
    measured_normalisation,
    real_faces_of,
    real_training_faces,
)
from .networks import FSFM, begin_from_nothing
from .recipe import PretrainFit, pretrain

SEED = 0


def real_rows(paths: Paths, options: Profile) -> pd.DataFrame:
    """The real crops that ``pretrain.faces`` names: of the training sample, or all of a corpus (Section 3.2)."""
    index = pd.read_parquet(paths.index)
    if options.pretrain.faces == "sample":
        return real_training_faces(pd.read_parquet(paths.samples / "train.parquet"), index)
    return real_faces_of(options.pretrain.faces, CropStore(paths.crops).table(CROP_KEY), index)


def start(options: Profile, store: CropStore, rows: pd.DataFrame) -> tuple[FSFM, Normalisation]:
    """The online network with the weights of ``pretrain.start``, or from nothing, and how its inputs are normalised."""
    torch.manual_seed(SEED)
    train = options.train
    detector = build_detector(train.architecture, 2, depth=train.depth, input_size=train.input_size)
    if options.pretrain.start:
        norm = checkpoints.load_start(detector, options.pretrain.start)
    else:
        begin_from_nothing(detector.encoder)
        norm = measured_normalisation(store, rows)
    return FSFM(detector.encoder, options.pretrain), norm


def real_faces(
    paths: Paths, options: Profile, rows: pd.DataFrame, patch: int, norm: Normalisation
) -> RealFaces:
    """The crops of ``rows`` with their regions, which the face mesh finds now."""
    parser = LandmarkParser(
        FaceMesh(paths.base / ASSETS / "face_landmarks.tflite"), options.crops.margin
    )
    shape = options.train.augmentation, options.train.input_size, patch, norm
    return RealFaces(CropStore(paths.crops), rows, parser, *shape, workers=options.pretrain.workers)


def loader(faces: RealFaces, options: Profile, fabric: Fabric) -> DataLoader:
    """This device's part of every batch."""
    recipe = options.pretrain
    return training_loader(
        faces, recipe.batch_size, recipe.workers, SEED, fabric.global_rank, fabric.world_size
    )


def scratch(paths: Paths, options: Profile) -> Path:
    """Folder of the checkpoints, named by parameters, code and data; a run may go on on other devices."""
    anywhere = replace(options.pretrain, devices=1, workers=0)
    digests = [file_digest(file) for file in (paths.samples / "train.parquet", paths.index)]
    return paths.scratch(
        fingerprint(options.train, anywhere, SEED, code_digest(pretrain_profile), *digests)
    )


def pretrain_profile(profile: str) -> PretrainFit:
    """Pre-train on the devices at hand; what remains is the last checkpoint, for notebook 03b."""
    paths, options = profile_paths(profile), load().profile(profile)
    fabric, rows = this_fabric(options.pretrain.precision), real_rows(paths, options)
    online, norm = start(options, CropStore(paths.crops), rows)
    batches = loader(real_faces(paths, options, rows, online.patch, norm), options, fabric)
    return pretrain(
        online, batches, options.pretrain, seed=SEED, scratch=scratch(paths, options), fabric=fabric
    )
