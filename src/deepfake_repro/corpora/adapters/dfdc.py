"""DFDC (Dolhansky et al. 2020): labels from metadata.json or labels.csv, split by folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files import (
    Tree,
    descend,
    distinct,
    files_below,
    folders,
    locate,
    names,
    need,
    read_csv,
    read_json,
    videos_below,
)
from ..schema import Adapter, IndexReport, Official, Video

PART = "dfdc_train_part_"
KAGGLE = ("train_sample_videos", "test_videos")  # 400 videos each, neither of them an official set
METADATA = ("metadata.json", "labels.csv")
LABELS = {"real": 0, "fake": 1, "0": 0, "1": 1, "0.0": 0, "1.0": 1}
OFFICIAL: Official = {"train": (19_154, 100_000), "val": (2_000, 2_000), "test": (2_500, 2_500)}


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """The three official sets, or those of them that are on disk; the corpus names no method per video.

    Every training part has labels of its own. A name met twice, in two parts or two sets, is an
    error.
    """
    tree = locate(
        "dfdc",
        root,
        _sets,
        f"train/{PART}*/, validation/ or test/ (Kaggle's {' and '.join(KAGGLE)} are other sets)",
    )
    contents = [(split, folder, videos_below(folder)) for split, folder in _sets(tree.base)]
    clips = distinct(
        "dfdc", (place for *_, places in contents for place in places), lambda place: place.name
    )
    videos, missing, unlabelled = [], [], []
    for split, folder, places in contents:
        labels = _labels(folder)
        if places and not labels:
            need(None, "dfdc", f"{folder.name}/{' or '.join(METADATA)}", "the labels")
        missing += [f"{folder.name}/{name}" for name in labels.keys() - clips.keys()]
        videos += [
            _video(tree, clips, place.name, *labels[place.name], split)
            for place in places
            if place.name in labels
        ]
        unlabelled += [tree.path(place) for place in places if place.name not in labels]
    kaggle = [name for name in KAGGLE if descend(tree.base, name)]
    notes = (f"left out, as Kaggle's and no official set: {', '.join(kaggle)}",) if kaggle else ()
    return videos, IndexReport("dfdc", len(videos), names(missing), names(unlabelled), notes)


def _sets(base: Path) -> list[tuple[str, Path]]:
    """(split, folder) of what is on disk; each training part, in ``train/`` or not, is a folder of its own."""
    found = [
        ("train", part)
        for folder in (base, descend(base, "train"))
        for part in folders(folder)
        if part.name.lower().startswith(PART)
    ]
    found += [
        (split, folder)
        for name, split in (("validation", "val"), ("test", "test"))
        if (folder := descend(base, name))
    ]
    if not found and descend(base, "labels.csv") and descend(base, "videos"):
        found = [("test", base)]  # the test set alone, as SBI lays it out
    return found


def _labels(folder: Path) -> dict[str, tuple[int, str]]:
    """File name -> (label, original's file name), from every metadata file in or below ``folder``."""
    found: dict[str, tuple[int, str]] = {}
    for path in files_below(folder, frozenset({".json", ".csv"})):
        for name, label, original in _entries(path) if path.name in METADATA else ():
            known, first = found.get(name, (label, original))
            if known != label:
                raise ValueError(
                    f"dfdc: '{name}' has two labels, {known} and {label} in '{path.name}'; mend it"
                )
            found[name] = (label, original or first)
    return found


def _entries(path: Path) -> Iterator[tuple[str, int, str]]:
    if path.suffix == ".csv":
        rows: Iterable[tuple[str, Any]] = (
            (row["filename"].strip(), row) for row in read_csv(path, "filename", "label")
        )
    else:
        rows = read_json(path, dict).items()
    for name, entry in rows:
        said = entry if isinstance(entry, Mapping) else {}
        values = [str(said[key]).strip().lower() for key in ("label", "is_fake") if key in said]
        labels = {LABELS.get(value) for value in values}
        if len(labels) != 1 or None in labels:
            raise ValueError(
                f"dfdc: '{path.parent.name}/{path.name}': '{name}' has label '{' and '.join(values)}'; "
                "expected REAL or FAKE, 0 or 1"
            )
        yield name, labels.pop(), str(said.get("original") or "")


def _video(
    tree: Tree, clips: dict[str, Path], name: str, label: int, original: str, split: str
) -> Video:
    place = clips[name]
    # Audio-only and reenacted fakes exist but are not marked; Table 1 counts every DFDC fake as a
    # face swap.
    manipulation, category = ("dfdc_unknown", "FS") if label else ("real", "REAL")
    group = Path(original or name).stem
    pair = tree.video_id(clips[original]) if original in clips else ""
    return Video(
        tree.video_id(place),
        tree.path(place),
        "video",
        label,
        manipulation,
        category,
        "dfdc",
        split,
        "official",
        target_id=group,
        pair_key=pair if label else "",
        group=group,
    )


ADAPTER = Adapter(
    "dfdc",
    "DFDC licence agreement, research use; not redistributable",
    "https://ai.meta.com/datasets/dfdc/",
    "Dolhansky et al., arXiv:2006.07397",
    read,
    OFFICIAL,
)
