"""ForgeryNet, video track (He et al. 2021): official validation is the test set, training gives train and val.

The official test labels were never released. The protocol follows MINTIME, which shares an author
with the paper; the paper's exact 64,197/9,982/13,522 videos of Table 1 are not derivable from the
official lists.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

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
# An identity swap with an edited attribute is face swap by the list's triple label, but only as
# reenactment does it give the 5 FS + 3 RE of Table 1.
CATEGORY_OF_6 = {"paper": "RE", "triple": "FS"}
REALS = {16: "ravdess", 17: "crema-d", 18: "avspeech", 19: "voxceleb"}
RELEASES = {
    "train": ("Training", "train_video_release"),
    "test": ("Validation", "val_video_release"),
}
OFFICIAL: Official = {
    "all": (99_630, 121_617)
}  # with the test set, whose labels were never released
LISTS = ("video_list.txt", "video_list_complete.txt")


@dataclass(frozen=True)
class Listed:
    """A line of video_list.txt: ``segments`` are (start frame, number of frames, forged?)."""

    segments: list[list[int]]
    binary: int


def split_of(group: str, seed: int = SEED, validation: float = VALIDATION) -> str:
    """``train`` or ``val`` for a video of the official training set, by its outer hash folder (derived)."""
    return hash_split(group, seed, {"val": validation})


def read(
    root: Path, seed: int = SEED, validation: float = VALIDATION, categories: str = "paper"
) -> tuple[list[Video], IndexReport]:
    """Labels and methods from the numbered folders; segments from the list, which omits folders 2 and 8.

    ``categories`` says whose reading of method 6 (DeepFakes-StarGAN-Stack) holds: ``paper`` RE,
    ``triple`` FS.
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
    category_of = {number: "RE" if number in (7, 8) else "FS" for number in METHODS} | {
        6: CATEGORY_OF_6[categories]
    }
    videos, missing, unlisted, contrary = [], [], [], 0
    for split in RELEASES:
        release = _release(tree.base, split)
        listed = _listed(tree.base, split, release) if release else {}
        clips = _clips(release)
        missing += listed.keys() - clips.keys()
        unlisted += clips.keys() - listed.keys()
        for key, (place, number) in clips.items():
            line = listed.get(key)
            contrary += line is not None and line.binary != int(number in METHODS)
            group = key.split("/")[2]
            side = split if split == "test" else split_of(group, seed, validation)
            videos.append(_video(tree, place, number, category_of, line, group, side))
    notes = (
        "labels from folders; videos missing in video_list.txt (folders 2 and 8 are) are indexed too",
    )
    notes += (f"{contrary} lines of video_list.txt contradict their folder",) if contrary else ()
    return videos, IndexReport("forgerynet", len(videos), names(missing), names(unlisted), notes)


def _release(base: Path, split: str) -> Path | None:
    official, name = RELEASES[split]
    return (
        descend(base, official, "video", name)
        or descend(base, official, name)
        or descend(base, name)
    )


def _clips(release: Path | None) -> dict[str, tuple[Path, int]]:
    """Path as the list writes it, from the release folder on -> (place, folder number)."""
    found = {}
    for folder in folders(release):
        number = int(folder.name) if folder.name.isdecimal() else 0
        if number not in METHODS and number not in REALS:
            continue
        for place in videos_below(folder):
            found[f"{release.name}/{relative(place, release)}"] = (place, number)
    return found


def _listed(base: Path, split: str, release: Path) -> dict[str, Listed]:
    """The lines about ``release`` of the lists beside it or one folder above, by their path."""
    places = {
        descend(folder, name): None
        for folder in (descend(base, RELEASES[split][0]), release.parent)
        if folder
        for name in LISTS
    }
    found: dict[str, Listed] = {}
    for path in filter(None, places):
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if not line.strip():
                continue
            where = f"'{path.parent.name}/{path.name}' line {number}"
            key, row = _line(line, where)
            if found.setdefault(key, row) != row:
                raise ValueError(
                    f"forgerynet: {where}: '{key}' is listed twice with different contents; "
                    "keep the right line"
                )
    return {key: row for key, row in found.items() if key.partition("/")[0] == release.name}


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
    place: Path,
    number: int,
    category_of: dict[int, str],
    line: Listed | None,
    group: str,
    split: str,
) -> Video:
    fake = number in METHODS
    attrs = {"folder": number, "segments": line.segments if line else []}
    if not fake:
        attrs["origin"] = REALS[number]
    return Video(
        tree.video_id(place),
        tree.path(place),
        "video",
        int(fake),
        METHODS.get(number, "real"),
        category_of.get(number, "REAL"),
        "forgerynet",
        split,
        "paper-rule" if split == "test" else "derived",
        group=group,
        attrs=json.dumps(attrs, sort_keys=True),
    )


ADAPTER = Adapter(
    "forgerynet",
    "non-commercial research licence in its README; not redistributable",
    "https://github.com/yinanhe/ForgeryNet",
    "He et al., CVPR 2021",
    read,
    OFFICIAL,
)
