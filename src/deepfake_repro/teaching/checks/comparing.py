"""Compare an answer with the wanted one; every difference is an ``AssertionError`` with a hint."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

NO_ANSWER = "no answer yet: replace the three dots with yours"


def compare(answer: Any, expected: Any, hint: str) -> None:
    """Compare numbers and arrays to a relative error of 1e-4, everything else by ``==``.

    Raises ``AssertionError`` with ``hint``, or saying that there is no answer yet (``...``).
    """
    answered(answer)
    assert _equal(answer, expected), f"not yet: {hint}"


def answered(answer: Any) -> None:
    """Raise ``AssertionError`` if the three dots are still there."""
    assert answer is not ..., NO_ANSWER


def returned(answer: Any) -> Any:
    """Pass on what a function returned; raise ``AssertionError`` if it returned nothing."""
    assert answer is not None and answer is not ..., "the function returns nothing yet"
    return answer


def _equal(answer: Any, expected: Any) -> bool:
    if isinstance(expected, int | float | np.number):
        if not isinstance(answer, int | float | np.number):
            return False
        return math.isclose(answer, expected, rel_tol=1e-4, abs_tol=1e-9)
    if isinstance(expected, np.ndarray):
        if np.shape(answer) != expected.shape:
            return False
        return np.allclose(answer, expected, rtol=1e-4, atol=1e-9)
    return answer == expected
