"""Tests that the vocabulary and ``params.yaml`` use the same names."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_repro.project import params
from deepfake_repro.project.vocabulary import (
    AVERAGES,
    FINETUNE,
    LNCLIP,
    ROW_NAMES,
    SBI,
    SCENARIOS,
    SETS,
    SHORT_SCENARIOS,
    method_of,
)

RUN = params.load(Path(__file__).resolve().parents[2] / "params.yaml").run


def test_every_row_has_a_name_and_is_trained_by_exactly_one_list() -> None:
    trained = [*RUN.finetune, *RUN.sbi, *RUN.lnclip]
    assert sorted(trained) == sorted(RUN.variants) == sorted(ROW_NAMES) and len(
        set(trained)
    ) == len(trained)


@pytest.mark.parametrize("method", [FINETUNE, SBI, LNCLIP])
def test_the_list_of_a_method_holds_the_rows_of_that_method(method: str) -> None:
    assert list(getattr(RUN, method)) == [row for row in RUN.variants if method_of(row) == method]


def test_scenarios_and_averages_are_columns_of_table_3() -> None:
    assert SCENARIOS.keys() == SHORT_SCENARIOS.keys() and {*SCENARIOS, *AVERAGES} <= set(SETS)
