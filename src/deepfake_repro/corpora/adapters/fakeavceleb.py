"""FakeAVCeleb v1.2 (Khalid et al. 2021), without RealVideo-FakeAudio (Section 4.2), split by identity."""

from __future__ import annotations

from pathlib import Path

from ..files import (
    Tree,
    csv_cells,
    descend,
    distinct,
    hash_split,
    locate,
    names,
    need,
    relative,
    videos_below,
)
from ..schema import Adapter, IndexReport, Official, Video

SEED = 2025
FRACTIONS = {"val": 0.15, "test": 0.15}  # Table 1: 14,720 / 3,149 / 3,172
TYPES = ("RealVideo-RealAudio", "FakeVideo-RealAudio", "FakeVideo-FakeAudio")
DROPPED = "RealVideo-FakeAudio"
METHODS = {
    "real": "REAL",
    "faceswap": "FS",
    "fsgan": "FS",
    "wav2lip": "RE",
    "faceswap-wav2lip": "FS",
    "fsgan-wav2lip": "FS",
}
OFFICIAL: Official = {"all": (500, 20_544)}  # without the dropped type; the paper has 498 + 20,543
COLUMNS = 10  # source, target1, target2, method, category, type, race, gender, file name, folder

Key = tuple[str, ...]


def split_of(identity: str, seed: int = SEED) -> str:
    """Split of an identity such as ``id00076``; there is no official one (derived, 70/15/15)."""
    return hash_split(identity, seed, FRACTIONS)


def read(
    root: Path, seed: int = SEED, composite_category: str = "FS"
) -> tuple[list[Video], IndexReport]:
    """Videos on disk joined with ``meta_data.csv``; fakes that swap and lip-sync get ``composite_category``."""
    if composite_category not in ("FS", "RE"):
        raise ValueError(
            f"fakeavceleb: composite_category '{composite_category}' is not one of FS, RE"
        )
    tree = locate("fakeavceleb", root, lambda folder: descend(folder, TYPES[0]), f"{TYPES[0]}/")
    metadata = _metadata(
        need(descend(tree.base, "meta_data.csv"), "fakeavceleb", "meta_data.csv", "the methods")
    )
    clips = distinct(
        "fakeavceleb",
        (place for name in TYPES for place in videos_below(descend(tree.base, name))),
        lambda place: _key(*relative(place, tree.base).split("/")),
    )
    videos = [
        _video(tree, clips, key, *metadata[key], seed, composite_category)
        for key in clips.keys() & metadata.keys()
    ]
    dropped = len(videos_below(descend(tree.base, DROPPED)))
    return videos, IndexReport(
        "fakeavceleb",
        len(videos),
        names("/".join(key) for key in metadata.keys() - clips.keys()),
        names(tree.path(clips[key]) for key in clips.keys() - metadata.keys()),
        (f"{dropped} {DROPPED} videos left out: their faces are real and audio is not processed",),
    )


def _key(*parts: str) -> Key:
    # File names repeat over types and identities: only the five levels together are unique.
    return tuple(part.lower() for part in parts)


def _metadata(path: Path) -> dict[Key, tuple[str, str]]:
    """(type, race, gender, source, file name) -> (method, donor), without the dropped type.

    Read by position: the header calls the file name ``path`` and leaves the folder's column
    unnamed.
    """
    found: dict[Key, tuple[str, str]] = {}
    for line, row in csv_cells(path):
        if row[0].strip().lower() == "source":
            continue
        where = f"fakeavceleb: '{path.name}' line {line}"
        if len(row) != COLUMNS:
            raise ValueError(f"{where} has {len(row)} cells; expected {COLUMNS}")
        source, donor, _, method, _, kind, race, gender, name, _ = (cell.strip() for cell in row)
        if kind.lower() == DROPPED.lower():
            continue
        method = method.lower()
        if method not in METHODS or (method == "real") != (kind.lower() == TYPES[0].lower()):
            raise ValueError(
                f"{where}: method '{method}' does not belong in {kind}; restore the official file"
            )
        entry = (method, "" if donor == "-" else donor)
        if found.setdefault(_key(kind, race, gender, source, name), entry) != entry:
            raise ValueError(
                f"{where}: '{name}' of {source} is listed twice in {kind}, with different methods or "
                "donors; keep the right line"
            )
    return found


def _video(
    tree: Tree, clips: dict[Key, Path], key: Key, method: str, donor: str, seed: int, composite: str
) -> Video:
    place = clips[key]
    identity = place.parent.name
    label = int(method != "real")
    original = _key(TYPES[0], *key[1:4], f"{place.stem.split('_')[0]}{place.suffix}")
    pair = tree.video_id(clips[original]) if label and original in clips else ""
    return Video(
        tree.video_id(place),
        tree.path(place),
        "video",
        label,
        method,
        composite if "-" in method else METHODS[method],
        "fakeavceleb",
        split_of(identity, seed),
        "derived",
        target_id=identity,
        source_id=donor,
        pair_key=pair,
        group=identity,
    )


ADAPTER = Adapter(
    "fakeavceleb",
    "agreement by form, research only; not redistributable",
    "https://github.com/DASH-Lab/FakeAVCeleb",
    "Khalid et al., NeurIPS Datasets and Benchmarks 2021",
    read,
    OFFICIAL,
)
