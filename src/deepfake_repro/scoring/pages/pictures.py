"""Pictures of faces for a page, embedded as ``data:`` addresses."""

from __future__ import annotations

import base64

import cv2
import matplotlib
import numpy as np

from ...crops.extraction import inner_box

THUMBNAIL = 130
"""Pixels per side."""
_HEAT = matplotlib.colormaps["inferno"]
_EMPTY = np.full((THUMBNAIL, THUMBNAIL, 3), 238, np.uint8)


def jpeg_uri(image: np.ndarray) -> str:
    """Encode a picture, RGB uint8 ``[H, W, 3]``, as the ``data:`` address of a JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, 85))
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"


def thumbnail(image: np.ndarray | None) -> np.ndarray:
    """Shrink a crop to ``THUMBNAIL`` pixels; grey if there is none."""
    if image is None:
        return _EMPTY
    return cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)


def with_box(crop: np.ndarray, colour: str, margin: float) -> np.ndarray:
    """Draw the face box into a copy of a crop, which is the box enlarged about its centre."""
    left, top, right, bottom = inner_box(crop.shape[0], margin).round().astype(int).tolist()
    return cv2.rectangle(crop.copy(), (left, top), (right, bottom), rgb(colour), 3)


def rgb(colour: str) -> tuple[int, int, int]:
    """Convert ``#rrggbb`` to three numbers from 0 to 255."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blend a crop uint8 ``[H, W, 3]`` with its heat map ``[H, W]`` in [0, 1]."""
    colours = 255 * _HEAT(heat)[..., :3]
    return (0.5 * image + 0.5 * colours).astype(np.uint8)
