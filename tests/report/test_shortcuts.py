"""The shortcut audit: properties of a video by hand, and the audit of the demo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from deepfake_repro.demo.casting import PLANNERS
from deepfake_repro.report.details import LIMIT
from deepfake_repro.report.shortcuts import (
    COLUMNS,
    FEATURES,
    OF_PICTURES,
    features,
    file_features,
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
            "pixels": [4, 4, 4, 4],
            "jpeg_quality": [1, 2, 3, 4],
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
        "pixels": 0.5,
        "jpeg_quality": 1.0,
    }
    assert (result.loc["b"] < 0.55).all() and (result.loc["b"] >= 0.5).all()


def test_a_property_that_a_corpus_lacks_is_an_empty_cell() -> None:
    """Pictures in one corpus, videos in the other; a third has the property in one class only."""
    table = pd.DataFrame(
        {
            "dataset": ["a"] * 4 + ["b"] * 2 + ["c"] * 2,
            "label": [0, 0, 1, 1, 0, 1, 0, 1],
            "frames": [1, 1, 1, 1, 5, 6, 1, 9],
            "pixels": [4, 9, 4, 1, None, None, 4, None],
        }
    )
    result = shortcuts(table).set_index("dataset")
    assert result["frames"].tolist() == [0.5, 1.0, 1.0]
    assert result.loc["a", "pixels"] == 0.875 and result.loc[["b", "c"], "pixels"].isna().all()
    videos = shortcuts(table[table["dataset"] == "b"])
    assert list(videos) == ["dataset", "frames"], "without a picture the columns are the old ones"


def saved(file: Path, size: tuple[int, int], **options: int) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8)
    PIL.Image.fromarray(noise).save(file, **options)
    return file


def test_pixels_and_jpeg_quality_of_a_picture(tmp_path: Path) -> None:
    """At quality 50 the table is the one printed in Annex K of the JPEG standard."""
    annex_k = np.mean(
        [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55]
        + [14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62]
        + [18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92]
        + [49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99]
    )
    at_50 = file_features(saved(tmp_path / "a.jpg", (40, 30), quality=50))
    assert at_50 == {"pixels": 1200, "jpeg_quality": annex_k}
    assert file_features(saved(tmp_path / "b.jpg", (8, 8), quality=100))["jpeg_quality"] == 1
    assert file_features(saved(tmp_path / "c.png", (8, 9))) == {"pixels": 72, "jpeg_quality": 0}


def test_pictures_saved_at_two_qualities_are_a_shortcut(tmp_path: Path) -> None:
    boxes = pd.DataFrame({"frame": [0], "x0": 8.0, "y0": 8.0, "x1": 24.0, "y1": 24.0})
    rows = []
    for number in range(8):
        label = number % 2
        name = f"{number}.jpg"
        saved(tmp_path / name, (32, 32), quality=70 if label else 90)
        video = pd.DataFrame([{"video_id": name, "kind": "image", "path": name}])
        values = features(next(video.itertuples()), tmp_path, {name: boxes})
        assert list(values) == list(FEATURES)
        rows.append({"dataset": "stills", "label": label, **values})
    result = shortcuts(pd.DataFrame(rows)).set_index("dataset").loc["stills"]
    assert result["jpeg_quality"] == 1.0 and result["pixels"] == 0.5


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
    assert list(table.columns) == [name for name in FEATURES if name not in OF_PICTURES]
    assert set(table.index) - {"sbi"} == set(PLANNERS)
    assert table.stack()[table.stack() > LIMIT].empty


def test_no_property_of_the_whole_crop_distinguishes_the_pairs(tmp_path, one_thread):
    """In a pair, brightness, colour and sharpness outside the face differ only by JPEG blocks."""
    toy = toy_faces(tmp_path)
    rows = pd.DataFrame(pair_features(toy))
    result = shortcuts(rows).set_index("dataset").loc["sbi"]
    assert rows["label"].tolist() == [0, 1] * len(toy)
    assert (result[["seconds", "frames"]] == 0.5).all()
    assert (result[["brightness", "colour", "sharpness"]] < LIMIT).all()
