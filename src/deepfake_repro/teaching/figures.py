"""Figures that only the lessons draw: triplets in the plane, maps of embeddings, corpora.

Styled like :mod:`.report.figures`. A class has the same colour and marker in every lesson.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from ..report.drawing.palette import PALETTE
from ..report.figures import crop_sheet, style
from ..training.losses import TRIPLET_LOSSES, active_fraction, distances, kind_of_triplet
from .lessons import normalised_names, trained_elsewhere

CLASSES = ("real", "real", "fake", "fake")
"""Columns of :func:`class_sheet`."""
REAL_COLOUR = "#3b6fb6"
FAKE_COLOUR = "#c8443c"
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
"""Step, notebook and section of the paper."""
_LOSS_COLOURS = {
    "batch_all": PALETTE[2],
    "hard_positive_hard_negative": PALETTE[3],
    "easy_positive_hard_negative": PALETTE[4],
}
_MARKERS = "os^DvPX*<>"


def flow_figure(current: str = "") -> Figure:
    """Draw the steps of the pipeline with notebook and section; ``current`` is filled."""
    with style():
        figure = Figure(figsize=(9.6, 1.1), layout="constrained")
        axes = figure.subplots()
        for x, (step, notebook, section) in enumerate(STEPS):
            box = {
                "boxstyle": "round",
                "facecolor": "#f5d76e" if step == current else "white",
                "edgecolor": "0.4",
            }
            axes.text(x, 0, step, ha="center", va="center", bbox=box, fontsize=9)
            label = f"notebook {notebook}\nSection {section}"
            axes.text(x, -1, label, ha="center", va="center", fontsize=8)
            arrow = {"arrowstyle": "->", "color": "0.4"}
            axes.annotate("", (x + 0.56, 0), (x + 0.44, 0), arrowprops=arrow)
        axes.set(xlim=(-0.6, len(STEPS) - 0.5), ylim=(-1.5, 0.5))
        axes.set_axis_off()
        return figure


def triplet_figure(negative_x: float, negative_y: float, margin: float) -> Figure:
    """Draw one triplet and its kind (Fig. 2): the anchor at (0, 0), the positive at (1, 0)."""
    with style():
        figure = Figure(figsize=(4.6, 4.2), layout="constrained")
        _draw_triplet(figure.subplots(), (negative_x, negative_y), margin)
        return figure


def kinds_figure(margin: float) -> Figure:
    """Draw Fig. 2 of the paper: a hard, a semi-hard and an easy triplet side by side."""
    xs = (-0.6, -1 - margin / 2, -1.3 - margin)
    with style():
        figure = Figure(figsize=(8.4, 3.2), layout="constrained")
        for axes, x in zip(figure.subplots(1, 3), xs, strict=True):
            _draw_triplet(axes, (x, 0.4), margin)
        return figure


def mining_figure(
    points: np.ndarray, labels: np.ndarray, margin: float, moved: int | None = None
) -> Figure:
    """Draw what BA, HP-HN and EP-HN do with one batch of embeddings ``[B, 2]``, labels ``[B]``.

    Lines are the pairs of the triplets in use: grey to positives, black dots to negatives. Arrows
    are minus the gradient: where a step of descent takes each point. ``moved``: the point to ring.
    """
    with style():
        figure = Figure(figsize=(9.6, 3.7), layout="constrained")
        grid = figure.subplots(1, 3, sharex=True, sharey=True)
        for axes, (loss, name) in zip(grid, LOSS_NAMES.items(), strict=True):
            value, step = _descent(points, labels, margin, loss)
            _draw_pairs(axes, points, working_triplets(points, labels, margin, loss), loss)
            _scatter_classes(axes, points, labels)
            axes.quiver(*points.T, *step.T, angles="xy", width=0.008, color="0.15", zorder=3)
            if moved is not None:
                axes.plot(*points[moved], "o", markersize=15, markerfacecolor="none", color="0.2")
            title = f"{name}: loss {value:.2f}"
            axes.set(title=title, aspect="equal", xlim=(-2.3, 3.3), ylim=(-2.3, 2.3))
        share = active_fraction(torch.as_tensor(points), torch.as_tensor(labels), margin)
        grid[1].set_xlabel(f"{share:.0%} of the valid triplets are active")
        grid[0].legend(loc="lower left")
        return figure


def _draw_pairs(
    axes: Axes, points: np.ndarray, triplets: Sequence[tuple[int, int, int]], loss: str
) -> None:
    alpha = 0.08 if loss == "batch_all" else 0.5
    for anchor, positive, negative in triplets:
        to_positive = points[[anchor, positive]].T
        to_negative = points[[anchor, negative]].T
        axes.plot(*to_positive, color="0.5", linewidth=1, alpha=alpha, zorder=1)
        axes.plot(*to_negative, ":k", linewidth=1, alpha=alpha, zorder=1)


def working_triplets(
    points: np.ndarray, labels: np.ndarray, margin: float, loss: str
) -> list[tuple[int, int, int]]:
    """List the triplets (anchor, positive, negative) of a batch that contribute to a loss.

    ``loss``: a key of ``TRIPLET_LOSSES``. BA uses all active triplets, the others at most one per
    anchor.
    """
    batch = range(len(points))
    distance = distances(torch.as_tensor(points)).numpy()
    triplets = []
    for anchor in batch:
        row = distance[anchor]
        positives = [j for j in batch if labels[j] == labels[anchor] and j != anchor]
        negatives = [k for k in batch if labels[k] != labels[anchor]]
        if loss != "batch_all" and positives and negatives:
            choose = max if loss.startswith("hard") else min
            positives = [choose(positives, key=row.__getitem__)]
            negatives = [min(negatives, key=row.__getitem__)]
        for positive in positives:
            for negative in negatives:
                if row[positive] - row[negative] + margin > 0:
                    triplets.append((anchor, positive, negative))
    return triplets


def toy_training_figure(histories: Mapping[str, pd.DataFrame], margin: float) -> Figure:
    """Draw the columns of :func:`.teaching.lessons.train_toy_network` over its steps.

    ``histories``: by key of ``TRIPLET_LOSSES``, in the colours of Table 3's rows; ``margin``: the
    loss of a collapsed network.
    """
    titles = {
        "loss": "triplet loss",
        "active": "share of active triplets",
        "distance": "mean distance",
    }
    with style():
        figure = Figure(figsize=(9.6, 2.9), layout="constrained")
        grid = figure.subplots(1, 3)
        for loss, history in histories.items():
            line = {"color": _LOSS_COLOURS[loss], "label": LOSS_NAMES[loss]}
            for axes, column in zip(grid, titles, strict=True):
                axes.plot(history["step"], history[column], **line)
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
    """Draw maps ``[N, 2]`` of the same N crops, one panel per network, coloured by ``groups``."""
    names = list(dict.fromkeys(groups))
    group_of = np.asarray(groups)
    with style():
        figure = Figure(figsize=(9.6, 3.4), layout="constrained")
        grid = np.atleast_1d(figure.subplots(1, len(maps)))
        for axes, (title, points) in zip(grid, maps.items(), strict=True):
            for number, name in enumerate(names):
                axes.plot(
                    *points[group_of == name].T,
                    _MARKERS[number % len(_MARKERS)],
                    linestyle="none",
                    markersize=3.5,
                    alpha=0.7,
                    color=_group_colour(name, number),
                    label=name,
                )
            axes.set(title=title, xticks=[], yticks=[])
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", markerscale=1.6)
        return figure


def distance_figure(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw histograms of distances within a class and between classes, one panel per network.

    ``pairs``: by network, results of :func:`.teaching.lessons.pair_distances`.
    """
    with style():
        figure = Figure(figsize=(9.6, 2.9), layout="constrained")
        grid = np.atleast_1d(figure.subplots(1, len(pairs), sharey=True))
        for axes, (title, (within, between)) in zip(grid, pairs.items(), strict=True):
            bins = np.linspace(0, max(within.max(), between.max()), 40)
            axes.hist(within, bins, density=True, color="0.55", alpha=0.7, label="same class")
            axes.hist(
                between, bins, density=True, color="k", histtype="step", label="real and fake"
            )
            axes.set(title=title, xlabel="distance / mean distance", yticks=[])
        figure.legend(*grid[-1].get_legend_handles_labels(), loc="outside right upper")
        return figure


def class_sheet(crops: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """Draw two real and two fake crops of each corpus, uint8 RGB ``[H, W, 3]``, below headings."""
    figure = crop_sheet(crops, columns=len(CLASSES))
    for axes, name in zip(figure.axes, CLASSES, strict=False):
        axes.set_title(name)
    return figure


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
        figure = Figure(figsize=(6.4, 0.21 * len(lines) + 1.4), layout="constrained")
        axes = figure.subplots()
        for (corpus, spelled, name), videos in fakes.groupby(["dataset", "manipulation", "name"]):
            trained = (videos["split"] == "train").any()
            _draw_dot(axes, columns[corpus], lines[name], trained, (corpus, spelled) in ringed)
        axes.set_xticks(range(len(corpora)), corpora, rotation=40, ha="right")
        axes.set_yticks(range(len(lines)), spelling["manipulation"], fontsize=8)
        axes.invert_yaxis()
        for label, trained, ring in (
            ("trained on", True, False),
            ("tested in this corpus", False, False),
            ("tested here, trained elsewhere", False, True),
        ):
            _draw_dot(axes, np.nan, np.nan, trained, ring, label)
        figure.legend(loc="outside upper center", ncols=3, fontsize=8)
        return figure


def _draw_dot(
    axes: Axes, x: float, y: float, trained: bool, ringed: bool, label: str | None = None
) -> None:
    """Draw one dot of :func:`manipulation_figure`: filled or hollow, perhaps with a ring."""
    axes.plot(
        x,
        y,
        "o",
        markersize=9 if ringed else 6,
        color="black" if ringed else FAKE_COLOUR,
        markerfacecolor=FAKE_COLOUR if trained else "white",
        markeredgewidth=2 if ringed else 1,
        label=label,
    )


def _draw_triplet(axes: Axes, negative: tuple[float, float], margin: float) -> None:
    """Draw a triplet and the zones around its anchor.

    Hard: within the positive's distance; semi-hard: in the ring of width ``margin``; easy: outside.
    """
    d_an = float(np.hypot(*negative))
    for radius, kind in ((9, "easy"), (1 + margin, "semi-hard"), (1, "hard")):
        axes.add_patch(
            Circle((0, 0), radius, facecolor=KIND_COLOURS[kind], edgecolor="0.6", linewidth=0.8)
        )
    for (x, y), name, colour in (
        ((0, 0), "anchor", REAL_COLOUR),
        ((1, 0), "positive", REAL_COLOUR),
        (negative, "negative", FAKE_COLOUR),
    ):
        axes.plot([0, x], [0, y], color=colour, linewidth=1)
        axes.plot(x, y, "s" if colour == FAKE_COLOUR else "o", color=colour)
        axes.annotate(
            name,
            (x, y),
            xytext=(-5, -12) if name == "anchor" else (5, 5),
            ha="right" if name == "anchor" else "left",
            textcoords="offset points",
            fontsize=8,
        )
    for y, kind in ((-0.8, "hard"), (-1 - margin / 2, "semi-hard"), (-2.7, "easy")):
        if kind != "semi-hard" or margin >= 0.3:
            axes.text(0, y, kind, ha="center", va="center", fontsize=8, style="italic")
    loss = max(1 - d_an + margin, 0)
    axes.set(
        title=f"{kind_of_triplet(1.0, d_an, margin)}: loss {loss:.2f}",
        aspect="equal",
        xlim=(-3, 3),
        ylim=(-3, 3),
        xlabel=f"$D_{{an}}$ = {d_an:.2f},  $D_{{ap}}$ = 1,  m = {margin:g}",
    )
    axes.grid(visible=False)


def _descent(
    points: np.ndarray, labels: np.ndarray, margin: float, loss: str
) -> tuple[float, np.ndarray]:
    """Return the loss of a batch and minus its gradient by each point ``[B, 2]``."""
    variables = torch.tensor(points, requires_grad=True)
    value = TRIPLET_LOSSES[loss](variables, torch.as_tensor(labels), margin)
    (gradient,) = torch.autograd.grad(value, variables)
    return value.item(), -gradient.numpy()


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
    """Return the colour of a group: real and fake have their own, others Matplotlib's cycle."""
    return {"real": REAL_COLOUR, "fake": FAKE_COLOUR}.get(name, f"C{number % 10}")
