"""Any private collection, described by a CSV manifest or by ``real/`` and ``fake/`` folders.

The paper's own in-the-wild set (ITW, Section 4.2) is internal and cannot be obtained; a collection
of the user's takes its place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..files import Tree, descend, folders, is_sequence, names, read_csv, usable, videos_below
from ..schema import Adapter, IndexReport, Video

LABELS = {"real": 0, "0": 0, "pristine": 0, "fake": 1, "1": 1, "manipulated": 1}
FOLDERS = {"real": 0, "0_real": 0, "original": 0, "fake": 1, "1_fake": 1, "manipulated": 1}
FIELDS = (
    "path",
    "label",
    "video_id",
    "manipulation",
    "category",
    "dataset",
    "split",
    "identity",
    "source_video",
)


def read(
    root: Path, manifest: str = "manifest.csv", dataset: str = "itw"
) -> tuple[list[Video], IndexReport]:
    """Rows of ``root/manifest`` if it exists, else the videos below ``root/{real,fake}/``; test by default.

    A row needs ``path`` (inside the root, also after its links are followed; either slash) and
    ``label`` (real/fake, 0/1, pristine/manipulated); the columns of ``FIELDS`` are understood, any
    other goes to ``attrs``.
    """
    tree = Tree(dataset, root, root)
    if (root / manifest).is_file():
        return _from_manifest(tree, manifest)
    videos = [
        _video(tree, place, {}, label)
        for folder, label in FOLDERS.items()
        for place in _clips(descend(root, folder))
    ]
    if not videos:
        raise FileNotFoundError(
            f"{dataset}: '{root}' holds neither '{manifest}' nor videos in real/ and fake/"
        )
    return videos, IndexReport(dataset, len(videos))


def _from_manifest(tree: Tree, name: str) -> tuple[list[Video], IndexReport]:
    videos, missing = [], []
    for number, row in enumerate(read_csv(tree.base / name, "path", "label"), start=1):
        where = f"{tree.dataset}: '{name}' entry {number}"
        place = tree.base / _inside(tree.base, row["path"].strip(), where)
        label = _label(row, where)
        if row.get("source_video", "").strip():
            row["source_video"] = _inside(tree.base, row["source_video"].strip(), where)
        if usable(place) or (os.path.isdir(place) and is_sequence(place)):
            videos.append(_video(tree, place, row, label))
        else:
            missing.append(row["path"])
    listed = {video.path for video in videos}
    loose = [tree.path(place) for place in videos_below(tree.base)]
    return videos, IndexReport(
        tree.dataset, len(videos), names(missing), names(set(loose) - listed)
    )


def _inside(root: Path, path: str, where: str) -> str:
    """``path`` with forward slashes, refused where it leaves the root, by its parts or through a link."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or PureWindowsPath(path).drive:
        raise ValueError(
            f"{where}: path '{path}' must lie inside the root; write it relative, without '..'"
        )
    if not Path(os.path.realpath(root.joinpath(*parts))).is_relative_to(os.path.realpath(root)):
        raise ValueError(
            f"{where}: path '{path}' must lie inside the root but is a link out of it; copy or move it"
        )
    return "/".join(parts)


def _label(row: Mapping[str, str], where: str) -> int:
    value = row["label"].strip().lower()
    if value not in LABELS:
        raise ValueError(f"{where}: label '{value}' is not one of {', '.join(LABELS)}")
    return LABELS[value]


def _clips(folder: Path | None) -> list[Path]:
    """Video files at any depth, and the folders of face crops one level below."""
    return videos_below(folder) + [place for place in folders(folder) if is_sequence(place)]


def _video(tree: Tree, place: Path, row: Mapping[str, str], label: int) -> Video:
    cell = {name: row.get(name, "").strip() for name in FIELDS}
    tree = Tree(cell["dataset"] or tree.dataset, tree.given, tree.base)
    own = f"{tree.dataset}/{cell['video_id']}" if cell["video_id"] else tree.video_id(place)
    source = cell["source_video"] and tree.video_id(tree.base / cell["source_video"])
    attrs = {name: text for name, text in row.items() if name not in FIELDS and text}
    return Video(
        own,
        tree.path(place),
        "frames" if place.is_dir() else "video",
        label,
        cell["manipulation"].lower() or ("unknown" if label else "real"),
        cell["category"].upper() or ("UNK" if label else "REAL"),
        tree.dataset,
        cell["split"].lower() or "test",
        "user",
        target_id=cell["identity"],
        pair_key=source,
        group=cell["identity"] or source or own,
        attrs=json.dumps(attrs, sort_keys=True),
    )


ADAPTER = Adapter(
    "itw",
    "the user's own collection; the paper's is internal",
    "",
    "Mylonas & Papadopoulos 2025, Section 4.2",
    read,
)
