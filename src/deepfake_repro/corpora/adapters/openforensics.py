"""OpenForensics' faces (Le et al., ICCV 2021) as circulated: 190,335 pictures of one face each.

Photographs of Google Open Images, and faces swapped into them by GANs with adapted colours. The
release is of whole photographs; its faces circulate cut to 256 × 256 pixels as "Deepfake and real
images". No picture names a person or the picture that it was made from, so a fake has no pair.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ...project.progress import track
from ..checks import remark
from ..duplicates import perceptual_hash, smallest_duplicates
from ..files import IMAGE_SUFFIXES, Tree, descend, files_below, hash_split, locate
from ..schema import Adapter, IndexReport, Official, Video

OFFICIAL: Official = {"all": (95_201, 95_134)}  # over the three folders
FOLDERS = {"Train": "train", "Validation": "test", "Test": "test"}
"""Folder -> split: the circulated "Validation" folder is used for testing only."""
LABELS = {"Real": 0, "Fake": 1}
SEED = 2025
VALIDATION = 0.1
ORDER = ("train", "val", "test")


def read(
    root: Path,
    seed: int = SEED,
    validation: float = VALIDATION,
    first: Mapping[str, int] | None = None,
) -> tuple[list[Video], IndexReport]:
    """Index ``Dataset/{Train,Validation,Test}/{Real,Fake}/<name>_<number>.jpg``.

    A share ``validation`` of Train is the derived validation split. ``first``: folder -> only
    its pictures numbered below this, a subset that everyone with the download has; empty: all.
    Near-duplicates of a training picture, or of an earlier picture of the same split and class, are
    left out of validation and test. Near-duplicates within Train stay in one split.
    """
    tree = locate("openforensics", root, lambda folder: descend(folder, "Train"), "Train/")
    if unknown := set(first or {}) - set(FOLDERS):
        raise ValueError(f"openforensics: no folder {min(unknown)!r}; known: {', '.join(FOLDERS)}")
    videos = list(_pictures(tree, first or {}))
    if not videos:
        raise ValueError(f"openforensics: no pictures in Real/ and Fake/ below '{tree.base}'")
    hashes, broken = _hashes(root, videos)
    videos = [video for video in videos if video.path in hashes]
    own = [hashes[video.path] for video in videos]
    groups = smallest_duplicates(own)
    kept, dropped = _without_repeats(
        _with_group(video, phash, group, seed, validation)
        for video, phash, group in zip(videos, own, groups, strict=True)
    )
    notes = (*remark("pictures cannot be decoded", broken), *dropped)
    return kept, IndexReport("openforensics", len(kept), notes=notes)


def _pictures(tree: Tree, first: Mapping[str, int]) -> Iterator[Video]:
    for folder, split in FOLDERS.items():
        if first and folder not in first:
            continue
        for name, label in LABELS.items():
            for path in files_below(descend(tree.base, folder, name), IMAGE_SUFFIXES):
                if first and _number(path) >= first[folder]:
                    continue
                yield Video(
                    video_id=tree.video_id(path),
                    path=tree.path(path),
                    kind="image",
                    label=label,
                    manipulation="gan_swap" if label else "real",
                    category="FS" if label else "REAL",
                    dataset="openforensics",
                    split=split,
                    split_source="derived" if folder == "Train" else "official",
                )


def _number(path: Path) -> int:
    """Return the number that ends a picture's name."""
    digits = re.search(r"\d+$", path.stem)
    if digits is None:
        raise ValueError(f"openforensics: '{path.name}' has no number; remove the option first")
    return int(digits[0])


def _hashes(root: Path, videos: Iterable[Video]) -> tuple[dict[str, int], list[str]]:
    """Return path -> perceptual hash, and the paths of pictures that cannot be decoded."""
    hashes: dict[str, int] = {}
    broken = []
    for video in track(list(videos), "openforensics: compare pictures"):
        try:
            hashes[video.path] = perceptual_hash(root / video.path)
        except OSError:
            broken.append(video.path)
    return hashes, broken


def _with_group(video: Video, phash: int, group: int, seed: int, validation: float) -> Video:
    """Add the hash and the duplicate group; derive the split of a Train picture from the group.

    ``group``: the smallest hash of the duplicates, so that other pictures do not rename it.
    """
    name = f"openforensics/{group:016x}"
    train = video.split == "train"
    split = hash_split(name, seed, {"val": validation}) if train else video.split
    return replace(video, group=name, split=split, attrs=json.dumps({"phash": f"{phash:016x}"}))


def _without_repeats(videos: Iterable[Video]) -> tuple[list[Video], tuple[str, ...]]:
    """Drop repeats from validation and test; return the rest and a note per split.

    A fake and a real of one split may show the same: the fake may be made from it.
    """
    seen: dict[str, set[tuple[str, int]]] = {}
    kept = []
    dropped: dict[str, list[str]] = {"val": [], "test": []}
    for video in sorted(videos, key=lambda one: ORDER.index(one.split)):
        others = seen.setdefault(video.group, set())
        if video.split in dropped and any(
            split != video.split or label == video.label for split, label in others
        ):
            dropped[video.split].append(video.path)
        else:
            others.add((video.split, video.label))
            kept.append(video)
    notes = [
        remark(f"{split} pictures left out that show the same as others", paths)
        for split, paths in dropped.items()
    ]
    return kept, tuple(note for found in notes for note in found)


ADAPTER = Adapter(
    name="openforensics",
    licence="for academic purposes only; photographs of Google Open Images by their owners",
    access_url="https://zenodo.org/records/5528418",
    citation="Le et al., ICCV 2021, doi:10.1109/ICCV48922.2021.00996",
    read=read,
    official=OFFICIAL,
)
