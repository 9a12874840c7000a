"""Collect what a user wants scored: files, folders and patterns, none of them trusted.

Files are decoded in a child process (``crops.isolation``) with limited memory, through a link whose
name we choose. Neither the content of a file nor its name reaches anything but a decoder and
escaped text.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..crops.extraction import DetectorFactory
from ..crops.frames import IMAGE_SUFFIXES
from ..crops.store import Row
from ..faces.detection import FaceDetector

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# fmt: off
VIDEO_SUFFIXES = frozenset([
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".wmv",
    ".ts", ".mts", ".m2ts", ".m2t", ".mpg", ".mpeg", ".m2v", ".vob", ".3gp", ".3g2", ".qt", ".f4v",
    ".ogv", ".ogg", ".ogm", ".asf", ".rm", ".dv", ".mxf", ".gif",
])
# fmt: on
"""Searched for in folders; a file named by the user is tried whatever its suffix."""
SHOWN = 3
"""Names per reason in the list of what was left out."""
MEMORY = 4 * 2**30
"""Address space of the decoding process in bytes: enough for 8K video."""


def collect(paths: Iterable[str | Path]) -> list[Path]:
    """Collect the files to score, each once.

    Files are taken as given, folders searched for videos and images, patterns expanded. Links to
    folders are not followed, hidden files are left out. Raises ``FileNotFoundError`` naming the
    first path without a file.
    """
    collected: dict[Path, None] = {}
    for path in paths:
        files = list(_files(path))
        if not files:
            raise FileNotFoundError(
                f"{printable(path)}: no file here to score; give a video, an image, a folder or a "
                "pattern such as 'clips/*.mp4'"
            )
        collected |= dict.fromkeys(files)
    return list(collected)


def left_out(paths: Iterable[str | Path]) -> list[str]:
    """Describe what the folders among ``paths`` contain that ``collect`` does not take.

    One line per folder and reason, with the number of files and the first names.
    """
    lines = []
    for path in paths:
        names: dict[str, list[str]] = {}
        for file, reason in _contents(path):
            if reason:
                names.setdefault(reason, []).append(printable(file.name))
        lines += [
            f"{printable(path)}: left out {len(files)} ({reason}): {', '.join(files[:SHOWN])}"
            + (", …" if len(files) > SHOWN else "")
            for reason, files in names.items()
        ]
    return lines


def _files(path: str | Path) -> Iterator[Path]:
    """Yield the files of one path, sorted by name."""
    if "\0" in str(path):
        return
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        yield from (file for file, reason in _contents(path) if not reason)
    elif os.path.lexists(path):
        yield Path(path)
    elif glob.has_magic(str(path)):
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 - takes absolute patterns
        for match in sorted(matches):
            yield from _files(match)


def _contents(root: str | Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of a folder and why each is left out, empty if it is not."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        links = (name for name in folders if Path(folder, name).is_symlink())
        yield from ((Path(folder, name), "links to folders are not followed") for name in links)
        for name in sorted(names):
            yield Path(folder, name), _why_left_out(name)


def _why_left_out(name: str) -> str:
    """Say why a folder's file is not scored; empty if it is."""
    suffix = Path(name).suffix.lower()
    if name.startswith("."):
        return "hidden"
    if suffix in VIDEO_SUFFIXES | IMAGE_SUFFIXES:
        return ""
    return f"{suffix} is no video or image" if suffix else "no suffix"


def printable(text: str | Path) -> str:
    r"""Return one line of text: control characters and undecodable bytes become ``\x1b`` etc."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def slug(path: Path) -> str:
    """Return a safe file name for results of ``path``: its plain letters and a hash of the path."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem).strip("_-")[:60]
    digest = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
    return f"{plain or 'file'}-{digest[:8]}"


@contextmanager
def opened(path: Path, scratch: Path | None = None) -> Iterator[tuple[Row, Path]]:
    """Yield (row for ``crops.extraction.stream``, its root) of one video or image.

    The row names a link in a temporary folder in ``scratch`` (None: the system's). Raises
    ``ValueError`` for anything but a regular file: a pipe or a device would never end.
    """
    if not path.is_file():
        raise ValueError("not a regular file" if path.exists() else "no such file")
    suffix = path.suffix.lower()
    is_image = suffix in IMAGE_SUFFIXES
    name = f"picture{suffix}" if is_image else "video"
    row = {
        "video_id": name,
        "path": "." if is_image else name,
        "kind": "photos" if is_image else "video",
        "attrs": "",
    }
    with TemporaryDirectory(prefix=".score-", dir=scratch) as folder:
        (Path(folder) / name).symlink_to(path.resolve())
        yield row, Path(folder)


def confined(factory: DetectorFactory) -> FaceDetector:
    """Limit this process, the decoding child, to ``MEMORY`` bytes; then make a face detector.

    Where the system has no such limit (macOS, Windows), a line on stderr says so.
    """
    if not limit_memory():
        print(
            "note: this system does not limit the memory of a process; "
            f"a damaged file may take more than the {MEMORY >> 30} GiB allowed elsewhere",
            file=sys.stderr,
        )
    return factory()


def limit_memory() -> bool:
    """Limit the address space of this process to ``MEMORY``; False if the system refuses."""
    if resource is None:
        return False
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ValueError, OSError):
        return False
    return True
