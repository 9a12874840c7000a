"""Uncertainty of the cells of Table 3 and of differences between rows (not in the paper).

All rows are scored on the same videos, so one resample of videos serves all rows: the *paired*
bootstrap. Videos are resampled within each class, and in DF40 within each manipulation method; its
reals, which all methods share, are resampled once per draw. An average over test sets averages
their draws. With several seeds a row's draw is the mean over its seeds; the spread over seeds is a
different quantity and is reported beside the interval. DeLong's closed form (DeLong et al. 1988, by
placement values as in Sun and Xu 2014) cross-checks the AUC. Everything is in percent.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..project.vocabulary import AVERAGES, METRICS, SETS
from .metrics import VIDEO_COLUMNS

LEVEL = (2.5, 97.5)  # percentiles of a 95 % interval
NORMAL_QUANTILE = 1.959964  # of a 95 % interval
_CHUNK_SIZE = 4_000_000  # counts in one array: 32 MB
ClosedForm = Mapping[str, tuple[np.ndarray, np.ndarray]]  # AUC [rows], covariance [rows, rows]


@dataclass(frozen=True)
class Replicates:
    """Bootstrap draws of each cell: ``cells[metric, set]`` is ``[draws, rows]`` in percent."""

    rows: tuple[str, ...]
    cells: Mapping[tuple[str, str], np.ndarray]

    def cell(self, metric: str, row: str, key: str) -> np.ndarray:
        """Return the draws ``[draws]`` of one cell; ``KeyError`` if it was not scored."""
        if row not in self.rows:
            raise KeyError(row)
        return self.cells[metric, key][:, self.rows.index(row)]


@dataclass(frozen=True)
class _TestSet:
    """Positions of a test set's reals and of each method's fakes; the methods' weights per cell."""

    name: str
    real: np.ndarray
    fakes: tuple[np.ndarray, ...]
    weights: Mapping[str, np.ndarray]


def paired_bootstrap(
    runs: Mapping[str, pd.DataFrame], draws: int, seed: int, threshold: float = 0.5
) -> Replicates:
    """Draw the AUC and the balanced accuracy of every cell of Table 3, paired over rows.

    ``runs``: ``<row>-<seed>`` -> one row per video as in ``videos.csv`` (``video_id, dataset,
    manipulation, category, label, p_fake``). Each test set has its own stream of random numbers, so
    adding a set changes no other interval. Percentile intervals of these draws are slightly too
    short where a class has only a few dozen videos. Memory: a few arrays of 32 MB beside the draws.
    Raises ``ValueError`` for ``draws`` below 1, a name without a seed, and runs with different
    videos.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}: give a number of bootstrap resamples above 0")
    videos, scores = _aligned(runs)
    rows, seed_weights = _over_seeds(runs)
    cells: dict[tuple[str, str], np.ndarray] = {}
    for part in _test_sets(videos):
        rng = np.random.default_rng([seed, zlib.crc32(part.name.encode())])
        drawn = _draws(part, scores, draws, threshold, rng)
        for metric, values in zip(METRICS, drawn, strict=True):
            cells |= {
                (metric, key): 100 * np.einsum("dgr,g->dr", values, weights) @ seed_weights
                for key, weights in part.weights.items()
            }
    for metric in METRICS:
        cells |= {
            (metric, name): np.mean([cells[metric, key] for key in members], axis=0)
            for name, members in AVERAGES.items()
            if all((metric, key) in cells for key in members)
        }
    return Replicates(rows, cells)


def intervals(replicates: Replicates) -> pd.DataFrame:
    """Compute the 95 % percentile interval of each cell, percent with two decimals.

    Columns ``row, metric, set, low, high``.
    """
    records = [
        (row, metric, key, *np.percentile(replicates.cell(metric, row, key), LEVEL))
        for row in replicates.rows
        for metric in METRICS
        for key in SETS
        if (metric, key) in replicates.cells
    ]
    return pd.DataFrame(records, columns=["row", "metric", "set", "low", "high"]).round(2)


def delong(runs: Mapping[str, pd.DataFrame]) -> ClosedForm:
    """Compute AUC ``[rows]`` and covariance ``[rows, rows]`` of every cell (DeLong et al. 1988).

    ``runs`` and errors as for :func:`paired_bootstrap`; rows in the order of their first run;
    percent and squared percent. For DF40 a real counts with its mean over methods, because all
    methods share it. The covariance of a class with one video is undefined: NaN.
    """
    videos, scores = _aligned(runs)
    _, seed_weights = _over_seeds(runs)
    cells = {
        key: (100 * seed_weights.T @ area, 1e4 * seed_weights.T @ covariance @ seed_weights)
        for part in _test_sets(videos)
        for key, (area, covariance) in _closed_form(part, scores).items()
    }
    for name, members in AVERAGES.items():
        if all(key in cells for key in members):
            areas, covariances = zip(*(cells[key] for key in members), strict=True)
            cells[name] = np.mean(areas, axis=0), np.sum(covariances, axis=0) / len(members) ** 2
    return cells


def comparisons(
    pairs: Iterable[tuple[str, str]],
    published: Mapping[str, Mapping],
    reproduced: Mapping[str, Mapping],
    replicates: Replicates,
    closed: ClosedForm,
) -> pd.DataFrame:
    """Subtract the second row of each pair from the first, cell by cell, in percentage points.

    Columns ``first, second, metric, set, published, reproduced, low, high`` (paired bootstrap),
    ``delong_low, delong_high`` (AUC only) and ``differs``: whether the bootstrap interval excludes
    zero. If one row of a pair was not run, only the published difference is given.
    """
    records = []
    for (first, second), metric, key in itertools.product(pairs, METRICS, SETS):
        theirs = _difference(published, metric, key, first, second)
        ours = _difference(reproduced, metric, key, first, second)
        interval = _difference_intervals(replicates, closed, metric, key, first, second)
        records.append((first, second, metric, key, theirs, ours, *interval))
    names = ["first", "second", "metric", "set"]
    numbers = ["published", "reproduced", "low", "high", "delong_low", "delong_high"]
    table = pd.DataFrame(records, columns=[*names, *numbers])
    table[numbers] = table[numbers].astype("float64").round(2) + 0.0  # no -0.0
    differs = ((table["low"] > 0) | (table["high"] < 0)).map({True: "yes", False: "no"})
    return table.assign(differs=differs.where(table["low"].notna()))


def _difference(
    rows: Mapping[str, Mapping], metric: str, key: str, first: str, second: str
) -> float:
    cells = [rows.get(row, {}).get(metric, {}).get(key, np.nan) for row in (first, second)]
    return cells[0] - cells[1]


def _difference_intervals(
    replicates: Replicates, closed: ClosedForm, metric: str, key: str, first: str, second: str
) -> tuple[float, ...]:
    """Return low and high by the bootstrap, low and high by DeLong; NaN where undefined."""
    if not {first, second} <= set(replicates.rows) or (metric, key) not in replicates.cells:
        return (np.nan,) * 4
    drawn = replicates.cell(metric, first, key) - replicates.cell(metric, second, key)
    bootstrap = np.percentile(drawn, LEVEL)
    if metric != "auc":
        return (*bootstrap, np.nan, np.nan)
    areas, covariance = closed[key]
    one = replicates.rows.index(first)
    two = replicates.rows.index(second)
    difference = areas[one] - areas[two]
    variance = covariance[one, one] + covariance[two, two] - 2 * covariance[one, two]
    half_width = NORMAL_QUANTILE * np.sqrt(np.maximum(variance, 0))  # rounding can fall below zero
    return (*bootstrap, difference - half_width, difference + half_width)


def _aligned(runs: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the videos, sorted, and the scores ``[runs, videos]`` of every run in that order."""
    if not runs:
        raise ValueError("no run to resample: give at least one table of videos")
    tables = {
        name: table.sort_values("video_id", ignore_index=True) for name, table in runs.items()
    }
    first, videos = next(iter(tables.items()))
    for name, table in tables.items():
        if not table[VIDEO_COLUMNS].equals(videos[VIDEO_COLUMNS]):
            raise ValueError(
                f"runs {first} and {name} have different videos: "
                "predict and score both on the same crops"
            )
    return videos, np.stack([table["p_fake"].to_numpy("float64") for table in tables.values()])


def _over_seeds(runs: Iterable[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the rows, in the order of their first run, and seed-mean weights ``[runs, rows]``."""
    row_of_run = []
    for run in runs:
        row, _, seed = run.rpartition("-")
        if not row or not seed.isdecimal():
            raise ValueError(f"run {run!r} is not named <row>-<seed>: rename it")
        row_of_run.append(row)
    rows = tuple(dict.fromkeys(row_of_run))
    member = np.array([[row == other for other in rows] for row in row_of_run], dtype=float)
    return rows, member / member.sum(0)


def _test_sets(videos: pd.DataFrame) -> Iterator[_TestSet]:
    """Yield the test sets that have both classes; of DF40's fakes only FS and RE count."""
    for name, part in videos.groupby("dataset"):
        real = part.index[part["label"] == 0].to_numpy()
        fake = part.index[part["label"] == 1].to_numpy()
        if name != "df40":
            if len(real) and len(fake):
                yield _TestSet(name, real, (fake,), {name: np.ones(1)})
        elif len(real):
            fakes = part[(part["label"] == 1) & part["category"].isin(["FS", "RE"])]
            methods = fakes.groupby(["category", "manipulation"]).groups
            categories = np.array([category for category, _ in methods])
            indices = tuple(index.to_numpy() for index in methods.values())
            yield _TestSet(name, real, indices, _df40_weights(categories))


def _df40_weights(categories: np.ndarray) -> dict[str, np.ndarray]:
    """Weigh the methods equally in each DF40 column; ``df40`` only if both kinds are present."""
    kinds = {"df40_fs": categories == "FS", "df40_re": categories == "RE"}
    weights = {key: member / member.sum() for key, member in kinds.items() if member.any()}
    if len(weights) == 2:
        weights["df40"] = np.full(len(categories), 1 / len(categories))
    return weights


def _draws(
    part: _TestSet, scores: np.ndarray, draws: int, threshold: float, rng: np.random.Generator
) -> np.ndarray:
    """Compute both metrics per draw, method and run: fractions ``[2, draws, methods, runs]``."""
    size = max(1, _CHUNK_SIZE // max(len(part.real), *map(len, part.fakes)))
    chunks = [
        _chunk(part, scores, min(size, draws - start), threshold, rng)
        for start in range(0, draws, size)
    ]
    return np.concatenate(chunks, axis=1)


def _chunk(
    part: _TestSet, scores: np.ndarray, draws: int, threshold: float, rng: np.random.Generator
) -> np.ndarray:
    metrics = np.empty((2, draws, len(part.fakes), len(scores)))
    real_counts = _counts(len(part.real), draws, rng)
    for method, videos in enumerate(part.fakes):
        fake_counts = _counts(len(videos), draws, rng)
        for run, score in enumerate(scores):
            real = score[part.real]
            fake = score[videos]
            specificity = (real < threshold) @ real_counts / len(real)
            sensitivity = (fake >= threshold) @ fake_counts / len(fake)
            metrics[0, :, method, run] = _auc_of_counts(real, fake, real_counts, fake_counts)
            metrics[1, :, method, run] = (specificity + sensitivity) / 2
    return metrics


def _counts(videos: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Count each video in each resample: ``[videos, draws]``, fp64 so that sums need no cast."""
    chosen = rng.integers(videos, size=(videos, draws))
    flat = (chosen * draws + np.arange(draws)).ravel()
    return np.bincount(flat, minlength=videos * draws).reshape(videos, draws).astype(np.float64)


def _auc_of_counts(
    real: np.ndarray, fake: np.ndarray, real_counts: np.ndarray, fake_counts: np.ndarray
) -> np.ndarray:
    """Compute the AUC ``[draws]``; row i of the counts says how often video i occurs."""
    order = np.argsort(real, kind="stable")
    none = np.zeros((1, real_counts.shape[1]))
    below = np.concatenate([none, np.cumsum(real_counts[order], axis=0)])
    left = np.searchsorted(real[order], fake, "left")
    right = np.searchsorted(real[order], fake, "right")  # left + right counts ties half
    pairs = np.einsum("vd,vd->d", fake_counts, below[left])
    pairs = pairs + np.einsum("vd,vd->d", fake_counts, below[right])
    return pairs / (2 * len(real) * len(fake))


def _placements(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute the share of ``others`` below each of ``values``; ties count half."""
    others = np.sort(others)
    left = np.searchsorted(others, values, "left")
    right = np.searchsorted(others, values, "right")
    return (left + right) / (2 * len(others))


def _closed_form(part: _TestSet, scores: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Compute AUC and covariance over runs of each cell of one test set."""
    fake = [
        np.stack([_placements(score[videos], score[part.real]) for score in scores])
        for videos in part.fakes
    ]
    real = np.stack(
        [
            [1 - _placements(score[part.real], score[videos]) for score in scores]
            for videos in part.fakes
        ]
    )
    fake_covariances = [_covariance_of_mean(values) for values in fake]
    cells = {}
    for key, weights in part.weights.items():
        area = weights @ [values.mean(1) for values in fake]
        real_covariance = _covariance_of_mean(np.tensordot(weights, real, 1))
        fake_covariance = np.tensordot(weights**2, fake_covariances, 1)
        cells[key] = (area, real_covariance + fake_covariance)
    return cells


def _covariance_of_mean(values: np.ndarray) -> np.ndarray:
    """Estimate the covariance of the means of ``[runs, videos]``; NaN for a single video."""
    runs, videos = values.shape
    if videos < 2:
        return np.full((runs, runs), np.nan)
    return np.cov(values).reshape(runs, runs) / videos
