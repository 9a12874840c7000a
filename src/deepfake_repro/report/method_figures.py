"""Figures of single methods: FSFM's pre-training, LNCLIP-DF's hypersphere and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.axes3d import Axes3D

from .drawing.palette import CLASS_COLOURS, FAMILY_COLOURS, family
from .figures import (
    WIDTH,
    add_legend,
    describe,
    freeze_layout,
    new_axes,
    new_grid,
    style,
    use_whole_ticks,
)

_PRETRAINING = {
    "masked": "hidden patches, $L_m$",
    "facial": "hidden region, $L_{fr}$",
    "similarity": "similarity, $L_{sim}$",
    "learning_rate": "learning rate",
}
_REGION_COLOURS = np.array(  # of LaPa's ids 0-10
    [
        (40, 40, 40),  # background
        (230, 180, 150),  # skin
        (90, 50, 20),  # left brow
        (90, 50, 20),  # right brow
        (60, 120, 220),  # left eye
        (60, 120, 220),  # right eye
        (240, 200, 40),  # nose
        (220, 40, 60),  # upper lip
        (120, 0, 30),  # inner mouth
        (220, 40, 60),  # lower lip
        (120, 80, 200),  # hair
    ],
    np.uint8,
)

_SHAPES = "o^sDv"


def pretraining_figure(history: pd.DataFrame) -> Figure:
    """Draw the three losses of FSFM's pre-training and its learning rate (Section 3.2).

    ``history`` as recorded by :class:`.training.loop.TrainingResult`.
    """
    with style():
        figure, grid = new_grid(WIDTH, 4.6, rows=2, columns=2)
        for axes, (column, title) in zip(grid.flat, _PRETRAINING.items(), strict=True):
            axes.plot(
                history["epoch"],
                history[column],
                marker="o",
                markersize=3,
                color=FAMILY_COLOURS["fsfm"],
            )
            axes.set(xlabel="epoch", ylabel=title)
            use_whole_ticks(axes)
        first, last = history.iloc[0], history.iloc[-1]
        finding = ", ".join(
            f"{column} from {first[column]:.3g} to {last[column]:.3g}"
            for column in _PRETRAINING
            if column != "learning_rate"
        )
        return describe(freeze_layout(figure), "Losses of the pre-training", f"{finding}.")


def region_picture(regions: np.ndarray) -> np.ndarray:
    """Colour the region ids ``[H, W]`` of a region map: RGB uint8 ``[H, W, 3]``."""
    return _REGION_COLOURS[regions]


def sphere_figure(clouds: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw unit features in three dimensions, one sphere per cloud (``[N, D]``, labels ``[N]``).

    Each cloud is projected on its own three leading directions (of the uncentred features) and then
    back onto the sphere.
    """
    with style():
        figure = Figure(figsize=(3.0 * len(clouds), 3.4), layout="constrained")
        for position, (name, (features, labels)) in enumerate(clouds.items(), start=1):
            axes: Axes3D = figure.add_subplot(1, len(clouds), position, projection="3d")
            _draw_sphere(axes, _on_sphere(features), labels)
            axes.set(title=name)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        lengths = ", ".join(
            f"{name} {np.linalg.norm(features.mean(0)):.2f}"
            for name, (features, _) in clouds.items()
        )
        finding = f"Length of the mean feature, 1 where all are one point: {lengths}."
        return describe(freeze_layout(figure), "Features on the sphere", finding)


def _draw_sphere(axes: Axes3D, points: np.ndarray, labels: np.ndarray) -> None:
    for label, (name, colour) in enumerate(CLASS_COLOURS.items()):
        axes.scatter(
            *points[labels == label].T, s=9, alpha=0.6, color=colour, label=name, depthshade=False
        )
    turn, rise = np.meshgrid(np.linspace(0, 2 * np.pi, 25), np.linspace(0, np.pi, 13))
    axes.plot_wireframe(
        np.cos(turn) * np.sin(rise),
        np.sin(turn) * np.sin(rise),
        np.cos(rise),
        color="0.85",
        linewidth=0.4,
    )
    axes.set_box_aspect((1, 1, 1), zoom=1.4)
    axes.view_init(elev=15, azim=25)  # the mean direction, the first axis, faces the reader
    axes.set_axis_off()


def _on_sphere(features: np.ndarray) -> np.ndarray:
    """Project ``[N, D]`` to unit vectors ``[N, 3]``; no coordinate has a negative mean."""
    directions = np.linalg.svd(features, full_matrices=False)[2][:3]
    points = features @ directions.T
    points *= np.where(points.mean(0) < 0, -1, 1)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def years_figure(figures: pd.DataFrame, methods: Mapping[str, str]) -> Figure:
    """Draw the published AUROC (percent) of benchmarks over their years, one colour per method.

    ``figures`` as returned by :func:`.report.benchmarks.published`; ``methods``: key -> name. All
    figures of a method on a benchmark are drawn, because their spread is informative.
    """
    with style():
        figure, axes = new_axes(WIDTH, 4.0)
        looks = _looks(list(methods))
        for number, (method, name) in enumerate(methods.items()):
            part = figures[figures["method"] == method]
            shift = 0.06 * (number - (len(methods) - 1) / 2)
            shade, shape = looks[method]
            years = part["year"] + shift
            axes.plot(years, part["auroc"], shape, markersize=5, color=shade, label=name)
        axes.set(xlabel="year of the benchmark", ylabel="AUROC (%)")
        use_whole_ticks(axes)
        add_legend(figure, axes, columns=3)
        finding = f"From {figures['auroc'].min():.1f} % to {figures['auroc'].max():.1f} %."
        return describe(freeze_layout(figure), "Published AUROC over years", finding)


def _looks(methods: list[str]) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each method: those of a release share a colour.

    SBI and LNCLIP-DF have the colours of their rows.
    """
    free = [name for name in FAMILY_COLOURS if name not in methods]
    shades: dict[str, str] = {}
    looks: dict[str, tuple[str, str]] = {}
    for method in methods:
        name = family(method) or method.partition("_")[0]
        if name not in shades:
            shades[name] = FAMILY_COLOURS.get(name) or FAMILY_COLOURS[free.pop(0)]
        taken = sum(shade == shades[name] for shade, _ in looks.values())
        looks[method] = (shades[name], _SHAPES[taken])
    return looks
