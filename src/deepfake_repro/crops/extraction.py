"""Face crops of one video (Section 4.1): sampled frames, every face, box + 30 %, 224 × 224 pixels.

A video is a stream of sampled frames: only a few frames and their crops are in memory at a time.
What cannot be used is recorded with its reason, never dropped silently. Whole corpora:
``preprocess``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ..faces.detection import FULL_SIDE, FaceDetector, Faces
from ..project.params import CropOptions
from .decoding import VideoError, peculiarities
from .frames import face_sequence, frames, image_peculiarities, photographs, picture
from .shapes import RecipeCrops, cut
from .store import Row, encode

FRAMES_AT_ONCE = 8
FORGED = 0.1
"""Smallest share of a face's box that the mask of a forgery covers."""
VISIBLE = 16
"""Pixels of the smallest face that a detector finds in the image it searches."""

DetectorFactory = Callable[[], FaceDetector]


class Extracted(NamedTuple):
    """The crops of a sampled frame or of a whole video."""

    rows: list[Row]
    """Faces: rows of ``CROP_SCHEMA``."""
    skipped: list[Row]
    """What could not be used: records video_id/reason/detail."""


def enlarge(boxes: np.ndarray, margin: float = 0.3) -> np.ndarray:
    """Scale boxes [N, 4] (x0, y0, x1, y1) by 1 + margin about their centres, without clipping."""
    growth = (boxes[:, 2:] - boxes[:, :2]) * (margin / 2)
    return np.concatenate([boxes[:, :2] - growth, boxes[:, 2:] + growth], axis=1)


def inner_box(side: int, margin: float) -> np.ndarray:
    """Return the detected box, float64 [4], in a square crop of ``side`` pixels with ``margin``."""
    border = side * (1 - 1 / (1 + margin)) / 2
    return np.array([border, border, side - border, side - border])


def round_faces(faces: Faces, width: int, height: int) -> Faces:
    """Round what the detector found in an image of ``width`` × ``height`` pixels.

    The network's last bits depend on the processor. Coarse steps hide them, so that the same pixels
    are cut everywhere unless an edge lies within some 1e-4 pixels of a tie. Boxes are rounded to
    steps of at most 1/32 of their longer side, at least whole pixels (1 pixel for faces below 64
    pixels, 4 pixels from 128 on), points to a quarter of that, scores to three decimals.
    """
    sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1)
    _, exponents = np.frexp(sides)  # side = mantissa * 2 ** exponent, mantissa in [0.5, 1)
    steps = np.ldexp(np.float32(1), np.maximum(exponents - 6, 0))[:, None]
    boxes = np.rint(faces.boxes / steps) * steps
    limits = np.array([width, height, width, height], np.float32)
    fine = steps[:, None] / 4
    return Faces(
        boxes=np.minimum(boxes, limits),
        scores=faces.scores.round(3),
        points=np.rint(faces.points / fine) * fine,
    )


def crop(image: np.ndarray, box: np.ndarray, size: int = 224) -> np.ndarray:
    """Cut ``box`` [4] from ``image`` [H, W, 3], stretch it to uint8 [size, size, 3] (Section 4.1).

    The box is rounded to whole pixels; outside the image, its border pixels are repeated. Area
    averaging shrinks (no aliasing), bilinear interpolation enlarges: bicubic would add ringing,
    which a detector could mistake for traces of manipulation. Every x86-64 processor gives the same
    crop: bilinear resizing uses integers, area averaging no instruction that varies.
    """
    x0, y0, x1, y1 = np.rint(box).astype(int)
    columns = np.clip(np.arange(x0, max(x1, x0 + 1)), 0, image.shape[1] - 1)
    rows = np.clip(np.arange(y0, max(y1, y0 + 1)), 0, image.shape[0] - 1)
    shrinks = len(rows) * len(columns) > size * size
    return cv2.resize(
        image[np.ix_(rows, columns)],
        (size, size),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR_EXACT,
    )


def extract(
    video_row: Mapping[str, Any], root: Path, detector: FaceDetector, options: CropOptions
) -> Extracted:
    """Collect all that ``stream`` yields for one index row; raises ``ValueError`` as it does."""
    rows: list[Row] = []
    skipped: list[Row] = []
    for extracted in stream(video_row, root, detector, options):
        rows += extracted.rows
        skipped += extracted.skipped
    return Extracted(rows, skipped)


def stream(
    video_row: Mapping[str, Any], root: Path, detector: FaceDetector, options: CropOptions
) -> Iterator[Extracted]:
    """Yield the face crops of each sampled frame of one index row (Section 4.1).

    ``kind`` ``video``: sampled frames, every face of at least ``min_score`` and ``min_side``.
    ``frames``: images of faces, every n-th (``every`` in ``attrs``), resized whole, not detected.
    ``photos``: photographs, each with the detector. ``image``: one photograph. ``face``: one image
    of a face, without the detector. Problems are yielded as items without rows; items with reason
    ``note`` name what a player would display differently. Raises ``ValueError`` for other kinds.
    """
    check_kind(video_row)
    sampled = empty = faces = 0
    error = None
    searched = _Searched(detector)
    try:
        for rows in READERS[video_row["kind"]](video_row, root, searched, options):
            sampled += 1
            empty += not rows
            faces += len(rows)
            yield Extracted(rows, [])
    except VideoError as caught:
        error = caught
    if error:
        reason = "broken_off" if faces else _why_unreadable(source_file(video_row, root))
        yield skip(video_row, reason, f"{error.reason} (after {sampled} sampled frames)")
    elif empty:
        reason = "frame_without_face" if faces else "no_face"
        cause = "" if faces else _too_small_to_see(searched.side, options)
        yield skip(video_row, reason, f"{empty} of {sampled} frames{cause}")
    if faces:
        for note in _peculiarities(video_row, root):
            yield skip(video_row, "note", note)


class _Searched:
    """A detector that remembers the longest side of the images it searched, in pixels."""

    def __init__(self, detector: FaceDetector) -> None:
        self.side = 0
        self._detector = detector

    def __call__(self, images: Sequence[np.ndarray]) -> list[Faces]:
        self.side = max([self.side, *(max(image.shape[:2]) for image in images)])
        return self._detector(images)


def _too_small_to_see(side: int, options: CropOptions) -> str:
    """Return why the detector may miss small faces in images of this longer side, or "".

    Larger images are shrunk for the search, and in the shrunk one a face needs ``VISIBLE`` pixels.
    """
    limit = FULL_SIDE if options.detector == "retinaface" else options.detector_side
    smallest = VISIBLE * side / limit
    if side <= limit or smallest <= options.min_side:
        return ""
    return f"; faces below {smallest:.0f} pixels cannot be seen in frames of {side}"


def _peculiarities(video_row: Mapping[str, Any], root: Path) -> list[str]:
    """Name what a player would show differently from the crops; nothing for face sequences."""
    with suppress(VideoError):
        if video_row["kind"] == "video":
            return peculiarities(root / video_row["path"])
        if video_row["kind"] in ("photos", "image"):
            return image_peculiarities(root, video_row["path"])
    return []


def skip(video_row: Mapping[str, Any], reason: str, detail: str) -> Extracted:
    """Make the item that records why (part of) a video was skipped."""
    return Extracted([], [{"video_id": video_row["video_id"], "reason": reason, "detail": detail}])


def check_kind(video_row: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for an index row of an unknown ``kind``."""
    if video_row["kind"] not in READERS:
        raise ValueError(
            f"{video_row['video_id']}: kind {video_row['kind']!r} is none of {', '.join(READERS)}"
        )


def source_file(video_row: Mapping[str, Any], root: Path) -> Path:
    """Return the file, folder or archive that an index row is read from."""
    return root / video_row["path"].partition("!")[0]


def files_and_bytes(path: Path) -> list[int]:
    """Count the files in a folder, or one file, and their bytes; 0 and 0 if there is none."""
    if path.is_dir():
        sizes = [entry.stat().st_size for entry in os.scandir(path)]
    elif path.exists():
        sizes = [path.stat().st_size]
    else:
        sizes = []
    return [len(sizes), sum(sizes)]


def _why_unreadable(path: Path) -> str:
    if not path.exists():
        return "missing"
    _, size = files_and_bytes(path)
    return "undecodable" if size else "empty"


def _from_video(
    video_row: Mapping[str, Any], root: Path, detector: FaceDetector, options: CropOptions
) -> Iterator[list[Row]]:
    """Yield the rows of each sampled frame of a video."""
    path = root / video_row["path"]
    sampling = options.frames_per_second, options.frames_per_clip or None
    sampled = enumerate(frames(path, *sampling))
    mask = json.loads(video_row.get("attrs") or "{}").get("mask")
    masks = frames(root / mask, *sampling) if mask else None
    for group in _in_groups(sampled, FRAMES_AT_ONCE):
        detected = detector([image for _, (_, image) in group])
        for (number, (seconds, image)), found in zip(group, detected, strict=True):
            faces = round_faces(found, image.shape[1], image.shape[0])
            if masks:
                _, forged = next(masks, (0.0, None))
                if forged is None:
                    raise VideoError(mask, "the mask ends before its video")
                faces = forged_faces(faces, forged, image.shape)
            yield _face_rows(video_row, number, seconds, image, faces, options)


def forged_faces(faces: Faces, mask: np.ndarray, shape: tuple[int, ...]) -> Faces:
    """Keep the faces of an image of ``shape`` [H, W, 3] that a mask [h, w, 3] marks as forged.

    At least ``FORGED`` of the box must be white; the mask may have another size.
    """
    scale = np.array([mask.shape[1] / shape[1], mask.shape[0] / shape[0]] * 2)
    white = mask.max(axis=2) > 127
    shares = [
        white[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].mean()
        for x0, y0, x1, y1 in np.rint(faces.boxes * scale).astype(int)
    ]
    keep = np.flatnonzero(np.array(shares) >= FORGED)
    return Faces(boxes=faces.boxes[keep], scores=faces.scores[keep], points=faces.points[keep])


def _from_photos(
    video_row: Mapping[str, Any], root: Path, detector: FaceDetector, options: CropOptions
) -> Iterator[list[Row]]:
    """Yield the rows of each photograph of a folder."""
    for number, image in photographs(root, video_row["path"]):
        (found,) = detector([image])
        faces = round_faces(found, image.shape[1], image.shape[0])
        yield _face_rows(video_row, number, float("nan"), image, faces, options)


def _from_sequence(
    video_row: Mapping[str, Any], root: Path, detector: FaceDetector, options: CropOptions
) -> Iterator[list[Row]]:
    """Yield one row for each image of a face sequence; the whole image is the face."""
    every = json.loads(video_row.get("attrs") or "{}").get("every", 1)
    for number, image in face_sequence(root, video_row["path"], every):
        yield _whole_image(video_row, number, image, options)


def _whole_image(
    video_row: Mapping[str, Any], number: int, image: np.ndarray, options: CropOptions
) -> list[Row]:
    """Make the store's row of an image that is a face crop."""
    height, width = image.shape[:2]
    face = Faces(
        boxes=np.array([[0, 0, width, height]], np.float32),
        scores=np.ones(1, np.float32),
        points=np.full((1, 5, 2), np.nan, np.float32),
    )
    options = replace(options, margin=0.0, min_side=0)
    return _face_rows(video_row, number, float("nan"), image, face, options)


def _from_image(
    video_row: Mapping[str, Any], root: Path, detector: FaceDetector, options: CropOptions
) -> Iterator[list[Row]]:
    """Yield the rows of one photograph: those of the faces to which its label applies."""
    image = picture(root, video_row["path"])
    height, width = image.shape[:2]
    (found,) = detector([image])
    faces = labelled_faces(round_faces(found, width, height), width, height, options)
    yield _face_rows(video_row, 0, float("nan"), image, faces, options)


def labelled_faces(faces: Faces, width: int, height: int, options: CropOptions) -> Faces:
    """Keep the faces to which a picture's label applies, if they are large and certain enough.

    ``options.image_face``: ``central``, the one nearest to the middle of the picture; ``largest``;
    ``all``. Raises ``ValueError`` for another value.
    """
    sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1, initial=np.inf)
    keep = np.flatnonzero((faces.scores >= options.min_score) & (sides >= options.min_side))
    boxes = faces.boxes[keep]
    if options.image_face == "central":
        distances = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([width, height]) / 2
        keep = keep[np.argsort((distances**2).sum(axis=1), kind="stable")[:1]]
    elif options.image_face == "largest":
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        keep = keep[np.argsort(-areas, kind="stable")[:1]]
    elif options.image_face != "all":
        raise ValueError(
            f"crops.image_face: {options.image_face!r} is none of central, largest, all"
        )
    return Faces(boxes=faces.boxes[keep], scores=faces.scores[keep], points=faces.points[keep])


def _from_face(
    video_row: Mapping[str, Any], root: Path, detector: FaceDetector, options: CropOptions
) -> Iterator[list[Row]]:
    """Yield the row of one picture that is a face crop already; no detector runs on it."""
    yield _whole_image(video_row, 0, picture(root, video_row["path"]), options)


READERS = {
    "video": _from_video,
    "frames": _from_sequence,
    "photos": _from_photos,
    "image": _from_image,
    "face": _from_face,
}
"""``kind`` of an index row -> generator of the rows of each frame."""


def _face_rows(
    video_row: Mapping[str, Any],
    number: int,
    seconds: float,
    image: np.ndarray,
    faces: Faces,
    options: CropOptions,
) -> list[Row]:
    """Make the store's rows of one frame's faces of at least ``min_score`` and ``min_side``."""
    height, width = image.shape[:2]
    sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1, initial=np.inf)
    keep = np.flatnonzero((faces.scores >= options.min_score) & (sides >= options.min_side))
    rows = []
    for face, index in enumerate(keep):
        x0, y0, x1, y1 = faces.boxes[index].tolist()
        rows.append(
            {
                "video_id": video_row["video_id"],
                "frame": number,
                "seconds": seconds,
                "width": width,
                "height": height,
                "face": face,
                "x0": x0,
                "y0": y0,
                "x1": x1,
                "y1": y1,
                "score": float(faces.scores[index]),
                "landmarks": faces.points[index].ravel().tolist(),
                "image": encode(_picture(image, faces, int(index), options), options.encoding),
            }
        )
    return rows


def _picture(image: np.ndarray, faces: Faces, index: int, options: CropOptions) -> np.ndarray:
    """Cut one face as the paper does, or by the recipe of somebody else's detector."""
    if isinstance(options, RecipeCrops):
        return cut(image, faces.boxes[index], faces.points[index], options)
    (window,) = enlarge(faces.boxes[[index]], options.margin)
    return crop(image, window, options.size)


def _in_groups(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of ``size`` items; on a ``VideoError``, first those that came before it."""
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
