"""Checks of the exercises on what a result is worth elsewhere (11), which need no PyTorch.

Each raises ``AssertionError`` with a hint; :mod:`..exercises` calls them by the exercise's number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .comparing import compare, returned

HOLDS = "holds"
FAILS = "does not hold"
OPEN = "cannot be decided"


def check_gap(function: Callable[[np.ndarray, np.ndarray], float]) -> None:
    """Check ``function(home, elsewhere)``, the mean fall of an AUC over seeds, in points."""
    home = np.array([94.0, 93.0, 95.0])
    elsewhere = np.array([50.0, 44.0, 47.0])
    answer = returned(function(home, elsewhere))
    assert not np.isclose(answer, -47), "not yet: a fall counts as positive"
    compare(answer, 47.0, "one fall per seed, then their mean")


def check_verdict(function: Callable[[float, float, Sequence[float]], str]) -> None:
    """Check ``function(low, high, by_seed)``, the verdict on "the first row is better"."""
    cases = (
        (0.5, 2.0, [1.0, 1.5, 0.9], HOLDS),
        (-2.0, -0.5, [-1.0, -1.5, -0.9], FAILS),
        (-0.1, 2.0, [1.0, 1.5, 0.9], OPEN),
        (0.5, 2.0, [1.0, -0.2, 2.9], OPEN),
        (-2.0, -0.5, [-1.0, 0.2, -2.9], OPEN),
    )
    for low, high, by_seed, expected in cases:
        answer = returned(function(low, high, by_seed))
        assert answer in (HOLDS, FAILS, OPEN), (
            f"not yet: answer one of '{HOLDS}', '{FAILS}' and '{OPEN}'"
        )
        hint = f"the interval from {low} to {high} and the seeds {by_seed} have to agree on a sign"
        compare(answer, expected, hint)


def check_accused(function: Callable[[np.ndarray, np.ndarray, float], float]) -> None:
    """Check ``function(validation, elsewhere, limit)``, the reals accused in another place."""
    rng = np.random.default_rng(3)
    validation = (rng.random(40) * 0.6).round(2)
    elsewhere = (rng.random(30) * 0.9).round(2)
    for limit in (0.05, 0.1, 0.5):
        allowed = [t for t in (*validation, 1.1) if np.mean(validation >= t) <= limit]
        expected = float(np.mean(elsewhere >= min(allowed)))
        answer = returned(function(validation, elsewhere, limit))
        hint = (
            f"take the lowest score of a validation picture (or one above all) at which at most "
            f"{limit:.0%} of the validation reals are called fake, then count elsewhere"
        )
        compare(answer, expected, hint)


def check_half_of_flagged(function: Callable[[float, float], float]) -> None:
    """Check ``function(found, accused)``, when half of the flags are right."""
    for found, accused in ((0.8, 0.05), (0.3, 0.3), (0.99, 0.01)):
        answer = returned(function(found, accused))
        assert not np.isclose(answer, accused / found), (
            "not yet: reals are 1 - share of the pictures, not all of them"
        )
        compare(answer, accused / (found + accused), "set share · found = (1 - share) · accused")
