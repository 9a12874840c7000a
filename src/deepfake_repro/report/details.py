"""What the report says beside Table 3: both protocols, manipulations, groups, shortcuts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from ..project.layout import PAPER, SET_NAMES, Layout
from ..project.vocabulary import METRIC_NAMES, MISSING
from .drawing.palette import row_name
from .scores import in_order
from .tables import markdown

FEATURE_NAMES = {
    "file_bytes": "file size",
    "bit_rate": "bit rate",
    "seconds": "length",
    "frames": "number of frames",
    "brightness": "brightness",
    "colour": "colour",
    "sharpness": "sharpness",
    "pixels": "resolution",
    "jpeg_quality": "JPEG quantisation",
}
"""What the shortcut audit measures: column of ``shortcuts.csv`` -> printed name."""
LIMIT = 0.65
"""A property above this AUC counts as a shortcut."""
SELF_BLENDED = "sbi"
"""Line of the audit for the pairs that SBI learns from."""

_PROTOCOLS = ("mean over all faces", "own protocol")
_RULES = "the mean over all faces and its own protocol, the highest face of each frame"


def protocols(rows: Mapping[str, Mapping], layout: Layout = PAPER) -> str:
    """Format the rows with a protocol of their own under both protocols, as Markdown.

    ``rows`` as for :func:`.tables.table3`. The paper's protocol is the mean over all faces; SBI's
    ``own_protocol`` takes the highest face of each frame, then the mean. What both give alike is
    said once: one sentence for a row, one line for a metric.
    """
    sentences, lines = [], []
    for row in in_order(row for row in rows if "own_protocol" in rows[row]):
        of_row = list(_protocol_lines(rows[row], layout))
        if all(len(values) == 1 for _, values in of_row):
            sentences.append(
                f"{row_name(row)}: {_RULES}, give the same number in every column, for both "
                "metrics.\n"
            )
            continue
        for title, values in of_row:
            names = _PROTOCOLS if len(values) == 2 else ("either protocol",)
            for name, cells in zip(names, values, strict=True):
                lines.append([f"{row_name(row)}, {title}, {name}", *cells])
    if lines:
        table = pd.DataFrame(lines, columns=["row", *layout.sets]).astype({"row": str})
        sentences.append(markdown(table, layout.names | {"row": ""}))
    return "\n".join(sentences) or "No row here has a protocol of its own.\n"


def _protocol_lines(
    row: Mapping[str, Mapping], layout: Layout
) -> Iterator[tuple[str, list[list[float | None]]]]:
    """Yield each metric's title with its cells under both protocols, once if they are equal."""
    for metric, title in METRIC_NAMES.items():
        tables = (row[metric], row["own_protocol"][metric])
        both = [[cells.get(key) for key in layout.sets] for cells in tables]
        yield title, both[:1] if both[0] == both[1] else both


def breakdown_markdown(manipulations: pd.DataFrame, groups: pd.DataFrame) -> str:
    """Format the AUC by manipulation and by group of people: one table per test set.

    ``manipulations`` and ``groups``: columns as returned by :mod:`.evaluation.breakdown`, with one
    column of AUC (percent) per row in place of ``auc``. Whole percent, because a cell rests on few
    fakes; the hardest on average first. A test set with one part only is named and not printed: its
    cell is in Table 3.
    """
    text = (
        "AUC in whole percent of each manipulation against all reals of its test set, the hardest "
        "on average over the rows first."
    )
    lines = ["## Manipulations", "", text, "", *_parts(manipulations, "manipulation")]
    lines += ["## Groups of people", "", *_parts(groups, "group")]
    return "\n".join(lines).rstrip("\n") + "\n"


def _parts(table: pd.DataFrame, part: str) -> Iterator[str]:
    """Yield the lines of one table per test set with several parts, then name the other sets."""
    if table.empty:
        yield f"No test set names a {part}."
        return
    single = []
    for key, of_set in table.groupby("set", sort=False):
        name = SET_NAMES.get(str(key), str(key))
        if len(of_set) == 1:
            single.append(name)
            continue
        if of_set["reals"].nunique() == 1:
            name = f"{name}, {of_set['reals'].iloc[0]} reals"
            of_set = of_set.drop(columns="reals")
        yield from (f"### {name}", "", _part_table(of_set, part))
    if single:
        yield f"With one {part} only, so that there is nothing to compare: {', '.join(single)}."
        yield ""


def _part_table(of_set: pd.DataFrame, part: str) -> str:
    """Format the parts of one test set, the numbers of videos first."""
    known = [name for name in (part, "category", "reals", "fakes") if name in of_set]
    rows = [name for name in of_set if name not in (*known, "set")]
    table = of_set.assign(mean=of_set[rows].mean(axis=1)).sort_values(["mean", part])
    whole = table[rows].map(lambda value: MISSING if pd.isna(value) else f"{value:.0f}")
    titles = {row: row_name(row) for row in rows}
    text = markdown(pd.concat([table[known], whole], axis=1), titles)
    return _right_aligned(text, len(known))


def _right_aligned(text: str, first: int) -> str:
    """Align the columns of a Markdown table from number ``first`` on to the right."""
    head, rule, *lines = text.splitlines()
    cells = rule.strip("| ").split(" | ")
    cells[first:] = ["---:"] * len(cells[first:])
    return "\n".join([head, f"| {' | '.join(cells)} |", *lines, ""])


def audit_notes(audit: pd.DataFrame) -> list[str]:
    """Say which properties besides the face tell real from fake, in a note below a table.

    ``audit``: ``shortcuts.csv`` of a profile's audit, empty if the profile was not audited.
    """
    if audit.empty:
        return ["Shortcut audit: not run for this profile (`run.audit` in `params.yaml`)."]
    found = audit.set_index("dataset").stack().sort_values(ascending=False)
    above = found[found > LIMIT]
    if above.empty:
        (corpus, feature), highest = found.index[0], found.iloc[0]
        return [
            "Shortcut audit: no property besides the face tells real from fake with an AUC above "
            f"{LIMIT} (highest: {FEATURE_NAMES[feature]} in {_corpus_name(corpus)}, {highest:.2f})."
        ]
    parts = [
        f"{_corpus_name(corpus)}: {', '.join(_above(above[corpus]))}"
        for corpus in dict.fromkeys(above.index.get_level_values("dataset"))
    ]
    return [
        f"**Shortcut audit: properties besides the face tell real from fake with an AUC above "
        f"{LIMIT}.** {'; '.join(parts)}. A result on such a corpus may rest on them and not on the "
        "face; with a handful of reals such values come by chance, too."
    ]


def _above(values: pd.Series) -> list[str]:
    return [f"{FEATURE_NAMES[str(name)]} {value:.2f}" for name, value in values.items()]


def _corpus_name(key: str) -> str:
    return "self-blended pairs" if key == SELF_BLENDED else SET_NAMES.get(key, key)
