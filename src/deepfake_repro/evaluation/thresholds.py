"""How far a score is a probability, and how far a threshold travels (Sections 4.3 and 5.3).

The paper decides at 0.5 and explains the low balanced accuracy of Att_dataset on DF40, beside its
highest AUC, by "poor model calibration around the 0.5 decision threshold". That is testable from
scores: if the threshold is at fault, another one must bring the accuracy back. Two are tried, the
best one of the *validation* videos, which a user could have chosen, and the best one of the test
set itself, which nobody could: the ceiling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from ..project.vocabulary import AVERAGES, SETS
from .metrics import table_row

BINS = 10


def reliability(labels: np.ndarray, scores: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Reliability table (Guo et al. 2017): in bins of equal width, the mean P(fake) beside the share of fakes.

    ``labels`` ``[N]`` 0 / 1, ``scores`` ``[N]`` P(fake) -> columns ``low, high, videos, weight,
    confidence, fakes``; empty bins are left out. Reals and fakes weigh the same in total, as in
    training (Section 4.1) and in balanced accuracy: with one real to five fakes a perfect
    detector's prior would otherwise count as its error. The last bin holds 1.0. Raises
    ``ValueError`` unless both classes are there.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    counts = np.bincount(labels, minlength=2)
    if not counts.all():
        raise ValueError(f"{counts[0]} real and {counts[1]} fake videos: reliability needs both")
    weight = 0.5 / counts[labels]
    number = np.minimum((scores * bins).astype(int), bins - 1)
    table = (
        pd.DataFrame(
            {
                "bin": number,
                "videos": 1,
                "weight": weight,
                "confidence": weight * scores,
                "fakes": weight * labels,
            }
        )
        .groupby("bin")
        .sum()
    )
    table[["confidence", "fakes"]] = table[["confidence", "fakes"]].div(table["weight"], axis=0)
    table.insert(0, "high", (table.index + 1) / bins)
    table.insert(0, "low", table.index / bins)
    return table.reset_index(drop=True)


def calibration_error(labels: np.ndarray, scores: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: mean over bins of |confidence - share of fakes|, by weight; a fraction.

    Arguments and errors as for :func:`reliability`. It depends on the bins and is biased upwards
    where they hold few videos: compare rows on the same videos only.
    """
    table = reliability(labels, scores, bins)
    return float((table["weight"] * (table["confidence"] - table["fakes"]).abs()).sum())


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The threshold of highest balanced accuracy; of several the one nearest to 0.5, then the lower.

    Candidates lie half-way between neighbouring scores, at both ends and at 0.5: what is as good as
    0.5 does not move it. Raises ``ValueError`` unless both classes are there.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    real, fake = np.sort(scores[labels == 0]), np.sort(scores[labels == 1])
    if not (len(real) and len(fake)):
        raise ValueError(f"{len(real)} real and {len(fake)} fake videos: a threshold needs both")
    distinct = np.unique(scores)
    ends = distinct[0], np.nextafter(distinct[-1], 2)  # all are fake, none is
    candidates = np.concatenate([(distinct[1:] + distinct[:-1]) / 2, ends, [0.5]])
    right = (
        np.searchsorted(real, candidates) / len(real)
        + 1
        - np.searchsorted(fake, candidates) / len(fake)
    )
    best = np.sort(candidates[right > right.max() - 1e-12])
    return float(best[np.abs(best - 0.5).argmin()])


def transfer(
    validation: pd.DataFrame, videos: pd.DataFrame, threshold: float = 0.5
) -> pd.DataFrame:
    """Balanced accuracy of one run at three thresholds, for each test set and average of Table 3.

    ``validation``, ``videos``: tables as ``validation.csv`` and ``videos.csv``. Columns ``set, auc,
    bacc`` (at ``threshold``), ``bacc_transferred`` (at the best of the validation videos),
    ``bacc_best`` (at the best of each test set's own videos), percent; ``transferred``: that
    threshold; ``ece``: of a whole test corpus, percent.
    """
    moved = best_threshold(validation["label"], validation["p_fake"])
    here, there = (table_row(videos, {}, value) for value in (threshold, moved))
    own, error = _ceiling(videos), _errors(videos)
    records = [
        (
            key,
            here["auc"][key],
            here["bacc"][key],
            there["bacc"][key],
            own[key],
            round(moved, 4),
            error.get(key, np.nan),
        )
        for key in SETS
        if key in here["auc"]
    ]
    columns = ["set", "auc", "bacc", "bacc_transferred", "bacc_best", "transferred", "ece"]
    return pd.DataFrame(records, columns=columns).round(dict.fromkeys(["bacc_best", "ece"], 2))


def transfers(
    validations: Mapping[str, pd.DataFrame],
    runs: Mapping[str, pd.DataFrame],
    threshold: float = 0.5,
) -> pd.DataFrame:
    """:func:`transfer` of every run, a column ``row`` in front; means over seeds. Keys are ``<row>-<seed>``."""
    tables = [
        transfer(validations[run], videos, threshold).assign(row=run.rpartition("-")[0])
        for run, videos in runs.items()
    ]
    whole = pd.concat(tables, ignore_index=True)
    means = whole.groupby(["row", "set"], sort=False).mean().round(4).reset_index()
    return means[["row", *(name for name in means if name != "row")]]


def explained(table: pd.DataFrame, baseline: str = "fsfm", key: str = "df40") -> pd.DataFrame:
    """The paper's explanation put to the test: how far each row lies below the baseline, and how much a threshold mends.

    ``table`` as of :func:`transfers`; all in percentage points of balanced accuracy in the test set ``key`` (Section
    5.3: DF40). Columns ``row, auc_gap`` (below 0: the row ranks better), ``gap`` at the fixed threshold,
    ``by_validation`` and ``by_own``: what of ``gap`` is gone when both rows take the best threshold of the validation
    videos, or of the test set itself. No row where the baseline or the set was not scored.
    """
    cells = table[table["set"] == key].drop(columns="set").set_index("row")
    if baseline not in cells.index:
        return pd.DataFrame(columns=["row", "auc_gap", "gap", "by_validation", "by_own"])
    gaps = (cells.loc[baseline] - cells).drop(index=baseline)
    found = pd.DataFrame(
        {
            "auc_gap": gaps["auc"],
            "gap": gaps["bacc"],
            "by_validation": gaps["bacc"] - gaps["bacc_transferred"],
            "by_own": gaps["bacc"] - gaps["bacc_best"],
        }
    )
    return (found.round(2) + 0.0).reset_index()  # no -0.0


def _ceiling(videos: pd.DataFrame) -> dict[str, float]:
    """Balanced accuracy of each cell, percent, every test corpus at its own best threshold."""
    cells: dict[str, float] = {}
    for _, part in _with_both(videos):
        cells |= table_row(part, {}, best_threshold(part["label"], part["p_fake"]))["bacc"]
    return _averaged(cells)


def _errors(videos: pd.DataFrame) -> dict[str, float]:
    """Expected calibration error of each test corpus and average, percent."""
    return _averaged(
        {
            name: 100 * calibration_error(part["label"], part["p_fake"])
            for name, part in _with_both(videos)
        }
    )


def _averaged(cells: dict[str, float]) -> dict[str, float]:
    return cells | {
        name: float(np.mean([cells[key] for key in members]))
        for name, members in AVERAGES.items()
        if all(key in cells for key in members)
    }


def _with_both(videos: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    return [
        (name, part) for name, part in videos.groupby("dataset") if part["label"].nunique() == 2
    ]
