"""DeepfakeBench's ``dataset_json``: read with its known defects, written as its stock loader accepts it.

Written from a description of the format; none of its non-commercial code is used. One file
``<name>.json`` holds ``{name: {label: {train|val|test: {video: {"label": …, "frames": […]}}}}}``;
some names nest the videos in compression levels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from ..corpora.adapters.df40 import ALIASES
from ..corpora.adapters.df40 import METHODS as DF40_METHODS
from ..corpora.files import read_json

MODES = ("train", "val", "test")
PREFERRED = ("test", "val", "train")  # of a video listed in several: never train on a test video
NAMES = {"ffpp": "FaceForensics++", "celebdf2": "Celeb-DF-v2", "dfdc": "DFDC"}
COMPRESSED = (
    "FaceForensics++",
    "FF-DF",
    "FF-F2F",
    "FF-FS",
    "FF-NT",
    "DeepFakeDetection",
    "FaceShifter",
)
# Labels of the stock label_dict that say more than real or fake -> manipulation and category of our
# index.
LABELS = {
    "FF-real": ("real", "REAL"), "FF-DF": ("deepfakes", "FS"), "FF-F2F": ("face2face", "RE"),
    "FF-FS": ("faceswap", "FS"), "FF-NT": ("neuraltextures", "RE"), "FF-FH": ("faceshifter", "FS"),
    "FF-SH": ("faceshifter", "FS"), "CelebDFv2_real": ("real", "REAL"), "CelebDFv2_fake": ("deepfake", "FS"),
    "DFDC_Real": ("real", "REAL"), "DFDC_Fake": ("dfdc_unknown", "FS"), "DFDCP_FakeA": ("method_a", "FS"),
    "DFDCP_FakeB": ("method_b", "FS"),
}  # fmt: skip
STOCK = {
    "ffpp": ("FF-real", "FF-DF", "FF-F2F", "FF-FS", "FF-NT", "FF-FH"),
    "celebdf2": ("CelebDFv2_real", "CelebDFv2_fake"),
    "dfdc": ("DFDC_Real", "DFDC_Fake"),
}
MANIFEST = ("path", "label", "manipulation", "category", "split", "compression", "deepfakebench")


@dataclass(frozen=True)
class Entry:
    """A video as listed: ``folder`` of its frames (the parts of its path) and their names."""

    label: str
    mode: str
    compression: str
    folder: tuple[str, ...]
    frames: tuple[str, ...]


def label_key(dataset: str, manipulation: str) -> str:
    """DeepfakeBench's label of a manipulation of one of our corpora.

    Where its stock label_dict has none: ``<dataset>_<manipulation>_Fake`` or ``<dataset>_Real``,
    which the user adds to ``label_dict``.
    """
    for key in STOCK.get(dataset, ()):
        if LABELS[key][0] == manipulation:
            return key
    return f"{dataset}_Real" if manipulation == "real" else f"{dataset}_{manipulation}_Fake"


def meaning(key: str) -> tuple[str, str]:
    """(manipulation, category) of a label; ``ValueError`` where it says neither real nor fake.

    Unknown labels go by their ending ``_real`` or ``_fake`` in any case; what stands before it is
    the manipulation if it is one of DF40's.
    """
    if key in LABELS:
        return LABELS[key]
    method, _, side = key.lower().rpartition("_")
    if side not in ("real", "fake"):
        raise ValueError(
            f"label '{key}' is not known and ends in neither _real nor _fake: rename it in the file"
        )
    method = ALIASES.get(method, method)
    known = (method, DF40_METHODS[method]) if method in DF40_METHODS else ("unknown", "UNK")
    return ("real", "REAL") if side == "real" else known


def document(dataset: str, videos: pd.DataFrame) -> dict[str, dict]:
    """The JSON of a corpus. ``videos``: columns label_key, split, compression, name, frames (list of str).

    Every label gets all three modes, and all compression levels where the name nests them: the
    stock loader looks each up for every label. Raises ``ValueError`` for what it would stumble
    over: an empty list of frames, a frame not named by a number, a path that does not begin with
    ``./``, a name used twice in a label.
    """
    name = NAMES.get(dataset, dataset)
    levels = sorted(set(videos["compression"])) if name in COMPRESSED else []
    labels = {
        key: {mode: {level: {} for level in levels} for mode in MODES}
        for key in sorted(set(videos["label_key"]))
    }
    for video in videos.itertuples():
        _check(video)
        entries = labels[video.label_key][video.split]
        entries = entries[video.compression] if levels else entries
        if video.name in entries:
            raise ValueError(
                f"{name}: two videos of {video.label_key} are called '{video.name}': rename one"
            )
        entries[video.name] = {"label": video.label_key, "frames": list(video.frames)}
    return {name: labels}


def _check(video: object) -> None:
    if not video.frames:
        raise ValueError(f"video '{video.name}' has no frames: leave it out")
    for frame in video.frames:
        if not frame.startswith("./") or not PurePosixPath(frame).stem.isdecimal():
            raise ValueError(f"frame '{frame}' must begin with './' and be named by a number")


def read_dataset(file: Path, frames_root: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A ``dataset_json`` as a manifest (columns ``MANIFEST``) for the adapter ``manifest``, and remarks.

    ``path`` is the folder of a video's frames below ``frames_root``; leading folders of the listed
    paths that are not there are cut off, back-slashes and absolute paths understood. A video in
    several splits is kept in test, else val, else train. Skipped and counted in the remarks:
    entries that are no video, empty lists, what is not on disk. Raises ``ValueError`` for a file of
    another shape, an unknown label, a path with ``..``, a folder with two labels;
    ``FileNotFoundError`` if nothing listed is below ``frames_root``.
    """
    defects: Counter[str] = Counter()
    entries = list(_entries(read_json(file), defects, file.name))
    cut = _leading(entries, frames_root, file.name)
    deep_enough = [entry for entry in entries if len(entry.folder) > cut]
    defects["videos not on disk"] += len(entries) - len(deep_enough)
    kept: dict[str, Entry] = {}
    for entry in sorted(
        deep_enough, key=lambda entry: (PREFERRED.index(entry.mode), entry.folder, entry.label)
    ):
        path = "/".join(entry.folder[cut:])
        first = kept.setdefault(path, entry)
        if meaning(first.label)[0] != meaning(entry.label)[0]:
            raise ValueError(
                f"{file.name}: '{path}' is listed as {first.label} and as {entry.label}: keep one"
            )
        defects[
            "videos listed again in another split or twice, kept once (test before val before train)"
        ] += first is not entry
    rows = [
        _row(path, entry)
        for path, entry in sorted(kept.items())
        if _on_disk(frames_root / path, entry, defects)
    ]
    return (
        pd.DataFrame(rows, columns=list(MANIFEST)),
        tuple(f"{count} {what}" for what, count in sorted(defects.items()) if count),
    )


def _entries(content: object, defects: Counter[str], name: str) -> Iterator[Entry]:
    labels = (
        next(iter(content.values())) if isinstance(content, dict) and len(content) == 1 else None
    )
    if not isinstance(labels, dict) or not all(
        isinstance(modes, dict) for modes in labels.values()
    ):
        raise ValueError(
            f"{name}: expected {{dataset: {{label: {{train|val|test: videos}}}}}}: is it a dataset_json?"
        )
    for label, modes in labels.items():
        meaning(label)
        for mode in MODES:
            yield from _videos(label, mode, modes.get(mode, {}), "", defects)


def _videos(
    label: str, mode: str, videos: object, compression: str, defects: Counter[str]
) -> Iterator[Entry]:
    """Videos of a mode, or of one of its compression levels; anything else there is counted and skipped."""
    if not isinstance(videos, dict):
        defects["entries that are no video"] += 1
        return
    for name, entry in videos.items():
        if isinstance(entry, dict) and "frames" not in entry and not compression:
            yield from _videos(label, mode, entry, name, defects)
        elif not isinstance(entry, dict) or not isinstance(entry.get("frames"), list):
            defects["entries that are no video"] += 1
        elif not entry["frames"]:
            defects["videos with an empty list of frames"] += 1
        else:
            paths = [_parts(str(frame)) for frame in entry["frames"]]
            yield Entry(label, mode, compression, paths[0][:-1], tuple(path[-1] for path in paths))


def _parts(path: str) -> tuple[str, ...]:
    """Components of a path of either system, without drive, root and ``.``."""
    parts = tuple(
        part
        for part in path.replace("\\", "/").split("/")
        if part not in ("", ".") and part[1:] != ":"
    )
    if ".." in parts or len(parts) < 2:
        raise ValueError(f"frame '{path}' must lie in a folder and hold no '..': correct the file")
    return parts


def _leading(entries: Iterable[Entry], root: Path, name: str) -> int:
    """How many leading folders to cut off so that a listed video is found below ``root``: as few as possible."""
    folders = sorted({entry.folder for entry in entries})
    for cut in range(max(map(len, folders), default=0)):
        if any(len(folder) > cut and root.joinpath(*folder[cut:]).is_dir() for folder in folders):
            return cut
    raise FileNotFoundError(
        f"{name}: none of its {len(folders)} folders of frames is below '{root}'; give the folder "
        "that the paths in the file begin at"
    )


def _on_disk(folder: Path, entry: Entry, defects: Counter[str]) -> bool:
    there = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    missing = len(set(entry.frames) - there)
    found = missing < len(set(entry.frames))
    defects["listed frames missing on disk, of videos that are there"] += missing if found else 0
    defects["videos not on disk"] += not found
    return found


def _row(path: str, entry: Entry) -> tuple[str, ...]:
    manipulation, category = meaning(entry.label)
    return (
        path,
        "real" if category == "REAL" else "fake",
        manipulation,
        category,
        entry.mode,
        entry.compression,
        entry.label,
    )
