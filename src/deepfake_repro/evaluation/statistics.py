"""Uncertainty of the cells of Table 3 and of differences between rows (not in the paper).

The unit is the *source*: the person or source video that several videos share (column ``source`` of
``videos.csv``; without it, each video is its own source). All rows are scored on the same videos.
Each draw therefore gives every source one random weight, used for all rows and cells: a *paired*
bootstrap, here with normal multipliers. The draws determine the correlation between cells;
:mod:`.bounds` determines the width of each interval. Its intervals stay valid for few videos and
near 100 %: they use the effective number of independent videos, given how similarly the videos of
one source score.

For an average over test sets, the distances to the bounds are combined in quadrature (Zou and
Donner 2008).
With several seeds a row's cell is the mean over its seeds; the spread over seeds is a different
quantity and is reported beside the interval. DeLong's closed form (DeLong et al. 1988, by placement
values as in Sun and Xu 2014, summed per source as in Obuchowski 1997) cross-checks the AUC.
Everything is in percent.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..project.layout import PAPER, Layout
from ..project.vocabulary import METRICS
from . import influence
from .bounds import NORMAL_QUANTILE
from .influence import Cell, View
from .metrics import SOURCE, VIDEO_COLUMNS, table_row

LEVEL = (2.5, 97.5)  # percentiles of a 95 % interval
POWER_QUANTILE = 0.841621  # standard normal quantile of 80 % power
SIZES = ["n_real", "n_fake", "sources"]
"""Columns of the numbers of scored videos and of independent people or source videos."""
_CHUNK_SIZE = 4_000_000  # multipliers in one array: 32 MB
ClosedForm = Mapping[str, tuple[np.ndarray, np.ndarray]]  # AUC [rows], covariance [rows, rows]


@dataclass(frozen=True)
class Replicates:
    """Draws of each cell: ``cells[metric, set]`` is ``[draws, rows]`` in percent.

    ``sizes``: numbers ``SIZES`` of each set, summed over the sets of an average. ``seeds``: the
    rows of each seed, if several were run, as content of ``scores.json``.
    """

    rows: tuple[str, ...]
    cells: Mapping[tuple[str, str], np.ndarray]
    sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    seeds: Mapping[str, Mapping[str, Mapping]] = field(default_factory=dict)

    def cell(self, metric: str, row: str, key: str) -> np.ndarray:
        """Return the draws ``[draws]`` of one cell; ``KeyError`` if it was not scored."""
        if row not in self.rows:
            raise KeyError(row)
        return self.cells[metric, key][:, self.rows.index(row)]


@dataclass(frozen=True)
class _Drawn:
    """A cell of all rows with its draws ``normal`` ``[draws, rows]``, in standard errors."""

    value: np.ndarray
    below: np.ndarray
    above: np.ndarray
    normal: np.ndarray

    def percent(self) -> np.ndarray:
        """Return the draws ``[draws, rows]`` in percent, from a split normal distribution."""
        distance = np.where(self.normal > 0, self.above, self.below)
        drawn = self.value + distance / NORMAL_QUANTILE * self.normal
        return 100 * np.clip(drawn, 0, 1)


def paired_bootstrap(
    runs: Mapping[str, pd.DataFrame],
    draws: int,
    seed: int,
    threshold: float = 0.5,
    layout: Layout = PAPER,
) -> Replicates:
    """Draw the AUC and the balanced accuracy of every cell of Table 3, paired over rows.

    ``runs``: ``<row>-<seed>`` -> one row per video as in ``videos.csv`` (``video_id, dataset,
    manipulation, category, label, p_fake`` and perhaps ``source``). Each test set has its own
    stream of random numbers, so adding a set changes no other interval; test sets count as
    independent of each other. Memory: a few arrays of 32 MB beside the draws. Raises ``ValueError``
    for ``draws`` below 1, a name without a seed, and runs with different videos.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}: give a number of bootstrap resamples above 0")
    videos, scores = _aligned(runs)
    rows, seed_weights = _over_seeds(runs)
    drawn: dict[tuple[str, str], _Drawn] = {}
    sizes: dict[str, Sequence[int]] = {}
    for part in influence.test_sets(videos):
        cells = {
            key: _mean_over_seeds(cell, seed_weights)
            for key, cell in influence.cells(part, scores, threshold)
        }
        stream = (seed, zlib.crc32(part.name.encode()))
        normals = _normals(cells, part.count, draws, stream, rows)
        drawn |= {
            key: _Drawn(cell.value, cell.below, cell.above, normals[key])
            for key, cell in cells.items()
        }
        sizes |= {key: View(part, weights).sizes() for key, weights in part.weights.items()}
    for name, members in layout.averages.items():
        if all(key in sizes for key in members):
            drawn |= {
                (metric, name): _average([drawn[metric, key] for key in members])
                for metric in METRICS
            }
            sizes[name] = np.sum([sizes[key] for key in members], axis=0).tolist()
    return Replicates(
        rows,
        {key: cell.percent() for key, cell in drawn.items()},
        sizes,
        _rows_of_seeds(runs, threshold, layout),
    )


def intervals(replicates: Replicates, sets: Sequence[str] = PAPER.sets) -> pd.DataFrame:
    """Compute the 95 % interval of each cell of ``sets``, percent with two decimals.

    Columns ``row, metric, set, low, high``, the numbers ``SIZES`` of the set and ``visible``, the
    :func:`smallest_visible` difference between two rows.
    """
    unknown = [pd.NA] * len(SIZES)
    records = [
        (
            row,
            metric,
            key,
            *np.percentile(replicates.cell(metric, row, key), LEVEL).round(2),
            *replicates.sizes.get(key, unknown),
        )
        for row in replicates.rows
        for metric in METRICS
        for key in sets
        if (metric, key) in replicates.cells
    ]
    table = pd.DataFrame(records, columns=["row", "metric", "set", "low", "high", *SIZES])
    table = table.astype(dict.fromkeys(SIZES, "Int64"))
    return table.merge(smallest_visible(replicates), on=["metric", "set"], how="left")


def delong(runs: Mapping[str, pd.DataFrame], layout: Layout = PAPER) -> ClosedForm:
    """Compute AUC ``[rows]`` and covariance ``[rows, rows]`` of every cell (DeLong et al. 1988).

    ``runs`` and errors as for :func:`paired_bootstrap`; rows in the order of their first run;
    percent and squared percent. For DF40 a real counts with its mean over methods, because all
    methods share it. The covariance of a class with one source is undefined: NaN.
    """
    videos, scores = _aligned(runs)
    _, seed_weights = _over_seeds(runs)
    cells = {}
    for part in influence.test_sets(videos):
        for key, weights in part.weights.items():
            view = View(part, weights)
            area, of_videos = view.auc(scores)
            by_source = seed_weights.T @ view.by_source(of_videos)
            covariance = 1e4 * by_source @ by_source.T
            if min(view.class_sources()) < 2:
                covariance = np.full_like(covariance, np.nan)
            cells[key] = (100 * seed_weights.T @ area, covariance)
    for name, members in layout.averages.items():
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
    layout: Layout = PAPER,
) -> pd.DataFrame:
    """Subtract the second row of each pair from the first, cell by cell, in percentage points.

    Columns ``first, second, metric, set, published, reproduced, low, high`` (paired bootstrap),
    ``delong_low, delong_high`` (AUC only), ``visible`` (the minimum detectable difference
    at 80 % power) and ``differs``: whether the bootstrap interval
    excludes zero. If one row of a pair was not run, only the published difference is given.
    """
    records = []
    for (first, second), metric, key in itertools.product(pairs, METRICS, layout.sets):
        theirs = _difference(published, metric, key, first, second)
        ours = _difference(reproduced, metric, key, first, second)
        interval = _difference_intervals(replicates, closed, metric, key, first, second)
        records.append((first, second, metric, key, theirs, ours, *interval))
    names = ["first", "second", "metric", "set"]
    numbers = ["published", "reproduced", "low", "high", "delong_low", "delong_high"]
    table = pd.DataFrame(records, columns=[*names, *numbers])
    table["visible"] = _detectable((table["high"] - table["low"]) / 2)
    numbers.append("visible")
    table[numbers] = table[numbers].astype("float64").round(2) + 0.0  # no -0.0
    differs = ((table["low"] > 0) | (table["high"] < 0)).map({True: "yes", False: "no"})
    return table.assign(differs=differs.where(table["low"].notna()))


def smallest_visible(replicates: Replicates) -> pd.DataFrame:
    """Compute the minimum detectable difference between two rows, at 80 % power.

    Columns ``metric, set, visible``: the median over all pairs of rows of the true difference whose
    interval would exclude zero in 80 % of repetitions, percentage points with two decimals; NaN if
    there is one row only.
    """
    pairs = list(itertools.combinations(range(len(replicates.rows)), 2))
    records = [
        (*cell, np.median([_visible(drawn[:, pair]) for pair in pairs]) if pairs else np.nan)
        for cell, drawn in replicates.cells.items()
    ]
    return pd.DataFrame(records, columns=["metric", "set", "visible"]).round(2)


def _visible(drawn: np.ndarray) -> float:
    low, high = np.percentile(drawn[:, 0] - drawn[:, 1], LEVEL)
    return _detectable((high - low) / 2)


def _detectable(half_width: float) -> float:
    """Convert the half-width of an interval to the difference that it shows in 80 % of cases."""
    return half_width * (NORMAL_QUANTILE + POWER_QUANTILE) / NORMAL_QUANTILE


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
    if SOURCE not in videos:
        videos = videos.assign(**{SOURCE: videos["video_id"]})
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


def _rows_of_seeds(
    runs: Mapping[str, pd.DataFrame], threshold: float, layout: Layout
) -> dict[str, dict[str, dict]]:
    """Return seed -> row -> its row of Table 3; empty if there is one seed only."""
    by_seed: dict[str, dict[str, dict]] = {}
    names = {run: run.rpartition("-") for run in runs}
    if len({seed for _, _, seed in names.values()}) > 1:
        for run, (row, _, seed) in names.items():
            by_seed.setdefault(seed, {})[row] = table_row(runs[run], {}, threshold, layout)
    return by_seed


def _mean_over_seeds(cell: Cell, seed_weights: np.ndarray) -> Cell:
    """Average a cell of all runs over the seeds of each row.

    All seeds score the same videos, so the interval narrows only as far as the seeds' influences
    cancel.
    """
    moved = seed_weights.T @ cell.influence
    apart = seed_weights.T @ np.linalg.norm(cell.influence, axis=1)
    together = np.linalg.norm(moved, axis=1)
    shrink = np.where(apart > 0, together / np.where(apart > 0, apart, 1), 1)
    return Cell(
        seed_weights.T @ cell.value,
        shrink * (seed_weights.T @ cell.below),
        shrink * (seed_weights.T @ cell.above),
        moved,
    )


def _normals(
    cells: Mapping[tuple[str, str], Cell],
    sources: int,
    draws: int,
    stream: tuple[int, int],
    rows: Sequence[str],
) -> dict[tuple[str, str], np.ndarray]:
    """Draw a multiplier per source; weigh them by influence to ``[draws, rows]`` of variance 1.

    A cell without any influence (all videos right, or all called fake) gets independent draws.
    """
    rng = np.random.default_rng(stream)
    size = max(1, _CHUNK_SIZE // sources)
    chunks = []
    for start in range(0, draws, size):
        multipliers = rng.standard_normal((min(size, draws - start), sources))
        chunks.append([multipliers @ cell.influence.T for cell in cells.values()])
    own = np.stack([_own_draws(row, draws, stream) for row in rows], axis=1)
    normals = {}
    for number, (key, cell) in enumerate(cells.items()):
        moved = np.concatenate([chunk[number] for chunk in chunks])
        scale = np.linalg.norm(cell.influence, axis=1)
        normals[key] = np.where(scale > 0, moved / np.where(scale > 0, scale, 1), own)
    return normals


def _own_draws(row: str, draws: int, stream: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng([*stream, zlib.crc32(row.encode())]).standard_normal(draws)


def _average(members: Sequence[_Drawn]) -> _Drawn:
    """Average cells of independent test sets: combine distances and errors in quadrature."""
    share = 1 / len(members)
    scales = [share * (member.below + member.above) / 2 for member in members]
    moved = [scale * member.normal for scale, member in zip(scales, members, strict=True)]
    total = np.sqrt(np.sum(np.square(scales), axis=0))
    return _Drawn(
        np.mean([member.value for member in members], axis=0),
        share * np.sqrt(np.sum([member.below**2 for member in members], axis=0)),
        share * np.sqrt(np.sum([member.above**2 for member in members], axis=0)),
        np.sum(moved, axis=0) / total,
    )
