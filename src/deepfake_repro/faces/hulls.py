"""Hulls of a face: masks made of groups of its landmarks, for self-blended images.

SBI finds 81 points with dlib (68 and 13 of the forehead). Here each is taken from the face mesh of
478, whose oval reaches up to the hairline.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

POINTS = (
    162,
    234,
    93,
    58,
    172,
    136,
    149,
    148,
    152,
    377,
    378,
    365,
    397,
    288,
    323,
    454,
    389,  # 0 jaw, right ear to left
    71,
    63,
    105,
    66,
    107,
    336,
    296,
    334,
    293,
    301,  # 17 right brow, 22 left brow
    168,
    197,
    5,
    4,
    75,
    97,
    2,
    326,
    305,  # 27 ridge of the nose, 31 its base
    33,
    160,
    158,
    133,
    153,
    144,
    362,
    385,
    387,
    263,
    373,
    380,  # 36 right eye, 42 left eye
    61,
    39,
    37,
    0,
    267,
    269,
    291,
    405,
    314,
    17,
    84,
    181,
    78,
    82,
    13,
    312,
    308,
    317,
    14,
    87,  # 48 mouth
    127,
    21,
    54,
    103,
    67,
    109,
    10,
    338,
    297,
    332,
    284,
    251,
    356,
)  # 68 forehead, right temple to left
"""Index in the face mesh of each of the 81 points, in dlib's order; right is the person's own."""
WITHOUT_FOREHEAD = 68
_JAW, _BROWS, _NOSE, _EYES, _MOUTH = (
    range(17),
    range(17, 27),
    range(27, 36),
    range(36, 48),
    range(48, 68),
)
_CHIN, _TIP = 8, 33
PARTS: dict[str, Sequence[Sequence[int]]] = {
    "full": ((*_JAW, *_MOUTH), (*_BROWS, *_EYES, 0, 16, _TIP), _NOSE),
    "components": (
        (*range(9), 17),
        (*range(8, 17), 26),
        (*range(17, 20), _CHIN),
        (*range(24, 27), _CHIN),
        (*range(17, 22), *range(36, 42), _TIP, _CHIN),
        (*range(22, 27), *range(42, 48), _TIP, _CHIN),
        (21, 22, _TIP),
        _NOSE,
    ),
}
"""Kind of hull -> groups of points; the mask is the union of the groups' convex hulls, mirror images of each other.

``extended`` is ``components`` with the brows raised by half their distance to the eyes; ``face`` is
the hull of all points. The four kinds follow those that SBI names; which points make up each is our
own choice.
"""
HULLS = ("face", "full", "components", "extended")


def hull(points: np.ndarray, kind: str, size: int) -> np.ndarray:
    """Mask uint8 ``[S, S]``, 1 inside the hull of ``kind`` around 68 or 81 ``points`` ``[N, 2]`` in pixels.

    Raises ``ValueError`` for a kind that is not in ``HULLS``.
    """
    if kind not in HULLS:
        raise ValueError(f"sbi.blend.hulls lists {kind!r}; known: {', '.join(HULLS)}")
    if kind == "extended":
        points, kind = points.copy(), "components"
        for brow, eye in ((range(17, 22), range(36, 42)), (range(22, 27), range(42, 48))):
            points[brow] += (points[brow].mean(0) - points[eye].mean(0)) / 2
    mask = np.zeros((size, size), np.uint8)
    for part in PARTS.get(kind, [range(len(points))]):
        cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points[list(part)]).astype(np.int32)), 1)
    return mask
