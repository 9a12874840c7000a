"""Calibration of scores, and how well a decision threshold transfers (Sections 4.3 and 5.3).

The paper decides at 0.5 and explains the low balanced accuracy of Att_dataset on DF40, despite its
highest AUC, by "poor model calibration around the 0.5 decision threshold". Scores can test that: if
the threshold is to blame, another one must restore the accuracy. Two are tried: the best threshold
of the *validation* videos, which a user could have chosen, and the best threshold of the test set
itself, which nobody could: an upper bound.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..project.layout import PAPER, Layout
from .metrics import table_row

BINS = 10


def reliability(labels: np.ndarray, scores: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Tabulate mean P(fake) beside the share of fakes, in bins of equal width (Guo et al. 2017).

    ``labels`` ``[N]`` 0 / 1, ``scores`` ``[N]`` P(fake) -> columns ``low, high, videos, weight,
    confidence, fakes``; empty bins are left out. Reals and fakes weigh the same in total, as in
    training (Section 4.1) and in balanced accuracy: with five fakes per real, the prior of a
    perfect detector would otherwise count as its error. The last bin includes 1.0. Raises
    ``ValueError`` unless both classes are present.
    """
    labels = np.asarray(labels)
    scores = np.asarray(scores, dtype=np.float64)
    counts = np.bincount(labels, minlength=2)
    if not counts.all():
        raise ValueError(f"{counts[0]} real and {counts[1]} fake videos: reliability needs both")
    weight = 0.5 / counts[labels]
    videos = pd.DataFrame(
        {
            "bin": np.minimum((scores * bins).astype(int), bins - 1),
            "videos": 1,
            "weight": weight,
            "confidence": weight * scores,
            "fakes": weight * labels,
        }
    )
    table = videos.groupby("bin").sum()
    table[["confidence", "fakes"]] = table[["confidence", "fakes"]].div(table["weight"], axis=0)
    table.insert(0, "high", (table.index + 1) / bins)
    table.insert(0, "low", table.index / bins)
    return table.reset_index(drop=True)


def calibration_error(labels: np.ndarray, scores: np.ndarray, bins: int = BINS) -> float:
    """Compute the expected calibration error, a fraction.

    It is the weighted mean over bins of ``|confidence - fakes|``. Arguments and errors as for
    :func:`reliability`. It depends on the bins and is biased upwards where they have few videos:
    compare rows on the same videos only.
    """
    table = reliability(labels, scores, bins)
    return float((table["weight"] * (table["confidence"] - table["fakes"]).abs()).sum())


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """Find the threshold of highest balanced accuracy.

    Of several, the nearest to 0.5 is taken, then the lower. Candidates are the midpoints between
    neighbouring scores, both ends and 0.5, so a threshold that is only as good as 0.5 does not
    replace it. Raises ``ValueError`` unless both classes are present.
    """
    labels = np.asarray(labels)
    scores = np.asarray(scores, dtype=np.float64)
    real = np.sort(scores[labels == 0])
    fake = np.sort(scores[labels == 1])
    if not (len(real) and len(fake)):
        raise ValueError(f"{len(real)} real and {len(fake)} fake videos: a threshold needs both")
    distinct = np.unique(scores)
    midpoints = (distinct[1:] + distinct[:-1]) / 2
    all_fake = distinct[0]
    all_real = np.nextafter(distinct[-1], 2)
    candidates = np.concatenate([midpoints, [all_fake, all_real, 0.5]])
    specificity = np.searchsorted(real, candidates) / len(real)
    missed = np.searchsorted(fake, candidates) / len(fake)
    accuracy = specificity + 1 - missed
    best = np.sort(candidates[accuracy > accuracy.max() - 1e-12])
    return float(best[np.abs(best - 0.5).argmin()])


def transfer(
    validation: pd.DataFrame, videos: pd.DataFrame, threshold: float = 0.5, layout: Layout = PAPER
) -> pd.DataFrame:
    """Compute the balanced accuracy of one run at three thresholds, per set and average of Table 3.

    ``validation``, ``videos``: tables as ``validation.csv`` and ``videos.csv``. Columns ``set, auc,
    bacc`` (at ``threshold``), ``bacc_transferred`` (at the best threshold of the validation
    videos), ``bacc_best`` (at the best threshold of each test set's own videos), percent;
    ``transferred``: the validation threshold; ``ece``: calibration error of a whole test corpus,
    percent.
    """
    transferred = best_threshold(validation["label"], validation["p_fake"])
    at_fixed = table_row(videos, {}, threshold, layout)
    at_transferred = table_row(videos, {}, transferred, layout)
    at_best = _bacc_at_best(videos, layout)
    errors = _calibration_errors(videos, layout)
    records = [
        (
            key,
            at_fixed["auc"][key],
            at_fixed["bacc"][key],
            at_transferred["bacc"][key],
            at_best[key],
            round(transferred, 4),
            errors.get(key, np.nan),
        )
        for key in layout.sets
        if key in at_fixed["auc"]
    ]
    columns = ["set", "auc", "bacc", "bacc_transferred", "bacc_best", "transferred", "ece"]
    return pd.DataFrame(records, columns=columns).round(dict.fromkeys(["bacc_best", "ece"], 2))


def transfers(
    validations: Mapping[str, pd.DataFrame],
    runs: Mapping[str, pd.DataFrame],
    threshold: float = 0.5,
    layout: Layout = PAPER,
) -> pd.DataFrame:
    """Apply :func:`transfer` to every run and average over seeds; the first column is ``row``.

    The keys of both mappings are ``<row>-<seed>``.
    """
    tables = [
        transfer(validations[run], videos, threshold, layout).assign(row=run.rpartition("-")[0])
        for run, videos in runs.items()
    ]
    whole = pd.concat(tables, ignore_index=True)
    means = whole.groupby(["row", "set"], sort=False).mean().round(4).reset_index()
    return means[["row", *(name for name in means if name != "row")]]


def gap_to_baseline(table: pd.DataFrame, baseline: str = "fsfm", key: str = "df40") -> pd.DataFrame:
    """Test the paper's explanation: how much of each row's gap to the baseline a threshold closes.

    ``table`` as returned by :func:`transfers`; all in percentage points on the test set ``key``
    (Section 5.3: DF40). Columns ``row, auc_gap`` (below 0: the row ranks better), ``gap`` of the
    balanced accuracy at the fixed threshold, ``by_validation`` and ``by_own``: the part of ``gap``
    that disappears when both rows take the best threshold of the validation videos, or of the test
    set itself. Empty if the baseline or the set was not scored.
    """
    cells = table[table["set"] == key].drop(columns="set").set_index("row")
    if baseline not in cells.index:
        return pd.DataFrame(columns=["row", "auc_gap", "gap", "by_validation", "by_own"])
    gaps = (cells.loc[baseline] - cells).drop(index=baseline)
    parts = pd.DataFrame(
        {
            "auc_gap": gaps["auc"],
            "gap": gaps["bacc"],
            "by_validation": gaps["bacc"] - gaps["bacc_transferred"],
            "by_own": gaps["bacc"] - gaps["bacc_best"],
        }
    )
    return (parts.round(2) + 0.0).reset_index()  # no -0.0


def _bacc_at_best(videos: pd.DataFrame, layout: Layout) -> dict[str, float]:
    """Compute the balanced accuracy of each cell, percent, at each corpus' own best threshold."""
    cells: dict[str, float] = {}
    for part in _two_class_sets(videos).values():
        cells |= table_row(part, {}, best_threshold(part["label"], part["p_fake"]))["bacc"]
    return _with_averages(cells, layout)


def _calibration_errors(videos: pd.DataFrame, layout: Layout) -> dict[str, float]:
    """Compute the expected calibration error of each test corpus and average, percent."""
    return _with_averages(
        {
            name: 100 * calibration_error(part["label"], part["p_fake"])
            for name, part in _two_class_sets(videos).items()
        },
        layout,
    )


def _with_averages(cells: dict[str, float], layout: Layout) -> dict[str, float]:
    averages = {
        name: float(np.mean([cells[key] for key in members]))
        for name, members in layout.averages.items()
        if all(key in cells for key in members)
    }
    return cells | averages


def _two_class_sets(videos: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {name: part for name, part in videos.groupby("dataset") if part["label"].nunique() == 2}
