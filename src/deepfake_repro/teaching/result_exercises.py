"""Checks of the exercises on results: intervals and the claims ledger; hints as in :mod:`.exercises`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..evaluation.statistics import LEVEL
from ..report.claims import GROUPS, evaluate, point_table
from .exercises import given


def check_interval_of_difference(function: Callable[[np.ndarray, np.ndarray], Sequence[float]]) -> None:
    """Check the paired interval of a difference, ``function(first, second)``, on draws that rise and fall together."""
    rng = np.random.default_rng(0)
    second = rng.normal(80, 3, 1000)
    first = second + rng.normal(1, 0.2, 1000)
    answer = given(function(first, second))
    assert np.shape(answer) == (2,), "not yet: return two numbers, low and high"
    ends = [np.percentile(draws, LEVEL) for draws in (first, second)]
    apart = ends[0] - ends[1], ends[0] - ends[1][::-1]
    assert not any(np.allclose(answer, wrong) for wrong in apart), (
        "not yet: you subtract the ends of two intervals; the rows rise and fall together: subtract draw by draw")
    assert np.allclose(answer, np.percentile(first - second, LEVEL)), (
        "not yet: take the percentiles 2.5 and 97.5 of first - second, the lower one first")
    print("right")


def check_sentence(expression: str) -> None:
    """Check *FSFM + BA beats FSFM in all scenarios by AUC, on ForgeryNet by more than 0.1* on tables made for it."""
    assert expression is not ..., "no answer yet: put yours in place of the three dots"
    cells = (*GROUPS["scenarios"], "forgerynet")
    for worse in (None, *cells):
        rows = {row: {"auc": dict.fromkeys(cells, value)} for row, value in (("fsfm", 80.0), ("fsfm_ba", 81.0))}
        if worse:
            rows["fsfm_ba"]["auc"][worse] = 80.05 if worse == "forgerynet" else 79.0
        try:
            answer = bool(evaluate(expression, point_table(rows)))
        except ValueError as problem:
            raise AssertionError(f"not yet: {problem}") from None
        assert answer == (worse is None), (f"not yet: it should be false where {worse} speaks against it" if worse else
                                           "not yet: it is false on a table in which BA is one point better everywhere")
    print("right")
