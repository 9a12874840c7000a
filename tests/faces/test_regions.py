"""Regions of a face made from landmarks."""

from __future__ import annotations

import numpy as np

from deepfake_repro.faces.regions import region_map
from support.round_face import round_face


def test_region_map_gives_each_part_of_a_schematic_face_its_id() -> None:
    regions = region_map(round_face(), 200)
    assert regions.dtype == np.int8 and regions.shape == (200, 200)
    expected = {
        "background": ((0.5, 0.97), 0),
        "skin": ((0.35, 0.55), 1),
        "right brow": ((0.38, 0.33), 2),
        "left brow": ((0.62, 0.33), 3),
        "right eye": ((0.38, 0.42), 4),
        "left eye": ((0.62, 0.42), 5),
        "nose": ((0.5, 0.5), 6),
        "upper lip": ((0.5, 0.64), 7),
        "inner mouth": ((0.5, 0.68), 8),
        "lower lip": ((0.5, 0.72), 9),
        "hair": ((0.5, 0.1), 10),
        "beside the chin": ((0.2, 0.75), 0),
    }
    found = {
        name: int(regions[int(y * 200), int(x * 200)]) for name, ((x, y), _) in expected.items()
    }
    assert found == {name: number for name, (_, number) in expected.items()}
