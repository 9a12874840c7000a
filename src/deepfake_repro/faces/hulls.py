"""Hulls of a face: masks made of groups of its landmarks, for self-blended images.

SBI detects 81 points with dlib: 68, and 13 on the forehead. Here each is one of the 478 points of
the face mesh, whose oval reaches up to the hairline.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

# Face mesh indices in dlib's order; right is the person's own, and comes first.
_MESH_JAW = (162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389)
_MESH_BROWS = (71, 63, 105, 66, 107, 336, 296, 334, 293, 301)
_MESH_NOSE = (168, 197, 5, 4, 75, 97, 2, 326, 305)  # ridge, then base
_MESH_EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_MESH_LIPS = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)
_MESH_INNER_LIPS = (78, 82, 13, 312, 308, 317, 14, 87)
_MESH_FOREHEAD = (127, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 356)

POINTS = (
    *_MESH_JAW,
    *_MESH_BROWS,
    *_MESH_NOSE,
    *_MESH_EYES,
    *_MESH_LIPS,
    *_MESH_INNER_LIPS,
    *_MESH_FOREHEAD,
)
"""Face mesh index of each of the 81 points, in dlib's order."""
WITHOUT_FOREHEAD = 68
"""Number of points before those of the forehead."""

# Indices into the 81 points.
_JAW = range(17)
_BROWS = range(17, 27)
_NOSE = range(27, 36)
_EYES = range(36, 48)
_MOUTH = range(48, 68)
_CHIN = 8
_NOSE_BASE = 33
_RIGHT_BROW, _LEFT_BROW = _BROWS[:5], _BROWS[5:]
_RIGHT_EYE, _LEFT_EYE = _EYES[:6], _EYES[6:]

PARTS: dict[str, Sequence[Sequence[int]]] = {
    "full": ((*_JAW, *_MOUTH), (*_BROWS, *_EYES, _JAW[0], _JAW[-1], _NOSE_BASE), _NOSE),
    "components": (
        (*_JAW[:9], 17),
        (*_JAW[8:], 26),
        (*_RIGHT_BROW[:3], _CHIN),
        (*_LEFT_BROW[2:], _CHIN),
        (*_RIGHT_BROW, *_RIGHT_EYE, _NOSE_BASE, _CHIN),
        (*_LEFT_BROW, *_LEFT_EYE, _NOSE_BASE, _CHIN),
        (21, 22, _NOSE_BASE),
        _NOSE,
    ),
}
"""Kind of hull -> groups of points; the mask is the union of the groups' convex hulls.

The groups are symmetric about the middle of the face. ``extended`` is ``components`` with the brows
raised by half their distance to the eyes; ``face`` is the hull of all points. SBI names these four
kinds; which points form each is our choice.
"""
HULLS = ("face", "full", "components", "extended")


def hull(points: np.ndarray, kind: str, size: int) -> np.ndarray:
    """Draw the hull of ``kind`` around 68 or 81 ``points`` [N, 2] in pixels.

    Returns a mask uint8 [size, size], 1 inside. Raises ``ValueError`` for a kind not in ``HULLS``.
    """
    if kind not in HULLS:
        raise ValueError(f"sbi.blend.hulls lists {kind!r}; choose from {', '.join(HULLS)}")
    if kind == "extended":
        points, kind = _raise_brows(points), "components"
    mask = np.zeros((size, size), np.uint8)
    for part in PARTS.get(kind, [range(len(points))]):
        corners = np.rint(points[list(part)]).astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(corners), 1)
    return mask


def _raise_brows(points: np.ndarray) -> np.ndarray:
    """Copy ``points`` with each brow moved away from its eye by half their distance."""
    points = points.copy()
    for brow, eye in ((_RIGHT_BROW, _RIGHT_EYE), (_LEFT_BROW, _LEFT_EYE)):
        points[brow] += (points[brow].mean(0) - points[eye].mean(0)) / 2
    return points
