"""The results table of README.md, made of ``results/``: its numbers are never typed."""

from __future__ import annotations

from pathlib import Path

from .tables import read_published, read_scores, scenarios

README_MARKS = (
    "<!-- results: written by `python -m deepfake_repro readme` -->\n",
    "<!-- /results -->",
)


def readme_with_results(base: Path) -> str:
    """README.md with its results table made anew from ``results/`` (its numbers are never typed)."""
    results, begin, end = base / "results", *README_MARKS
    table = scenarios(
        read_published(results / "published" / "scores"),
        read_scores(results / "demo" / "runs"),
        "demo",
    )
    before, _, rest = (base / "README.md").read_text(encoding="utf-8").partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
