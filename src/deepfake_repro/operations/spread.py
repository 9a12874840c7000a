"""Cells of the tracked results, and how far the same cell lies apart on other machines and seeds.

A cell is one value of ``scores.json`` (AUC, balanced accuracy or one of ``FIELD_NAMES`` of a test
set), the probability of one video, or a line of a table that no arithmetic may change. A tolerance
is made such that an honest run with another machine or seed exceeds it in any cell with a
probability of about 5 %.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from ..evaluation.field_metrics import FRAME_AUC, field_metrics
from ..project.layout import TITLES, Layout
from ..project.vocabulary import METRICS

PROBABILITY = "p_fake"
EXACT = "exact"
"""Metric of cells that must be the same whatever the machine: which videos, labels, counts."""
KEY = ["file", "metric", "set", "item"]
MACHINES = "machines.csv"
"""Results of emulated machines; of ``p_fake`` the root mean square difference per test set."""
HALF_UNIT = 5e-5
"""Half of the last decimal of ``p_fake`` in ``videos.csv``, where unequal scores may be equal."""
ROUNDING = 0.01
"""Last decimal of a metric in ``scores.json``, percent."""
RISK = 0.05
"""Probability that an honest run has any cell outside, per metric."""


def is_cells(name: str) -> bool:
    """Return True for a tracked file, relative to the profile's results, that is read by cell."""
    path = Path(name)
    is_run = path.name in ("scores.json", "videos.csv", "validation.csv")
    return (path.parts[0] == "runs" and is_run) or (
        path.parts[0] == "data" and path.suffix == ".csv"
    )


def read_cells(results: Path, names: list[str]) -> pd.DataFrame:
    """Read the cells of files below ``results``: columns ``KEY`` and ``value``.

    Files that do not exist have no cells.
    """
    rows = [
        (name, *cell)
        for name in names
        if (results / name).is_file()
        for cell in _cells(results / name)
    ]
    return pd.DataFrame(rows, columns=[*KEY, "value"])


def _cells(path: Path) -> Iterator[tuple[str, str, str, object]]:
    """Yield metric, set, item and value of each cell of a file."""
    if path.suffix == ".json":
        yield from _scores(path)
    elif path.parent.name == "data":
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            yield EXACT, "", f"line {number}", line
    else:
        videos = pd.read_csv(path)
        facts = videos.drop(columns=[PROBABILITY, "video_id"]).astype(str)
        columns = zip(
            videos["video_id"],
            videos["dataset"],
            videos[PROBABILITY],
            facts.agg(",".join, axis=1),
            strict=True,
        )
        for video, dataset, probability, fact in columns:
            yield PROBABILITY, dataset, video, probability
            yield EXACT, dataset, video, fact


def _scores(path: Path) -> Iterator[tuple[str, str, str, float]]:
    scores = json.loads(path.read_text(encoding="utf-8"))
    metrics = {metric: scores[metric] for metric in METRICS} | scores.get("further", {})
    for metric, values in metrics.items():
        for name, value in values.items():
            if value is not None:
                yield metric, name, "", value


def derived_bounds(videos: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Compute between which values the metrics of ``FIELD_NAMES`` of ``videos`` must be.

    ``videos``: a ``videos.csv``, whose scores are rounded: of two equal ones, either may be higher.
    Columns ``metric, set, low, high``, percent; without the frame AUC, which needs the frames.
    """
    is_fake = videos["label"] == 1
    towards_truth = np.where(is_fake, HALF_UNIT, -HALF_UNIT)
    # Equal fakes share one threshold, which raises the average precision: the worst has none.
    apart = np.where(is_fake, np.arange(len(videos)) * 1e-3 * HALF_UNIT / len(videos), 0)
    best = field_metrics(videos.assign(p_fake=videos["p_fake"] + towards_truth), None, layout)
    worst = field_metrics(
        videos.assign(p_fake=videos["p_fake"] - towards_truth + apart), None, layout
    )
    records = [
        (metric, name, *sorted((value, worst[metric][name])))
        for metric, values in best.items()
        for name, value in values.items()
    ]
    table = pd.DataFrame(records, columns=["metric", "set", "low", "high"])
    return table.assign(low=table["low"] - ROUNDING, high=table["high"] + ROUNDING)


def differences(results: Path, studies: list[Path]) -> pd.DataFrame:
    """Collect how far results lie from those of another machine or seed.

    ``results``: the profile's committed results; ``studies``: folders of side studies with
    unchanged parameters, whose runs are like those in ``results/runs``. Returns the columns metric,
    set and difference.
    """
    tables = [_between_seeds(folder) for folder in (results / "runs", *studies)]
    tables.append(_between_machines(results))
    return pd.concat(tables, ignore_index=True)


def _between_seeds(runs: Path) -> pd.DataFrame:
    """Compare the seeds of each row with its lowest seed."""
    named = sorted((*path.name.rpartition("-")[::2], path) for path in runs.glob("*-[0-9]*"))
    found = []
    for _, group in groupby(named, key=lambda run: run[0]):
        first, *others = [_of_run(path) for _, _, path in group]
        found += [_difference(first, other) for other in others]
    return pd.concat([_no_differences(), *found], ignore_index=True)


def _of_run(folder: Path) -> pd.Series:
    names = ["scores.json", "videos.csv"]
    rows = [cell for name in names if (folder / name).is_file() for cell in _cells(folder / name)]
    cells = pd.DataFrame(rows, columns=["metric", "set", "item", "value"])
    return cells[cells["metric"] != EXACT].set_index(["metric", "set", "item"])["value"]


def _difference(first: pd.Series, other: pd.Series) -> pd.DataFrame:
    both = pd.concat([first, other], axis=1, join="inner", keys=["first", "other"]).astype(float)
    change = (both["other"] - both["first"]).rename("difference")
    return change.reset_index()[["metric", "set", "difference"]]


def _between_machines(results: Path) -> pd.DataFrame:
    """Compare emulated machines with the committed results."""
    file = results / MACHINES
    if not file.is_file():
        return _no_differences()
    machines = pd.read_csv(file)
    machines["run"] = machines["row"] + "-" + machines["seed"].astype(str)
    names = [f"runs/{row}/scores.json" for row in machines["run"].unique()]
    committed = read_cells(results, names)
    committed["run"] = committed["file"].str.split("/").str[1]
    merged = machines.merge(committed, on=["run", "metric", "set"], suffixes=("", "_committed"))
    change = merged.assign(difference=merged["value"] - merged["value_committed"].astype(float))
    of_videos = machines[machines["metric"] == PROBABILITY].rename(columns={"value": "difference"})
    return pd.concat([change, of_videos])[["metric", "set", "difference"]]


def _no_differences() -> pd.DataFrame:
    return pd.DataFrame({"metric": [], "set": [], "difference": []}).astype({"difference": float})


def tolerances(found: pd.DataFrame, cells: pd.DataFrame) -> pd.Series:
    """Return the tolerance of each cell; 0 where nothing is known of the spread.

    It is pooled over rows and test sets, apart for averages over test sets: the largest difference
    that was seen, or the two-sided Student quantile times their root mean square, at a risk shared
    by all cells of the metric (Bonferroni). A frame AUC without a spread of its own is held to that
    of the AUC.
    """
    counts = cells["metric"].value_counts()
    pools = found.groupby([found["metric"], _is_average(found["set"])])["difference"]
    known: Mapping[tuple[str, bool], float] = {
        pool: max(
            differences.abs().max(),
            t.ppf(1 - RISK / 2 / counts[pool[0]], len(differences))
            * (differences**2).mean() ** 0.5,
        )
        for pool, differences in pools
        if pool[0] in counts
    }
    of_frames = FRAME_AUC not in set(found["metric"])
    metrics = cells["metric"].replace({FRAME_AUC: "auc"} if of_frames else {})
    pool_of_cell = zip(metrics, _is_average(cells["set"]), strict=True)
    return pd.Series([known.get(pool, 0.0) for pool in pool_of_cell], index=cells.index)


def _is_average(sets: pd.Series) -> pd.Series:
    return sets.isin(list(TITLES)).rename("average")
