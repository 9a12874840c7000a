"""Celeb-DF v2 (Li et al. 2020): labels by folder, test split by list, the rest is training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ..files import (
    VIDEO_SUFFIXES,
    Tree,
    clips_in,
    descend,
    distinct,
    locate,
    names,
    read_text,
    require,
)
from ..schema import Adapter, IndexReport, Official, Video

FOLDERS = {"Celeb-real": 0, "YouTube-real": 0, "Celeb-synthesis": 1}
# Other names are not videos of the release: ``id0_0000 (1).mp4`` is a second download of a test
# video.
NAMES = {"celeb-real": r"id\d+_\d+", "youtube-real": r"\d+", "celeb-synthesis": r"id\d+_id\d+_\d+"}
# The paper counts one training real fewer (889 in all) without saying which; it may be broken or
# show no face.
OFFICIAL: Official = {"train": (712, 5_299), "test": (178, 340)}
TESTED_IN_V1 = 100
LIST = "List_of_testing_videos.txt"

Key = tuple[str, str]  # folder and stem, lower-case


def testing_list(path: Path) -> list[Key]:
    """Return (folder, stem) of each listed test video, lower-case.

    The list's flag is inverted: 1 is real, 0 is fake. Labels come from the folder; a flag that
    disagrees with its folder, or a line of another shape, raises ``ValueError``.
    """
    labels = {folder.lower(): label for folder, label in FOLDERS.items()}
    keys = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        flag, _, name = line.strip().partition(" ")
        video = PurePosixPath(name.strip().replace("\\", "/"))
        folder = video.parent.name.lower()
        where = f"celebdf2: '{path.name}' line {number} '{line}'"
        if flag not in ("0", "1") or folder not in labels:
            raise ValueError(f"{where}; expected '1 YouTube-real/00170.mp4'")
        if 1 - int(flag) != labels[folder]:
            raise ValueError(f"{where}: flag and folder disagree (1 is real)")
        keys.append((folder, video.stem.lower()))
    return keys


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Index by the official protocol: listed videos are test, the rest training; no validation."""
    tree = locate(
        "celebdf2", root, lambda folder: descend(folder, "Celeb-synthesis"), "Celeb-synthesis/"
    )
    listing = require(descend(tree.base, LIST), "celebdf2", LIST, "the test split")
    listed = set(testing_list(listing))
    if len(listed) == TESTED_IN_V1:
        raise ValueError(
            f"celebdf2: '{LIST}' lists {TESTED_IN_V1} videos: this is Celeb-DF v1, "
            "v2 lists 518; give the folder of v2"
        )
    clips: dict[Key, Path] = {}
    strange: list[str] = []
    for folder in map(str.lower, FOLDERS):
        paths = (path for path, _ in clips_in(descend(tree.base, folder)))
        for stem, path in distinct("celebdf2", paths, _stem).items():
            if re.fullmatch(NAMES[folder], stem):
                clips[folder, stem] = path
            else:
                strange.append(tree.path(path))
    videos = [_video(tree, clips, key, "test" if key in listed else "train") for key in clips]
    missing = ("/".join(key) for key in listed - clips.keys())
    return videos, IndexReport("celebdf2", len(videos), names(missing), names(strange))


def _stem(path: Path) -> str:
    return (path.stem if path.suffix.lower() in VIDEO_SUFFIXES else path.name).lower()


def _video(tree: Tree, clips: Mapping[Key, Path], key: Key, split: str) -> Video:
    path = clips[key]
    folder, stem = key
    fake = folder == "celeb-synthesis"
    source = ""
    pair = None
    if fake:
        target, source, recording = stem.split("_")
        pair = clips.get(("celeb-real", f"{target}_{recording}"))
    elif folder == "celeb-real":
        target = stem.split("_")[0]
    else:
        target = f"youtube-{stem}"
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind="frames" if path.is_dir() else "video",
        label=int(fake),
        manipulation="deepfake" if fake else "real",
        category="FS" if fake else "REAL",
        dataset="celebdf2",
        split=split,
        split_source="official",
        target_id=target,
        source_id=source,
        pair_key=tree.video_id(pair) if pair else "",
        group=target,
    )


ADAPTER = Adapter(
    name="celebdf2",
    licence="Terms to Use Celeb-DF, non-commercial research; not redistributable",
    access_url="https://github.com/yuezunli/celeb-deepfakeforensics",
    citation="Li et al., CVPR 2020",
    read=read,
    official=OFFICIAL,
)
