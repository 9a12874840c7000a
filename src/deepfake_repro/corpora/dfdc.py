"""DFDC (Dolhansky et al. 2020): labels from metadata.json or labels.csv, split by folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from .files import Tree, descend, folders, locate, names, need, read_csv, read_json, videos_below
from .schema import Adapter, IndexReport, Video

FOLDERS = {"train": "train", "validation": "val", "test": "test"}
PART = "dfdc_train_part_"
LABELS = {"real": 0, "fake": 1, "0": 0, "1": 1, "0.0": 0, "1.0": 1}


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """The three official sets, or those of them that are on disk; the corpus names no method per video."""
    tree = locate("dfdc", root, _is_corpus, f"train/{PART}*/, validation/ or test/ "
                  "(Kaggle's train_sample_videos and test_videos are other sets)")
    videos, missing, unlabelled = [], [], []
    for split, folder in _split_folders(tree.base):
        places = videos_below(folder)
        labels, clips = _labels(folder, places), _by_name(places)
        missing += [f"{folder.name}/{name}" for name in labels.keys() - clips.keys()]
        unlabelled += [tree.path(clips[name]) for name in clips.keys() - labels.keys()]
        videos += [_video(tree, clips, name, *labels[name], split) for name in clips.keys() & labels.keys()]
    return videos, IndexReport("dfdc", len(videos), names(missing), names(unlabelled))


def _is_corpus(folder: Path) -> bool:
    return next(_split_folders(folder), None) is not None


def _split_folders(base: Path) -> Iterator[tuple[str, Path]]:
    if _has_parts(base):
        yield "train", base  # Kaggle's style: the parts lie in the root
    elif descend(base, "labels.csv") and descend(base, "videos"):
        yield "test", base  # the test set alone, as SBI lays it out
    else:
        for name, split in FOLDERS.items():
            folder = descend(base, name)
            if folder and (split != "train" or _has_parts(folder)):
                yield split, folder


def _has_parts(folder: Path) -> bool:
    return any(part.name.lower().startswith(PART) for part in folders(folder))


def _labels(folder: Path, videos: list[Path]) -> dict[str, tuple[int, str]]:
    """File name -> (label, original's file name), from every metadata file in or below ``folder``."""
    found: dict[str, tuple[int, str]] = {}
    for path in sorted([*folder.rglob("metadata.json"), *folder.rglob("labels.csv")]):
        for name, label, original in _entries(path):
            known, first = found.get(name, (label, original))
            if known != label:
                raise ValueError(f"dfdc: '{name}' has two labels, {known} and {label} in '{path.name}'; mend it")
            found[name] = (label, original or first)
    for place in sorted({video.parent for video in videos}):
        if not found or (place.name.lower().startswith(PART) and not descend(place, "metadata.json")):
            need(None, "dfdc", f"{place.name}/metadata.json or labels.csv", "the labels")
    return found


def _entries(path: Path) -> Iterator[tuple[str, int, str]]:
    if path.suffix == ".csv":
        rows: Iterator[tuple[str, Mapping]] = ((row.get("filename", ""), row) for row in read_csv(path))
    else:
        rows = iter(read_json(path).items())
    for name, entry in rows:
        value = str(entry.get("label", entry.get("is_fake"))).lower()
        if value not in LABELS:
            raise ValueError(f"dfdc: '{path.name}': '{name}' has label '{value}'; expected REAL or FAKE, 0 or 1")
        yield name, LABELS[value], entry.get("original") or ""


def _by_name(places: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for place in places:
        if found.setdefault(place.name, place) != place:
            raise ValueError(f"dfdc: '{place.name}' lies in '{found[place.name].parent.name}' and "
                             f"'{place.parent.name}'; remove one")
    return found


def _video(tree: Tree, clips: dict[str, Path], name: str, label: int, original: str, split: str) -> Video:
    place = clips[name]
    # Audio-only and reenacted fakes exist but are not marked; Table 1 counts every DFDC fake as a face swap.
    manipulation, category = ("dfdc_unknown", "FS") if label else ("real", "REAL")
    group = Path(original or name).stem
    pair = tree.video_id(clips[original]) if original in clips else ""
    return Video(tree.video_id(place), tree.path(place), "video", label, manipulation, category, "dfdc", split,
                 "official", target_id=group, pair_key=pair if label else "", group=group)


ADAPTER = Adapter("dfdc", "DFDC licence agreement, research use; not redistributable",
                  "https://ai.meta.com/datasets/dfdc/", "Dolhansky et al., arXiv:2006.07397", read)
