"""DeepfakeBench's ``dataset_json``: write it for its stock loader, and read it despite its defects.

Written from a description of the format, without its non-commercial code. One file ``<name>.json``
contains ``{name: {label: {train|val|test: {video: {"label": …, "frames": […]}}}}}``; some names
nest the videos in compression levels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from ..corpora import ADAPTERS
from ..corpora.adapters.df40 import ALIASES
from ..corpora.adapters.df40 import METHODS as DF40_METHODS
from ..corpora.files import read_json
from .listed import MODES, Entry, manifest_of, parts_of

NAMES = {
    "ffpp": "FaceForensics++",
    "celebdf2": "Celeb-DF-v2",
    "dfdc": "DFDC",
    "dfdcp": "DFDCP",
    "dfd": "DeepFakeDetection",
    "faceshifter": "FaceShifter",
    "uadfv": "UADFV",
}
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
    "DFD_real": ("real", "REAL"),
    "DFD_fake": ("dfd", "FS"),
    "UADFV_Real": ("real", "REAL"),
    "UADFV_Fake": ("unknown", "FS"),
    "CelebDFv1_real": ("real", "REAL"),
    "CelebDFv1_fake": ("deepfake", "FS"),
    "CelebDFv2_real": ("real", "REAL"),
    "CelebDFv2_fake": ("deepfake", "FS"),
    "DFDC_Real": ("real", "REAL"),
    "DFDC_Fake": ("dfdc_unknown", "FS"),
    "DFDCP_Real": ("real", "REAL"),
    "DFDCP_FakeA": ("method_a", "FS"),
    "DFDCP_FakeB": ("method_b", "FS"),
}
"""Labels of the stock label_dict -> manipulation and category of our index."""
STOCK = {
    "ffpp": ("FF-real", "FF-DF", "FF-F2F", "FF-FS", "FF-NT", "FF-FH"),
    "celebdf2": ("CelebDFv2_real", "CelebDFv2_fake"),
    "dfdc": ("DFDC_Real", "DFDC_Fake"),
    "dfdcp": ("DFDCP_Real", "DFDCP_FakeA", "DFDCP_FakeB"),
    "dfd": ("DFD_real", "DFD_fake"),
    "faceshifter": ("FF-real", "FF-FH"),
    "uadfv": ("UADFV_Real", "UADFV_Fake"),
}
OTHER_METHODS = {
    "deepfacelab": "FS",
    "heygen": "RE",
    **dict.fromkeys(
        (
            "collabdiff",
            "ddim",
            "dit",
            "e4e",
            "midjourney",
            "pixart",
            "rddm",
            "sd2.1",
            "sit",
            "stargan",
            "starganv2",
            "styleclip",
            "stylegan2",
            "stylegan3",
            "styleganxl",
            "vqgan",
            "whichfaceisreal",
        ),
        "OTHER",
    ),
}
"""DF40's methods besides the paper's 21: two of other domains, whole faces and edited faces."""


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
    if dataset == "df40":
        return "CelebDFv2_real" if manipulation == "real" else f"{manipulation}_Fake"
    return f"{dataset}_Real" if manipulation == "real" else f"{dataset}_{manipulation}_Fake"


def meaning(key: str) -> tuple[str, str]:
    """Return (manipulation, category) of a label; ``ValueError`` if it is neither real nor fake.

    Unknown labels are recognised by their ending ``_real`` or ``_fake`` in any case; the part
    before is the manipulation if it is one of DF40's, or follows the name of one of our corpora.
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
    categories = DF40_METHODS | OTHER_METHODS
    if method in categories:
        return method, categories[method]
    corpus, _, own = method.partition("_")
    return (own, categories.get(own, "UNK")) if corpus in ADAPTERS and own else ("unknown", "UNK")


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
    if video.split not in MODES:
        raise ValueError(
            f"video '{video.name}' is in split '{video.split}': "
            f"DeepfakeBench has only {', '.join(MODES)}"
        )
    if not video.frames:
        raise ValueError(f"video '{video.name}' has no frames: leave it out")
    for frame in video.frames:
        if not frame.startswith("./") or not PurePosixPath(frame).stem.isdecimal():
            raise ValueError(f"frame '{frame}' must begin with './' and be named by a number")


def read_dataset(file: Path, frames_root: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read a ``dataset_json`` as a manifest for the adapter ``manifest``, see ``manifest_of``.

    Returns the manifest and notes. Backslashes and absolute paths are accepted. Entries that are
    not videos, empty lists and missing files are skipped and counted in the notes. What our own
    export wrote beside the file completes the rows.

    Raises ``ValueError`` for a file of another shape or an unknown label, and the errors of
    ``manifest_of``.
    """
    defects: Counter[str] = Counter()
    entries = list(_entries(read_json(file), defects, file.name))
    return manifest_of(entries, defects, frames_root, file.name, file.parent)


def _entries(content: object, defects: Counter[str], name: str) -> Iterator[Entry]:
    labels = _labels(content)
    if labels is None:
        raise ValueError(
            f"{name}: expected {{dataset: {{label: {{train|val|test: videos}}}}}}: "
            "is it a dataset_json?"
        )
    for label, modes in labels.items():
        manipulation, category = meaning(label)
        for mode in MODES:
            template = Entry(label, manipulation, category, mode)
            yield from _videos(template, modes.get(mode, {}), defects)


def _labels(content: object) -> dict[str, dict] | None:
    """Return label -> modes of a ``dataset_json``; None for another shape."""
    if not isinstance(content, dict) or len(content) != 1:
        return None
    (labels,) = content.values()
    if not isinstance(labels, dict):
        return None
    return labels if all(isinstance(modes, dict) for modes in labels.values()) else None


def _videos(template: Entry, videos: object, defects: Counter[str]) -> Iterator[Entry]:
    """Yield the videos of a mode or of one of its compression levels; skip and count the rest."""
    if not isinstance(videos, dict):
        defects["entries that are not videos"] += 1
        return
    for name, entry in videos.items():
        if isinstance(entry, dict) and "frames" not in entry and not template.compression:
            yield from _videos(replace(template, compression=name), entry, defects)
        elif not isinstance(entry, dict) or not isinstance(entry.get("frames"), list):
            defects["entries that are not videos"] += 1
        elif not entry["frames"]:
            defects["videos with an empty list of frames"] += 1
        else:
            paths = [parts_of(str(frame)) for frame in entry["frames"]]
            frames = tuple(path[-1] for path in paths)
            yield replace(template, folder=paths[0][:-1], frames=frames)
