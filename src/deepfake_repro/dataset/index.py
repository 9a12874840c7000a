"""Index of a profile: the official downloads as one table (Section 4.1)."""

from __future__ import annotations

import sys

import pandas as pd

from ..corpora import broken, index_corpora
from ..project.params import IndexOptions, load
from ..project.paths import PARTS, TRAINING, Paths, part_roots, profile_paths

REPORT = "_report.csv"
"""Beside the index; readers of a folder of Parquet files leave out names with an underscore."""


def adapter_options(options: IndexOptions) -> dict[str, dict[str, object]]:
    """Return the keyword arguments of each adapter that has options."""
    return {
        "ffpp": {"compression": options.compression},
        "fakeavceleb": {
            "seed": options.split_seed,
            "composite_category": options.composite_category,
        },
        "ffiw": {"masks": options.masks},
        "idforge": {"selection": "lnclip"},  # a test corpus of the second paper
        "forgerynet": {
            "seed": options.split_seed,
            "validation": options.forgerynet_validation,
            "categories": options.forgerynet_category,
        },
        "openforensics": {"seed": options.split_seed, "first": options.openforensics},
    }


def write_index(profile: str, part: str) -> int:
    """Write ``index.parquet`` and ``_report.csv`` of one part of a profile's corpora; print both.

    ``part``: one of ``PARTS``, or the name of a test corpus of your own. Returns the exit code: 1
    if a corpus could not be indexed. Each such corpus has a last line on the error stream; the
    tables contain all others. Raises ``ValueError`` if none could.
    """
    options = load().profile(profile).index  # first, to report an unknown profile
    paths = profile_paths(profile)
    roots = part_roots(paths, part)
    tested = () if part == TRAINING else tuple(roots)
    table, report = index_corpora(roots, adapter_options(options), tested)
    lines = broken(report)
    if lines and table.empty:
        raise ValueError("\n".join(lines))
    report = report[report["corpus"].isin(roots)]
    target = paths.part_index(part)
    target.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(target, index=False)
    report.to_csv(target.with_name(REPORT), index=False, lineterminator="\n")
    print(report.to_string(index=False))
    print(*(f"error: {line}" for line in lines), sep="\n", end="\n" * bool(lines), file=sys.stderr)
    return int(bool(lines))


def read_report(paths: Paths) -> pd.DataFrame:
    """Read what the adapters reported about the corpora of all parts."""
    files = [paths.part_index(part).with_name(REPORT) for part in PARTS]
    return pd.concat(
        [pd.read_csv(file, keep_default_na=False) for file in files], ignore_index=True
    )
