"""The shortcut audit: properties of a video by hand, and the audit of the demo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake_repro.demo.casting import PLANNERS
from deepfake_repro.report.shortcuts import (
    COLUMNS,
    FEATURES,
    LIMIT,
    features,
    pair_features,
    shortcuts,
    windows_outside,
)
from support.toy_sbi import toy_faces

ROOT = Path(__file__).resolve().parents[2]


def test_shortcuts_of_a_hand_made_table():
    """Bytes separate the fakes (small: 1 - AUC), seconds do not, frames do in 3 of 4 pairs."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "dataset": "a",
            "label": [0, 0, 1, 1],
            "file_bytes": [9, 8, 2, 1],
            "bit_rate": [1, 2, 3, 4],
            "seconds": [5, 5, 5, 5],
            "frames": [1, 3, 2, 4],
            "brightness": [1, 4, 2, 3],
            "colour": [1, 2, 2, 3],
            "sharpness": [4, 2, 3, 1],
        }
    )
    many = pd.DataFrame(
        {"dataset": "b", "label": np.arange(2000) % 2}
        | {n: rng.normal(size=2000) for n in FEATURES}
    )
    result = shortcuts(pd.concat([table, many])).set_index("dataset")
    assert result.loc["a"].to_dict() == {
        "file_bytes": 1.0,
        "bit_rate": 1.0,
        "seconds": 0.5,
        "frames": 0.75,
        "brightness": 0.5,
        "colour": 0.875,
        "sharpness": 0.75,
    }
    assert (result.loc["b"] < 0.55).all() and (result.loc["b"] >= 0.5).all()


def test_features_of_a_video_by_hand(make_clip, tmp_path):
    """Grey surroundings and a white box that must not count."""
    image = np.full((96, 128, 3), 60, np.uint8)
    image[30:60, 40:80] = 255
    path = make_clip(tmp_path / "a.mp4", [image] * 12, rate=8)
    boxes = pd.DataFrame({"frame": [0, 1], "x0": 32.0, "y0": 22.0, "x1": 88.0, "y1": 68.0})
    video = pd.DataFrame([{"video_id": "v", "kind": "video", "path": "a.mp4"}])
    values = features(next(video.itertuples()), tmp_path, {"v": boxes})
    size = path.stat().st_size
    assert [values[name] for name in ("file_bytes", "frames", "seconds")] == [size, 12, 1.5]
    assert values["bit_rate"] == pytest.approx(size * 8 / 1.5)
    assert values["brightness"] == pytest.approx(60, abs=3)
    assert values["colour"] == pytest.approx(0, abs=3)
    assert values["sharpness"] < 10


def test_the_share_of_windows_that_leave_the_frame_by_hand():
    """Frames of 100 × 50, margin 0.5: a box of 20 pixels needs 5 more on each side."""
    crops = pd.DataFrame(
        [
            ("a/1", 0, 5.0, 5.0, 25.0, 25.0, 100, 50),  # touches two borders
            ("a/1", 1, 4.0, 10.0, 24.0, 30.0, 100, 50),  # one pixel too far left
            ("a/2", 0, 75.0, 25.0, 95.0, 45.0, 100, 50),  # touches the other two
            ("a/2", 1, 40.0, 26.0, 60.0, 46.0, 100, 50),  # one too low
            ("a/2", 2, 40.0, 10.0, 60.0, 30.0, 100, 50),
            ("a/3", 0, 0.0, 0.0, 100.0, 50.0, 100, 50),  # a face sequence
        ],
        columns=COLUMNS,
    )
    index = pd.DataFrame(
        [
            ("a/1", "a", 0, "real", "video"),
            ("a/2", "a", 1, "swap", "video"),
            ("a/3", "a", 1, "other", "frames"),
        ],
        columns=["video_id", "dataset", "label", "manipulation", "kind"],
    )
    assert windows_outside(crops, index, 0.5).to_numpy().tolist() == [
        ["a", 0, "real", 2, 0.5],
        ["a", 1, "swap", 3, 0.333],
    ]


def test_the_demos_own_audit_found_no_shortcut():
    path = ROOT / "results" / "demo" / "audit" / "shortcuts.csv"
    if not path.is_file():
        pytest.skip("needs results/demo/audit, which the pipeline's audit stage writes")
    table = pd.read_csv(path).set_index("dataset")
    assert list(table.columns) == list(FEATURES) and set(table.index) - {"sbi"} == set(PLANNERS)
    assert table.stack()[table.stack() > LIMIT].empty


def test_no_property_of_the_whole_crop_distinguishes_the_pairs(tmp_path, one_thread):
    """In a pair, brightness, colour and sharpness outside the face differ only by JPEG blocks."""
    toy = toy_faces(tmp_path)
    rows = pd.DataFrame(pair_features(toy))
    result = shortcuts(rows).set_index("dataset").loc["sbi"]
    assert rows["label"].tolist() == [0, 1] * len(toy)
    assert (result[["seconds", "frames"]] == 0.5).all()
    assert (result[["brightness", "colour", "sharpness"]] < LIMIT).all()
