"""LNCLIP-DF's benchmarks: published figures beside our rows, and whether newer benchmarks are harder.

``results/published/lnclip13.csv`` holds only figures that are printed somewhere, each with its
source; ``benchmarks.csv`` the benchmarks with their years. A benchmark that is in Table 3 as well
has the same key there.
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
    """``benchmark, name, year`` in the order of the years; ``folder`` is ``results/published``."""
    return pd.read_csv(folder / "benchmarks.csv").sort_values(
        ["year", "benchmark"], ignore_index=True
    )


def published(folder: Path) -> pd.DataFrame:
    """Published video-level AUROCs: ``benchmark, method, auroc`` (percent), ``origin, source, name, year``.

    ``origin``: the authors' ``own``, a ``third party``'s report, or a ``re-run``. Averages (benchmark ``lnclip13``)
    have no year. Raises ``ValueError`` for a figure with an unknown benchmark, method or origin.
    """
    figures = pd.read_csv(folder / "lnclip13.csv")
    known = {
        "benchmark": {*benchmarks(folder)["benchmark"], "lnclip13"},
        "method": METHODS,
        "origin": ORIGINS,
    }
    for column, values in known.items():
        if wrong := sorted(set(figures[column]) - set(values)):
            raise ValueError(
                f"lnclip13.csv: {column} {wrong[0]!r} is unknown; known: {', '.join(sorted(values))}"
            )
    return figures.merge(benchmarks(folder), on="benchmark", how="left")


def average(auc: Mapping[str, float]) -> tuple[float, int]:
    """Mean AUROC over those of the thirteen that are in ``auc`` (percent by key), and how many these are.

    NaN where none is. The paper's "average cross-dataset AUROC" is that of all thirteen, for a
    training set that is none of them; a mean over fewer must be told as such.
    """
    found = [auc[key] for key in LNCLIP13 if key in auc]
    return (sum(found) / len(found) if found else float("nan")), len(found)


def difficulty(folder: Path, rows: Mapping[str, Mapping]) -> pd.DataFrame:
    """A line per benchmark, the oldest first: ``benchmark, name, year, published, best, reproduced``.

    ``published``: mean over the methods' figures (of one method its mean), ``best`` the highest printed one,
    ``reproduced`` the mean AUC of our ``rows`` (content of ``scores.json`` by row key). NaN where there is none.
    """
    figures = published(folder).dropna(subset="year")
    of_method = figures.groupby(["benchmark", "method"])["auroc"].mean()
    ours = pd.DataFrame(
        {row: scores["auc"] for row, scores in rows.items() if "auc" in scores}
    ).mean(axis=1)
    return benchmarks(folder).assign(
        published=lambda t: t["benchmark"].map(of_method.groupby("benchmark").mean()),
        best=lambda t: t["benchmark"].map(figures.groupby("benchmark")["auroc"].max()),
        reproduced=lambda t: t["benchmark"].map(ours),
    )


def trend(table: pd.DataFrame, column: str) -> tuple[float, int]:
    """Spearman correlation of year and AUROC over the benchmarks that have both, and their number.

    Negative: newer benchmarks are harder. NaN for fewer than three benchmarks.
    """
    both = table.dropna(subset=column)
    if len(both) < 3:
        return float("nan"), len(both)
    return float(spearmanr(both["year"], both[column]).statistic), len(both)


def markdown(table: pd.DataFrame) -> str:
    """:func:`difficulty` as Markdown, percent with one decimal; a missing cell is a dash."""
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
