"""ForgeryNet, video track (He et al. 2021): official validation is the test set here.

The official training set is divided into training and validation. The official test labels were
never released. The protocol follows MINTIME, which shares an author with the paper; the paper's
exact 64,197/9,982/13,522 videos of Table 1 cannot be derived from the official lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
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
ONE_REAL = (7, 8)
"""Methods whose fakes name one real, by their inner hash folder; the others name two."""
ONE_REAL_NAMES = tuple(METHODS[number] for number in ONE_REAL)
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


class Origin(NamedTuple):
    """Which reals a video comes from: group, and hash folders of target and donor ("" unknown)."""

    group: str
    target: str = ""
    source: str = ""


class Clip(NamedTuple):
    """A video and the number of its folder, which gives label and method."""

    path: Path
    folder: int


def split_of(group: str, seed: int = SEED, validation: float = VALIDATION) -> str:
    """Derive ``train`` or ``val`` for an official training video from its group."""
    return hash_split(group, seed, {"val": validation})


def read(
    root: Path, seed: int = SEED, validation: float = VALIDATION, categories: str = "paper"
) -> tuple[list[Video], IndexReport]:
    """Index labels and methods from the numbered folders, segments from the list.

    The list omits folders 2 and 8. Hash folders name the reals of a fake, see :func:`_origins`, so
    that a derived split separates no fake from its reals. ``categories`` chooses the category of
    method 6 (DeepFakes-StarGAN-Stack): ``paper`` RE, ``triple`` FS.
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
    listed, clips, tests, skipped = _gathered(tree.base)
    origins = _origins({*clips, *listed})
    real_ids = {
        _hashes(key)[0]: tree.video_id(clip.path)
        for key, clip in clips.items()
        if clip.folder in REALS
    }
    videos = []
    for key, clip in clips.items():
        origin = origins[key]
        split = "test" if key in tests else split_of(origin.group, seed, validation)
        video = _video(tree, clip, category_of, listed.get(key), origin, split)
        if video.label:
            video = replace(video, pair_key=real_ids.get(origin.target, ""))
        videos.append(video)
    contrary = sum(
        listed[key].binary != int(clip.folder in METHODS)
        for key, clip in clips.items()
        if key in listed
    )
    notes = _notes(contrary, videos, skipped)
    missing = names(listed.keys() - clips.keys())
    return videos, IndexReport(
        "forgerynet", len(videos), missing, names(clips.keys() - listed.keys()), notes
    )


def _gathered(base: Path) -> tuple[dict[str, Listed], dict[str, Clip], set[str], list[str]]:
    """Return lines and clips by listed path, the paths of the test set, and lists left out."""
    listed: dict[str, Listed] = {}
    clips: dict[str, Clip] = {}
    tests: set[str] = set()
    skipped: list[str] = []
    for official_split in RELEASES:
        release = _release(base, official_split)
        if release is None:
            continue
        lines, unread = _listed(base, official_split, release)
        found = _clips(release)
        listed |= lines
        clips |= found
        skipped += unread
        if official_split == "test":
            tests |= found.keys()
    return listed, clips, tests, skipped


def _notes(contrary: int, videos: list[Video], skipped: list[str]) -> tuple[str, ...]:
    notes = [
        "labels from folders; "
        "videos missing in video_list.txt (folders 2 and 8 are) are indexed too"
    ]
    if contrary:
        notes.append(f"{contrary} lines of video_list.txt contradict their folder")
    by_analogy = sum(
        bool(video.target_id) and video.label == 1 and video.manipulation not in ONE_REAL_NAMES
        for video in videos
    )
    if by_analogy:
        notes.append(
            f"{by_analogy} fakes of methods 1 to 6 name two reals: that of the inner folder is "
            "taken for the target, by analogy with methods 7 and 8"
        )
    notes += [f"'{name}' left out: not of the official shape" for name in skipped]
    return tuple(notes)


def _hashes(key: str) -> list[str]:
    """Return the hash folders of a listed path: one of a real, outer and inner of a fake."""
    parts = key.split("/")
    return parts[2:-1] or parts[-1:]


def _folder(key: str) -> int:
    number = key.split("/")[1]
    return int(number) if number.isdecimal() else 0


def _origins(keys: Iterable[str]) -> dict[str, Origin]:
    """Return group, target and donor of each video from the hash folders of all paths.

    A fake of methods 1 to 6 names both of its reals, which come in fixed pairs: the pair is the
    group of the fakes and of the reals. A fake of methods 7 and 8 names its one real by the inner
    folder, and the outer folder says nothing: method 8 has one for all its fakes. A hash that is
    no real's joins nothing if the other one is a real's.
    """
    folder_of = {key: _folder(key) for key in keys}
    reals = {_hashes(key)[0] for key, folder in folder_of.items() if folder in REALS}
    joined: dict[str, str] = {}

    def first(name: str) -> str:
        while joined.get(name, name) != name:
            name = joined[name]
        return name

    anchors = {key: _anchors(_hashes(key), folder, reals) for key, folder in folder_of.items()}
    for names_of_key in anchors.values():
        low, high = sorted((first(names_of_key[0]), first(names_of_key[-1])))
        joined[high] = low
    targets = {_hashes(key)[-1] for key, folder in folder_of.items() if folder in METHODS} & reals
    origins = {}
    for key, folder in folder_of.items():
        outer, inner = _hashes(key)[0], _hashes(key)[-1]
        group = first(anchors[key][0])
        if folder in REALS:
            origins[key] = Origin(group, inner if inner in targets else "")
        else:
            donor = outer if folder not in ONE_REAL and outer in reals and outer != inner else ""
            target = inner if inner in reals else ""
            origins[key] = Origin(group, target, donor if target else "")
    return origins


def _anchors(hashes: list[str], folder: int, reals: set[str]) -> list[str]:
    """Return the one or two hash folders by which a video is grouped."""
    outer, inner = hashes[0], hashes[-1]
    known = [name for name in dict.fromkeys((inner, outer)) if name in reals]
    if folder in ONE_REAL:
        return known[:1] or [inner]
    return known or [outer, inner]


def _release(base: Path, split: str) -> Path | None:
    official, name = RELEASES[split]
    return (
        descend(base, official, "video", name)
        or descend(base, official, name)
        or descend(base, name)
    )


def _clips(release: Path) -> dict[str, Clip]:
    """Map each path, as the list writes it (lower-case, from the release folder), to its clip."""
    clips = {}
    for folder in folders(release):
        number = int(folder.name) if folder.name.isdecimal() else 0
        if number not in METHODS and number not in REALS:
            continue
        for path in videos_below(folder):
            clips[f"{release.name}/{relative(path, release)}".lower()] = Clip(path, number)
    return clips


def _listed(base: Path, split: str, release: Path) -> tuple[dict[str, Listed], list[str]]:
    """Read the lines about ``release`` by path, from the lists beside it or one folder above.

    Returns them and the names of lists of another shape, which are skipped beside the official one.
    """
    parents = (descend(base, RELEASES[split][0]), release.parent)
    candidates = [descend(parent, name) for parent in parents if parent for name in LISTS]
    listed: dict[str, Listed] = {}
    skipped: list[str] = []
    official = ""
    for path in dict.fromkeys(filter(None, candidates)):
        if official and path.name.lower() != LISTS[0] and not _well_formed(path):
            skipped.append(f"{path.parent.name}/{path.name}")
            continue
        official = official or path.name
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
    prefix = f"{release.name.lower()}/"
    return {key: entry for key, entry in listed.items() if key.startswith(prefix)}, skipped


def _well_formed(path: Path) -> bool:
    try:
        for line in filter(str.strip, read_text(path).splitlines()):
            _line(line, path.name)
    except ValueError:
        return False
    return True


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
    return cells[1].replace("\\", "/").lower(), Listed(segments, values[-3])


def _video(
    tree: Tree,
    clip: Clip,
    category_of: Mapping[int, str],
    line: Listed | None,
    origin: Origin,
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
        target_id=origin.target,
        source_id=origin.source,
        group=origin.group,
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
