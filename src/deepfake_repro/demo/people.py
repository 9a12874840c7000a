"""The ten synthetic people: their 16-expression sheets cut into stills with dense landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..faces.detection import RetinaFace
from ..faces.landmarks import OVAL, POINTS, FaceMesh
from .exact import on_grid, resized

# Height of the face oval in a still, pixels. With the box enlarged by 30 % a crop comes out near
# 224 px without shrinking, which would remove the traces that the demo is about.
FACE_HEIGHT = 165
# Pictures of the sheet (thoughtful, exhausted, shocked) in which hands or a bowed head hide part of
# some faces.
OCCLUDED = (10, 12, 13)
# Stored, since a network's results depend on the processor.
LANDMARKS = Path(__file__).with_name("landmarks.csv")
QUANTUM = 4  # stored landmarks are multiples of 1 / 4 pixel of the sheet


@dataclass(frozen=True)
class Still:
    """One expression of one person: RGB uint8 ``[H, W, 3]`` and landmarks ``[478, 2]``."""

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


def _still(tile: np.ndarray, points: np.ndarray) -> Still:
    """Scale tile and landmarks to a face oval of ``FACE_HEIGHT`` pixels."""
    oval = points[list(OVAL), 1]
    scale = FACE_HEIGHT / float(oval.max() - oval.min())
    size = (round(tile.shape[1] * scale), round(tile.shape[0] * scale))
    ratio = np.array(size) / np.array(tile.shape[1::-1])
    return Still(resized(tile, size, "area" if scale < 1 else "cubic"), on_grid(points * ratio))


def _pictures(assets: Path, person: str) -> list[np.ndarray]:
    """Read the unoccluded pictures of a person's sheet, RGB."""
    path = assets / "people" / f"{person}.jpg"
    if not path.is_file():
        raise FileNotFoundError(f"'{path}' is missing; fetch the assets again")
    sheet = np.asarray(Image.open(path).convert("RGB"))
    return [tile for number, tile in enumerate(tiles(sheet)) if number not in OCCLUDED]


def detected(assets: Path, person: str) -> np.ndarray:
    """Find the landmarks of a person's pictures with the network: int ``[pictures, 478, 2]``.

    They are in units of 1 / ``QUANTUM`` pixel of the sheet.
    """
    detector = RetinaFace(assets / "retinaface_mobilenet025.onnx")
    mesh = FaceMesh(assets / "face_landmarks.tflite")
    found = []
    for picture in _pictures(assets, person):
        (faces,) = detector([picture])
        found.append(np.rint(mesh(picture, faces.boxes[0]) * QUANTUM).astype(int))
    return np.stack(found)


def write_landmarks(assets: Path, target: Path = LANDMARKS) -> None:
    """Write the landmarks of all people, one picture per line, as CSV."""
    lines = []
    for path in sorted((assets / "people").glob("*.jpg")):
        for number, points in enumerate(detected(assets, path.stem)):
            lines.append(",".join(map(str, (path.stem, number, *points.ravel()))))
    target.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


@cache
def landmarks(person: str) -> np.ndarray:
    """Return the stored landmarks of a person's pictures, float64 ``[pictures, 478, 2]`` pixels."""
    lines = (line.split(",") for line in LANDMARKS.read_text(encoding="utf-8").splitlines())
    values = [[int(value) for value in line[2:]] for line in lines if line[0] == person]
    if not values:
        raise ValueError(
            f"{LANDMARKS.name}: no landmarks of '{person}'; write them with "
            "`deepfake-repro landmarks-of-people`"
        )
    return np.array(values).reshape(len(values), POINTS, 2) / QUANTUM


@cache
def stills(assets: Path, person: str) -> tuple[Still, ...]:
    """Return all unoccluded expressions of a person; the first is neutral. Cached per process."""
    pairs = zip(_pictures(assets, person), landmarks(person), strict=True)
    return tuple(_still(picture, points) for picture, points in pairs)
