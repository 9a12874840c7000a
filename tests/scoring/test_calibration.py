"""Temperature, thresholds and intervals against grids, counts and closed forms."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from deepfake_repro.scoring.calibration import (
    DIRECTIONS,
    FALSE_ALARMS,
    STORED_SCORES,
    calibrated,
    count_at_least,
    distance,
    fit_gaussian,
    fit_scores,
    fit_temperature,
    measured_on,
    read_calibration,
    share_with_interval,
    thresholds,
    verdict,
)
from support.scoring_model import validation_videos


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("true", [0.3, 1.0, 3.0])
def test_the_true_temperature_is_recovered(true: float) -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, 40_000)
    labels = (rng.random(len(z)) < sigmoid(z)).astype(int)
    assert fit_temperature(labels, sigmoid(z * true)) == pytest.approx(true, rel=0.05)


def test_temperature_is_the_best_of_a_grid_and_separated_scores_give_no_certainty() -> None:
    videos = validation_videos()
    labels, scores = videos["label"].to_numpy(), videos["p_fake"].to_numpy()
    target = np.where(labels == 1, 21 / 22, 1 / 12)

    def loss(t: float) -> float:
        z = np.log(scores / (1 - scores)) / t
        each = target * np.logaddexp(0, -z) + (1 - target) * np.logaddexp(0, z)
        return each[labels == 0].mean() + each[labels == 1].mean()

    fitted = fit_temperature(labels, scores)
    assert loss(fitted) <= min(map(loss, np.geomspace(0.05, 20, 2000))) + 1e-6
    separated = np.where(labels == 1, 0.6, 0.4)
    top = calibrated(0.6, {"temperature": fit_temperature(labels, separated)})
    assert 0.6 < top < 0.96


def test_thresholds_of_a_hand_made_example() -> None:
    reals = [0.1, 0.2, 0.3, 0.4] * 5 + [0.8]  # 21: 5 % allow one false alarm, 1 % none
    labels = np.array([0] * 21 + [1] * 4)
    # Balanced: anything above 0.4 up to 0.5 is equally good; 0.5 is the usual choice.
    assert thresholds(labels, np.array([*reals, 0.5, 0.6, 0.7, 0.9])) == {
        "balanced": 0.5,
        "1 % false alarms": 0.80005,
        "5 % false alarms": 0.40005,
    }


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**16))
def test_thresholds_are_the_lowest_within_their_false_alarm_rate(reals: int, seed: int) -> None:
    scores = np.random.default_rng(seed).random(reals + 5).round(4).clip(0.0002)
    labels = np.array([0] * reals + [1] * 5)
    real = scores[:reals]
    for name, limit in FALSE_ALARMS.items():
        threshold = thresholds(labels, scores)[name]
        assert (real >= threshold).mean() <= limit < (real >= threshold - 1e-4).mean()


def test_interval_of_zero_cases_has_its_closed_form() -> None:
    assert share_with_interval(0, 10) == {
        "count": 0,
        "of": 10,
        "low": 0.0,
        "high": round(1 - 0.025 ** (1 / 10), 4),
    }


def test_counts_are_right_and_few_videos_are_reported() -> None:
    videos = validation_videos()
    fitted = fit_scores(videos)
    for point in fitted["points"].values():
        flagged = videos[videos["p_fake"] >= point["threshold"]]["label"]
        assert point["false_alarms"]["count"] == (flagged == 0).sum()
        assert point["found"]["count"] == (flagged == 1).sum()
    assert fitted["few"]
    words = "10 reals not even a false-alarm rate of 31 % can be ruled out"
    assert words in measured_on(fitted)
    assert not fit_scores(validation_videos(150, 150))["few"]
    with pytest.raises(ValueError, match="0 real and 20 fake videos: a threshold needs both"):
        fit_scores(videos[videos["label"] == 1])


def test_shares_above_a_score_survive_thinning() -> None:
    videos = validation_videos(5000, 5000)
    fitted = fit_scores(videos)
    assert len(fitted["scores"]["real"]) == STORED_SCORES
    count, total = count_at_least(0.5, fitted, "real")
    expected = (videos[videos["label"] == 0]["p_fake"] >= 0.5).sum()
    assert total == 5000
    assert abs(count - expected) < 30


def test_distance_equals_that_of_the_full_covariance() -> None:
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(200, 30)) * np.linspace(3, 0.5, 30)
    gaussian = fit_gaussian(cloud)
    oracle = PCA(DIRECTIONS, svd_solver="full").fit(cloud)
    off = rng.normal(size=(7, 30)) - oracle.mean_
    expected = np.sqrt(np.einsum("ni,ij,nj->n", off, oracle.get_precision(), off) / 30)
    assert distance(off + oracle.mean_, gaussian) == pytest.approx(expected, rel=1e-3)
    assert distance(cloud, gaussian).mean() == pytest.approx(1, abs=0.1)


def test_the_verdict_never_says_that_a_video_is_fake() -> None:
    fitted = fit_scores(validation_videos())
    scores = np.linspace(0, 1, 21)
    texts = [verdict(score, chosen) for score in scores for chosen in (fitted, None)]
    assert not [text for text in texts if re.search(r"\b(is|are) (a )?(fake|real|genuine)\b", text)]
    assert {text.split()[0] for text in texts} == {"More", "Undecided:", "No"}
    refused = verdict(0.87, fitted, "these faces are unknown")
    assert refused.startswith("No verdict: these faces are unknown. The score is 0.87 on")
    words = "occurred in 100 % of the reals (10 of 10) and 100 % of the fakes (20 of 20)"
    assert words in verdict(0, fitted)
    assert "0 % of the reals (0 of 10)" in verdict(1, fitted)


def test_a_file_that_is_not_a_calibration_is_named(tmp_path: Path) -> None:
    for text in ("{", json.dumps({"temperature": 1}), "[]"):
        (tmp_path / "calibration.json").write_text(text)
        words = r"^calibration\.json is not a calibration file .* make it again"
        with pytest.raises(ValueError, match=words):
            read_calibration(tmp_path / "calibration.json")
