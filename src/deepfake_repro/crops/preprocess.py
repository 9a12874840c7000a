"""Preprocessing of whole corpora (Section 4.1): any number of machines, and no work is lost.

The videos are divided into parts of some hundred, one file of the store each. A part is written
whole or not at all and its bytes follow from its input alone, so that a run may be interrupted,
continued and spread as one likes: on this machine, or on any cluster whose Dask scheduler one
names. ``isolation`` sees to single videos that crash or hang a decoder; Dask sees to workers that
are lost and gives their parts to others.

Memory: a guarded process holds 8 sampled frames with their crops (about 0.7 GB for 4K video), the
process that writes a part 256 crops, whatever the length of the video.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ..faces.detection import FaceDetector, detector
from ..project.params import CropOptions, root
from ..project.paths import ASSETS
from .extraction import DetectorFactory, check_kind, files_and_bytes, source_file
from .isolation import Extractor, allow_all, extractor, stop_all
from .store import ENCODINGS, Row, read_skipped, write_listing, write_part

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

# Reasons that count against crops.max_skipped: nothing usable in the video, or not all that is in
# it.
LOST = ("missing", "empty", "undecodable", "no_face", "crashed", "timeout")
SOURCE = (
    "video_id",
    "path",
    "kind",
    "attrs",
)  # the columns of the index that decide a video's crops
HOW_TO_RUN = {"max_skipped", "video_timeout", "scheduler"}  # options that no crop depends on
_STORE_VERSION = 2  # raise it when the same input gives other crops

Progress = Callable[[str], None]
Counts = tuple[int, int]  # faces and skipped records of a part


def detector_factory(options: CropOptions) -> partial[FaceDetector]:
    """A picklable maker of the face detector that ``params.yaml`` names."""
    if options.detector == "retinaface":
        weights = root() / ASSETS / "retinaface_mobilenet025.onnx"
        return partial(
            detector,
            "retinaface",
            weights=weights,
            threshold=options.min_score,
            max_side=options.detector_side,
        )
    return partial(
        detector, options.detector, threshold=options.min_score, max_side=options.detector_side
    )


def workers() -> int:
    """Processes for preprocessing: one a core."""
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Part:
    """Videos of one corpus (rows of the index) that are cropped together into the file ``path``."""

    path: Path
    root: Path
    videos: tuple[Row, ...]


def plan_parts(
    index: pd.DataFrame,
    roots: Mapping[str, Path],
    out: Path,
    options: CropOptions,
    videos_per_part: int = 200,
) -> list[Part]:
    """Divide the index, by corpus and in order of ``video_id``, into parts.

    A part's name ends in a hash of all that its content follows from: options, index rows, sizes of
    the source files. Raises ``ValueError`` if ``roots`` lacks a corpus or a row has an unknown
    ``kind``.
    """
    parts = []
    for dataset, rows in index.sort_values("video_id").groupby("dataset"):
        if dataset not in roots:
            raise ValueError(
                f"corpora.{dataset}: the index has videos of it, but no root folder is given"
            )
        root = Path(roots[dataset]).absolute()  # a worker elsewhere runs in another folder
        videos = rows[[name for name in SOURCE if name in rows]].fillna("").to_dict("records")
        for number, first in enumerate(range(0, len(videos), videos_per_part)):
            some = tuple(videos[first : first + videos_per_part])
            name = f"{dataset}-{number:05d}-{_digest(some, root, options)}.arrow"
            parts.append(Part(out.absolute() / name, root, some))
    return parts


def _digest(videos: Iterable[Row], root: Path, options: CropOptions) -> str:
    settings = {key: value for key, value in asdict(options).items() if key not in HOW_TO_RUN}
    sources = []
    for video in videos:
        check_kind(video)
        sources.append((video, files_and_bytes(source_file(video, root))))
    content = json.dumps([_STORE_VERSION, settings, sources], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def crop_part(part: Part, extract: Extractor) -> Counts:
    """Crop the videos of ``part`` and write its file; returns the numbers of faces and of skipped records."""
    skipped: list[Row] = []

    def rows() -> Iterator[Row]:
        for video in part.videos:
            for found, lost in extract(video, part.root):
                skipped.extend(lost)
                yield from found

    return write_part(part.path, rows(), skipped), len(skipped)


def _crop(part: Part, factory: DetectorFactory, options: CropOptions) -> Counts:
    """The task of a worker, wherever it runs."""
    return crop_part(part, extractor(factory, options))


def to_stderr(line: str) -> None:
    """Print a progress line where a stored notebook does not keep it."""
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
    """Crop every video of ``index`` into the store at ``out`` (Section 4.1); returns the skipped table.

    ``roots``: folder of each corpus; ``detector_factory``: makes the detectors, must be picklable
    (``functools.partial(detector, ...)``); ``workers``: processes on this machine, without meaning where
    ``options.scheduler`` names a cluster. Parts already there are kept, parts of these corpora for other
    input are removed. Raises ``OSError`` if a part cannot be written (disk full), ``RuntimeError`` if the
    cluster lost parts again and again (all others are written), and ``ValueError``, after writing all, if
    more than ``options.max_skipped`` of the videos gave no crop.
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
        if error.errno is None:  # not the system's: it says itself what to do
            raise
        done = sum(part.path.exists() for part in parts)
        raise OSError(
            f"{error}; {done} of {len(parts)} parts are finished and stay in {out}: "
            "mend this (a full disk: make room) and run the crops stage again"
        ) from error
    finally:
        stop_all()
        allow_all()
    _check_share(
        skipped[skipped["video_id"].isin(index["video_id"])], len(index), options.max_skipped
    )
    return skipped


def _finish(out: Path, parts: list[Part]) -> pd.DataFrame:
    """Clear ``out`` of other parts and write the tables over all of it: what was skipped, and the listing."""
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
) -> Iterator[tuple[Part, Counts]]:
    """Crop ``parts``, yielding each with its counts when it is done."""
    from dask import config  # half a second, which only those pay who crop

    scheduler = options.scheduler or config.get("scheduler-address", None)
    if not scheduler and min(workers, len(parts)) <= 1:
        for part in parts:
            yield part, _crop(part, factory, options)
    elif parts:
        with _executor(scheduler, min(workers, len(parts)), progress) as executor:
            # The longest first: none of them may be left over for the end.
            jobs = {
                executor.submit(_crop, part, factory, options): part
                for part in sorted(parts, key=lambda part: -len(part.videos))
            }
            yield from _results(jobs)


def _results(jobs: dict[Future[Counts], Part]) -> Iterator[tuple[Part, Counts]]:
    """Each part with its counts as it is done; what a cluster could not do is an error at the end only."""
    from distributed import KilledWorker

    given_up = []
    try:
        for job in as_completed(jobs):
            try:
                yield jobs[job], job.result()
            except KilledWorker:
                given_up.append(jobs[job].path.name)
    finally:  # an error or an interrupt must not wait for the parts not begun
        for job in jobs:
            job.cancel()
    if given_up:
        raise RuntimeError(
            f"{len(given_up)} of {len(jobs)} parts were lost with their workers several times, first "
            f"{given_up[0]}: see the workers' logs (memory?), then run the crops stage again"
        )


@contextmanager
def _executor(scheduler: str | None, workers: int, progress: Progress) -> Iterator[Executor]:
    """Where the parts are cropped: a cluster, or ``workers`` threads of this process with a guarded process each.

    On this machine too Dask hands out the parts and shows them on its dashboard. It talks to the
    threads in memory and opens no port but the dashboard's; where not even that can be opened, bare
    threads do the same.
    """
    with ExitStack() as stack:
        client = _connect(scheduler, workers, progress, stack)
        executor = client.get_executor(pure=False) if client else ThreadPoolExecutor(workers)
        stack.enter_context(executor)
        stack.callback(
            stop_all
        )  # first, when something went wrong: nobody shall wait for the videos under way
        yield executor


def _connect(
    scheduler: str | None, workers: int, progress: Progress, stack: ExitStack
) -> Client | None:
    """Client of the cluster called ``scheduler`` or of one in this process; None where no port can be opened."""
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
    """After each part: videos done, rates and skipped records of this run, time left."""
    total, todo = (sum(len(part.videos) for part in some) for some in (parts, waiting))
    done = faces = skipped = 0
    start = time.monotonic()
    if total > todo:
        yield f"crops: {total - todo}/{total} videos are done already"
    for part, (more_faces, more_skipped) in finished:
        done, faces, skipped = done + len(part.videos), faces + more_faces, skipped + more_skipped
        seconds = time.monotonic() - start
        yield (
            f"crops: {total - todo + done}/{total} videos, {done / seconds:.2f} videos/s, {faces / seconds:.1f} "
            f"faces/s, {skipped} skipped records, about {seconds / done * (todo - done):.0f} s left"
        )


def _remove_stale(out: Path, parts: list[Part]) -> None:
    """Delete parts of these corpora that were made from other input, and halves of interrupted ones."""
    current = {part.path.name for part in parts}
    datasets = {name.rsplit("-", 2)[0] for name in current}
    for path in out.glob("*.arrow*"):
        made_by_us = re.fullmatch(r"(.+)-\d{5}-[0-9a-f]{12}\.arrow(\.\w+)?", path.name)
        if made_by_us and made_by_us[1] in datasets and path.name not in current:
            path.unlink()


def _check_share(skipped: pd.DataFrame, videos: int, limit: float) -> None:
    lost = skipped[skipped["reason"].isin(LOST)]
    if len(lost) > limit * videos:
        first = ", ".join(f"{row.video_id} ({row.reason})" for row in lost.head(10).itertuples())
        raise ValueError(
            f"{len(lost)} of {videos} videos gave no crop, over crops.max_skipped = {limit}: "
            f"mend them (skipped.csv lists all) or raise crops.max_skipped; first {first}"
        )
