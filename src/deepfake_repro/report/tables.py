"""Table 3 from ``scores.json`` files, published beside reproduced (Section 5 of the paper)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..project.layout import PAPER, Layout
from ..project.params import Profile
from ..project.vocabulary import (
    LNCLIP,
    METRIC_NAMES,
    MISSING,
    PAPER_ROWS,
    method_of,
)
from .drawing.palette import row_name
from .scores import TITLE, in_order, printed_name

NO_BREAK = "\N{NO-BREAK SPACE}"
LEGEND = (
    "Each cell, in percent: the paper's value → ours [95 % interval of ours], then ± the standard "
    "deviation over seeds if there are several. A dash: not printed there, or not run here. The "
    "interval covers other videos of the same kind, not another seed."
)
OWN_LEGEND = (
    "In brackets the 95 % interval, which covers other videos of the same kind; after ± the "
    "standard deviation over seeds, if there are several."
)

NO_REPRODUCTION = (
    "**Profile `{}`: {}. "
    "These numbers are not a reproduction of the paper's and say nothing about them.**"
)
# Why a column can be empty although everything else was run.
_COLUMN_REASONS = {
    "itw": "the authors' own collection, not released",
    "forgerynet": "its test labels are not released",
}

_COUNTED = {
    "scored": "*videos scored*",
    "unscored": "*without a score*",
    "sources": "*people or source videos*",
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


def table3(
    rows: Mapping[str, Mapping],
    notes: Sequence[str] = (),
    controls: Mapping[str, Mapping] | None = None,
    layout: Layout = PAPER,
) -> str:
    """Format Table 3 as Markdown: one table per scenario, each cell AUC / balanced accuracy.

    ``rows``: content of ``scores.json`` by row key, percent, printed in the paper's order with one
    decimal; a missing cell is a dash; rows of outside detectors come last and are marked;
    ``controls``: the same of features without training, by name, printed below; ``notes`` are lines
    under the table. Raises ``ValueError`` for a row key without a name.
    """
    parts = []
    for title, sets in layout.groups.items():
        lines = _head("AUC / bACC (%)", sets)
        lines += [_line(printed_name(row, rows), _both(rows[row], sets)) for row in in_order(rows)]
        for name, cells in (controls or {}).items():
            lines.append(_line(f"*{name}, untrained*", _both(cells, sets)))
        parts.append("\n".join([f"**{title}**", "", *lines, *_counts(rows, sets)]))
    return "\n\n".join(parts) + "\n" + _below(notes)


def comparison_markdown(
    table: pd.DataFrame,
    rows: Mapping[str, Mapping],
    notes: Sequence[str] = (),
    visible: pd.DataFrame | None = None,
    layout: Layout = PAPER,
) -> str:
    """Format Table 3 as Markdown with everything that belongs to a cell, by metric and scenario.

    ``table`` as returned by :func:`comparison`. Each cell reads *published → reproduced*, then the
    95 % interval of the reproduced value over videos and the standard deviation over seeds, where
    there are any. Below: the numbers of videos with and without a score, from ``rows``; the
    smallest difference between two rows that can be seen, from ``visible`` (as returned by
    :func:`.evaluation.statistics.smallest_visible`); and the ``notes``.
    """
    cells = {(cell.row, cell.metric, cell.set): cell for cell in _cells(table)}
    parts = [LEGEND]
    for metric, title in METRIC_NAMES.items():
        for scenario, sets in layout.groups.items():
            lines = _head(title, sets)
            for row in in_order(table["row"]):
                texts = [_cell_text(cells.get((row, metric, key))) for key in sets]
                lines.append(_line(printed_name(row, rows), texts))
            lines += [*_counts(rows, sets), *_visible(visible, metric, sets)]
            parts.append("\n".join([f"**{scenario}, {_short(title)}**", "", *lines]))
    return "\n\n".join(parts) + "\n" + _below(notes)


def scenarios(
    published: Mapping[str, Mapping], reproduced: Mapping[str, Mapping], name: str
) -> str:
    """Format the scenario averages as two Markdown tables: the paper's, then those of ``name``.

    A row that only one side has is printed in its table alone.
    """
    tables = {"Paper, as printed": published, f"Profile {name}": reproduced}
    return "\n".join(f"**{title}**\n\n{averages(rows)}" for title, rows in tables.items())


def averages(rows: Mapping[str, Mapping], layout: Layout = PAPER) -> str:
    """Format the averages of the scenarios as Markdown, AUC / balanced accuracy."""
    lines = _head("AUC / bACC (%)", layout.short_scenarios)
    lines += [
        _line(row_name(row), _both(rows[row], layout.short_scenarios)) for row in in_order(rows)
    ]
    return "\n".join(lines) + "\n"


def notes(profile: str, options: Profile, rows: Mapping[str, Mapping]) -> list[str]:
    """Write the notes under a profile's table: scope, start weights, missing rows and videos."""
    lines = []
    if options.report.caveat:
        lines.append(NO_REPRODUCTION.format(profile, options.report.caveat))
    if options.start.imagenet == options.start.fsfm:
        lines.append(
            "The FSFM rows start from the same general weights as the ImageNet row "
            f"(`{Path(options.start.fsfm).name}`): this profile does not pre-train FSFM yet."
        )
    for row in PAPER_ROWS:
        if not rows.get(row):
            lines.append(f"{row_name(row)}: — (not run in this profile).")
    for row in rows:
        if row not in PAPER_ROWS and rows[row] and method_of(row) == LNCLIP:
            lines.append(
                f"{row_name(row)}, below the ten rows of the paper's Table 3, is the method of "
                "another paper (arXiv:2508.06248), trained here on the same sample."
            )
    return [*lines, *_missing_columns(rows, options.layout), *_video_totals(rows)]


def _missing_columns(rows: Mapping[str, Mapping], layout: Layout) -> list[str]:
    present = {key for row in rows.values() for key in row.get("auc", {})}
    if not present:
        return []
    return [
        f"{name}: — ({_COLUMN_REASONS.get(key, 'a corpus of this column is missing')})."
        for key, name in layout.names.items()
        if key not in present
    ]


def _video_totals(rows: Mapping[str, Mapping]) -> list[str]:
    videos = [row["videos"] for row in rows.values() if row]
    if not videos:
        return []
    scored = max(sum(counts["scored"].values()) for counts in videos)
    unscored = sum(sum(counts["unscored"].values()) for counts in videos)
    return [f"Test videos scored: {scored} per row; without a score, over all rows: {unscored}."]


def table3_csv(rows: Mapping[str, Mapping], layout: Layout = PAPER) -> str:
    """Format Table 3 as CSV: ``row, metric`` and one column per test-set key.

    Values in percent as in ``rows``; a missing cell is a dash. Errors as for :func:`table3`.
    """
    records = [
        {"row": row, "metric": metric, **_all_sets(rows[row].get(metric, {}), layout)}
        for metric in METRIC_NAMES
        for row in in_order(rows)
    ]
    return csv(pd.DataFrame(records, columns=["row", "metric", *layout.sets]))


def _all_sets(cells: Mapping[str, float], layout: Layout) -> dict[str, float | None]:
    return {key: cells.get(key) for key in layout.sets}


def stack(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the tables of all rows, with their keys in a first column, for DVC's plots."""
    parts = [table.assign(row=row) for row, table in tables.items()]
    stacked = pd.concat(parts, ignore_index=True)
    return stacked[["row", *(name for name in stacked if name != "row")]]


def comparison(
    published: Mapping[str, Mapping],
    reproduced: Mapping[str, Mapping],
    intervals: pd.DataFrame | None = None,
    layout: Layout = PAPER,
) -> pd.DataFrame:
    """Tabulate published beside reproduced, one row per :class:`Cell`.

    ``difference`` is reproduced minus published, ``low, high`` come from ``intervals`` (as returned
    by :func:`.evaluation.statistics.intervals`), ``sd`` is over seeds; two decimals. Contains each
    cell that either side has.
    """
    records = []
    for metric in METRIC_NAMES:
        for row in in_order({**published, **reproduced}):
            theirs = published.get(row, {}).get(metric, {})
            ours = reproduced.get(row, {}).get(metric, {})
            sd = reproduced.get(row, {}).get("sd", {}).get(metric, {})
            records += [
                (row, metric, key, theirs.get(key), ours.get(key), sd.get(key))
                for key in layout.sets
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


def own_corpora(table: pd.DataFrame) -> str:
    """Format the scores on test corpora of your own as a block below Table 3, one column each.

    ``table`` as returned by :func:`.own.own_scores`. Empty without a corpus.
    """
    if table.empty:
        return ""
    corpora = table["corpus"].unique()
    lines = _head("AUC / bACC (%)", {corpus: f"`{corpus}`" for corpus in corpora})
    by_cell = dict(list(table.groupby(["row", "corpus"])))
    for row in in_order(table["row"]):
        texts = [_own_text(by_cell.get((row, corpus))) for corpus in corpora]
        lines.append(_line(row_name(row), texts))
    counts = table.groupby("corpus")[list(_COUNTED)].max()
    for kind, title in _COUNTED.items():
        lines.append(_line(title, [str(counts.loc[corpus, kind]) for corpus in corpora]))
    return "\n" + "\n".join([f"**Test corpora of your own**\n\n{OWN_LEGEND}\n", *lines]) + "\n"


def _own_text(cells: pd.DataFrame | None) -> str:
    """Format the metrics of one row and corpus in one cell."""
    if cells is None:
        return MISSING
    columns = ["reproduced", "low", "high", "sd"]
    values = cells.set_index("metric").loc[list(METRIC_NAMES), columns]
    texts = [_uncertain(*line) for line in values.itertuples(index=False)]
    return f"{NO_BREAK}/ ".join(NO_BREAK.join(text.split()) for text in texts)


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


def _cells(table: pd.DataFrame) -> list[Cell]:
    return [Cell(*values) for values in table.itertuples(index=False, name=None)]


def _cell_text(cell: Cell | None) -> str:
    """Format one cell on one line that does not break: both values, interval, spread over seeds."""
    if cell is None:
        return MISSING
    reproduced = _uncertain(cell.reproduced, cell.low, cell.high, cell.sd)
    return NO_BREAK.join(f"{_percent(cell.published)} → {reproduced}".split())


def _uncertain(value: float, low: float, high: float, sd: float) -> str:
    """Format a value with its interval and its spread over seeds, where there are any."""
    words = [_percent(value)]
    if pd.notna(low) and low < high:
        words.append(f"[{low:.0f}–{high:.0f}]")
    if pd.notna(sd):
        words.append(f"± {sd:.1f}")
    return " ".join(words)


def _head(title: str, sets: Mapping[str, str]) -> list[str]:
    return [_line(title, sets.values()), _line("---", ["---:"] * len(sets))]


def _both(cells: Mapping[str, Mapping], sets: Iterable[str]) -> list[str]:
    """Format AUC and balanced accuracy of each set in one cell; one dash if both are missing."""
    texts = []
    for key in sets:
        values = [_percent(cells.get(metric, {}).get(key)) for metric in METRIC_NAMES]
        missing = set(values) == {MISSING}
        texts.append(MISSING if missing else f"{NO_BREAK}/{NO_BREAK}".join(values))
    return texts


def _short(title: str) -> str:
    return title.removesuffix(" (%)")


def _visible(visible: pd.DataFrame | None, metric: str, sets: Iterable[str]) -> list[str]:
    """Format the smallest difference between two rows that can be seen in each set."""
    if visible is None:
        return []
    of_metric = visible[visible["metric"] == metric].set_index("set")["visible"]
    texts = [_percent(of_metric.get(key)) for key in sets]
    return [_line("*smallest visible difference*", texts)]


def _counts(rows: Mapping[str, Mapping], keys: Iterable[str]) -> list[str]:
    """Count the videos with and without a score, and their independent sources, per column.

    All rows see the same videos: the highest count of any row is printed. Predictions of somebody's
    code may lack some: an outside row of other counts has lines of its own.
    """
    ours = {row: cells for row, cells in rows.items() if TITLE not in cells} or rows
    lines = _count_lines(ours, keys)
    for cells in rows.values():
        if TITLE in cells:
            own = _count_lines({"": cells}, keys)
            title = cells[TITLE]
            lines += [line.replace("* |", f", {title}* |", 1) for line in own if line not in lines]
    return lines


def _count_lines(rows: Mapping[str, Mapping], keys: Iterable[str]) -> list[str]:
    counts = [row["videos"] for row in rows.values() if row.get("videos")]
    known = {key for count in counts for key in count["scored"]}
    lines = []
    for kind, title in _COUNTED.items():
        of_kind = [count[kind] for count in counts if kind in count]
        if of_kind:
            highest = {key: max(count.get(key, 0) for count in of_kind) for key in known}
            lines.append(_line(title, [str(highest.get(key, "")) for key in keys]))
    return lines


def _below(notes: Sequence[str]) -> str:
    return "".join(f"\n{note}\n" for note in notes)


def _line(first: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"


def _text(value: object, names: Mapping[str, str]) -> str:
    if value is None or isinstance(value, float):
        return _percent(value)
    return names.get(value, value) if isinstance(value, str) else str(value)


def _percent(value: float | None) -> str:
    return MISSING if value is None or pd.isna(value) else f"{value:.1f}"
