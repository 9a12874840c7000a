"""Table 3 from ``scores.json`` files, published beside reproduced (Section 5 of the paper)."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ..project.params import Profile
from ..project.vocabulary import (
    COLUMN_GROUPS,
    METRIC_NAMES,
    MISSING,
    PAPER_ROWS,
    ROW_NAMES,
    SET_NAMES,
    SHORT_SCENARIOS,
)

NO_REPRODUCTION = (
    "**Profile `{}`: an embedded miniature benchmark of synthetic people and a small network. "
    "These figures are no reproduction of the paper's and no claim about them.**"
)
# Why a column can have no figure even where everything else was run.
_COLUMN_REASONS = {
    "itw": "the authors' own collection, not released",
    "forgerynet": "its test labels are not released",
}


def table3(rows: Mapping[str, Mapping], notes: Sequence[str] = ()) -> str:
    """Table 3 as Markdown: a block of AUC, then one of balanced accuracy, in percent with one decimal.

    ``rows``: content of ``scores.json`` by row key, printed in the paper's order; a missing cell is a dash;
    ``notes`` are lines under the table. Raises ``ValueError`` for a row key without a name.
    """
    heads = [
        name if place == 0 else ""
        for name, group in COLUMN_GROUPS.items()
        for place in range(len(group))
    ]
    lines = [_line("", heads), _line("---", ["---:"] * len(SET_NAMES))]
    for metric, title in METRIC_NAMES.items():
        lines.append(_line(f"**{title}**", [f"**{name}**" for name in SET_NAMES.values()]))
        for row in _ordered(rows):
            cells = rows[row].get(metric, {})
            lines.append(_line(ROW_NAMES[row], [_percent(cells.get(key)) for key in SET_NAMES]))
    return "\n".join(lines + _counted(rows)) + "\n" + _below(notes)


def beside(cells: pd.DataFrame, rows: Mapping[str, Mapping], notes: Sequence[str] = ()) -> str:
    """Table 3 as Markdown with everything that belongs to a cell; percent and percentage points.

    ``cells`` as of :func:`comparison`. Each cell reads *published → reproduced*, then the
    difference, the 95 % bootstrap interval of the reproduced value over videos, and the standard
    deviation over seeds where several were run. Below: videos scored and without a score, from
    ``rows``, and the ``notes``.
    """
    found = {(cell.row, cell.metric, cell.set): cell for cell in cells.itertuples()}
    lines = []
    for metric, title in METRIC_NAMES.items():
        lines += [
            _line(f"**{title}**", list(SET_NAMES.values())),
            _line("---", ["---:"] * len(SET_NAMES)),
        ]
        for row in _ordered(cells["row"]):
            lines.append(
                _line(ROW_NAMES[row], [_whole(found.get((row, metric, key))) for key in SET_NAMES])
            )
        lines += [*_counted(rows), ""]
    return "\n".join(lines) + _below(notes)


def scenarios(
    published: Mapping[str, Mapping], reproduced: Mapping[str, Mapping], name: str
) -> str:
    """Markdown of the three scenario averages of AUC and balanced accuracy, published beside those of ``name``.

    A row that only one side has is printed too, last if it is LNCLIP-DF, which has no row in the
    paper.
    """
    titles = [f"{who}: {title}" for who in ("paper", name) for title in SHORT_SCENARIOS.values()]
    lines = [_line("AUC / bACC (%)", titles), _line("---", ["---:"] * len(titles))]
    for row in _ordered({**published, **reproduced}):
        cells = [
            f"{_percent(source.get(row, {}).get('auc', {}).get(key))} / "
            f"{_percent(source.get(row, {}).get('bacc', {}).get(key))}"
            for source in (published, reproduced)
            for key in SHORT_SCENARIOS
        ]
        lines.append(_line(ROW_NAMES[row], cells))
    return "\n".join(lines).replace(f"{MISSING} / {MISSING}", MISSING) + "\n"


def notes(profile: str, options: Profile, rows: Mapping[str, Mapping]) -> list[str]:
    """What a reader must know before reading the table of a profile: scope, starts, videos without a score."""
    lines = []
    if profile != "paper":
        lines.append(NO_REPRODUCTION.format(profile))
    if options.start.imagenet == options.start.fsfm:
        lines.append(
            "The FSFM rows start from the same general weights as the ImageNet row "
            f"(`{Path(options.start.fsfm).name}`): FSFM pre-training does not run in this profile yet."
        )
    for row in PAPER_ROWS:
        if not rows.get(row):
            lines.append(f"{ROW_NAMES[row]}: — (not run in this profile).")
    if rows.get("lnclip"):
        lines.append(
            f"{ROW_NAMES['lnclip']}, below the ten rows of the paper's Table 3, is the method of another paper "
            "(arXiv:2508.06248), trained here on the same sample."
        )
    ran = {key for row in rows for key in rows[row].get("auc", {})}
    for key in (key for key in SET_NAMES if ran and key not in ran):
        lines.append(
            f"{SET_NAMES[key]}: — ({_COLUMN_REASONS.get(key, 'a corpus of it is not there')})."
        )
    unscored = sum(sum(rows[row]["videos"]["unscored"].values()) for row in rows if rows[row])
    scored = {row: sum(rows[row]["videos"]["scored"].values()) for row in rows if rows[row]}
    if scored:
        lines.append(
            f"Test videos scored: {max(scored.values())} a row; without a score, over all rows: {unscored}."
        )
    return lines


def protocols(rows: Mapping[str, Mapping]) -> str:
    """The rows that bring a protocol of their own, each under both: this paper's mean over all faces and theirs.

    ``rows`` as for :func:`table3`; SBI's ``own_protocol`` takes the highest face of each frame,
    then the mean.
    """
    lines = [_line("", SET_NAMES.values()), _line("---", ["---:"] * len(SET_NAMES))]
    for row in _ordered(row for row in rows if "own_protocol" in rows[row]):
        for metric, title in METRIC_NAMES.items():
            for protocol, cells in (
                ("mean over all faces", rows[row]),
                ("own protocol", rows[row]["own_protocol"]),
            ):
                shown = [_percent(cells[metric].get(key)) for key in SET_NAMES]
                lines.append(_line(f"{ROW_NAMES[row]}, {title}, {protocol}", shown))
    return "\n".join(lines) + "\n"


def table3_csv(rows: Mapping[str, Mapping]) -> str:
    """Table 3 as CSV text: ``row, metric`` and one column per test-set key; a missing cell is a dash.

    Values in percent as they stand in ``rows``. Errors as for :func:`table3`.
    """
    records = [
        {"row": row, "metric": metric}
        | {key: rows[row].get(metric, {}).get(key) for key in SET_NAMES}
        for metric in METRIC_NAMES
        for row in _ordered(rows)
    ]
    return csv(pd.DataFrame(records, columns=["row", "metric", *SET_NAMES]))


def stacked(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the tables of all rows below each other, with the row's key in a first column ``row``: DVC's plots read it."""
    parts = [table.assign(row=row) for row, table in tables.items()]
    stack = pd.concat(parts, ignore_index=True)
    return stack[["row", *(name for name in stack if name != "row")]]


def comparison(
    published: Mapping[str, Mapping],
    reproduced: Mapping[str, Mapping],
    intervals: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Published beside reproduced, cell by cell.

    Columns ``row, metric, set, published, reproduced, difference`` (reproduced - published), ``low,
    high`` (of ``intervals``, as of :func:`.evaluation.statistics.intervals`) and ``sd`` over seeds.
    Percent and percentage points, two decimals. Holds each cell that either side has; NaN where
    there is nothing.
    """
    records = []
    for metric in METRIC_NAMES:
        for row in _ordered({**published, **reproduced}):
            theirs, ours = (
                source.get(row, {}).get(metric, {}) for source in (published, reproduced)
            )
            records += [
                (
                    row,
                    metric,
                    key,
                    theirs.get(key),
                    ours.get(key),
                    _spread(reproduced, row, metric, key),
                )
                for key in SET_NAMES
                if key in theirs or key in ours
            ]
    cell = ["row", "metric", "set"]
    table = pd.DataFrame(records, columns=[*cell, "published", "reproduced", "sd"])
    table = table.astype({"published": "float64", "reproduced": "float64", "sd": "float64"})
    table.insert(5, "difference", (table["reproduced"] - table["published"]).round(2))
    none = pd.DataFrame(columns=[*cell, "low", "high"])
    table = table.merge(none if intervals is None else intervals, on=cell, how="left")
    return table[[*(name for name in table if name != "sd"), "sd"]]


def csv(table: pd.DataFrame) -> str:
    """A table as CSV text; a missing value is a dash."""
    return table.to_csv(index=False, na_rep=MISSING, lineterminator="\n")


def markdown(table: pd.DataFrame, names: Mapping[str, str] | None = None) -> str:
    """Any table as Markdown: numbers right and with one decimal, whole ones without, a missing value a dash.

    ``names``: titles of columns, and words for cells, in place of their keys.
    """
    names = names or {}
    cells = [
        [names.get(cell, _cell(cell)) if isinstance(cell, str) else _cell(cell) for cell in row]
        for row in table.itertuples(index=False)
    ]
    sides = ["---:" if pd.api.types.is_numeric_dtype(kind) else "---" for kind in table.dtypes]
    lines = [[str(names.get(key, key)) for key in table], sides, *cells]
    return "\n".join(_line(line[0], line[1:]) for line in lines) + "\n"


def read_published(folder: Path) -> dict[str, dict]:
    """The paper's rows from ``<folder>/<row>.json``, in the paper's order.

    Raises ``FileNotFoundError`` for an empty folder, ``ValueError`` for a row key without a name.
    """
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    if not found:
        raise FileNotFoundError(
            f"no <row>.json in {folder}: give the folder results/published/scores"
        )
    return {row: found[row] for row in _ordered(found)}


def read_scores(folder: Path) -> dict[str, dict]:
    """Our rows from ``<folder>/<variant>-<seed>/scores.json``: means over seeds, in the paper's order.

    A cell that one seed lacks is left out; the key ``seeds`` lists the seeds found, ``sd`` holds
    the standard deviation of each cell over them where there are several. Raises
    ``FileNotFoundError`` when there is no run, ``ValueError`` for a folder that is not named so.
    """
    by_row: dict[str, dict[int, dict]] = {}
    for path in sorted(folder.glob("*/scores.json")):
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
    runs = [by_seed[seed] for seed in sorted(by_seed)]
    row = _leaves(runs, _mean) | {"seeds": sorted(by_seed)}
    if len(runs) > 1:
        row["sd"] = _leaves(
            [{name: run[name] for name in METRIC_NAMES} for run in runs], statistics.stdev
        )
    return row


def _leaves(trees: Sequence[Mapping], over: Callable[[Sequence[float]], float]) -> dict:
    """Leaf by leaf ``over`` nested mappings, two decimals; keys that one of them lacks are left out."""
    result = {}
    for key in (key for key in trees[0] if all(key in tree for tree in trees)):
        values = [tree[key] for tree in trees]
        result[key] = (
            _leaves(values, over) if isinstance(values[0], Mapping) else round(over(values), 2)
        )
    return result


def _mean(values: Sequence[float]) -> float:
    """Counts are the same for all seeds and stay whole numbers."""
    return values[0] if len(set(values)) == 1 else sum(values) / len(values)


def _spread(rows: Mapping[str, Mapping], row: str, metric: str, key: str) -> float | None:
    return rows.get(row, {}).get("sd", {}).get(metric, {}).get(key)


def _whole(cell: object) -> str:
    """``published → reproduced``, difference, interval and spread of one cell, a line each."""
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


def _counted(rows: Mapping[str, Mapping]) -> list[str]:
    """Videos scored, and without a score, under each column; the most of any row, as all rows see the same videos."""
    counts = [rows[row]["videos"] for row in rows if rows[row].get("videos")]
    known = {key for count in counts for key in count["scored"]}
    return [
        _line(
            title,
            [
                str(max(count[name].get(key, 0) for count in counts)) if key in known else ""
                for key in SET_NAMES
            ],
        )
        for title, name in (("*videos scored*", "scored"), ("*without a score*", "unscored"))
        if counts
    ]


def _below(notes: Sequence[str]) -> str:
    return "".join(f"\n{note}\n" for note in notes)


def _ordered(rows: Iterable[str]) -> list[str]:
    given = set(rows)
    unknown = sorted(given.difference(ROW_NAMES))
    if unknown:
        raise ValueError(
            f"row {unknown[0]!r} is not a row of Table 3: use one of {', '.join(ROW_NAMES)}"
        )
    return [row for row in ROW_NAMES if row in given]


def _line(first: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"


def _cell(value: object) -> str:
    return _percent(value) if value is None or isinstance(value, float) else str(value)


def _percent(value: float | None) -> str:
    return MISSING if value is None or pd.isna(value) else f"{value:.1f}"
