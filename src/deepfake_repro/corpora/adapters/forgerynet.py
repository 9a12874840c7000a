"""ForgeryNet, video track (He et al. 2021): official validation is the test set here.

The official training set is divided into training and validation. The official test labels were
never released. The protocol follows MINTIME, which shares an author with the paper; the paper's
exact 64,197/9,982/13,522 videos of Table 1 cannot be derived from the official lists.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..files import (
    Tree,
    descend,
    folders,
    hash_split,
    locate,
    names,
    read_text,
    relative,
    videos_below,
)
from ..schema import Adapter, IndexReport, Official, Video

SEED = 2025
VALIDATION = 0.135  # Table 1: 9,982 of 74,179
METHODS = {
    1: "faceshifter",
    2: "fs-gan",
    3: "deepfakes",
    4: "blendface",
    5: "mmreplacement",
    6: "deepfakes-stargan-stack",
    7: "talking head video",
    8: "atvg-net",
}
CATEGORIES = {number: "RE" if number in (7, 8) else "FS" for number in METHODS}
# By the list's triple label, an identity swap with an edited attribute is a face swap; but only as
# reenactment does it give the 5 FS + 3 RE of Table 1.
CATEGORY_OF_6 = {"paper": "RE", "triple": "FS"}
REALS = {16: "ravdess", 17: "crema-d", 18: "avspeech", 19: "voxceleb"}
RELEASES = {
    "train": ("Training", "train_video_release"),
    "test": ("Validation", "val_video_release"),
}
# With the test set, whose labels were never released.
OFFICIAL: Official = {"all": (99_630, 121_617)}
LISTS = ("video_list.txt", "video_list_complete.txt")


class Listed(NamedTuple):
    """A line of video_list.txt: ``segments`` are (start frame, number of frames, forged?)."""

    segments: list[list[int]]
    binary: int


class Clip(NamedTuple):
    """A video and the number of its folder, which gives label and method."""

    path: Path
    folder: int


def split_of(group: str, seed: int = SEED, validation: float = VALIDATION) -> str:
    """Derive ``train`` or ``val`` for an official training video from its outer hash folder."""
    return hash_split(group, seed, {"val": validation})


def read(
    root: Path, seed: int = SEED, validation: float = VALIDATION, categories: str = "paper"
) -> tuple[list[Video], IndexReport]:
    """Index labels and methods from the numbered folders, segments from the list.

    The list omits folders 2 and 8. ``categories`` chooses the category of method 6
    (DeepFakes-StarGAN-Stack): ``paper`` RE, ``triple`` FS.
    """
    if categories not in CATEGORY_OF_6:
        raise ValueError(
            f"forgerynet: categories '{categories}' is not one of {', '.join(CATEGORY_OF_6)}"
        )
    tree = locate(
        "forgerynet",
        root,
        lambda folder: any(_release(folder, split) for split in RELEASES),
        "Training/video/train_video_release/ or Validation/video/val_video_release/",
    )
    category_of = CATEGORIES | {6: CATEGORY_OF_6[categories]}
    videos: list[Video] = []
    missing: list[str] = []
    unlisted: list[str] = []
    contrary = 0
    for official_split in RELEASES:
        release = _release(tree.base, official_split)
        if release is None:
            continue
        listed = _listed(tree.base, official_split, release)
        clips = _clips(release)
        missing += listed.keys() - clips.keys()
        unlisted += clips.keys() - listed.keys()
        for key, clip in clips.items():
            line = listed.get(key)
            contrary += line is not None and line.binary != int(clip.folder in METHODS)
            group = key.split("/")[2]
            split = "test" if official_split == "test" else split_of(group, seed, validation)
            videos.append(_video(tree, clip, category_of, line, group, split))
    return videos, IndexReport(
        "forgerynet", len(videos), names(missing), names(unlisted), _notes(contrary)
    )


def _notes(contrary: int) -> tuple[str, ...]:
    notes = (
        "labels from folders; "
        "videos missing in video_list.txt (folders 2 and 8 are) are indexed too",
    )
    if not contrary:
        return notes
    return (*notes, f"{contrary} lines of video_list.txt contradict their folder")


def _release(base: Path, split: str) -> Path | None:
    official, name = RELEASES[split]
    return (
        descend(base, official, "video", name)
        or descend(base, official, name)
        or descend(base, name)
    )


def _clips(release: Path) -> dict[str, Clip]:
    """Map each path, as the list writes it, from the release folder on, to its clip."""
    clips = {}
    for folder in folders(release):
        number = int(folder.name) if folder.name.isdecimal() else 0
        if number not in METHODS and number not in REALS:
            continue
        for path in videos_below(folder):
            clips[f"{release.name}/{relative(path, release)}"] = Clip(path, number)
    return clips


def _listed(base: Path, split: str, release: Path) -> dict[str, Listed]:
    """Read the lines about ``release`` by path, from the lists beside it or one folder above."""
    parents = (descend(base, RELEASES[split][0]), release.parent)
    candidates = [descend(parent, name) for parent in parents if parent for name in LISTS]
    listed: dict[str, Listed] = {}
    for path in dict.fromkeys(filter(None, candidates)):
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if not line.strip():
                continue
            where = f"'{path.parent.name}/{path.name}' line {number}"
            key, entry = _line(line, where)
            if listed.setdefault(key, entry) != entry:
                raise ValueError(
                    f"forgerynet: {where}: '{key}' is listed twice with different contents; "
                    "keep the right line"
                )
    return {key: entry for key, entry in listed.items() if key.partition("/")[0] == release.name}


def _line(line: str, where: str) -> tuple[str, Listed]:
    """Parse ``n path (start count forged)*n binary triple method``."""
    cells = line.split()
    numbers = [cell for cell in cells[:1] + cells[2:] if cell.isdecimal()]
    count = int(numbers[0]) if numbers else 0
    if len(cells) != 3 * count + 5 or len(numbers) != len(cells) - 1:
        raise ValueError(
            f"forgerynet: {where}: expected 'n path (start count forged)*n binary triple method'"
        )
    values = [int(cell) for cell in numbers[1:]]
    segments = [values[start : start + 3] for start in range(0, 3 * count, 3)]
    return cells[1].replace("\\", "/"), Listed(segments, values[-3])


def _video(
    tree: Tree,
    clip: Clip,
    category_of: Mapping[int, str],
    line: Listed | None,
    group: str,
    split: str,
) -> Video:
    fake = clip.folder in METHODS
    attrs: dict[str, object] = {"folder": clip.folder, "segments": line.segments if line else []}
    if not fake:
        attrs["origin"] = REALS[clip.folder]
    return Video(
        video_id=tree.video_id(clip.path),
        path=tree.path(clip.path),
        kind="video",
        label=int(fake),
        manipulation=METHODS.get(clip.folder, "real"),
        category=category_of.get(clip.folder, "REAL"),
        dataset="forgerynet",
        split=split,
        split_source="paper-rule" if split == "test" else "derived",
        group=group,
        attrs=json.dumps(attrs, sort_keys=True),
    )


ADAPTER = Adapter(
    name="forgerynet",
    licence="non-commercial research licence in its README; not redistributable",
    access_url="https://github.com/yinanhe/ForgeryNet",
    citation="He et al., CVPR 2021",
    read=read,
    official=OFFICIAL,
)
