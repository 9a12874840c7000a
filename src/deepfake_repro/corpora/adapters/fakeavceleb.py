"""FakeAVCeleb v1.2 (Khalid et al. 2021), split by identity, without RealVideo-FakeAudio."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..files import (
    Tree,
    csv_cells,
    descend,
    distinct,
    hash_split,
    locate,
    names,
    relative,
    require,
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
IDENTITY = re.compile(r"id\d+")  # target1 is "-", "2" or "0.mp4" where no donor is known
COLUMNS = 10  # source, target1, target2, method, category, type, race, gender, file name, folder

Key = tuple[str, ...]  # type, race, gender, identity, file name; lower-case


class Entry(NamedTuple):
    """What the metadata says about one video; the donor of a face may be unknown ("")."""

    method: str
    donor: str


def split_of(identity: str, seed: int = SEED) -> str:
    """Derive the split of an identity such as ``id00076`` (70/15/15); there is no official one."""
    return hash_split(identity, seed, FRACTIONS)


def read(
    root: Path, seed: int = SEED, composite_category: str = "FS"
) -> tuple[list[Video], IndexReport]:
    """Index the videos on disk that ``meta_data.csv`` lists.

    Fakes that are both swapped and lip-synced get ``composite_category``.
    """
    if composite_category not in ("FS", "RE"):
        raise ValueError(
            f"fakeavceleb: composite_category '{composite_category}' is not one of FS, RE"
        )
    tree = locate("fakeavceleb", root, lambda folder: descend(folder, TYPES[0]), f"{TYPES[0]}/")
    metadata, twice = _metadata(
        require(descend(tree.base, "meta_data.csv"), "fakeavceleb", "meta_data.csv", "the methods")
    )
    clips = distinct(
        "fakeavceleb",
        (path for name in TYPES for path in videos_below(descend(tree.base, name))),
        lambda path: _key(*relative(path, tree.base).split("/")),
    )
    videos = [
        _video(tree, clips, key, metadata[key], seed, composite_category)
        for key in clips.keys() & metadata.keys()
    ]
    dropped = len(videos_below(descend(tree.base, DROPPED)))
    notes = [
        f"{dropped} {DROPPED} videos left out: their faces are real and audio is not processed"
    ]
    if twice:
        notes.append(f"{twice} lines of meta_data.csv name a file again: the first method is kept")
    return videos, IndexReport(
        "fakeavceleb",
        len(videos),
        names("/".join(key) for key in metadata.keys() - clips.keys()),
        names(tree.path(clips[key]) for key in clips.keys() - metadata.keys()),
        tuple(notes),
    )


def _key(*parts: str) -> Key:
    # File names repeat over types and identities: only the five levels together are unique.
    return tuple(part.lower() for part in parts)


def _metadata(path: Path) -> tuple[dict[Key, Entry], int]:
    """Read the entries without the dropped type, and count lines that name a file again.

    The official file lists 22 fakes twice, as ``faceswap-wav2lip`` and as ``wav2lip``: the first
    line counts. Lines without a common method or with two donors contradict each other and raise
    ``ValueError``. Cells are read by position: the header calls the file name ``path`` and does not
    name the column of the folder.
    """
    metadata: dict[Key, Entry] = {}
    twice = 0
    for line, row in csv_cells(path):
        if row[0].strip().lower() == "source":
            continue
        where = f"fakeavceleb: '{path.name}' line {line}"
        if len(row) != COLUMNS:
            raise ValueError(
                f"{where} has {len(row)} cells; expected {COLUMNS}, restore the official file"
            )
        source, donor, _, method, _, kind, race, gender, name, _ = (cell.strip() for cell in row)
        if kind.lower() == DROPPED.lower():
            continue
        method = method.lower()
        if method not in METHODS or (method == "real") != (kind.lower() == TYPES[0].lower()):
            raise ValueError(
                f"{where}: method '{method}' does not belong in {kind}; restore the official file"
            )
        entry = Entry(method, donor if IDENTITY.fullmatch(donor) else "")
        first = metadata.setdefault(_key(kind, race, gender, source, name), entry)
        twice += first.method != entry.method
        if not _agree(first, entry):
            raise ValueError(
                f"{where}: '{name}' of {source} is listed twice in {kind}, with different methods "
                "or donors; keep the right line"
            )
    return metadata, twice


def _agree(first: Entry, second: Entry) -> bool:
    """Tell whether two lines of one file may both be true."""
    methods = set(first.method.split("-")) & set(second.method.split("-"))
    return bool(methods) and ("" in (first.donor, second.donor) or first.donor == second.donor)


def _video(
    tree: Tree, clips: Mapping[Key, Path], key: Key, entry: Entry, seed: int, composite: str
) -> Video:
    path = clips[key]
    identity = path.parent.name
    label = int(entry.method != "real")
    original = _key(TYPES[0], *key[1:4], f"{path.stem.split('_')[0]}{path.suffix}")
    return Video(
        video_id=tree.video_id(path),
        path=tree.path(path),
        kind="video",
        label=label,
        manipulation=entry.method,
        category=composite if "-" in entry.method else METHODS[entry.method],
        dataset="fakeavceleb",
        split=split_of(identity, seed),
        split_source="derived",
        target_id=identity,
        source_id=entry.donor,
        pair_key=tree.video_id(clips[original]) if label and original in clips else "",
        group=identity,
    )


ADAPTER = Adapter(
    name="fakeavceleb",
    licence="agreement by form, research only; not redistributable",
    access_url="https://github.com/DASH-Lab/FakeAVCeleb",
    citation="Khalid et al., NeurIPS Datasets and Benchmarks 2021",
    read=read,
    official=OFFICIAL,
)
