"""Figures of single methods: what pre-training masks and paints, the hypersphere, benchmarks over the years."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .figures import COLOURS, PALETTE, canvas, settled, style

_PRETRAINING = {
    "masked": "hidden patches, $L_m$",
    "facial": "hidden region, $L_{fr}$",
    "similarity": "similarity, $L_{sim}$",
    "learning_rate": "learning rate",
}
# LaPa ids 0-10: background, skin, two brows, two eyes, nose, upper lip, inner mouth, lower lip,
# hair.
_REGION_COLOURS = np.array(
    [
        (40, 40, 40),
        (230, 180, 150),
        (90, 50, 20),
        (90, 50, 20),
        (60, 120, 220),
        (60, 120, 220),
        (240, 200, 40),
        (220, 40, 60),
        (120, 0, 30),
        (220, 40, 60),
        (120, 80, 200),
    ],
    np.uint8,
)


def pretraining_figure(history: pd.DataFrame) -> Figure:
    """The three losses of FSFM's pre-training and the learning rate over epochs (Section 3.2).

    ``history`` as of :class:`.methods.fsfm.recipe.PretrainFit`.
    """
    with style():
        figure, grid = canvas(7.2, 5.0, rows=2, columns=2)
        for axes, (column, title) in zip(grid.flat, _PRETRAINING.items(), strict=True):
            axes.plot(
                history["epoch"], history[column], marker="o", markersize=3, color=COLOURS["fsfm"]
            )
            axes.set(xlabel="epoch", ylabel=title)
            axes.xaxis.get_major_locator().set_params(integer=True)
        return settled(figure)


def region_picture(regions: np.ndarray) -> np.ndarray:
    """Region ids ``[H, W]`` of :func:`.methods.fsfm.masks.region_map` as colours, RGB uint8 ``[H, W, 3]``."""
    return _REGION_COLOURS[regions]


def sphere_figure(clouds: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Unit features seen in three dimensions, one sphere for each named cloud (``[N, D]``, labels ``[N]``).

    Each cloud is projected on its own three leading directions (of the uncentred features) and put
    back on the sphere.
    """
    with style():
        figure = Figure(figsize=(3.6 * len(clouds), 3.6), layout="constrained")
        for place, (name, (features, labels)) in enumerate(clouds.items(), start=1):
            axes = figure.add_subplot(1, len(clouds), place, projection="3d")
            points = _on_sphere(features)
            for label, (what, colour) in enumerate((("real", PALETTE[0]), ("fake", PALETTE[1]))):
                axes.scatter(
                    *points[labels == label].T,
                    s=9,
                    alpha=0.6,
                    color=colour,
                    label=what,
                    depthshade=False,
                )
            turn, rise = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
            axes.plot_wireframe(
                np.cos(turn) * np.sin(rise),
                np.sin(turn) * np.sin(rise),
                np.cos(rise),
                color="0.85",
                linewidth=0.4,
            )
            axes.set(title=name)
            axes.set_box_aspect((1, 1, 1), zoom=1.4)
            axes.view_init(elev=15, azim=25)  # the mean direction, the first axis, faces the reader
            axes.set_axis_off()
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return settled(figure)


def _on_sphere(features: np.ndarray) -> np.ndarray:
    """``[N, D]`` -> ``[N, 3]`` of length one; each direction's sign is such that its mean is not negative."""
    directions = np.linalg.svd(features, full_matrices=False)[2][:3]
    points = features @ directions.T
    points *= np.where(points.mean(0) < 0, -1, 1)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def years_figure(figures: pd.DataFrame, methods: Mapping[str, str]) -> Figure:
    """Published AUROC (percent) of each benchmark over its year, one colour for each of ``methods`` (key -> name).

    ``figures`` as of :func:`.report.benchmarks.published`; several figures of one method and
    benchmark are all drawn: their spread is a finding too.
    """
    with style():
        figure, axes = canvas(7.2, 3.8)
        for number, (method, name) in enumerate(methods.items()):
            part = figures[figures["method"] == method]
            shift = 0.06 * (number - (len(methods) - 1) / 2)
            axes.plot(
                part["year"] + shift,
                part["auroc"],
                "o",
                markersize=4,
                color=PALETTE[number],
                label=name,
            )
        axes.set(xlabel="year of the benchmark", ylabel="AUROC (%)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(loc="outside right upper")
        return settled(figure)
