"""Test corpora of one's own in the report, and a report of a few rows only."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from deepfake_repro.evaluation.statistics import intervals, paired_bootstrap
from deepfake_repro.project import params
from deepfake_repro.project.recipes import Scoring
from deepfake_repro.report.own import COLUMNS, own_scores
from deepfake_repro.report.pages.page import SECTIONS, report_page
from deepfake_repro.report.tables import NO_BREAK, csv, own_corpora
from support.reports import ROOT, write_own

SCORING = Scoring(threshold=0.5, bootstrap=4000)


def videos_of(labels: list[int], scores: list[float]) -> pd.DataFrame:
    names = [f"mine/{number}" for number in range(len(labels))]
    table = pd.DataFrame({"video_id": names, "label": labels, "p_fake": scores, "source": names})
    return table.assign(manipulation="fake", category="")


LABELS = [0, 0, 1, 1]
PAIRS = videos_of(LABELS, [0.1, 0.6, 0.4, 0.9])  # 3 of 4 pairs in order, 1 of 2 right in each class


def test_auc_and_balanced_accuracy_by_hand_with_the_intervals_of_table_3(tmp_path: Path) -> None:
    write_own(tmp_path, "fsfm-0", "mine", PAIRS)
    write_own(tmp_path, "sbi-0", "mine", videos_of(LABELS, [0.1, 0.2, 0.8, 0.9]))
    table = own_scores(tmp_path, ["fsfm-0", "sbi-0"], ["mine"], SCORING)
    assert list(table) == COLUMNS
    cells = table.set_index(["row", "metric"])
    assert cells["reproduced"].to_dict() == {
        ("sbi", "auc"): 100.0,
        ("sbi", "bacc"): 100.0,
        ("fsfm", "auc"): 75.0,
        ("fsfm", "bacc"): 50.0,
    }
    assert cells["sd"].isna().all()
    assert cells[["scored", "unscored", "sources"]].to_numpy().tolist() == [[4, 1, 4]] * 4
    # The same videos as a column of Table 3: only the random numbers differ.
    runs = {"fsfm-0": PAIRS.assign(dataset="dfdc")}
    column = intervals(paired_bootstrap(runs, 4000, seed=0)).set_index("metric")
    for metric in ("auc", "bacc"):
        cell = cells.loc[("fsfm", metric)]
        assert cell["low"] == pytest.approx(column.loc[metric, "low"], abs=3)
        assert cell["high"] == pytest.approx(column.loc[metric, "high"], abs=3)
        assert cell["low"] < cell["reproduced"] < cell["high"]


def test_the_block_has_a_column_per_corpus_and_a_dash_where_a_row_was_not_scored(
    tmp_path: Path,
) -> None:
    write_own(tmp_path, "fsfm-0", "mine", PAIRS)
    write_own(tmp_path, "fsfm-0", "other", PAIRS)
    write_own(tmp_path, "sbi-0", "other", PAIRS)
    table = own_scores(tmp_path, ["fsfm-0", "sbi-0"], ["mine", "absent", "other"], SCORING)
    lines = own_corpora(table).replace(NO_BREAK, " ").splitlines()
    low, high = table.loc[
        (table["row"] == "fsfm") & (table["metric"] == "auc"), ["low", "high"]
    ].iloc[0]
    assert lines[1] == "**Test corpora of your own**"
    head, _, sbi, fsfm, *counts = lines[5:]
    assert head == "| AUC / bACC (%) | `mine` | `other` |"
    assert sbi.startswith("| SBI | — | 75.0 [")
    assert fsfm.startswith(f"| FSFM | 75.0 [{low:.0f}–{high:.0f}] / 50.0 [")
    assert counts == [
        "| *videos scored* | 4 | 4 |",
        "| *without a score* | 1 | 1 |",
        "| *people or source videos* | 4 | 4 |",
    ]
    read = pd.read_csv(io.StringIO(csv(table)), na_values="—")
    assert read["reproduced"].tolist() == table["reproduced"].tolist()


def test_several_seeds_are_a_mean_and_a_spread(tmp_path: Path) -> None:
    write_own(tmp_path, "fsfm-0", "mine", PAIRS)
    write_own(tmp_path, "fsfm-1", "mine", videos_of(LABELS, [0.1, 0.2, 0.8, 0.9]))
    table = own_scores(tmp_path, ["fsfm-0", "fsfm-1"], ["mine"], SCORING).set_index("metric")
    assert table["reproduced"].to_dict() == {"auc": 87.5, "bacc": 75.0}
    assert table["sd"].to_dict() == {"auc": 17.68, "bacc": 35.36}  # of 75, 100 and of 50, 100
    assert "± 17.7" in own_corpora(table.reset_index()).replace(NO_BREAK, " ")


def test_fakes_alone_give_numbers_of_videos_only(tmp_path: Path) -> None:
    write_own(tmp_path, "fsfm-0", "mine", videos_of([1, 1], [0.1, 0.9]))
    table = own_scores(tmp_path, ["fsfm-0"], ["mine"], SCORING)
    assert table[["reproduced", "low", "high"]].isna().all(axis=None)
    block = own_corpora(table).replace(NO_BREAK, " ")
    assert "| FSFM | — / — |" in block and "| *videos scored* | 2 |" in block


def test_without_a_corpus_nothing_is_added(tmp_path: Path) -> None:
    table = own_scores(tmp_path, ["fsfm-0"], [], SCORING)
    assert own_corpora(table) == "" and list(table) == COLUMNS


def test_a_report_of_few_rows_has_every_part_and_names_what_was_not_run(few_rows: Path) -> None:
    report = few_rows / "results" / "demo" / "report"
    assert {name for files in SECTIONS.values() for name in files} <= {
        path.name for path in report.iterdir()
    }
    page = report_page(report, "demo")
    loaded = params.load(few_rows / "params.yaml")
    missing = set(loaded.paper_rows) - set(loaded.rows_of_run)
    for row in missing:
        assert f"{loaded.row_names[row]}: — (not run in this profile)." in page
    table = pd.read_csv(report / "table3.csv")
    assert table["row"].unique().tolist() == list(loaded.rows_of_run)


def test_the_page_shows_a_corpus_of_ones_own_as_its_table_does(few_rows: Path) -> None:
    """The corpus is a copy of DFDC's videos, whose values scikit-learn gives."""
    report = few_rows / "results" / "demo" / "report"
    own = pd.read_csv(report / "own.csv").set_index(["row", "metric"])
    for row in ("sbi", "fsfm_dataset"):
        scores = json.loads((ROOT / f"results/demo/runs/{row}-0/scores.json").read_text())
        videos = pd.read_csv(ROOT / f"results/demo/runs/{row}-0/videos.csv")
        videos = videos[videos["dataset"] == "dfdc"]
        expected = {
            "auc": roc_auc_score(videos["label"], videos["p_fake"]),
            "bacc": balanced_accuracy_score(videos["label"], videos["p_fake"] >= 0.5),
        }
        for metric in ("auc", "bacc"):
            cell = own.loc[(row, metric)]
            assert cell["reproduced"] == pytest.approx(100 * expected[metric], abs=0.01)
            assert cell["low"] <= cell["reproduced"] <= cell["high"]
        assert own.loc[(row, "auc"), "sources"] == scores["videos"]["sources"]["dfdc"]
    page = report_page(report, "demo")
    assert "<strong>Test corpora of your own</strong>" in page and "<code>mine</code>" in page
