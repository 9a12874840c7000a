"""Bounds near 0 % and 100 %: closed forms, a second library, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from deepfake_repro.evaluation.bounds import auc_bounds, auc_variance, share_bounds


@pytest.mark.parametrize(("right", "size"), [(0, 4), (4, 4), (7, 8), (1, 200), (150, 200)])
def test_shares_have_the_exact_interval_of_scipy(right: int, size: int) -> None:
    low, high = share_bounds(np.array(right / size), np.array(size))
    theirs = binomtest(right, size).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_a_perfect_share_follows_the_rule_of_the_power() -> None:
    low, high = share_bounds(np.array(1.0), np.array(12.0))
    assert low == pytest.approx(0.025 ** (1 / 12)) and high == 1


def test_the_variance_is_that_of_hanley_and_mcneil() -> None:
    """In classes of equal size, written as in the paper of 1982: Q1 = A / (2 - A), Q2."""
    area, size = 0.9, 12
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    theirs = area * (1 - area) + (size - 1) * ((q1 - area**2) + (q2 - area**2))
    assert auc_variance(np.array(area), np.array(size), np.array(size)) == pytest.approx(
        theirs / size**2
    )


@pytest.mark.parametrize("area", [0.0, 0.3, 0.97, 1.0])
def test_the_bounds_of_an_auc_solve_their_equation_and_are_symmetric(area: float) -> None:
    sizes = np.array(5.0), np.array(20.0)
    low, high = auc_bounds(np.array(area), *sizes)
    assert 0 <= low <= area <= high <= 1 and high - low > 0.1
    for bound in (low, high):
        error = 1.959964 * np.sqrt(auc_variance(bound, *sizes))
        assert abs(bound - area) == pytest.approx(error, abs=1e-9) or bound in (0, 1)
    mirrored = auc_bounds(np.array(1 - area), *sizes)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize("truth", [0.9, 0.97, 0.999])
@pytest.mark.parametrize(("reals", "fakes"), [(4, 4), (4, 20), (12, 12)])
def test_bounds_cover_the_true_auc(truth: float, reals: int, fakes: int) -> None:
    rng = np.random.default_rng([reals, fakes, int(1000 * truth)])
    real = rng.normal(size=(4000, reals, 1))
    fake = rng.normal(size=(4000, 1, fakes)) + np.sqrt(2) * norm.ppf(truth)
    areas = (fake > real).mean((1, 2))
    low, high = auc_bounds(areas, np.array(reals), np.array(fakes))
    assert np.mean((low <= truth) & (truth <= high)) >= 0.93
