"""Index of a profile: the official downloads as one table, and its counts (Section 4.1)."""

from __future__ import annotations

import sys

from ..corpora import broken, index_corpora
from ..project.params import IndexOptions, load
from ..project.paths import corpus_roots, profile_paths
from ..project.vocabulary import MISSING
from .counts import compare, load_published


def adapter_options(options: IndexOptions) -> dict[str, dict[str, object]]:
    """Return the keyword arguments of each adapter that has options."""
    return {
        "ffpp": {"compression": options.compression},
        "fakeavceleb": {
            "seed": options.split_seed,
            "composite_category": options.composite_category,
        },
        "forgerynet": {
            "seed": options.split_seed,
            "validation": options.forgerynet_validation,
            "categories": options.forgerynet_category,
        },
    }


def write_index(profile: str) -> int:
    """Write ``index.parquet`` and ``report.csv`` of a profile; print its counts and the paper's.

    Returns the exit code: 1 if a corpus could not be indexed. Each such corpus has a last line on
    the error stream; the tables contain all others. Raises ``ValueError`` if none could.
    """
    params = load()
    options = params.profile(profile).index  # first, to report an unknown profile
    paths = profile_paths(profile)
    table, report = index_corpora(corpus_roots(paths.roots), adapter_options(options))
    lines = broken(report)
    if lines and table.empty:
        raise ValueError("\n".join(lines))
    paths.index.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(paths.index, index=False)
    report.to_csv(paths.index.with_name("report.csv"), index=False, lineterminator="\n")
    paper = load_published(paths.base / "results" / "published")
    counts = compare(table, report, paper, miniature=profile in params.miniatures)
    printed = counts.astype("object").where(counts.notna(), MISSING)
    width = printed["explanation"].str.len().max()
    printed["explanation"] = printed["explanation"].str.ljust(width)
    print(report.to_string(index=False))
    print()
    print(printed.to_string(index=False, justify="left"))
    print(*(f"error: {line}" for line in lines), sep="\n", end="\n" * bool(lines), file=sys.stderr)
    return int(bool(lines))
