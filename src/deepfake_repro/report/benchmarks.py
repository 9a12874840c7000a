"""LNCLIP-DF's benchmarks: published figures beside our rows, and their trend over the years.

``results/published/lnclip13.csv`` contains only figures that are printed somewhere, each with its
source; ``benchmarks.csv`` lists the benchmarks with their years. A benchmark that is also in Table
3 has the same key there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

from ..project.vocabulary import LNCLIP13, MISSING

ORIGINS = ("own", "third party", "re-run")
METHODS = {
    "lnclip": "LNCLIP-DF (v1)",
    "lnclip_first": "its predecessor",
    "gend_clip": "GenD, CLIP",
    "gend_pe": "GenD, PE",
    "gend_dino": "GenD, DINOv3",
    "dicome": "DiCoME",
    "forada": "ForensicsAdapter",
    "effort": "Effort",
    "sbi": "SBI",
}


def benchmarks(folder: Path) -> pd.DataFrame:
    """Read ``benchmark, name, year`` in the order of the years from ``results/published``."""
    table = pd.read_csv(folder / "benchmarks.csv")
    return table.sort_values(["year", "benchmark"], ignore_index=True)


def published(folder: Path) -> pd.DataFrame:
    """Read published video-level AUROCs (percent).

    Columns ``benchmark, method, auroc, origin, source, name, year``. ``origin``: the authors'
    ``own``, a ``third party``'s report, or a ``re-run``. Averages (benchmark ``lnclip13``) have no
    year. Raises ``ValueError`` for a figure with an unknown benchmark, method or origin.
    """
    figures = pd.read_csv(folder / "lnclip13.csv")
    allowed = {
        "benchmark": {*benchmarks(folder)["benchmark"], "lnclip13"},
        "method": set(METHODS),
        "origin": set(ORIGINS),
    }
    for column, values in allowed.items():
        unknown = sorted(set(figures[column]) - values)
        if unknown:
            raise ValueError(
                f"lnclip13.csv: {column} {unknown[0]!r} is unknown: "
                f"use one of {', '.join(sorted(values))}"
            )
    return figures.merge(benchmarks(folder), on="benchmark", how="left")


def average(auc: Mapping[str, float]) -> tuple[float, int]:
    """Average the AUROC over those of the thirteen benchmarks in ``auc``; also return how many.

    Percent by key; NaN if there is none. The paper's "average cross-dataset AUROC" is over all
    thirteen, for a training set outside them; a mean over fewer must be reported as such.
    """
    values = [auc[key] for key in LNCLIP13 if key in auc]
    if not values:
        return float("nan"), 0
    return sum(values) / len(values), len(values)


def difficulty(folder: Path, rows: Mapping[str, Mapping]) -> pd.DataFrame:
    """Tabulate one row per benchmark, the oldest first.

    Columns ``benchmark, name, year, published, best, reproduced``. ``published``: mean over methods
    of each method's mean figure; ``best``: the highest printed figure; ``reproduced``: mean AUC of
    our ``rows`` (content of ``scores.json`` by row key). NaN where there is none.
    """
    figures = published(folder).dropna(subset="year")
    method_means = figures.groupby(["benchmark", "method"])["auroc"].mean()
    ours = {row: scores["auc"] for row, scores in rows.items() if "auc" in scores}
    table = benchmarks(folder)
    keys = table["benchmark"]
    table["published"] = keys.map(method_means.groupby("benchmark").mean())
    table["best"] = keys.map(figures.groupby("benchmark")["auroc"].max())
    table["reproduced"] = keys.map(pd.DataFrame(ours).mean(axis=1))
    return table


def trend(table: pd.DataFrame, column: str) -> tuple[float, int]:
    """Correlate year and AUROC (Spearman) over the benchmarks that have both; also return how many.

    Negative: newer benchmarks are harder. NaN for fewer than three benchmarks.
    """
    both = table.dropna(subset=column)
    if len(both) < 3:
        return float("nan"), len(both)
    return float(spearmanr(both["year"], both[column]).statistic), len(both)


def markdown(table: pd.DataFrame) -> str:
    """Format :func:`difficulty` as Markdown, percent with one decimal; a missing cell is a dash."""
    lines = [
        "| Benchmark | Year | Published, mean of methods | Best published | Ours, mean of rows |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for line in table.itertuples():
        cells = [
            MISSING if pd.isna(value) else f"{value:.1f}"
            for value in (line.published, line.best, line.reproduced)
        ]
        lines.append(f"| {line.name} | {line.year} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
