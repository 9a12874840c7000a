"""Find corpora and their videos on disk, tolerantly but in a fixed order.

Official downloads are large and often spread over several disks. Links to folders are therefore
followed wherever they lead, but each only once, so that a cycle of links ends. What a *file* says
(an entry of a manifest, a member of an archive) may never lead out of the root; ``manifest`` and
``wilddeepfake`` check that.
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

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
UNFINISHED = ".aria2"  # beside a video whose download was interrupted


@dataclass(frozen=True)
class Tree:
    """A corpus on disk: ``base`` has the official layout, at or just below the user's ``root``."""

    dataset: str
    root: Path
    base: Path

    def path(self, path: Path) -> str:
        """Return the posix path relative to the user's root: ``root / path`` opens it."""
        return relative(path, self.root)

    def video_id(self, path: Path) -> str:
        """Return a unique key: dataset and official path without a video's extension.

        The key does not depend on which root was given.
        """
        inner = relative(path, self.base)
        suffix = path.suffix
        stem = inner.removesuffix(suffix) if suffix.lower() in VIDEO_SUFFIXES else inner
        return f"{self.dataset}/{stem}"


def relative(path: Path, folder: Path) -> str:
    """Return the posix path of ``path`` below ``folder``; ``ValueError`` if it is elsewhere."""
    # Comparing text is tried first: Path.relative_to alone would take a third of the time of
    # indexing all corpora.
    text = path.as_posix()
    prefix = f"{folder.as_posix()}/"
    if text.startswith(prefix):
        return text[len(prefix) :]
    return path.relative_to(folder).as_posix()


def locate(dataset: str, root: Path, matches: Callable[[Path], object], wanted: str) -> Tree:
    """Find the folder nearest to ``root``, at most two levels down, that ``matches``.

    So the corpus itself, its parent and a doubled folder are all accepted. Raises
    ``FileNotFoundError`` naming what was ``wanted``, ``ValueError`` if two folders match equally
    well (Celeb-DF v1 beside v2).
    """
    level = [root]
    for _ in range(3):
        candidates = [folder for folder in level if matches(folder)]
        if len(candidates) > 1:
            raise ValueError(
                f"{dataset}: both '{candidates[0]}' and '{candidates[1]}' contain {wanted}; "
                "give one of them as root"
            )
        if candidates:
            return Tree(dataset, root, candidates[0])
        level = [inner for folder in level for inner in folders(folder)]
    raise FileNotFoundError(
        f"{dataset}: '{root}' does not contain {wanted}; give the folder of the official download"
    )


def descend(folder: Path, *names: str) -> Path | None:
    """Return ``folder/name/…``, ignoring the case of each name, or None if one is missing."""
    for name in names:
        child = _child(folder, name)
        if child is None:
            return None
        folder = child
    return folder


def _child(folder: Path, name: str) -> Path | None:
    if not folder.is_dir():
        return None
    exact = folder / name
    if exact.exists():
        return exact
    return next(
        (path for path in sorted(folder.iterdir()) if path.name.lower() == name.lower()), None
    )


def folders(folder: Path | None) -> list[Path]:
    """Return sorted sub-folders, without hidden ones and macOS leftovers; none if missing."""
    if folder is None or not folder.is_dir():
        return []
    return [folder / entry.name for entry in _entries(folder) if _is_folder(entry)]


def usable(path: Path, suffixes: tuple[str, ...] = VIDEO_SUFFIXES) -> bool:
    """Tell whether ``path`` is a non-empty file of one of ``suffixes``, completely downloaded.

    The ``._*`` twins that macOS writes are not usable.
    """
    return (
        path.suffix.lower() in suffixes
        and _wanted(path.name)
        and _is_file(path)
        and path.stat().st_size > 0
        and not os.path.exists(f"{path}{UNFINISHED}")  # noqa: PTH110 - Path raises for long names
    )


def files_below(folder: Path | None, suffixes: tuple[str, ...]) -> list[Path]:
    """Return usable files of ``suffixes`` at any depth, sorted within each folder.

    There are none in a missing folder.
    """
    if folder is None or not folder.is_dir():
        return []
    return list(_walk(folder, suffixes, {os.path.realpath(folder)}))


def videos_below(folder: Path | None) -> list[Path]:
    """Return usable video files at any depth, sorted within each folder; none if missing."""
    return files_below(folder, VIDEO_SUFFIXES)


def sequences_below(folder: Path | None) -> list[Path]:
    """Return folders of images at any depth, sorted within each folder; none if missing."""
    return list(_sequences(folder, {os.path.realpath(folder)})) if folder else []


def is_sequence(folder: Path) -> bool:
    """Tell whether a folder contains at least one usable image."""
    with os.scandir(folder) as entries:
        return any(_usable(entry, IMAGE_SUFFIXES) for entry in entries)


def clips_in(folder: Path | None) -> list[tuple[Path, str]]:
    """Return (path, kind) of the clips of one folder: videos, in ``videos/`` or directly.

    Without videos, the sequences ``frames/<video>/`` are the clips. Raises ``ValueError`` for two
    videos that differ in their suffix only.
    """
    if folder is None:
        return []
    for candidate in (descend(folder, "videos"), folder):
        videos = _files(candidate, VIDEO_SUFFIXES) if candidate and candidate.is_dir() else []
        stems: dict[str, Path] = {}
        for path in videos:
            first = stems.setdefault(path.stem.lower(), path)
            if first is not path:
                raise ValueError(
                    f"'{first}' and '{path.name}' are two files of one video; remove one"
                )
        if videos:
            return [(path, "video") for path in videos]
    return [(path, "frames") for path in folders(descend(folder, "frames")) if is_sequence(path)]


def distinct(dataset: str, paths: Iterable[Path], key: Callable[[Path], Any]) -> dict[Any, Path]:
    """Map ``key(path)`` to path; ``ValueError`` for two paths with one key."""
    by_key: dict[Any, Path] = {}
    for path in paths:
        first = by_key.setdefault(key(path), path)
        if first is not path:
            raise ValueError(
                f"{dataset}: '{path.name}' is in both '{first.parent.name}' and "
                f"'{path.parent.name}' ('{first}'); remove one"
            )
    return by_key


def read_text(path: Path) -> str:
    """Read UTF-8 text without a byte order mark; ``ValueError`` names a file that is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"'{path.parent.name}/{path.name}' is not UTF-8 (byte {error.start}); "
            "restore the official file or save it as UTF-8"
        ) from error


def read_json(path: Path, expected: type = object) -> Any:
    """Read a JSON file whose top level is an ``expected`` ``dict`` or ``list``.

    ``ValueError`` names a file that is broken, of another type, or repeats a name with different
    values.
    """
    try:
        content = json.loads(read_text(path), object_pairs_hook=_object)
    except (json.JSONDecodeError, _ListedTwice) as error:
        raise ValueError(
            f"'{path.parent.name}/{path.name}' is broken ({error}); download it again"
        ) from error
    if not isinstance(content, expected):
        raise ValueError(
            f"'{path.parent.name}/{path.name}' contains a {type(content).__name__} instead of a "
            f"{expected.__name__}; restore the official file"
        )
    return content


class _ListedTwice(ValueError):
    """A JSON object repeats a name with different values; plain ``json`` would keep the last."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        for name, value in pairs:
            if content[name] != value:
                raise _ListedTwice(f"'{name}' is listed twice with different values")
    return content


def csv_cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each non-blank row of a CSV file.

    A quoted cell may contain line breaks. Raises ``ValueError`` for unclosed quotes, which would
    silently swallow the rows after them.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(
            f"'{path.name}' line {reader.line_num}: {error}; fix its quotes"
        ) from error


def read_csv(path: Path, *required: str) -> list[dict[str, str]]:
    """Read rows of a CSV file as dictionaries with lower-case keys.

    A byte order mark and ``#`` lines are skipped; a quoted field may contain line breaks. Raises
    ``ValueError`` for a row with more cells than columns, a repeated column and a missing
    ``required`` column.
    """
    rows = ((line, cells) for line, cells in csv_cells(path) if not cells[0].startswith("#"))
    _, header = next(rows, (0, []))
    columns = [" ".join(name.lower().split()) for name in header]
    for name in columns:
        if name and columns.count(name) > 1:
            raise ValueError(f"'{path.name}' has two columns '{name}'; keep the right one")
    for name in required:
        if name not in columns:
            raise ValueError(f"'{path.name}' has no column '{name}'; restore the official header")
    records = []
    for line, cells in rows:
        if len(cells) > len(columns):
            raise ValueError(
                f"'{path.name}' line {line}: {len(cells)} cells for {len(columns)} columns; "
                "quote cells that contain commas"
            )
        blanks = [""] * (len(columns) - len(cells))
        records.append(dict(zip(columns, cells + blanks, strict=True)))
    return records


def require(path: Path | None, dataset: str, name: str, purpose: str) -> Path:
    """Return ``path``; ``FileNotFoundError`` says which file is missing and what it decides."""
    if path is None or not path.exists():
        raise FileNotFoundError(
            f"{dataset}: '{name}' is missing; it decides {purpose} and is part of the download"
        )
    return path


def hash_split(group: str, seed: int, fractions: Mapping[str, float]) -> str:
    """Choose the split of a group by its hash alone, so that adding videos moves no other.

    ``fractions`` maps ``val`` and ``test`` to their share of the groups; the rest is ``train``.
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
    """Return sorted distinct names for a report."""
    return tuple(sorted({str(path) for path in paths}))


def _wanted(name: str) -> bool:
    return not (name.startswith(".") or name == "__MACOSX")


def _is_file(path: Path | os.DirEntry) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - Path raises for circular links and long names


def _entries(folder: Path) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry) -> bool:
    if not _wanted(entry.name):
        return False
    if entry.is_symlink():
        return os.path.isdir(entry)  # noqa: PTH112 - False, not an error, for a circular link
    return entry.is_dir()


def _usable(entry: os.DirEntry, suffixes: tuple[str, ...]) -> bool:
    # Like ``usable``, without asking the disk again for what its listing says.
    return (
        entry.name.lower().endswith(suffixes)
        and _wanted(entry.name)
        and (_is_file(entry) if entry.is_symlink() else entry.is_file())
        and entry.stat().st_size > 0
    )


def _files(
    folder: Path, suffixes: tuple[str, ...], entries: list[os.DirEntry] | None = None
) -> list[Path]:
    entries = _entries(folder) if entries is None else entries
    unfinished = {entry.name for entry in entries if entry.name.endswith(UNFINISHED)}
    return [
        folder / entry.name
        for entry in entries
        if _usable(entry, suffixes) and entry.name + UNFINISHED not in unfinished
    ]


def _walk(folder: Path, suffixes: tuple[str, ...], entered: set[str]) -> Iterator[Path]:
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
    """Yield wanted sub-folders; a link is followed once, and never to a folder that contains it."""
    for entry in entries:
        if not _is_folder(entry):
            continue
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if target in entered or Path(os.path.realpath(folder)).is_relative_to(target):
                continue
            entered.add(target)
        yield folder / entry.name
