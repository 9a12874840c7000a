"""Face crops (Section 4.1): one frame a second, every face, box + 30 %, 224 × 224 pixels.

Videos are cropped in parts of some hundred, one file each (``crop_store``). A finished part is never made
again, and nothing depends on the number of workers or on interruptions. Videos that gave nothing are
recorded with the reason in ``skipped.csv``, never passed over silently.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from .crop_store import CROP_SCHEMA as CROP_SCHEMA
from .crop_store import ENCODINGS, Row, encode, read_skipped, write_part
from .crop_store import CropStore as CropStore
from .faces import FaceDetector, Faces
from .params import CropOptions as CropOptions
from .video import VideoError, face_sequence, frames

LOST = ("missing", "empty", "undecodable", "no_face")  # reasons for which a video has no crop at all
SOURCE = ("video_id", "path", "kind", "attrs")  # the columns of the index that decide a video's crops
FRAMES_AT_ONCE = 8
_STORE_VERSION = 1  # raise it when the same input gives other crops

DetectorFactory = Callable[[], FaceDetector]


def enlarge(boxes: np.ndarray, margin: float = 0.3) -> np.ndarray:
    """Boxes [N, 4] (x0, y0, x1, y1) with width and height times 1 + margin about their centres, unclipped."""
    growth = (boxes[:, 2:] - boxes[:, :2]) * (margin / 2)
    return np.concatenate([boxes[:, :2] - growth, boxes[:, 2:] + growth], axis=1)


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
            options: CropOptions) -> tuple[list[Row], list[Row]]:
    """All face crops of one index row (Section 4.1), and what could not be used.

    ``kind`` ``video``: sampled frames, every face of at least ``min_score`` and ``min_side``. ``kind``
    ``frames``: already cropped faces, each ``every``-th of ``attrs``, resized whole without the detector.
    Returns (rows of ``CROP_SCHEMA``, records video_id/reason/detail). Raises ``ValueError`` for other kinds.
    """
    readers = {"video": _from_video, "frames": _from_sequence}
    if video_row["kind"] not in readers:
        raise ValueError(f"{video_row['video_id']}: kind {video_row['kind']!r} is neither video nor frames")
    rows: list[Row] = []
    seen = without = 0
    problem = None
    try:
        for found in readers[video_row["kind"]](video_row, root, detector, options):
            seen, without = seen + 1, without + (not found)
            rows += found
    except VideoError as error:
        problem = f"{error.reason} (after {seen} sampled frames)"
    if problem:
        reason = "broken_off" if rows else _unreadable(_source(video_row, root))
    elif without:
        problem, reason = f"{without} of {seen} frames", "frame_without_face" if rows else "no_face"
    return rows, [{"video_id": video_row["video_id"], "reason": reason, "detail": problem}] if problem else []


def _source(video_row: Mapping[str, Any], root: Path) -> Path:
    return root / video_row["path"].partition("!")[0]  # of a folder inside an archive, the archive


def _unreadable(path: Path) -> str:
    return "missing" if not path.exists() else "undecodable" if sum(_size(path)[1:]) else "empty"


def _from_video(video_row: Mapping[str, Any], root: Path, detector: FaceDetector,
                options: CropOptions) -> Iterator[list[Row]]:
    """The rows of each sampled frame of a video."""
    sampled = enumerate(frames(root / video_row["path"], options.frames_per_second))
    for some in _in_groups(sampled, FRAMES_AT_ONCE):
        found = detector([image for _, (_, image) in some])
        for (number, (seconds, image)), faces in zip(some, found, strict=True):
            yield _face_rows({"video_id": video_row["video_id"], "frame": number, "seconds": seconds},
                             image, faces, options)


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


@dataclass(frozen=True)
class Part:
    """Videos of one corpus (rows of the index) that are cropped together into the file ``path``."""

    path: Path
    root: Path
    videos: tuple[Row, ...]


def plan_parts(index: pd.DataFrame, roots: Mapping[str, Path], out: Path, options: CropOptions,
               videos_per_part: int = 200) -> list[Part]:
    """Divide the index, by corpus and in order of ``video_id``, into parts.

    A part's name ends in a hash of all that its content follows from: options, index rows, sizes of the
    source files. Raises ``ValueError`` if ``roots`` lacks a corpus.
    """
    parts = []
    for dataset, rows in index.sort_values("video_id").groupby("dataset"):
        if dataset not in roots:
            raise ValueError(f"corpora.{dataset}: the index has videos of it, but no root folder is given")
        videos = rows[[name for name in SOURCE if name in rows]].fillna("").to_dict("records")
        for number, first in enumerate(range(0, len(videos), videos_per_part)):
            some = tuple(videos[first:first + videos_per_part])
            name = f"{dataset}-{number:05d}-{_digest(some, roots[dataset], options)}.arrow"
            parts.append(Part(out / name, roots[dataset], some))
    return parts


def _digest(videos: Iterable[Row], root: Path, options: CropOptions) -> str:
    settings = {key: value for key, value in asdict(options).items() if key != "max_skipped"}
    sources = [(video, _size(_source(video, root))) for video in videos]
    content = json.dumps([_STORE_VERSION, settings, sources], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _size(path: Path) -> list[int]:
    """Number and bytes of the files that a file or folder is: 0 and 0 of what is missing."""
    files = os.scandir(path) if path.is_dir() else [path] if path.exists() else []
    sizes = [file.stat().st_size for file in files]
    return [len(sizes), sum(sizes)]


def crop_part(part: Part, detector: FaceDetector, options: CropOptions) -> tuple[int, int]:
    """Crop the videos of ``part`` and write its file; returns the numbers of faces and of skipped records."""
    skipped: list[Row] = []

    def rows() -> Iterator[Row]:
        for video in part.videos:
            found, lost = extract(video, part.root, detector, options)
            skipped.extend(lost)
            yield from found

    return write_part(part.path, rows(), skipped), len(skipped)


def to_stderr(line: str) -> None:
    """Print a progress line where a stored notebook does not keep it."""
    print(line, file=sys.stderr, flush=True)


def make_crops(index: pd.DataFrame, roots: Mapping[str, Path], out: Path, detector_factory: DetectorFactory,
               options: CropOptions, workers: int = 1, videos_per_part: int = 200,
               progress: Callable[[str], None] = to_stderr) -> pd.DataFrame:
    """Crop every video of ``index`` into the store at ``out`` (Section 4.1); returns the skipped table.

    ``roots``: folder of each corpus; ``detector_factory``: makes one detector in each of the ``workers``
    processes (it must be picklable: ``functools.partial(detector, ...)``); with one worker all is done in
    this process. Parts already there are kept, parts of these corpora for other input are removed. Raises
    ``ValueError``, after writing all, if more than ``options.max_skipped`` of the videos gave no crop.
    """
    if options.encoding not in ENCODINGS:
        raise ValueError(f"crops.encoding = {options.encoding!r}: choose one of {', '.join(ENCODINGS)}")
    parts = plan_parts(index, roots, out, options, videos_per_part)
    waiting = [part for part in parts if not part.path.exists()]
    finished = _crop_all(waiting, detector_factory, options, workers)
    for line in _progress_lines(parts, waiting, finished):
        progress(line)
    out.mkdir(parents=True, exist_ok=True)
    _remove_stale(out, parts)
    skipped = pd.DataFrame([record for path in sorted(out.glob("*.arrow")) for record in read_skipped(path)],
                           columns=["video_id", "reason", "detail"])
    skipped.to_csv(out / "skipped.csv", index=False, lineterminator="\n")
    _check_share(skipped[skipped["video_id"].isin(index["video_id"])], len(index), options.max_skipped)
    return skipped


def _crop_all(parts: list[Part], factory: DetectorFactory, options: CropOptions,
              workers: int) -> Iterator[tuple[Part, tuple[int, int]]]:
    """Crop ``parts``, yielding each with its ``crop_part`` result when it is done."""
    if workers <= 1 or len(parts) <= 1:
        detector = factory() if parts else None
        for part in parts:
            yield part, crop_part(part, detector, options)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker,
                               initargs=(factory,))
    try:
        jobs = {pool.submit(_crop_in_worker, part, options): part for part in parts}
        for job in as_completed(jobs):
            yield jobs[job], job.result()
    finally:
        pool.shutdown(cancel_futures=True)  # an error or an interrupt must not wait for the parts not begun


_worker: dict[str, FaceDetector] = {}  # of a worker process: its detector, made once


def _start_worker(factory: DetectorFactory) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers share the cores; each computes in one thread
    cv2.setNumThreads(1)
    _worker["detector"] = factory()


def _crop_in_worker(part: Part, options: CropOptions) -> tuple[int, int]:
    return crop_part(part, _worker["detector"], options)


def _progress_lines(parts: list[Part], waiting: list[Part],
                    finished: Iterable[tuple[Part, tuple[int, int]]]) -> Iterator[str]:
    """After each part: videos done, faces and skipped records of this run, time left."""
    total, todo = (sum(len(part.videos) for part in some) for some in (parts, waiting))
    done = faces = skipped = 0
    start = time.monotonic()
    if total > todo:
        yield f"crops: {total - todo}/{total} videos are done already"
    for part, (more_faces, more_skipped) in finished:
        done, faces, skipped = done + len(part.videos), faces + more_faces, skipped + more_skipped
        left = (time.monotonic() - start) / done * (todo - done)
        yield (f"crops: {total - todo + done}/{total} videos, {faces} faces, {skipped} skipped records, "
               f"about {left:.0f} s left")


def _remove_stale(out: Path, parts: list[Part]) -> None:
    """Delete parts of these corpora that were made from other input, and halves of interrupted ones."""
    current = {part.path.name for part in parts}
    datasets = {name.rsplit("-", 2)[0] for name in current}
    for path in out.glob("*.arrow*"):
        made_by_us = re.fullmatch(r"(.+)-\d{5}-[0-9a-f]{12}\.arrow(\.tmp)?", path.name)
        if made_by_us and made_by_us[1] in datasets and path.name not in current:
            path.unlink()


def _check_share(skipped: pd.DataFrame, videos: int, limit: float) -> None:
    lost = skipped[skipped["reason"].isin(LOST)]
    if len(lost) > limit * videos:
        first = ", ".join(f"{row.video_id} ({row.reason})" for row in lost.head(10).itertuples())
        raise ValueError(f"{len(lost)} of {videos} videos gave no crop, over crops.max_skipped = {limit}: "
                         f"mend them (skipped.csv lists all) or raise crops.max_skipped; first {first}")
