"""Geometry and blending shared by all manipulations: landmark warps, masks, colour, bottleneck."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator

from ..faces.landmarks import OVAL

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


def remap(
    image: np.ndarray, source: np.ndarray, interpolation: int, border: int = cv2.BORDER_CONSTANT
) -> np.ndarray:
    """Sample ``image`` at the positions ``source`` float32 ``[H, W, 2]`` (x, y) pixels."""
    # The stubs of cv2 do not know that one array may hold both coordinates.
    return cv2.remap(image, source, None, interpolation, borderMode=border)  # type: ignore[call-overload]


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit the similarity ``[2, 3]`` that maps points ``source [N, 2]`` onto ``target [N, 2]``."""
    matrix, _ = cv2.estimateAffinePartial2D(source, target, method=cv2.LMEDS)
    return matrix


def displacement(at: np.ndarray, move: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Interpolate moves between points: a piecewise-linear field float32 ``[H, W, 2]``.

    The field is ``move [N, 2]`` at the points ``at [N, 2]`` and 0 at the border.
    """
    height, width = shape
    border = np.array(
        [
            (x, y)
            for x in (0, width / 2, width)
            for y in (0, height / 2, height)
            if (x, y) != (width / 2, height / 2)
        ],
        np.float32,
    )
    points = np.concatenate([at, border])
    moves = np.concatenate([move, np.zeros_like(border)])
    interpolate = LinearNDInterpolator(points, moves, fill_value=0.0)
    ys, xs = np.mgrid[0:height:4, 0:width:4].astype(np.float32)
    field = interpolate(np.stack([xs, ys], -1)).astype(np.float32)
    return cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)


def warp(
    image: np.ndarray, source: np.ndarray, target: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Move the landmarks ``source [N, 2]`` of ``image`` to ``target [N, 2]``.

    The result has ``shape`` (H, W). The similarity part is undone exactly; the rest is piecewise
    linear between landmarks.
    """
    back = similarity(target, source)
    rest = source - (target @ back[:, :2].T + back[:, 2])
    field = displacement(target, rest, shape)
    ys, xs = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    mapped = (
        np.stack([xs, ys], -1) @ back[:, :2].T.astype(np.float32)
        + back[:, 2].astype(np.float32)
        + field
    )
    return remap(image, mapped.astype(np.float32), cv2.INTER_CUBIC, cv2.BORDER_REFLECT_101)


def region_mask(
    points: np.ndarray, outline: Sequence[int], shape: tuple[int, int], grow: float, feather: float
) -> np.ndarray:
    """Draw a soft mask float32 ``[H, W]`` in 0..1.

    It is the hull of the ``outline`` of ``points``, scaled by ``grow`` and blurred by ``feather``
    pixels.
    """
    polygon = points[np.asarray(outline)]
    centre = polygon.mean(0)
    hull = cv2.convexHull(((polygon - centre) * grow + centre).astype(np.int32))
    mask = np.zeros(shape, np.float32)
    cv2.fillConvexPoly(mask, hull, 1.0)
    return cv2.GaussianBlur(mask, (0, 0), feather) if feather > 0 else mask


def match_colour(layer: np.ndarray, target: np.ndarray, mask: np.ndarray, how: str) -> np.ndarray:
    """Bring the colours of ``layer`` inside ``mask`` to those of ``target``.

    ``how`` is ``lab`` for mean and spread per LAB channel, ``mean`` for means only, ``poisson`` for
    gradient-domain cloning, or ``none``.
    """
    if how == "none":
        return layer
    inside = mask > 0.5
    if how == "poisson":
        ys, xs = np.nonzero(inside)
        middle = (int(xs.min() + xs.max()) // 2, int(ys.min() + ys.max()) // 2)
        return cv2.seamlessClone(
            layer, target, inside.astype(np.uint8) * 255, middle, cv2.NORMAL_CLONE
        )
    source_lab = cv2.cvtColor(layer, cv2.COLOR_RGB2LAB).astype(np.float32)
    target_lab = cv2.cvtColor(target, cv2.COLOR_RGB2LAB).astype(np.float32)
    source_mean = source_lab[inside].mean(0)
    target_mean = target_lab[inside].mean(0)
    ratio = target_lab[inside].std(0) / (source_lab[inside].std(0) + 1e-3) if how == "lab" else 1.0
    matched = (source_lab - source_mean) * ratio + target_mean
    return cv2.cvtColor(np.clip(matched, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)


def bottleneck(
    layer: np.ndarray, points: np.ndarray, pixels: int, up: str, sharpen: float
) -> np.ndarray:
    """Degrade the face as a generator of ``pixels`` x ``pixels`` would.

    It is shrunk, enlarged again by the interpolation ``up`` and sharpened if ``sharpen`` > 0.
    """
    margin = 12
    oval = points[list(OVAL)]
    x0, y0 = np.floor(oval.min(0)).astype(int) - margin
    x1, y1 = np.ceil(oval.max(0)).astype(int) + margin
    x0 = max(x0, 0)
    y0 = max(y0, 0)
    x1 = min(x1, layer.shape[1])
    y1 = min(y1, layer.shape[0])
    face = layer[y0:y1, x0:x1]
    small = cv2.resize(face, (pixels, pixels), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (x1 - x0, y1 - y0), interpolation=INTERPOLATIONS[up])
    if sharpen > 0:
        blurred = cv2.GaussianBlur(large, (0, 0), 1.5)
        large = cv2.addWeighted(large, 1 + sharpen, blurred, -sharpen, 0)
    result = layer.copy()
    result[y0:y1, x0:x1] = large
    return result
