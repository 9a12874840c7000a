"""Pictures that show the same thing: exact and near duplicates by a perceptual hash.

Collections gathered from the web hold one picture several times, re-encoded or resized, often on
both sides of a split. The hash is pHash (Zauner 2010, "Implementation and Benchmarking of
Perceptual Image Hash Functions"): 64 signs of low frequencies, so that small edits change few bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BITS = 64
DISTANCE = 3
"""Bits that may differ between pictures of one group. Of OpenForensics' pairs looked at, all with 2
bits between them showed the same, four of five with 4, two of five with 6; the number is even."""


def perceptual_hash(file: Path) -> int:
    """Return the 64-bit pHash of a picture; raises ``OSError`` if it cannot be decoded."""
    with Image.open(file) as picture:
        signs = imagehash.phash(picture).hash
    return int.from_bytes(np.packbits(signs.ravel()).tobytes(), "big")


def smallest_duplicates(hashes: Sequence[int], distance: int = DISTANCE) -> list[int]:
    """Return the smallest hash of each one's group.

    A group differs in at most ``distance`` bits; a chain of near hashes is one group.
    """
    values = np.array(hashes, np.uint64)
    pairs = np.array(list(_near_pairs(values, distance)), np.int64).reshape(-1, 2)
    shape = (len(values), len(values))
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=shape)
    _, groups = connected_components(graph, directed=False)
    smallest = np.full(len(values), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, groups, values)
    return [int(smallest[group]) for group in groups]


def _near_pairs(values: np.ndarray, distance: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs of near hashes; a pair may come more than once.

    Of ``distance`` + 1 bands of bits, near hashes share at least one.
    """
    edges = np.linspace(0, BITS, distance + 2).astype(int)
    for low, high in pairwise(edges):
        band = (values >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order])) + 1
        for members in np.split(order, starts):
            for first, other in enumerate(members[:-1]):
                others = members[first + 1 :]
                near = np.bitwise_count(values[other] ^ values[others]) <= distance
                yield from ((int(other), int(found)) for found in others[near])
