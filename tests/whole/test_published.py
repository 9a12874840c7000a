"""Tests of the paper's tables as typed in: sums and averages follow from their cells."""

import json
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.project.layout import PAPER
from deepfake_repro.project.vocabulary import (
    IN_DISTRIBUTION,
    IN_THE_WILD,
    PAPER_ROWS,
    SETS,
)
from deepfake_repro.report.scores import read_published

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
ROWS = list(PAPER_ROWS)
CELLS = [(row, metric) for row in ROWS for metric in ("auc", "bacc")]
MISPRINT = ("fsfm_dataset", "auc")  # in-distribution: 96.0 printed, 96.2 from the cells


def scores(row, metric):
    return json.loads((PUBLISHED / "scores" / f"{row}.json").read_text())[metric]


def test_files_are_the_ten_rows_of_table_3():
    assert list(read_published(PUBLISHED / "scores")) == ROWS
    assert len(ROWS) == 10


@pytest.mark.parametrize(("row", "metric"), CELLS)
def test_averages_follow_from_the_cells(row, metric):
    cells = scores(row, metric)
    assert list(cells) == list(SETS)
    assert all(50 < value <= 100 and round(value, 1) == value for value in cells.values())
    averages = {
        name: sum(cells[key] for key in keys) / len(keys) for name, keys in PAPER.averages.items()
    }
    averages["df40"] = (9 * cells["df40_fs"] + 12 * cells["df40_re"]) / 21
    for name, value in averages.items():
        if (row, metric, name) == (*MISPRINT, "in_distribution"):
            assert (cells[name], round(value, 2)) == (96.0, 96.2)
        else:
            assert cells[name] == pytest.approx(value, abs=0.1 + 1e-9), name


def test_sentences_of_the_paper_hold_in_the_typed_cells():
    # Section 5.1: FSFM over ImageNet on DF40 "by 7.6% and 11.1%"; Section 5.2: BA adds 0.6 and 1.7
    # there.
    def gain(a, b, key):
        return [
            round(scores(a, metric)[key] - scores(b, metric)[key], 1) for metric in ("auc", "bacc")
        ]

    assert gain("fsfm", "imagenet", "df40") == [7.6, 11.1]
    assert gain("fsfm_ba", "fsfm", "df40") == [0.6, 1.7]
    best = {
        metric: max(ROWS, key=lambda row, m=metric: scores(row, m)["in_the_wild"])
        for metric in ("auc", "bacc")
    }
    assert best == {"auc": "fsfm_ba", "bacc": "fsfm_ba"}


def test_table_1_adds_up():
    table = pd.read_csv(PUBLISHED / "table1.csv").set_index("dataset")
    corpora, total = table.drop(index="total"), table.loc["total"]
    assert tuple(corpora.index) == IN_DISTRIBUTION
    numbers = corpora.drop(columns="name").sum()
    assert numbers.to_dict() == total.drop("name").astype(float).to_dict()
    splits = corpora[["videos_train", "videos_val", "videos_test"]].sum(axis=1)
    assert splits.tolist() == corpora[["videos_real", "videos_fake"]].sum(axis=1).tolist()
    assert numbers["videos_train"] + numbers["videos_val"] == 226_372  # "more than 226,000 videos"
    assert numbers["manipulations_fs"] + numbers["manipulations_re"] == 24
    assert (numbers["samples_real"], numbers["samples_fake"]) == (304_000, 287_000)  # Section 4.1


def test_table_2_adds_up():
    table = pd.read_csv(PUBLISHED / "table2.csv").set_index("dataset")
    assert tuple(table.index) == IN_THE_WILD
    for what in ("videos", "frames"):
        assert (table[f"{what}_real"] + table[f"{what}_fake"]).tolist() == table[
            f"{what}_total"
        ].tolist()
