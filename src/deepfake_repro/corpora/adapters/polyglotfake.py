"""PolyGlotFake (Hou et al. 2024): clips in seven languages and their lip-synced dubs; tested whole.

Known from third parties: the names and ``real_json_files/<language>.json``; the folders are not
described. The corpus marks fakes by their names alone, which must match in full; folders named real
or fake, and the lists of reals, must not contradict them. Wav2Lip and VideoRetalking were used, but
a name does not say which.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..checks import by_stem, remark
from ..files import Tree, names, read_json, videos_below
from ..schema import Adapter, IndexReport, Video

OFFICIAL = {"test": (766, 14472)}  # verified: its README
NAME = re.compile(
    r"(?P<clip>(?:ar|en|es|fr|ja|ru|zh)_\d+)(?P<dub>_to_(?:ar|en|es|fr|ja|ru|zh)_.+)?"
)
LISTS = "real_json_files"


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Reals ``<language>_<n>``, fakes ``<language>_<n>_to_<language>_<speech synthesis>``, in any folder."""
    places = videos_below(root)
    odd = names(
        place.relative_to(root).as_posix() for place in places if not NAME.fullmatch(place.stem)
    )
    clips = [(place, match) for place in places if (match := NAME.fullmatch(place.stem))]
    if not clips:
        raise FileNotFoundError(
            f"polyglotfake: '{root}' holds no videos named like en_1.mp4 or en_1_to_fr_xtts.mp4; "
            "give the folder of the official download"
        )
    tree = Tree(
        "polyglotfake", root, Path(os.path.commonpath([place.parent for place, _ in clips]))
    )
    reals = by_stem("polyglotfake", (place for place, match in clips if not match["dub"]))
    videos = [_video(tree, place, match, reals) for place, match in clips]
    listed = _listed(root)
    notes = remark("names of another shape left out", odd)
    if listed:
        notes += remark(f"reals not in {LISTS}", reals.keys() - listed)
    else:
        notes += (f"{LISTS}/ is absent: only names tell reals from fakes",)
    return videos, IndexReport(
        "polyglotfake", len(videos), names(listed - reals.keys()), odd, notes
    )


def _listed(root: Path) -> set[str]:
    """Stems of the reals in the lists, which must all be names of reals."""
    found = set()
    for path in sorted(root.rglob(f"{LISTS}/*.json")):
        content = read_json(path)
        entries = content.get("videos") if isinstance(content, dict) else None
        for entry in entries if isinstance(entries, list) else [None]:
            stem = (
                Path(str(entry["filename"])).stem
                if isinstance(entry, dict) and "filename" in entry
                else ""
            )
            match = NAME.fullmatch(stem)
            if not match or match["dub"]:
                raise ValueError(
                    f"polyglotfake: '{LISTS}/{path.name}' lists '{stem}' as a real; expected key 'videos' "
                    "with file names such as en_1.mp4"
                )
            found.add(stem)
    return found


def _video(tree: Tree, place: Path, match: re.Match[str], reals: dict[str, Path]) -> Video:
    label, clip = int(bool(match["dub"])), match["clip"]
    folders = {part.lower() for part in place.relative_to(tree.given).parts[:-1]}
    if ("real" if label else "fake") in folders:
        raise ValueError(
            f"polyglotfake: '{tree.path(place)}': folder and name disagree on real or fake; mend one"
        )
    pair = tree.video_id(reals[clip]) if label and clip in reals else ""
    return Video(
        tree.video_id(place),
        tree.path(place),
        "video",
        label,
        "lip-sync" if label else "real",
        "RE" if label else "REAL",
        "polyglotfake",
        "test",
        "derived",
        target_id=clip,
        pair_key=pair,
        group=clip,
    )


ADAPTER = Adapter(
    "polyglotfake",
    "academic institutions, research only; not redistributable",
    "https://github.com/tobuta/PolyGlotFake",
    "Hou et al., arXiv:2405.08838",
    read,
    OFFICIAL,
)
