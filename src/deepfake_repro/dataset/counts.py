"""Compare the indexed videos with the official releases and the paper (Tables 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ..corpora import ADAPTERS, BENCHMARKS
from ..corpora.schema import SPLITS

Cell = tuple[str, str]
"""(split, class); "all" for a sum."""
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


OFFICIAL: dict[str, Cells] = {
    name: _cells(
        **{
            split: counts
            for split, counts in adapter.official.items()
            if split == "test" or name not in BENCHMARKS
        }
    )
    for name, adapter in ADAPTERS.items()
}
"""Counts of the complete official downloads; each adapter has them with their source.

Of a benchmark only the test split is indexed, so only that is compared.
"""
IN_THE_TEXT: dict[str, Cells] = {"df40": _cells(test=(178, 11366))}
"""Counts that the paper states in Section 4.2 and in neither table."""

_ONE_REAL = (
    "the paper has one training real fewer than the 890 of the release; which one and why is not "
    "known"
)
_IDENTITIES = (
    "no official split: 70/15/15 by a hash of the identity comes near the paper's sizes, not onto "
    "them"
)
_AGREED = (
    "official test labels were never released, so official validation is the test set and a share "
    "of training validation; the paper's further filter is not known"
)
_INTERNAL = "the paper's collection is internal: the user's own takes its place"
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
"""Why a complete download differs from the paper; other cells have no known reason."""
MINIATURE = "size of the miniature, not of the paper's corpus"


def load_published(folder: Path) -> dict[str, Cells]:
    """Load the paper's counts per corpus from ``table1.csv``, ``table2.csv`` and its text.

    Table 1 prints sums over classes and sums over splits; the corpora of Table 2 are test sets.
    Raises ``FileNotFoundError`` for a missing table.
    """
    paper = {name: dict(cells) for name, cells in IN_THE_TEXT.items()}
    for row in pd.read_csv(folder / "table1.csv").to_dict("records"):
        counts = {(split, "all"): row[f"videos_{split}"] for split in ("train", "val", "test")}
        counts |= {("all", name): row[f"videos_{name}"] for name in CLASSES}
        paper[row["dataset"]] = {
            cell: int(count) for cell, count in counts.items() if pd.notna(count)
        }
    for row in pd.read_csv(folder / "table2.csv").to_dict("records"):
        paper[row["dataset"]] = _cells(test=(row["videos_real"], row["videos_fake"]))
    return paper


def compare(
    index: pd.DataFrame, report: pd.DataFrame, paper: dict[str, Cells], *, miniature: bool = False
) -> pd.DataFrame:
    """Compare found, official and the paper's videos of each corpus; columns are ``COLUMNS``.

    ``index`` and ``report`` as returned by :func:`.corpora.index_corpora`, ``paper`` by
    :func:`load_published`. There is one row per split and class, then the sums (``all``), which
    also have the names that are only in the metadata or only on disk. ``difference`` is found -
    paper; unknown numbers are ``<NA>``. A corpus that was not indexed has rows with the reason and
    without found numbers. For a ``miniature`` no difference is computed.
    """
    rows = []
    for corpus in dict.fromkeys([*report["corpus"], *sorted(set(index["dataset"]))]):
        videos = index[index["dataset"] == corpus]
        corpus_report = report[report["corpus"] == corpus]
        rows += _compare_corpus(corpus, videos, corpus_report, paper.get(corpus, {}), miniature)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, "Int64"))


def _compare_corpus(
    corpus: str, videos: pd.DataFrame, report: pd.DataFrame, paper: Cells, miniature: bool
) -> list[dict[str, object]]:
    indexed = with_sums(_count(videos))
    official = with_sums(OFFICIAL.get(corpus, {}))
    printed = with_sums(paper)
    not_indexed = "" if indexed else "; ".join(filter(None, report["notes"]))
    cells = _in_order({*indexed, *official, *printed} or {("none", "all")})
    rows: list[dict[str, object]] = []
    for cell in cells:
        found = indexed.get(cell, 0 if indexed else None)
        if miniature and indexed:
            explanation = MINIATURE
        else:
            reason = KNOWN.get(corpus, {}).get(cell, "")
            explanation = _explain(
                reason, not_indexed, found, official.get(cell), printed.get(cell)
            )
        rows.append(
            {
                "corpus": corpus,
                "split": cell[0],
                "class": cell[1],
                "found": found,
                "official": official.get(cell),
                "paper": printed.get(cell),
                "difference": None if miniature else _minus(found, printed.get(cell)),
                "explanation": explanation,
            }
        )
    if indexed:
        rows[-1]["metadata_only"] = report["metadata_only"].sum()
        rows[-1]["disk_only"] = report["disk_only"].sum()
    return rows


def with_sums(cells: Cells) -> Cells:
    """Return ``cells`` and the missing sums over classes and splits that follow from them."""
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


def _count(videos: pd.DataFrame) -> Cells:
    counts = videos.groupby(["split", "label"]).size()
    return {
        (split, name): int(counts.get((split, label), 0))
        for split in sorted(set(videos["split"]))
        for label, name in enumerate(CLASSES)
    }


def _in_order(cells: Iterable[Cell]) -> list[Cell]:
    """Sort cells by split, then real, fake, all; omit sums over splits if there is only one."""
    split_order = (*SPLITS, "all")
    class_order = (*CLASSES, "all")
    splits = {split for split, _ in cells} - {"all"}
    kept = [cell for cell in cells if cell[0] != "all" or len(splits) != 1]
    return sorted(kept, key=lambda cell: (split_order.index(cell[0]), class_order.index(cell[1])))


def _minus(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first - second


def _explain(
    reason: str, not_indexed: str, found: int | None, official: int | None, paper: int | None
) -> str:
    """Explain the numbers of a row by the known reason and the difference from the release."""
    if not_indexed:
        return f"{not_indexed}; {reason}" if reason else not_indexed
    differs = paper not in (None, found)
    parts = [reason] if reason and differs else []
    surplus = _minus(found, official)
    if surplus:
        comparison = "more" if surplus > 0 else "fewer"
        parts.append(f"{abs(surplus)} {comparison} than the official release")
    if differs and not parts:
        parts = ["not explained"]
    return "; ".join(parts)
