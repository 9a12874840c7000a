"""Figures that only the lessons draw: the pipeline, maps of embeddings, corpora.

Styled like :mod:`.report.figures`; each figure carries its finding in words. A class has the same
colour in every figure of the compendium. Lesson 04 has its own figures in :mod:`.triplets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..report.drawing.palette import CLASS_COLOURS, group_colours
from ..report.figures import WIDTH, add_legend, crop_sheet, describe, new_axes, new_grid, style
from .lessons import normalised_names, trained_elsewhere

CLASSES = ("real", "real", "fake", "fake")
"""Columns of :func:`class_sheet`."""
STEPS = (
    ("corpora", "01", "3.1"),
    ("crops", "02", "4.1"),
    ("sample", "03", "4.1"),
    ("pretrain", "03b", "3.2"),
    ("triplets", "04", "3.3"),
    ("train", "05", "4.3"),
    ("predict", "06", "3.4"),
    ("report", "07", "5"),
    ("embeddings", "08", "5.2"),
)
"""Step, notebook and section of the paper."""
_STEPS_PER_LINE = 3
_MARKERS = "os^DvPX*<>"


def flow_figure(current: str = "") -> Figure:
    """Draw the steps of the pipeline with notebook and section; ``current`` is filled."""
    with style():
        figure, axes = new_axes(WIDTH, 2.4)
        for number, (step, notebook, section) in enumerate(STEPS):
            line, x = divmod(number, _STEPS_PER_LINE)
            box = {
                "boxstyle": "round",
                "facecolor": "#f5d76e" if step == current else "white",
                "edgecolor": "0.4",
            }
            axes.text(x, -line, step, ha="center", va="center", bbox=box)
            axes.text(x, -line - 0.42, f"{notebook} · Section {section}", ha="center", va="center")
            if number + 1 < len(STEPS):
                arrow = {"arrowstyle": "->", "color": "0.4"}
                axes.annotate("", (x + 0.62, -line), (x + 0.38, -line), arrowprops=arrow)
        axes.set(xlim=(-0.5, _STEPS_PER_LINE - 0.35), ylim=(-2.6, 0.3))
        axes.set_axis_off()
        steps = [f"{step} (notebook {book}, Section {section})" for step, book, section in STEPS]
        return describe(figure, "The pipeline", f"{', '.join(steps)}.")


def map_figure(maps: Mapping[str, np.ndarray], groups: Sequence[str]) -> Figure:
    """Draw maps ``[N, 2]`` of the same N crops, one panel per network, coloured by ``groups``."""
    names = list(dict.fromkeys(groups))
    with style():
        height = 2.0 + 0.22 * -(-len(names) // _STEPS_PER_LINE)
        figure, (panels,) = new_grid(WIDTH, height, rows=1, columns=len(maps))
        for axes, (title, points) in zip(panels, maps.items(), strict=True):
            scatter_groups(axes, points, groups, markersize=3.5, alpha=0.7)
            axes.set(title=title, xticks=[], yticks=[])
        add_legend(figure, panels[0], columns=_STEPS_PER_LINE)
        sizes = pd.Series(list(groups)).value_counts()
        counts = ", ".join(f"{sizes[name]} of {name}" for name in names)
        return describe(figure, "Maps of embeddings", f"Crops in each panel: {counts}.")


def scatter_groups(axes: Axes, points: np.ndarray, groups: Sequence[str], **look: Any) -> None:
    """Draw points ``[N, 2]`` of each group with its own colour and marker."""
    group_of = np.asarray(groups)
    for number, (name, shade) in enumerate(group_colours(groups).items()):
        axes.plot(
            *points[group_of == name].T,
            _MARKERS[number % len(_MARKERS)],
            linestyle="none",
            color=shade,
            label=name,
            zorder=2,
            **look,
        )


def distance_figure(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw histograms of distances within a class and between classes, one panel per network.

    ``pairs``: by network, results of :func:`.teaching.lessons.pair_distances`.
    """
    with style():
        figure, (panels,) = new_grid(WIDTH, 2.4, rows=1, columns=len(pairs))
        for axes, (title, (within, between)) in zip(panels, pairs.items(), strict=True):
            bins = np.linspace(0, max(within.max(), between.max()), 40)
            axes.hist(within, bins, density=True, color="0.55", alpha=0.7, label="same class")
            axes.hist(
                between, bins, density=True, color="k", histtype="step", label="real and fake"
            )
            axes.set(title=title, yticks=[])
        panels[len(pairs) // 2].set_xlabel("distance / mean distance")
        add_legend(figure, panels[0])
        means = [
            f"{title} {within.mean():.2f} and {between.mean():.2f}"
            for title, (within, between) in pairs.items()
        ]
        finding = f"Mean within a class and of a real and a fake: {', '.join(means)}."
        return describe(figure, "Distances of pairs", finding)


def class_sheet(crops: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """Draw two real and two fake crops of each corpus, uint8 RGB ``[H, W, 3]``, below headings."""
    figure = crop_sheet(crops, columns=len(CLASSES))
    for axes, name in zip(figure.axes, CLASSES, strict=False):
        axes.set_title(name)
    return describe(figure, "Crops", f"Lines: {', '.join(crops)}.")


def manipulation_figure(index: pd.DataFrame, corpora: Sequence[str]) -> Figure:
    """Draw which corpus has which manipulation, one line per name whatever its spelling.

    Filled: fakes of it are in the corpus's training split. Hollow: only in its test split; ringed
    if another corpus trains on a manipulation of that name. ``index``: columns ``dataset,
    manipulation, label, split``.
    """
    fakes = index[index["label"] == 1]
    columns = {corpus: x for x, corpus in enumerate(corpora)}
    fakes = fakes.assign(order=fakes["dataset"].map(columns)).dropna(subset="order")
    fakes = fakes.assign(name=normalised_names(fakes["manipulation"]))
    spelling = fakes.sort_values(["order", "manipulation"]).drop_duplicates("name")
    lines = {name: y for y, name in enumerate(spelling["name"])}
    shared = trained_elsewhere(index, corpora)
    ringed = set(zip(shared["dataset"], shared["manipulation"], strict=True))
    with style():
        figure, axes = new_axes(WIDTH, 0.21 * len(lines) + 1.8)
        for (corpus, spelled, name), videos in fakes.groupby(["dataset", "manipulation", "name"]):
            trained = (videos["split"] == "train").any()
            _draw_dot(axes, columns[corpus], lines[name], trained, (corpus, spelled) in ringed)
        axes.set_xticks(range(len(corpora)), corpora, rotation=40, ha="right")
        axes.set_yticks(range(len(lines)), spelling["manipulation"])
        axes.invert_yaxis()
        for label, trained, ring in (
            ("trained on", True, False),
            ("tested in this corpus", False, False),
            ("tested here, trained elsewhere", False, True),
        ):
            _draw_dot(axes, np.nan, np.nan, trained, ring, label)
        figure.legend(loc="outside upper center", ncols=2)
        counts = fakes.groupby("dataset")["name"].nunique()
        finding = ", ".join(f"{corpus} {counts.get(corpus, 0)}" for corpus in corpora)
        return describe(figure, "Manipulations", f"Manipulations of each corpus: {finding}.")


def _draw_dot(
    axes: Axes, x: float, y: float, trained: bool, ringed: bool, label: str | None = None
) -> None:
    """Draw one dot of :func:`manipulation_figure`: filled or hollow, perhaps with a ring."""
    axes.plot(
        x,
        y,
        "o",
        markersize=9 if ringed else 6,
        color="black" if ringed else CLASS_COLOURS["fake"],
        markerfacecolor=CLASS_COLOURS["fake"] if trained else "white",
        markeredgewidth=2 if ringed else 1,
        label=label,
    )
