"""How good a start is with few labels: nested subsets, simple classifiers, differences.

Not in the paper. What a pre-training is worth shows where labels are few; the runs that need a
network are in :mod:`.label_curve`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

LINEAR = "linear"
NEIGHBOURS = "neighbours"
FINE_TUNING = "fine_tuning"
SHUFFLED = "shuffled"
METHOD_NAMES = {
    LINEAR: "linear probe",
    NEIGHBOURS: "nearest neighbours",
    FINE_TUNING: "fine-tuning",
    SHUFFLED: "shuffled labels",
}
SHUFFLING = 2
"""Separates the draws of shuffled labels from those of the subsets, which are made by label."""
COLUMNS = ["start", "method", "pictures", "seed", "auc"]
"""Of the table of results: AUC in percent with ``pictures`` labelled crops; a picture has one."""


def balanced_subset(rows: pd.DataFrame, size: int, seed: int) -> pd.DataFrame:
    """Draw ``size`` rows, half of them real; they begin each larger subset of the same seed.

    ``rows`` has ``video_id, frame, face, label`` in any order. Raises ``ValueError`` for an odd
    size, and for one that the smaller class cannot fill.
    """
    if size % 2 or size > largest_subset(rows):
        raise ValueError(
            f"params.yaml: labels has the size {size}: give an even one up to the "
            f"{largest_subset(rows)} crops of a balanced sample"
        )
    ordered = rows.sort_values(["video_id", "frame", "face"])
    halves = [
        np.random.default_rng([seed, label]).permutation(
            np.flatnonzero(ordered["label"].to_numpy() == label)
        )[: size // 2]
        for label in (0, 1)
    ]
    return ordered.iloc[np.stack(halves, axis=1).ravel()].reset_index(drop=True)


def largest_subset(rows: pd.DataFrame) -> int:
    """Return the size of the largest balanced subset of ``rows``."""
    return 2 * int(np.bincount(rows["label"], minlength=2).min())


def with_shuffled_labels(subset: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Give each label to half of the reals and half of the fakes, at random.

    What is learnt from these must be worth nothing. A plain permutation agrees with the truth in a
    few rows more or less than half of them, and a network learns that.
    """
    draws = np.random.default_rng([seed, SHUFFLING])
    truth = subset["label"].to_numpy()
    labels = np.empty_like(truth)
    for label in (0, 1):
        members = draws.permutation(np.flatnonzero(truth == label))
        labels[members] = np.arange(len(members)) % 2
    return subset.assign(label=labels)


def linear_scores(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Score ``test`` by logistic regression on standardised features, fp64 ``[M]``.

    ``train`` ``[N, D]``, ``labels`` ``[N]`` 0 real / 1 fake, ``test`` ``[M, D]``.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    model.fit(train.astype(np.float64), labels)
    return model.decision_function(test.astype(np.float64))


def neighbour_scores(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, neighbours: int
) -> np.ndarray:
    """Score ``test`` by the share of fakes among the nearest of ``train`` by cosine distance.

    Shapes as for :func:`linear_scores`.
    """
    model = KNeighborsClassifier(min(neighbours, len(train)), metric="cosine")
    model.fit(train.astype(np.float64), labels)
    return model.predict_proba(test.astype(np.float64))[:, 1]


def start_differences(curve: pd.DataFrame, start: str, baseline: str) -> pd.DataFrame:
    """Compare two starts on the same subsets: AUC of ``start`` minus that of ``baseline``.

    ``curve`` has ``COLUMNS``. Returns ``method, pictures, seeds`` (their number), ``low, mean,
    high`` over seeds in percentage points; a seed that lacks one of the two starts is left out.
    """
    wide = curve.pivot(index=["method", "pictures", "seed"], columns="start", values="auc")
    wide = wide.reindex(columns=[start, baseline]).dropna()
    groups = (wide[start] - wide[baseline]).groupby(["method", "pictures"], sort=False)
    table = groups.agg(seeds="size", low="min", mean="mean", high="max").round(2).reset_index()
    order = table["method"].map(list(METHOD_NAMES).index)
    return table.assign(order=order).sort_values(["order", "pictures"], ignore_index=True)[
        ["method", "pictures", "seeds", "low", "mean", "high"]
    ]


def verdict(low: float, high: float, seeds: int) -> str:
    """Say whether a difference over seeds has a sign: above, below, or undecided."""
    if seeds < 2 or low <= 0 <= high:
        return "undecided"
    return "above" if low > 0 else "below"
