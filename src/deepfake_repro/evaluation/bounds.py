"""95 % bounds that stay true with a handful of videos and near 0 % and 100 % (not in the paper).

A percentile bootstrap of a perfect score has no width: it is certain where a few videos leave
everything open. Here a bound asks under which true values the observed one would still be likely,
with the spread that the *true* value implies. Fractions.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import beta

NORMAL_QUANTILE = 1.959964
"""Of a 95 % interval."""
TAIL = 0.025

_TINY = 1e-9
_HALVINGS = 50


def share_bounds(share: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bound a share of ``size`` independent videos, not always a whole number, exactly.

    Each bound is the share under which the observed one, or one further away, has a probability of
    2.5 % (Clopper and Pearson 1934).
    """
    share = np.asarray(share, dtype=np.float64)
    right = share * size
    wrong = size - right
    low = beta.ppf(TAIL, np.maximum(right, _TINY), wrong + 1)
    high = beta.ppf(1 - TAIL, right + 1, np.maximum(wrong, _TINY))
    return np.where(right > _TINY, low, 0.0), np.where(wrong > _TINY, high, 1.0)


def auc_bounds(
    area: np.ndarray, reals: np.ndarray, fakes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bound an AUC of ``reals`` and ``fakes`` independent videos (Newcombe 2006, method 5).

    The interval contains each AUC from which the observed one is at most 1.96 of that AUC's
    standard errors away.
    """
    area = np.asarray(area, dtype=np.float64)
    low = _furthest(area, np.zeros_like(area), reals, fakes)
    high = _furthest(area, np.ones_like(area), reals, fakes)
    return low, high


def auc_variance(area: np.ndarray, reals: np.ndarray, fakes: np.ndarray) -> np.ndarray:
    """Compute the variance of an AUC of normal-like scores (Hanley and McNeil 1982).

    As Newcombe proposes, both classes enter with their mean size, which makes it symmetric.
    """
    pairs = np.maximum((reals + fakes) / 2 - 1, 0)
    shared = pairs * ((1 - area) / (2 - area) + area / (1 + area))
    return area * (1 - area) * (1 + shared) / (reals * fakes)


def _furthest(
    observed: np.ndarray, end: np.ndarray, reals: np.ndarray, fakes: np.ndarray
) -> np.ndarray:
    """Find, by halving, the AUC nearest to ``end`` that agrees with the observed one."""
    inside = observed
    outside = end
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        error = np.sqrt(auc_variance(middle, reals, fakes))
        agrees = np.abs(middle - observed) <= NORMAL_QUANTILE * error
        inside = np.where(agrees, middle, inside)
        outside = np.where(agrees, outside, middle)
    return inside
