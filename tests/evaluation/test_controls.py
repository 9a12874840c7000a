"""Untrained controls against closed forms, and their choice of direction and threshold."""

import numpy as np
import pandas as pd
import pytest

from deepfake_repro.crops.store import CropStore, write_part
from deepfake_repro.evaluation import controls
from deepfake_repro.evaluation.metrics import balanced_accuracy
from support.random_crops import random_crops


def test_the_sharpness_of_a_chessboard_and_of_a_plane():
    """The Laplacian of +-1 squares is -8 times their value: variance 64; that of a plane is 0."""
    ys, xs = np.mgrid[0:32, 0:32]
    board = np.where((xs + ys) % 2, 1.0, -1.0)
    assert controls.sharpness(board) == pytest.approx(64)
    assert controls.sharpness(np.full((20, 20), 7.0)) == 0


@pytest.mark.parametrize("offset", [0, 3, 7])
def test_blocks_are_found_wherever_their_grid_starts(offset):
    """Only steps between blocks: of the eight positions one holds them all, so the ratio is 8."""
    rng = np.random.default_rng(0)
    blocks = rng.uniform(0, 255, (9, 9)).repeat(8, 0).repeat(8, 1)[offset:, offset:][:65, :65]
    assert blocks.shape == (65, 65)
    assert controls.blockiness(blocks) == pytest.approx(8, rel=0.01)
    noise = rng.uniform(0, 255, (640, 640))
    assert controls.blockiness(noise) == pytest.approx(1, abs=0.05)
    assert controls.blockiness(np.zeros((32, 32))) == 1


def test_high_frequencies_are_those_above_a_quarter_cycle():
    xs = np.arange(64)
    slow = np.tile(np.cos(2 * np.pi * xs / 8), (64, 1))
    fast = np.tile(np.cos(2 * np.pi * xs * 3 / 8), (64, 1))
    assert controls.high_frequencies(slow) == pytest.approx(0)
    assert controls.high_frequencies(fast) == pytest.approx(1)
    assert controls.high_frequencies(slow + 2 * fast) == pytest.approx(4 / 5)


def test_saturation_is_that_of_the_colour_model_hsv():
    colours = np.array([[(255, 0, 0), (100, 75, 50), (90, 90, 90), (0, 0, 0)]], np.uint8)
    assert controls.saturation(colours) == pytest.approx((1 + 0.5 + 0 + 0) / 4)


def test_the_face_is_the_middle_of_the_crop():
    crop = np.zeros((130, 130, 3), np.uint8)
    crop[15:115, 15:115] = 255
    face = controls.face_of(crop, 0.3)
    assert face.shape == (100, 100, 3) and face.min() == 255


def test_a_videos_control_is_the_mean_over_its_crops(tmp_path):
    images, rows = random_crops(4, "itw/a")
    write_part(tmp_path / "a.arrow", rows)
    index = pd.DataFrame({"video_id": ["itw/a", "itw/without"], "label": [0, 1]})
    videos = controls.measured(index, CropStore(tmp_path), 0.0)
    assert videos["video_id"].tolist() == ["itw/a"]
    expected = np.mean([controls.controls(image) for image in images], axis=0)
    np.testing.assert_allclose(videos[list(controls.CONTROLS)].iloc[0].astype(float), expected)


def videos_of(split, values, labels):
    """Videos of one data set whose controls all have the given values."""
    frame = pd.DataFrame({"label": labels, "split": split})
    frame["video_id"] = [f"itw/{split}{number}" for number in range(len(values))]
    frame[["dataset", "manipulation", "category"]] = "itw"
    return frame.assign(**dict.fromkeys(controls.CONTROLS, np.array(values, float)))


def test_direction_and_threshold_come_from_the_validation_videos_only():
    """Fakes are soft among the validation videos and sharp among the test videos: AUC 0."""
    validation = videos_of("val", [9, 8, 2, 1], [0, 0, 1, 1])
    test = videos_of("test", [1, 4, 6, 9], [0, 0, 1, 1])
    row = controls.control_rows(pd.concat([validation, test]))["sharpness"]
    assert row["direction"] == "lower is fake" and row["validation_auc"] == 100
    assert row["threshold"] == 5 and row["auc"] == {"itw": 0.0} and row["bacc"] == {"itw": 0.0}
    assert row["videos"]["scored"] == {"itw": 4}
    both = controls.control_rows(pd.concat([validation, validation.assign(split="test")]))
    wanted = balanced_accuracy(np.array([0, 0, 1, 1]), -np.array([9, 8, 2, 1]), -5)
    assert both["saturation"]["bacc"] == {"itw": 100 * wanted}


def test_controls_without_validation_fakes_are_an_error():
    with pytest.raises(ValueError, match="real and fake validation videos"):
        controls.control_rows(videos_of("val", [1, 2], [0, 0]))
