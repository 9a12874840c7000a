"""KoDF (Kwon et al. 2021): Korean actors and five folders of synthesis; tested whole.

Known from third parties: the folders ``original_videos`` and ``synthesized_videos/<method>``, the
names and the codes in them. Official split folders are spoken of but not described: all is test.
The adversarial subset is left out, like any other folder; the Korean AI-Hub edition is not
described and is refused for want of these folders.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..checks import remark
from ..files import Tree, descend, folders, locate, names, videos_below
from ..schema import Adapter, IndexReport, Video

OFFICIAL = {"test": (62166, 175776)}  # third party: dataset tables of several papers agree
FOLDERS = ("original_videos", "synthesized_videos")
METHODS = {
    "1": ("dfl", "FS"),
    "2": ("dffs", "FS"),
    "3": ("fsgan", "FS"),
    "4": ("fomm", "RE"),
    "5": ("audio-driven", "RE"),
}
CODES = {"dfl": "1", "dffs": "2", "fsgan": "3", "fo": "4", "audio-driven": "5"}  # by folder
NAMES = (
    re.compile(r"(?P<target>.+)_[^_]+"),
    re.compile(r"(?P<target>[^_]+)_(?P<source>[^_]+)_(?P<code>[1-5])_[^_]+"),
)


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """The folder gives the label, the code in a fake's name its method; folder and code must not contradict.

    Names of another shape are left out. A fake names its actor, not its recording: there are no
    pairs.
    """
    tree = locate(
        "kodf",
        root,
        lambda folder: descend(folder, FOLDERS[0]) and descend(folder, FOLDERS[1]),
        f"{FOLDERS[0]}/ and {FOLDERS[1]}/",
    )
    videos, odd = [], []
    for label, folder in enumerate(FOLDERS):
        for place in videos_below(descend(tree.base, folder)):
            match = NAMES[label].fullmatch(place.stem)
            if match:
                videos.append(
                    _fake(tree, place, match) if label else _real(tree, place, match["target"])
                )
            else:
                odd.append(tree.path(place))
    notes = remark("names not like <target>_<source>_<code 1 to 5>_<number> left out", odd)
    notes += remark(
        "other folders left out",
        (place.name for place in folders(tree.base) if place.name.lower() not in FOLDERS),
    )
    return videos, IndexReport("kodf", len(videos), disk_only=names(odd), notes=notes)


def _real(tree: Tree, place: Path, target: str) -> Video:
    return Video(
        tree.video_id(place),
        tree.path(place),
        "video",
        0,
        "real",
        "REAL",
        "kodf",
        "test",
        "derived",
        target_id=target,
        group=target,
    )


def _fake(tree: Tree, place: Path, match: re.Match[str]) -> Video:
    folder = place.relative_to(tree.base).parts[1].lower().replace("_", "-")
    if CODES.get(folder, match["code"]) != match["code"]:
        raise ValueError(
            f"kodf: '{tree.path(place)}': code {match['code']} in the name is not that of its folder "
            f"({CODES[folder]}); restore the official folders"
        )
    return Video(
        tree.video_id(place),
        tree.path(place),
        "video",
        1,
        *METHODS[match["code"]],
        "kodf",
        "test",
        "derived",
        target_id=match["target"],
        source_id=match["source"],
        group=match["target"],
    )


ADAPTER = Adapter(
    "kodf",
    "KoDF terms of use, by form (AI-Hub for Koreans); not redistributable",
    "https://github.com/deepbrainai-research/kodf",
    "Kwon et al., ICCV 2021",
    read,
    OFFICIAL,
)
