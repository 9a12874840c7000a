"""Fixtures that several files of this folder use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import benchmark_trees
from support.trees import FFPP_METHODS, FFPP_PAIRS, make


@pytest.fixture
def ffpp(tmp_path) -> Path:
    """One pair per split, in a root whose name contains "fake": a trap for labels by substring."""
    root = tmp_path / "deepfake" / "fake_looking"
    for split, (a, b) in FFPP_PAIRS.items():
        make(root, [f"original_sequences/youtube/c23/videos/{name}.mp4" for name in (a, b)])
        make(
            root,
            [
                f"manipulated_sequences/{method}/c23/videos/{name}.mp4"
                for method in FFPP_METHODS
                for name in (f"{a}_{b}", f"{b}_{a}")
            ],
        )
        make(root, {f"splits/{split}.json": json.dumps([[a, b]])})
    return root


@pytest.fixture
def celeb(tmp_path) -> Path:
    """A test pair, a training pair, a YouTube real; the list is inverted, without final newline."""
    return make(
        tmp_path / "Celeb-DF-v2",
        {
            **dict.fromkeys(
                (
                    "Celeb-real/id0_0000.mp4",
                    "Celeb-real/id1_0002.mp4",
                    "YouTube-real/00170.mp4",
                    "Celeb-synthesis/id0_id1_0000.mp4",
                    "Celeb-synthesis/id1_id0_0002.mp4",
                ),
                b"x",
            ),
            "List_of_testing_videos.txt": "1 YouTube-real/00170.mp4\n"
            "0 Celeb-synthesis/id0_id1_0000.mp4\n"
            "1 Celeb-real/id0_0000.mp4",
        },
    )


@pytest.fixture
def faceshifter(tmp_path) -> Path:
    """One pair per split, FaceShifter and another method."""
    pairs = {"train": ("071", "054"), "val": ("720", "672"), "test": ("953", "974")}
    for split, (first, second) in pairs.items():
        benchmark_trees.make(
            tmp_path,
            *(f"original_sequences/youtube/c23/videos/{name}.mp4" for name in (first, second)),
            *(
                f"manipulated_sequences/{method}/c23/videos/{name}.mp4"
                for method in ("FaceShifter", "Deepfakes")
                for name in (f"{first}_{second}", f"{second}_{first}")
            ),
            {f"splits/{split}.json": json.dumps([[first, second]])},
        )
    return tmp_path
