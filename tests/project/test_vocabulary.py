"""Tests that the vocabulary and ``params.yaml`` use the same names."""

from __future__ import annotations

from pathlib import Path

from deepfake_repro.project import params
from deepfake_repro.project.layout import PAPER
from deepfake_repro.project.vocabulary import (
    FINETUNE,
    LNCLIP,
    PAPER_ROWS,
    ROW_NAMES,
    SBI,
    SCENARIOS,
    SETS,
    SHORT_SCENARIOS,
    method_of,
)

PARAMS = params.load(Path(__file__).resolve().parents[2] / "params.yaml")
RUN = PARAMS.run


def test_every_row_of_the_run_is_trained_by_the_list_of_its_method() -> None:
    trained = [*RUN.finetune, *RUN.sbi, *RUN.lnclip]
    assert len(set(trained)) == len(trained) and set(RUN.variants) <= set(trained)
    for method in (FINETUNE, SBI, LNCLIP):
        assert {method_of(row) for row in getattr(RUN, method)} <= {method}


def test_names_are_those_of_params_and_the_papers_rows_are_ten() -> None:
    assert dict(ROW_NAMES) == PARAMS.row_names and len(set(ROW_NAMES.values())) == len(ROW_NAMES)
    assert {"none": "clean", **PARAMS.row_names} == {"none": "clean"} | ROW_NAMES
    assert len(PAPER_ROWS) == 10 and set(PAPER_ROWS) <= set(ROW_NAMES)
    assert PAPER_ROWS[:2] == tuple(PAPER_ROWS)[:2]


def test_scenarios_and_averages_are_columns_of_table_3() -> None:
    assert SCENARIOS.keys() == SHORT_SCENARIOS.keys() and {*SCENARIOS, *PAPER.averages} <= set(SETS)
