"""Colours, markers and dashes of rows and classes: one language for every figure.

A family of rows (one start, one kind of label, one kind of loss) has one colour; what a row adds to
its family, such as Batch All, changes the marker of a dot and the dashes of a line.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ...project.vocabulary import ROW_NAMES

FAMILY_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "sbi": "#c37887",  # rose
        "imagenet": "#4b96e1",  # blue
        "fsfm": "#001e78",  # navy
        "triplet": "#9600ff",  # violet
        "fsfm_category": "#ff4b0f",  # orange
        "fsfm_dataset": "#780f00",  # maroon
        "lnclip": "#2d001e",  # near-black
    }
)
"""Seven colours with a contrast above 3:1 on white, distinct for any colour vision."""
PALETTE = tuple(FAMILY_COLOURS.values())
CLASS_COLOURS: Mapping[str, str] = MappingProxyType(
    {"real": FAMILY_COLOURS["imagenet"], "fake": FAMILY_COLOURS["fsfm_category"]}
)
"""Blue and orange of the palette: the two classes, in figures that draw no rows."""
GREY = "#6b6b6b"
"""Of chance, of baselines and of rows without training."""

_BATCH_ALL = "_ba"
_MINING = {"fsfm_hphn": ("s", ":"), "fsfm_ephn": ("D", "-.")}


def group_colours(names: Iterable[str]) -> dict[str, str]:
    """Return a colour per group: real and fake have theirs, the others share the palette's rest.

    The rest is taken in its order, and again from its beginning when it is used up.
    """
    groups = list(dict.fromkeys(names))
    taken = {CLASS_COLOURS[name] for name in groups if name in CLASS_COLOURS}
    rest = itertools.cycle([shade for shade in PALETTE if shade not in taken])
    return {name: CLASS_COLOURS.get(name) or next(rest) for name in groups}


def row_names() -> Mapping[str, str]:
    """Return the printed name of each row, in the order of Table 3."""
    return ROW_NAMES


def row_name(key: str) -> str:
    """Return the printed name of a row; a key without a name is printed as it is."""
    return row_names().get(key, key)


def family(row: str) -> str | None:
    """Return the family of a row, the one with the longest name that its key begins with."""
    if row in _MINING:
        return "triplet"
    names = [name for name in FAMILY_COLOURS if f"{row}_".startswith(f"{name}_")]
    return max(names, key=len, default=None)


def colour(key: str, number: int = 0) -> str:
    """Return the colour of a row's family; other curves take the palette's in their order."""
    name = family(key)
    return FAMILY_COLOURS[name] if name else PALETTE[number % len(PALETTE)]


def marker(row: str) -> str:
    """Return the marker of a row's dots: a triangle with Batch All, else a circle."""
    if row in _MINING:
        return _MINING[row][0]
    return "^" if row.endswith(_BATCH_ALL) else "o"


def dashes(row: str) -> str:
    """Return the line style of a row's curves: dashed with Batch All, else solid."""
    if row in _MINING:
        return _MINING[row][1]
    return "--" if row.endswith(_BATCH_ALL) else "-"
