"""Figures: same bytes twice, the right data in the axes, Matplotlib's settings left alone."""

import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import IPython
import matplotlib
import numpy as np
import pandas as pd
import pytest

from deepfake_repro.report.figures import (
    crop_sheet,
    describe,
    description,
    faces_figure,
    history_figure,
    new_axes,
    picture,
    save,
    style,
)
from deepfake_repro.report.method_figures import sphere_figure, years_figure
from deepfake_repro.report.pages import html


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


def image(value):
    return np.full((8, 8, 3), value, np.uint8)


def cloud(seed):
    features = np.random.default_rng(seed).normal(size=(20, 8)) + 1
    return features / np.linalg.norm(features, axis=1, keepdims=True), np.arange(20) % 2


YEARS = pd.DataFrame(
    {"method": ["sbi", "sbi", "effort"], "year": [2019, 2021, 2019], "auroc": [93.0, 83.2, 95.6]}
)
MAKERS = {
    "history": lambda: history_figure(
        {"fsfm": history([0.9, 0.4, 0.6]), "fsfm_ba": history([0.8, 0.7, 0.5])}
    ),
    "crops": lambda: crop_sheet(
        {"real": [image(v) for v in (0, 90, 200)], "fake": [image(255)]}, columns=2
    ),
    "faces": lambda: faces_figure(faces()),
    "sphere": lambda: sphere_figure({"before": cloud(0), "after": cloud(1)}),
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
        save(MAKERS["faces"](), tmp_path / "figure.pdf")


def dots(axes):
    return [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "o"]


def test_one_row_shows_both_losses_and_a_dot_marks_the_lowest_of_validation():
    losses, active = history_figure({"fsfm": history([0.9, 0.4, 0.6])}).axes
    assert [line.get_label() for line in losses.lines[:2]] == ["training", "validation"]
    assert losses.lines[1].get_ydata().tolist() == [0.9, 0.4, 0.6]
    assert dots(losses) == [[[2.0, 0.4]]]
    assert active.lines[0].get_ydata().tolist() == [0.5] * 3


def test_losses_of_several_rows_are_relative_because_their_heights_cannot_be_compared():
    losses = MAKERS["history"]().axes[0]
    assert losses.lines[0].get_ydata().tolist() == pytest.approx([1, 0.4 / 0.9, 0.6 / 0.9])
    assert dots(losses) == [[[2.0, pytest.approx(0.4 / 0.9)]], [[3.0, pytest.approx(0.5 / 0.8)]]]


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


def test_a_history_without_triplets_leaves_that_panel_empty():
    grid = history_figure({"lnclip": history([0.9, 0.4]).drop(columns="active_fraction")}).axes
    assert [len(axes.lines) for axes in grid] == [3, 0]


def test_crop_sheet_fills_lines_of_the_requested_width():
    axes = MAKERS["crops"]().axes
    pixels = [[int(crop.get_array()[0, 0, 0]) for crop in panel.images] for panel in axes]
    assert pixels == [[0], [90], [200], [], [255], []]
    names = [text.get_text() for panel in axes for text in panel.texts if text.get_text()]
    assert names == ["real", "fake"]
    assert len(crop_sheet({"real": [image(0)]}, columns=1).axes) == 1
    with pytest.raises(ValueError, match="no image"):
        crop_sheet({"real": []})


def test_a_described_figure_carries_its_finding(tmp_path):
    figure = describe(MAKERS["faces"](), "Sizes & scores", "One corpus is < 100 pixels.")
    save(figure, tmp_path / "figure.svg")
    drawing = ElementTree.parse(tmp_path / "figure.svg").getroot()
    svg = "{http://www.w3.org/2000/svg}"
    words = [drawing.find(f"{svg}{tag}").text for tag in ("title", "desc")]
    assert words == ["Sizes & scores", "One corpus is < 100 pixels."]
    alternative = "Sizes & scores. One corpus is < 100 pixels."
    assert html.description(tmp_path / "figure.svg") == alternative
    assert picture(figure)._repr_mimebundle_()[1]["image/png"]["alt"] == alternative
    assert picture(new_axes(1, 1)[0]).alt == "figure"


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("crops", "Crops. 3 real, 1 fake."),
        ("faces", "Median side in pixels: dfdc 95, ffpp 70."),
        ("sphere", "1 where all are one point: before 0."),
    ],
)
def test_a_drawing_says_its_finding(name, finding):
    assert finding in picture(MAKERS[name]()).alt


def test_a_picture_of_few_colours_is_smaller_and_the_same_each_time():
    small = picture(MAKERS["faces"](), colours=16)
    again = picture(MAKERS["faces"](), colours=16)
    full = picture(MAKERS["faces"]())
    assert small.data == again.data and len(small.data) < len(full.data)


def test_the_callers_settings_are_left_alone():
    before = dict(matplotlib.rcParams)
    with style():
        assert matplotlib.rcParams["svg.hashsalt"] == "deepfake-repro"
    MAKERS["faces"]()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("profile", "shown"), [("open", False), ("demo", True), ("other", True)])
def test_a_notebook_of_a_profile_without_faces_shows_none(
    profile: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel with the parameter ``profile`` draws a sentence in place of the crops."""
    shell = SimpleNamespace(user_ns={"profile": profile} if profile != "other" else {})
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    sheet = crop_sheet({"real": [image(0), image(1)]})
    assert bool([axes for axes in sheet.axes if axes.images]) is shown
    if not shown:
        assert "2 crops of real people" in description(sheet)
