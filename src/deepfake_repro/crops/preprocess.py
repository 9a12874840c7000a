"""Preprocessing of whole corpora (Section 4.1) on any number of machines, without losing work.

The videos are divided into parts of a few hundred, one file of the store each. A part is written
whole or not at all, and its bytes depend on its input alone. A run may therefore be interrupted,
resumed and distributed freely: on this machine, or on any cluster with a Dask scheduler.
``isolation`` handles single videos that crash or hang a decoder; Dask handles lost workers and
reassigns their parts.

Memory: a child process holds 8 sampled frames with their crops (about 0.7 GB for 4K video), the
process that writes a part 256 crops, whatever the length of the video.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from ..faces.detection import DETECTORS, FaceDetector, detector
from ..project.params import CropOptions, root
from ..project.paths import ASSETS, OWN_DETECTORS
from ..project.provenance import file_digest
from .extraction import DetectorFactory, check_kind, files_and_bytes, source_file
from .isolation import Extractor, allow_all, extractor, stop_all
from .store import ENCODINGS, Row, read_skipped, write_listing, write_part

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

LOST = ("missing", "empty", "undecodable", "no_face", "crashed", "timeout")
"""Reasons that count against crops.max_skipped: no crops, or an extraction cut short."""
SOURCE = ("video_id", "path", "kind", "attrs")
"""Columns of the index that determine a video's crops."""
HOW_TO_RUN = {"max_skipped", "video_timeout", "scheduler"}
"""Options that do not affect the crops."""
_STORE_VERSION = 3  # increase it when crops of the same input change

Progress = Callable[[str], None]


class Counts(NamedTuple):
    """Numbers of faces and of skipped records."""

    faces: int
    skipped: int


@dataclass(frozen=True)
class Part:
    """Videos of one corpus (rows of the index) whose crops go into the file ``path``."""

    path: Path
    root: Path
    videos: tuple[Row, ...]


Finished = Generator[tuple[Part, Counts], None, None]
"""Parts and their counts, as they are finished."""


def detector_factory(options: CropOptions) -> partial[FaceDetector]:
    """Return a picklable factory of the face detector that ``params.yaml`` names.

    Raises as :func:`own_weights`.
    """
    make = partial(
        detector, options.detector, threshold=options.min_score, max_side=options.detector_side
    )
    weights = own_weights(options)
    if weights is None and options.detector == "retinaface":
        weights = root() / ASSETS / "retinaface_mobilenet025.onnx"
    return make if weights is None else partial(make, weights=weights)


def own_weights(options: CropOptions) -> Path | None:
    """Return the ONNX file of a face detector of your own; None if there is none.

    Raises ``ValueError`` for a file outside ``data/detectors`` and for a detector that takes no
    file, ``FileNotFoundError`` if there is no such file.
    """
    name = options.detector_weights
    if not name:
        return None
    if Path(name).parent != Path(OWN_DETECTORS):
        raise ValueError(
            f"crops.detector_weights = {name!r}: put the file into {OWN_DETECTORS}, on which the "
            "stage crops depends"
        )
    if "weights" not in signature(DETECTORS[options.detector]).parameters:
        raise ValueError(
            f"crops.detector_weights = {name!r}: the detector {options.detector} takes no file; "
            "leave the key empty"
        )
    if not (root() / name).is_file():
        raise FileNotFoundError(f"crops.detector_weights = {name!r}: there is no such file")
    return root() / name


def workers() -> int:
    """Return the number of processes for preprocessing: one per core."""
    return os.cpu_count() or 1


def plan_parts(
    index: pd.DataFrame,
    roots: Mapping[str, Path],
    out: Path,
    options: CropOptions,
    videos_per_part: int = 200,
) -> list[Part]:
    """Divide the index, by corpus and in order of ``video_id``, into parts.

    A part's name ends in a hash of everything that determines its content: options, index rows and
    the sizes of the source files. Raises ``ValueError`` if ``roots`` lacks a corpus or a row has an
    unknown ``kind``.
    """
    parts = []
    settings = _settings(options)
    for dataset, rows in index.sort_values("video_id").groupby("dataset"):
        if dataset not in roots:
            raise ValueError(
                f"corpora.{dataset}: the index has videos of it, but no root folder is given"
            )
        corpus_root = Path(roots[dataset]).absolute()  # remote workers run in another folder
        columns = [name for name in SOURCE if name in rows]
        videos = rows[columns].fillna("").to_dict("records")
        for number, first in enumerate(range(0, len(videos), videos_per_part)):
            part_videos = tuple(videos[first : first + videos_per_part])
            digest = _digest(part_videos, corpus_root, settings)
            path = out.absolute() / f"{dataset}-{number:05d}-{digest}.arrow"
            parts.append(Part(path, corpus_root, part_videos))
    return parts


def _settings(options: CropOptions) -> dict[str, Any]:
    """Return the options that determine the crops, a detector of your own by its content."""
    settings = {key: value for key, value in asdict(options).items() if key not in HOW_TO_RUN}
    del settings["detector_weights"]
    weights = own_weights(options)
    return settings if weights is None else settings | {"detector_sha256": file_digest(weights)}


def _digest(videos: Iterable[Row], root: Path, settings: Mapping[str, Any]) -> str:
    sources = []
    for video in videos:
        check_kind(video)
        sources.append((video, files_and_bytes(source_file(video, root))))
    content = json.dumps([_STORE_VERSION, settings, sources], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def crop_part(part: Part, extract: Extractor) -> Counts:
    """Crop the videos of ``part`` and write its file."""
    skipped: list[Row] = []

    def rows() -> Iterator[Row]:
        for video in part.videos:
            for extracted in extract(video, part.root):
                skipped.extend(extracted.skipped)
                yield from extracted.rows

    faces = write_part(part.path, rows(), skipped)
    return Counts(faces, len(skipped))


def _crop(part: Part, factory: DetectorFactory, options: CropOptions) -> Counts:
    """Crop a part in whatever thread or process this runs."""
    return crop_part(part, extractor(factory, options))


def to_stderr(line: str) -> None:
    """Print a progress line to stderr, which executed notebooks do not store."""
    print(line, file=sys.stderr, flush=True)


def make_crops(
    index: pd.DataFrame,
    roots: Mapping[str, Path],
    out: Path,
    detector_factory: DetectorFactory,
    options: CropOptions,
    workers: int = 1,
    videos_per_part: int = 200,
    progress: Progress = to_stderr,
) -> pd.DataFrame:
    """Crop every video of ``index`` into the store at ``out`` (Section 4.1).

    ``roots``: folder of each corpus. ``detector_factory``: makes the detectors, must be picklable
    (``functools.partial(detector, ...)``). ``workers``: processes on this machine, ignored if
    ``options.scheduler`` names a cluster. Existing parts are kept; parts of these corpora made from
    other input are removed. Returns the table of skipped videos, ``skipped.csv``.

    Raises ``OSError`` if a part cannot be written (disk full), ``RuntimeError`` if a cluster
    repeatedly lost parts (all others are written), and ``ValueError``, after writing all, if more
    than ``options.max_skipped`` of the videos gave no crop.
    """
    if options.encoding not in ENCODINGS:
        raise ValueError(
            f"crops.encoding = {options.encoding!r}: choose one of {', '.join(ENCODINGS)}"
        )
    parts = plan_parts(index, roots, out, options, videos_per_part)
    waiting = [part for part in parts if not part.path.exists()]
    try:
        with closing(_crop_all(waiting, detector_factory, options, workers, progress)) as finished:
            for line in _progress_lines(parts, waiting, finished):
                progress(line)
        skipped = _finish(out, parts)
    except OSError as error:
        if error.errno is None:  # not raised by the system: the message contains the cure
            raise
        raise OSError(f"{error}; {_how_to_resume(out, parts)}") from error
    finally:
        stop_all()
        allow_all()
    skipped_here = skipped[skipped["video_id"].isin(index["video_id"])]
    _check_lost(skipped_here, len(index), options.max_skipped)
    return skipped


def _how_to_resume(out: Path, parts: list[Part]) -> str:
    finished = sum(part.path.exists() for part in parts)
    return (
        f"{finished} of {len(parts)} parts are finished and kept in {out}: "
        "fix the cause (disk full: make room) and rerun the crops stage"
    )


def _finish(out: Path, parts: list[Part]) -> pd.DataFrame:
    """Remove stale parts, write ``parts.csv`` and ``skipped.csv``; return the latter."""
    out.mkdir(parents=True, exist_ok=True)
    _remove_stale(out, parts)
    skipped = pd.DataFrame(
        [record for path in sorted(out.glob("*.arrow")) for record in read_skipped(path)],
        columns=["video_id", "reason", "detail"],
    )
    skipped.to_csv(out / "skipped.csv", index=False, lineterminator="\n")
    write_listing(out)
    return skipped


def _crop_all(
    parts: list[Part],
    factory: DetectorFactory,
    options: CropOptions,
    workers: int,
    progress: Progress,
) -> Finished:
    """Crop ``parts``; yield each with its counts when it is finished."""
    from dask import config  # takes half a second to import

    scheduler = options.scheduler or config.get("scheduler-address", None)
    workers = min(workers, len(parts))
    if not scheduler and workers <= 1:
        for part in parts:
            yield part, _crop(part, factory, options)
    elif parts:
        with _executor(scheduler, workers, progress) as executor:
            longest_first = sorted(parts, key=lambda part: -len(part.videos))
            jobs = {executor.submit(_crop, part, factory, options): part for part in longest_first}
            yield from _results(jobs)


def _results(jobs: dict[Future[Counts], Part]) -> Finished:
    """Yield each part with its counts when it is finished; raise at the end for the lost ones."""
    from distributed import KilledWorker

    lost = []
    try:
        for job in as_completed(jobs):
            try:
                yield jobs[job], job.result()
            except KilledWorker:
                lost.append(jobs[job].path.name)
    finally:  # on an error or interrupt, do not wait for parts that have not started
        for job in jobs:
            job.cancel()
    if lost:
        raise RuntimeError(
            f"{len(lost)} of {len(jobs)} parts were repeatedly lost with their workers, first "
            f"{lost[0]}: check the workers' logs (memory?), then rerun the crops stage"
        )


@contextmanager
def _executor(scheduler: str | None, workers: int, progress: Progress) -> Iterator[Executor]:
    """Give a cluster, or ``workers`` threads of this process with a child process each.

    On this machine too, Dask distributes the parts and shows them on its dashboard. It communicates
    with the threads in memory and opens only the dashboard's port; where not even that is allowed,
    a plain thread pool does the same.
    """
    with ExitStack() as stack:
        client = _connect(scheduler, workers, progress, stack)
        executor = client.get_executor(pure=False) if client else ThreadPoolExecutor(workers)
        stack.enter_context(executor)
        # Runs first on error, so that shutdown does not wait for videos in progress.
        stack.callback(stop_all)
        yield executor


def _connect(
    scheduler: str | None, workers: int, progress: Progress, stack: ExitStack
) -> Client | None:
    """Connect to ``scheduler`` or a cluster in this process; None if no port can be opened."""
    from distributed import Client

    if scheduler:
        try:
            client = stack.enter_context(Client(scheduler))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"crops.scheduler = {scheduler!r}: no Dask scheduler answers there ({error}); "
                "start one with `dask scheduler` or leave the key empty"
            ) from None
        progress(f"crops: dashboard at {client.dashboard_link}")
        return client
    try:
        cluster = stack.enter_context(_local_cluster(workers))
    except (OSError, RuntimeError) as error:
        progress(f"crops: no dashboard ({error})")
        return None
    progress(f"crops: dashboard at http://127.0.0.1:{cluster.scheduler.http_server.port}/status")
    return stack.enter_context(Client(cluster))


def _local_cluster(workers: int) -> LocalCluster:
    import logging

    from distributed import LocalCluster

    return LocalCluster(
        n_workers=1,
        threads_per_worker=workers,
        processes=False,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    )


def _progress_lines(
    parts: list[Part], waiting: list[Part], finished: Iterable[tuple[Part, Counts]]
) -> Iterator[str]:
    """Yield after each part: videos done, this run's rates and skipped records, time left."""
    total = sum(len(part.videos) for part in parts)
    todo = sum(len(part.videos) for part in waiting)
    before = total - todo
    if before:
        yield f"crops: {before}/{total} videos are done already"
    videos = faces = skipped = 0
    start = time.monotonic()
    for part, counts in finished:
        videos += len(part.videos)
        faces += counts.faces
        skipped += counts.skipped
        seconds = time.monotonic() - start
        yield (
            f"crops: {before + videos}/{total} videos, {videos / seconds:.2f} videos/s, "
            f"{faces / seconds:.1f} faces/s, {skipped} skipped records, "
            f"about {seconds / videos * (todo - videos):.0f} s left"
        )


def _remove_stale(out: Path, parts: list[Part]) -> None:
    """Delete parts of these corpora that were made from other input, and incomplete ones."""
    current = {part.path.name for part in parts}
    datasets = {name.rsplit("-", 2)[0] for name in current}
    for path in out.glob("*.arrow*"):
        part_name = re.fullmatch(r"(.+)-\d{5}-[0-9a-f]{12}\.arrow(\.\w+)?", path.name)
        if part_name and part_name[1] in datasets and path.name not in current:
            path.unlink()


def _check_lost(skipped: pd.DataFrame, videos: int, limit: float) -> None:
    """Raise ``ValueError`` if more than ``limit`` of the ``videos`` were lost."""
    lost = skipped[skipped["reason"].isin(LOST)]
    if len(lost) > limit * videos:
        first = ", ".join(f"{row.video_id} ({row.reason})" for row in lost.head(10).itertuples())
        raise ValueError(
            f"{len(lost)} of {videos} videos gave no crop, over crops.max_skipped = {limit}: "
            f"fix them (skipped.csv lists all) or raise crops.max_skipped; first {first}"
        )
