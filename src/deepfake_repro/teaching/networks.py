"""What lessons do with trained networks: embeddings of crops, one quick row of Table 3."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from lightning_fabric import Fabric

from ..crops.store import CropStore
from ..evaluation import metrics, prediction
from ..methods.finetune.recipe import fit, objective
from ..project.params import Variant, load
from ..project.paths import Paths, profile_paths
from ..training import checkpoints
from ..training.detector import build_detector
from ..training.labels import class_labels, class_names
from ..training.loading import CROP_KEY, CropDataset, evaluation_loader, positions, training_loader
from ..training.transforms import evaluation_transform, training_transform


def start_source(profile: str, init: str) -> str:
    """What :func:`.training.checkpoints.load_start` takes for the start ``init`` of a profile, from any folder."""
    chosen = getattr(load().profile(profile).start, init)
    return chosen if chosen.startswith("timm:") else str(profile_paths(profile).base / chosen)


def train_row(row: Variant, profile: str, crops: int, seed: int = 0) -> dict:
    """Train a row of Table 3 for one epoch on ``crops`` training crops and score it on one crop a test video.

    A taste of the stages train, predict and score for a classroom (Section 4.3). Returns what
    ``scores.json`` holds.
    """
    options, paths = load().profile(profile), profile_paths(profile)
    recipe = replace(options.train, epochs=1, warmup_epochs=0)
    torch.manual_seed(seed)
    detector = build_detector(
        recipe.architecture,
        len(class_names(row.labels)),
        depth=recipe.depth,
        input_size=recipe.input_size,
        drop_path=recipe.drop_path,
        head_std=recipe.head_std,
    )
    norm = checkpoints.load_start(detector, start_source(profile, row.init))
    shape, store = (recipe.augmentation, recipe.input_size, norm), CropStore(paths.crops)
    sample = pd.read_parquet(paths.samples / "train.parquet")
    sample = sample.sample(min(crops, len(sample)), random_state=seed)
    train = CropDataset(
        store,
        positions(store, sample),
        training_transform(*shape),
        class_labels(sample, row.labels),
    )
    loader = training_loader(train, recipe.batch_size, 0, seed)
    fabric, loss = Fabric(accelerator="auto", devices=1), objective(row, recipe)
    with (
        TemporaryDirectory() as scratch
    ):  # with one epoch there is none to choose: the loss is watched on the same crops
        fit(detector, loader, loader, loss, recipe, seed=seed, scratch=Path(scratch), fabric=fabric)
    test = test_crops(store, paths).drop_duplicates("video_id")
    views = CropDataset(store, positions(store, test), evaluation_transform(*shape), test["label"])
    probabilities = prediction.class_probabilities(
        fabric.to_device(detector), evaluation_loader(views, options.predict.batch_size, 0), fabric
    )
    table = prediction.prediction_table(test, probabilities, class_names(row.labels))
    return metrics.table_row(metrics.video_scores(table), {}, options.scoring.threshold)


def test_crops(store: CropStore, paths: Paths) -> pd.DataFrame:
    """The crops of all test videos with what the index says of each, a row per crop."""
    index = pd.read_parquet(paths.index)
    test = index.loc[
        index["split"] == "test", ["video_id", "dataset", "manipulation", "category", "label"]
    ]
    return store.table(CROP_KEY).merge(test, on="video_id")
