"""The ten synthetic people: their 16-expression sheets cut into stills with dense landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from ..faces.detection import RetinaFace
from ..faces.landmarks import OVAL, FaceMesh

FACE_HEIGHT = 165
"""Height of the face oval in a still, pixels: with the box enlarged by 30 % a crop comes out near 224 px
without shrinking, which would remove the traces that the demo is about."""
OCCLUDED = (10, 12, 13)
"""Places on the sheet (thoughtful, exhausted, shocked) where hands or a bowed head hide part of some faces."""


@dataclass(frozen=True)
class Still:
    """One expression of one person: RGB uint8 ``[H, W, 3]`` and landmarks float32 ``[478, 2]`` in pixels."""

    image: np.ndarray
    points: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """Middle of the face oval, (x, y) pixels."""
        oval = self.points[list(OVAL)]
        return (oval.min(0) + oval.max(0)) / 2


def tiles(sheet: np.ndarray) -> list[np.ndarray]:
    """The 16 pictures of an expression sheet ``[H, W, 3]``, row by row, without their white frames.

    Raises ``ValueError`` if there are not 16 frames: the asset is not the expected sheet.
    """
    white = (sheet.min(axis=2) > 200).astype(np.uint8)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(white, connectivity=8)
    height, width = sheet.shape[:2]
    frames = [b for b in boxes[1:] if 0.14 < b[2] / width < 0.27 and 0.12 < b[3] / height < 0.25]
    if len(frames) != 16:
        raise ValueError(f"expression sheet: {len(frames)} framed pictures found, 16 expected")
    frames = sorted(frames, key=lambda b: (round(4 * b[1] / height), b[0]))
    inset = 9  # the frame's line and the rounding of its corners, pixels
    return [sheet[y + inset : y + h - inset, x + inset : x + w - inset] for x, y, w, h, _ in frames]


def _still(tile: np.ndarray, detector: RetinaFace, mesh: FaceMesh) -> Still:
    """Landmarks on the tile, then both scaled so that the face oval is ``FACE_HEIGHT`` high."""
    (faces,) = detector([tile])
    points = mesh(tile, faces.boxes[0])
    scale = FACE_HEIGHT / np.ptp(points[list(OVAL), 1])
    size = (round(tile.shape[1] * scale), round(tile.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    ratio = np.array(size, np.float32) / np.array(tile.shape[1::-1], np.float32)
    return Still(cv2.resize(tile, size, interpolation=method), (points * ratio).astype(np.float32))


@cache
def stills(assets: Path, person: str) -> tuple[Still, ...]:
    """All unoccluded expressions of a person; the first is neutral. Cached per process."""
    sheet = cv2.cvtColor(cv2.imread(str(assets / "people" / f"{person}.jpg")), cv2.COLOR_BGR2RGB)
    detector = RetinaFace(assets / "retinaface_mobilenet025.onnx")
    mesh = FaceMesh(assets / "face_landmarks.tflite")
    pictures = [tile for place, tile in enumerate(tiles(sheet)) if place not in OCCLUDED]
    return tuple(_still(tile, detector, mesh) for tile in pictures)
