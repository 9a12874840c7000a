"""Loud checks of the benchmarks whose layout is known from third parties only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .files import names


def remark(what: str, found: Iterable[object]) -> tuple[str, ...]:
    """A note for the index report, ``<number> <what>, such as '<first>'``; none where nothing was found."""
    odd = names(found)
    return (f"{len(odd)} {what}, such as '{odd[0]}'",) if odd else ()


def by_stem(dataset: str, places: Iterable[Path]) -> dict[str, Path]:
    """Stem -> video, for metadata that names videos without their folder.

    Raises ``ValueError`` for two videos of one name: the metadata cannot tell them apart.
    """
    found: dict[str, Path] = {}
    for place in places:
        first = found.setdefault(place.stem, place)
        if first != place:
            raise ValueError(
                f"{dataset}: '{first.parent.name}/{first.name}' and '{place.parent.name}/{place.name}' "
                "have one name; keep one of them"
            )
    return found
