"""Finding corpora and their videos on disk, tolerantly but in a fixed order."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


@dataclass(frozen=True)
class Tree:
    """A corpus found on disk: ``base`` holds its official layout, at or a little below the ``given`` root."""

    dataset: str
    given: Path
    base: Path

    def path(self, place: Path) -> str:
        """Posix path relative to the root the user gave: ``root / path`` opens it."""
        return place.relative_to(self.given).as_posix()

    def video_id(self, place: Path) -> str:
        """Unique key: dataset and official path without a video's extension; the same for every root given."""
        stem = place.with_suffix("") if place.suffix.lower() in VIDEO_SUFFIXES else place
        return f"{self.dataset}/{stem.relative_to(self.base).as_posix()}"


def locate(dataset: str, root: Path, matches: Callable[[Path], object], wanted: str) -> Tree:
    """The nearest of ``root``, its folders and their folders that ``matches`` the official layout.

    So the corpus itself, its parent and a doubled folder are all accepted. Raises ``FileNotFoundError``
    naming what was ``wanted``.
    """
    level = [root]
    for _ in range(3):
        for folder in level:
            if matches(folder):
                return Tree(dataset, root, folder)
        level = [inner for folder in level for inner in folders(folder)]
    raise FileNotFoundError(f"{dataset}: '{root}' holds no {wanted}; give the folder of the official download")


def descend(folder: Path, *names: str) -> Path | None:
    """``folder/name/…`` with each name matched whatever its case, or None where one is missing."""
    for name in names:
        if not folder.is_dir():
            return None
        exact = folder / name
        found = exact if exact.exists() else next(
            (item for item in sorted(folder.iterdir()) if item.name.lower() == name.lower()), None)
        if found is None:
            return None
        folder = found
    return folder


def folders(folder: Path | None) -> list[Path]:
    """Sorted sub-folders, without hidden ones and those macOS leaves behind; none for a missing folder."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(item for item in folder.iterdir() if item.is_dir() and _wanted(item.name))


def usable(path: Path, suffixes: frozenset[str] = VIDEO_SUFFIXES) -> bool:
    """A non-empty file of one of ``suffixes``: no ``._*`` twin, no unfinished download."""
    return (path.suffix.lower() in suffixes and _wanted(path.name)
            and path.is_file() and path.stat().st_size > 0)


def videos_below(folder: Path | None) -> list[Path]:
    """Sorted usable video files at any depth; none for a missing folder."""
    if folder is None:
        return []
    found = []
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if _wanted(name)]
        found += [Path(place, name) for name in names]
    return sorted(path for path in found if usable(path))


def is_sequence(folder: Path) -> bool:
    """True for a folder that holds at least one usable image."""
    return any(usable(path, IMAGE_SUFFIXES) for path in folder.iterdir())


def clips_in(folder: Path | None) -> list[tuple[Path, str]]:
    """(place, kind) of the clips of one folder: videos, in ``videos/`` or not, else ``frames/<video>/``.

    Raises ``ValueError`` for two videos that differ in their suffix only.
    """
    if folder is None:
        return []
    for place in (descend(folder, "videos"), folder):
        found = sorted(path for path in place.iterdir() if usable(path)) if place else []
        for first, second in itertools.pairwise(found):
            if first.stem == second.stem:
                raise ValueError(f"'{first}' and '{second.name}' are two files of one video; remove one")
        if found:
            return [(path, "video") for path in found]
    return [(place, "frames") for place in folders(descend(folder, "frames")) if is_sequence(place)]


def read_json(path: Path) -> Any:
    """Content of a JSON file; ``ValueError`` names the file that is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"'{path.parent.name}/{path.name}' is broken ({error}); download it again") from error


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file as dictionaries, keys in lower case; a byte order mark and ``#`` lines are skipped.

    A quoted field may hold line breaks. Raises ``ValueError`` for a row with more cells than columns.
    """
    text = path.read_text(encoding="utf-8-sig").lstrip("\n")
    while text.startswith("#"):
        text = text.partition("\n")[2]
    reader = csv.reader(io.StringIO(text, newline=""))
    columns = [" ".join(name.lower().split()) for name in next(reader, [])]
    rows = []
    for cells in reader:
        if not any(cells) or cells[0].startswith("#"):
            continue
        if len(cells) > len(columns):
            raise ValueError(f"'{path.name}' line {reader.line_num}: {len(cells)} cells for {len(columns)} columns; "
                             "quote cells that hold commas")
        rows.append(dict(zip(columns, cells + [""] * (len(columns) - len(cells)), strict=True)))
    return rows


def need(place: Path | None, dataset: str, name: str, purpose: str) -> Path:
    """``place``, or ``FileNotFoundError`` saying which file is missing and what for."""
    if place is None or not place.exists():
        raise FileNotFoundError(f"{dataset}: '{name}' is missing; it decides {purpose} and is part of the download")
    return place


def hash_split(group: str, seed: int, fractions: Mapping[str, float]) -> str:
    """Split of a group by its hash alone, so that adding videos moves no other; the rest is ``train``.

    ``fractions`` maps ``val`` and ``test`` to their share of the groups.
    """
    digest = hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "big") / 2**64
    edge = 0.0
    for split in ("val", "test"):
        edge += fractions.get(split, 0.0)
        if position < edge:
            return split
    return "train"


def names(paths: Iterable[object]) -> tuple[str, ...]:
    """Sorted distinct names for a report."""
    return tuple(sorted({str(path) for path in paths}))


def _wanted(name: str) -> bool:
    return not (name.startswith(".") or name == "__MACOSX")
