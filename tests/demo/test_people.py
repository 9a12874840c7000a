"""Sheets of people -> still faces."""

import cv2
import numpy as np
import pytest

from deepfake_repro.demo import people
from deepfake_repro.faces.landmarks import OVAL
from support.takes import TARGET


def test_a_sheet_is_cut_into_sixteen_pictures_row_by_row(sheet):
    tiles = people.tiles(sheet)
    assert len(tiles) == 16
    assert all(200 < picture.shape[0] < 448 and 300 < picture.shape[1] < 600 for picture in tiles)
    assert not any((picture.min(axis=2) > 240).mean() > 0.3 for picture in tiles)
    assert np.abs(tiles[0].astype(int) - region_like(sheet, tiles[0], 0, 0)).max() == 0
    assert np.abs(tiles[6].astype(int) - region_like(sheet, tiles[6], 1, 2)).max() == 0


def region_like(sheet, picture, row, column):
    """The region of a quarter-by-quarter cell of the sheet that fits ``picture`` best."""
    height, width = sheet.shape[0] // 4, sheet.shape[1] // 4
    y0, x0 = max(row * height - 60, 0), max(column * width - 60, 0)
    region = sheet[y0 : y0 + height + 120, x0 : x0 + width + 120]
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(region, picture, cv2.TM_CCOEFF_NORMED))
    return region[y : y + picture.shape[0], x : x + picture.shape[1]]


@pytest.mark.parametrize("grey", [0, 255])
def test_a_blank_sheet_is_an_error(grey):
    with pytest.raises(ValueError, match="expression sheet: 0 framed pictures found, 16 expected"):
        people.tiles(np.full((448, 600, 3), grey, np.uint8))


def test_stills_have_faces_of_one_height_and_differ(assets):
    stills = people.stills(assets, TARGET)
    assert len(stills) == 16 - len(people.OCCLUDED)
    for still in stills:
        oval = still.points[list(OVAL)]
        assert still.points.shape == (478, 2)
        assert np.ptp(oval[:, 1]) == pytest.approx(people.FACE_HEIGHT, rel=0.01)
        assert (oval.min(0) > 0).all() and (oval.max(0) < still.image.shape[1::-1]).all()
        np.testing.assert_allclose(
            still.centre, [(oval[:, i].min() + oval[:, i].max()) / 2 for i in (0, 1)]
        )
    assert len({still.image.tobytes() for still in stills}) == len(stills)


def test_the_stored_landmarks_are_those_of_the_network(assets):
    """Processors may differ in the network's last bits: by one step of the rounding at most."""
    found = people.detected(assets, TARGET)
    stored = people.landmarks(TARGET) * people.QUANTUM
    assert stored.shape == (16 - len(people.OCCLUDED), 478, 2)
    assert np.abs(found - stored).max() <= 1


def test_landmarks_are_stored_for_everyone_and_as_whole_numbers(assets):
    names = [line.split(",")[0] for line in people.LANDMARKS.read_text().splitlines()]
    assert sorted(set(names)) == sorted(file.stem for file in (assets / "people").glob("*.jpg"))
    steps = people.landmarks(TARGET) * people.QUANTUM
    assert np.array_equal(steps, np.rint(steps))


def test_a_person_without_landmarks_is_an_error():
    with pytest.raises(ValueError, match="no landmarks of 'P999'; write them with"):
        people.landmarks("P999")
