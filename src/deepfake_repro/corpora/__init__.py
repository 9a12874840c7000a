"""Official downloads of the corpora -> one index table (Tables 1 and 2 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from .adapters import (
    celebdf2,
    celebdfpp,
    deepspeak,
    df40,
    dfd,
    dfdc,
    dfdcp,
    dfdm,
    dfeval2024,
    faceshifter,
    fakeavceleb,
    ffiw,
    ffpp,
    forgerynet,
    idforge,
    kodf,
    manifest,
    polyglotfake,
    uadfv,
    vggface2,
    wilddeepfake,
)
from .schema import COLUMNS, SPLITS, Adapter, IndexReport

PAPER: dict[str, Adapter] = {
    module.ADAPTER.name: module.ADAPTER
    for module in (
        ffpp,
        celebdf2,
        dfdc,
        fakeavceleb,
        forgerynet,
        df40,
        wilddeepfake,
        manifest,
        dfeval2024,
    )
}
# What LNCLIP-DF (Yermakov et al. 2025) and its peers are tested on besides; never trained on.
BENCHMARKS: dict[str, Adapter] = {
    adapter.name: adapter
    for adapter in (
        celebdfpp.ADAPTER,
        dfd.ADAPTER,
        faceshifter.ADAPTER,
        dfdcp.ADAPTER,
        uadfv.ADAPTER,
        dfdm.ADAPTER,
        ffiw.ADAPTER,
        kodf.ADAPTER,
        polyglotfake.ADAPTER,
        idforge.ADAPTER,
        *deepspeak.ADAPTERS,
    )
}
# Real faces alone, for pre-training; of no split.
FACES: dict[str, Adapter] = {vggface2.ADAPTER.name: vggface2.ADAPTER}
ADAPTERS = PAPER | BENCHMARKS | FACES
REPORT_COLUMNS = ("corpus", "split", "real", "fake", "metadata_only", "disk_only", "notes")


def index_corpora(
    roots: Mapping[str, Path | str | None],
    options: Mapping[str, Mapping[str, object]] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Index of every corpus that has a root, and a report with a row per corpus and split.

    ``options`` are those of each adapter's ``read``. A corpus of the paper, or one that ``roots``
    mentions, is reported as not run where it has no root. Of a benchmark only the test split is
    kept, so that none is trained on. What concerns a corpus as a whole (names on one side only,
    notes) stands in its first row. Raises ``ValueError`` for a corpus that has no adapter, and
    whatever the adapters raise.
    """
    options = options or {}
    for name in (*roots, *options):
        if name not in ADAPTERS:
            raise ValueError(f"unknown corpus '{name}'; known: {', '.join(ADAPTERS)}")
    tables, report = [pd.DataFrame(columns=list(COLUMNS))], []
    for name, adapter in ADAPTERS.items():
        if roots.get(name):
            table, found = adapter.index(Path(roots[name]), **options.get(name, {}))
            if name in BENCHMARKS:
                table, found = _test_only(table, found)
            tables.append(table)
            report += _report_rows(name, table, found)
        elif name in PAPER or name in roots:
            report.append((name, "none", 0, 0, 0, 0, "not run: no root given"))
    index = pd.concat(tables[1:] or tables, ignore_index=True)
    return (
        index.sort_values("video_id", kind="stable", ignore_index=True),
        pd.DataFrame(report, columns=list(REPORT_COLUMNS)),
    )


def _test_only(table: pd.DataFrame, found: IndexReport) -> tuple[pd.DataFrame, IndexReport]:
    """The test split of a benchmark, with a note on what was left out and no pair that leads out of it."""
    test = table[table["split"] == "test"].reset_index(drop=True)
    others = table.loc[table["split"] != "test", "split"].value_counts().sort_index()
    if test.empty:
        raise ValueError(
            f"{found.dataset}: none of its {len(table)} videos is of the test split; is it on disk?"
        )
    test["pair_key"] = test["pair_key"].where(test["pair_key"].isin(test["video_id"]), "")
    notes = tuple(
        f"{count} videos of split {split} left out: for testing only"
        for split, count in others.items()
    )
    return test, replace(found, notes=(*found.notes, *notes))


def _report_rows(name: str, table: pd.DataFrame, found: IndexReport) -> list[tuple]:
    rows = []
    for split in SPLITS:
        labels = table.loc[table["split"] == split, "label"]
        if len(labels):
            rows.append((name, split, int((labels == 0).sum()), int(labels.sum()), 0, 0, ""))
    rows[0] = (*rows[0][:4], len(found.metadata_only), len(found.disk_only), "; ".join(found.notes))
    return rows
