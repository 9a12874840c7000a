"""Any private collection, described by a CSV manifest or by ``real/`` and ``fake/`` folders.

The paper's own in-the-wild set (ITW, Section 4.2) is internal and cannot be obtained; a collection
of the user's own takes its role.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..files import (
    IMAGE_SUFFIXES,
    Tree,
    descend,
    folders,
    is_sequence,
    names,
    read_csv,
    usable,
    videos_below,
)
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
    "face_crop",
)
YES = {"1", "true", "yes"}


def read(
    root: Path, manifest: str = "manifest.csv", dataset: str = "itw"
) -> tuple[list[Video], IndexReport]:
    """Index the rows of ``root/manifest``, or without it the videos below ``root/{real,fake}/``.

    Videos are test by default. A row needs ``path`` (inside the root, also after its links are
    followed; with either slash) and ``label`` (real/fake, 0/1, pristine/manipulated). A path may be
    a video, a folder of face crops, or a picture: a photograph in which faces are detected, or a
    face crop if ``face_crop`` says yes. The other columns of ``FIELDS`` are optional; any further
    column goes to ``attrs``.
    """
    tree = Tree(dataset, root, root)
    if (root / manifest).is_file():
        return _from_manifest(tree, manifest)
    videos = [
        _video(tree, path, {}, label)
        for folder, label in FOLDERS.items()
        for path in _clips(descend(root, folder))
    ]
    if not videos:
        raise FileNotFoundError(
            f"{dataset}: '{root}' contains neither '{manifest}' nor videos in real/ and fake/"
        )
    return videos, IndexReport(dataset, len(videos))


def _from_manifest(tree: Tree, name: str) -> tuple[list[Video], IndexReport]:
    videos = []
    missing = []
    for number, row in enumerate(read_csv(tree.base / name, "path", "label"), start=1):
        where = f"{tree.dataset}: '{name}' entry {number}"
        path = tree.base / _inside(tree.base, row["path"].strip(), where)
        label = _label(row, where)
        if row.get("source_video", "").strip():
            row["source_video"] = _inside(tree.base, row["source_video"].strip(), where)
        if usable(path) or usable(path, IMAGE_SUFFIXES) or _is_sequence(path):
            videos.append(_video(tree, path, row, label))
        else:
            missing.append(row["path"])
    listed = {video.path for video in videos}
    unlisted = {tree.path(path) for path in videos_below(tree.base)} - listed
    return videos, IndexReport(tree.dataset, len(videos), names(missing), names(unlisted))


def _is_sequence(path: Path) -> bool:
    is_folder = os.path.isdir(path)  # noqa: PTH112 - Path raises for names that are too long
    return is_folder and is_sequence(path)


def _kind(path: Path, face_crop: str) -> str:
    if path.is_dir():
        return "frames"
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return "face" if face_crop.lower() in YES else "image"
    return "video"


def _inside(root: Path, path: str, where: str) -> str:
    """Return ``path`` with forward slashes; ``ValueError`` if it or its links leave the root."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0] == "/" or PureWindowsPath(path).drive:
        raise ValueError(
            f"{where}: path '{path}' must be inside the root; write it relative, without '..'"
        )
    if not Path(os.path.realpath(root.joinpath(*parts))).is_relative_to(os.path.realpath(root)):
        raise ValueError(
            f"{where}: path '{path}' must be inside the root but is a link out of it; "
            "copy or move the file"
        )
    return "/".join(parts)


def _label(row: Mapping[str, str], where: str) -> int:
    value = row["label"].strip().lower()
    if value not in LABELS:
        raise ValueError(f"{where}: label '{value}' is not one of {', '.join(LABELS)}")
    return LABELS[value]


def _clips(folder: Path | None) -> list[Path]:
    """Return video files at any depth, and folders of face crops one level below."""
    return videos_below(folder) + [path for path in folders(folder) if is_sequence(path)]


def _video(tree: Tree, path: Path, row: Mapping[str, str], label: int) -> Video:
    cells = {name: row.get(name, "").strip() for name in FIELDS}
    tree = replace(tree, dataset=cells["dataset"] or tree.dataset)
    video_id = f"{tree.dataset}/{cells['video_id']}" if cells["video_id"] else tree.video_id(path)
    source = cells["source_video"]
    pair_key = tree.video_id(tree.base / source) if source else ""
    attrs = {name: text for name, text in row.items() if name not in FIELDS and text}
    return Video(
        video_id=video_id,
        path=tree.path(path),
        kind=_kind(path, cells["face_crop"]),
        label=label,
        manipulation=cells["manipulation"].lower() or ("unknown" if label else "real"),
        category=cells["category"].upper() or ("UNK" if label else "REAL"),
        dataset=tree.dataset,
        split=cells["split"].lower() or "test",
        split_source="user",
        target_id=cells["identity"],
        pair_key=pair_key,
        group=cells["identity"] or pair_key or video_id,
        attrs=json.dumps(attrs, sort_keys=True),
    )


ADAPTER = Adapter(
    name="itw",
    licence="the user's own collection; the paper's is internal",
    access_url="",
    citation="Mylonas & Papadopoulos 2025, Section 4.2",
    read=read,
)
