"""The index: one row per video or face sequence of any corpus (Sections 4.1 and 4.2)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

import pandas as pd

SPLITS = ("train", "val", "test", "none")
VOCABULARY = {
    "label": (0, 1),
    "kind": ("video", "frames", "photos", "image", "face"),
    "category": ("REAL", "FS", "RE", "UNK", "OTHER"),
    "split": SPLITS,
    "split_source": ("official", "paper-rule", "derived", "user"),
}

# Counts of the full release: split, or "all" where no split is official -> (real, fake).
Official = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Video:
    """One row of the index: a video or picture, or a folder of face crops or photographs.

    ``kind`` is ``video`` for a file, ``frames`` for a folder of face crops, ``photos`` for a folder
    of photographs, ``image`` for one photograph, ``face`` for one picture that is a face crop.
    ``path`` is posix and relative to the user's root. ``label`` is 0 for real and 1
    for fake. ``target_id`` is the person whose video it is, ``source_id`` the person whose face or
    expression was put in. ``pair_key`` is the ``video_id`` of the real that a fake was made from.
    Videos of one ``group`` must stay in one derived split. Unknown text is empty, never null.
    """

    video_id: str
    path: str
    kind: str
    label: int
    manipulation: str
    category: str
    dataset: str
    split: str
    split_source: str
    compression: str = ""
    target_id: str = ""
    source_id: str = ""
    pair_key: str = ""
    group: str = ""
    attrs: str = "{}"


COLUMNS = tuple(field.name for field in fields(Video))


@dataclass(frozen=True)
class IndexReport:
    """What an adapter read: number of rows, names only in the metadata or only on disk, notes."""

    dataset: str
    indexed: int
    metadata_only: tuple[str, ...] = ()
    disk_only: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adapter:
    """Reader of one corpus in its official layout, with licence, address and citation to print."""

    name: str
    licence: str
    access_url: str
    citation: str
    read: Callable[..., tuple[list[Video], IndexReport]]
    official: Official = field(default_factory=dict)

    def index(self, root: Path, **options: object) -> tuple[pd.DataFrame, IndexReport]:
        """Index the corpus under ``root``: the table of :func:`index_table` and a report.

        Raises ``FileNotFoundError`` if the root lacks the corpus or a file that decides labels or
        splits, ``ValueError`` for contradictory contents or an unknown option.
        """
        supported = tuple(inspect.signature(self.read).parameters)[1:]
        unknown = sorted(set(options) - set(supported))
        if unknown:
            raise ValueError(
                f"{self.name}: unknown option '{unknown[0]}'; "
                f"known: {', '.join(supported) or 'none'}"
            )
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(
                f"{self.name}: root '{root}' is not a folder; give the official download"
            )
        try:
            videos, report = self.read(root, **options)
            table = index_table(videos)
        except ValueError as error:  # messages quote cells and names, which may contain line breaks
            raise ValueError(" ".join(str(error).splitlines())) from error
        if not videos:
            raise FileNotFoundError(
                f"{self.name}: no usable videos under '{root}'; is the download complete?"
            )
        return table, report


def index_table(videos: Iterable[Video]) -> pd.DataFrame:
    """Return one row per video, sorted by ``video_id``, with the columns of :class:`Video`.

    Columns are plain strings and integers. A ``pair_key`` that matches no row becomes empty. Raises
    ``ValueError`` for a repeated ``video_id`` or ``path`` (usually one video with two labels), for
    values outside the vocabulary, and for names that are not UTF-8, which no table can store.
    """
    rows = sorted(videos, key=lambda video: video.video_id)
    for video in rows:
        _check(video)
    _check_unique(rows, lambda video: video.video_id)
    _check_unique(rows, lambda video: (video.dataset, video.path))
    table = pd.DataFrame({name: [getattr(video, name) for video in rows] for name in COLUMNS})
    table["pair_key"] = table["pair_key"].where(table["pair_key"].isin(table["video_id"]), "")
    return table.astype({name: "int64" if name == "label" else "str" for name in COLUMNS})


def _check(video: Video) -> None:
    for name, values in VOCABULARY.items():
        value = getattr(video, name)
        if value not in values:
            raise ValueError(
                f"{video.video_id}: {name} '{value}' is not one of {', '.join(map(str, values))}"
            )
    try:
        f"{video.path}{video.target_id}{video.source_id}{video.group}".encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{video.dataset}: the name {video.path!a} is not UTF-8; rename the file"
        ) from error
    if (video.category == "REAL") != (video.label == 0):
        raise ValueError(
            f"{video.video_id}: label {video.label} contradicts category {video.category}"
        )


def _check_unique(rows: list[Video], key: Callable[[Video], Hashable]) -> None:
    seen: dict[Hashable, Video] = {}
    for video in rows:
        first = seen.setdefault(key(video), video)
        if first is video:
            continue
        if first.label != video.label:
            raise ValueError(
                f"{video.video_id}: two labels, {first.label} ('{first.path}') and "
                f"{video.label} ('{video.path}'); keep the right one"
            )
        raise ValueError(
            f"{video.video_id}: listed twice, as '{first.path}' and '{video.path}'; remove one"
        )
