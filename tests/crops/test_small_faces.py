"""Faces too small for a shrunk search: found at full size, else the cause is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from deepfake_repro.crops.extraction import extract
from deepfake_repro.crops.preprocess import detector_factory
from deepfake_repro.crops.report import COLUMNS, crop_counts
from deepfake_repro.crops.store import encode
from deepfake_repro.faces.detection import Faces
from deepfake_repro.project.params import load
from support.squares import OPTIONS, index_row


def nothing(images: list[np.ndarray]) -> list[Faces]:
    """A detector that finds no face."""
    none = Faces(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2)))
    return [none for _ in images]


def photograph(folder: Path, width: int, height: int) -> Path:
    (folder / "n1").mkdir()
    (folder / "n1" / "1.png").write_bytes(encode(np.zeros((height, width, 3), np.uint8), "png"))
    return folder


@pytest.mark.parametrize(
    ("side", "detector", "cause"),
    [
        (3840, "retinaface", ""),  # searched again at full size
        (7680, "retinaface", "; faces below 32 pixels cannot be seen in frames of 7680"),
        (1280, "mtcnn", "; faces below 32 pixels cannot be seen in frames of 1280"),
        (640, "mtcnn", ""),
    ],
)
def test_the_cause_is_named_where_small_faces_cannot_be_seen(
    tmp_path: Path, side: int, detector: str, cause: str
) -> None:
    """A face needs 16 pixels in the searched image: half the size needs twice as many."""
    options = replace(OPTIONS, detector=detector, detector_side=640, min_side=20)
    root = photograph(tmp_path, side, 8)
    rows, (record,) = extract(index_row("n1", "photos", "x"), root, nothing, options)
    assert rows == [] and record["reason"] == "no_face"
    assert record["detail"] == f"1 of 1 frames{cause}"


def test_frames_are_counted_also_where_the_cause_is_named() -> None:
    index = pd.DataFrame([{"video_id": "a/1", "dataset": "a", "kind": "video"}])
    detail = "3 of 3 frames; faces below 32 pixels cannot be seen in frames of 7680"
    skipped = pd.DataFrame([{"video_id": "a/1", "reason": "no_face", "detail": detail}])
    counts = crop_counts(pd.DataFrame(columns=COLUMNS), index, skipped, OPTIONS)
    assert counts.loc["a", "without_face"] == 3


@pytest.mark.usefixtures("assets")
def test_a_small_face_is_found_by_the_second_search(tmp_path: Path, tile: np.ndarray) -> None:
    """About 30 pixels in 1080p: 10 in the first search at 640, which finds nothing."""
    image = np.full((1080, 1920, 3), 90, np.uint8)
    image[500:568, 1000:1083] = cv2.resize(tile, (83, 68), interpolation=cv2.INTER_AREA)
    (tmp_path / "n1").mkdir()
    (tmp_path / "n1" / "1.png").write_bytes(encode(image, "png"))
    options = load().profile("demo").crops
    rows, skipped = extract(
        index_row("n1", "photos", "x"), tmp_path, detector_factory(options)(), options
    )
    assert [row["face"] for row in rows] == [0] and skipped == []
    (row,) = rows
    assert 1000 <= row["x0"] < row["x1"] <= 1083 and 500 <= row["y0"] < row["y1"] <= 568
    assert 20 <= row["x1"] - row["x0"] <= 40
