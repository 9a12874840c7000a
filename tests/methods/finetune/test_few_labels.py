"""Subsets by their definition; classifiers against a minimiser and a plain loop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from deepfake_repro.methods.finetune.few_labels import (
    COLUMNS,
    balanced_subset,
    linear_scores,
    neighbour_scores,
    start_differences,
    verdict,
    with_shuffled_labels,
)

ROWS = pd.DataFrame(
    {
        "video_id": [f"v{number:03d}" for number in range(100)],
        "frame": 0,
        "face": 0,
        "label": [int(number % 5 > 1) for number in range(100)],  # 40 reals, 60 fakes
    }
)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_subset_is_balanced_and_begins_every_larger_one(seed: int) -> None:
    largest = balanced_subset(ROWS, 80, seed)
    assert largest["video_id"].is_unique
    for size in (2, 10, 30, 80):
        subset = balanced_subset(ROWS, size, seed)
        assert subset["label"].value_counts().to_dict() == {0: size // 2, 1: size // 2}
        pd.testing.assert_frame_equal(subset, largest.iloc[:size])


def test_a_subset_depends_on_the_seed_and_not_on_the_order_of_the_rows() -> None:
    subset = balanced_subset(ROWS, 20, 0)
    pd.testing.assert_frame_equal(
        balanced_subset(ROWS.sample(frac=1, random_state=3), 20, 0), subset
    )
    assert set(balanced_subset(ROWS, 20, 1)["video_id"]) != set(subset["video_id"])


@pytest.mark.parametrize("size", [7, 82])
def test_an_impossible_size_is_an_error_that_names_the_largest(size: int) -> None:
    with pytest.raises(ValueError, match=f"size {size}: give an even one up to the 80 crops"):
        balanced_subset(ROWS, size, 0)


@pytest.fixture(scope="module")
def features() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """60 training features of two classes, their labels, 25 test features; float32."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    train = rng.normal(size=(60, 5)) * [1, 2, 3, 4, 5] + 0.8 * labels[:, None]
    return train.astype(np.float32), labels, rng.normal(size=(25, 5)).astype(np.float32)


def test_the_linear_probe_is_the_minimum_of_the_logistic_loss(features: tuple) -> None:
    train, labels, test = features
    mean, deviation = train.mean(0), train.std(0)
    scaled = (train - mean) / deviation
    signs = 2 * labels - 1

    def loss(weights: np.ndarray) -> float:
        margins = signs * (scaled @ weights[:-1] + weights[-1])
        return float(np.logaddexp(0, -margins).sum() + (weights[:-1] ** 2).sum() / 2)

    best = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-7}).x
    expected = (test - mean) / deviation @ best[:-1] + best[-1]
    assert linear_scores(train, labels, test) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("neighbours", [1, 7, 500])
def test_neighbours_vote_as_in_a_plain_loop(features: tuple, neighbours: int) -> None:
    train, labels, test = features
    expected = []
    for one in test:
        cosines = [one @ other / np.linalg.norm(one) / np.linalg.norm(other) for other in train]
        nearest = sorted(range(len(train)), key=lambda number: -cosines[number])[:neighbours]
        expected.append(np.mean([labels[number] for number in nearest]))
    scores = neighbour_scores(train, labels, test, neighbours)
    assert scores == pytest.approx(np.array(expected))


def test_differences_are_taken_on_the_same_subsets() -> None:
    records = [
        ("imagenet", "fine_tuning", 100, 0, 60.0),
        ("fsfm", "fine_tuning", 100, 0, 64.0),
        ("imagenet", "fine_tuning", 100, 1, 70.0),
        ("fsfm", "fine_tuning", 100, 1, 69.0),
        ("fsfm", "fine_tuning", 100, 2, 99.0),  # without its partner
        ("imagenet", "linear", 300, 0, 50.0),
        ("fsfm", "linear", 300, 0, 55.0),
    ]
    table = start_differences(pd.DataFrame(records, columns=COLUMNS), "fsfm", "imagenet")
    assert table.to_dict("records") == [
        dict(method="linear", pictures=300, seeds=1, low=5.0, mean=5.0, high=5.0),
        dict(method="fine_tuning", pictures=100, seeds=2, low=-1.0, mean=1.5, high=4.0),
    ]


@pytest.mark.parametrize(
    ("low", "high", "seeds", "expected"),
    [
        (1, 3, 3, "above"),
        (-3, -1, 3, "below"),
        (-1, 3, 3, "undecided"),
        (0, 3, 3, "undecided"),
        (1, 3, 1, "undecided"),
    ],
)
def test_a_verdict_needs_several_seeds_of_one_sign(
    low: float, high: float, seeds: int, expected: str
) -> None:
    assert verdict(low, high, seeds) == expected


def test_shuffled_labels_say_nothing_about_the_true_ones() -> None:
    subset = balanced_subset(ROWS, 80, 0)
    first = with_shuffled_labels(subset, 0)
    assert pd.crosstab(subset["label"], first["label"]).to_numpy().tolist() == [[20, 20], [20, 20]]
    pd.testing.assert_frame_equal(first.drop(columns="label"), subset.drop(columns="label"))
    assert with_shuffled_labels(subset, 1)["label"].tolist() != first["label"].tolist()
    pd.testing.assert_frame_equal(with_shuffled_labels(subset, 0), first)
