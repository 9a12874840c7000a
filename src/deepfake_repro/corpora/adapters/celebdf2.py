"""Celeb-DF v2 (Li et al. 2020): labels by folder, test split by list, everything else is training."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from ..files import (
    VIDEO_SUFFIXES,
    Tree,
    clips_in,
    descend,
    distinct,
    locate,
    names,
    need,
    read_text,
)
from ..schema import Adapter, IndexReport, Official, Video

FOLDERS = {"Celeb-real": 0, "YouTube-real": 0, "Celeb-synthesis": 1}
# A name of another shape is no video of the release, as ``id0_0000 (1).mp4``, a second download of
# a test video.
NAMES = {"celeb-real": r"id\d+_\d+", "youtube-real": r"\d+", "celeb-synthesis": r"id\d+_id\d+_\d+"}
# The paper has one real less in training (889 in all): broken or without a face, it is only a
# count.
OFFICIAL: Official = {"train": (712, 5_299), "test": (178, 340)}
LIST = "List_of_testing_videos.txt"


def testing_list(path: Path) -> list[tuple[str, str]]:
    """(folder, stem) of each listed test video, lower-case.

    The list's flag is inverted: 1 is real, 0 is fake. Labels come from the folder; a flag that
    disagrees with its folder, or a line of another shape, raises ``ValueError``.
    """
    labels = {folder.lower(): label for folder, label in FOLDERS.items()}
    found = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        flag, _, name = line.strip().partition(" ")
        listed = PurePosixPath(name.strip().replace("\\", "/"))
        folder, stem = listed.parent.name.lower(), listed.stem.lower()
        if not line.strip():
            continue
        if flag not in ("0", "1") or folder not in labels:
            raise ValueError(
                f"celebdf2: '{path.name}' line {number} '{line}'; expected '1 YouTube-real/00170.mp4'"
            )
        if 1 - int(flag) != labels[folder]:
            raise ValueError(
                f"celebdf2: '{path.name}' line {number} '{line}': flag and folder disagree (1 is real)"
            )
        found.append((folder, stem))
    return found


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Official protocol: listed videos are test, the rest training; there is no validation split."""
    tree = locate(
        "celebdf2", root, lambda folder: descend(folder, "Celeb-synthesis"), "Celeb-synthesis/"
    )
    listed = set(testing_list(need(descend(tree.base, LIST), "celebdf2", LIST, "the test split")))
    clips, strange = {}, []
    for folder in map(str.lower, FOLDERS):
        places = distinct(
            "celebdf2", (place for place, _ in clips_in(descend(tree.base, folder))), _stem
        )
        clips |= {
            (folder, stem): place
            for stem, place in places.items()
            if re.fullmatch(NAMES[folder], stem)
        }
        strange += [
            tree.path(place) for stem, place in places.items() if (folder, stem) not in clips
        ]
    videos = [_video(tree, clips, key, "test" if key in listed else "train") for key in clips]
    missing = ("/".join(key) for key in listed - clips.keys())
    return videos, IndexReport("celebdf2", len(videos), names(missing), names(strange))


def _stem(place: Path) -> str:
    return (place.stem if place.suffix.lower() in VIDEO_SUFFIXES else place.name).lower()


def _video(
    tree: Tree, clips: dict[tuple[str, str], Path], key: tuple[str, str], split: str
) -> Video:
    place = clips[key]
    folder, stem = key
    shared = (tree.video_id(place), tree.path(place), "frames" if place.is_dir() else "video")
    if folder == "celeb-synthesis":
        target, source, recording = stem.split("_")
        pair = clips.get(("celeb-real", f"{target}_{recording}"))
        return Video(
            *shared,
            1,
            "deepfake",
            "FS",
            "celebdf2",
            split,
            "official",
            "",
            target,
            source,
            tree.video_id(pair) if pair else "",
            target,
        )
    target = stem.split("_")[0] if folder == "celeb-real" else f"youtube-{stem}"
    return Video(
        *shared, 0, "real", "REAL", "celebdf2", split, "official", target_id=target, group=target
    )


ADAPTER = Adapter(
    "celebdf2",
    "Terms to Use Celeb-DF, non-commercial research; not redistributable",
    "https://github.com/yuezunli/celeb-deepfakeforensics",
    "Li et al., CVPR 2020",
    read,
    OFFICIAL,
)
