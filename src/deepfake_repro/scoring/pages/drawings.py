"""Drawings of a page: a score beside the validation videos, and scores over time."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...report.drawing.palette import CLASS_COLOURS
from ...report.figures import describe, description, style
from ..calibration import Calibration
from ..score import Scored

COLOURS = ("#0173b2", "#de8f05", "#029e73", "#cc78bc", "#ca9161", "#949494", "#56b4e9", "#222222")
"""Of the tracks that are shown."""
SHOWN_TRACKS = len(COLOURS)
POINTS = 400
"""Of a curve at most."""
WIDTH = 8.6  # inches
_ALONE = threading.Lock()
"""Matplotlib's settings are those of the whole process; files are scored in threads."""


class Drawing(NamedTuple):
    """An SVG as a ``data:`` address, and what it shows in words."""

    source: str
    words: str


def beside_validation(score: float, calibration: Calibration) -> Drawing:
    """Draw the score among those of the validation videos, one line each, and the thresholds."""
    with _ALONE, style():
        figure, axes = _axes(1.25)
        heights = {"real": 1, "fake": 0}
        for name, height in heights.items():
            axes.eventplot(
                calibration["scores"][name],
                lineoffsets=height,
                linelengths=0.7,
                colors=CLASS_COLOURS[name],
                alpha=0.6,
            )
        for point in calibration["points"].values():
            axes.axvline(point["threshold"], color="#666666", linestyle="--", linewidth=1)
        axes.plot(score, -0.75, marker="^", markersize=11, color="#222222", clip_on=False)
        axes.set_yticks(list(heights.values()), [f"{name}s" for name in heights])
        axes.set(xlim=(0, 1), ylim=(-0.8, 1.5), xlabel=f"score (this file: {score:.2f})")
        axes.grid(visible=False)
        words = f"this file has {score:.2f}"
        return _drawing(describe(figure, "Scores of the validation videos", words))


def over_time(scored: Scored, calibration: Calibration | None) -> Drawing:
    """Draw the score of each face over time, one curve per track, the longest ``SHOWN_TRACKS``."""
    with _ALONE, style():
        figure, axes = _axes(2.6)
        if calibration:
            threshold = calibration["points"]["balanced"]["threshold"]
            axes.axhline(threshold, color="#666666", linestyle="--", linewidth=1)
        for colour, track in zip(COLOURS, scored.tracks, strict=False):
            crops = [crop for crop in scored.crops if crop["track"] == track["track"]]
            points = highest_points([(time_of(crop), crop["p_fake"]) for crop in crops])
            times, scores = zip(*points, strict=True)
            axes.plot(times, scores, color=colour, marker="o", markersize=4)
        unit = "frame" if scored.crops[0]["seconds"] is None else "seconds"
        axes.set(ylim=(-0.03, 1.03), xlabel=unit, ylabel="score")
        words = f"{min(len(scored.tracks), SHOWN_TRACKS)} track(s)"
        return _drawing(describe(figure, "Score of each face over time", words))


def time_of(crop: Mapping[str, Any]) -> float:
    """Return the seconds of a face, or its frame's number where there is no clock."""
    return crop["frame"] if crop["seconds"] is None else crop["seconds"]


def highest_points(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Thin to at most ``POINTS`` points: the highest of each group of neighbours is kept."""
    step = -(-len(points) // POINTS)
    groups = [points[start : start + step] for start in range(0, len(points), step)]
    return [max(group, key=lambda point: point[1]) for group in groups]


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _drawing(figure: Figure) -> Drawing:
    memory = io.BytesIO()
    figure.savefig(memory, format="svg", metadata={"Date": None, "Creator": None})
    data = base64.b64encode(memory.getvalue()).decode()
    return Drawing(f"data:image/svg+xml;base64,{data}", description(figure))
