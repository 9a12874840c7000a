"""Lesson 04: triplets in the plane, what each loss does with a batch, a toy training.

Styled like :mod:`.report.figures`; each figure carries its finding in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from ..report.drawing.palette import CLASS_COLOURS, PALETTE
from ..report.figures import WIDTH, add_legend, describe, new_axes, new_grid, style
from ..training.losses import TRIPLET_LOSSES, active_fraction, distances, kind_of_triplet
from .figures import scatter_groups

KIND_COLOURS = {"hard": "#f4c7c3", "semi-hard": "#fbe8b8", "easy": "#d5ead0"}
LOSS_NAMES = {
    "batch_all": "BA",
    "hard_positive_hard_negative": "HP-HN",
    "easy_positive_hard_negative": "EP-HN",
}
_LOSS_COLOURS = {
    "batch_all": PALETTE[2],
    "hard_positive_hard_negative": PALETTE[3],
    "easy_positive_hard_negative": PALETTE[4],
}
_TOY_TITLES = {"loss": "triplet loss", "active": "active triplets", "distance": "mean distance"}


def triplet_figure(negative_x: float, negative_y: float, margin: float) -> Figure:
    """Draw one triplet and its kind (Fig. 2): the anchor at (0, 0), the positive at (1, 0)."""
    with style():
        figure, axes = new_axes(4.6, 4.2)
        _draw_triplet(axes, (negative_x, negative_y), margin)
        for (x, y), name in (
            ((0, 0), "anchor"),
            ((1, 0), "positive"),
            ((negative_x, negative_y), "negative"),
        ):
            axes.annotate(
                name,
                (x, y),
                xytext=(-5, -12) if name == "anchor" else (5, 5),
                ha="right" if name == "anchor" else "left",
                textcoords="offset points",
            )
        axes.set_xlabel(f"{axes.get_xlabel()},  $D_{{ap}}$ = 1,  m = {margin:g}")
        return describe(figure, "A triplet", f"{axes.get_title().capitalize()}.")


def kinds_figure(margin: float) -> Figure:
    """Draw Fig. 2 of the paper: a hard, a semi-hard and an easy triplet side by side."""
    xs = (-0.6, -1 - margin / 2, -1.3 - margin)
    with style():
        figure, (panels,) = new_grid(WIDTH, 2.9, rows=1, columns=len(xs))
        for axes, x in zip(panels, xs, strict=True):
            _draw_triplet(axes, (x, 0.4), margin)
        add_legend(figure, panels[0])
        titles = ", ".join(axes.get_title() for axes in panels)
        return describe(figure, "Three kinds of triplets", f"{titles.capitalize()}.")


def mining_figure(
    points: np.ndarray, labels: np.ndarray, margin: float, moved: int | None = None
) -> Figure:
    """Draw what BA, HP-HN and EP-HN do with one batch of embeddings ``[B, 2]``, labels ``[B]``.

    Lines are the pairs of the triplets in use: grey to positives, black dots to negatives. Arrows
    are minus the gradient: where a step of descent takes each point. ``moved``: the point to ring.
    """
    groups = np.where(labels == 0, "real", "fake").tolist()
    with style():
        figure, (panels,) = new_grid(WIDTH, 2.8, rows=1, columns=len(LOSS_NAMES))
        for axes, (loss, name) in zip(panels, LOSS_NAMES.items(), strict=True):
            value, step = _descent(points, labels, margin, loss)
            _draw_pairs(axes, points, working_triplets(points, labels, margin, loss), loss)
            scatter_groups(axes, points, groups, markersize=5)
            axes.quiver(*points.T, *step.T, angles="xy", width=0.012, color="0.15", zorder=3)
            if moved is not None:
                axes.plot(*points[moved], "o", markersize=13, markerfacecolor="none", color="0.2")
            axes.set(title=f"{name}: loss {value:.2f}", aspect="equal")
            axes.set(xlim=(-2.3, 3.3), ylim=(-2.3, 2.3), xticks=[-2, 0, 2], yticks=[-2, 0, 2])
        share = active_fraction(torch.as_tensor(points), torch.as_tensor(labels), margin)
        words = f"{share:.0%} of the valid triplets are active"
        panels[1].set_xlabel(words)
        add_legend(figure, panels[0])
        titles = ", ".join(axes.get_title() for axes in panels)
        return describe(figure, "Triplets in use", f"{titles}; {words}.")


def toy_training_figure(histories: Mapping[str, pd.DataFrame], margin: float) -> Figure:
    """Draw the columns of :func:`train_toy_network` over its steps.

    ``histories``: by key of ``TRIPLET_LOSSES``, in the colours of Table 3's rows; ``margin``: the
    loss of a collapsed network.
    """
    with style():
        figure, (panels,) = new_grid(WIDTH, 2.4, rows=1, columns=len(_TOY_TITLES))
        for loss, history in histories.items():
            line = {"color": _LOSS_COLOURS[loss], "label": LOSS_NAMES[loss]}
            for axes, column in zip(panels, _TOY_TITLES, strict=True):
                axes.plot(history["step"], history[column], **line)
        for axes, title in zip(panels, _TOY_TITLES.values(), strict=True):
            axes.set(xlabel="step", title=title)
        panels[0].axhline(margin, color="0.3", linestyle=":", linewidth=1, label="margin")
        add_legend(figure, panels[0], columns=4)
        last = {LOSS_NAMES[loss]: history.iloc[-1] for loss, history in histories.items()}
        endings = [
            f"{name} loss {end['loss']:.2f}, {end['active']:.0%} active, "
            f"mean distance {end['distance']:.2f}"
            for name, end in last.items()
        ]
        return describe(figure, "A toy training", f"At the end: {'; '.join(endings)}.")


def train_toy_network(
    points: np.ndarray, labels: np.ndarray, loss: str, margin: float, steps: int = 120
) -> pd.DataFrame:
    """Train a small network (2 -> 16 -> 2) on one batch with a triplet loss alone (Section 3.3.1).

    ``loss``: a key of ``TRIPLET_LOSSES``. Returns the columns ``step, loss, active, distance`` (the
    mean distance of two embeddings). The same arguments give the same result.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)
        )
    optimiser = torch.optim.Adam(network.parameters(), lr=0.03)
    inputs = torch.as_tensor(points)
    targets = torch.as_tensor(labels)
    rows = []
    for step in range(steps):
        embeddings = network(inputs)
        value = TRIPLET_LOSSES[loss](embeddings, targets, margin)
        active = active_fraction(embeddings, targets, margin)
        rows.append((step, value.item(), active.item(), distances(embeddings).mean().item()))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    return pd.DataFrame(rows, columns=["step", "loss", "active", "distance"])


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


def _draw_triplet(axes: Axes, negative: tuple[float, float], margin: float) -> None:
    """Draw a triplet and the zones around its anchor.

    Hard: within the positive's distance; semi-hard: in the ring of width ``margin``; easy: outside.
    """
    d_an = float(np.hypot(*negative))
    real, fake = CLASS_COLOURS["real"], CLASS_COLOURS["fake"]
    for radius, kind in ((9, "easy"), (1 + margin, "semi-hard"), (1, "hard")):
        axes.add_patch(
            Circle((0, 0), radius, facecolor=KIND_COLOURS[kind], edgecolor="0.6", linewidth=0.8)
        )
    axes.plot([0, 1], [0, 0], "o-", color=real, linewidth=1, label="anchor, positive")
    axes.plot([0, negative[0]], [0, negative[1]], color=fake, linewidth=1)
    axes.plot(*negative, "s", color=fake, label="negative")
    for y, kind in ((-0.8, "hard"), (-1 - margin / 2, "semi-hard"), (-2.7, "easy")):
        if kind != "semi-hard" or margin >= 0.3:
            axes.text(0, y, kind, ha="center", va="center", style="italic")
    loss = max(1 - d_an + margin, 0)
    axes.set(
        title=f"{kind_of_triplet(1.0, d_an, margin)}: loss {loss:.2f}",
        aspect="equal",
        xlim=(-3, 3),
        ylim=(-3, 3),
        xlabel=f"$D_{{an}}$ = {d_an:.2f}",
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


def _draw_pairs(
    axes: Axes, points: np.ndarray, triplets: Sequence[tuple[int, int, int]], loss: str
) -> None:
    alpha = 0.08 if loss == "batch_all" else 0.5
    for anchor, positive, negative in triplets:
        to_positive = points[[anchor, positive]].T
        to_negative = points[[anchor, negative]].T
        axes.plot(*to_positive, color="0.5", linewidth=1, alpha=alpha, zorder=1)
        axes.plot(*to_negative, ":k", linewidth=1, alpha=alpha, zorder=1)
