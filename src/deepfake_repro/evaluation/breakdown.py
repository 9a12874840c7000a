"""Results by manipulation, group of people and state of the crops; Section 5 only averages."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..project.layout import DF40_PARTS, PAPER, Layout
from .metrics import auc

FAKEAVCELEB = "fakeavceleb"


def by_manipulation(videos: pd.DataFrame) -> pd.DataFrame:
    """Compute the AUC (percent) of each manipulation against the reals of its test set.

    ``videos`` as in ``videos.csv``. Columns ``set, category, manipulation, reals, fakes, auc``, the
    hardest manipulation of a set first; sets without reals are left out.
    """
    records = []
    for dataset, part in videos.groupby("dataset"):
        reals = part[part["label"] == 0]
        fakes = part[part["label"] == 1]
        for (category, name), group in fakes.groupby(["category", "manipulation"]):
            records += [(dataset, category, name, *cell) for cell in _auc_cell(reals, group)]
    return _by_auc(records, ["set", "category", "manipulation", "reals", "fakes", "auc"])


def by_group(videos: pd.DataFrame) -> pd.DataFrame:
    """Compute the AUC (percent) within each group of people: fairness (not in the paper).

    Only FakeAVCeleb says who is shown, in its folders ``<type>/<group>/<gender>/<identity>``; the
    words are its own. Columns ``set, group, reals, fakes, auc``; groups without both classes are
    left out.
    """
    part = videos[videos["dataset"] == FAKEAVCELEB]
    groups = part["video_id"].str.split("/").str[2:4].str.join(", ")
    records = [
        (FAKEAVCELEB, name, *cell)
        for name, group in part.groupby(groups)
        for cell in _auc_cell(group[group["label"] == 0], group[group["label"] == 1])
    ]
    return _by_auc(records, ["set", "group", "reals", "fakes", "auc"])


def by_condition(tables: Mapping[str, pd.DataFrame], layout: Layout = PAPER) -> pd.DataFrame:
    """Compute the mean AUC (percent) of each row over its test sets, per robustness condition.

    ``tables``: ``results/<profile>/robustness`` by row. Columns ``perturbation, severity`` and one
    per row, of which there may be none; DF40 counts as one set, and the averages of Table 3 are
    left out.
    """
    means = {}
    for row, table in tables.items():
        sets = table[~table["set"].isin([*layout.averages, *DF40_PARTS])]
        conditions = sets.groupby(["perturbation", "severity"], sort=False)
        means[row] = conditions["auc"].mean().round(2)
    if not means:
        return pd.DataFrame(columns=["perturbation", "severity"])
    return pd.DataFrame(means).reset_index()


def confusion(runs: Mapping[str, pd.DataFrame], threshold: float = 0.5) -> pd.DataFrame:
    """Count the test videos of each run by true and predicted class, for DVC's confusion plot.

    Columns ``row, actual, predicted, videos``; four rows per run.
    """
    classes = ("real", "fake")
    counts = []
    for run, videos in runs.items():
        called_fake = videos["p_fake"] >= threshold
        for label, actual in enumerate(classes):
            for guess, predicted in enumerate(classes):
                matches = (videos["label"] == label) & (called_fake == bool(guess))
                counts.append((run, actual, predicted, int(matches.sum())))
    return pd.DataFrame(counts, columns=["row", "actual", "predicted", "videos"])


def _auc_cell(reals: pd.DataFrame, fakes: pd.DataFrame) -> list[tuple[int, int, float]]:
    """Return both counts and the AUC in percent, or nothing if a class is missing."""
    if reals.empty or fakes.empty:
        return []
    both = pd.concat([reals, fakes])
    percent = round(100 * auc(both["label"], both["p_fake"]), 2)
    return [(len(reals), len(fakes), percent)]


def _by_auc(records: list[tuple], columns: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(records, columns=columns)
    name = columns[-4]  # manipulation or group
    return table.sort_values(["set", "auc", name], ignore_index=True)
