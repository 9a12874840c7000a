"""What the report says beside Table 3: protocols, parts of test sets, the shortcut audit."""

from __future__ import annotations

import pandas as pd
import pytest

from deepfake_repro.project.layout import PAPER, Layout
from deepfake_repro.report.details import (
    FEATURE_NAMES,
    LIMIT,
    audit_notes,
    breakdown_markdown,
    protocols,
)
from deepfake_repro.report.scores import read_audit

SCORES = {"auc": {"itw": 50.0}, "bacc": {"itw": 25.0}}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_with_its_own_protocol_is_shown_under_both_where_they_differ() -> None:
    own = {"auc": {"itw": 100.0}, "bacc": {"itw": 75.0}}
    text = protocols({"fsfm": {"auc": {"itw": 1.0}}, "sbi": {**SCORES, "own_protocol": own}})
    lines = [cells(line) for line in text.splitlines()]
    column = 1 + list(PAPER.names).index("itw")
    values = [line[column] for line in lines]
    assert values == ["ITW", "---:", "50.0", "100.0", "25.0", "75.0"]
    assert [line[0] for line in lines[2:4]] == [
        "SBI, AUC (%), mean over all faces",
        "SBI, AUC (%), own protocol",
    ]


def test_what_both_protocols_give_alike_is_said_once() -> None:
    own = {"auc": {"itw": 100.0}, "bacc": {"itw": 25.0}}
    text = protocols({"sbi": {**SCORES, "own_protocol": own}})
    names = [cells(line)[0] for line in text.splitlines()[2:]]
    assert names[2:] == ["SBI, Balanced accuracy (%), either protocol"]
    same = protocols({"sbi": {**SCORES, "own_protocol": SCORES}})
    assert same.startswith("SBI: the mean over all faces and its own protocol") and "|" not in same
    assert len(same.splitlines()) == 1
    assert protocols({"fsfm": SCORES}) == "No row here has a protocol of its own.\n"


def test_the_columns_are_those_of_the_profile() -> None:
    layout = Layout({"openforensics": ("openforensics",)})
    row = {"auc": {"openforensics": 60.0}, "bacc": {"openforensics": 50.0}}
    own = {"auc": {"openforensics": 61.0}, "bacc": {"openforensics": 50.0}}
    head, _, *lines = protocols({"sbi": {**row, "own_protocol": own}}, layout).splitlines()
    assert cells(head) == ["", "OpenForensics"]
    assert [cells(line)[1] for line in lines] == ["60.0", "61.0", "50.0"]


def test_each_test_set_with_several_parts_has_a_table_the_hardest_first() -> None:
    manipulations = pd.DataFrame(
        [
            ("celebdf2", "FS", "deepfake", 9, 9, 10.0, 20.0),
            ("df40", "FS", "easy", 8, 3, 100.0, 95.8),
            ("df40", "RE", "hard", 8, 2, 12.5, 100.0),
        ],
        columns=["set", "category", "manipulation", "reals", "fakes", "sbi", "fsfm"],
    )
    groups = pd.DataFrame(
        [("fakeavceleb", "Asian, men", 2, 3, 50.0, 60.0), ("fakeavceleb", "African", 1, 3, 40, 1)],
        columns=["set", "group", "reals", "fakes", "sbi", "fsfm"],
    )
    text = breakdown_markdown(manipulations, groups)
    tables = [cells(line) for line in text.splitlines() if line.startswith("|")]
    assert tables == [
        ["manipulation", "category", "fakes", "SBI", "FSFM"],
        ["---", "---", "---:", "---:", "---:"],
        ["hard", "RE", "2", "12", "100"],
        ["easy", "FS", "3", "100", "96"],
        ["group", "reals", "fakes", "SBI", "FSFM"],
        ["---", "---:", "---:", "---:", "---:"],
        ["African", "1", "3", "40", "1"],
        ["Asian, men", "2", "3", "50", "60"],
    ]
    assert "### DF40, 8 reals\n" in text and "### FakeAV\n" in text
    assert "With one manipulation only, so that there is nothing to compare: CDF." in text


def test_one_group_is_a_sentence_and_a_cell_without_a_value_a_dash() -> None:
    parts = pd.DataFrame(
        [("df40", "a", 8, 3, 50.0, None), ("df40", "b", 8, 3, 60.0, 70.0)],
        columns=["set", "manipulation", "reals", "fakes", "sbi", "fsfm"],
    )
    group = pd.DataFrame(
        [("fakeavceleb", "all", 8, 3, 50.0, 60.0)],
        columns=["set", "group", "reals", "fakes", "sbi", "fsfm"],
    )
    text = breakdown_markdown(parts, group)
    assert "| a | 3 | 50 | — |" in text
    assert text.endswith("With one group only, so that there is nothing to compare: FakeAV.\n")
    assert breakdown_markdown(parts, group[:0]).endswith("No test set names a group.\n")


def audit(**values: float) -> pd.DataFrame:
    rest = dict.fromkeys(FEATURE_NAMES, 0.5)
    return pd.DataFrame([{"dataset": "ffpp"} | rest, {"dataset": "sbi"} | rest | values])


def test_a_shortcut_is_named_with_its_corpus_and_value() -> None:
    (note,) = audit_notes(audit(file_bytes=0.71, jpeg_quality=0.9))
    assert f"with an AUC above {LIMIT}.**" in note
    assert "self-blended pairs: JPEG quantisation 0.90, file size 0.71. A result" in note
    assert "FF++" not in note


def test_without_a_shortcut_the_highest_value_is_named() -> None:
    (note,) = audit_notes(audit(colour=LIMIT))
    assert note.startswith("Shortcut audit: no property besides the face")
    assert note.endswith("(highest: colour in self-blended pairs, 0.65).")


def test_empty_cells_of_an_audit_are_no_finding(tmp_path) -> None:
    audit(pixels=float("nan")).to_csv(tmp_path / "shortcuts.csv", index=False)
    (note,) = audit_notes(read_audit(tmp_path))
    assert "nan" not in note and note.endswith("0.50).")


@pytest.mark.parametrize("content", ["", "dataset\n"], ids=["no file", "not audited"])
def test_a_profile_without_an_audit_says_so(tmp_path, content: str) -> None:
    if content:
        (tmp_path / "shortcuts.csv").write_text(content)
    (note,) = audit_notes(read_audit(tmp_path))
    assert note.startswith("Shortcut audit: not run for this profile")
