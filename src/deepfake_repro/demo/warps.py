"""Geometry and blending shared by all manipulations: landmark warps, masks, colour, the generator's bottleneck."""

from __future__ import annotations

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


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares similarity ``[2, 3]`` that maps points ``source [N, 2]`` onto ``target [N, 2]``."""
    matrix, _ = cv2.estimateAffinePartial2D(source, target, method=cv2.LMEDS)
    return matrix


def displacement(at: np.ndarray, move: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Piecewise-linear field float32 ``[H, W, 2]`` that is ``move [N, 2]`` at the points ``at`` and 0 at the border."""
    height, width = shape
    edge = np.array(
        [
            (x, y)
            for x in (0, width / 2, width)
            for y in (0, height / 2, height)
            if (x, y) != (width / 2, height / 2)
        ],
        np.float32,
    )
    places = np.concatenate([at, edge])
    moves = np.concatenate([move, np.zeros_like(edge)])
    ys, xs = np.mgrid[0:height:4, 0:width:4].astype(np.float32)
    field = LinearNDInterpolator(places, moves, fill_value=0.0)(np.stack([xs, ys], -1)).astype(
        np.float32
    )
    return cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)


def warp(
    image: np.ndarray, source: np.ndarray, target: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """``image`` with its landmarks ``source [N, 2]`` moved to ``target [N, 2]``, on a canvas of ``shape`` (H, W).

    The similarity part is undone exactly; the rest is piecewise linear between landmarks.
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
    return cv2.remap(
        image, mapped.astype(np.float32), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )


def region_mask(
    points: np.ndarray,
    outline: list[int] | np.ndarray,
    shape: tuple[int, int],
    grow: float,
    feather: float,
) -> np.ndarray:
    """Soft mask float32 ``[H, W]`` in 0..1: hull of the outline scaled by ``grow``, blurred by ``feather`` pixels."""
    polygon = points[np.asarray(outline)]
    centre = polygon.mean(0)
    hull = cv2.convexHull(((polygon - centre) * grow + centre).astype(np.int32))
    mask = np.zeros(shape, np.float32)
    cv2.fillConvexPoly(mask, hull, 1.0)
    return cv2.GaussianBlur(mask, (0, 0), feather) if feather > 0 else mask


def match_colour(layer: np.ndarray, target: np.ndarray, mask: np.ndarray, how: str) -> np.ndarray:
    """``layer`` with its colours inside ``mask`` brought to those of ``target``.

    ``lab``: mean and spread per LAB channel; ``mean``: means only; ``none``; ``poisson``: gradient-domain cloning.
    """
    if how == "none":
        return layer
    if how == "poisson":
        ys, xs = np.nonzero(mask > 0.5)
        middle = (int(xs.min() + xs.max()) // 2, int(ys.min() + ys.max()) // 2)
        return cv2.seamlessClone(
            layer, target, (mask > 0.5).astype(np.uint8) * 255, middle, cv2.NORMAL_CLONE
        )
    inside = mask > 0.5
    source_lab, target_lab = (
        cv2.cvtColor(i, cv2.COLOR_RGB2LAB).astype(np.float32) for i in (layer, target)
    )
    m0, m1 = source_lab[inside].mean(0), target_lab[inside].mean(0)
    ratio = target_lab[inside].std(0) / (source_lab[inside].std(0) + 1e-3) if how == "lab" else 1.0
    matched = (source_lab - m0) * ratio + m1
    return cv2.cvtColor(np.clip(matched, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)


def bottleneck(
    layer: np.ndarray, points: np.ndarray, pixels: int, up: str, sharpen: float
) -> np.ndarray:
    """The face as a generator of ``pixels`` x ``pixels`` delivers it: shrunk, enlarged again, perhaps sharpened."""
    oval = points[list(OVAL)]
    (x0, y0), (x1, y1) = (
        np.floor(oval.min(0)).astype(int) - 12,
        np.ceil(oval.max(0)).astype(int) + 12,
    )
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, layer.shape[1]), min(y1, layer.shape[0])
    face = layer[y0:y1, x0:x1]
    small = cv2.resize(face, (pixels, pixels), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (x1 - x0, y1 - y0), interpolation=INTERPOLATIONS[up])
    if sharpen > 0:
        large = cv2.addWeighted(
            large, 1 + sharpen, cv2.GaussianBlur(large, (0, 0), 1.5), -sharpen, 0
        )
    result = layer.copy()
    result[y0:y1, x0:x1] = large
    return result
