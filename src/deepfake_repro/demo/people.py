"""The ten synthetic people: their 16-expression sheets cut into stills with dense landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from ..faces.detection import RetinaFace
from ..faces.landmarks import OVAL, FaceMesh

# Height of the face oval in a still, pixels. With the box enlarged by 30 % a crop comes out near
# 224 px without shrinking, which would remove the traces that the demo is about.
FACE_HEIGHT = 165
# Pictures of the sheet (thoughtful, exhausted, shocked) in which hands or a bowed head hide part of
# some faces.
OCCLUDED = (10, 12, 13)


@dataclass(frozen=True)
class Still:
    """One expression of one person: RGB uint8 ``[H, W, 3]`` and landmarks float32 ``[478, 2]``."""

    image: np.ndarray
    points: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """Middle of the face oval, (x, y) pixels."""
        oval = self.points[list(OVAL)]
        return (oval.min(0) + oval.max(0)) / 2


def tiles(sheet: np.ndarray) -> list[np.ndarray]:
    """Cut an expression sheet ``[H, W, 3]`` into its 16 pictures, row by row, without their frames.

    Raises ``ValueError`` if there are not 16 white frames: the asset is not the expected sheet.
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
    """Detect landmarks and scale tile and landmarks to a face oval of ``FACE_HEIGHT`` pixels."""
    (faces,) = detector([tile])
    points = mesh(tile, faces.boxes[0])
    scale = FACE_HEIGHT / np.ptp(points[list(OVAL), 1])
    size = (round(tile.shape[1] * scale), round(tile.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    ratio = np.array(size, np.float32) / np.array(tile.shape[1::-1], np.float32)
    return Still(cv2.resize(tile, size, interpolation=method), (points * ratio).astype(np.float32))


@cache
def stills(assets: Path, person: str) -> tuple[Still, ...]:
    """Return all unoccluded expressions of a person; the first is neutral. Cached per process."""
    path = assets / "people" / f"{person}.jpg"
    sheet = cv2.imread(str(path))
    if sheet is None:
        raise FileNotFoundError(f"'{path}' is missing or not a picture; fetch the assets again")
    detector = RetinaFace(assets / "retinaface_mobilenet025.onnx")
    mesh = FaceMesh(assets / "face_landmarks.tflite")
    pictures = tiles(cv2.cvtColor(sheet, cv2.COLOR_BGR2RGB))
    return tuple(
        _still(picture, detector, mesh)
        for number, picture in enumerate(pictures)
        if number not in OCCLUDED
    )
