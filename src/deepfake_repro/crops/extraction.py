"""Face crops of one video (Section 4.1): a frame a second (or so many a clip), every face, box + 30 %, 224 × 224 pixels.

A video is a stream of sampled frames: nothing here holds more than a few frames and their crops. What could
not be used is recorded with its reason, never passed over silently. Whole corpora: ``preprocess``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..faces.detection import FaceDetector, Faces
from ..project.params import CropOptions
from .decoding import VideoError
from .frames import face_sequence, frames, photographs
from .store import Row, encode

FRAMES_AT_ONCE = 8

DetectorFactory = Callable[[], FaceDetector]
Found = tuple[list[Row], list[Row]]  # of a sampled frame: rows of CROP_SCHEMA; records video_id/reason/detail


def enlarge(boxes: np.ndarray, margin: float = 0.3) -> np.ndarray:
    """Boxes [N, 4] (x0, y0, x1, y1) with width and height times 1 + margin about their centres, unclipped."""
    growth = (boxes[:, 2:] - boxes[:, :2]) * (margin / 2)
    return np.concatenate([boxes[:, :2] - growth, boxes[:, 2:] + growth], axis=1)


def inner_box(side: int, margin: float) -> np.ndarray:
    """Where the detected box lies in a square crop of ``side`` pixels that was enlarged by ``margin``, float64 [4]."""
    border = side * (1 - 1 / (1 + margin)) / 2
    return np.array([border, border, side - border, side - border])


def crop(image: np.ndarray, box: np.ndarray, size: int = 224) -> np.ndarray:
    """Cut ``box`` [4] out of ``image`` [H, W, 3] and stretch it to uint8 [size, size, 3] (Section 4.1).

    The box is rounded to whole pixels; where it leaves the image the border pixels are repeated. Area
    averaging shrinks (no aliasing), bilinear interpolation enlarges: bicubic would add ringing, which a
    detector of manipulation traces could take for one.
    """
    x0, y0, x1, y1 = np.rint(box).astype(int)
    columns = np.clip(np.arange(x0, max(x1, x0 + 1)), 0, image.shape[1] - 1)
    rows = np.clip(np.arange(y0, max(y1, y0 + 1)), 0, image.shape[0] - 1)
    shrinks = len(rows) * len(columns) > size * size
    return cv2.resize(image[np.ix_(rows, columns)], (size, size),
                      interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def extract(video_row: Mapping[str, Any], root: Path, detector: FaceDetector,
            options: CropOptions) -> Found:
    """All face crops of one index row (Section 4.1), and what could not be used: all of ``stream`` at once.

    Returns (rows of ``CROP_SCHEMA``, records video_id/reason/detail). Raises ``ValueError`` as ``stream`` does.
    """
    found = list(stream(video_row, root, detector, options))
    return [row for rows, _ in found for row in rows], [record for _, records in found for record in records]


def stream(video_row: Mapping[str, Any], root: Path, detector: FaceDetector,
           options: CropOptions) -> Iterator[Found]:
    """What each sampled frame of one index row gives, as it is found (Section 4.1).

    ``kind`` ``video``: sampled frames, every face of at least ``min_score`` and ``min_side``. ``kind``
    ``frames``: already cropped faces, each ``every``-th of ``attrs``, resized whole without the detector.
    ``photos``: photographs, each with the detector. A last item without rows carries the record of what went
    wrong. Raises ``ValueError`` for other kinds.
    """
    check_kind(video_row)
    faces = seen = without = 0
    problem = None
    try:
        for found in READERS[video_row["kind"]](video_row, root, detector, options):
            seen, without, faces = seen + 1, without + (not found), faces + len(found)
            yield found, []
    except VideoError as error:
        problem = f"{error.reason} (after {seen} sampled frames)"
    if problem:
        reason = "broken_off" if faces else _unreadable(source_file(video_row, root))
    elif without:
        problem, reason = f"{without} of {seen} frames", "frame_without_face" if faces else "no_face"
    if problem:
        yield [], [{"video_id": video_row["video_id"], "reason": reason, "detail": problem}]


def check_kind(video_row: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for an index row of another ``kind`` than the three."""
    if video_row["kind"] not in READERS:
        raise ValueError(f"{video_row['video_id']}: kind {video_row['kind']!r} is none of {', '.join(READERS)}")


def source_file(video_row: Mapping[str, Any], root: Path) -> Path:
    """The file or folder that an index row is read from; of a folder inside an archive, the archive."""
    return root / video_row["path"].partition("!")[0]


def files_and_bytes(path: Path) -> list[int]:
    """Number and bytes of the files that a file or folder is: 0 and 0 of what is missing."""
    files = os.scandir(path) if path.is_dir() else [path] if path.exists() else []
    sizes = [file.stat().st_size for file in files]
    return [len(sizes), sum(sizes)]


def _unreadable(path: Path) -> str:
    return "missing" if not path.exists() else "undecodable" if files_and_bytes(path)[1] else "empty"


def _from_video(video_row: Mapping[str, Any], root: Path, detector: FaceDetector,
                options: CropOptions) -> Iterator[list[Row]]:
    """The rows of each sampled frame of a video."""
    sampled = enumerate(frames(root / video_row["path"], options.frames_per_second, options.frames_per_clip or None))
    for some in _in_groups(sampled, FRAMES_AT_ONCE):
        found = detector([image for _, (_, image) in some])
        for (number, (seconds, image)), faces in zip(some, found, strict=True):
            yield _face_rows({"video_id": video_row["video_id"], "frame": number, "seconds": seconds},
                             image, faces, options)


def _from_photos(video_row: Mapping[str, Any], root: Path, detector: FaceDetector,
                 options: CropOptions) -> Iterator[list[Row]]:
    """The rows of each photograph of a folder."""
    for number, image in photographs(root, video_row["path"]):
        yield _face_rows({"video_id": video_row["video_id"], "frame": number, "seconds": float("nan")},
                         image, detector([image])[0], options)


def _from_sequence(video_row: Mapping[str, Any], root: Path, detector: FaceDetector,
                   options: CropOptions) -> Iterator[list[Row]]:
    """The one row of each image of a face sequence; the whole image is the face."""
    every = json.loads(video_row.get("attrs") or "{}").get("every", 1)
    whole = replace(options, margin=0.0, min_side=0)
    for number, image in face_sequence(root, video_row["path"], every):
        face = Faces(np.array([[0, 0, *image.shape[1::-1]]], np.float32), np.ones(1, np.float32),
                     np.full((1, 5, 2), np.nan, np.float32))
        yield _face_rows({"video_id": video_row["video_id"], "frame": number, "seconds": float("nan")},
                         image, face, whole)


READERS = {"video": _from_video, "frames": _from_sequence, "photos": _from_photos}


def _face_rows(key: Row, image: np.ndarray, faces: Faces, options: CropOptions) -> list[Row]:
    """Store rows of the faces of one frame that are sure and large enough."""
    good = (faces.scores >= options.min_score) & (
        (faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1, initial=np.inf) >= options.min_side)
    source = {"width": image.shape[1], "height": image.shape[0]}
    return [
        {**key, **source, "face": face, **dict(zip(("x0", "y0", "x1", "y1"), box.tolist(), strict=True)),
         "score": float(score), "landmarks": points.ravel().tolist(),
         "image": encode(crop(image, window, options.size), options.encoding)}
        for face, (box, window, score, points) in enumerate(zip(
            faces.boxes[good], enlarge(faces.boxes[good], options.margin), faces.scores[good],
            faces.points[good], strict=True))
    ]


def _in_groups(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of ``size`` items; what came before a ``VideoError`` is still handed on before it is raised."""
    group: list[Any] = []
    try:
        for item in items:
            group.append(item)
            if len(group) == size:
                yield group
                group = []
    except VideoError:
        if group:
            yield group
        raise
    if group:
        yield group
