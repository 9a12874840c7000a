"""Table 3 in the paper's shape, means over seeds, published beside reproduced."""

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.project import params
from deepfake_repro.project.params import load
from deepfake_repro.project.vocabulary import ROW_NAMES, SET_NAMES, SETS
from deepfake_repro.report.scores import read_controls, read_published, read_scores
from deepfake_repro.report.tables import (
    NO_BREAK,
    comparison,
    comparison_markdown,
    csv,
    markdown,
    notes,
    scenarios,
    table3,
    table3_csv,
)

PUBLISHED = Path(__file__).parents[2] / "results" / "published" / "scores"


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def write(folder, name, scores):
    (folder / name).mkdir(parents=True)
    (folder / name / "scores.json").write_text(json.dumps(scores))


def test_columns_are_those_of_the_scores():
    assert tuple(SET_NAMES) == SETS


def tables_of(text):
    """Parse Markdown into one table per scenario: title -> first cell -> other cells."""
    parsed = {}
    for title, body in re.findall(r"^\*\*(.+?)\*\*\n\n((?:\|.*\n?)+)", text, flags=re.M):
        lines = [cells(line.replace(NO_BREAK, " ")) for line in body.splitlines()]
        parsed[title] = {line[0]: line[1:] for line in lines}
    return parsed


def test_published_table_is_the_papers():
    parsed = tables_of(table3(read_published(PUBLISHED)))
    assert list(parsed) == ["In-distribution", "Out-of-distribution", "In-the-wild"]
    heads = [table["AUC / bACC (%)"] for table in parsed.values()]
    assert heads[0] == ["FF++", "CDF", "DFDC", "FakeAV", "FNet", "Avg"]
    assert [len(head) for head in heads] == [6, 3, 4]
    assert [len(table) for table in parsed.values()] == [2 + 10] * 3
    # Two rows as printed in the paper.
    row = [cell.partition(" / ") for table in parsed.values() for cell in table["FSFM + BA"]]
    auc = "96.9 99.9 97.0 99.6 89.5 96.6 95.3 79.4 86.2 92.7 83.7 57.4 77.9"
    assert " ".join(cell[0] for cell in row) == auc
    row = [c.partition(" / ") for t in parsed.values() for c in t["FSFM + Att_dataset + BA"]]
    bacc = "93.5 99.6 92.3 95.5 78.7 91.9 77.4 58.3 66.5 84.5 68.1 56.6 69.7"
    assert " ".join(cell[2] for cell in row) == bacc


def test_rows_come_in_the_papers_order_and_missing_cells_are_dashes():
    rows = {"fsfm_ba": {"auc": {"itw": 61.25}}, "sbi": {}}
    text = table3(rows, ["Demo profile.", "ITW is private."])
    wild = tables_of(text)["In-the-wild"]
    assert list(wild)[2:] == ["SBI", "FSFM + BA"]
    assert wild["SBI"] == ["—"] * 4
    assert wild["FSFM + BA"] == ["—", "61.2 / —", "—", "—"]
    assert text.endswith("\n\nDemo profile.\n\nITW is private.\n")


def test_features_without_training_are_below_the_rows(tmp_path):
    assert read_controls(tmp_path) == {}
    controls = {"sharpness": {"auc": {"df40": 55.0}, "bacc": {"df40": 50.0}}}
    (tmp_path / "scores.json").write_text(json.dumps(controls))
    rows = {"fsfm": {"auc": {"df40": 80.0}, "bacc": {"df40": 70.0}}}
    table = tables_of(table3(rows, controls=read_controls(tmp_path)))["Out-of-distribution"]
    assert list(table)[2:] == ["FSFM", "*sharpness, untrained*"]
    assert table["*sharpness, untrained*"] == ["—", "—", "55.0 / 50.0"]


def test_csv_has_the_same_cells():
    rows = {"fsfm": {"auc": {"ffpp": 96.04}, "bacc": {"in_the_wild": 71.2}}}
    table = pd.read_csv(io.StringIO(table3_csv(rows)), na_values="—").set_index(["row", "metric"])
    assert list(table.columns) == list(SETS)
    assert table.loc[("fsfm", "auc")].dropna().to_dict() == {"ffpp": 96.04}
    assert table.loc[("fsfm", "bacc")].dropna().to_dict() == {"in_the_wild": 71.2}
    assert "—" in table3_csv(rows)


def test_scores_are_means_over_seeds(tmp_path):
    for seed, value in [(0, 80.0), (1, 81.0), (10, 83.0)]:
        auc = {"ffpp": value} | ({"itw": 60.0} if seed else {})  # one seed lacks the cell
        write(
            tmp_path, f"fsfm_ba-{seed}", {"auc": auc, "bacc": {}, "videos": {"scored": {"ffpp": 7}}}
        )
    write(tmp_path, "imagenet-0", {"auc": {"ffpp": 55.0}, "bacc": {"ffpp": 51.0}, "videos": {}})
    rows = read_scores(tmp_path)
    assert list(rows) == ["imagenet", "fsfm_ba"]
    expected = {
        "auc": {"ffpp": 81.33},
        "bacc": {},
        "videos": {"scored": {"ffpp": 7}},
        "seeds": [0, 1, 10],
    }
    sd = {"auc": {"ffpp": 1.53}, "bacc": {}}  # of 80, 81 and 83
    assert rows["fsfm_ba"] == expected | {"sd": sd}
    assert rows["imagenet"]["auc"] == {"ffpp": 55.0} and rows["imagenet"]["seeds"] == [0]
    assert "sd" not in rows["imagenet"]


def test_published_beside_reproduced():
    published = {"fsfm": {"auc": {"ffpp": 96.0, "itw": 82.8}, "bacc": {}}}
    reproduced = {"fsfm": {"auc": {"ffpp": 95.17, "dfdc": 90.0}}, "lnclip": {"bacc": {"itw": 70.0}}}
    table = comparison(published, reproduced)
    assert table[["row", "metric", "set"]].to_numpy().tolist() == [
        ["fsfm", "auc", "ffpp"],
        ["fsfm", "auc", "dfdc"],
        ["fsfm", "auc", "itw"],
        ["lnclip", "bacc", "itw"],
    ]
    assert table["difference"].tolist()[0] == -0.83
    assert table["difference"].isna().tolist() == [False, True, True, True]
    lines = csv(table).splitlines()
    assert lines[0] == "row,metric,set,published,reproduced,difference,low,high,sd"
    assert lines[1:3] == ["fsfm,auc,ffpp,96.0,95.17,-0.83,—,—,—", "fsfm,auc,dfdc,—,90.0,—,—,—,—"]


def compared(low=93.24, high=96.9, visible=None):
    """One cell of FSFM with an interval and a spread over seeds; SBI was printed only."""
    published = {"fsfm": {"auc": {"ffpp": 96.0, "itw": 82.8}}, "sbi": {"auc": {"ffpp": 88.2}}}
    videos = {"scored": {"ffpp": 838}, "unscored": {"ffpp": 2}, "sources": {"ffpp": 140}}
    auc = {"ffpp": 95.17}
    reproduced = {"fsfm": {"auc": auc, "sd": {"auc": {"ffpp": 0.42}}, "videos": videos}}
    columns = ["row", "metric", "set", "low", "high"]
    intervals = pd.DataFrame([("fsfm", "auc", "ffpp", low, high)], columns=columns)
    table = comparison(published, reproduced, intervals)
    return comparison_markdown(table, reproduced, ["Note."], visible)


def test_a_cell_is_one_line_of_published_reproduced_interval_and_spread_over_seeds():
    text = compared()
    tables = tables_of(text)
    known = tables["In-distribution, AUC"]
    assert known["SBI"][0] == "88.2 → —"
    assert known["FSFM"][:2] == ["96.0 → 95.2 [93–97] ± 0.4", "—"]
    assert tables["In-the-wild, AUC"]["FSFM"][1] == "82.8 → —"
    assert [known[name][0] for name in list(known)[-3:]] == ["838", "2", "140"]
    assert f"96.0{NO_BREAK}→{NO_BREAK}95.2{NO_BREAK}[93–97]" in text and "<br>" not in text
    assert text.startswith("Each cell, in percent") and text.endswith("\n\nNote.\n")


def test_an_interval_without_a_width_is_not_printed():
    cell = tables_of(compared(95.17, 95.17))["In-distribution, AUC"]["FSFM"][0]
    assert cell == "96.0 → 95.2 ± 0.4"


def test_the_smallest_visible_difference_is_below_its_column():
    visible = pd.DataFrame([("auc", "ffpp", 7.25)], columns=["metric", "set", "visible"])
    tables = tables_of(compared(visible=visible))
    line = tables["In-distribution, AUC"]["*smallest visible difference*"]
    assert line == ["7.2", "—", "—", "—", "—", "—"]
    other = tables["In-distribution, Balanced accuracy"]["*smallest visible difference*"]
    assert set(other) == {"—"}


def test_what_was_not_run_is_named_with_its_reason():
    rows = {
        "fsfm": {
            "auc": {"ffpp": 95.0, "dfdc": 90.0},
            "videos": {"scored": {"ffpp": 8}, "unscored": {}},
        }
    }
    lines = notes("paper", load().profile("paper"), rows)
    assert "SBI: — (not run in this profile)." in lines
    assert "ITW: — (the authors' own collection, not released)." in lines
    assert "WDF: — (a corpus of this column is missing)." in lines
    assert not [line for line in lines if line.startswith(("FF++", "DFDC", "**"))]


def test_unknown_row_and_empty_folders_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="row 'fsfm_xx' is not a row of Table 3"):
        table3({"fsfm_xx": {}})
    with pytest.raises(FileNotFoundError, match="run the stage score first"):
        read_scores(tmp_path)
    with pytest.raises(FileNotFoundError, match="results/published/scores"):
        read_published(tmp_path)
    write(tmp_path, "fsfm", {})
    with pytest.raises(ValueError, match="fsfm is not named <variant>-<seed>"):
        read_scores(tmp_path)


def test_names_are_the_papers():
    assert list(ROW_NAMES.values())[:4] == ["SBI", "ImageNet pretrained", "FSFM", "FSFM + BA"]


def test_lnclip_is_below_the_papers_ten_rows_and_the_notes_say_that_it_is_not_theirs():
    row = {
        "auc": {"in_distribution": 90.0},
        "bacc": {"in_distribution": 80.0},
        "videos": {"scored": {}, "unscored": {}},
    }
    published = read_published(PUBLISHED)
    averages = tables_of(scenarios(published, {"lnclip": row}, "demo"))
    assert list(averages) == ["Paper, as printed", "Profile demo"]
    assert list(averages["Profile demo"])[2:] == ["LNCLIP-DF"]
    assert averages["Profile demo"]["LNCLIP-DF"] == ["90.0 / 80.0", "—", "—"]
    assert len(averages["Paper, as printed"]) == 2 + 10
    table = tables_of(table3({**published, "lnclip": row}))
    assert [list(part)[12] for part in table.values()] == ["LNCLIP-DF"] * 3
    options = params.load().profile("paper")
    assert any(
        "method of another paper" in line for line in notes("paper", options, {"lnclip": row})
    )
    assert not any("another paper" in line for line in notes("paper", options, {"fsfm": row}))


def test_any_table_as_markdown_with_words_for_keys() -> None:
    table = pd.DataFrame({"row": ["sbi", "other"], "auc": [83.25, float("nan")], "videos": [3, 4]})
    assert markdown(table, {"sbi": "SBI", "auc": "AUC"}) == (
        "| row | AUC | videos |\n| --- | ---: | ---: |\n| SBI | 83.2 | 3 |\n| other | — | 4 |\n"
    )
