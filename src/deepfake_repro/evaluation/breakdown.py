"""Results taken apart: by manipulation, by group of people, by state of the crops (Section 5 gives averages)."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..project.vocabulary import AVERAGES
from .metrics import auc

FAKEAVCELEB = "fakeavceleb"


def by_manipulation(videos: pd.DataFrame) -> pd.DataFrame:
    """AUC (percent) of each manipulation against the reals of its test set, the hardest first within a set.

    ``videos`` as in ``videos.csv``. Columns ``set, category, manipulation, reals, fakes, auc``;
    sets without reals are left out.
    """
    records = []
    for dataset, part in videos.groupby("dataset"):
        reals = part[part["label"] == 0]
        for (category, name), fakes in part[part["label"] == 1].groupby(
            ["category", "manipulation"]
        ):
            records += [(dataset, category, name, *cell) for cell in _auc_cell(reals, fakes)]
    return _by_auc(records, ["set", "category", "manipulation", "reals", "fakes", "auc"])


def by_group(videos: pd.DataFrame) -> pd.DataFrame:
    """AUC (percent) within each group of people whom a corpus describes: fairness (not in the paper).

    Only FakeAVCeleb says who is shown, in its folders ``<type>/<group>/<gender>/<identity>``; the
    words are its own. Columns ``set, group, reals, fakes, auc``; groups without both classes are
    left out.
    """
    part = videos[videos["dataset"] == FAKEAVCELEB]
    groups = part["video_id"].str.split("/").str[2:4].str.join(", ")
    records = [
        (FAKEAVCELEB, name, *cell)
        for name, some in part.groupby(groups)
        for cell in _auc_cell(some[some["label"] == 0], some[some["label"] == 1])
    ]
    return _by_auc(records, ["set", "group", "reals", "fakes", "auc"])


def by_condition(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Mean AUC (percent) over the test sets at hand of each row, under each condition of the robustness study.

    ``tables``: ``results/<profile>/robustness`` by row. Columns ``perturbation, severity`` and one per row; DF40
    counts as one set, and the averages of Table 3 are left out.
    """
    sets = {
        row: table[~table["set"].isin([*AVERAGES, "df40_fs", "df40_re"])]
        for row, table in tables.items()
    }
    means = {
        row: table.groupby(["perturbation", "severity"], sort=False)["auc"].mean().round(2)
        for row, table in sets.items()
    }
    return pd.DataFrame(means).reset_index()


def confusion(runs: Mapping[str, pd.DataFrame], threshold: float = 0.5) -> pd.DataFrame:
    """Count the test videos of each run by true and predicted class: the input of DVC's confusion plot.

    Columns ``row, actual, predicted, videos``; four rows per run.
    """
    classes = ("real", "fake")
    counts = []
    for run, videos in runs.items():
        predicted = videos["p_fake"] >= threshold
        for label, actual in enumerate(classes):
            for guess, name in enumerate(classes):
                agree = (videos["label"] == label) & (predicted == bool(guess))
                counts.append(
                    {"row": run, "actual": actual, "predicted": name, "videos": int(agree.sum())}
                )
    return pd.DataFrame(counts)


def _auc_cell(reals: pd.DataFrame, fakes: pd.DataFrame) -> list[tuple[int, int, float]]:
    """Counts and AUC in percent; nothing where a class is missing."""
    if reals.empty or fakes.empty:
        return []
    both = pd.concat([reals, fakes])
    return [(len(reals), len(fakes), round(100 * auc(both["label"], both["p_fake"]), 2))]


def _by_auc(records: list[tuple], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(records, columns=columns).sort_values(
        ["set", "auc", columns[-4]], ignore_index=True
    )
