"""Metrics that papers of this field report beside Table 3's AUC and balanced accuracy.

They are in ``scores.json`` under ``further``. None of them chooses a threshold for use: the
threshold of an equal error rate or of a false positive rate is taken from the test videos
themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_curve

from ..project.layout import PAPER, Layout
from .metrics import VIDEO_COLUMNS, Metric, auc, cells

FRAME_AUC = "frame_auc"
FIELD_NAMES: Mapping[str, str] = {
    "eer": "EER",
    "average_precision": "AP",
    "tpr_at_fpr_1": "TPR at 1 % FPR",
    "tpr_at_fpr_5": "TPR at 5 % FPR",
    FRAME_AUC: "frame AUC",
}
"""Printed names by key, all in percent."""


def equal_error_rate(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the error rate at the threshold where both kinds of error are the most equal.

    A video is fake iff ``score >= threshold``; FPR is the share of reals called fake, FNR the share
    of fakes called real. Of all thresholds, the scores and infinity, those with the smallest
    ``|FPR - FNR|`` are taken, and of them the lowest ``(FPR + FNR) / 2``: nothing is interpolated.
    ``labels`` ``[N]`` 0 real / 1 fake, ``scores`` ``[N]``; a fraction. Raises ``ValueError`` unless
    both classes are present.
    """
    false_positive, true_positive = _rates(labels, scores)
    reals, fakes = np.bincount(np.asarray(labels, dtype=np.int64))
    # In numbers of videos, so that equal differences compare as equal.
    alarms = np.rint(false_positive * reals).astype(np.int64)
    misses = fakes - np.rint(true_positive * fakes).astype(np.int64)
    gaps = np.abs(alarms * fakes - misses * reals)
    errors = alarms * fakes + misses * reals
    return float(errors[gaps == gaps.min()].min() / (2 * reals * fakes))


def tpr_at_fpr(labels: np.ndarray, scores: np.ndarray, limit: float) -> float:
    """Return the highest share of fakes found by any threshold with ``FPR <= limit``.

    With fewer than ``1 / limit`` reals this is the share of fakes above all reals: no false alarm
    is allowed then. Shapes, thresholds and errors as for :func:`equal_error_rate`.
    """
    false_positive, true_positive = _rates(labels, scores)
    return float(true_positive[false_positive <= limit].max())


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return scikit-learn's average precision; that of chance is the share of fakes.

    Shapes and errors as for :func:`equal_error_rate`.
    """
    _check(labels)
    return float(average_precision_score(labels, scores))


def frame_scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """Reduce one row per crop to one row per frame: the mean over its faces.

    ``predictions`` as for :func:`.metrics.video_scores`, with ``frame``; columns as there, without
    ``crops``.
    """
    key = [*VIDEO_COLUMNS, "frame"]
    # Sorting by score makes the last bit of the sum independent of the order of the crops.
    table = predictions.assign(p_fake=predictions["p_fake"].astype("float64"))
    means = table.sort_values("p_fake").groupby(key, observed=True)["p_fake"].mean()
    return means.reset_index()


def field_metrics(
    videos: pd.DataFrame, frames: pd.DataFrame | None = None, layout: Layout = PAPER
) -> dict[str, dict]:
    """Compute the metrics of ``FIELD_NAMES`` in percent, each with the cells of Table 3.

    ``videos`` as returned by :func:`.metrics.video_scores`, ``frames`` as by :func:`frame_scores`;
    without them there is no ``frame_auc``. Averages over test sets and over DF40's methods are
    those of :func:`.metrics.table_row`.
    """
    metrics: dict[str, Metric] = {
        "eer": equal_error_rate,
        "average_precision": average_precision,
        "tpr_at_fpr_1": lambda labels, scores: tpr_at_fpr(labels, scores, 0.01),
        "tpr_at_fpr_5": lambda labels, scores: tpr_at_fpr(labels, scores, 0.05),
    }
    found = {name: cells(videos, metric, layout) for name, metric in metrics.items()}
    if frames is not None:
        found[FRAME_AUC] = cells(frames, auc, layout)
    return found


def _rates(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return FPR and TPR of every threshold, infinity first."""
    _check(labels)
    false_positive, true_positive, _ = roc_curve(labels, scores, drop_intermediate=False)
    return false_positive, true_positive


def _check(labels: np.ndarray) -> None:
    classes = np.unique(labels).tolist()
    if classes != [0, 1]:
        raise ValueError(f"labels are {classes}: give both 0 (real) and 1 (fake), and nothing else")
