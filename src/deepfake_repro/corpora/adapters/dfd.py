"""DeepFakeDetection (Google & Jigsaw 2019), distributed inside the tree of FaceForensics++; tested whole.

No split is official. Which compression to test at is a choice: SBI and FSFM take raw, DeepfakeBench
c23.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..checks import remark
from ..files import Tree, clips_in, descend, locate, names
from ..schema import Adapter, IndexReport, Video
from .ffpp import COMPRESSIONS

OFFICIAL = {
    "test": (363, 3068)
}  # verified: FaceForensics++ README (DeepfakeBench's 3,000 is rounded)
FOLDERS = {
    "real": ("original_sequences", "actors"),
    "dfd": ("manipulated_sequences", "DeepFakeDetection"),
}
# Scenes hold single underscores; only the double ones separate.
NAMES = {
    "real": re.compile(r"(?P<target>\d+)__(?P<scene>.+)"),
    "dfd": re.compile(r"(?P<target>\d+)_(?P<source>\d+)__(?P<scene>.+)__[A-Za-z0-9]{8}"),
}


def read(root: Path, compression: str = "c23") -> tuple[list[Video], IndexReport]:
    """Actors' recordings and the swaps of them at one compression; a fake's real is ``<target>__<scene>``.

    Labels come from the folder. Names of another shape are left out, as noted and listed in the
    report.
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
    clips = {
        method: [
            clip
            for level in COMPRESSIONS[compression]
            for clip in clips_in(descend(tree.base, *parts, level))
        ]
        for method, parts in FOLDERS.items()
    }
    if not any(clips.values()):
        raise FileNotFoundError(
            f"dfd: no videos at compression '{compression}' under '{root}'; "
            f"choose the one on disk of {', '.join(COMPRESSIONS)}"
        )
    real_ids = {place.stem: tree.video_id(place) for place, _ in clips["real"]}
    videos = [
        _video(tree, place, kind, method, match, compression, real_ids)
        for method, found in clips.items()
        for place, kind in found
        if (match := NAMES[method].fullmatch(place.stem))
    ]
    odd = names(
        tree.path(place)
        for method, found in clips.items()
        for place, _ in found
        if not NAMES[method].fullmatch(place.stem)
    )
    return videos, IndexReport(
        "dfd",
        len(videos),
        disk_only=odd,
        notes=remark("names not like 24_23__scene__YR5OVD4S left out", odd),
    )


def _video(
    tree: Tree,
    place: Path,
    kind: str,
    method: str,
    match: re.Match[str],
    compression: str,
    real_ids: dict[str, str],
) -> Video:
    fake, target = method != "real", match["target"]
    return Video(
        tree.video_id(place),
        tree.path(place),
        kind,
        int(fake),
        method,
        "FS" if fake else "REAL",
        "dfd",
        "test",
        "derived",
        compression,
        target,
        match["source"] if fake else "",
        real_ids.get(f"{target}__{match['scene']}", "") if fake else "",
        target,
    )


ADAPTER = Adapter(
    "dfd",
    "FaceForensics Terms of Use, non-commercial research; not redistributable",
    "https://github.com/ondyari/FaceForensics",
    "Dufour & Gully, Google AI Blog 2019; distributed with Rössler et al., ICCV 2019",
    read,
    OFFICIAL,
)
