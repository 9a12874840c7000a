"""Videos found, in the official release and in the paper, side by side by split and class (Tables 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ..corpora import ADAPTERS
from ..corpora.schema import SPLITS

Cell = tuple[str, str]  # (split, class); "all" stands for a sum
Cells = dict[Cell, int]

CLASSES = ("real", "fake")
COLUMNS = (
    "corpus",
    "split",
    "class",
    "found",
    "metadata_only",
    "disk_only",
    "official",
    "paper",
    "difference",
    "explanation",
)
NUMBERS = ("found", "metadata_only", "disk_only", "official", "paper", "difference")


def _cells(**splits: tuple[int, int]) -> Cells:
    return {
        (split, name): count
        for split, pair in splits.items()
        for name, count in zip(CLASSES, pair, strict=True)
    }


# What a complete official download holds, as far as it is known: each adapter says it, with its
# source.
OFFICIAL: dict[str, Cells] = {
    name: _cells(**adapter.official) for name, adapter in ADAPTERS.items()
}
IN_THE_TEXT: dict[str, Cells] = {
    "df40": _cells(test=(178, 11366))
}  # Section 4.2 of the paper; in neither table

_ONE_REAL = "the paper has one training real fewer than the 890 of the release; which one and why is not known"
_IDENTITIES = "no official split: 70/15/15 by a hash of the identity comes near the paper's sizes, not onto them"
_AGREED = (
    "official test labels were never released, so official validation is the test set and a share of training "
    "validation; the paper's further filter is not known"
)
_INTERNAL = "the paper's collection is internal: the user's own takes its place"
# Why a complete download differs from the paper; a cell that is not named has no known reason.
KNOWN: dict[str, dict[Cell, str]] = {
    "celebdf2": dict.fromkeys([("train", "all"), ("all", "real"), ("all", "all")], _ONE_REAL),
    "fakeavceleb": {
        **dict.fromkeys([(split, "all") for split in ("train", "val", "test")], _IDENTITIES),
        ("all", "real"): "the paper has two of the 500 reals fewer; which and why is not known",
        ("all", "fake"): "the paper has one fake fewer; which and why is not known",
        (
            "all",
            "all",
        ): "the paper has three videos fewer (two reals, one fake); which and why is not known",
    },
    "forgerynet": dict.fromkeys(
        [(split, name) for split in (*SPLITS, "all") for name in (*CLASSES, "all")], _AGREED
    ),
    "itw": dict.fromkeys([("test", name) for name in (*CLASSES, "all")], _INTERNAL),
}
MINIATURE = "size of the miniature, not of the paper's corpus"


def published(folder: Path) -> dict[str, Cells]:
    """The paper's counts per corpus from ``table1.csv`` and ``table2.csv`` in ``folder``, and from its text.

    Table 1 prints sums over classes and sums over splits; Table 2's corpora are test sets. Raises
    ``FileNotFoundError`` for a missing table.
    """
    found = {name: dict(cells) for name, cells in IN_THE_TEXT.items()}
    for row in pd.read_csv(folder / "table1.csv").itertuples():
        cells = {
            (split, "all"): getattr(row, f"videos_{split}") for split in ("train", "val", "test")
        }
        cells |= {("all", name): getattr(row, f"videos_{name}") for name in CLASSES}
        found[row.dataset] = {cell: int(count) for cell, count in cells.items() if pd.notna(count)}
    for row in pd.read_csv(folder / "table2.csv").itertuples():
        found[row.dataset] = _cells(test=(row.videos_real, row.videos_fake))
    return found


def compare(
    index: pd.DataFrame, report: pd.DataFrame, paper: dict[str, Cells], *, miniature: bool = False
) -> pd.DataFrame:
    """Found, official and the paper's videos of each corpus, with ``COLUMNS``; what is not known is ``<NA>``.

    ``index`` and ``report`` as :func:`.corpora.index_corpora` returns them, ``paper`` as
    :func:`published` does. A row per split and class, then the sums (``all``), which also hold the names met
    only in the metadata or only on disk. ``difference`` is found - paper. A corpus that was not run keeps its
    rows, without numbers found and with the reason. For a ``miniature`` nothing is subtracted.
    """
    rows = []
    for corpus in dict.fromkeys([*report["corpus"], *sorted(set(index["dataset"]))]):
        about = report[report["corpus"] == corpus]
        found = with_sums(_found(index[index["dataset"] == corpus]))
        official, stated = with_sums(OFFICIAL.get(corpus, {})), with_sums(paper.get(corpus, {}))
        missing = "" if found else "; ".join(filter(None, about["notes"]))
        cells = _in_order({*found, *official, *stated} or {("none", "all")})
        for cell in cells:
            numbers = found.get(cell, 0 if found else None), official.get(cell), stated.get(cell)
            sides = (
                (about["metadata_only"].sum(), about["disk_only"].sum())
                if found and cell == cells[-1]
                else ()
            )
            why = (
                MINIATURE
                if miniature and found
                else _explain(KNOWN.get(corpus, {}).get(cell, ""), missing, *numbers)
            )
            rows.append(
                (
                    corpus,
                    *cell,
                    numbers[0],
                    *(sides or (None, None)),
                    *numbers[1:],
                    None if miniature else _minus(numbers[0], numbers[2]),
                    why,
                )
            )
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, "Int64"))


def with_sums(cells: Cells) -> Cells:
    """``cells`` and those sums over classes and splits that follow from them and are not given."""
    full = dict(cells)
    splits = [split for split in SPLITS if any(cell[0] == split for cell in cells)]
    for name in (*CLASSES, "all"):
        parts = [cells[split, name] for split in splits if (split, name) in cells]
        if parts and (name != "all" or len(parts) == len(splits)):
            full.setdefault(("all", name), sum(parts))
    for split in (*splits, "all"):
        if {(split, name) for name in CLASSES} <= full.keys():
            full.setdefault((split, "all"), sum(full[split, name] for name in CLASSES))
    return full


def _found(videos: pd.DataFrame) -> Cells:
    counts = videos.groupby(["split", "label"]).size()
    return {
        (split, name): int(counts.get((split, label), 0))
        for split in sorted(set(videos["split"]))
        for label, name in enumerate(CLASSES)
    }


def _in_order(cells: Iterable[Cell]) -> list[Cell]:
    """Split by split, real, fake, all; sums over splits last, and left out where there is one split only."""
    splits = {split for split, _ in cells} - {"all"}
    order = {split: place for place, split in enumerate((*SPLITS, "all"))}
    kept = [cell for cell in cells if cell[0] != "all" or len(splits) != 1]
    return sorted(kept, key=lambda cell: (order[cell[0]], (*CLASSES, "all").index(cell[1])))


def _minus(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first - second


def _explain(
    known: str, missing: str, found: int | None, official: int | None, paper: int | None
) -> str:
    """Why the numbers of a row differ: the known reason, and what is missing from or beyond the release."""
    if missing:
        return f"{missing}; {known}" if known else missing
    parts = [known] if known and paper not in (None, found) else []
    beyond = _minus(found, official)
    if beyond:
        parts.append(f"{abs(beyond)} {'more' if beyond > 0 else 'fewer'} than the official release")
    if not parts and paper not in (None, found):
        parts = ["not explained"]
    return "; ".join(parts)
