"""Official downloads of the corpora -> one index table (Tables 1 and 2 of the paper)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from difflib import get_close_matches
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
    folders,
    forgerynet,
    idforge,
    kodf,
    manifest,
    openforensics,
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
# Other test sets of LNCLIP-DF (Yermakov et al. 2025) and its peers; never trained on.
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
# Real faces only, for pre-training; in no split.
FACES: dict[str, Adapter] = {vggface2.ADAPTER.name: vggface2.ADAPTER}
# Real photographs and real forgeries that need no form.
PICTURES: dict[str, Adapter] = {openforensics.ADAPTER.name: openforensics.ADAPTER}
ADAPTERS = PAPER | BENCHMARKS | FACES | PICTURES
REPORT_COLUMNS = ("corpus", "split", "real", "fake", "metadata_only", "disk_only", "notes")
BROKEN = "not indexed: "
"""How the note of a corpus begins that could not be indexed; the reason follows."""
CLOSE = 0.82
"""From this similarity on an unknown name is taken for a misspelt known one."""


def index_corpora(
    roots: Mapping[str, Path | str | None],
    options: Mapping[str, Mapping[str, object]] | None = None,
    tested: Collection[str] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Index every corpus that has a root; return the index and a report.

    The report has one row per corpus and split. ``options`` are those of each adapter's ``read``. A
    corpus of the paper, or one that ``roots`` mentions, is reported as not run if it has no root.
    A name without an adapter is a test corpus of the user's own (``adapters.folders``). Only the
    test split of a benchmark, and of a corpus in ``tested``, is kept, so that none is trained on.
    What concerns a corpus as a whole
    (names on one side only, notes) is in its first row.

    A corpus that cannot be read does not stop the others: its row has the reason, see
    :func:`broken`. Raises ``ValueError`` for options of an unknown corpus.
    """
    options = options or {}
    for name in options:
        if name not in ADAPTERS:
            raise ValueError(f"options of unknown corpus '{name}'; known: {', '.join(ADAPTERS)}")
    tables: list[pd.DataFrame] = []
    rows: list[tuple] = []
    for name in dict.fromkeys([*ADAPTERS, *roots]):
        root = roots.get(name)
        if root:
            try:
                table, report = adapter_of(name).index(Path(root), **options.get(name, {}))
                if name in BENCHMARKS or name in tested:
                    table, report = _test_only(table, report)
            except (ValueError, OSError) as error:
                rows.append((name, "none", 0, 0, 0, 0, f"{BROKEN}{error}"))
                continue
            tables.append(table)
            rows += _report_rows(name, table, report)
        elif name in PAPER or name in roots:
            rows.append((name, "none", 0, 0, 0, 0, "not run: no root given"))
    index = pd.concat(tables or [pd.DataFrame(columns=list(COLUMNS))], ignore_index=True)
    return (
        index.sort_values("video_id", kind="stable", ignore_index=True),
        pd.DataFrame(rows, columns=list(REPORT_COLUMNS)),
    )


def broken(report: pd.DataFrame) -> list[str]:
    """Return one line per corpus of :func:`index_corpora`'s report that could not be indexed."""
    reasons = report.loc[report["notes"].str.startswith(BROKEN), ["corpus", "notes"]]
    lines = []
    for corpus, note in reasons.itertuples(index=False):
        reason = note.removeprefix(BROKEN)
        lines.append(reason if reason.startswith(f"{corpus}: ") else f"{corpus}: {reason}")
    return lines


def adapter_of(name: str) -> Adapter:
    """Return the adapter of a corpus; a name that none knows is a corpus of the user's own.

    Raises ``ValueError`` for a name that looks like a misspelt known one.
    """
    if name in ADAPTERS:
        return ADAPTERS[name]
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    meant = get_close_matches(plain, ADAPTERS, n=1, cutoff=CLOSE) or [
        known for known in ADAPTERS if known.startswith(plain) and 2 * len(plain) >= len(known)
    ]
    if meant:
        raise ValueError(
            f"unknown corpus '{name}': write '{meant[0]}' in the roots file, "
            "or give a corpus of your own a name less like it"
        )
    return folders.adapter(name)


def _test_only(table: pd.DataFrame, report: IndexReport) -> tuple[pd.DataFrame, IndexReport]:
    """Keep the test split of a corpus, clear pairs with the rest and note what is left out."""
    test = table[table["split"] == "test"].reset_index(drop=True)
    others = table.loc[table["split"] != "test", "split"].value_counts().sort_index()
    if test.empty:
        raise ValueError(
            f"{report.dataset}: none of its {len(table)} videos is in the test split; "
            "is that split on disk?"
        )
    test["pair_key"] = test["pair_key"].where(test["pair_key"].isin(test["video_id"]), "")
    notes = tuple(
        f"{count} videos of split {split} left out: for testing only"
        for split, count in others.items()
    )
    return test, replace(report, notes=(*report.notes, *notes))


def _report_rows(name: str, table: pd.DataFrame, report: IndexReport) -> list[tuple]:
    counts = []
    for split in SPLITS:
        labels = table.loc[table["split"] == split, "label"]
        if len(labels):
            counts.append((name, split, int((labels == 0).sum()), int(labels.sum())))
    first, *others = counts
    about_corpus = (len(report.metadata_only), len(report.disk_only), "; ".join(report.notes))
    return [(*first, *about_corpus), *((*row, 0, 0, "") for row in others)]
