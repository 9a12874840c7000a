"""DeepSpeak v1.1 and v2 (Barrington et al. 2024): two corpora of one layout, split by identity.

Documented by third parties: the three annotation files and their columns, the engines, and the
names of reals, ``<identity>-<recording>``. The folders of the videos are not described, so videos
are found by name at any depth. The file that lists a video gives its label. An engine of the other
release is an error, an unknown engine is noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..checks import by_stem, remark
from ..files import VIDEO_SUFFIXES, Tree, descend, locate, names, read_csv, require, videos_below
from ..schema import Adapter, IndexReport, Official, Video

# v1.1 from third parties, over both splits; v2 is not documented.
OFFICIAL: dict[str, Official] = {"deepspeak1": {"all": (6667, 6796)}, "deepspeak2": {}}
ANNOTATIONS = ("annotations-real.csv", "annotations-fake.csv")
SPLITS = "annotations-split-def.csv"
COLUMNS = {
    SPLITS: ("identity", "split"),
    ANNOTATIONS[0]: ("video-file", "identity"),
    ANNOTATIONS[1]: ("video-file", "engine", "identity-source", "identity-target"),
}
ENGINES = {
    "deepspeak1": {
        "facefusion": "FS",
        "facefusion_gan": "FS",
        "facefusion_live": "FS",
        "retalking": "RE",
        "wav2lip": "RE",
    },
    "deepspeak2": {
        "facefusion": "FS",
        "diff2lip": "RE",
        "hellomeme": "RE",
        "latentsync": "RE",
        "liveportrait": "RE",
        "memo": "RE",
    },
}
OTHER = {"deepspeak1": "deepspeak2", "deepspeak2": "deepspeak1"}


class Annotation(NamedTuple):
    """What the annotation files say about one video: its label and its row."""

    label: int
    row: dict[str, str]


def read(dataset: str, root: Path) -> tuple[list[Video], IndexReport]:
    """Index annotated videos of one release, ``deepspeak1`` or ``deepspeak2``.

    The identity of the person on screen decides the split.
    """
    tree = locate(
        dataset,
        root,
        lambda folder: descend(folder, SPLITS),
        f"{SPLITS} beside the unpacked videos",
    )
    split_of = _split_of(dataset, tree.base)
    annotations = _annotations(dataset, tree.base)
    clips = by_stem(dataset, videos_below(tree.base))
    stems = sorted(clips.keys() & annotations.keys())
    videos = [_video(tree, clips, annotations, stem, split_of) for stem in stems]
    return videos, IndexReport(
        dataset,
        len(videos),
        names(annotations.keys() - clips.keys()),
        names(tree.path(clips[stem]) for stem in clips.keys() - annotations.keys()),
        _notes(videos, split_of),
    )


def _notes(videos: list[Video], split_of: Mapping[str, str]) -> tuple[str, ...]:
    engines = remark(
        "fakes of an engine that is not described: category UNK",
        (f"{video.manipulation} in {video.path}" for video in videos if video.category == "UNK"),
    )
    identities = remark(
        f"identities not in {SPLITS}: split none",
        (video.target_id for video in videos if video.split == "none"),
    )
    straddling = remark(
        "fakes whose two identities are in different splits",
        (
            video.path
            for video in videos
            if video.source_id and split_of.get(video.source_id, "none") != video.split
        ),
    )
    return engines + identities + straddling


def _rows(dataset: str, base: Path, name: str) -> list[dict[str, str]]:
    rows = read_csv(require(descend(base, name), dataset, name, "labels and splits"))
    missing = [column for column in COLUMNS[name] if rows and column not in rows[0]]
    if missing:
        raise ValueError(
            f"{dataset}: '{name}' has no column '{missing[0]}'; restore the official file"
        )
    return [{column: text.strip() for column, text in row.items()} for row in rows]


def _split_of(dataset: str, base: Path) -> dict[str, str]:
    split_of: dict[str, str] = {}
    for row in _rows(dataset, base, SPLITS):
        identity = row["identity"]
        split = row["split"].lower()
        if split not in ("train", "val", "test") or split_of.setdefault(identity, split) != split:
            raise ValueError(
                f"{dataset}: '{SPLITS}': identity '{identity}' has split '{split}'; expected one "
                "of train, val, test for each identity"
            )
    return split_of


def _annotations(dataset: str, base: Path) -> dict[str, Annotation]:
    """Map the stem of every annotated video to its annotation."""
    annotations: dict[str, Annotation] = {}
    for label, name in enumerate(ANNOTATIONS):
        for row in _rows(dataset, base, name):
            file = Path(row["video-file"].replace("\\", "/"))
            stem = file.stem if file.suffix.lower() in VIDEO_SUFFIXES else file.name
            if annotations.setdefault(stem, Annotation(label, row)).label != label:
                raise ValueError(
                    f"{dataset}: '{stem}' is in both annotation files; it cannot be real and fake"
                )
    return annotations


def _video(
    tree: Tree,
    clips: Mapping[str, Path],
    annotations: Mapping[str, Annotation],
    stem: str,
    split_of: Mapping[str, str],
) -> Video:
    path = clips[stem]
    label, row = annotations[stem]
    target = row["identity-target" if label else "identity"]
    method, category = _method(tree.dataset, stem, row["engine"]) if label else ("real", "REAL")
    original = f"{target}-{row.get('recording-target', '')}"
    paired = label and original in clips and original in annotations
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind="video",
        label=label,
        manipulation=method,
        category=category,
        dataset=tree.dataset,
        split=split_of.get(target, "none"),
        split_source="official",
        target_id=target,
        source_id=row["identity-source"] if label else "",
        pair_key=tree.video_id(clips[original]) if paired else "",
        group=target,
    )


def _method(dataset: str, stem: str, engine: str) -> tuple[str, str]:
    name = engine.lower().replace("-", "_").replace(" ", "_")
    if name not in ENGINES[dataset] and name in ENGINES[OTHER[dataset]]:
        raise ValueError(
            f"{dataset}: '{stem}' is made by '{engine}', an engine of {OTHER[dataset]}; "
            "give each key the root of its own release"
        )
    return name or "unknown", ENGINES[dataset].get(name, "UNK")


ADAPTERS = tuple(
    Adapter(
        name=name,
        licence="free to academic institutions by form, for a fee to others; not redistributable",
        access_url=f"https://huggingface.co/datasets/faridlab/deepspeak_{version}",
        citation="Barrington et al., arXiv:2408.05366",
        read=partial(read, name),
        official=OFFICIAL[name],
    )
    for name, version in (("deepspeak1", "v1_1"), ("deepspeak2", "v2"))
)
