"""DFDC Preview (Dolhansky et al. 2019): labels and splits from dataset.json, keyed by path.

The fields of dataset.json and the names ``<swapped>_<target>_<suffix>_<n>.mp4`` are documented by
other projects' loaders and were not checked against the file itself. So each label must agree with
the video's folder, and the report counts entries whose ``target_id`` differs from the name's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..checks import remark
from ..files import (
    VIDEO_SUFFIXES,
    Tree,
    descend,
    locate,
    names,
    read_json,
    require,
    sequences_below,
    videos_below,
)
from ..schema import Adapter, IndexReport, Official, Video

OFFICIAL: Official = {"train": (855, 3618), "test": (276, 501)}  # DeepfakeBench issue 63
FOLDERS = {"original_videos": "real", "method_A": "method_a", "method_B": "method_b"}
NAMES = {
    0: re.compile(r"(?P<target>\d+)_.+"),
    1: re.compile(r"(?P<source>\d+)_(?P<original>(?P<target>\d+)_.+)"),
}


@dataclass(frozen=True)
class Entry:
    """One video of dataset.json."""

    manipulation: str
    split: str
    target_id: str


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Index the videos on disk that dataset.json lists.

    The real of a fake has the fake's name without the swapped identity.
    """
    tree = locate(
        "dfdcp", root, lambda folder: descend(folder, "original_videos"), "original_videos/"
    )
    entries = _entries(
        require(descend(tree.base, "dataset.json"), "dfdcp", "dataset.json", "labels and splits")
    )
    clips = _clips(tree, entries)
    keys = sorted(clips.keys() & entries.keys())
    real_ids = {
        clips[key].stem: tree.video_id(clips[key])
        for key in keys
        if entries[key].manipulation == "real"
    }
    videos = {key: _video(tree, clips[key], entries[key], real_ids) for key in keys}
    unnamed = [video.path for video in videos.values() if not video.target_id]
    contrary = [
        key
        for key, video in videos.items()
        if entries[key].target_id and video.target_id and entries[key].target_id != video.target_id
    ]
    notes = remark("names not like 1255229_1260311_C_001: identities left empty", unnamed)
    notes += remark("videos whose target_id is not that of their name", contrary)
    return list(videos.values()), IndexReport(
        "dfdcp",
        len(videos),
        names(entries.keys() - clips.keys()),
        names(clips.keys() - entries.keys()),
        notes,
    )


def _clips(tree: Tree, entries: Mapping[str, Entry]) -> dict[str, Path]:
    """Map the listed path of each clip to its path on disk, which may have further levels.

    DeepfakeBench moves the videos to ``<folder>/videos/``, and their frames to
    ``<folder>/frames/<video>/``: what is listed below the same folder under the same name is meant.
    """
    by_name: dict[tuple[str, str], list[str]] = {}
    for listed in entries:
        by_name.setdefault(_folder_and_stem(listed), []).append(listed)
    clips: dict[str, Path] = {}
    for folder in FOLDERS:
        below = descend(tree.base, folder)
        frames = descend(below, "frames") if below else None
        for path in videos_below(below) or sequences_below(frames):
            key = path.relative_to(tree.base).as_posix()
            namesakes = by_name.get(_folder_and_stem(key), [])
            if key not in entries and len(namesakes) == 1:
                (key,) = namesakes
            clips.setdefault(key, path)
    return clips


def _folder_and_stem(key: str) -> tuple[str, str]:
    path = PurePosixPath(key.lower())
    stem = path.stem if path.suffix in VIDEO_SUFFIXES else path.name
    return path.parts[0], stem


def _entries(path: Path) -> dict[str, Entry]:
    entries = {}
    for name, value in read_json(path, dict).items():
        key = name.replace("\\", "/")
        entries[key] = _entry(key, value)
    return entries


def _entry(key: str, value: object) -> Entry:
    folder = key.partition("/")[0]
    fields = value if isinstance(value, dict) else {}
    label, split, target = (str(fields.get(name) or "") for name in ("label", "set", "target_id"))
    if folder not in FOLDERS or split not in ("train", "test"):
        raise ValueError(
            f"dfdcp: 'dataset.json': '{key}' has set '{split}'; "
            f"expected train or test, and a path in {', '.join(FOLDERS)}"
        )
    if label.lower() != ("real" if FOLDERS[folder] == "real" else "fake"):
        raise ValueError(
            f"dfdcp: 'dataset.json': '{key}' has label '{label}', which contradicts its folder; "
            "restore the official file"
        )
    return Entry(FOLDERS[folder], split, target)


def _video(tree: Tree, path: Path, entry: Entry, real_ids: Mapping[str, str]) -> Video:
    video_id = tree.video_id(path)
    label = int(entry.manipulation != "real")
    match = NAMES[label].fullmatch(path.stem)
    parts = match.groupdict() if match else {}
    target = parts.get("target", "")
    return Video(
        video_id=video_id,
        path=tree.path(path),
        kind="frames" if path.is_dir() else "video",
        label=label,
        manipulation=entry.manipulation,
        category="FS" if label else "REAL",
        dataset="dfdcp",
        split=entry.split,
        split_source="official",
        target_id=target,
        source_id=parts.get("source", ""),
        pair_key=real_ids.get(parts.get("original", ""), ""),
        group=target or video_id,
    )


ADAPTER = Adapter(
    name="dfdcp",
    licence="DFDC Preview terms, non-commercial research; not redistributable",
    access_url="https://ai.meta.com/datasets/dfdc/",
    citation="Dolhansky et al., arXiv:1910.08854",
    read=read,
    official=OFFICIAL,
)
