"""The figure of AUC against the number of labelled pictures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ...methods.finetune.few_labels import METHOD_NAMES, start_differences, verdict
from ..figures import WIDTH, add_legend, describe, freeze_layout, new_grid, save, style
from .palette import GREY, colour, dashes, marker, row_name


def label_figure(curve: pd.DataFrame) -> Figure:
    """Draw the mean AUC of each start over the number of pictures, a panel per method.

    ``curve`` has the columns of ``curve.csv``. A vertical line is the range over seeds.
    """
    methods = [method for method in METHOD_NAMES if method in set(curve["method"])]
    sizes = sorted(curve["pictures"].unique())
    with style():
        figure, (panels,) = new_grid(WIDTH, 3.0, rows=1, columns=len(methods))
        for axes, method in zip(panels, methods, strict=True):
            for start, part in curve[curve["method"] == method].groupby("start", sort=False):
                auc = part.groupby("pictures")["auc"].agg(["min", "mean", "max"])
                line = {"color": colour(start), "linestyle": dashes(start)}
                axes.vlines(auc.index, auc["min"], auc["max"], color=colour(start))
                axes.plot(auc["mean"], marker=marker(start), label=row_name(start), **line)
            axes.axhline(50, color=GREY, linestyle=":", linewidth=1)
            axes.set(title=METHOD_NAMES[method].replace(" ", "\n"), xscale="log")
            axes.set(xlim=(min(sizes) / 1.6, max(sizes) * 1.6))
            axes.set_ylim(min(48.0, curve["auc"].min() - 2), 102)
            axes.xaxis.set(major_locator=FixedLocator(sizes), minor_locator=NullLocator())
            axes.set_xticklabels([f"{size:g}" for size in sizes], rotation=45)
        panels[0].set_ylabel("AUC (%)")
        panels[len(panels) // 2].set_xlabel("labelled pictures")
        add_legend(figure, panels[0])
        return describe(
            freeze_layout(figure), "AUC against the number of labelled pictures", findings(curve)
        )


def findings(curve: pd.DataFrame) -> str:
    """Say in words where the second start is above or below the first in every seed."""
    starts = list(dict.fromkeys(curve["start"]))
    if len(starts) != 2:
        return f"{len(starts)} starts: {', '.join(map(row_name, starts))}."
    baseline, start = sorted(starts, key=lambda name: name != "imagenet")
    table = start_differences(curve, start, baseline)
    sentences = []
    for method, part in table.groupby("method", sort=False):
        words = [
            f"{row.pictures:g} pictures {row.mean:+.1f} "
            f"({row.low:+.1f} to {row.high:+.1f}, {verdict(row.low, row.high, row.seeds)})"
            for row in part.itertuples()
        ]
        sentences.append(f"{METHOD_NAMES[method].capitalize()}: {', '.join(words)}.")
    return (
        f"{row_name(start)} minus {row_name(baseline)}, percentage points, mean and range over "
        f"seeds; undecided where the sign changes. {' '.join(sentences)}"
    )


def write_label_figure(curve: Path) -> None:
    """Draw ``curve`` (``curve.csv``) as an SVG beside it."""
    save(label_figure(pd.read_csv(curve)), curve.with_suffix(".svg"))
