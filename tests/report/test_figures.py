"""Figures: same bytes twice, the right data in the axes, Matplotlib's settings left alone."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from deepfake_repro.evaluation.metrics import roc
from deepfake_repro.project.vocabulary import ROW_NAMES
from deepfake_repro.report.figures import (
    COLOURS,
    auc_figure,
    crop_sheet,
    difference_figure,
    faces_figure,
    history_figure,
    picture,
    reliability_figure,
    robustness_figure,
    roc_figure,
    save,
    style,
)
from deepfake_repro.report.method_figures import sphere_figure, years_figure
from deepfake_repro.report.tables import comparison


def curves():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    return {row: roc(labels, rng.random(300) + labels * 0.3) for row in ("fsfm_ba", "imagenet")}


def history(losses):
    epochs = np.arange(1, len(losses) + 1)
    columns = {
        "train_loss": 1 / epochs,
        "validation_loss": losses,
        "active_fraction": 0.5,
        "learning_rate": 1e-4,
    }
    return pd.DataFrame({"epoch": epochs, **columns})


def faces():
    """Make four faces of one corpus and two of another."""
    return pd.DataFrame(
        {
            "dataset": ["ffpp"] * 4 + ["dfdc"] * 2,
            "side": [50.0, 60, 80, 200, 90, 100],
            "score": [0.6, 0.7, 0.8, 0.9, 0.99, 1.0],
        }
    )


def scores(a, b, c):
    return {"auc": {"in_distribution": a, "df40": b, "in_the_wild": c}}


def differences(profile="demo"):
    """Draw FSFM 2 points above the paper on FF++, outside its interval, and 4 below on ITW.

    SBI was not run.
    """
    published = {"sbi": {"auc": {"ffpp": 88.2}}, "fsfm": {"auc": {"ffpp": 96.0, "itw": 82.8}}}
    reproduced = {"fsfm": {"auc": {"ffpp": 98.0, "itw": 78.8}, "bacc": {"ffpp": 90.0}}}
    rows = [("fsfm", "auc", "ffpp", 97.0, 99.0), ("fsfm", "auc", "itw", 70.0, 85.0)]
    intervals = pd.DataFrame(rows, columns=["row", "metric", "set", "low", "high"])
    return difference_figure(comparison(published, reproduced, intervals), profile)


def image(value):
    return np.full((8, 8, 3), value, np.uint8)


def cloud(seed):
    features = np.random.default_rng(seed).normal(size=(20, 8)) + 1
    return features / np.linalg.norm(features, axis=1, keepdims=True), np.arange(20) % 2


MEANS = pd.DataFrame(
    {
        "perturbation": ["none", "jpeg", "jpeg", "blur"],
        "severity": [0.0, 50, 20, 0.5],
        "sbi": [85.0, 83, 80, 70],
        "fsfm_ba": [97.0, 96, 95, 90],
    }
)
BINS = pd.DataFrame({"confidence": [0.2, 0.7], "fakes": [0.1, 0.9], "weight": [0.25, 0.75]})
YEARS = pd.DataFrame(
    {"method": ["sbi", "sbi", "effort"], "year": [2019, 2021, 2019], "auroc": [93.0, 83.2, 95.6]}
)
MAKERS = {
    "roc": lambda: roc_figure(curves()),
    "history": lambda: history_figure(
        {"fsfm": history([0.9, 0.4, 0.6]), "fsfm_ba": history([0.8, 0.7, 0.5])}
    ),
    "crops": lambda: crop_sheet(
        {"real": [image(v) for v in (0, 90, 200)], "fake": [image(255)]}, columns=2
    ),
    "faces": lambda: faces_figure(faces()),
    "differences": differences,
    "auc": lambda: auc_figure(
        {"imagenet": scores(96.5, 78.0, 74.0), "fsfm": scores(96.4, 85.6, 77.7)}
    ),
    "sphere": lambda: sphere_figure({"before": cloud(0), "after": cloud(1)}),
    "robustness": lambda: robustness_figure(MEANS),
    "reliability": lambda: reliability_figure({"fsfm": BINS}),
    "years": lambda: years_figure(YEARS, {"sbi": "SBI", "effort": "Effort"}),
}


@pytest.mark.parametrize("suffix", [".svg", ".png"])
@pytest.mark.parametrize("name", MAKERS)
def test_same_figure_gives_the_same_bytes(name, suffix, tmp_path):
    figure = MAKERS[name]()
    paths = [tmp_path / folder / f"{name}{suffix}" for folder in "abc"]
    save(figure, paths[0])
    save(figure, paths[1])  # the same figure again, then a new one
    save(MAKERS[name](), paths[2])
    contents = {path.read_bytes() for path in paths}
    assert len(contents) == 1
    assert len(contents.pop()) > 1000


def test_other_suffix_is_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"figure\.pdf: name it \.svg or \.png"):
        save(MAKERS["auc"](), tmp_path / "figure.pdf")


def test_each_row_has_one_colour_everywhere():
    assert list(COLOURS) == list(ROW_NAMES) and len(set(COLOURS.values())) == len(COLOURS)
    line = roc_figure(curves()).axes[0].lines[0]
    assert (line.get_label(), to_hex(line.get_color())) == ("FSFM + BA", COLOURS["fsfm_ba"])
    rows = {"sbi": scores(83.2, 67.6, 65.7), "fsfm_ba": scores(96.6, 86.2, 77.9)}
    bars = auc_figure(rows).axes[0].containers
    assert to_hex(bars[1][0].get_facecolor()) == COLOURS["fsfm_ba"]


def test_bars_end_at_the_average_and_a_missing_one_has_none():
    rows = {"sbi": {"auc": {"in_distribution": 83.2, "in_the_wild": 45.0}}}
    (bars,) = auc_figure(rows).axes[0].containers
    ends = [bar.get_y() + bar.get_height() for bar in bars]
    assert ends[0] == pytest.approx(83.2) and np.isnan(ends[1]) and ends[2] == pytest.approx(45.0)


def test_dot_marks_the_lowest_validation_loss():
    axes = history_figure({"fsfm": history([0.9, 0.4, 0.6])}).axes[1]
    dots = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "o"]
    assert dots == [[[2.0, 0.4]]]


def test_face_sizes_rise_in_steps_to_all_faces():
    sizes, scores_ = faces_figure(faces()).axes
    # The first point is minus infinity.
    steps = {line.get_label(): line.get_xydata()[1:] for line in sizes.lines}
    assert steps["ffpp"].tolist() == [[50, 0.25], [60, 0.5], [80, 0.75], [200, 1]]
    assert steps["dfdc"].tolist() == [[90, 0.5], [100, 1]] and len(scores_.lines) == 2


def test_sphere_shows_three_dimensional_features_up_to_a_rotation():
    features, labels = cloud(0)
    features = features[:, :3] / np.linalg.norm(features[:, :3], axis=1, keepdims=True)
    (axes,) = sphere_figure({"all": (features, labels)}).axes
    clouds = [
        np.stack([np.asarray(one) for one in part._offsets3d], 1) for part in axes.collections[:2]
    ]
    assert [len(part) for part in clouds] == [10, 10]
    points = np.concatenate(clouds)
    truth = np.concatenate([features[labels == 0], features[labels == 1]])
    # A rotation keeps all angles.
    np.testing.assert_allclose(points @ points.T, truth @ truth.T, atol=1e-9)


def test_years_figure_draws_every_figure_of_each_method():
    lines = MAKERS["years"]().axes[0].lines
    assert [(line.get_label(), line.get_ydata().tolist()) for line in lines] == [
        ("SBI", [93.0, 83.2]),
        ("Effort", [95.6]),
    ]


def test_each_panel_of_robustness_begins_with_the_clean_crops() -> None:
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


def test_reliability_draws_each_bin_as_large_as_its_weight() -> None:
    (axes,) = MAKERS["reliability"]().axes
    (dots,) = axes.collections
    assert dots.get_offsets().tolist() == [[0.2, 0.1], [0.7, 0.9]]
    assert dots.get_sizes()[1] == pytest.approx(3 * dots.get_sizes()[0])


def test_a_history_without_triplets_leaves_that_panel_empty():
    grid = history_figure({"lnclip": history([0.9, 0.4]).drop(columns="active_fraction")}).axes
    assert [len(axes.lines) for axes in grid] == [1, 2, 0, 1]


def test_crop_sheet_fills_lines_of_the_requested_width():
    axes = MAKERS["crops"]().axes
    pixels = [[int(crop.get_array()[0, 0, 0]) for crop in panel.images] for panel in axes]
    assert pixels == [[0], [90], [200], [], [255], []]
    names = [text.get_text() for panel in axes for text in panel.texts if text.get_text()]
    assert names == ["real", "fake"]
    assert len(crop_sheet({"real": [image(0)]}, columns=1).axes) == 1
    with pytest.raises(ValueError, match="no image"):
        crop_sheet({"real": []})


def test_heat_map_shows_each_difference_and_what_was_not_run():
    figure = differences()
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["SBI", "FSFM"]
    cells = {text.get_position(): (text.get_text(), text.get_fontweight()) for text in panel.texts}
    # ITW is the eleventh column.
    assert cells == {(0, 1): ("+2.0", "bold"), (10, 1): ("-4.0", "normal")}
    drawn = panel.images[0]
    assert drawn.get_clim() == (-4, 4) and drawn.get_array().mask.sum() == 2 * 13 - 2
    above, below = (drawn.cmap(drawn.norm(value))[:3] for value in (4, -4))
    assert above[2] > above[0] and below[0] > below[2]  # purple above the paper, orange below
    assert "no reproduction" in figure.get_suptitle() and not differences("paper").get_suptitle()


def test_a_picture_of_few_colours_is_smaller_and_the_same_each_time():
    small = picture(differences(), colours=64)
    again = picture(differences(), colours=64)
    full = picture(differences())
    assert small.data == again.data and len(small.data) < len(full.data)


def test_the_callers_settings_are_left_alone():
    before = dict(matplotlib.rcParams)
    with style():
        assert matplotlib.rcParams["svg.hashsalt"] == "deepfake-repro"
    MAKERS["roc"]()
    assert dict(matplotlib.rcParams) == before
