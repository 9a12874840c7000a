"""What a user hands over to be scored: any paths, none of them trusted (files, folders, patterns).

Decoding happens in a child process (``crops.isolation``) that may take so much memory and no more,
from a link with a name of our own, so that neither the content of a file nor its name reaches
anything but a decoder and escaped text.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from glob import glob, has_magic
from pathlib import Path
from tempfile import TemporaryDirectory

from ..crops.extraction import DetectorFactory
from ..crops.frames import IMAGE_SUFFIXES
from ..crops.store import Row
from ..faces.detection import FaceDetector

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".flv",
        ".wmv",
        ".ts",
        ".mts",
        ".mpg",
        ".mpeg",
        ".3gp",
        ".ogv",
        ".mxf",
        ".gif",
    ]
)
"""Looked for in folders; a file that is named itself is tried whatever it is called."""
MEMORY = 4 * 2**30
"""Bytes of address space of the decoding process: enough for 8K film."""


def collect(paths: Iterable[str | Path]) -> list[Path]:
    """Files to score, each once: files as given, folders searched for videos and images, patterns expanded.

    Links to folders are not followed, hidden files not taken. Raises ``FileNotFoundError`` naming
    the first path that gives no file at all.
    """
    found: dict[Path, None] = {}
    for path in paths:
        files = list(_files(path))
        if not files:
            raise FileNotFoundError(
                f"{printable(path)}: no file here to score; give a video, an image, a folder or a "
                "pattern such as 'clips/*.mp4'"
            )
        found |= dict.fromkeys(files)
    return list(found)


def _files(path: str | Path) -> Iterator[Path]:
    """The files that one path means, in order of their names."""
    if "\0" in str(path):
        return
    if os.path.isdir(path):
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from (
                Path(folder, name)
                for name in sorted(names)
                if not name.startswith(".")
                and Path(name).suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES
            )
    elif os.path.lexists(path):
        yield Path(path)
    elif has_magic(str(path)):
        yield from (
            file for match in sorted(glob(str(path), recursive=True)) for file in _files(match)
        )


def printable(path: str | Path) -> str:
    """A path as one line of text: control characters, escape sequences and undecodable bytes become ``\\x1b`` etc."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))


def slug(path: Path) -> str:
    """A file name for the results of ``path``: plain letters of its own name and a hash of the whole path."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem).strip("_-")[:60]
    return f"{plain or 'file'}-{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:8]}"


@contextmanager
def opened(path: Path, scratch: Path | None = None) -> Iterator[tuple[Row, Path]]:
    """(row for ``stream``, its root) of one video or image, under a name of our own.

    That name is a link in a passing folder in ``scratch`` (None: the system's). Raises
    ``ValueError`` for what is no regular file: a pipe or a device would never end.
    """
    if not path.is_file():
        raise ValueError("no such file" if not path.exists() else "not a regular file")
    image = path.suffix.lower() in IMAGE_SUFFIXES
    with TemporaryDirectory(prefix=".score-", dir=scratch) as folder:
        name = f"picture{path.suffix.lower()}" if image else "video"
        (Path(folder) / name).symlink_to(path.resolve())
        yield (
            {
                "video_id": name,
                "path": "." if image else name,
                "kind": "photos" if image else "video",
                "attrs": "",
            },
            Path(folder),
        )


def confined(factory: DetectorFactory) -> FaceDetector:
    """What ``factory`` makes, in a process that from now on gets ``MEMORY`` bytes: for the decoding child only."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    return factory()
