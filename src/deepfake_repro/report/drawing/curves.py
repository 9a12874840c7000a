"""ROC curves whose areas are the averages of Table 3 (Section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from ...project.layout import DF40, PAPER, Layout


def scenario_curves(videos: pd.DataFrame, layout: Layout = PAPER) -> dict[str, pd.DataFrame]:
    """Average the ROC curves of each scenario's test sets at equal false positive rates.

    ``videos``: one row per video as in ``videos.csv``. Returns tables with ``false_positive_rate,
    true_positive_rate`` by the key of the scenario. The area under an average of curves is the
    average of their areas, so each curve belongs to a cell of Table 3; the area under the curve of
    pooled test sets belongs to none. A scenario with a test set missing is left out.
    """
    curves = {key: list(_curves(videos, sets)) for key, sets in layout.table.items()}
    return {
        key: average_curve(parts)
        for key, parts in curves.items()
        if parts and (layout.table[key] == (DF40,) or len(parts) == len(layout.table[key]))
    }


def area(curve: pd.DataFrame) -> float:
    """Compute the area under a curve of :func:`scenario_curves` in percent."""
    x = curve["false_positive_rate"].to_numpy()
    y = curve["true_positive_rate"].to_numpy()
    return float(100 * np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


def average_curve(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """Average curves, each a pair (rising ``x``, ``y``) from (0, 0) to (1, 1), at equal ``x``.

    A curve may rise at one ``x``: the average then has two points there, below and above.
    """
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    below = np.mean([_values(x, y, grid, "left") for x, y in curves], axis=0)
    above = np.mean([_values(x, y, grid, "right") for x, y in curves], axis=0)
    points = {
        "false_positive_rate": np.repeat(grid, 2),
        "true_positive_rate": np.stack([below, above], axis=1).ravel(),
    }
    return pd.DataFrame(points).drop_duplicates(ignore_index=True)


def _values(x: np.ndarray, y: np.ndarray, grid: np.ndarray, side: str) -> np.ndarray:
    """Interpolate at ``grid``; where the curve rises at one ``x``, take its lower or upper end."""
    values = np.interp(grid, x, y)
    left = np.searchsorted(x, grid, "left")
    right = np.searchsorted(x, grid, "right")
    on_curve = right > left
    end = left if side == "left" else right - 1
    values[on_curve] = y[end[on_curve]]
    if side == "left":
        values[grid == 0] = 0
    return values


def _curves(videos: pd.DataFrame, sets: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the curve of each test set, or of each method of DF40 against all of its reals."""
    for name in sets:
        part = videos[videos["dataset"] == name]
        for labels, scores in _comparisons(part, name):
            if 0 < labels.sum() < len(labels):
                rates = roc_curve(labels, scores, drop_intermediate=False)
                yield rates[0], rates[1]


def _comparisons(part: pd.DataFrame, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if name != DF40:
        yield part["label"].to_numpy(), part["p_fake"].to_numpy()
        return
    reals = part[part["label"] == 0]
    fakes = part[(part["label"] == 1) & part["category"].isin(["FS", "RE"])]
    for _, method in fakes.groupby(["category", "manipulation"]):
        both = pd.concat([reals, method])
        yield both["label"].to_numpy(), both["p_fake"].to_numpy()
