"""DeepSpeak v1.1 and v2 (Barrington et al. 2024): two corpora of one form, split by identity.

Known from third parties: the three annotation files and their columns, the engines, and the reals'
names ``<identity>-<recording>``. The folders of the videos are not described, so videos are found
by name at any depth. The label is the file that lists a video; an engine of the other release
raises, an unknown one is noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ..checks import by_stem, remark
from ..files import VIDEO_SUFFIXES, Tree, descend, locate, names, need, read_csv, videos_below
from ..schema import Adapter, IndexReport, Video

OFFICIAL = {
    "deepspeak1": {"all": (6667, 6796)},
    "deepspeak2": {},
}  # third party, v1.1, over both splits; v2 unknown
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


def read(dataset: str, root: Path) -> tuple[list[Video], IndexReport]:
    """Annotated videos of one release (``deepspeak1`` or ``deepspeak2``); the person on screen decides the split."""
    tree = locate(
        dataset,
        root,
        lambda folder: descend(folder, SPLITS),
        f"{SPLITS} beside the unpacked videos",
    )
    split_of = _split_of(dataset, tree.base)
    rows = _annotated(dataset, tree.base)
    clips = by_stem(dataset, videos_below(tree.base))
    known = sorted(clips.keys() & rows.keys())
    videos = [_video(tree, clips, rows, stem, split_of) for stem in known]
    notes = remark(
        "fakes of an engine that is not described: category UNK",
        (f"{video.manipulation} in {video.path}" for video in videos if video.category == "UNK"),
    )
    notes += remark(
        f"identities not in {SPLITS}: split none",
        (video.target_id for video in videos if video.split == "none"),
    )
    notes += remark(
        "fakes whose two identities are in different splits",
        (
            video.path
            for video in videos
            if video.source_id and split_of.get(video.source_id, "none") != video.split
        ),
    )
    return videos, IndexReport(
        dataset,
        len(videos),
        names(rows.keys() - clips.keys()),
        names(tree.path(clips[stem]) for stem in clips.keys() - rows.keys()),
        notes,
    )


def _rows(dataset: str, base: Path, name: str) -> list[dict[str, str]]:
    rows = read_csv(need(descend(base, name), dataset, name, "labels and splits"))
    missing = [column for column in COLUMNS[name] if rows and column not in rows[0]]
    if missing:
        raise ValueError(
            f"{dataset}: '{name}' has no column '{missing[0]}'; restore the official file"
        )
    return [{column: text.strip() for column, text in row.items()} for row in rows]


def _split_of(dataset: str, base: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in _rows(dataset, base, SPLITS):
        identity, split = row["identity"], row["split"].lower()
        if split not in ("train", "val", "test") or found.setdefault(identity, split) != split:
            raise ValueError(
                f"{dataset}: '{SPLITS}': identity '{identity}' has split '{split}'; expected one of "
                "train, val, test for each identity"
            )
    return found


def _annotated(dataset: str, base: Path) -> dict[str, tuple[int, dict[str, str]]]:
    """Stem -> (label, row) of every annotated video."""
    found: dict[str, tuple[int, dict[str, str]]] = {}
    for label, name in enumerate(ANNOTATIONS):
        for row in _rows(dataset, base, name):
            file = Path(row["video-file"].replace("\\", "/"))
            stem = file.stem if file.suffix.lower() in VIDEO_SUFFIXES else file.name
            if found.setdefault(stem, (label, row))[0] != label:
                raise ValueError(
                    f"{dataset}: '{stem}' is in both annotation files; it cannot be real and fake"
                )
    return found


def _video(
    tree: Tree,
    clips: Mapping[str, Path],
    rows: Mapping[str, tuple[int, dict[str, str]]],
    stem: str,
    split_of: Mapping[str, str],
) -> Video:
    place, (label, row) = clips[stem], rows[stem]
    target = row["identity-target" if label else "identity"]
    method, category = _method(tree.dataset, stem, row["engine"]) if label else ("real", "REAL")
    original = f"{target}-{row.get('recording-target', '')}"
    pair = (
        tree.video_id(clips[original]) if label and original in clips and original in rows else ""
    )
    return Video(
        tree.video_id(place),
        tree.path(place),
        "video",
        label,
        method,
        category,
        tree.dataset,
        split_of.get(target, "none"),
        "official",
        target_id=target,
        source_id=row["identity-source"] if label else "",
        pair_key=pair,
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
        name,
        "free to academic institutions by form, for a fee to others; not redistributable",
        f"https://huggingface.co/datasets/faridlab/deepspeak_{version}",
        "Barrington et al., arXiv:2408.05366",
        partial(read, name),
        OFFICIAL[name],
    )
    for name, version in (("deepspeak1", "v1_1"), ("deepspeak2", "v2"))
)
