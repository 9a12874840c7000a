"""Crops as other code bases cut them: square, clipped at the frame, aligned by five landmarks.

Our own crops are those of ``extraction.crop``. A detector of somebody else has learnt from other
ones, and its manifest says which; videos are then cut by ``RecipeCrops`` instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..project.params import CropOptions

Points = tuple[tuple[float, float], ...]

STRETCHED = "stretched"
SQUARE = "square"
ALIGNED = "aligned"
SHAPES = (STRETCHED, SQUARE, ALIGNED)
REPEAT = "repeat"
CLIP = "clip"
BORDERS = (REPEAT, CLIP)
INTERPOLATIONS = {
    "area": cv2.INTER_AREA,  # shrinking only; enlarging is bilinear
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
}


@dataclass(frozen=True)
class RecipeCrops(CropOptions):
    """Crop options with a shape of their own; ``margin`` and ``size`` are part of it.

    ``shape``: ``stretched`` (the box, enlarged), ``square`` (of the box's longer side, enlarged) or
    ``aligned`` (five landmarks moved to ``template``, in [0, 1] of the crop without its margin).
    ``size``: pixels, 0 keeps those of the frame. ``border``: what a crop has outside the frame:
    ``repeat`` its border pixels, or ``clip`` nothing; aligned crops are black there.
    """

    shape: str = STRETCHED
    border: str = REPEAT
    interpolation: str = "area"
    template: Points = ()


def cut(image: np.ndarray, box: np.ndarray, points: np.ndarray, recipe: RecipeCrops) -> np.ndarray:
    """Cut one face from ``image`` [H, W, 3]: its detected ``box`` [4] and ``points`` [5, 2]."""
    if recipe.shape == ALIGNED:
        return align(image, points, recipe)
    x0, y0, x1, y1 = _window(box, recipe)
    if recipe.border == CLIP:
        window = image[max(y0, 0) : max(y1, y0 + 1), max(x0, 0) : max(x1, x0 + 1)]
    else:
        rows = np.clip(np.arange(y0, max(y1, y0 + 1)), 0, image.shape[0] - 1)
        columns = np.clip(np.arange(x0, max(x1, x0 + 1)), 0, image.shape[1] - 1)
        window = image[np.ix_(rows, columns)]
    if not recipe.size:
        return window
    return resize(window, recipe.size, recipe.size, recipe.interpolation)


def _window(box: np.ndarray, recipe: RecipeCrops) -> tuple[int, int, int, int]:
    """Enlarge the box about its centre by the margin; round to whole pixels."""
    centre = (box[:2] + box[2:]) / 2
    sides = box[2:] - box[:2]
    if recipe.shape == SQUARE:
        sides = np.full(2, sides.max())
    half = sides * (1 + recipe.margin) / 2
    x0, y0, x1, y1 = np.rint(np.concatenate([centre - half, centre + half])).astype(int).tolist()
    return x0, y0, x1, y1


def resize(image: np.ndarray, width: int, height: int, interpolation: str) -> np.ndarray:
    """Resize to ``width`` × ``height`` pixels; ``area`` enlarges bilinearly."""
    method = INTERPOLATIONS[interpolation]
    if method == cv2.INTER_AREA and width * height > image.shape[0] * image.shape[1]:
        method = cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=method)


def align(image: np.ndarray, points: np.ndarray, recipe: RecipeCrops) -> np.ndarray:
    """Turn, scale and move ``image`` so that five landmarks [5, 2] come to the template.

    The similarity is the least median of squares over the points (GenD; DeepfakeBench takes least
    squares over all five). Without a size the crop keeps the scale of the frame, as GenD's does.
    """
    template = np.array(recipe.template, np.float32)
    points = np.asarray(points, np.float32)
    scale = 1 + recipe.margin
    side = recipe.size or round(float(_ratio(points, template)) * scale)
    target = ((template - 0.5) / scale + 0.5) * side
    matrix, _ = cv2.estimateAffinePartial2D(points, target, method=cv2.LMEDS)
    if matrix is None:  # points that coincide
        return np.zeros((side or 1, side or 1, 3), np.uint8)
    flags = INTERPOLATIONS[recipe.interpolation]
    return cv2.warpAffine(image, matrix, (side, side), flags=flags)


def _ratio(points: np.ndarray, template: np.ndarray) -> float:
    """Average the ratio of the distances between points and those of the template, in pixels."""
    pairs = np.triu_indices(len(template), k=1)
    apart, wanted = (
        np.linalg.norm(each[pairs[0]] - each[pairs[1]], axis=1) for each in (points, template)
    )
    return float((apart / wanted).mean())
