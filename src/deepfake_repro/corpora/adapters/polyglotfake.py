"""PolyGlotFake (Hou et al. 2024): clips in seven languages and their lip-synced dubs; test only.

Documented by third parties: the names and ``real_json_files/<language>.json``; the folders are not
described. The corpus marks fakes by their names alone, which must match in full. Folders named real
or fake, and the lists of reals, must not contradict them. The fakes are by Wav2Lip or
VideoRetalking; the tool is known where a folder or the name tells it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from ..checks import by_stem, remark
from ..files import Tree, names, read_json, videos_below
from ..schema import Adapter, IndexReport, Official, Video

OFFICIAL: Official = {"test": (766, 14472)}  # from its README
NAME = re.compile(
    r"(?P<clip>(?:ar|en|es|fr|ja|ru|zh)_\d+)(?P<dub>_to_(?:ar|en|es|fr|ja|ru|zh)_.+)?"
)
TOOLS = {"wav2lip": "wav2lip", "retalking": "video_retalking"}
"""Part of a folder or name -> tool; the tools as in LNCLIP-DF's lists."""
LISTS = "real_json_files"


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Index reals ``<language>_<n>`` and fakes ``<language>_<n>_to_<language>_<speech synthesis>``.

    They may be in any folder.
    """
    matches: dict[Path, re.Match[str]] = {}
    odd: list[str] = []
    for path in videos_below(root):
        match = NAME.fullmatch(path.stem)
        if match:
            matches[path] = match
        else:
            odd.append(path.relative_to(root).as_posix())
    if not matches:
        raise FileNotFoundError(
            f"polyglotfake: '{root}' has no videos named like en_1.mp4 or en_1_to_fr_xtts.mp4; "
            "give the folder of the official download"
        )
    tree = Tree("polyglotfake", root, Path(os.path.commonpath([path.parent for path in matches])))
    reals = by_stem("polyglotfake", (path for path, match in matches.items() if not match["dub"]))
    videos = [_video(tree, path, match, reals) for path, match in matches.items()]
    listed = _listed(root)
    notes = remark("names of another shape left out", odd)
    if listed:
        notes += remark(f"reals not in {LISTS}", reals.keys() - listed)
    else:
        notes += (f"{LISTS}/ is absent: only names separate reals from fakes",)
    return videos, IndexReport(
        "polyglotfake", len(videos), names(listed - reals.keys()), names(odd), notes
    )


def _listed(root: Path) -> set[str]:
    """Return the stems of the reals in the lists; ``ValueError`` for one that is not a real's."""
    stems = set()
    for path in sorted(root.rglob(f"{LISTS}/*.json")):
        content = read_json(path)
        entries = content.get("videos") if isinstance(content, dict) else None
        for entry in entries if isinstance(entries, list) else [None]:
            file = entry.get("filename", "") if isinstance(entry, dict) else ""
            stem = Path(str(file)).stem
            match = NAME.fullmatch(stem)
            if not match or match["dub"]:
                raise ValueError(
                    f"polyglotfake: '{LISTS}/{path.name}' lists '{stem}' as a real; "
                    "expected key 'videos' with file names such as en_1.mp4"
                )
            stems.add(stem)
    return stems


def _tool(path: str) -> str:
    """Return the tool that a dub's path tells, or the kind of forgery."""
    return next((tool for part, tool in TOOLS.items() if part in path.lower()), "lip-sync")


def _video(tree: Tree, path: Path, match: re.Match[str], reals: Mapping[str, Path]) -> Video:
    fake = bool(match["dub"])
    clip = match["clip"]
    folders = {part.lower() for part in path.relative_to(tree.root).parts[:-1]}
    if ("real" if fake else "fake") in folders:
        raise ValueError(
            f"polyglotfake: '{tree.path(path)}': folder and name disagree on real or fake; "
            "fix one of them"
        )
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind="video",
        label=int(fake),
        manipulation=_tool(tree.path(path)) if fake else "real",
        category="RE" if fake else "REAL",
        dataset="polyglotfake",
        split="test",
        split_source="derived",
        target_id=clip,
        pair_key=tree.video_id(reals[clip]) if fake and clip in reals else "",
        group=clip,
    )


ADAPTER = Adapter(
    name="polyglotfake",
    licence="academic institutions, research only; not redistributable",
    access_url="https://github.com/tobuta/PolyGlotFake",
    citation="Hou et al., arXiv:2405.08838",
    read=read,
    official=OFFICIAL,
)
