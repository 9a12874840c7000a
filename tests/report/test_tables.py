"""Table 3 in the paper's shape, means over seeds, published beside reproduced."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.project import params
from deepfake_repro.project.params import load
from deepfake_repro.project.vocabulary import ROW_NAMES, SET_NAMES, SETS
from deepfake_repro.report.tables import (
    comparison,
    comparison_markdown,
    csv,
    markdown,
    notes,
    protocols,
    read_published,
    read_scores,
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


def test_published_table_is_the_papers():
    lines = table3(read_published(PUBLISHED)).splitlines()
    assert [name for name in cells(lines[0]) if name] == [
        "In-distribution",
        "Out-of-distribution",
        "In-the-wild",
    ]
    assert cells(lines[2])[0] == "**AUC (%)**" and cells(lines[2])[1] == "**FF++**"
    # Two rows as printed in the paper, one of each block.
    assert cells(lines[6]) == (
        [
            "FSFM + BA",
            "96.9",
            "99.9",
            "97.0",
            "99.6",
            "89.5",
            "96.6",
            "95.3",
            "79.4",
            "86.2",
            "92.7",
            "83.7",
            "57.4",
            "77.9",
        ]
    )
    assert cells(lines[23]) == (
        [
            "FSFM + Att_dataset + BA",
            "93.5",
            "99.6",
            "92.3",
            "95.5",
            "78.7",
            "91.9",
            "77.4",
            "58.3",
            "66.5",
            "84.5",
            "68.1",
            "56.6",
            "69.7",
        ]
    )
    assert len(lines) == 2 + 11 + 11
    assert {len(cells(line)) for line in lines} == {14}


def test_rows_come_in_the_papers_order_and_missing_cells_are_dashes():
    text = table3(
        {"fsfm_ba": {"auc": {"itw": 61.25}}, "sbi": {}}, ["Demo profile.", "ITW is private."]
    )
    table, *notes = text.split("\n\n")
    lines = table.splitlines()
    assert [cells(line)[0] for line in lines[3:5]] == ["SBI", "FSFM + BA"]
    assert cells(lines[3])[1:] == ["—"] * 13
    assert cells(lines[4])[11] == "61.2" and cells(lines[4]).count("—") == 12
    assert [note.strip() for note in notes] == ["Demo profile.", "ITW is private."]


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


def test_a_cell_shows_published_reproduced_difference_interval_and_spread_over_seeds():
    published = {"fsfm": {"auc": {"ffpp": 96.0, "itw": 82.8}}, "sbi": {"auc": {"ffpp": 88.2}}}
    counts = {"scored": {"ffpp": 838}, "unscored": {"ffpp": 2}}
    reproduced = {"fsfm": {"auc": {"ffpp": 95.17}, "sd": {"auc": {"ffpp": 0.42}}, "videos": counts}}
    columns = ["row", "metric", "set", "low", "high"]
    intervals = pd.DataFrame([("fsfm", "auc", "ffpp", 93.24, 96.9)], columns=columns)
    text = comparison_markdown(comparison(published, reproduced, intervals), reproduced, ["Note."])
    lines = [cells(line) for line in text.splitlines()]
    assert lines[2][:2] == ["SBI", "88.2 → —"]
    assert lines[3][:2] == ["FSFM", "96.0 → 95.2<br>-0.8<br>[93.2, 96.9]<br>± 0.4"]
    assert lines[3][11] == "82.8 → —" and lines[3][2] == "—"
    assert lines[4][:3] == ["*videos scored*", "838", ""] and lines[5][:3] == [
        "*without a score*",
        "2",
        "",
    ]
    assert text.endswith("\n\nNote.\n")


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
    lines = scenarios(published, {"lnclip": row}, "demo").splitlines()
    assert cells(lines[-1])[0] == "LNCLIP-DF" and cells(lines[-1])[1:] == ["—"] * 3 + [
        "90.0 / 80.0",
        "—",
        "—",
    ]
    assert len(lines) == 2 + 11
    table = table3({**published, "lnclip": row}).splitlines()
    assert cells(table[13])[0] == cells(table[25])[0] == "LNCLIP-DF"
    options = params.load().profile("paper")
    assert any(
        "method of another paper" in line for line in notes("paper", options, {"lnclip": row})
    )
    assert not any("another paper" in line for line in notes("paper", options, {"fsfm": row}))


def test_a_row_with_its_own_protocol_is_shown_under_both():
    own = {"auc": {"itw": 100.0}, "bacc": {"itw": 75.0}}
    rows = {
        "fsfm": {"auc": {"itw": 1.0}},
        "sbi": {"auc": {"itw": 50.0}, "bacc": {"itw": 25.0}, "own_protocol": own},
    }
    lines = protocols(rows).splitlines()
    column = 1 + list(SET_NAMES).index("itw")
    assert [cells(line)[column] for line in lines] == [
        "ITW",
        "---:",
        "50.0",
        "100.0",
        "25.0",
        "75.0",
    ]
    assert all(cells(line)[0].startswith("SBI, ") for line in lines[2:])


def test_any_table_as_markdown_with_words_for_keys() -> None:
    table = pd.DataFrame({"row": ["sbi", "other"], "auc": [83.25, float("nan")], "videos": [3, 4]})
    assert markdown(table, {"sbi": "SBI", "auc": "AUC"}) == (
        "| row | AUC | videos |\n| --- | ---: | ---: |\n| SBI | 83.2 | 3 |\n| other | — | 4 |\n"
    )
