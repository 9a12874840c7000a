"""A schematic face."""

from __future__ import annotations

import numpy as np

from deepfake_repro.faces import landmarks


def round_face(size: int = 200) -> np.ndarray:
    """Make the 478 points of a schematic upright face, each polygon on its own ellipse."""
    points = np.full((478, 2), size / 2, np.float32)

    def ring(
        indices: tuple[int, ...], x: float, y: float, wide: float, high: float, start: float
    ) -> None:
        turn = start + 2 * np.pi * np.arange(len(indices)) / len(indices)
        ellipse = np.stack([x + wide * np.cos(turn), y + high * np.sin(turn)], 1)
        points[list(indices)] = ellipse * size

    ring(landmarks.OVAL, 0.5, 0.5, 0.3, 0.35, -np.pi / 2)  # from the top clockwise
    ring(landmarks.NOSE, 0.5, 0.5, 0.04, 0.08, -np.pi / 2)
    for indices, x, y, wide, high in (
        (landmarks.RIGHT_EYE, 0.38, 0.42, 0.06, 0.03),
        (landmarks.LEFT_EYE, 0.62, 0.42, 0.06, 0.03),
        (landmarks.RIGHT_BROW, 0.38, 0.33, 0.07, 0.02),
        (landmarks.LEFT_BROW, 0.62, 0.33, 0.07, 0.02),
    ):
        ring(indices, x, y, wide, high, 0.0)
    for indices, wide, high in ((landmarks.LIPS, 0.12, 0.06), (landmarks.INNER_LIPS, 0.08, 0.02)):
        # From the left corner along the bottom to the right one, and back along the top.
        turn = np.pi - np.pi * np.arange(20) / 10
        ellipse = np.stack([0.5 + wide * np.cos(turn), 0.68 + high * np.sin(turn)], 1)
        points[list(indices)] = ellipse * size
    return points
