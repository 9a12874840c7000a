"""DFDC (Dolhansky et al. 2020): labels from metadata.json or labels.csv, split by folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..files import (
    Tree,
    descend,
    distinct,
    files_below,
    folders,
    locate,
    names,
    read_csv,
    read_json,
    require,
    videos_below,
)
from ..schema import Adapter, IndexReport, Official, Video

PART = "dfdc_train_part_"
KAGGLE = ("train_sample_videos", "test_videos")  # 400 videos each; neither is an official set
METADATA = ("metadata.json", "labels.csv", "label.csv")
LABELS = {"real": 0, "fake": 1, "0": 0, "1": 1, "0.0": 0, "1.0": 1}
OFFICIAL: Official = {"train": (19_154, 100_000), "val": (2_000, 2_000), "test": (2_500, 2_500)}


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Index the official sets that are on disk; the corpus names no method per video.

    Every training part has labels of its own. A name that occurs twice, in two parts or two sets,
    is an error.
    """
    tree = locate(
        "dfdc",
        root,
        _sets,
        f"train/{PART}*/, validation/ or test/ (Kaggle's {' and '.join(KAGGLE)} are other sets)",
    )
    contents = [(split, folder, videos_below(folder)) for split, folder in _sets(tree.base)]
    all_paths = (path for *_, paths in contents for path in paths)
    clips = distinct("dfdc", all_paths, lambda path: path.name.lower())
    videos: list[Video] = []
    missing: list[str] = []
    unlabelled: list[str] = []
    for split, folder, paths in contents:
        labels = _labels(folder)
        if paths and not labels:
            require(None, "dfdc", f"{folder.name}/{' or '.join(METADATA[:2])}", "the labels")
        missing += [f"{folder.name}/{name}" for name in labels.keys() - clips.keys()]
        for path in paths:
            if path.name.lower() in labels:
                label, original = labels[path.name.lower()]
                videos.append(_video(tree, path, label, original, clips, split))
            else:
                unlabelled.append(tree.path(path))
    kaggle = [name for name in KAGGLE if descend(tree.base, name)]
    notes = (
        (f"Kaggle's sets, which are not official, left out: {', '.join(kaggle)}",) if kaggle else ()
    )
    return videos, IndexReport("dfdc", len(videos), names(missing), names(unlabelled), notes)


def _sets(base: Path) -> list[tuple[str, Path]]:
    """Return (split, folder) of the sets on disk.

    Each training part, in ``train/`` or not, is a folder of its own. The test set alone may be the
    root itself, as SBI lays it out.
    """
    sets = [
        ("train", part)
        for parent in (base, descend(base, "train"))
        for part in folders(parent)
        if part.name.lower().startswith(PART)
    ]
    for name, split in (("validation", "val"), ("test", "test")):
        folder = descend(base, name)
        if folder:
            sets.append((split, folder))
    labels = descend(base, "labels.csv") or descend(base, "label.csv")
    if not sets and labels and descend(base, "videos"):
        sets = [("test", base)]
    return sets


def _labels(folder: Path) -> dict[str, tuple[int, str]]:
    """Read (label, original) by file name, lower-case, from the metadata files below ``folder``."""
    labels: dict[str, tuple[int, str]] = {}
    for path in files_below(folder, (".json", ".csv")):
        if path.name.lower() not in METADATA:
            continue
        for name, label, original in _entries(path):
            first_label, first_original = labels.get(name, (label, original))
            if first_label != label:
                raise ValueError(
                    f"dfdc: '{name}' has two labels, {first_label} and {label} in '{path.name}'; "
                    "fix it"
                )
            labels[name] = (label, original or first_original)
    return labels


def _entries(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yield (file name, label, original's file name), lower-case, of each entry of a file."""
    entries: Iterable[tuple[str, object]]
    if path.suffix.lower() == ".csv":
        rows = read_csv(path, "filename", "label")
        entries = ((row["filename"].strip(), row) for row in rows)
    else:
        entries = read_json(path, dict).items()
    for name, entry in entries:
        cells = entry if isinstance(entry, Mapping) else {}
        values = [str(cells[key]).strip().lower() for key in ("label", "is_fake") if key in cells]
        labels = {LABELS.get(value) for value in values}
        label = labels.pop() if len(labels) == 1 else None
        if label is None:
            raise ValueError(
                f"dfdc: '{path.parent.name}/{path.name}': '{name}' has label "
                f"'{' and '.join(values)}'; expected REAL or FAKE, 0 or 1"
            )
        yield name.lower(), label, str(cells.get("original") or "").lower()


def _video(
    tree: Tree, path: Path, label: int, original: str, clips: Mapping[str, Path], split: str
) -> Video:
    group = Path(original or path.name).stem
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind="video",
        label=label,
        manipulation="dfdc_unknown" if label else "real",
        # Some fakes are reenacted or only their sound is fake, but none is marked; Table 1 counts
        # every DFDC fake as a face swap.
        category="FS" if label else "REAL",
        dataset="dfdc",
        split=split,
        split_source="official",
        target_id=group,
        pair_key=tree.video_id(clips[original]) if label and original in clips else "",
        group=group,
    )


ADAPTER = Adapter(
    name="dfdc",
    licence="DFDC licence agreement, research use; not redistributable",
    access_url="https://ai.meta.com/datasets/dfdc/",
    citation="Dolhansky et al., arXiv:2006.07397",
    read=read,
    official=OFFICIAL,
)
