"""Crops of other code bases, written again from their published rules."""

from __future__ import annotations

import cv2
import numpy as np

GEND_TEMPLATE = ((0.34, 0.46), (0.66, 0.46), (0.5, 0.64), (0.37, 0.82), (0.63, 0.82))


def gend_align(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """GenD's published rule, scale 1.3: its own size, then the template moved by half a margin."""
    target = np.array(GEND_TEMPLATE, np.float32)
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    ratios = [
        np.hypot(*(landmarks[i] - landmarks[j])) / np.hypot(*(target[i] - target[j]))
        for i, j in pairs
    ]
    side = round(float(np.mean(ratios)) * 1.3)
    margin = side * 0.3 / 2
    target = (target * side + margin) * side / (side + 2 * margin)
    matrix, _ = cv2.estimateAffinePartial2D(landmarks, target, method=cv2.LMEDS)
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR)
