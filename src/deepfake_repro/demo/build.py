"""The ``miniatures`` stage: plan, render and lay out the nine miniature corpora, on all cores."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from ..project.params import Miniature
from ..project.progress import track
from ..project.provenance import file_digest
from .casting import Clip, plan
from .clips import FRAMES_PER_SECOND, Motion, camera, decoded, encode, face_crop, render, take_seed
from .layouts import finish, official_name
from .manipulations import generate, recipe
from .people import Still, stills

PEOPLE = {
    "train": ("P001", "P002", "P004", "P005", "P009"),
    "val": ("P003", "P007"),
    "test": ("P006", "P008", "P010"),
}
"""No person, neither target nor donor, is in more than one split."""
SEQUENCE_SIZE = {"df40": 256, "wilddeepfake": 224}


def expressions(assets: Path, clip: Clip) -> tuple[Still, Still]:
    """The two expressions between which the target drifts in this take."""
    faces = stills(assets, clip.target)
    first, second = np.random.default_rng(
        take_seed("faces", clip.corpus, clip.target, clip.take)
    ).choice(len(faces), 2, replace=False)
    return faces[first], faces[second]


def _donor(assets: Path, clip: Clip, kind: str) -> Still:
    """The donor's face (swap), or the target with the driving person's expression (reenactment)."""
    person = clip.donor if kind == "swap" else clip.target
    faces = stills(assets, person)
    return faces[take_seed("donor", clip.donor, clip.target, clip.take, clip.method) % len(faces)]


def make_clip(clip: Clip, assets: Path, root: Path, seconds: float) -> None:
    """Render one planned clip to its place under the corpus root: a video, or a folder of face PNGs."""
    still, towards = expressions(assets, clip)
    conditions = camera(clip.corpus, clip.target, clip.take)
    motion = Motion(still, towards, conditions)
    how = None if clip.donor is None else recipe(clip.corpus, clip.method)
    layer = None if how is None else generate(how, still, _donor(assets, clip, how.kind))
    seed = take_seed(clip.corpus, clip.target, clip.take)
    place = root / clip.path
    place.parent.mkdir(parents=True, exist_ok=True)
    if clip.kind == "video":
        length = seconds + (seed % 5) * 0.25
        times = np.arange(round(length * FRAMES_PER_SECOND)) / FRAMES_PER_SECOND
        encode(render(still, motion, layer, seed, times), conditions.crf, place)
    else:
        _face_sequence(clip, still, motion, layer, seed, place)


def _face_sequence(
    clip: Clip, still: Still, motion: Motion, layer: object, seed: int, place: Path
) -> None:
    """Face PNGs as DF40 (a frame a second, 256 px) and WildDeepfake (every frame, 224 px) publish them."""
    times = np.arange(3.0) if clip.corpus == "df40" else np.arange(21) / FRAMES_PER_SECOND
    frames = decoded(render(still, motion, layer, seed, times), motion.camera.crf)
    place.mkdir(parents=True, exist_ok=True)
    for number, (frame, time) in enumerate(zip(frames, times, strict=True)):
        face = face_crop(frame, motion.face_box(still.points, time), SEQUENCE_SIZE[clip.corpus])
        name = f"{number:03d}" if clip.corpus == "df40" else str(number)
        cv2.imwrite(
            str(place / f"{name}.png"),
            cv2.cvtColor(face, cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_PNG_COMPRESSION, 3],
        )


def _make(task: tuple[Clip, Path, Path, float]) -> None:
    cv2.setNumThreads(1)
    make_clip(*task)


def build(name: str, size: Miniature, assets: Path, out: Path) -> dict[str, str]:
    """Make all miniature corpora of ``name`` under ``out``; returns their roots (posix, relative to the repository).

    Writes ``<out>.yaml`` beside the folder: the roots and one digest over every byte, on which the
    pipeline depends.
    """
    clips = plan(PEOPLE, size.videos, size.seed)
    shutil.rmtree(out, ignore_errors=True)
    lengths = {"train": size.train_seconds, "val": size.test_seconds, "test": size.test_seconds}
    tasks = [
        (clip, assets, out / official_name(clip.corpus), lengths[clip.split]) for clip in clips
    ]
    for library in ("OMP", "OPENBLAS"):  # the workers share the cores: each computes in one thread
        os.environ[f"{library}_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        for _ in track(pool.map(_make, tasks, chunksize=4), f"{name} clips", total=len(tasks)):
            pass
    for corpus in dict.fromkeys(clip.corpus for clip in clips):
        finish(
            corpus, out / official_name(corpus), [clip for clip in clips if clip.corpus == corpus]
        )
    return write_roots(out, dict.fromkeys(clip.corpus for clip in clips))


def write_roots(out: Path, corpora: Iterable[str]) -> dict[str, str]:
    """``<out>.yaml``: root of each corpus, relative to the file's folder, and a digest over all files."""
    roots = {corpus: f"{out.name}/{official_name(corpus)}" for corpus in corpora}
    lines = [
        f"digest: {file_digest(out)}   # over every byte below",
        "roots:",
        *(f"  {corpus}: {folder}" for corpus, folder in roots.items()),
    ]
    out.with_suffix(".yaml").write_text("\n".join(lines) + "\n")
    return roots
