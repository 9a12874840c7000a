"""Crop -> network input, as a manifest's ``view`` says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch
from PIL import Image

from ..crops.shapes import resize
from ..training.transforms import AUGMENTATIONS, Normalisation, Transform, evaluation_transform
from .manifest import View

PIL_METHODS = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def view_transform(view: View) -> Transform:
    """Make the transform uint8 RGB ``[H, W, 3]`` -> float32 ``[V, 3, size, size]``."""
    if view.fit in AUGMENTATIONS:
        fit = evaluation_transform(view.fit, view.size, Normalisation(view.mean, view.std))
    else:
        fit = partial(_normalised, view, {"stretch": _stretch, "centre": _centre, "pad": _pad})
    return partial(_with_mirrored, fit) if view.flip else fit


def _with_mirrored(fit: Transform, image: np.ndarray) -> torch.Tensor:
    views = fit(image)
    return torch.cat([views, views.flip(-1)])


def _normalised(
    view: View, fits: dict[str, Callable[[View, np.ndarray], np.ndarray]], image: np.ndarray
) -> torch.Tensor:
    fitted = np.ascontiguousarray(fits[view.fit](view, image).transpose(2, 0, 1))
    pixels = torch.from_numpy(fitted).float() / 255
    mean = torch.tensor(view.mean).view(3, 1, 1)
    std = torch.tensor(view.std).view(3, 1, 1)
    return ((pixels - mean) / std)[None]


def _stretch(view: View, image: np.ndarray) -> np.ndarray:
    if image.shape[:2] == (view.size, view.size):
        return image
    return resize(image, view.size, view.size, view.interpolation)


def _centre(view: View, image: np.ndarray) -> np.ndarray:
    """Resize the shorter side with Pillow, as torchvision does with pictures and CLIP's processor.

    Both cut the longer side down to a whole number of pixels.
    """
    height, width = image.shape[:2]
    short = view.resize or view.size
    if width <= height:
        size = (short, int(short * height / width))
    else:
        size = (int(short * width / height), short)
    resized = np.asarray(Image.fromarray(image).resize(size, PIL_METHODS[view.interpolation]))
    top = round((size[1] - view.size) / 2)
    left = round((size[0] - view.size) / 2)
    return resized[top : top + view.size, left : left + view.size]


def _pad(view: View, image: np.ndarray) -> np.ndarray:
    """Resize the longer side and put the picture on black: area shrinks, bicubic enlarges."""
    height, width = image.shape[:2]
    scale = view.size / max(height, width)
    size = (max(int(width * scale), 1), max(int(height * scale), 1))
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    resized = image if scale == 1 else cv2.resize(image, size, interpolation=method)
    padded = np.zeros((view.size, view.size, 3), np.uint8)
    top = (view.size - resized.shape[0]) // 2
    left = (view.size - resized.shape[1]) // 2
    padded[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
    return padded
