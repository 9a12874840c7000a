"""Trained networks in lessons: test crops to embed, and a quick row of Table 3."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from lightning_fabric import Fabric

from ..crops.store import CropStore
from ..evaluation import metrics, prediction
from ..methods.finetune.recipe import build_objective, fine_tune
from ..project.params import Variant, load
from ..project.paths import Paths, profile_paths
from ..project.recipes import Train
from ..training import checkpoints
from ..training.detector import Detector, build_detector
from ..training.devices import accelerator
from ..training.labels import class_labels, class_names
from ..training.loading import CROP_KEY, CropDataset, evaluation_loader, positions, training_loader
from ..training.transforms import Normalisation, evaluation_transform, training_transform


def start_source(profile: str, init: str) -> str:
    """Return the source of the start ``init`` of a profile for ``checkpoints.load_start``.

    Paths are absolute, so that it works from any folder.
    """
    source = getattr(load().profile(profile).start, init)
    return source if source.startswith("timm:") else str(profile_paths(profile).base / source)


def _start_detector(row: Variant, recipe: Train, profile: str) -> tuple[Detector, Normalisation]:
    """Build the row's network with its start weights; return how its inputs are normalised."""
    detector = build_detector(
        recipe.architecture,
        len(class_names(row.labels)),
        depth=recipe.depth,
        input_size=recipe.input_size,
        drop_path=recipe.drop_path,
        head_std=recipe.head_std,
    )
    return detector, checkpoints.load_start(detector, start_source(profile, row.init))


def train_row(row: Variant, profile: str, crops: int, seed: int = 0) -> dict:
    """Train a row of Table 3 for one epoch on ``crops`` training crops; test one crop per video.

    A short version of the stages train, predict and score for a classroom (Section 4.3). Returns
    the content of ``scores.json``.
    """
    options = load().profile(profile)
    paths = profile_paths(profile)
    recipe = replace(options.train, epochs=1, warmup_epochs=0)
    torch.manual_seed(seed)
    detector, norm = _start_detector(row, recipe, profile)

    store = CropStore(paths.crops)
    sample = pd.read_parquet(paths.samples / "train.parquet")
    sample = sample.sample(min(crops, len(sample)), random_state=seed)
    augment = training_transform(recipe.augmentation, recipe.input_size, norm)
    labels = class_labels(sample, row.labels)
    train = CropDataset(store, positions(store, sample), augment, labels)
    loader = training_loader(train, recipe.batch_size, 0, seed)
    fabric = Fabric(accelerator=accelerator(), devices=1)
    loss = build_objective(row, recipe)
    # With one epoch there is nothing to choose: the training crops serve as validation crops.
    with TemporaryDirectory() as scratch:
        fine_tune(
            detector,
            loader,
            loader,
            loss,
            recipe,
            seed=seed,
            scratch=Path(scratch),
            fabric=fabric,
        )

    rows = test_crops(store, paths).drop_duplicates("video_id")
    transform = evaluation_transform(recipe.augmentation, recipe.input_size, norm)
    test = CropDataset(store, positions(store, rows), transform, rows["label"])
    batches = evaluation_loader(test, options.predict.batch_size, 0)
    fabric.to_device(detector)
    probabilities = prediction.class_probabilities(detector, batches, fabric)
    table = prediction.prediction_table(rows, probabilities, class_names(row.labels))
    return metrics.table_row(metrics.video_scores(table), {}, options.scoring.threshold)


def test_crops(store: CropStore, paths: Paths) -> pd.DataFrame:
    """Return the crops of all test videos with columns of the index, one row per crop."""
    index = pd.read_parquet(paths.index)
    columns = ["video_id", "dataset", "manipulation", "category", "label"]
    test = index.loc[index["split"] == "test", columns]
    return store.table(CROP_KEY).merge(test, on="video_id")


def balanced_crops(test: pd.DataFrame, crops: int) -> pd.DataFrame:
    """Draw as many crops of each class of each corpus, ``crops`` in all or fewer.

    Otherwise a corpus with more fakes than reals would make the class and the corpus one thing.
    """
    groups = test.groupby(["dataset", "label"])
    per_group = max(1, min(crops // groups.ngroups, groups.size().min()))
    return groups.sample(per_group, random_state=0).reset_index(drop=True)
