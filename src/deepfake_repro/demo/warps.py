"""Geometry and blending shared by all manipulations: landmark warps, masks, colour, bottleneck."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..faces.landmarks import OVAL
from .exact import (
    UNIT,
    blurred,
    doubled,
    enlarged,
    from_luma_chroma,
    luma_chroma,
    on_grid,
    resized,
    sample_doubled,
    to_bytes,
    transformed,
)

INTERPOLATIONS = ("nearest", "bilinear", "cubic", "lanczos")
_STEP = 4  # pixels between the positions at which a displacement is computed
_NEAR = 4.0  # squared pixels: below this distance a landmark's move is taken as it is
_STILL = 1e-4  # weight of "no move": far from all landmarks nothing moves
_SQUARE = 4  # side of the checkerboard's squares, pixels of the generator
_MAGENTA = (1.0, -0.6, 1.0)  # direction of the checkerboard in RGB
_DETAIL = 1.0  # deviation of the blur that separates detail, pixels
_AMOUNTS = (-16, 96)  # of added detail, in sixteenths: from a blur to strong sharpening
_SWEEPS = 40  # of the solver of Poisson blending, at each of its resolutions


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit the similarity ``[2, 3]`` that maps points ``source [N, 2]`` onto ``target [N, 2]``.

    Least squares, from exact sums of whole numbers.
    """
    count = len(source)
    start = np.rint(np.asarray(source, np.float64) * UNIT).astype(np.int64)
    end = np.rint(np.asarray(target, np.float64) * UNIT).astype(np.int64)
    x, y = (count * start - start.sum(0)).T
    u, v = (count * end - end.sum(0)).T
    spread = float((x * x + y * y).sum())
    a = float((x * u + y * v).sum()) / spread
    b = float((x * v - y * u).sum()) / spread
    from_x, from_y = start.sum(0) / (count * UNIT)
    to_x, to_y = end.sum(0) / (count * UNIT)
    return np.array(
        [[a, -b, to_x - (a * from_x - b * from_y)], [b, a, to_y - (b * from_x + a * from_y)]]
    )


def displacement(at: np.ndarray, move: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Spread the moves of points over a picture: a smooth field float64 ``[H, W, 2]``.

    The field is ``move [N, 2]`` at the points ``at [N, 2]``, between them a mean weighted by
    1 / distance⁴, and 0 far from them.
    """
    xs = np.arange(0, shape[1], _STEP, dtype=np.float64)
    ys = np.arange(0, shape[0], _STEP, dtype=np.float64)[:, None]
    weights = np.full((len(ys), len(xs)), _STILL)
    total = np.zeros((2, *weights.shape))
    for (x, y), step in zip(at.astype(np.float64), move.astype(np.float64), strict=True):
        distance = (xs - x) * (xs - x) + (ys - y) * (ys - y) + _NEAR
        weight = 1 / (distance * distance)
        weights += weight
        total[0] += weight * step[0]
        total[1] += weight * step[1]
    return enlarged(np.moveaxis(total / weights, 0, -1), _STEP, shape)


def warp(
    image: np.ndarray, source: np.ndarray, target: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Move the landmarks ``source [N, 2]`` of ``image`` to ``target [N, 2]``.

    The result has ``shape`` (H, W). The similarity part is undone exactly; the rest is smooth
    between landmarks.
    """
    source = on_grid(source)
    target = on_grid(target)
    back = similarity(target, source)
    field = displacement(target, source - transformed(back, target), shape)
    mapped = transformed(back, pixels(shape)) + field
    return sample_doubled(doubled(image), mapped, cv2.BORDER_REFLECT_101)


def pixels(shape: tuple[int, int]) -> np.ndarray:
    """Return the position (x, y) of each pixel, float64 ``[H, W, 2]``."""
    ys, xs = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float64)
    return np.stack([xs, ys], -1)


def region_mask(
    points: np.ndarray, outline: Sequence[int], shape: tuple[int, int], grow: float, feather: float
) -> np.ndarray:
    """Draw a soft mask uint8 ``[H, W]``: 255 is wholly replaced.

    It is the hull of the ``outline`` of ``points``, scaled by ``grow`` and blurred by ``feather``
    pixels.
    """
    polygon = on_grid(points[np.asarray(outline)])
    centre = polygon.sum(0) / len(polygon)
    hull = cv2.convexHull(((polygon - centre) * grow + centre).astype(np.int32))
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, hull, 255)
    return blurred(mask, feather) if feather > 0 else mask


def match_colour(layer: np.ndarray, target: np.ndarray, mask: np.ndarray, how: str) -> np.ndarray:
    """Bring the colours of ``layer`` inside ``mask`` to those of ``target``.

    ``how`` is ``spread`` for mean and spread of luma and chroma, ``mean`` for means only,
    ``poisson`` for gradient-domain cloning, or ``none``.
    """
    if how == "none":
        return layer
    inside = mask > 127
    if how == "poisson":
        return _cloned(layer, target, inside)
    own = luma_chroma(layer)
    own_mean, own_spread = _mean_and_spread(own[inside])
    goal_mean, goal_spread = _mean_and_spread(luma_chroma(target)[inside])
    ratio = goal_spread / (own_spread + 0.5) if how == "spread" else np.ones(3)
    matched = (own - own_mean) * ratio + goal_mean
    return from_luma_chroma(np.rint(matched).astype(np.int64))


def _mean_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of whole numbers ``[N, 3]``, from exact sums."""
    values = values.astype(np.int64)
    count = len(values)
    total = values.sum(0)
    squares = count * (values * values).sum(0) - total * total
    return total / count, np.sqrt(squares.astype(np.float64)) / count


def _cloned(layer: np.ndarray, target: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Keep the gradients of ``layer`` ``inside`` and the colours of ``target`` at the border."""
    difference = target.astype(np.float64) - layer
    return to_bytes(np.rint(layer + _harmonic(difference, inside)))


def _harmonic(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Replace ``values [H, W, 3]`` ``inside`` by the smooth surface over the rest.

    Solves Laplace's equation from coarse to fine: a surface of half the resolution is the start.
    """
    if min(inside.shape) > 8:
        coarse = _harmonic(values[::2, ::2], inside[::2, ::2])
        start = coarse.repeat(2, 0).repeat(2, 1)[: inside.shape[0], : inside.shape[1]]
        values = np.where(inside[..., None], start, values)
    for _ in range(_SWEEPS):
        edged = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
        rows = edged[:-2, 1:-1] + edged[2:, 1:-1]
        columns = edged[1:-1, :-2] + edged[1:-1, 2:]
        values = np.where(inside[..., None], (rows + columns) * 0.25, values)
    return values


def bottleneck(
    layer: np.ndarray, points: np.ndarray, pixels: int, up: str, checker: float
) -> np.ndarray:
    """Degrade the face as a generator of ``pixels`` x ``pixels`` would.

    It is shrunk, gets a checkerboard of ``checker`` grey levels, and is enlarged again by the
    interpolation ``up``.
    """
    margin = 12
    oval = points[list(OVAL)]
    x0, y0 = np.floor(oval.min(0)).astype(int) - margin
    x1, y1 = np.ceil(oval.max(0)).astype(int) + margin
    x0 = max(x0, 0)
    y0 = max(y0, 0)
    x1 = min(x1, layer.shape[1])
    y1 = min(y1, layer.shape[0])
    small = resized(layer[y0:y1, x0:x1], (pixels, pixels), "area")
    large = resized(checkered(small, checker), (x1 - x0, y1 - y0), up)
    result = layer.copy()
    result[y0:y1, x0:x1] = large
    return result


def checkered(image: np.ndarray, strength: float) -> np.ndarray:
    """Add the checkerboard that transposed convolutions leave, of green and magenta squares.

    It has almost no luma: neither sharpness nor the share of high frequencies shows it.
    """
    rows, columns = (np.arange(side) // _SQUARE for side in image.shape[:2])
    signs = 1 - 2 * ((rows[:, None] + columns) % 2)
    steps = np.rint(np.array(_MAGENTA) * strength).astype(np.int32)
    return to_bytes(image + signs[..., None] * steps)


def match_sharpness(
    layer: np.ndarray, target: np.ndarray, mask: np.ndarray, share: float
) -> np.ndarray:
    """Sharpen or soften ``layer`` until it is ``share`` times as sharp as ``target``.

    Both are RGB uint8 ``[H, W, 3]`` and are compared where ``mask`` uint8 ``[H, W]`` is over 127.
    An unsharp mask is used, or part of a blur; the result is as near as these allow.
    """
    rows = np.flatnonzero((mask > 127).any(1))
    columns = np.flatnonzero((mask > 127).any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = mask[box] > 127
    wanted = share * sharpness(target[box], inside)
    whole = layer.astype(np.int32)
    detail = whole - blurred(layer, _DETAIL)
    lowest, highest = _AMOUNTS
    while highest - lowest > 1:
        middle = (lowest + highest) // 2
        if sharpness(to_bytes(whole[box] + (detail[box] * middle >> 4)), inside) < wanted:
            lowest = middle
        else:
            highest = middle
    return to_bytes(whole + (detail * highest >> 4))


def sharpness(image: np.ndarray, inside: np.ndarray) -> float:
    """Return the mean square of the Laplacian of the luma of RGB uint8, where ``inside``."""
    luma = np.pad(luma_chroma(image)[..., 0], 1, mode="edge").astype(np.int64)
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    laplacian = (around - 4 * luma[1:-1, 1:-1])[inside]
    return int((laplacian * laplacian).sum()) / len(laplacian)
