"""Regions of a face, as a parsing network gives them, made from landmarks."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .landmarks import INNER_LIPS, LEFT_BROW, LEFT_EYE, LIPS, NOSE, OVAL, RIGHT_BROW, RIGHT_EYE

# Region ids of the LaPa parsing sets, which FSFM's maps use.
BACKGROUND, SKIN, NOSE_REGION, INNER_MOUTH, HAIR = 0, 1, 6, 8, 10
BROWS, EYES, MOUTH = (2, 3), (4, 5), (7, 8, 9)

_CROWN = 1.3  # how far the band above the face reaches, in multiples of the oval

RegionParser = Callable[[np.ndarray], np.ndarray]
"""RGB uint8 ``[H, W, 3]`` -> region ids int8 ``[H, W]``; a face-parsing network can take the place of landmarks."""


def region_map(points: np.ndarray, size: int) -> np.ndarray:
    """Region ids int8 ``[size, size]`` from the face mesh's points ``[478, 2]``, in pixels (Section 3.2).

    Ids are LaPa's: 0 background, 1 skin, 2-3 brows, 4-5 eyes, 6 nose, 7 upper lip, 8 inner mouth, 9
    lower lip, 10 hair. Landmarks cannot tell hair from background: as a stand-in, the band around
    the upper half of the face's oval counts as hair, and all else outside the oval as background.
    FSFM parses with a network.
    """
    regions = np.zeros((size, size), np.uint8)
    upper = points[list(OVAL[27:] + OVAL[:9])]  # from one temple over the top to the other
    middle = (upper[0] + upper[-1]) / 2
    polygons = [(middle + _CROWN * (upper - middle), HAIR), (points[list(OVAL)], SKIN)]
    polygons += [
        (points[list(part)], number)
        for part, number in (
            (RIGHT_BROW, BROWS[0]),
            (LEFT_BROW, BROWS[1]),
            (RIGHT_EYE, EYES[0]),
            (LEFT_EYE, EYES[1]),
            (NOSE, NOSE_REGION),
            (LIPS, MOUTH[0]),
            (LIPS[:11] + INNER_LIPS[10::-1], MOUTH[2]),
            (INNER_LIPS, INNER_MOUTH),
        )
    ]
    for polygon, number in polygons:
        cv2.fillPoly(regions, [np.rint(polygon).astype(np.int32)], number)
    return regions.astype(np.int8)
