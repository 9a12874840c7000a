"""Figures of the lessons: letters of a phone's size, contrast, findings in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepfake_repro.report.drawing.palette import CLASS_COLOURS, PALETTE, group_colours
from deepfake_repro.report.figures import crop_sheet, description
from deepfake_repro.teaching import lessons
from deepfake_repro.teaching.figures import (
    class_sheet,
    distance_figure,
    flow_figure,
    manipulation_figure,
    map_figure,
)
from deepfake_repro.teaching.triplets import (
    kinds_figure,
    mining_figure,
    toy_training_figure,
    triplet_figure,
)
from support.letters import on_a_phone

CORPORA = ["ffpp", "celebdf2", "dfdc", "fakeavceleb", "forgerynet", "df40", "itw", "dfeval2024"]
INDEX = pd.DataFrame(
    {
        "dataset": ["ffpp", "df40", "df40"],
        "split": ["train", "test", "test"],
        "label": 1,
        "manipulation": ["faceswap", "faceswap", "simswap"],
    }
)
POINTS, LABELS = lessons.toy_batch(10, 1.0, seed=43)
NETWORKS = ("start", "FSFM", "FSFM + BA")
HISTORY = pd.DataFrame({"step": [0, 1], "loss": [2, 1.0], "active": [1, 0.25], "distance": 0.5})
GREY = np.zeros((8, 8, 3), np.uint8)
MAKERS = {
    "flow": (flow_figure, "corpora (notebook 01, Section 3.1), crops"),
    "triplet": (lambda: triplet_figure(3, 4, 1.0), "Easy: loss 0.00."),
    "kinds": (lambda: kinds_figure(1.0), "Hard: loss 1.28, semi-hard: loss 0.45, easy: loss 0.00."),
    "mining": (lambda: mining_figure(POINTS, LABELS, 1.0, 0), "of the valid triplets are active."),
    "toy": (
        lambda: toy_training_figure({"batch_all": HISTORY}, 1.0),
        "At the end: BA loss 1.00, 25% active, mean distance 0.50.",
    ),
    "map": (
        lambda: map_figure(dict.fromkeys(NETWORKS, POINTS[:8]), CORPORA),
        "Crops in each panel: 1 of ffpp, 1 of celebdf2",
    ),
    "distances": (
        lambda: distance_figure({name: (np.ones(2), np.full(2, 1.5)) for name in NETWORKS}),
        "start 1.00 and 1.50, FSFM 1.00 and 1.50",
    ),
    "manipulations": (
        lambda: manipulation_figure(INDEX, CORPORA),
        "Manipulations of each corpus: ffpp 1, celebdf2 0",
    ),
    "classes": (lambda: class_sheet({"ffpp": [GREY] * 4}), "Lines: ffpp."),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_phone_shows_letters_of_eight_pixels_and_the_finding_is_in_words(name: str) -> None:
    make, finding = MAKERS[name]
    figure = make()
    assert on_a_phone(figure) >= 8
    assert finding in description(figure)


@pytest.mark.parametrize("columns", [4, 6, 12])
def test_names_in_a_sheet_grow_with_its_width(columns: int) -> None:
    assert on_a_phone(crop_sheet({"real": [GREY] * columns}, columns)) >= 8


@pytest.mark.parametrize(
    "groups", [["fake", "real"], ["real", "FS", "RE", "unknown", "fake"], CORPORA[:7]]
)
def test_a_map_takes_the_palette_and_no_colour_twice(groups: list[str]) -> None:
    """Which any two of are distinct for any colour vision: test_palette."""
    figure = map_figure({"start": POINTS[: len(groups)]}, groups)
    (panel,) = figure.axes
    drawn = {line.get_label(): line.get_color() for line in panel.lines}
    assert drawn == group_colours(groups)
    assert len(set(drawn.values())) == len(groups) and set(drawn.values()) <= set(PALETTE)
    assert all(drawn[name] == CLASS_COLOURS[name] for name in {"real", "fake"} & set(groups))


def test_more_groups_than_colours_differ_in_their_markers() -> None:
    figure = map_figure({"start": POINTS[:8]}, CORPORA)
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines}
    assert len(looks) == len(CORPORA) > len(PALETTE)


def test_a_picture_says_what_it_is_and_its_finding() -> None:
    image = lessons.with_alt(triplet_figure(0.5, 0, 1.0), "A triplet that costs")
    assert image.alt == "A triplet that costs. Hard: loss 1.50."
