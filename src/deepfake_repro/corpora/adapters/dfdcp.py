"""DFDC Preview (Dolhansky et al. 2019): labels and splits from dataset.json, whose keys are relative paths.

Known from loaders of others, not from a copy of the file: its fields, and names
``<swapped>_<target>_<suffix>_<n>.mp4``. So each label must agree with the video's folder, and
entries whose ``target_id`` is not the name's are counted in the report.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..checks import remark
from ..files import Tree, descend, locate, names, need, read_json, videos_below
from ..schema import Adapter, IndexReport, Video

OFFICIAL = {"train": (855, 3618), "test": (276, 501)}  # third party: DeepfakeBench issue 63
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
    """Videos on disk that dataset.json lists; a fake's real is the name without the swapped identity."""
    tree = locate(
        "dfdcp", root, lambda folder: descend(folder, "original_videos"), "original_videos/"
    )
    entries = _entries(
        need(descend(tree.base, "dataset.json"), "dfdcp", "dataset.json", "labels and splits")
    )
    clips = {
        place.relative_to(tree.base).as_posix(): place
        for folder in FOLDERS
        for place in videos_below(descend(tree.base, folder))
    }
    known = sorted(clips.keys() & entries.keys())
    real_ids = {
        clips[key].stem: tree.video_id(clips[key])
        for key in known
        if entries[key].manipulation == "real"
    }
    videos = [_video(tree, clips[key], entries[key], real_ids) for key in known]
    unnamed = [video.path for video in videos if not video.target_id]
    other = [
        key
        for key, video in zip(known, videos, strict=True)
        if entries[key].target_id and video.target_id and entries[key].target_id != video.target_id
    ]
    notes = remark("names not like 1255229_1260311_C_001: identities left empty", unnamed)
    notes += remark("videos whose target_id is not that of their name", other)
    return videos, IndexReport(
        "dfdcp",
        len(videos),
        names(entries.keys() - clips.keys()),
        names(clips.keys() - entries.keys()),
        notes,
    )


def _entries(path: Path) -> dict[str, Entry]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError("dfdcp: 'dataset.json' is no object of videos; restore the official file")
    return {
        key.replace("\\", "/"): _entry(key.replace("\\", "/"), value)
        for key, value in content.items()
    }


def _entry(key: str, value: object) -> Entry:
    folder = key.partition("/")[0]
    cell = (
        {name: str(value.get(name) or "") for name in ("label", "set", "target_id")}
        if isinstance(value, dict)
        else {}
    )
    if folder not in FOLDERS or cell.get("set") not in ("train", "test"):
        raise ValueError(
            f"dfdcp: 'dataset.json': '{key}' has set '{cell.get('set', '')}'; expected train or test, "
            f"and a path in {', '.join(FOLDERS)}"
        )
    if cell["label"].lower() != ("real" if FOLDERS[folder] == "real" else "fake"):
        raise ValueError(
            f"dfdcp: 'dataset.json': '{key}' has label '{cell['label']}', which contradicts its folder"
        )
    return Entry(FOLDERS[folder], cell["set"], cell["target_id"])


def _video(tree: Tree, place: Path, entry: Entry, real_ids: dict[str, str]) -> Video:
    label = int(entry.manipulation != "real")
    match = NAMES[label].fullmatch(place.stem)
    cell = match.groupdict() if match else {}
    own, target = tree.video_id(place), cell.get("target", "")
    return Video(
        own,
        tree.path(place),
        "video",
        label,
        entry.manipulation,
        "FS" if label else "REAL",
        "dfdcp",
        entry.split,
        "official",
        target_id=target,
        source_id=cell.get("source", ""),
        pair_key=real_ids.get(cell.get("original", ""), ""),
        group=target or own,
    )


ADAPTER = Adapter(
    "dfdcp",
    "DFDC Preview terms, non-commercial research; not redistributable",
    "https://ai.meta.com/datasets/dfdc/",
    "Dolhansky et al., arXiv:1910.08854",
    read,
    OFFICIAL,
)
