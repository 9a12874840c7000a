"""Whether a video resembles those that the detector was trained and evaluated on.

For any other video the score is meaningless, however high it is. The demo's detector, for example,
was trained on synthetic people only and scores most of ten unmanipulated videos of real people like
its fakes. Such a video gets no verdict: the report states the reason first, then the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..crops.store import Row
from ..project.params import root
from .model import Model

LEVEL = "0.99"
"""Quantile of the distances of validation crops beyond which faces count as unknown."""


def why_no_verdict(path: Path, crops: Sequence[Row], model: Model) -> str:
    """Say why a score must not be read as a verdict; empty if it may be.

    ``crops``: records of the video's faces with their ``distance`` from the training faces. A
    detector trained on miniatures gives verdicts only for the miniatures of its profile. Any other
    detector needs stored error rates and a median distance of at most the 99 % quantile of its
    validation crops.
    """
    if model.of_miniatures and not _is_miniature(path, model.profile):
        return (
            "this detector was trained on the demo alone, on synthetic people and home-made "
            "manipulations, and knows nothing of real faces or real deepfakes"
        )
    if model.calibration is None:
        return "no error rates are stored with this detector, so nobody knows what its score means"
    distances = [crop["distance"] for crop in crops if crop["distance"] is not None]
    if not distances:
        return ""
    median = float(np.median(distances))
    limit = model.calibration["embedding"]["quantiles"][LEVEL]
    if median > limit:
        return (
            "these faces are unlike those that the detector was trained and measured on (median "
            f"distance {median:.1f}; 99 % of its validation crops are below {limit:.1f})"
        )
    return ""


def _is_miniature(path: Path, profile: str) -> bool:
    """Return True for a file of the miniature corpora of ``profile``."""
    folder = (root() / "data" / "corpora" / profile).resolve()
    return path.resolve().is_relative_to(folder)
