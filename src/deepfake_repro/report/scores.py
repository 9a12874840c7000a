"""Read what the stages wrote for the report: rows of Table 3, controls, the shortcut audit."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..project.vocabulary import METRIC_NAMES
from .drawing.palette import row_name, row_names

OUTSIDE = "outside/"
"""Prefix of the keys of rows of outside detectors (``outside``), which come after ours."""
TITLE = "title"
"""Key of the name of an outside detector in its row."""


def read_published(folder: Path) -> dict[str, dict]:
    """Read the paper's rows from ``<folder>/<row>.json``, in the paper's order.

    Raises ``FileNotFoundError`` for an empty folder, ``ValueError`` for a row key without a name.
    """
    rows = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    if not rows:
        raise FileNotFoundError(
            f"no <row>.json in {folder}: give the folder results/published/scores"
        )
    return {row: rows[row] for row in in_order(rows)}


def read_scores(
    folder: Path, runs: Collection[str] | None = None, file: str = "scores.json"
) -> dict[str, dict]:
    """Read our rows from ``<folder>/<variant>-<seed>/<file>``, in the order of the rows.

    ``runs``: names of the folders to read, all by default. Cells are means over seeds. A cell that
    one seed lacks is left out; the key ``seeds`` lists the seeds, and ``sd`` has the standard
    deviation of each cell over them if there are several. Raises ``FileNotFoundError`` if there is
    no run, ``ValueError`` for a folder with another kind of name.
    """
    by_row: dict[str, dict[int, dict]] = {}
    for path in sorted(folder.glob(f"*/{file}")):
        run = path.relative_to(folder).parts[0]
        if runs is not None and run not in runs:
            continue
        row, dash, seed = run.rpartition("-")
        if not dash or not seed.isdecimal():
            raise ValueError(f"{folder / run} is not named <variant>-<seed>: rename or remove it")
        by_row.setdefault(row, {})[int(seed)] = json.loads(path.read_text())
    if not by_row:
        raise FileNotFoundError(
            f"no <variant>-<seed>/{file} in {folder}: run the stage score first"
        )
    return {row: _over_seeds(by_row[row]) for row in in_order(by_row)}


def read_seeds(study: Path) -> Iterator[dict[str, dict[str, dict]]]:
    """Yield option -> row -> scores for each seed of a side study; what lacks it is left out."""
    runs = sorted(file.parent for file in study.glob("*/*/scores.json"))
    for seed in sorted({run.name.rpartition("-")[2] for run in runs}):
        own = [run for run in runs if run.name.endswith(f"-{seed}")]
        names = {run.name for run in own}
        yield {run.parent.name: read_scores(run.parent, names) for run in own}


def read_controls(folder: Path) -> dict[str, dict]:
    """Read the scores of features without training from ``scores.json``; empty if there is none."""
    file = folder / "scores.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def read_audit(folder: Path) -> pd.DataFrame:
    """Read ``shortcuts.csv`` of a profile's shortcut audit; empty if there is none."""
    file = folder / "shortcuts.csv"
    return pd.read_csv(file) if file.is_file() else pd.DataFrame()


def _over_seeds(by_seed: Mapping[int, Mapping]) -> dict:
    seeds = sorted(by_seed)
    runs = [by_seed[seed] for seed in seeds]
    row = _reduce_leaves(runs, _mean) | {"seeds": seeds}
    if len(runs) > 1:
        metrics = [{name: run[name] for name in METRIC_NAMES} for run in runs]
        row["sd"] = _reduce_leaves(metrics, statistics.stdev)
    return row


def _reduce_leaves(trees: Sequence[Mapping], reduce: Callable[[Sequence[float]], float]) -> dict:
    """Reduce nested mappings leaf by leaf, to two decimals; drop keys that one of them lacks."""
    result: dict[str, Any] = {}
    for key in trees[0]:
        if not all(key in tree for tree in trees):
            continue
        values = [tree[key] for tree in trees]
        if isinstance(values[0], Mapping):
            result[key] = _reduce_leaves(values, reduce)
        else:
            result[key] = round(reduce(values), 2)
    return result


def _mean(values: Sequence[float]) -> float:
    """Average; equal values, such as counts, keep their type."""
    return values[0] if len(set(values)) == 1 else sum(values) / len(values)


def in_order(rows: Iterable[str]) -> list[str]:
    """Sort rows as Table 3 does, those of outside detectors last in their order.

    Raises ``ValueError`` for any other row that ``params.yaml`` does not have.
    """
    keys = dict.fromkeys(rows)
    outside = [key for key in keys if key.startswith(OUTSIDE)]
    unknown = sorted(set(keys).difference(row_names(), outside))
    if unknown:
        raise ValueError(
            f"row {unknown[0]!r} is not a row of Table 3: use one of {', '.join(row_names())}"
        )
    return [*(row for row in row_names() if row in keys), *outside]


def printed_name(row: str, rows: Mapping[str, Mapping]) -> str:
    """Return the printed name of one of ``rows``, marked if it is of an outside detector."""
    title = rows.get(row, {}).get(TITLE)
    return f"*{title}, outside*" if title else row_name(row)
