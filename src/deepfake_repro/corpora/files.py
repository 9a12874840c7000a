"""Finding corpora and their videos on disk, tolerantly but in a fixed order.

Official downloads are large and often spread over several disks, so links to folders are followed
wherever they lead; none is followed twice, so that a cycle of links ends. What a *file* says (an
entry of a manifest, a member of an archive) may never lead out of the root: ``manifest`` and
``wilddeepfake`` see to that.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
UNFINISHED = ".aria2"  # beside a video whose download was interrupted


@dataclass(frozen=True)
class Tree:
    """A corpus found on disk: ``base`` holds its official layout, at or a little below the ``given`` root."""

    dataset: str
    given: Path
    base: Path

    def path(self, place: Path) -> str:
        """Posix path relative to the root the user gave: ``root / path`` opens it."""
        return relative(place, self.given)

    def video_id(self, place: Path) -> str:
        """Unique key: dataset and official path without a video's extension; the same for every root given."""
        inner = relative(place, self.base)
        stem, suffix = os.path.splitext(inner)
        return f"{self.dataset}/{stem if suffix.lower() in VIDEO_SUFFIXES else inner}"


def relative(place: Path, folder: Path) -> str:
    """Posix path of ``place`` below ``folder``; ``ValueError`` for a place elsewhere."""
    # Cutting the text first: Path.relative_to alone would be a third of the time of indexing all
    # corpora.
    text, base = place.as_posix(), f"{folder.as_posix()}/"
    return text[len(base) :] if text.startswith(base) else place.relative_to(folder).as_posix()


def locate(dataset: str, root: Path, matches: Callable[[Path], object], wanted: str) -> Tree:
    """The nearest of ``root``, its folders and their folders that ``matches`` the official layout.

    So the corpus itself, its parent and a doubled folder are all accepted. Raises
    ``FileNotFoundError`` naming what was ``wanted``, ``ValueError`` where two folders match equally
    well (Celeb-DF v1 beside v2).
    """
    level = [root]
    for _ in range(3):
        found = [folder for folder in level if matches(folder)]
        if len(found) > 1:
            raise ValueError(
                f"{dataset}: both '{found[0]}' and '{found[1]}' hold {wanted}; give one of them as root"
            )
        if found:
            return Tree(dataset, root, found[0])
        level = [inner for folder in level for inner in folders(folder)]
    raise FileNotFoundError(
        f"{dataset}: '{root}' holds no {wanted}; give the folder of the official download"
    )


def descend(folder: Path, *names: str) -> Path | None:
    """``folder/name/…`` with each name matched whatever its case, or None where one is missing."""
    for name in names:
        if not folder.is_dir():
            return None
        exact = folder / name
        found = (
            exact
            if exact.exists()
            else next(
                (item for item in sorted(folder.iterdir()) if item.name.lower() == name.lower()),
                None,
            )
        )
        if found is None:
            return None
        folder = found
    return folder


def folders(folder: Path | None) -> list[Path]:
    """Sorted sub-folders, without hidden ones and those macOS leaves behind; none for a missing folder."""
    if folder is None or not folder.is_dir():
        return []
    return [folder / entry.name for entry in _entries(folder) if _is_folder(entry)]


def usable(path: Path, suffixes: frozenset[str] = VIDEO_SUFFIXES) -> bool:
    """A non-empty file of one of ``suffixes``: no ``._*`` twin, no unfinished download."""
    return (
        path.suffix.lower() in suffixes
        and _wanted(path.name)
        and os.path.isfile(path)
        and path.stat().st_size > 0
        and not os.path.exists(f"{path}{UNFINISHED}")
    )


def files_below(folder: Path | None, suffixes: frozenset[str]) -> list[Path]:
    """Usable files of ``suffixes`` at any depth, each folder's in order of name; none for a missing folder."""
    return (
        list(_walk(folder, suffixes, {os.path.realpath(folder)}))
        if folder and folder.is_dir()
        else []
    )


def videos_below(folder: Path | None) -> list[Path]:
    """Usable video files at any depth, each folder's in order of name; none for a missing folder."""
    return files_below(folder, VIDEO_SUFFIXES)


def sequences_below(folder: Path | None) -> list[Path]:
    """Folders at any depth that hold images, each folder's in order of name; none for a missing folder."""
    return list(_sequences(folder, {os.path.realpath(folder)})) if folder else []


def is_sequence(folder: Path) -> bool:
    """True for a folder that holds at least one usable image."""
    with os.scandir(folder) as entries:
        return any(_usable(entry, IMAGE_SUFFIXES) for entry in entries)


def clips_in(folder: Path | None) -> list[tuple[Path, str]]:
    """(place, kind) of the clips of one folder: videos, in ``videos/`` or not, else ``frames/<video>/``.

    Raises ``ValueError`` for two videos that differ in their suffix only.
    """
    if folder is None:
        return []
    for place in (descend(folder, "videos"), folder):
        found = _files(place, VIDEO_SUFFIXES) if place and place.is_dir() else []
        stems: dict[str, Path] = {}
        for path in found:
            first = stems.setdefault(path.stem.lower(), path)
            if first is not path:
                raise ValueError(
                    f"'{first}' and '{path.name}' are two files of one video; remove one"
                )
        if found:
            return [(path, "video") for path in found]
    return [(place, "frames") for place in folders(descend(folder, "frames")) if is_sequence(place)]


def distinct(dataset: str, places: Iterable[Path], key: Callable[[Path], Any]) -> dict[Any, Path]:
    """``places`` by ``key``. Raises ``ValueError`` for two places with one key, of which one would be lost."""
    found: dict[Any, Path] = {}
    for place in places:
        first = found.setdefault(key(place), place)
        if first is not place:
            raise ValueError(
                f"{dataset}: '{place.name}' lies in '{first.parent.name}' and '{place.parent.name}' "
                f"('{first}'); remove one"
            )
    return found


def read_text(path: Path) -> str:
    """Text of a UTF-8 file without its byte order mark; ``ValueError`` names a file in another encoding."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"'{path.parent.name}/{path.name}' is not UTF-8 (byte {error.start}); "
            "restore the official file or save it as UTF-8"
        ) from error


def read_json(path: Path, expected: type = object) -> Any:
    """Content of a JSON file, an ``expected`` ``dict`` or ``list``.

    ``ValueError`` names the file that is broken, of another type, or says two things of one name.
    """
    try:
        content = json.loads(read_text(path), object_pairs_hook=_object)
    except (json.JSONDecodeError, _ListedTwice) as error:
        raise ValueError(
            f"'{path.parent.name}/{path.name}' is broken ({error}); download it again"
        ) from error
    if not isinstance(content, expected):
        raise ValueError(
            f"'{path.parent.name}/{path.name}' holds a {type(content).__name__} instead of a "
            f"{expected.__name__}; restore the official file"
        )
    return content


class _ListedTwice(ValueError):
    """A JSON object says two things of one name; plain ``json`` would keep the last."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        for name, value in pairs:
            if found[name] != value:
                raise _ListedTwice(f"'{name}' is listed twice with different values")
    return found


def csv_cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each row of a CSV file that is not blank; a quoted cell may hold line breaks.

    Raises ``ValueError`` for quotes that do not close: what follows them would be swallowed
    silently.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(
            f"'{path.name}' line {reader.line_num}: {error}; mend its quotes"
        ) from error


def read_csv(path: Path, *required: str) -> list[dict[str, str]]:
    """Rows of a CSV file as dictionaries, keys in lower case; a byte order mark and ``#`` lines are skipped.

    A quoted field may hold line breaks. Raises ``ValueError`` for a row with more cells than
    columns, a column named twice and a ``required`` column that is missing.
    """
    rows = ((line, cells) for line, cells in csv_cells(path) if not cells[0].startswith("#"))
    columns = [" ".join(name.lower().split()) for name in next(rows, (0, []))[1]]
    for name in columns:
        if name and columns.count(name) > 1:
            raise ValueError(f"'{path.name}' has two columns '{name}'; keep the right one")
    for name in required:
        if name not in columns:
            raise ValueError(f"'{path.name}' has no column '{name}'; restore the official header")
    found = []
    for line, cells in rows:
        if len(cells) > len(columns):
            raise ValueError(
                f"'{path.name}' line {line}: {len(cells)} cells for {len(columns)} columns; "
                "quote cells that hold commas"
            )
        found.append(dict(zip(columns, cells + [""] * (len(columns) - len(cells)), strict=True)))
    return found


def need(place: Path | None, dataset: str, name: str, purpose: str) -> Path:
    """``place``, or ``FileNotFoundError`` saying which file is missing and what for."""
    if place is None or not place.exists():
        raise FileNotFoundError(
            f"{dataset}: '{name}' is missing; it decides {purpose} and is part of the download"
        )
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


def _entries(folder: Path | str) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry) -> bool:
    # A link is asked through os.path, to which a broken or circular one is no folder instead of an
    # error.
    return _wanted(entry.name) and (os.path.isdir(entry) if entry.is_symlink() else entry.is_dir())


def _usable(entry: os.DirEntry, suffixes: frozenset[str]) -> bool:
    # As ``usable``, without asking the disk anew for what its listing says.
    name = entry.name
    return (
        os.path.splitext(name)[1].lower() in suffixes
        and _wanted(name)
        and (os.path.isfile(entry) if entry.is_symlink() else entry.is_file())
        and entry.stat().st_size > 0
    )


def _files(
    folder: Path, suffixes: frozenset[str], entries: list[os.DirEntry] | None = None
) -> list[Path]:
    entries = _entries(folder) if entries is None else entries
    unfinished = {entry.name for entry in entries if entry.name.endswith(UNFINISHED)}
    return [
        folder / entry.name
        for entry in entries
        if _usable(entry, suffixes) and entry.name + UNFINISHED not in unfinished
    ]


def _walk(folder: Path, suffixes: frozenset[str], entered: set[str]) -> Iterator[Path]:
    entries = _entries(folder)
    yield from _files(folder, suffixes, entries)
    for inner in _enter(folder, entries, entered):
        yield from _walk(inner, suffixes, entered)


def _sequences(folder: Path, entered: set[str]) -> Iterator[Path]:
    if is_sequence(folder):
        yield folder
        return
    for inner in _enter(folder, _entries(folder), entered):
        yield from _sequences(inner, entered)


def _enter(folder: Path, entries: list[os.DirEntry], entered: set[str]) -> Iterator[Path]:
    """Wanted sub-folders; a link is followed once, and never to a folder that it lies in."""
    for entry in entries:
        if not _is_folder(entry):
            continue
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if target in entered or Path(os.path.realpath(folder)).is_relative_to(target):
                continue
            entered.add(target)
        yield folder / entry.name
