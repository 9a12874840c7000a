"""Fixtures that several files of this folder use."""

import os
from pathlib import Path

import pandas as pd
import pytest

from support.runs import run
from support.squares import TRAPS, index_row, make_corpus, scene

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def children_import_from_this_folder(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent / "src")]))
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory, make_clip):
    return make_corpus(tmp_path_factory.mktemp("corpus"), make_clip)


@pytest.fixture(scope="session")
def made(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("crops")
    run(corpus, out)
    return out


@pytest.fixture(scope="session")
def trapped(tmp_path_factory, make_clip):
    """A good video on each side of one that crashes, hangs or fails from its third second on."""
    root = tmp_path_factory.mktemp("trapped")
    for number in (0, 9):
        make_clip(root / f"v{number}.mp4", [scene((20, 30))] * 21)
    for number, (name, colour) in enumerate(TRAPS.items(), 1):
        make_clip(
            root / f"v{number}-{name}.mp4",
            [scene((20, 30))] * 90 + [scene((20, 30), colour=colour)] * 10,
        )
    return root, pd.DataFrame([index_row(path.name) for path in sorted(root.iterdir())])
