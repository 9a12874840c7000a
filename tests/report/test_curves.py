"""Averaged ROC curves: their areas are the averages of Table 3."""

import json

import numpy as np
import pandas as pd
import pytest

from deepfake_repro.project.vocabulary import SCENARIOS
from deepfake_repro.report.drawing.curves import area, average_curve, scenario_curves
from support.reports import RUNS


@pytest.mark.parametrize("run", sorted(path.name for path in RUNS.iterdir())[:3])
def test_areas_are_the_cells_of_table_3(run: str) -> None:
    scores = json.loads((RUNS / run / "scores.json").read_text())["auc"]
    curves = scenario_curves(pd.read_csv(RUNS / run / "videos.csv"))
    assert set(curves) == set(SCENARIOS)
    for key, curve in curves.items():
        # videos.csv has four decimals, which can make ties
        assert area(curve) == pytest.approx(scores[key], abs=0.5)
        ends = curve.iloc[[0, -1]].to_numpy().tolist()
        assert ends == [[0, 0], [1, 1]]
        assert (curve.diff().dropna() >= -1e-12).all(axis=None)


def test_the_area_of_an_average_is_the_average_of_the_areas() -> None:
    perfect = (np.array([0.0, 0, 1]), np.array([0.0, 1, 1]))
    chance = (np.array([0.0, 1]), np.array([0.0, 1]))
    steps = (np.array([0.0, 0, 0.5, 0.5, 1]), np.array([0.0, 0.25, 0.25, 1, 1]))
    assert area(average_curve([perfect, chance])) == pytest.approx(75)
    assert area(average_curve([steps])) == pytest.approx(62.5)
    assert area(average_curve([perfect, chance, steps])) == pytest.approx((100 + 50 + 62.5) / 3)


def test_a_scenario_with_a_test_set_missing_has_no_curve() -> None:
    videos = pd.read_csv(RUNS / "fsfm-0" / "videos.csv")
    curves = scenario_curves(videos[videos["dataset"] != "itw"])
    assert set(curves) == set(SCENARIOS) - {"in_the_wild"}
