"""The index of a profile: official downloads -> one table, counts beside the paper's (Section 4.1)."""

from __future__ import annotations

from ..corpora import index_corpora
from ..project.params import IndexOptions, load
from ..project.paths import corpus_roots, profile_paths
from ..project.vocabulary import MISSING
from .counts import compare, published


def adapter_options(options: IndexOptions) -> dict[str, dict[str, object]]:
    """The profile's index options in the words of each adapter."""
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


def index(profile: str) -> None:
    """Corpora of a profile -> ``index.parquet`` and ``report.csv``; prints what was found beside the paper's counts."""
    params = load()
    options, paths = (
        params.profile(profile).index,
        profile_paths(profile),
    )  # first, so that it is the profile that is unknown
    table, report = index_corpora(corpus_roots(paths.roots), adapter_options(options))
    paths.index.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(paths.index, index=False)
    report.to_csv(paths.index.with_name("report.csv"), index=False, lineterminator="\n")
    paper = published(paths.base / "results" / "published")
    compared = compare(table, report, paper, miniature=profile in params.miniatures)
    shown = compared.astype("object").where(compared.notna(), MISSING)
    shown["explanation"] = shown["explanation"].str.ljust(
        shown["explanation"].str.len().max()
    )  # left-aligned
    print(report.to_string(index=False), shown.to_string(index=False, justify="left"), sep="\n\n")
