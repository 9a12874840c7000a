"""Face regions made from landmarks, in the format of a face-parsing network."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .landmarks import INNER_LIPS, LEFT_BROW, LEFT_EYE, LIPS, NOSE, OVAL, RIGHT_BROW, RIGHT_EYE

# Region ids of the LaPa parsing sets, which FSFM's maps use.
BACKGROUND = 0
SKIN = 1
BROWS = (2, 3)  # right, left
EYES = (4, 5)  # right, left
NOSE_REGION = 6
MOUTH = (7, 8, 9)  # upper lip, inner mouth, lower lip
INNER_MOUTH = 8
HAIR = 10

_CROWN = 1.3  # extent of the band above the face, in multiples of the oval

RegionParser = Callable[[np.ndarray], np.ndarray]
"""RGB uint8 [H, W, 3] -> region ids int8 [H, W]; may also be a face-parsing network."""


def region_map(points: np.ndarray, size: int) -> np.ndarray:
    """Draw region ids int8 [size, size] from face mesh points [478, 2] in pixels (Section 3.2).

    The ids are LaPa's. FSFM parses with a network; landmarks cannot tell hair from background. As a
    substitute, the band around the upper half of the face's oval counts as hair, and everything
    else outside the oval as background.
    """
    upper = points[list(OVAL[27:] + OVAL[:9])]  # from one temple over the top to the other
    middle = (upper[0] + upper[-1]) / 2
    parts = (
        (OVAL, SKIN),
        (RIGHT_BROW, BROWS[0]),
        (LEFT_BROW, BROWS[1]),
        (RIGHT_EYE, EYES[0]),
        (LEFT_EYE, EYES[1]),
        (NOSE, NOSE_REGION),
        (LIPS, MOUTH[0]),
        (LIPS[:11] + INNER_LIPS[10::-1], MOUTH[2]),
        (INNER_LIPS, INNER_MOUTH),
    )
    polygons = [(middle + _CROWN * (upper - middle), HAIR)]
    polygons += [(points[list(part)], region) for part, region in parts]
    regions = np.zeros((size, size), np.uint8)
    for polygon, region in polygons:
        cv2.fillPoly(regions, [np.rint(polygon).astype(np.int32)], region)
    return regions.astype(np.int8)
