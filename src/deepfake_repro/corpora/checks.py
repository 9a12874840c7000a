"""Checks of benchmarks whose layout is documented by third parties only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .files import names


def remark(what: str, examples: Iterable[object]) -> tuple[str, ...]:
    """Return a note for the index report, ``<number> <what>, such as '<first>'``.

    Without ``examples`` there is no note.
    """
    distinct = names(examples)
    return (f"{len(distinct)} {what}, such as '{distinct[0]}'",) if distinct else ()


def by_stem(dataset: str, paths: Iterable[Path]) -> dict[str, Path]:
    """Map stem to video, for metadata that names videos without their folder.

    Raises ``ValueError`` for two videos of one name, which the metadata cannot tell apart.
    """
    videos: dict[str, Path] = {}
    for path in paths:
        first = videos.setdefault(path.stem, path)
        if first != path:
            raise ValueError(
                f"{dataset}: '{first.parent.name}/{first.name}' and "
                f"'{path.parent.name}/{path.name}' have one name; keep one of them"
            )
    return videos
