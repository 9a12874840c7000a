"""How sure a cell of Table 3 is, and a difference between two rows (not in the paper, which reports one run).

All rows are scored on the same videos, so one resample of videos serves all rows: the *paired*
bootstrap. Videos are resampled within each class, and in DF40 within each manipulation method; its
reals, which all methods share, once a draw. An average over test sets averages their draws. With
several seeds a row's draw is the mean over its seeds; the spread over seeds itself is another thing
and stands beside the interval. DeLong's closed form (DeLong et al. 1988, by placement values as in
Sun and Xu 2014) is the cross-check for the AUC. Everything is in percent.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..project.vocabulary import AVERAGES, METRICS, SETS

LEVEL = (2.5, 97.5)  # percentiles of a 95 % interval
NORMAL = 1.959964  # the same of the normal distribution
_AT_ONCE = 4_000_000  # counts in one array: 32 MB
_KEYS = ["video_id", "dataset", "manipulation", "category", "label"]
Closed = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Replicates:
    """Bootstrap draws of each cell: ``cells[metric, set]`` is ``[draws, rows]`` in percent."""

    rows: tuple[str, ...]
    cells: Mapping[tuple[str, str], np.ndarray]

    def cell(self, metric: str, row: str, key: str) -> np.ndarray:
        """Draws ``[draws]`` of one cell; ``KeyError`` for one that was not scored."""
        if row not in self.rows:
            raise KeyError(row)
        return self.cells[metric, key][:, self.rows.index(row)]


@dataclass(frozen=True)
class _TestSet:
    """Positions of a test set's reals and of the fakes of each method; each method's weight in each cell."""

    name: str
    real: np.ndarray
    fakes: tuple[np.ndarray, ...]
    weights: Mapping[str, np.ndarray]


def paired_bootstrap(
    runs: Mapping[str, pd.DataFrame], draws: int, seed: int, threshold: float = 0.5
) -> Replicates:
    """Draws of the AUC and the balanced accuracy of every cell of Table 3, paired over rows.

    ``runs``: ``<row>-<seed>`` -> a row per video as in ``videos.csv`` (``video_id, dataset, manipulation, category,
    label, p_fake``). Each test set has its own stream of random numbers, so that a further set changes no other's
    interval. Percentile intervals of these draws are a little short where a class has only some dozens of videos.
    Memory: a few arrays of 32 MB beside the draws. Raises ``ValueError`` for ``draws`` below 1, a name
    without a seed, and runs with different videos.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}: give a number of bootstrap resamples above 0")
    videos, scores = _aligned(runs)
    rows, mean = _over_seeds(runs)
    cells: dict[tuple[str, str], np.ndarray] = {}
    for part in _test_sets(videos):
        rng = np.random.default_rng([seed, zlib.crc32(part.name.encode())])
        drawn = _draws(part, scores, draws, threshold, rng)
        for metric, values in zip(METRICS, drawn, strict=True):
            cells |= {
                (metric, key): 100 * np.einsum("dgr,g->dr", values, weights) @ mean
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
    """95 % percentile interval of each cell: columns ``row, metric, set, low, high``, percent with two decimals."""
    records = [
        (row, metric, key, *np.percentile(replicates.cell(metric, row, key), LEVEL))
        for row in replicates.rows
        for metric in METRICS
        for key in SETS
        if (metric, key) in replicates.cells
    ]
    return pd.DataFrame(records, columns=["row", "metric", "set", "low", "high"]).round(2)


def delong(runs: Mapping[str, pd.DataFrame]) -> Closed:
    """AUC ``[rows]`` and its covariance ``[rows, rows]`` for every cell, in closed form (DeLong et al. 1988).

    ``runs`` and errors as for :func:`paired_bootstrap`; rows in the order of their first run;
    percent and squared percent. For DF40 a real counts with its mean over methods, because all
    methods share it. The covariance of a class with one video is not defined: NaN.
    """
    videos, scores = _aligned(runs)
    _, mean = _over_seeds(runs)
    cells = {
        key: (100 * mean.T @ area, 1e4 * mean.T @ spread @ mean)
        for part in _test_sets(videos)
        for key, (area, spread) in _closed(part, scores).items()
    }
    for name, members in AVERAGES.items():
        if all(key in cells for key in members):
            areas, spreads = zip(*(cells[key] for key in members), strict=True)
            cells[name] = np.mean(areas, axis=0), np.sum(spreads, axis=0) / len(members) ** 2
    return cells


def comparisons(
    pairs: Iterable[tuple[str, str]],
    published: Mapping[str, Mapping],
    reproduced: Mapping[str, Mapping],
    replicates: Replicates,
    closed: Closed,
) -> pd.DataFrame:
    """First row minus second row of each pair, cell by cell, in percentage points.

    Columns ``first, second, metric, set, published, reproduced, low, high`` (paired bootstrap),
    ``delong_low, delong_high`` (AUC only) and ``differs``: whether the bootstrap interval leaves
    out zero. A pair of which one row was not run keeps its published difference.
    """
    records = []
    for first, second in pairs:
        for metric in METRICS:
            for key in SETS:
                printed, ours = (
                    _gap(rows, metric, key, first, second) for rows in (published, reproduced)
                )
                interval = _intervals_of_gap(replicates, closed, metric, key, first, second)
                records.append((first, second, metric, key, printed, ours, *interval))
    columns = [
        "first",
        "second",
        "metric",
        "set",
        "published",
        "reproduced",
        "low",
        "high",
        "delong_low",
        "delong_high",
    ]
    table = pd.DataFrame(records, columns=columns).astype(dict.fromkeys(columns[4:], "float64"))
    table[columns[4:]] = table[columns[4:]].round(2) + 0.0  # no -0.0
    differs = ((table["low"] > 0) | (table["high"] < 0)).map({True: "yes", False: "no"})
    return table.assign(differs=differs.where(table["low"].notna()))


def _gap(rows: Mapping[str, Mapping], metric: str, key: str, first: str, second: str) -> float:
    cells = [rows.get(row, {}).get(metric, {}).get(key, np.nan) for row in (first, second)]
    return cells[0] - cells[1]


def _intervals_of_gap(
    replicates: Replicates, closed: Closed, metric: str, key: str, first: str, second: str
) -> tuple[float, ...]:
    """Low and high by the bootstrap, low and high by DeLong; NaN where there is none."""
    if not {first, second} <= set(replicates.rows) or (metric, key) not in replicates.cells:
        return (np.nan,) * 4
    gap = replicates.cell(metric, first, key) - replicates.cell(metric, second, key)
    if metric != "auc":
        return (*np.percentile(gap, LEVEL), np.nan, np.nan)
    areas, spread = closed[key]
    one, two = (replicates.rows.index(row) for row in (first, second))
    variance = spread[one, one] + spread[two, two] - 2 * spread[one, two]
    reach = NORMAL * np.sqrt(np.maximum(variance, 0))  # rounding can leave a hair below zero
    return (
        *np.percentile(gap, LEVEL),
        areas[one] - areas[two] - reach,
        areas[one] - areas[two] + reach,
    )


def _aligned(runs: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, np.ndarray]:
    """The videos, sorted, and the scores ``[runs, videos]`` of every run in that order."""
    if not runs:
        raise ValueError("no run to resample: give at least one table of videos")
    tables = {
        name: table.sort_values("video_id", ignore_index=True) for name, table in runs.items()
    }
    first, videos = next(iter(tables.items()))
    for name, table in tables.items():
        if not table[_KEYS].equals(videos[_KEYS]):
            raise ValueError(
                f"runs {first} and {name} have different videos: predict and score both on the same crops"
            )
    return videos, np.stack([table["p_fake"].to_numpy("float64") for table in tables.values()])


def _over_seeds(runs: Iterable[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Rows in the order of their first run, and the weights ``[runs, rows]`` of the mean over seeds."""
    names = [run.rpartition("-") for run in runs]
    if wrong := [
        run
        for run, (row, _, seed) in zip(runs, names, strict=True)
        if not row or not seed.isdecimal()
    ]:
        raise ValueError(f"run {wrong[0]!r} is not named <row>-<seed>: rename it")
    rows = tuple(dict.fromkeys(row for row, *_ in names))
    member = np.array([[row == other for other in rows] for row, *_ in names], dtype=float)
    return rows, member / member.sum(0)


def _test_sets(videos: pd.DataFrame) -> Iterator[_TestSet]:
    """The test sets of Table 3 that have both classes (for DF40: reals, and fakes of a known category)."""
    for name, part in videos.groupby("dataset"):
        if name != "df40":
            real, fake = (part.index[part["label"] == label].to_numpy() for label in (0, 1))
            if len(real) and len(fake):
                yield _TestSet(name, real, (fake,), {name: np.ones(1)})
        elif (part["label"] == 0).any():
            fakes = part[(part["label"] == 1) & part["category"].isin(["FS", "RE"])]
            methods = {
                key: rows.to_numpy()
                for key, rows in fakes.groupby(["category", "manipulation"]).groups.items()
            }
            yield _TestSet(
                name,
                part.index[part["label"] == 0].to_numpy(),
                tuple(methods.values()),
                _df40_weights(np.array([category for category, _ in methods])),
            )


def _df40_weights(categories: np.ndarray) -> dict[str, np.ndarray]:
    """Weights of the methods in DF40's columns: each method counts the same; all only where both kinds are present."""
    chosen = {"df40_fs": categories == "FS", "df40_re": categories == "RE"}
    weights = {key: member / member.sum() for key, member in chosen.items() if member.any()}
    return weights | (
        {"df40": np.full(len(categories), 1 / len(categories))} if len(weights) == 2 else {}
    )


def _draws(
    part: _TestSet, scores: np.ndarray, draws: int, threshold: float, rng: np.random.Generator
) -> np.ndarray:
    """AUC and balanced accuracy of each draw, method and run: fractions ``[2, draws, methods, runs]``."""
    size = max(1, _AT_ONCE // max(len(part.real), *map(len, part.fakes)))
    chunks = [
        _chunk(part, scores, min(size, draws - start), threshold, rng)
        for start in range(0, draws, size)
    ]
    return np.concatenate(chunks, axis=1)


def _chunk(
    part: _TestSet, scores: np.ndarray, draws: int, threshold: float, rng: np.random.Generator
) -> np.ndarray:
    out = np.empty((2, draws, len(part.fakes), len(scores)))
    reals = _counts(len(part.real), draws, rng)
    for method, videos in enumerate(part.fakes):
        fakes = _counts(len(videos), draws, rng)
        for run, score in enumerate(scores):
            real, fake = score[part.real], score[videos]
            out[0, :, method, run] = _auc_of_counts(real, fake, reals, fakes)
            right = (real < threshold) @ reals / len(real) + (fake >= threshold) @ fakes / len(fake)
            out[1, :, method, run] = right / 2
    return out


def _counts(videos: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each video occurs in each resample, ``[videos, draws]``; a float, for sums without conversion."""
    chosen = rng.integers(videos, size=(videos, draws))
    flat = (chosen * draws + np.arange(draws)).ravel()
    return np.bincount(flat, minlength=videos * draws).reshape(videos, draws).astype(np.float64)


def _auc_of_counts(
    real: np.ndarray, fake: np.ndarray, reals: np.ndarray, fakes: np.ndarray
) -> np.ndarray:
    """AUC ``[draws]`` when video i counts ``reals[i]`` or ``fakes[i]`` times; ties half."""
    order = np.argsort(real, kind="stable")
    below = np.concatenate([np.zeros((1, reals.shape[1])), np.cumsum(reals[order], axis=0)])
    left, right = (np.searchsorted(real[order], fake, side) for side in ("left", "right"))
    both = np.einsum("vd,vd->d", fakes, below[left]) + np.einsum("vd,vd->d", fakes, below[right])
    return both / (2 * len(real) * len(fake))


def _placements(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of ``others`` below each of ``values``, ties half."""
    others = np.sort(others)
    return sum(np.searchsorted(others, values, side) for side in ("left", "right")) / (
        2 * len(others)
    )


def _closed(part: _TestSet, scores: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """AUC and covariance over runs of each cell of one test set."""
    fake = [
        np.stack([_placements(s[videos], s[part.real]) for s in scores]) for videos in part.fakes
    ]
    real = np.stack(
        [[1 - _placements(s[part.real], s[videos]) for s in scores] for videos in part.fakes]
    )
    of_fakes = [_covariance_of_mean(values) for values in fake]
    return {
        key: (
            weights @ [values.mean(1) for values in fake],
            _covariance_of_mean(np.tensordot(weights, real, 1))
            + np.tensordot(weights**2, of_fakes, 1),
        )
        for key, weights in part.weights.items()
    }


def _covariance_of_mean(values: np.ndarray) -> np.ndarray:
    """Covariance of the means of ``[runs, videos]``; NaN for a single video."""
    runs, videos = values.shape
    if videos < 2:
        return np.full((runs, runs), np.nan)
    return np.cov(values).reshape(runs, runs) / videos
