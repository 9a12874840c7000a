"""Table 3 from ``scores.json`` files, published beside reproduced (Section 5 of the paper)."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..project.params import Profile
from ..project.vocabulary import (
    COLUMN_GROUPS,
    LNCLIP,
    METRIC_NAMES,
    MISSING,
    PAPER_ROWS,
    ROW_NAMES,
    SET_NAMES,
    SHORT_SCENARIOS,
    method_of,
)

NO_REPRODUCTION = (
    "**Profile `{}`: an embedded miniature benchmark of synthetic people and a small network. "
    "These numbers are not a reproduction of the paper's and say nothing about them.**"
)
# Why a column can be empty although everything else was run.
_COLUMN_REASONS = {
    "itw": "the authors' own collection, not released",
    "forgerynet": "its test labels are not released",
}


class Cell(NamedTuple):
    """One cell of Table 3 as published and as reproduced; the columns of :func:`comparison`.

    Percent and percentage points; NaN where there is no value.
    """

    row: str
    metric: str
    set: str
    published: float
    reproduced: float
    difference: float
    low: float
    high: float
    sd: float


def table3(rows: Mapping[str, Mapping], notes: Sequence[str] = ()) -> str:
    """Format Table 3 as Markdown: a block of AUC, then one of balanced accuracy, one decimal.

    ``rows``: content of ``scores.json`` by row key, percent, printed in the paper's order; a
    missing cell is a dash; ``notes`` are lines under the table. Raises ``ValueError`` for a row key
    without a name.
    """
    groups: list[str] = []
    for name, group in COLUMN_GROUPS.items():
        groups += [name, *[""] * (len(group) - 1)]
    lines = [_line("", groups), _line("---", ["---:"] * len(SET_NAMES))]
    for metric, title in METRIC_NAMES.items():
        lines.append(_line(f"**{title}**", [f"**{name}**" for name in SET_NAMES.values()]))
        for row in _ordered(rows):
            cells = rows[row].get(metric, {})
            lines.append(_line(ROW_NAMES[row], [_percent(cells.get(key)) for key in SET_NAMES]))
    return "\n".join(lines + _counts(rows)) + "\n" + _below(notes)


def comparison_markdown(
    table: pd.DataFrame, rows: Mapping[str, Mapping], notes: Sequence[str] = ()
) -> str:
    """Format Table 3 as Markdown with everything that belongs to a cell.

    ``table`` as returned by :func:`comparison`. Each cell reads *published → reproduced*, then the
    difference, the 95 % bootstrap interval of the reproduced value over videos, and the standard
    deviation over seeds if several were run. Below: the numbers of videos with and without a score,
    from ``rows``, and the ``notes``.
    """
    cells = {(cell.row, cell.metric, cell.set): cell for cell in _cells(table)}
    lines = []
    for metric, title in METRIC_NAMES.items():
        lines.append(_line(f"**{title}**", list(SET_NAMES.values())))
        lines.append(_line("---", ["---:"] * len(SET_NAMES)))
        for row in _ordered(table["row"]):
            texts = [_cell_lines(cells.get((row, metric, key))) for key in SET_NAMES]
            lines.append(_line(ROW_NAMES[row], texts))
        lines += [*_counts(rows), ""]
    return "\n".join(lines) + _below(notes)


def scenarios(
    published: Mapping[str, Mapping], reproduced: Mapping[str, Mapping], name: str
) -> str:
    """Format the scenario averages as Markdown, the paper's beside those of ``name``.

    A row that only one side has is printed too; LNCLIP-DF, which has no row in the paper, is last.
    """
    titles = [
        f"{source}: {title}" for source in ("paper", name) for title in SHORT_SCENARIOS.values()
    ]
    lines = [_line("AUC / bACC (%)", titles), _line("---", ["---:"] * len(titles))]
    for row in _ordered({**published, **reproduced}):
        cells = []
        for source in (published, reproduced):
            auc = source.get(row, {}).get("auc", {})
            bacc = source.get(row, {}).get("bacc", {})
            cells += [
                f"{_percent(auc.get(key))} / {_percent(bacc.get(key))}" for key in SHORT_SCENARIOS
            ]
        lines.append(_line(ROW_NAMES[row], cells))
    return "\n".join(lines).replace(f"{MISSING} / {MISSING}", MISSING) + "\n"


def notes(profile: str, options: Profile, rows: Mapping[str, Mapping]) -> list[str]:
    """Write the notes under a profile's table: scope, start weights, missing rows and videos."""
    lines = []
    if profile != "paper":
        lines.append(NO_REPRODUCTION.format(profile))
    if options.start.imagenet == options.start.fsfm:
        lines.append(
            "The FSFM rows start from the same general weights as the ImageNet row "
            f"(`{Path(options.start.fsfm).name}`): this profile does not pre-train FSFM yet."
        )
    for row in PAPER_ROWS:
        if not rows.get(row):
            lines.append(f"{ROW_NAMES[row]}: — (not run in this profile).")
    for row in rows:
        if row not in PAPER_ROWS and rows[row] and method_of(row) == LNCLIP:
            lines.append(
                f"{ROW_NAMES[row]}, below the ten rows of the paper's Table 3, is the method of "
                "another paper (arXiv:2508.06248), trained here on the same sample."
            )
    return [*lines, *_missing_columns(rows), *_video_totals(rows)]


def _missing_columns(rows: Mapping[str, Mapping]) -> list[str]:
    present = {key for row in rows.values() for key in row.get("auc", {})}
    if not present:
        return []
    return [
        f"{name}: — ({_COLUMN_REASONS.get(key, 'a corpus of this column is missing')})."
        for key, name in SET_NAMES.items()
        if key not in present
    ]


def _video_totals(rows: Mapping[str, Mapping]) -> list[str]:
    videos = [row["videos"] for row in rows.values() if row]
    if not videos:
        return []
    scored = max(sum(counts["scored"].values()) for counts in videos)
    unscored = sum(sum(counts["unscored"].values()) for counts in videos)
    return [f"Test videos scored: {scored} per row; without a score, over all rows: {unscored}."]


def protocols(rows: Mapping[str, Mapping]) -> str:
    """Format the rows with a protocol of their own under both protocols, as Markdown.

    ``rows`` as for :func:`table3`. The paper's protocol is the mean over all faces; SBI's
    ``own_protocol`` takes the highest face of each frame, then the mean.
    """
    lines = [_line("", SET_NAMES.values()), _line("---", ["---:"] * len(SET_NAMES))]
    for row in _ordered(row for row in rows if "own_protocol" in rows[row]):
        by_protocol = {
            "mean over all faces": rows[row],
            "own protocol": rows[row]["own_protocol"],
        }
        for metric, title in METRIC_NAMES.items():
            for protocol, cells in by_protocol.items():
                values = [_percent(cells[metric].get(key)) for key in SET_NAMES]
                lines.append(_line(f"{ROW_NAMES[row]}, {title}, {protocol}", values))
    return "\n".join(lines) + "\n"


def table3_csv(rows: Mapping[str, Mapping]) -> str:
    """Format Table 3 as CSV: ``row, metric`` and one column per test-set key.

    Values in percent as in ``rows``; a missing cell is a dash. Errors as for :func:`table3`.
    """
    records = [
        {"row": row, "metric": metric, **_all_sets(rows[row].get(metric, {}))}
        for metric in METRIC_NAMES
        for row in _ordered(rows)
    ]
    return csv(pd.DataFrame(records, columns=["row", "metric", *SET_NAMES]))


def _all_sets(cells: Mapping[str, float]) -> dict[str, float | None]:
    return {key: cells.get(key) for key in SET_NAMES}


def stack(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the tables of all rows, with their keys in a first column, for DVC's plots."""
    parts = [table.assign(row=row) for row, table in tables.items()]
    stacked = pd.concat(parts, ignore_index=True)
    return stacked[["row", *(name for name in stacked if name != "row")]]


def comparison(
    published: Mapping[str, Mapping],
    reproduced: Mapping[str, Mapping],
    intervals: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Tabulate published beside reproduced, one row per :class:`Cell`.

    ``difference`` is reproduced minus published, ``low, high`` come from ``intervals`` (as returned
    by :func:`.evaluation.statistics.intervals`), ``sd`` is over seeds; two decimals. Contains each
    cell that either side has.
    """
    records = []
    for metric in METRIC_NAMES:
        for row in _ordered({**published, **reproduced}):
            theirs = published.get(row, {}).get(metric, {})
            ours = reproduced.get(row, {}).get(metric, {})
            sd = reproduced.get(row, {}).get("sd", {}).get(metric, {})
            records += [
                (row, metric, key, theirs.get(key), ours.get(key), sd.get(key))
                for key in SET_NAMES
                if key in theirs or key in ours
            ]
    cell = ["row", "metric", "set"]
    numbers = ["published", "reproduced", "sd"]
    table = pd.DataFrame(records, columns=[*cell, *numbers])
    table = table.astype(dict.fromkeys(numbers, "float64"))
    table["difference"] = (table["reproduced"] - table["published"]).round(2)
    if intervals is None:
        intervals = pd.DataFrame(columns=[*cell, "low", "high"])
    return table.merge(intervals, on=cell, how="left")[list(Cell._fields)]


def csv(table: pd.DataFrame) -> str:
    """Format a table as CSV; a missing value is a dash."""
    return table.to_csv(index=False, na_rep=MISSING, lineterminator="\n")


def markdown(table: pd.DataFrame, names: Mapping[str, str] | None = None) -> str:
    """Format any table as Markdown.

    Numbers are right-aligned with one decimal, integers without; a missing value is a dash.
    ``names`` replaces keys by words, in column titles and in cells.
    """
    names = names or {}
    titles = [str(names.get(key, key)) for key in table]
    rules = ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in table.dtypes]
    cells = [[_text(cell, names) for cell in row] for row in table.itertuples(index=False)]
    lines = [titles, rules, *cells]
    return "\n".join(_line(line[0], line[1:]) for line in lines) + "\n"


def read_published(folder: Path) -> dict[str, dict]:
    """Read the paper's rows from ``<folder>/<row>.json``, in the paper's order.

    Raises ``FileNotFoundError`` for an empty folder, ``ValueError`` for a row key without a name.
    """
    rows = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    if not rows:
        raise FileNotFoundError(
            f"no <row>.json in {folder}: give the folder results/published/scores"
        )
    return {row: rows[row] for row in _ordered(rows)}


def read_scores(folder: Path, runs: Collection[str] | None = None) -> dict[str, dict]:
    """Read our rows from ``<folder>/<variant>-<seed>/scores.json``, in the order of the rows.

    ``runs``: names of the folders to read, all by default. Cells are means over seeds. A cell that
    one seed lacks is left out; the key ``seeds`` lists the seeds, and ``sd`` has the standard
    deviation of each cell over them if there are several. Raises ``FileNotFoundError`` if there is
    no run, ``ValueError`` for a folder with another kind of name.
    """
    by_row: dict[str, dict[int, dict]] = {}
    for path in sorted(folder.glob("*/scores.json")):
        if runs is not None and path.parent.name not in runs:
            continue
        row, dash, seed = path.parent.name.rpartition("-")
        if not dash or not seed.isdecimal():
            raise ValueError(f"{path.parent} is not named <variant>-<seed>: rename or remove it")
        by_row.setdefault(row, {})[int(seed)] = json.loads(path.read_text())
    if not by_row:
        raise FileNotFoundError(
            f"no <variant>-<seed>/scores.json in {folder}: run the stage score first"
        )
    return {row: _over_seeds(by_row[row]) for row in _ordered(by_row)}


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


def _cells(table: pd.DataFrame) -> list[Cell]:
    return [Cell(*values) for values in table.itertuples(index=False, name=None)]


def _cell_lines(cell: Cell | None) -> str:
    """Format one cell on several lines: both values, difference, interval, spread over seeds."""
    if cell is None:
        return MISSING
    lines = [f"{_percent(cell.published)} → {_percent(cell.reproduced)}"]
    if pd.notna(cell.difference):
        lines.append(f"{cell.difference:+.1f}")
    if pd.notna(cell.low):
        lines.append(f"[{cell.low:.1f}, {cell.high:.1f}]")
    if pd.notna(cell.sd):
        lines.append(f"± {cell.sd:.1f}")
    return "<br>".join(lines)


def _counts(rows: Mapping[str, Mapping]) -> list[str]:
    """Count the videos with and without a score under each column.

    All rows see the same videos: the highest count of any row is printed.
    """
    counts = [row["videos"] for row in rows.values() if row.get("videos")]
    if not counts:
        return []
    sets = {key for count in counts for key in count["scored"]}
    lines = []
    for title, name in (("*videos scored*", "scored"), ("*without a score*", "unscored")):
        highest = {key: max(count[name].get(key, 0) for count in counts) for key in sets}
        lines.append(_line(title, [str(highest.get(key, "")) for key in SET_NAMES]))
    return lines


def _below(notes: Sequence[str]) -> str:
    return "".join(f"\n{note}\n" for note in notes)


def _ordered(rows: Iterable[str]) -> list[str]:
    keys = set(rows)
    unknown = sorted(keys.difference(ROW_NAMES))
    if unknown:
        raise ValueError(
            f"row {unknown[0]!r} is not a row of Table 3: use one of {', '.join(ROW_NAMES)}"
        )
    return [row for row in ROW_NAMES if row in keys]


def _line(first: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"


def _text(value: object, names: Mapping[str, str]) -> str:
    if value is None or isinstance(value, float):
        return _percent(value)
    return names.get(value, value) if isinstance(value, str) else str(value)


def _percent(value: float | None) -> str:
    return MISSING if value is None or pd.isna(value) else f"{value:.1f}"
