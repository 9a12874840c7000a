"""DeepFakeDetection (Google & Jigsaw 2019), part of FaceForensics++'s download; test only.

There is no official split. The compression to test at is a choice: SBI and FSFM take raw,
DeepfakeBench c23.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..checks import remark
from ..files import Tree, clips_in, descend, locate, names
from ..schema import Adapter, IndexReport, Official, Video
from .ffpp import COMPRESSIONS

OFFICIAL: Official = {"test": (363, 3068)}  # FaceForensics++ README; DeepfakeBench rounds to 3,000
FOLDERS = {
    "real": ("original_sequences", "actors"),
    "dfd": ("manipulated_sequences", "DeepFakeDetection"),
}
# Names of scenes contain single underscores; only double ones separate.
NAMES = {
    "real": re.compile(r"(?P<target>\d+)__(?P<scene>.+)"),
    "dfd": re.compile(r"(?P<target>\d+)_(?P<source>\d+)__(?P<scene>.+)__[A-Za-z0-9]{8}"),
}


class Clip(NamedTuple):
    """One video on disk: ``method`` is ``real`` or ``dfd``."""

    path: Path
    kind: str
    method: str


def read(root: Path, compression: str = "c23") -> tuple[list[Video], IndexReport]:
    """Index the actors' recordings and their swaps at one compression.

    Labels come from the folder. The real of a fake is named ``<target>__<scene>``. Names of another
    shape are left out; the report counts and lists them.
    """
    if compression not in COMPRESSIONS:
        raise ValueError(
            f"dfd: compression '{compression}' is not one of {', '.join(COMPRESSIONS)}"
        )
    tree = locate(
        "dfd",
        root,
        lambda folder: any(descend(folder, *parts) for parts in FOLDERS.values()),
        "original_sequences/actors/ or manipulated_sequences/DeepFakeDetection/",
    )
    clips = _clips(tree.base, compression)
    if not clips:
        raise FileNotFoundError(
            f"dfd: no videos at compression '{compression}' under '{root}'; "
            f"choose the one on disk of {', '.join(COMPRESSIONS)}"
        )
    real_ids = {clip.path.stem: tree.video_id(clip.path) for clip in clips if clip.method == "real"}
    videos = []
    odd = []
    for clip in clips:
        match = NAMES[clip.method].fullmatch(clip.path.stem)
        if match:
            videos.append(_video(tree, clip, match, compression, real_ids))
        else:
            odd.append(tree.path(clip.path))
    return videos, IndexReport(
        "dfd",
        len(videos),
        disk_only=names(odd),
        notes=remark("names not like 24_23__scene__YR5OVD4S left out", odd),
    )


def _clips(base: Path, compression: str) -> list[Clip]:
    return [
        Clip(path, kind, method)
        for method, parts in FOLDERS.items()
        for level in COMPRESSIONS[compression]
        for path, kind in clips_in(descend(base, *parts, level))
    ]


def _video(
    tree: Tree, clip: Clip, match: re.Match[str], compression: str, real_ids: Mapping[str, str]
) -> Video:
    fake = clip.method != "real"
    target = match["target"]
    return Video(
        video_id=tree.video_id(clip.path),
        path=tree.path(clip.path),
        kind=clip.kind,
        label=int(fake),
        manipulation=clip.method,
        category="FS" if fake else "REAL",
        dataset="dfd",
        split="test",
        split_source="derived",
        compression=compression,
        target_id=target,
        source_id=match["source"] if fake else "",
        pair_key=real_ids.get(f"{target}__{match['scene']}", "") if fake else "",
        group=target,
    )


ADAPTER = Adapter(
    name="dfd",
    licence="FaceForensics Terms of Use, non-commercial research; not redistributable",
    access_url="https://github.com/ondyari/FaceForensics",
    citation="Dufour & Gully, Google AI Blog 2019; distributed with Rössler et al., ICCV 2019",
    read=read,
    official=OFFICIAL,
)
