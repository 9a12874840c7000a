"""Calibration against hand-computed tables and brute force; a threshold that transfers or not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepfake_repro.evaluation.metrics import balanced_accuracy
from deepfake_repro.evaluation.thresholds import (
    best_threshold,
    calibration_error,
    gap_to_baseline,
    reliability,
    transfer,
    transfers,
)
from support.thresholds import videos

CORPORA = ("ffpp", "celebdf2", "dfdc", "fakeavceleb", "forgerynet")


def test_reliability_by_hand() -> None:
    """Four reals and two fakes: a real weighs 1/8, a fake 1/4. Bins of one half."""
    table = reliability(
        np.array([0, 0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.9, 0.4, 1.0]), bins=2
    )
    assert table["low"].tolist() == [0, 0.5]
    assert table["high"].tolist() == [0.5, 1]
    assert table["videos"].tolist() == [4, 2]
    assert table["weight"].tolist() == pytest.approx([5 / 8, 3 / 8])
    assert table["confidence"].tolist() == pytest.approx(
        [(0.6 / 8 + 0.4 / 4) / (5 / 8), (0.9 / 8 + 1 / 4) / (3 / 8)]
    )
    assert table["fakes"].tolist() == pytest.approx([(1 / 4) / (5 / 8), (1 / 4) / (3 / 8)])


@pytest.mark.parametrize(
    ("real", "fake", "error"), [(0.0, 1.0, 0), (1.0, 0.0, 1), (0.5, 0.5, 0), (0.25, 0.75, 0.25)]
)
def test_calibration_error_of_constant_scores(real: float, fake: float, error: float) -> None:
    labels = np.array([0] * 3 + [1] * 12)  # the share of fakes does not count
    assert calibration_error(labels, np.where(labels, fake, real)) == pytest.approx(error)


def test_probabilities_that_are_true_have_a_small_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(200_000)
    labels = (rng.random(200_000) < scores).astype(int)
    assert calibration_error(labels, scores) < 0.01
    assert calibration_error(labels, scores**3) > 0.1


@pytest.mark.parametrize("seed", range(20))
def test_best_threshold_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, 98)]
    scores = rng.integers(0, 9, 100) / 8  # many ties, no gaps
    best = best_threshold(labels, scores)
    grid = np.linspace(0, 1.001, 2_003)
    values = [balanced_accuracy(labels, scores, threshold) for threshold in grid]
    assert balanced_accuracy(labels, scores, best) == pytest.approx(max(values))
    as_good = grid[np.isclose(values, max(values))]
    nearest = np.abs(as_good - 0.5).min()
    assert abs(best - 0.5) <= nearest + 1 / 15  # up to half a gap between scores


def test_a_threshold_as_good_as_one_half_does_not_move_it() -> None:
    assert best_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == 0.5
    assert best_threshold([0, 0, 1, 1], [0.6, 0.7, 0.8, 0.9]) == pytest.approx(0.75)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_one_class_alone_is_an_error(labels: list[int]) -> None:
    for function in (reliability, best_threshold):
        with pytest.raises(ValueError, match="needs both"):
            function(np.array(labels), np.array([0.1, 0.9]))


def test_a_shift_that_validation_shares_is_corrected_and_another_is_not() -> None:
    test = pd.concat([videos(0.25), *(videos(0.25, name) for name in CORPORA)], ignore_index=True)
    table = transfer(videos(0.25, "ffpp"), test).set_index("set")
    assert table.loc["df40", ["auc", "bacc", "bacc_transferred", "bacc_best"]].tolist() == [
        100,
        50,
        100,
        100,
    ]
    assert table.loc["in_distribution", "bacc_best"] == 100
    assert table.loc["df40", "transferred"] == 0.75
    table = transfer(videos(0, "ffpp"), test).set_index("set")
    assert table.loc["df40_fs", ["bacc", "bacc_transferred", "bacc_best"]].tolist() == [50, 50, 100]
    error = 100 * calibration_error(videos(0.25)["label"], videos(0.25)["p_fake"])
    for key in ("df40", "in_distribution"):
        assert table.loc[key, "ece"] == pytest.approx(error, abs=0.005)


def test_the_papers_explanation_is_distinguished_from_worse_ranking() -> None:
    """A threshold closes the whole gap of a shifted row, and none of a row that ranks at random."""
    worse = videos(0)
    worse["p_fake"] = [0.1, 0.9, 0.1, 0.9] * 2
    runs = {"fsfm-0": videos(0), "fsfm_dataset-0": videos(0.25), "sbi-0": worse}
    table = gap_to_baseline(transfers(runs, runs)).set_index("row")
    assert table.loc["fsfm_dataset"].tolist() == [0, 50, 50, 50]
    assert table.loc["sbi"].tolist() == [50, 50, 0, 0]
    assert gap_to_baseline(transfers({"sbi-0": worse}, {"sbi-0": worse})).empty


def test_transfers_are_means_over_seeds() -> None:
    runs = {"fsfm-0": videos(0), "fsfm-1": videos(0.25)}
    table = transfers(dict.fromkeys(runs, videos(0)), runs).set_index(["row", "set"])
    assert table.loc[("fsfm", "df40"), "bacc"] == 75
    assert table.loc[("fsfm", "df40"), "bacc_best"] == 100
