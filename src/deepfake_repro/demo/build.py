"""The ``miniatures`` stage: plan, render and lay out the nine miniature corpora, on all cores."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ..project.params import Miniature, root
from ..project.progress import track
from ..project.provenance import committed_text, file_digest
from .casting import Clip, plan
from .clips import FRAMES_PER_SECOND, Motion, camera, decoded, encode, face_crop, render, take_seed
from .exact import blurred
from .layouts import finish, official_name
from .manipulations import Layer, generate, recipe, traces
from .people import Still, stills

# No person, neither target nor donor, is in more than one split.
PEOPLE = {
    "train": ("P001", "P002", "P004", "P005", "P009"),
    "val": ("P003", "P007"),
    "test": ("P006", "P008", "P010"),
}
SEQUENCE_SIZE = {"df40": 256, "wilddeepfake": 224}


def expressions(assets: Path, clip: Clip) -> tuple[Still, Still]:
    """Draw the two expressions between which the target drifts in this take."""
    faces = stills(assets, clip.target)
    rng = np.random.default_rng(take_seed("faces", clip.corpus, clip.target, clip.take))
    first, second = rng.choice(len(faces), 2, replace=False)
    return faces[first], faces[second]


def _donor(assets: Path, clip: Clip, kind: str) -> Still:
    """Return the donor's face (swap), or the target with the donor's expression (reenactment)."""
    person = clip.donor if kind == "swap" else clip.target
    if person is None:
        raise ValueError(f"{clip.corpus}: '{clip.path}' is a real clip; it has no donor")
    faces = stills(assets, person)
    return faces[take_seed("donor", clip.donor, clip.target, clip.take, clip.method) % len(faces)]


def make_clip(clip: Clip, assets: Path, root: Path, seconds: float) -> None:
    """Render one planned clip under the corpus root: a video, or a folder of face PNGs."""
    still, towards = expressions(assets, clip)
    conditions = camera(clip.corpus, clip.target, clip.take)
    still = replace(still, image=blurred(still.image, conditions.focus))
    motion = Motion(still, towards, conditions)
    layer = None
    if clip.donor is not None:
        how = recipe(clip.corpus, clip.method)
        parts = (clip.corpus, clip.method, clip.donor, clip.target, clip.take)
        left = traces(clip.corpus, take_seed("traces", *parts))
        layer = generate(how, still, _donor(assets, clip, how.kind), left)
    seed = take_seed(clip.corpus, clip.target, clip.take)
    path = root / clip.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if clip.kind == "video":
        length = seconds + (seed % 5) * 0.25
        times = np.arange(round(length * FRAMES_PER_SECOND)) / FRAMES_PER_SECOND
        encode(render(still, motion, layer, seed, times), conditions.qp, path)
    else:
        _face_sequence(clip, still, motion, layer, seed, path)


def _face_sequence(
    clip: Clip, still: Still, motion: Motion, layer: Layer | None, seed: int, folder: Path
) -> None:
    """Write face PNGs as published: DF40 has one per second, WildDeepfake one per frame."""
    df40 = clip.corpus == "df40"
    times = np.arange(3.0) if df40 else np.arange(21) / FRAMES_PER_SECOND
    frames = decoded(render(still, motion, layer, seed, times), motion.camera.qp)
    folder.mkdir(parents=True, exist_ok=True)
    for number, (frame, time) in enumerate(zip(frames, times, strict=True)):
        face = face_crop(frame, motion.face_box(still.points, time), SEQUENCE_SIZE[clip.corpus])
        name = f"{number:03d}" if df40 else str(number)
        cv2.imwrite(
            str(folder / f"{name}.png"),
            cv2.cvtColor(face, cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_PNG_COMPRESSION, 3],
        )


def _make(task: tuple[Clip, Path, Path, float]) -> None:
    cv2.setNumThreads(1)
    make_clip(*task)


def build(name: str, size: Miniature, assets: Path, out: Path) -> dict[str, str]:
    """Make all miniature corpora of ``name`` under ``out`` and return the root of each.

    Roots are posix and relative to the folder of ``out``. ``<out>.yaml`` lists them and a digest
    over every byte, on which the pipeline depends; ``results/corpora`` has one per
    corpus.
    """
    clips = plan(PEOPLE, size.videos, size.seed)
    corpora = list(dict.fromkeys(clip.corpus for clip in clips))
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
    for corpus in corpora:
        finish(corpus, out / official_name(corpus), clips)
    write_digests(out, corpora, root() / "results" / "corpora" / f"{name}.json")
    return write_roots(out, corpora)


def write_digests(out: Path, corpora: Iterable[str], target: Path) -> bool | None:
    """Write sha256 and bytes of each corpus under ``out`` as JSON and compare with the commit.

    Prints whether these are the committed corpora. Returns None if the commit has no such file.
    """
    found = {}
    for corpus in corpora:
        folder = out / official_name(corpus)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        found[corpus] = {"sha256": file_digest(folder), "bytes": size}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    committed = committed_text(target)
    if not committed:
        print(f"{out.name}: the commit has no digests of these corpora to compare with")
        return None
    known = json.loads(committed)
    other = [corpus for corpus in found if found[corpus] != known.get(corpus)]
    if other:
        print(
            f"{out.name}: NOT the committed corpora, other bytes in {', '.join(other)}; "
            "see the changes of code, params.yaml and installed packages"
        )
    else:
        print(f"{out.name}: these are the committed corpora, byte for byte")
    return not other


def write_roots(out: Path, corpora: Iterable[str]) -> dict[str, str]:
    """Write ``<out>.yaml``: a digest over all files and the root of each corpus, which is returned.

    Roots are relative to the folder of the YAML file.
    """
    roots = {corpus: f"{out.name}/{official_name(corpus)}" for corpus in corpora}
    lines = [
        f"digest: {file_digest(out)}   # over every byte below",
        "roots:",
        *(f"  {corpus}: {folder}" for corpus, folder in roots.items()),
    ]
    out.with_suffix(".yaml").write_text("\n".join(lines) + "\n")
    return roots
