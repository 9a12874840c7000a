"""Picture arithmetic whose result is the same on every processor.

Only integers, element-wise IEEE operations (``+ - * /`` and square root), Pillow's integer
resampling and OpenCV's fixed-point ``remap`` are used: no matrix product, no transcendental
function per pixel, no floating-point path of a library that chooses instructions by processor.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFilter

UNIT = 16
"""Landmarks are multiples of 1 / 16 pixel, so that sums over them are exact."""
_BITS = 5  # of a map: OpenCV's fixed-point remap resolves 1 / 32 pixel
_WHITE = 255
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "cubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}


def rounded(value: Any) -> Any:  # a number gives a number, an array an array
    """Round what a transcendental function returned: libraries may differ in its last bits."""
    return np.round(value, 6)


def on_grid(points: np.ndarray) -> np.ndarray:
    """Round landmarks ``[N, 2]`` to multiples of 1 / 16 pixel, float64."""
    return np.rint(np.asarray(points, np.float64) * UNIT) / UNIT


def transformed(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply an affine ``matrix [2, 3]`` to ``points [..., 2]`` without a matrix product."""
    x = points[..., 0]
    y = points[..., 1]
    return np.stack([x * row[0] + y * row[1] + row[2] for row in matrix], -1)


def sample(image: np.ndarray, source: np.ndarray, border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
    """Sample ``image`` uint8 at the positions ``source`` ``[H, W, 2]`` (x, y), bilinearly."""
    steps = np.rint(source * (1 << _BITS)).astype(np.int32)
    whole = (steps >> _BITS).astype(np.int16)
    rest = steps & ((1 << _BITS) - 1)
    fraction = ((rest[..., 1] << _BITS) + rest[..., 0]).astype(np.uint16)
    return cv2.remap(image, whole, fraction, cv2.INTER_LINEAR, borderMode=border)


def doubled(image: np.ndarray) -> np.ndarray:
    """Enlarge an image to twice its size by cubic interpolation, for :func:`sample_doubled`."""
    height, width = image.shape[:2]
    return resized(image, (2 * width, 2 * height), "cubic")


def sample_doubled(image: np.ndarray, source: np.ndarray, border: int) -> np.ndarray:
    """Sample a :func:`doubled` image at positions of the original.

    It is nearly as sharp as cubic interpolation, which OpenCV rounds differently per processor.
    """
    return sample(image, source * 2 + 0.5, border)


def resized(image: np.ndarray, size: tuple[int, int], how: str) -> np.ndarray:
    """Resize an image uint8 to ``size`` (width, height) by one of ``RESAMPLING``."""
    return np.asarray(Image.fromarray(image).resize(size, RESAMPLING[how]))


def blurred(image: np.ndarray, deviation: float) -> np.ndarray:
    """Blur an image uint8 by three box filters, which approximate a Gaussian of that deviation."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(deviation)))


def enlarged(grid: np.ndarray, step: int, shape: tuple[int, int]) -> np.ndarray:
    """Interpolate ``grid``, which has a value every ``step`` pixels, to all pixels of ``shape``."""
    for axis, size in enumerate(shape):
        at = np.arange(size) // step
        share = (np.arange(size) % step / step).reshape([-1 if i == axis else 1 for i in range(3)])
        following = np.minimum(at + 1, grid.shape[axis] - 1)
        grid = grid.take(at, axis) * (1 - share) + grid.take(following, axis) * share
    return grid


def mixed(over: np.ndarray, under: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Blend two images uint8 ``[H, W, 3]``: ``over`` where ``mask`` uint8 ``[H, W]`` is 255."""
    weight = mask.astype(np.int32)[..., None]
    total = over * weight + under * (_WHITE - weight)
    return ((total + _WHITE // 2) // _WHITE).astype(np.uint8)


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Clip whole numbers to 0..255, uint8."""
    return np.clip(image, 0, _WHITE).astype(np.uint8)


def luma_chroma(image: np.ndarray) -> np.ndarray:
    """Convert RGB uint8 to Y, Cb, Cr (JPEG's), int32, in units of 1 / 256 grey level."""
    r, g, b = np.moveaxis(image.astype(np.int32), -1, 0)
    return np.stack(
        [77 * r + 150 * g + 29 * b, -43 * r - 85 * g + 128 * b, 128 * r - 107 * g - 21 * b], -1
    )


def from_luma_chroma(planes: np.ndarray) -> np.ndarray:
    """Convert Y, Cb, Cr, in units of 1 / 256 grey level, to RGB uint8."""
    y, blue, red = np.moveaxis(planes.astype(np.int64) << 8, -1, 0)
    channels = [
        y + (359 * red >> 8),
        y - (88 * blue >> 8) - (183 * red >> 8),
        y + (454 * blue >> 8),
    ]
    return to_bytes((np.stack(channels, -1) + (1 << 15)) >> 16)


def yuv420(image: np.ndarray) -> np.ndarray:
    """Convert RGB uint8 ``[H, W, 3]``, even sides, to the planes ``[1.5 H, W]`` of video.

    BT.601, limited range; a chroma sample is the mean of four pixels.
    """
    width = image.shape[1]
    r, g, b = (np.ascontiguousarray(image[..., c], np.int32) for c in range(3))
    luma = ((66 * r + 129 * g + 25 * b + 128) >> 8) + 16
    r, g, b = (_four(plane) for plane in (r, g, b))
    blue = ((-38 * r - 74 * g + 112 * b + 512) >> 10) + 128
    red = ((112 * r - 94 * g - 18 * b + 512) >> 10) + 128
    planes = [plane.astype(np.uint8).ravel() for plane in (luma, blue, red)]
    return np.concatenate(planes).reshape(-1, width)


def _four(plane: np.ndarray) -> np.ndarray:
    """Sum blocks of two by two pixels."""
    rows = plane[::2] + plane[1::2]
    return rows[:, ::2] + rows[:, 1::2]


def from_yuv420(planes: np.ndarray) -> np.ndarray:
    """Convert the planes ``[1.5 H, W]`` of video to RGB uint8 ``[H, W, 3]``."""
    width = planes.shape[1]
    height = planes.shape[0] * 2 // 3
    luma = (planes[:height].astype(np.int32) - 16) * 298
    halves = planes[height:].reshape(2, height // 2, width // 2)
    blue, red = (resized(h, (width, height), "bilinear").astype(np.int32) - 128 for h in halves)
    channels = [luma + 409 * red, luma - 100 * blue - 208 * red, luma + 516 * blue]
    return to_bytes((np.stack(channels, -1) + 128) >> 8)
