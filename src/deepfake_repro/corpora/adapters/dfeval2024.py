"""Deepfake-Eval-2024 (Chandra et al. 2025), videos only, without the label Unknown (Section 4.2)."""

from __future__ import annotations

import json
from pathlib import Path

from ..files import Tree, descend, distinct, locate, names, need, read_csv, videos_below
from ..schema import Adapter, IndexReport, Official, Video

METADATA = (
    "video-metadata-publish*.csv"  # the newer edition is called …-with-links.csv and sorts first
)
LABELS = {"real": 0, "fake": 1, "unknown": None}
COLUMNS = ("filename", "video ground truth")
OFFICIAL: Official = {"test": (112, 964)}  # of 2,036; 960 are Unknown


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Both folds of the release, all for testing; the audio ground truth is not used."""
    tree = locate("dfeval2024", root, lambda folder: descend(folder, "video-data"), "video-data/")
    metadata = next(iter(sorted(tree.base.glob(METADATA))), None)
    rows = _rows(need(metadata, "dfeval2024", METADATA, "the labels"))
    clips = distinct(
        "dfeval2024", videos_below(descend(tree.base, "video-data")), lambda place: place.name
    )
    labels = {name: LABELS[row["video ground truth"].strip().lower()] for name, row in rows.items()}
    known = [name for name in rows if name in clips and labels[name] is not None]
    videos = [_video(tree, clips[name], labels[name], rows[name]) for name in known]
    unknown = sum(label is None for label in labels.values())
    return videos, IndexReport(
        "dfeval2024",
        len(videos),
        names(rows.keys() - clips.keys()),
        names(clips.keys() - rows.keys()),
        (f"{unknown} videos with ground truth Unknown left out",),
    )


def _rows(path: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in read_csv(path, *COLUMNS):
        name, truth = row["filename"].strip(), row["video ground truth"].strip().lower()
        if truth not in LABELS:
            raise ValueError(
                f"dfeval2024: '{path.name}': '{name}' has ground truth '{truth}'; "
                "expected Real, Fake or Unknown"
            )
        first = found.setdefault(name, row)
        if first["video ground truth"].strip().lower() != truth:
            raise ValueError(
                f"dfeval2024: '{path.name}': '{name}' has two labels; keep the right row"
            )
    return found


def _video(tree: Tree, place: Path, label: int, row: dict[str, str]) -> Video:
    attrs = {"fold": row.get("finetuning set", "").strip(), "date": row.get("date", "").strip()}
    return Video(
        tree.video_id(place),
        tree.path(place),
        "video",
        label,
        "unknown" if label else "real",
        "UNK" if label else "REAL",
        "dfeval2024",
        "test",
        "paper-rule",
        group=place.stem,
        attrs=json.dumps(attrs, sort_keys=True),
    )


ADAPTER = Adapter(
    "dfeval2024",
    "CC BY-SA 4.0, by gated form",
    "https://github.com/nuriachandra/Deepfake-Eval-2024",
    "Chandra et al., arXiv:2503.02857",
    read,
    OFFICIAL,
)
