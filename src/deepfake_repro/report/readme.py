"""The results table of README.md, generated from ``results/``: its numbers are never typed."""

from __future__ import annotations

from pathlib import Path

from .tables import read_published, read_scores, scenarios

README_MARKS = (
    "<!-- results: written by `python -m deepfake_repro readme` -->\n",
    "<!-- /results -->",
)


def readme_with_results(base: Path) -> str:
    """Return README.md with its results table generated from ``results/``."""
    results = base / "results"
    begin, end = README_MARKS
    table = scenarios(
        read_published(results / "published" / "scores"),
        read_scores(results / "demo" / "runs"),
        "demo",
    )
    readme = (base / "README.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{table}\n{end}{after}"
