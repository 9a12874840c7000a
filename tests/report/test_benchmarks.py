"""Published figures of LNCLIP-DF's benchmarks, their average and their trend over the years."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake_repro.corpora import ADAPTERS
from deepfake_repro.evaluation.metrics import table_row
from deepfake_repro.project.vocabulary import LNCLIP13
from deepfake_repro.report import benchmarks

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
HEAD = "benchmark,method,auroc,origin,source\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "benchmarks.csv").write_text(
        "benchmark,name,year\nold,Old,2019\nnew,New,2025\nmid,Mid,2021\n"
    )
    (tmp_path / "lnclip13.csv").write_text(
        HEAD + "old,sbi,90,own,a\nold,sbi,80,re-run,b\nold,effort,95,own,c\n"
        "new,effort,70.5,third party,d\nlnclip13,effort,80,own,e\n"
    )
    return tmp_path


def test_the_thirteen_are_listed_with_years_from_2019_to_2025():
    table = benchmarks.benchmarks(PUBLISHED).set_index("benchmark")
    assert len(set(LNCLIP13)) == 13 and set(LNCLIP13) <= set(table.index)
    years = table.loc[list(LNCLIP13), "year"]
    assert (years.min(), years.max()) == (2019, 2025)  # the abstract's words
    assert table.index.is_unique and set(table.index) <= set(ADAPTERS)


def test_every_published_figure_has_a_source_and_is_a_percentage():
    figures = benchmarks.published(PUBLISHED)
    assert figures["source"].str.len().min() > 5
    assert figures["auroc"].between(50, 100).all()
    assert not figures.duplicated(["benchmark", "method", "origin"]).any()
    means = figures[figures["benchmark"] == "lnclip13"].set_index("method")["auroc"]
    assert means.idxmax() == "lnclip"  # "outperforming more complex, recent approaches in average"


def test_difficulty_averages_methods_and_rows(folder):
    rows = {
        "fsfm": {"auc": {"old": 80.0, "mid": 60.0}},
        "lnclip": {"auc": {"old": 90.0}},
        "sbi": {},
    }
    table = benchmarks.difficulty(folder, rows).set_index("benchmark")
    assert table.index.tolist() == ["old", "mid", "new"]
    assert table["published"].tolist()[::2] == [90.0, 70.5]
    assert np.isnan(table.loc["mid", "published"])
    assert table.loc["old", "best"] == 95
    assert table["reproduced"].tolist()[:2] == [85.0, 60.0]
    assert np.isnan(table.loc["new", "reproduced"])
    lines = benchmarks.markdown(table.reset_index()).splitlines()
    assert lines[2:] == [
        "| Old | 2019 | 90.0 | 95.0 | 85.0 |",
        "| Mid | 2021 | — | — | 60.0 |",
        "| New | 2025 | 70.5 | 70.5 | — |",
    ]


def test_trend_is_the_rank_correlation_and_needs_three_benchmarks():
    table = pd.DataFrame(
        {
            "year": [2019, 2020, 2024, 2025],
            "published": [99.0, 90.0, 80.0, np.nan],
            "reproduced": [50.0, 60.0, np.nan, np.nan],
        }
    )
    assert benchmarks.trend(table, "published") == (pytest.approx(-1), 3)
    value, number = benchmarks.trend(table, "reproduced")
    assert np.isnan(value) and number == 2


def test_average_says_over_how_many():
    assert benchmarks.average({"celebdf2": 96.0, "dfdc": 88.0, "ffpp": 99.0}) == (92.0, 2)
    assert benchmarks.average({"ffpp": 99.0})[1] == 0


def test_a_row_of_all_thirteen_gets_their_mean_and_one_of_twelve_does_not():
    videos = pd.DataFrame(
        [
            {"dataset": key, "manipulation": "x", "category": "FS", "label": label, "p_fake": score}
            for number, key in enumerate(LNCLIP13)
            for label, score in ((0, 0.5), (1, 0.9 if number else 0.1))
        ]
    )
    assert table_row(videos, {})["auc"]["lnclip13"] == pytest.approx(100 * 12 / 13, abs=0.01)
    assert "lnclip13" not in table_row(videos[videos["dataset"] != "kodf"], {})["auc"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("celebdf,sbi,90,own,a", "benchmark 'celebdf'"),
        ("old,sbl,90,own,a", "method 'sbl'"),
        ("old,sbi,90,mine,a", "origin 'mine'"),
    ],
)
def test_unknown_words_are_named(folder, line, message):
    (folder / "lnclip13.csv").write_text(f"{HEAD}{line}\n")
    with pytest.raises(ValueError, match=rf"^lnclip13\.csv: {message} is unknown: use one of "):
        benchmarks.published(folder)
