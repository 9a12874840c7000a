"""Small official trees, and rows and reports read from them."""

from __future__ import annotations

from pathlib import Path

from deepfake_repro.corpora import ADAPTERS

SMALL = 0.02


def rows(corpus: str, root: Path, **options: object) -> dict[str, dict]:
    """The index by ``video_id`` without the dataset's name."""
    table, _ = ADAPTERS[corpus].index(root, **options)
    return {row["video_id"].partition("/")[2]: row for row in table.to_dict("records")}


def report(corpus: str, root: Path, **options: object):
    return ADAPTERS[corpus].index(root, **options)[1]


def without_path(found: dict[str, dict]) -> dict[str, dict]:
    return {
        name: {key: value for key, value in row.items() if key != "path"}
        for name, row in found.items()
    }
