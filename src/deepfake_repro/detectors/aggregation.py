"""Scores of faces -> the score of a video, as different code bases do it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

FACES = ("all", "largest", "half", "surest")
"""Which faces of a frame count: ``half`` drops those below half the area of the largest (SBI)."""

CONFIDENT = 0.8
UNSUSPICIOUS = 0.2
FEW = 11
"""Of the confident strategy of the DFDC winner (MIT licence)."""


def select_faces(rule: str, areas: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the faces of one frame that count, bool ``[N]``.

    ``areas``: of their boxes; ``scores``: of the face detector.
    """
    if rule == "all" or len(areas) == 0:
        return np.ones(len(areas), bool)
    if rule == "half":
        return areas >= areas.max() / 2
    best = np.argmax(areas if rule == "largest" else scores)
    return np.arange(len(areas)) == best


def mean(frames: np.ndarray, scores: np.ndarray) -> float:
    """Average over all faces: the paper's rule (Section 4.3).

    Sorted as in ``metrics.video_scores``, so that the sum is the same to the last bit.
    """
    return float(np.mean(np.sort(scores)))


def frame_maximum(frames: np.ndarray, scores: np.ndarray) -> float:
    """Take the highest face of each frame, then average over frames: SBI's rule."""
    _, number = np.unique(frames, return_inverse=True)
    highest = np.zeros(number.max() + 1)
    np.maximum.at(highest, number, scores)
    return float(np.mean(np.sort(highest)))


def confident(frames: np.ndarray, scores: np.ndarray) -> float:
    """Average the confident faces only, where there are enough: the DFDC winner's rule.

    Faces above 0.8 alone count if they are more than 11 and two fifths of all; those below 0.2
    alone if they are more than nine tenths; else all count.
    """
    high = scores > CONFIDENT
    low = scores < UNSUSPICIOUS
    if high.sum() > len(scores) // 2.5 and high.sum() > FEW:
        return float(scores[high].mean())
    if low.sum() > 0.9 * len(scores):
        return float(scores[low].mean())
    return float(scores.mean())


AGGREGATIONS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mean": mean,
    "frame_max": frame_maximum,
    "confident": confident,
}
"""Rule -> function of frame numbers ``[N]`` and scores ``[N]`` of all faces of a video."""
