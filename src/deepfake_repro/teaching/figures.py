"""Figures that only the lessons draw: triplets in two dimensions, maps of embeddings, what a corpus holds.

In the style of :mod:`.report.figures`. A class has the same colour and the same marker in every
lesson.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from ..report.figures import COLOURS, style
from ..training.losses import TRIPLET_LOSSES, active_fraction, distances, kind_of_triplet

REAL_COLOUR, FAKE_COLOUR = "#3b6fb6", "#c8443c"
KIND_COLOURS = {"hard": "#f4c7c3", "semi-hard": "#fbe8b8", "easy": "#d5ead0"}
LOSS_NAMES = {
    "batch_all": "BA",
    "hard_positive_hard_negative": "HP-HN",
    "easy_positive_hard_negative": "EP-HN",
}
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
_LOSS_COLOURS = {
    "batch_all": COLOURS["fsfm_ba"],
    "hard_positive_hard_negative": COLOURS["fsfm_hphn"],
    "easy_positive_hard_negative": COLOURS["fsfm_ephn"],
}
_MARKERS = "os^DvPX*<>"


def flow_figure(here: str = "") -> Figure:
    """The road through the notebooks, step by step with notebook and section of the paper; ``here`` is filled."""
    with style():
        figure = Figure(figsize=(9.6, 1.1), layout="constrained")
        axes = figure.subplots()
        for place, (step, notebook, section) in enumerate(STEPS):
            box = {
                "boxstyle": "round",
                "facecolor": "#f5d76e" if step == here else "white",
                "edgecolor": "0.4",
            }
            axes.text(place, 0, step, ha="center", va="center", bbox=box, fontsize=9)
            axes.text(
                place,
                -1,
                f"notebook {notebook}\nSection {section}",
                ha="center",
                va="center",
                fontsize=8,
            )
            axes.annotate(
                "",
                (place + 0.56, 0),
                (place + 0.44, 0),
                arrowprops={"arrowstyle": "->", "color": "0.4"},
            )
        axes.set(xlim=(-0.6, len(STEPS) - 0.5), ylim=(-1.5, 0.5))
        axes.set_axis_off()
        return figure


def triplet_figure(negative_x: float, negative_y: float, margin: float) -> Figure:
    """One triplet in the plane and what it is (Fig. 2): the anchor at (0, 0), the positive at (1, 0)."""
    with style():
        figure = Figure(figsize=(4.6, 4.2), layout="constrained")
        _draw_triplet(figure.subplots(), (negative_x, negative_y), margin)
        return figure


def kinds_figure(margin: float) -> Figure:
    """Fig. 2 of the paper: a hard, a semi-hard and an easy triplet side by side."""
    with style():
        figure = Figure(figsize=(8.4, 3.2), layout="constrained")
        for axes, x in zip(
            figure.subplots(1, 3), (-0.6, -1 - margin / 2, -1.3 - margin), strict=True
        ):
            _draw_triplet(axes, (x, 0.4), margin)
        return figure


def mining_figure(
    points: np.ndarray, labels: np.ndarray, margin: float, moved: int | None = None
) -> Figure:
    """What BA, HP-HN and EP-HN do with one batch of embeddings ``[B, 2]``, labels 0 real / 1 fake ``[B]``.

    Lines: the pairs in the triplets at work, grey to positives and black dots to negatives. Arrows:
    minus the gradient, where a step of descent takes each point. ``moved``: the point to ring.
    """
    with style():
        figure = Figure(figsize=(9.6, 3.7), layout="constrained")
        grid = figure.subplots(1, 3, sharex=True, sharey=True)
        for axes, (key, name) in zip(grid, LOSS_NAMES.items(), strict=True):
            value, step = _descent(points, labels, margin, key)
            for anchor, positive, negative in working_triplets(points, labels, margin, key):
                faint = 0.08 if key == "batch_all" else 0.5
                axes.plot(
                    *points[[anchor, positive]].T, color="0.5", linewidth=1, alpha=faint, zorder=1
                )
                axes.plot(*points[[anchor, negative]].T, ":k", linewidth=1, alpha=faint, zorder=1)
            _scatter_classes(axes, points, labels)
            axes.quiver(*points.T, *step.T, angles="xy", width=0.008, color="0.15", zorder=3)
            if moved is not None:
                axes.plot(*points[moved], "o", markersize=15, markerfacecolor="none", color="0.2")
            axes.set(
                title=f"{name}: loss {value:.2f}",
                aspect="equal",
                xlim=(-2.3, 3.3),
                ylim=(-2.3, 2.3),
            )
        share = active_fraction(torch.as_tensor(points), torch.as_tensor(labels), margin)
        grid[1].set_xlabel(f"{share:.0%} of the valid triplets are active")
        grid[0].legend(loc="lower left")
        return figure


def working_triplets(
    points: np.ndarray, labels: np.ndarray, margin: float, loss: str
) -> list[tuple[int, int, int]]:
    """Triplets (anchor, positive, negative) with a loss above zero that ``loss`` chooses from the batch.

    ``loss``: a key of ``TRIPLET_LOSSES``; BA takes all active triplets, the others at most one an anchor.
    """
    found = []
    distance = distances(torch.as_tensor(points))
    for anchor in range(len(points)):
        positives = [j for j in range(len(points)) if labels[j] == labels[anchor] and j != anchor]
        negatives = [k for k in range(len(points)) if labels[k] != labels[anchor]]
        if loss != "batch_all" and positives and negatives:
            choose = max if loss.startswith("hard") else min
            positives = [choose(positives, key=lambda j, row=distance[anchor]: float(row[j]))]
            negatives = [min(negatives, key=lambda k, row=distance[anchor]: float(row[k]))]
        found += [
            (anchor, j, k)
            for j in positives
            for k in negatives
            if distance[anchor, j] - distance[anchor, k] + margin > 0
        ]
    return found


def walk_figure(walks: Mapping[str, pd.DataFrame], margin: float) -> Figure:
    """Loss, share of active triplets and mean distance over the steps of :func:`.teaching.lessons.walk`.

    ``walks``: by key of ``TRIPLET_LOSSES``, in the colour of its row of Table 3; ``margin``: where a collapse ends.
    """
    titles = {
        "loss": "triplet loss",
        "active": "share of active triplets",
        "distance": "mean distance",
    }
    with style():
        figure = Figure(figsize=(9.6, 2.9), layout="constrained")
        grid = figure.subplots(1, 3)
        for key, steps in walks.items():
            for axes, column in zip(grid, titles, strict=True):
                axes.plot(
                    steps["step"], steps[column], color=_LOSS_COLOURS[key], label=LOSS_NAMES[key]
                )
        for axes, title in zip(grid, titles.values(), strict=True):
            axes.set(xlabel="step", ylabel=title)
        grid[0].axhline(margin, color="0.3", linestyle=":", linewidth=1)
        grid[0].annotate(
            "margin",
            (1, margin),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 5),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right upper")
        return figure


def map_figure(maps: Mapping[str, np.ndarray], groups: Sequence[str]) -> Figure:
    """Maps ``[N, 2]`` of the same N crops by several networks, a panel each, coloured by ``groups`` ``[N]``."""
    names, groups = list(dict.fromkeys(groups)), np.asarray(groups)
    with style():
        figure = Figure(figsize=(9.6, 3.4), layout="constrained")
        grid = np.atleast_1d(figure.subplots(1, len(maps)))
        for axes, (title, places) in zip(grid, maps.items(), strict=True):
            for number, name in enumerate(names):
                chosen = places[groups == name]
                axes.plot(
                    *chosen.T,
                    _MARKERS[number % len(_MARKERS)],
                    linestyle="none",
                    markersize=3.5,
                    alpha=0.7,
                    color=_group_colour(name, number),
                    label=name,
                )
            axes.set(title=title, xticks=[], yticks=[])
        figure.legend(
            *grid[0].get_legend_handles_labels(), loc="outside right upper", markerscale=1.6
        )
        return figure


def distance_figure(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Histograms of distances within a class and between the classes, a panel a network, in units of their mean."""
    with style():
        figure = Figure(figsize=(9.6, 2.9), layout="constrained")
        for axes, (title, (within, between)) in zip(
            np.atleast_1d(figure.subplots(1, len(pairs), sharey=True)), pairs.items(), strict=True
        ):
            bins = np.linspace(0, max(within.max(), between.max()), 40)
            axes.hist(within, bins, density=True, color="0.55", alpha=0.7, label="same class")
            axes.hist(
                between, bins, density=True, color="k", histtype="step", label="real and fake"
            )
            axes.set(title=title, xlabel="distance / mean distance", yticks=[])
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
        return figure


def manipulation_figure(index: pd.DataFrame, corpora: Sequence[str]) -> Figure:
    """Which corpus holds which manipulation: filled where it is trained on, hollow where it is only tested.

    ``index`` with ``dataset, manipulation, label, split``; names as in the corpora.
    """
    fakes = index[index["label"] == 1]
    first = fakes.assign(order=fakes["dataset"].map(list(corpora).index)).sort_values(
        ["order", "manipulation"]
    )
    names = list(dict.fromkeys(first["manipulation"]))
    with style():
        figure = Figure(figsize=(5.6, 0.17 * len(names) + 1.2), layout="constrained")
        axes = figure.subplots()
        for (corpus, name), videos in fakes.groupby(["dataset", "manipulation"]):
            trained = (videos["split"] == "train").any()
            axes.plot(
                list(corpora).index(corpus),
                names.index(name),
                "o",
                markersize=6,
                color=FAKE_COLOUR,
                markerfacecolor=FAKE_COLOUR if trained else "white",
            )
        axes.set_xticks(range(len(corpora)), corpora, rotation=40, ha="right")
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.invert_yaxis()
        return figure


def _draw_triplet(axes: Axes, negative: tuple[float, float], margin: float) -> None:
    """The anchor's surroundings: hard within the positive's distance, semi-hard in the ring of width ``margin``."""
    to_negative = float(np.hypot(*negative))
    for radius, kind in ((9, "easy"), (1 + margin, "semi-hard"), (1, "hard")):
        axes.add_patch(
            Circle((0, 0), radius, facecolor=KIND_COLOURS[kind], edgecolor="0.6", linewidth=0.8)
        )
    for place, name, colour in (
        ((0, 0), "anchor", REAL_COLOUR),
        ((1, 0), "positive", REAL_COLOUR),
        (negative, "negative", FAKE_COLOUR),
    ):
        axes.plot([0, place[0]], [0, place[1]], color=colour, linewidth=1)
        axes.plot(*place, "s" if colour == FAKE_COLOUR else "o", color=colour)
        axes.annotate(name, place, xytext=(4, 5), textcoords="offset points", fontsize=8)
    loss = max(1 - to_negative + margin, 0)
    axes.set(
        title=f"{kind_of_triplet(1.0, to_negative, margin)}: loss {loss:.2f}",
        aspect="equal",
        xlim=(-3, 3),
        ylim=(-3, 3),
        xlabel=f"$D_{{an}}$ = {to_negative:.2f},  $D_{{ap}}$ = 1,  m = {margin:g}",
    )
    axes.grid(visible=False)


def _descent(
    points: np.ndarray, labels: np.ndarray, margin: float, loss: str
) -> tuple[float, np.ndarray]:
    """The loss of a batch and minus its gradient by each point ``[B, 2]``."""
    moving = torch.tensor(points, requires_grad=True)
    value = TRIPLET_LOSSES[loss](moving, torch.as_tensor(labels), margin)
    value.backward()
    return value.item(), -moving.grad.numpy()


def _scatter_classes(axes: Axes, points: np.ndarray, labels: np.ndarray) -> None:
    for label, name in enumerate(("real", "fake")):
        axes.plot(
            *points[labels == label].T,
            _MARKERS[label],
            linestyle="none",
            color=_group_colour(name, label),
            label=name,
            zorder=2,
        )


def _group_colour(name: str, number: int) -> str:
    """Real and fake keep their colours; other groups take Matplotlib's cycle, away from those two."""
    return {"real": REAL_COLOUR, "fake": FAKE_COLOUR}.get(name, f"C{number % 10}")
