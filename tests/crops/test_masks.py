"""Of a fake video with a mask, only the forged faces are cropped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepfake_repro.crops.extraction import extract, forged_faces
from deepfake_repro.faces.detection import Faces
from support.benchmark_trees import make, read
from support.squares import OPTIONS, Squares, index_row, scene


@pytest.fixture
def corpus(tmp_path: Path, make_clip: Callable[..., Path]) -> Path:
    """Two people of 40 pixels for 2.1 seconds; masks of the second, of half the size."""
    mask = np.zeros((60, 80, 3), np.uint8)
    mask[30:50, 45:65] = 255
    make_clip(tmp_path / "two.mp4", [scene((10, 20), (90, 60))] * 21)
    make_clip(tmp_path / "mask.mp4", [mask] * 21)
    make_clip(tmp_path / "short.mp4", [mask] * 5)
    return tmp_path


def test_only_the_faces_in_the_mask_are_cropped(corpus: Path) -> None:
    row = index_row("two.mp4", attrs=json.dumps({"mask": "mask.mp4"}))
    rows, skipped = extract(row, corpus, Squares(), OPTIONS)
    everyone, _ = extract(index_row("two.mp4"), corpus, Squares(), OPTIONS)
    assert [face["x0"] for face in everyone[:2]] != [face["x0"] for face in rows[:2]]
    assert skipped == [] and [face["frame"] for face in rows] == [0, 1, 2]
    assert all(abs(face["x0"] - 90) <= 1 and face["face"] == 0 for face in rows)


def test_a_mask_that_ends_early_is_recorded(corpus: Path) -> None:
    row = index_row("two.mp4", attrs=json.dumps({"mask": "short.mp4"}))
    rows, (record,) = extract(row, corpus, Squares(), OPTIONS)
    assert len(rows) == 1 and record["reason"] == "broken_off"
    assert record["detail"].startswith("the mask ends before its video")


def test_a_tenth_of_the_box_must_be_white() -> None:
    """Boxes of 10 × 10 pixels in an image of 40 × 20; the mask has twice its size."""
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    faces = Faces(boxes, np.ones(2, np.float32), np.zeros((2, 5, 2), np.float32))
    mask = np.zeros((40, 80, 3), np.uint8)
    mask[:2, :20] = 255  # 40 of 400 pixels of the first box
    mask[:2, 40:59] = 255  # 38 of the second
    assert forged_faces(faces, mask, (20, 40, 3)).boxes.tolist() == boxes[:1].tolist()


def test_ffiw_names_its_masks_on_demand(tmp_path: Path) -> None:
    clips = [f"{name}/test/{number}.mp4" for name in ("source", "target") for number in (1, 2)]
    root = make(tmp_path / "FFIW", *clips, "target_mask/test/1.mp4")
    rows, report = read("ffiw", root, masks=True)
    attrs = {name: json.loads(row["attrs"]) for name, row in rows.items()}
    assert attrs.pop("target/test/1") == {"mask": "target_mask/test/1.mp4"}
    assert set(map(str, attrs.values())) == {"{}"}
    assert "1 fakes without a mask" in report.notes[0] and "target/test/2" in report.notes[0]
    assert {row["attrs"] for row in read("ffiw", root)[0].values()} == {"{}"}
