"""DeepfakeBench's ``dataset_json``: write it for its stock loader, and read it despite its defects.

Written from a description of the format, without its non-commercial code. One file ``<name>.json``
contains ``{name: {label: {train|val|test: {video: {"label": …, "frames": […]}}}}}``; some names
nest the videos in compression levels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from ..corpora.adapters.df40 import ALIASES
from ..corpora.adapters.df40 import METHODS as DF40_METHODS
from ..corpora.files import read_json

MODES = ("train", "val", "test")
PREFERRED = ("test", "val", "train")
"""Which mode to keep for a video listed in several, so that no test video is trained on."""
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
LABELS = {
    "FF-real": ("real", "REAL"),
    "FF-DF": ("deepfakes", "FS"),
    "FF-F2F": ("face2face", "RE"),
    "FF-FS": ("faceswap", "FS"),
    "FF-NT": ("neuraltextures", "RE"),
    "FF-FH": ("faceshifter", "FS"),
    "FF-SH": ("faceshifter", "FS"),
    "CelebDFv2_real": ("real", "REAL"),
    "CelebDFv2_fake": ("deepfake", "FS"),
    "DFDC_Real": ("real", "REAL"),
    "DFDC_Fake": ("dfdc_unknown", "FS"),
    "DFDCP_FakeA": ("method_a", "FS"),
    "DFDCP_FakeB": ("method_b", "FS"),
}
"""Labels of the stock label_dict -> manipulation and category of our index."""
STOCK = {
    "ffpp": ("FF-real", "FF-DF", "FF-F2F", "FF-FS", "FF-NT", "FF-FH"),
    "celebdf2": ("CelebDFv2_real", "CelebDFv2_fake"),
    "dfdc": ("DFDC_Real", "DFDC_Fake"),
}
MANIFEST = ("path", "label", "manipulation", "category", "split", "compression", "deepfakebench")


@dataclass(frozen=True)
class Entry:
    """One listed video: the parts of the path of its folder, and the file names of its frames."""

    label: str
    mode: str
    compression: str
    folder: tuple[str, ...]
    frames: tuple[str, ...]


class ExportedVideo(NamedTuple):
    """One video to write: its label, split, compression level, name and frame paths."""

    label_key: str
    split: str
    compression: str
    name: str
    frames: Sequence[str]


def label_key(dataset: str, manipulation: str) -> str:
    """Return DeepfakeBench's label of a manipulation of one of our corpora.

    Without a label in its stock label_dict this is ``<dataset>_<manipulation>_Fake`` or
    ``<dataset>_Real``, which the user adds to ``label_dict``.
    """
    for key in STOCK.get(dataset, ()):
        if LABELS[key][0] == manipulation:
            return key
    return f"{dataset}_Real" if manipulation == "real" else f"{dataset}_{manipulation}_Fake"


def meaning(key: str) -> tuple[str, str]:
    """Return (manipulation, category) of a label; ``ValueError`` if it is neither real nor fake.

    Unknown labels are recognised by their ending ``_real`` or ``_fake`` in any case; the part
    before is the manipulation if it is one of DF40's.
    """
    if key in LABELS:
        return LABELS[key]
    method, _, side = key.lower().rpartition("_")
    if side not in ("real", "fake"):
        raise ValueError(
            f"label '{key}' is unknown and ends in neither _real nor _fake: rename it in the file"
        )
    if side == "real":
        return "real", "REAL"
    method = ALIASES.get(method, method)
    return (method, DF40_METHODS[method]) if method in DF40_METHODS else ("unknown", "UNK")


def document(dataset: str, videos: Iterable[ExportedVideo]) -> dict[str, dict]:
    """Return the JSON of a corpus.

    The stock loader looks up all three modes for every label, and all compression levels where the
    name nests them, so every label gets them all. Raises ``ValueError`` for what that loader cannot
    read: an empty list of frames, a frame not named by a number, a path that does not begin with
    ``./``, a name used twice in a label.
    """
    videos = list(videos)
    name = NAMES.get(dataset, dataset)
    levels = sorted({video.compression for video in videos}) if name in COMPRESSED else []
    labels: dict[str, dict[str, dict]] = {
        key: {mode: {level: {} for level in levels} for mode in MODES}
        for key in sorted({video.label_key for video in videos})
    }
    for video in videos:
        _check(video)
        entries = labels[video.label_key][video.split]
        entries = entries[video.compression] if levels else entries
        if video.name in entries:
            raise ValueError(
                f"{name}: two videos of {video.label_key} are called '{video.name}': rename one"
            )
        entries[video.name] = {"label": video.label_key, "frames": list(video.frames)}
    return {name: labels}


def _check(video: ExportedVideo) -> None:
    if not video.frames:
        raise ValueError(f"video '{video.name}' has no frames: leave it out")
    for frame in video.frames:
        if not frame.startswith("./") or not PurePosixPath(frame).stem.isdecimal():
            raise ValueError(f"frame '{frame}' must begin with './' and be named by a number")


def read_dataset(file: Path, frames_root: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read a ``dataset_json`` as a manifest (columns ``MANIFEST``) for the adapter ``manifest``.

    Returns the manifest and notes. ``path`` is the folder of a video's frames below
    ``frames_root``; leading folders of the listed paths that do not exist there are removed, and
    backslashes and absolute paths are accepted. A video in several splits is kept in test, else
    val, else train. Entries that are not videos, empty lists and missing files are skipped and
    counted in the notes.

    Raises ``ValueError`` for a file of another shape, an unknown label, a path with ``..``, or a
    folder with two labels; ``FileNotFoundError`` if nothing listed is below ``frames_root``.
    """
    defects: Counter[str] = Counter()
    entries = list(_entries(read_json(file), defects, file.name))
    cut = _leading_folders(entries, frames_root, file.name)
    complete = [entry for entry in entries if len(entry.folder) > cut]
    defects["videos not on disk"] += len(entries) - len(complete)
    kept: dict[str, Entry] = {}
    for entry in sorted(complete, key=_preference):
        path = "/".join(entry.folder[cut:])
        first = kept.setdefault(path, entry)
        if meaning(first.label)[0] != meaning(entry.label)[0]:
            raise ValueError(
                f"{file.name}: '{path}' is listed as {first.label} and as {entry.label}: keep one"
            )
        if first is not entry:
            defects[
                "videos listed again in another split or twice, kept once "
                "(test before val before train)"
            ] += 1
    rows = [
        _row(path, entry)
        for path, entry in sorted(kept.items())
        if _on_disk(frames_root / path, entry, defects)
    ]
    manifest = pd.DataFrame(rows, columns=list(MANIFEST))
    notes = tuple(f"{count} {defect}" for defect, count in sorted(defects.items()) if count)
    return manifest, notes


def _preference(entry: Entry) -> tuple[int, tuple[str, ...], str]:
    return PREFERRED.index(entry.mode), entry.folder, entry.label


def _entries(content: object, defects: Counter[str], name: str) -> Iterator[Entry]:
    labels = _labels(content)
    if labels is None:
        raise ValueError(
            f"{name}: expected {{dataset: {{label: {{train|val|test: videos}}}}}}: "
            "is it a dataset_json?"
        )
    for label, modes in labels.items():
        meaning(label)
        for mode in MODES:
            yield from _videos(label, mode, modes.get(mode, {}), "", defects)


def _labels(content: object) -> dict[str, dict] | None:
    """Return label -> modes of a ``dataset_json``; None for another shape."""
    if not isinstance(content, dict) or len(content) != 1:
        return None
    (labels,) = content.values()
    if not isinstance(labels, dict):
        return None
    return labels if all(isinstance(modes, dict) for modes in labels.values()) else None


def _videos(
    label: str, mode: str, videos: object, compression: str, defects: Counter[str]
) -> Iterator[Entry]:
    """Yield the videos of a mode or of one of its compression levels; skip and count the rest."""
    if not isinstance(videos, dict):
        defects["entries that are not videos"] += 1
        return
    for name, entry in videos.items():
        if isinstance(entry, dict) and "frames" not in entry and not compression:
            yield from _videos(label, mode, entry, name, defects)
        elif not isinstance(entry, dict) or not isinstance(entry.get("frames"), list):
            defects["entries that are not videos"] += 1
        elif not entry["frames"]:
            defects["videos with an empty list of frames"] += 1
        else:
            paths = [_parts(str(frame)) for frame in entry["frames"]]
            folder = paths[0][:-1]
            yield Entry(label, mode, compression, folder, tuple(path[-1] for path in paths))


def _parts(path: str) -> tuple[str, ...]:
    """Split a POSIX or Windows path into its parts, without drive, root and ``.``."""
    parts = tuple(
        part
        for part in path.replace("\\", "/").split("/")
        if part not in ("", ".") and part[1:] != ":"
    )
    if ".." in parts or len(parts) < 2:
        raise ValueError(f"frame '{path}' must have a folder and no '..': correct the file")
    return parts


def _leading_folders(entries: Iterable[Entry], root: Path, name: str) -> int:
    """Return the fewest leading folders to remove so that a listed video is in ``root``."""
    folders = sorted({entry.folder for entry in entries})
    for cut in range(max(map(len, folders), default=0)):
        if any(len(folder) > cut and root.joinpath(*folder[cut:]).is_dir() for folder in folders):
            return cut
    raise FileNotFoundError(
        f"{name}: none of its {len(folders)} folders of frames is below '{root}'; give the folder "
        "that the paths in the file begin at"
    )


def _on_disk(folder: Path, entry: Entry, defects: Counter[str]) -> bool:
    """Return True if any frame of a video exists, and count missing frames and videos."""
    listed = set(entry.frames)
    existing = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    missing = len(listed - existing)
    if missing == len(listed):
        defects["videos not on disk"] += 1
        return False
    defects["listed frames missing on disk, of videos that are there"] += missing
    return True


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
