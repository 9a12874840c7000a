"""Deepfake-Eval-2024 (Chandra et al. 2025): its videos, without the label Unknown (Section 4.2)."""

from __future__ import annotations

import json
from pathlib import Path

from ..files import Tree, descend, distinct, locate, names, read_csv, require, videos_below
from ..schema import Adapter, IndexReport, Official, Video

METADATA = "video-metadata-publish.csv"
OTHER_EDITIONS = "video-metadata-publish*.csv"
LABELS = {"real": 0, "fake": 1, "unknown": None}
COLUMNS = ("filename", "video ground truth")
OFFICIAL: Official = {"test": (112, 964)}  # of 2,036; 960 are Unknown
OFFICIAL_WITH_LINKS: Official = {"test": (1_072, 964)}
"""In the later edition ``…-with-links.csv``, where the same 960 are Real."""


def read(root: Path) -> tuple[list[Video], IndexReport]:
    """Index both folds of the release, all for testing; the audio ground truth is not used."""
    tree = locate("dfeval2024", root, lambda folder: descend(folder, "video-data"), "video-data/")
    others = sorted(tree.base.glob(OTHER_EDITIONS))
    metadata = descend(tree.base, METADATA) or next(iter(others), None)
    metadata = require(metadata, "dfeval2024", METADATA, "the labels")
    rows = _rows(metadata)
    paths = videos_below(descend(tree.base, "video-data"))
    clips = distinct("dfeval2024", paths, lambda path: path.name.lower())
    videos = []
    unknown = 0
    for name, row in rows.items():
        label = LABELS[_truth(row)]
        if label is None:
            unknown += 1
        elif name in clips:
            videos.append(_video(tree, clips[name], label, row))
    return videos, IndexReport(
        "dfeval2024",
        len(videos),
        names(rows.keys() - clips.keys()),
        names(clips.keys() - rows.keys()),
        (f"{unknown} videos with ground truth Unknown left out", *_edition_note(metadata)),
    )


def _edition_note(metadata: Path) -> tuple[str, ...]:
    if metadata.name.lower() == METADATA:
        return ()
    (paper,), (later,) = OFFICIAL.values(), OFFICIAL_WITH_LINKS.values()
    return (
        f"labels of '{metadata.name}', where the paper's 960 Unknown are Real: "
        f"{later[0]:,} / {later[1]} in all; '{METADATA}' has the paper's {paper[0]} / {paper[1]}",
    )


def _truth(row: dict[str, str]) -> str:
    return row["video ground truth"].strip().lower()


def _rows(path: Path) -> dict[str, dict[str, str]]:
    """Read the rows of the metadata by file name; the first of equal rows counts."""
    rows: dict[str, dict[str, str]] = {}
    for row in read_csv(path, *COLUMNS):
        name = row["filename"].strip().lower()
        truth = _truth(row)
        if truth not in LABELS:
            raise ValueError(
                f"dfeval2024: '{path.name}': '{name}' has ground truth '{truth}'; "
                "expected Real, Fake or Unknown"
            )
        first = rows.setdefault(name, row)
        if _truth(first) != truth:
            raise ValueError(
                f"dfeval2024: '{path.name}': '{name}' has two labels; keep the right row"
            )
    return rows


def _video(tree: Tree, path: Path, label: int, row: dict[str, str]) -> Video:
    attrs = {"fold": row.get("finetuning set", "").strip(), "date": row.get("date", "").strip()}
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind="video",
        label=label,
        manipulation="unknown" if label else "real",
        category="UNK" if label else "REAL",
        dataset="dfeval2024",
        split="test",
        split_source="paper-rule",
        group=path.stem,
        attrs=json.dumps(attrs, sort_keys=True),
    )


ADAPTER = Adapter(
    name="dfeval2024",
    licence="CC BY-SA 4.0, by gated form",
    access_url="https://github.com/nuriachandra/Deepfake-Eval-2024",
    citation="Chandra et al., arXiv:2503.02857",
    read=read,
    official=OFFICIAL,
)
