"""The notebooks of this repository, to parametrize tests."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
NAMES = [path.stem for path in BOOKS]
every_book = pytest.mark.parametrize("path", BOOKS, ids=NAMES)
