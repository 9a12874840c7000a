"""An annotated copy of a video: the faces' boxes and scores, and each detector's score so far."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...crops.store import Row
from ...detectors.aggregation import AGGREGATIONS
from ...project.files import replacing
from ..inputs import opened
from ..pages.drawings import COLOURS
from ..pages.pictures import rgb
from ..results import Result
from ..score import Limits
from .guarded import guarded
from .writing import Seen, save_annotated


def annotate(path: Path, results: Sequence[Result], out: Path, limits: Limits) -> None:
    """Write the copy to ``out``, an MP4 without sound.

    The boxes are those of the first detector with a score, in the colours of its page. Raises
    ``ValueError`` for a photograph, for a video without a face and where the copy cannot be made.
    """
    scored = [result for result in results if result.scored.p_fake is not None]
    if not scored or scored[0].scored.crops[0]["seconds"] is None:
        raise ValueError("no annotated copy: not a video with a face")
    captions = [caption(result) for result in scored]
    with opened(path, out.parent) as (row, root), replacing(out) as temporary:
        guarded(
            limits.seconds,
            save_annotated,
            root / row["path"],
            temporary,
            tracks(scored[0]),
            captions,
        )


def tracks(result: Result) -> list[Seen]:
    """Collect the tracks that the page shows, as they are drawn."""
    seen = []
    for colour, track in zip(COLOURS, result.scored.tracks, strict=False):
        crops = [crop for crop in result.scored.crops if crop["track"] == track["track"]]
        seen.append(
            Seen(
                np.array([crop["seconds"] for crop in crops]),
                np.array([crop["box"] for crop in crops], float),
                np.array([crop["p_fake"] for crop in crops]),
                rgb(colour),
            )
        )
    return seen


def caption(result: Result) -> list[tuple[float, str]]:
    """Say from which second on a detector's score so far is what, by its own rule."""
    rule = AGGREGATIONS[result.model.recipe.aggregation]
    crops: list[Row] = result.scored.crops
    frames = np.array([crop["frame"] for crop in crops])
    scores = np.array([crop["p_fake"] for crop in crops])
    note = "" if result.leaning else " (no verdict)"
    lines = []
    for frame in np.unique(frames):
        so_far = frames <= frame
        begin = next(crop["seconds"] for crop in crops if crop["frame"] == frame)
        score = rule(frames[so_far], scores[so_far])
        lines.append((float(begin), f"{result.detector}: {score:.2f} so far{note}"))
    return lines
