"""A test corpus of the user's own: folders ``real/`` and ``fake/`` under any name (Section 4.2).

It is chosen for each corpus in the roots file that no other adapter knows. Unlike ``manifest``, it
needs no list and takes its name from the roots file, so that there can be many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ..files import Tree, descend, folders, is_sequence, locate, videos_below
from ..schema import Adapter, IndexReport, Video

LABELS = {"real": 0, "fake": 1}
CATEGORIES = {
    "fs": "FS",
    "re": "RE",
    "other": "OTHER",
    "faceswap": "FS",
    "facereenact": "RE",
    "talkingface": "RE",
}
"""First-level folders below ``fake/`` that give a category; any other folder names a method."""
LEVELS = ("videos", "frames")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def adapter(name: str) -> Adapter:
    """Return the adapter of a user's corpus; ``ValueError`` for a name that gives no file name."""
    if not NAME.fullmatch(name):
        raise ValueError(f"corpus name '{name}': use letters, digits, '_' and '-' only")
    return Adapter(
        name=name,
        licence="the user's own collection",
        access_url="",
        citation="",
        read=partial(_read, name),
    )


def _read(name: str, root: Path) -> tuple[list[Video], IndexReport]:
    """Index all videos and folders of face crops below ``real/`` and ``fake/``, all for testing."""
    tree = locate(
        name,
        root,
        lambda folder: any(descend(folder, label) for label in LABELS),
        "real/ or fake/",
    )
    videos = []
    notes = []
    for label_name, label in LABELS.items():
        folder = descend(tree.base, label_name)
        clips = list(_clips(name, folder)) if folder else []
        videos += [_video(tree, folder, path, label) for path in clips if folder]
        if not clips:
            notes.append(f"no {label_name} videos: metrics that need both classes are undefined")
    sequences = sum(video.kind == "frames" for video in videos)
    if sequences:
        notes.append(f"{sequences} folders of images taken as face crops: no detector runs on them")
    return videos, IndexReport(name, len(videos), notes=tuple(notes))


def _clips(name: str, folder: Path) -> Iterator[Path]:
    """Yield videos and folders of images at any depth; a folder with videos is no sequence."""
    videos = videos_below(folder)
    yield from videos
    top = folder.resolve()
    entered = {top}
    waiting = [folder]
    with_videos = {path.parent for path in videos}
    while waiting:
        folder = waiting.pop()
        if folder not in with_videos and is_sequence(folder):
            if folder.resolve() == top:
                raise ValueError(
                    f"{name}: '{folder.name}/' contains images; "
                    "put those of each video into a folder"
                )
            yield folder
            continue
        for inner in folders(folder):
            if inner.resolve() not in entered:
                entered.add(inner.resolve())
                waiting.append(inner)


def _video(tree: Tree, folder: Path, path: Path, label: int) -> Video:
    parts = [part.lower() for part in path.relative_to(folder).parts[:-1]]
    category, method = _category_and_method([part for part in parts if part not in LEVELS])
    video_id = tree.video_id(path)
    return Video(
        video_id=video_id,
        path=tree.path(path),
        kind="frames" if path.is_dir() else "video",
        label=label,
        manipulation=method if label else "real",
        category=category if label else "REAL",
        dataset=tree.dataset,
        split="test",
        split_source="user",
        group=video_id,
    )


def _category_and_method(parts: list[str]) -> tuple[str, str]:
    """Read ``[FS|RE|OTHER/][<method>/]…``; unknown without such folders."""
    category = "UNK"
    if parts and parts[0] in CATEGORIES:
        category = CATEGORIES[parts[0]]
        parts = parts[1:]
    return category, parts[0] if parts else "unknown"
