"""Official downloads of the corpora -> one index table (Tables 1 and 2 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from . import celebdf2, df40, dfdc, dfeval2024, fakeavceleb, ffpp, forgerynet, manifest, wilddeepfake
from .schema import COLUMNS, SPLITS, Adapter, IndexReport

ADAPTERS: dict[str, Adapter] = {
    module.ADAPTER.name: module.ADAPTER
    for module in (ffpp, celebdf2, dfdc, fakeavceleb, forgerynet, df40, wilddeepfake, manifest, dfeval2024)
}
REPORT_COLUMNS = ("corpus", "split", "real", "fake", "metadata_only", "disk_only", "notes")


def index_corpora(roots: Mapping[str, Path | str | None],
                  options: Mapping[str, Mapping[str, object]] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Index of every corpus that has a root, and a report with a row per corpus and split.

    ``options`` are those of each adapter's ``read``. A corpus without a root is reported as not run. What
    concerns a corpus as a whole (names on one side only, notes) stands in its first row. Raises ``ValueError``
    for a corpus that has no adapter, and whatever the adapters raise.
    """
    options = options or {}
    for name in (*roots, *options):
        if name not in ADAPTERS:
            raise ValueError(f"unknown corpus '{name}'; known: {', '.join(ADAPTERS)}")
    tables, report = [pd.DataFrame(columns=list(COLUMNS))], []
    for name, adapter in ADAPTERS.items():
        if not roots.get(name):
            report.append((name, "none", 0, 0, 0, 0, "not run: no root given"))
            continue
        table, found = adapter.index(Path(roots[name]), **options.get(name, {}))
        tables.append(table)
        report += _report_rows(name, table, found)
    index = pd.concat(tables[1:] or tables, ignore_index=True)
    return (index.sort_values("video_id", kind="stable", ignore_index=True),
            pd.DataFrame(report, columns=list(REPORT_COLUMNS)))


def _report_rows(name: str, table: pd.DataFrame, found: IndexReport) -> list[tuple]:
    rows = []
    for split in SPLITS:
        labels = table.loc[table["split"] == split, "label"]
        if len(labels):
            rows.append((name, split, int((labels == 0).sum()), int(labels.sum()), 0, 0, ""))
    rows[0] = (*rows[0][:4], len(found.metadata_only), len(found.disk_only), "; ".join(found.notes))
    return rows
