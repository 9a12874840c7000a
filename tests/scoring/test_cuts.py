"""People who follow each other at one place of the picture have a track each."""

from __future__ import annotations

import numpy as np

from deepfake_repro.crops.store import encode
from deepfake_repro.scoring.score import Limits, _batches


def row(colour: tuple[int, int, int]) -> dict[str, object]:
    """A face that fills the same box, of one colour."""
    image = encode(np.full((64, 64, 3), colour, np.uint8), "png")
    return {"x0": 10, "y0": 10, "x1": 90, "y1": 90, "image": image}


def test_another_face_in_the_same_box_is_another_person() -> None:
    shots = [(225, 190, 170)] * 3 + [(120, 75, 55)] * 3
    frames = [([row(colour)], []) for colour in shots]
    (batch,) = _batches(frames, Limits(), [])
    assert [face["track"] for face in batch] == [0, 0, 0, 1, 1, 1]
