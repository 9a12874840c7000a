"""The palette: enough contrast on white, distinct for any colour vision, one look per row."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from deepfake_repro.project.vocabulary import ROW_NAMES
from deepfake_repro.report.drawing.palette import (
    FAMILY_COLOURS,
    GREY,
    PALETTE,
    colour,
    dashes,
    family,
    marker,
    row_name,
)

# Linear RGB as seen without one kind of cone (Machado et al. 2009, severity 1).
VISIONS = {
    "normal": np.eye(3),
    "protan": [
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ],
    "deutan": [
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ],
    "tritan": [
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ],
}
TO_XYZ = np.array(
    [
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    ]
)
DISTINCT = 35
"""CIE76 distance; seaborn's "colorblind" palette of ten has pairs at 11."""


def linear(name):
    rgb = np.array(to_rgb(name))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* of linear RGB, white point of sRGB."""
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / TO_XYZ.sum(1)
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_lab_of_known_colours():
    assert lab(np.ones(3)) == pytest.approx([100, 0, 0], abs=0.01)
    assert lab(linear("#ff0000")) == pytest.approx([53.24, 80.09, 67.20], abs=0.02)


@pytest.mark.parametrize("name", [*PALETTE, GREY])
def test_contrast_on_white_is_at_least_three(name):
    assert 1.05 / (TO_XYZ[1] @ linear(name) + 0.05) >= 3


@pytest.mark.parametrize("vision", VISIONS)
def test_any_two_colours_are_distinct(vision):
    seen = [lab(np.array(VISIONS[vision]) @ linear(name)) for name in PALETTE]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert len(PALETTE) == 7
    assert min(distances) > DISTINCT


def test_two_rows_look_different():
    looks = {(colour(row), marker(row)) for row in ROW_NAMES}
    lines = {(colour(row), dashes(row)) for row in ROW_NAMES}
    assert len(looks) == len(lines) == len(ROW_NAMES)


def test_a_family_has_one_colour_and_batch_all_another_marker():
    assert colour("fsfm_category") == colour("fsfm_category_ba") == FAMILY_COLOURS["fsfm_category"]
    assert (marker("fsfm"), marker("fsfm_ba")) == ("o", "^")
    assert (dashes("fsfm"), dashes("fsfm_ba")) == ("-", "--")
    assert family("fsfm_hphn") == family("fsfm_ephn") == "triplet"
    assert family("fsfm_category_ba") == "fsfm_category"
    assert family("lnclip") == "lnclip"


def test_what_is_no_row_takes_the_palette_in_its_order():
    assert family("dfdc") is None and row_name("dfdc") == "dfdc"
    assert [colour("dfdc", number) for number in (0, 8)] == [PALETTE[0], PALETTE[1]]
