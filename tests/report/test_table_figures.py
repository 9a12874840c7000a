"""Figures of Table 3: the right data in the axes, letters of a phone's size, findings in words."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from deepfake_repro.project.vocabulary import SCENARIOS
from deepfake_repro.report.drawing.curves import scenario_curves
from deepfake_repro.report.drawing.palette import colour
from deepfake_repro.report.drawing.table_figures import (
    averages_figure,
    difference_figure,
    reliability_figure,
    robustness_figure,
    roc_figure,
)
from deepfake_repro.report.figures import WIDTH, description, save
from deepfake_repro.report.scores import read_scores
from deepfake_repro.report.tables import comparison
from support.letters import on_a_phone
from support.reports import RUNS

MEANS = pd.DataFrame(
    {
        "perturbation": ["none", "jpeg", "jpeg", "blur"],
        "severity": [0.0, 50, 20, 0.5],
        "sbi": [85.0, 83, 80, 70],
        "fsfm_ba": [97.0, 96, 95, 90],
    }
)
BINS = pd.DataFrame({"confidence": [0.2, 0.7], "fakes": [0.1, 0.9], "weight": [0.25, 0.75]})
INTERVALS = pd.DataFrame(
    [("fsfm_ba", "auc", "df40", 80.0, 91.0), ("sbi", "auc", "df40", 67.6, 67.6)],
    columns=["row", "metric", "set", "low", "high"],
)


def scores(a, b, c):
    return {"auc": {"in_distribution": a, "df40": b, "in_the_wild": c}}


ROWS = {"sbi": scores(83.2, 67.6, 65.7), "fsfm_ba": scores(96.6, 86.2, 77.9)}


def differences(profile="demo"):
    """Draw FSFM 2 points above the paper on FF++, outside its interval, and 4 below on ITW.

    SBI was not run.
    """
    published = {"sbi": {"auc": {"ffpp": 88.2}}, "fsfm": {"auc": {"ffpp": 96.0, "itw": 82.8}}}
    reproduced = {"fsfm": {"auc": {"ffpp": 98.0, "itw": 78.8}, "bacc": {"ffpp": 90.0}}}
    rows = [("fsfm", "auc", "ffpp", 97.0, 99.0), ("fsfm", "auc", "itw", 70.0, 85.0)]
    intervals = pd.DataFrame(rows, columns=["row", "metric", "set", "low", "high"])
    return difference_figure(comparison(published, reproduced, intervals), profile)


def curves():
    runs = {row: pd.read_csv(RUNS / f"{row}-0" / "videos.csv") for row in ("fsfm_ba", "imagenet")}
    return {row: scenario_curves(videos) for row, videos in runs.items()}


MAKERS = {
    "averages": lambda: averages_figure(ROWS, INTERVALS),
    "all_averages": lambda: averages_figure(read_scores(RUNS)),
    "roc": lambda: roc_figure(curves()),
    "differences": differences,
    "robustness": lambda: robustness_figure(MEANS),
    "reliability": lambda: reliability_figure({"fsfm": BINS}),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_phone_shows_letters_of_eight_pixels(name):
    figure = MAKERS[name]()
    assert len(description(figure)) > 40
    assert figure.get_tightbbox().width <= WIDTH + 0.3
    assert on_a_phone(figure) >= 8


@pytest.mark.parametrize("name", ["averages", "robustness"])
def test_the_same_figure_gives_the_same_bytes_and_says_its_finding(name, tmp_path):
    for folder in "ab":
        save(MAKERS[name](), tmp_path / folder / "figure.svg")
    first, second = ((tmp_path / folder / "figure.svg").read_bytes() for folder in "ab")
    assert first == second and b"<desc>" in first


def dots(axes):
    return {
        line.get_label(): line.get_xydata().tolist()
        for line in axes.lines
        if line.get_marker() in ("o", "^")
    }


def test_a_dot_is_an_average_and_a_line_its_interval():
    panels = averages_figure(ROWS, INTERVALS).axes
    assert [dots(axes) for axes in panels] == [
        {"SBI": [[83.2, 0]], "FSFM + BA": [[96.6, 1]]},
        {"SBI": [[67.6, 0]], "FSFM + BA": [[86.2, 1]]},
        {"SBI": [[65.7, 0]], "FSFM + BA": [[77.9, 1]]},
    ]
    lines = [line for line in panels[1].lines if len(line.get_xdata()) == 2]
    (interval,) = lines  # an interval without a width is not drawn, and there is no baseline
    assert interval.get_xydata().tolist() == [[80, 1], [91, 1]]
    assert to_hex(interval.get_color()) == colour("fsfm_ba")
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["SBI", "FSFM + BA"]


def test_a_missing_average_has_no_dot_and_no_words():
    figure = averages_figure({"sbi": {"auc": {"in_distribution": 83.2}}})
    assert [len(dots(axes)) for axes in figure.axes] == [1, 0, 0]
    words = description(figure)
    assert "In-distribution: highest SBI, 83.2 %" in words and "wild" not in words


def test_the_finding_names_the_best_row_with_its_interval():
    words = description(averages_figure(ROWS, INTERVALS))
    assert "Out-of-distribution: highest FSFM + BA, 86.2 % (interval 80–91)" in words
    assert "lowest SBI, 65.7 %" in words


def test_the_roc_legend_has_the_averages_of_table_3():
    figure = MAKERS["roc"]()
    (legend,) = figure.legends
    shown = {text.get_text() for text in legend.get_texts()}
    rows = read_scores(RUNS)
    for row, name in (("fsfm_ba", "FSFM + BA"), ("imagenet", "ImageNet pretrained")):
        (text,) = (text for text in shown if text.startswith(f"{name}: "))
        areas = [float(area) for area in text.partition(": ")[2].split(" · ")]
        expected = [rows[row]["auc"][key] for key in SCENARIOS]
        assert areas == pytest.approx(expected, abs=1)


def test_each_panel_of_robustness_begins_with_the_clean_crops():
    panels = MAKERS["robustness"]().axes
    drawn = [
        {line.get_label(): line.get_ydata().tolist() for line in axes.lines[:-1]}
        for axes in panels[:2]
    ]
    assert drawn == [
        {"SBI": [85, 83, 80], "FSFM + BA": [97, 96, 95]},
        {"SBI": [85, 70], "FSFM + BA": [97, 90]},
    ]
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["clean", "50", "20"]
    assert not any(axes.axison for axes in panels[2:])


def test_reliability_draws_each_bin_as_large_as_its_weight():
    (axes,) = MAKERS["reliability"]().axes
    (bins,) = axes.collections
    assert bins.get_offsets().tolist() == [[0.2, 0.1], [0.7, 0.9]]
    assert bins.get_sizes()[1] == pytest.approx(3 * bins.get_sizes()[0])


def test_heat_map_shows_each_difference_and_what_was_not_run():
    figure = differences()
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["SBI", "FSFM"]
    texts = {text.get_position(): text.get_text() for text in panel.texts}
    assert texts == {(0, 1): "+2", (10, 1): "-4"}  # ITW is the eleventh column
    drawn = panel.images[0]
    assert drawn.get_clim() == (-4, 4) and drawn.get_array().mask.sum() == 2 * 13 - 2
    above, below = (drawn.cmap(drawn.norm(value))[:3] for value in (4, -4))
    assert above[2] > above[0] and below[0] > below[2]  # purple above the paper, orange below
    assert "no reproduction" in figure.get_suptitle() and not differences("paper").get_suptitle()


def test_only_a_reproduction_has_bold_cells():
    weights = [
        [text.get_fontweight() for text in differences(profile).axes[0].texts]
        for profile in ("demo", "paper")
    ]
    assert weights == [["normal", "normal"], ["bold", "normal"]]
    assert not np.isnan(differences("paper").axes[0].images[0].get_clim()).any()
