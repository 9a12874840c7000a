"""AUC against the number of labelled crops, for the starts of some rows (not in the paper).

Each start is judged by classifiers on its frozen embeddings and by fine-tuning, on subsets that are
the same for all starts. No label beyond those of the subset is used: fine-tuning keeps its last
step instead of choosing an epoch by a validation split. As a control, the largest of these subsets
is also learnt with shuffled labels: the AUC must then be 50 % but for chance.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ...crops.store import CropStore, list_parts
from ...evaluation.metrics import auc
from ...evaluation.prediction import class_probabilities, crops_of_sets, embeddings
from ...project.code.closure import code_digest
from ...project.files import replacing
from ...project.params import Profile, Variant, load
from ...project.paths import Paths, profile_paths
from ...project.provenance import file_digest, fingerprint
from ...project.recipes import LabelCurve, Train
from ...project.vocabulary import VALIDATION
from ...training.devices import launch_fabric
from ...training.labels import class_labels, p_fake
from ...training.loading import CropDataset, evaluation_loader, positions, training_loader
from ...training.transforms import Transform, evaluation_transform, training_transform
from .few_labels import (
    COLUMNS,
    FINE_TUNING,
    LINEAR,
    METHOD_NAMES,
    SHUFFLED,
    balanced_subset,
    largest_subset,
    linear_scores,
    neighbour_scores,
    with_shuffled_labels,
)
from .recipe import build_objective, fine_tune
from .run import start_detector


class Cell(NamedTuple):
    """One number of the curve."""

    start: str
    method: str
    pictures: int
    seed: int


@dataclass(frozen=True)
class Study:
    """What all cells share: the rows whose starts are compared, options, crops, their tables.

    ``scratch``: folder of finished cells and embeddings, named by all that they depend on.
    """

    rows: dict[str, Variant]
    options: Profile
    store: CropStore
    train: pd.DataFrame
    test: pd.DataFrame
    scratch: Path

    def auc_of(self, cell: Cell) -> float:
        """Compute the AUC of a cell in percent, or read it if it was computed before."""
        file = self.scratch / f"{'-'.join(map(str, cell))}.txt"
        if not file.is_file():
            value = 100 * auc(self.test["label"].to_numpy(), self._scores(cell))
            with replacing(file) as temporary:
                temporary.write_text(f"{value!r}\n", encoding="utf-8")
        return float(file.read_text(encoding="utf-8"))

    def _scores(self, cell: Cell) -> np.ndarray:
        """Score the test crops, ``[M]``."""
        subset = balanced_subset(self.train, cell.pictures, cell.seed)
        if cell.method == SHUFFLED:
            return self._fine_tuned_scores(cell, with_shuffled_labels(subset, cell.seed))
        if cell.method == FINE_TUNING:
            return self._fine_tuned_scores(cell, subset)
        train = self._embeddings(cell.start, "train")[subset["number"]]
        test = self._embeddings(cell.start, "test")
        labels = subset["label"].to_numpy()
        if cell.method == LINEAR:
            return linear_scores(train, labels, test)
        return neighbour_scores(train, labels, test, self.options.labels.neighbours)

    def _embeddings(self, start: str, part: str) -> np.ndarray:
        """Embed all training or test crops by the frozen start, once; float32 ``[N, D]``."""
        file = self.scratch / f"{start}-{part}.npy"
        if not file.is_file():
            rows = self.train if part == "train" else self.test
            detector, norm = start_detector(self.rows[start], self.options, seed=0)
            crops = self._dataset(start, rows, evaluation_transform(*self._view, norm))
            batch = self.options.predict.batch_size
            found = embeddings(detector, crops, batch, f"embed {part} by {start}")
            with replacing(file) as temporary, temporary.open("wb") as stream:
                np.save(stream, found)
        return np.load(file)

    def _fine_tuned_scores(self, cell: Cell, subset: pd.DataFrame) -> np.ndarray:
        """Fine-tune on ``subset`` and score the test crops, ``[M]``."""
        row, recipe = self.rows[cell.start], self.options.train
        detector, norm = start_detector(row, self.options, cell.seed)
        augment = training_transform(*self._view, norm)
        view = evaluation_transform(*self._view, norm)
        crops = self._dataset(cell.start, repeated(subset, recipe, self.options.labels), augment)
        # Its loss chooses nothing: the weights used below are those of the last step.
        few = self._dataset(cell.start, subset.iloc[: recipe.batch_size], view)
        fabric = launch_fabric(recipe.precision)
        checkpoints = self.scratch / "-".join(map(str, cell))
        fine_tune(
            detector,
            training_loader(crops, recipe.batch_size, recipe.workers, cell.seed),
            evaluation_loader(few, recipe.batch_size, 0),
            build_objective(row, recipe),
            recipe,
            seed=cell.seed,
            scratch=checkpoints,
            fabric=fabric,
            report=lambda line: None,
        )
        batch = self.options.predict.batch_size
        test = evaluation_loader(self._dataset(cell.start, self.test, view), batch, 0)
        probabilities = class_probabilities(detector, test, fabric, "score the test crops")
        shutil.rmtree(checkpoints, ignore_errors=True)
        return p_fake(probabilities)

    @property
    def _view(self) -> tuple[str, int]:
        return self.options.train.augmentation, self.options.train.input_size

    def _dataset(self, start: str, rows: pd.DataFrame, transform: Transform) -> CropDataset:
        labels = class_labels(rows, self.rows[start].labels)
        return CropDataset(self.store, positions(self.store, rows), transform, labels)


def repeated(subset: pd.DataFrame, recipe: Train, options: LabelCurve) -> pd.DataFrame:
    """Return the rows of one epoch: the subset, repeated until ``min_steps`` are done in all."""
    steps = math.ceil(options.min_steps / recipe.epochs)
    count = max(len(subset), steps * recipe.batch_size)
    return subset.iloc[np.resize(np.arange(len(subset)), count)]


def cells(options: LabelCurve, available: int) -> Iterator[Cell]:
    """Yield the cells whose subsets fit into ``available`` crops, one seed after the other."""
    for seed in options.seeds:
        for method in METHOD_NAMES:
            for pictures in _sizes(options, method):
                for start in options.rows:
                    if pictures <= available:
                        yield Cell(start, method, pictures, seed)


def _sizes(options: LabelCurve, method: str) -> tuple[int, ...]:
    """Return the sizes of a method; shuffled labels, a control, have the largest of fine-tuning."""
    if method == SHUFFLED:
        return tuple(sorted(options.fine_tune_sizes)[-1:])
    return options.fine_tune_sizes if method == FINE_TUNING else options.sizes


def open_study(profile: str) -> Study:
    """Read the sample of a profile and draw the crops to test on, of the training corpora alone."""
    params = load()
    paths = profile_paths(profile)
    options = params.profile(profile)
    store = CropStore(paths.crops)
    train = pd.read_parquet(paths.samples / "train.parquet")
    test = _test_crops(paths, options, store)
    size = min(options.labels.test_crops // 2 * 2, largest_subset(test))
    return Study(
        rows={name: params.variant(name) for name in options.labels.rows},
        options=options,
        store=store,
        train=train.assign(number=np.arange(len(train))),
        test=balanced_subset(test, size, seed=0),
        scratch=_scratch(paths, options),
    )


def _test_crops(paths: Paths, options: Profile, store: CropStore) -> pd.DataFrame:
    """List the crops of the split to test on; ``validation`` is for what chooses a value."""
    if options.labels.split == VALIDATION:
        return pd.read_parquet(paths.samples / "validation.parquet")
    sets = crops_of_sets(pd.read_parquet(paths.index), store)
    return pd.concat([sets[corpus] for corpus in options.corpora.training], ignore_index=True)


def _scratch(paths: Paths, options: Profile) -> Path:
    """Name the folder of finished cells by code, crops, start weights and recipe.

    The lists of sizes, seeds and rows do not count: a longer list computes what is new.
    """
    shared = replace(options.labels, rows=(), sizes=(), fine_tune_sizes=(), seeds=())
    recipe = replace(options.train, devices=1, workers=0)
    starts = [paths.base / start for start in vars(options.start).values()]
    files = [*filter(Path.is_file, starts), paths.samples / "train.parquet", paths.index]
    digests = [file_digest(file) for file in files]
    crops = list_parts(paths.crops)[["part", "bytes", "stamp"]].to_csv(index=False)
    code = code_digest(open_study)
    return paths.scratch(
        f"labels-{fingerprint(shared, recipe, options.start, code, crops, *digests)}"
    )


def write_curve(profile: str) -> Path:
    """Write ``results/<profile>/labels/curve.csv``; finished cells are not computed again.

    Raises ``ValueError`` if the sample fills none of the sizes.
    """
    study = open_study(profile)
    available = largest_subset(study.train)
    todo = list(cells(study.options.labels, available))
    if not todo:
        raise ValueError(
            f"params.yaml: {profile}.labels: the sample has {available} balanced crops: "
            "give smaller sizes"
        )
    records = []
    for number, cell in enumerate(todo, start=1):
        value = round(study.auc_of(cell), 2)
        records.append((*cell, value))
        print(
            f"labels {number}/{len(todo)}: {cell.start}, {METHOD_NAMES[cell.method]}, "
            f"{cell.pictures} pictures, seed {cell.seed}: AUC {value:.2f} %",
            flush=True,
        )
    file = profile_paths(profile).runs.with_name("labels") / "curve.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(sorted(records), columns=COLUMNS)
    table.to_csv(file, index=False, lineterminator="\n")
    return file
