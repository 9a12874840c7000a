"""Tables by manipulation, by group and by condition."""

from __future__ import annotations

import pandas as pd

from deepfake_repro.evaluation import breakdown
from support.thresholds import videos


def test_each_manipulation_against_the_reals_of_its_set() -> None:
    table = videos(0)
    scores = [0.32, 0.5]  # above one real, above all four reals
    table.loc[table["manipulation"] == "fomm", "p_fake"] = scores
    result = breakdown.by_manipulation(table)
    assert result.to_numpy().tolist() == [
        ["df40", "RE", "fomm", 4, 2, 62.5],
        ["df40", "FS", "simswap", 4, 2, 100.0],
    ]


def test_groups_of_people_are_read_from_fakeavcelebs_folders() -> None:
    names = [
        f"fakeavceleb/{kind}/{group}/id1/{number}"
        for group in ("African/women", "Asian (East)/men")
        for number, kind in enumerate(["RealVideo-RealAudio"] * 2 + ["FakeVideo-RealAudio"] * 2)
    ]
    table = videos(0, "fakeavceleb").assign(video_id=names, label=[0, 0, 1, 1] * 2)
    table["p_fake"] = [0.1, 0.2, 0.3, 0.4, 0.1, 0.4, 0.2, 0.3]
    result = breakdown.by_group(pd.concat([table, videos(0)]))
    assert result.to_numpy().tolist() == [
        ["fakeavceleb", "Asian (East), men", 2, 2, 50.0],
        ["fakeavceleb", "African, women", 2, 2, 100.0],
    ]


def test_confusion_counts_the_videos_of_each_row_by_class() -> None:
    counts = breakdown.confusion({"fsfm": videos(0), "sbi": videos(0.25)})
    assert counts.to_numpy().tolist() == [
        ["fsfm", "real", "real", 4],
        ["fsfm", "real", "fake", 0],
        ["fsfm", "fake", "real", 0],
        ["fsfm", "fake", "fake", 4],
        ["sbi", "real", "real", 0],
        ["sbi", "real", "fake", 4],
        ["sbi", "fake", "real", 0],
        ["sbi", "fake", "fake", 4],
    ]


def test_condition_means_count_df40_once_and_no_average() -> None:
    sets = ["ffpp", "in_distribution", "df40_fs", "df40_re", "df40"]
    table = pd.DataFrame(
        {"perturbation": "none", "severity": 0.0, "set": sets, "auc": [90.0, 0, 0, 0, 70]}
    )
    assert breakdown.by_condition({"sbi": table}).to_numpy().tolist() == [["none", 0.0, 80.0]]


def test_without_a_studied_row_there_is_a_table_without_lines():
    table = breakdown.by_condition({})
    assert table.empty and list(table) == ["perturbation", "severity"]
