"""Reports and rows of small official trees."""

from __future__ import annotations

from pathlib import Path

from deepfake_repro.corpora import ADAPTERS

SMALL = 0.02


def report(corpus: str, root: Path, **options: object):
    return ADAPTERS[corpus].index(root, **options)[1]


def without_path(rows: dict[str, dict]) -> dict[str, dict]:
    return {
        name: {key: value for key, value in row.items() if key != "path"}
        for name, row in rows.items()
    }
