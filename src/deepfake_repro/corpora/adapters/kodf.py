"""KoDF (Kwon et al. 2021): Korean actors and five folders of synthesis; test only.

Documented by third parties: the folders ``original_videos`` and ``synthesized_videos/<method>``,
the names and the codes in them. Official split folders are mentioned but not described: all videos
are test. The adversarial subset is left out, like any other folder. The Korean AI-Hub edition,
which is not described, lacks these folders and is refused.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..checks import remark
from ..files import Tree, descend, folders, locate, names, videos_below
from ..schema import Adapter, IndexReport, Official, Video

OFFICIAL: Official = {"test": (62166, 175776)}  # dataset tables of several papers agree
FOLDERS = ("original_videos", "synthesized_videos")
METHODS = {
    "1": ("dfl", "FS"),
    "2": ("dffs", "FS"),
    "3": ("fsgan", "FS"),
    "4": ("fomm", "RE"),
    "5": ("audio-driven", "RE"),
}
CODES = {"dfl": "1", "dffs": "2", "fsgan": "3", "fo": "4", "audio-driven": "5"}  # by folder
REAL_NAME = re.compile(r"(?P<target>.+)_[^_]+")
FAKE_NAME = re.compile(r"(?P<target>[^_]+)_(?P<source>[^_]+)_(?P<code>[1-5])_[^_]+")


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Index reals and fakes: the folder gives the label, the code in a fake's name its method.

    Folder and code must not contradict each other. Names of another shape are left out. A fake
    names its actor, not its recording, so there are no pairs.
    """
    reals, fakes = FOLDERS
    tree = locate(
        "kodf",
        root,
        lambda folder: descend(folder, reals) and descend(folder, fakes),
        f"{reals}/ and {fakes}/",
    )
    videos: list[Video] = []
    odd: list[str] = []
    for folder, pattern, make in ((reals, REAL_NAME, _real), (fakes, FAKE_NAME, _fake)):
        for path in videos_below(descend(tree.base, folder)):
            match = pattern.fullmatch(path.stem)
            if match:
                videos.append(make(tree, path, match))
            else:
                odd.append(tree.path(path))
    notes = remark("names not like <target>_<source>_<code 1 to 5>_<number> left out", odd)
    beside = [path.name for path in folders(tree.base) if path.name.lower() not in FOLDERS]
    apart = [name for name in beside if name.lower().startswith("adv")]
    notes += remark("folders of the adversarial set, a test set apart, left out", apart)
    notes += remark("other folders left out", (name for name in beside if name not in apart))
    return videos, IndexReport("kodf", len(videos), disk_only=names(odd), notes=notes)


def _real(tree: Tree, path: Path, match: re.Match[str]) -> Video:
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind="video",
        label=0,
        manipulation="real",
        category="REAL",
        dataset="kodf",
        split="test",
        split_source="derived",
        target_id=match["target"],
        group=match["target"],
    )


def _fake(tree: Tree, path: Path, match: re.Match[str]) -> Video:
    code = match["code"]
    folder = path.relative_to(tree.base).parts[1].lower().replace("_", "-")
    if CODES.get(folder, code) != code:
        raise ValueError(
            f"kodf: '{tree.path(path)}': code {code} in the name is not that of its folder "
            f"({CODES[folder]}); restore the official folders"
        )
    method, category = METHODS[code]
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind="video",
        label=1,
        manipulation=method,
        category=category,
        dataset="kodf",
        split="test",
        split_source="derived",
        target_id=match["target"],
        source_id=match["source"],
        group=match["target"],
    )


ADAPTER = Adapter(
    name="kodf",
    licence="KoDF terms of use, by form (AI-Hub for Koreans); not redistributable",
    access_url="https://github.com/deepbrainai-research/kodf",
    citation="Kwon et al., ICCV 2021",
    read=read,
    official=OFFICIAL,
)
