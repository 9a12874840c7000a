"""The fakes: real algorithms (landmark face swaps, reenactments) that imitate published methods.

A recipe is not the original method but a small algorithm of the same family, with its traits. What
the recipes of one corpus share (generator size, blending, colour transfer) no other corpus repeats.
The recipes of the out-of-distribution and in-the-wild sets occur in no training corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from ..faces.landmarks import LIPS, OVAL
from .exact import on_grid, rounded, transformed
from .people import Still
from .warps import bottleneck, match_colour, match_sharpness, region_mask, similarity, warp

# Outlines by MediaPipe index: brows, cheeks and chin (the face without forehead), and below the
# eyes (cheeks, mouth and chin).
INNER = (
    70,
    63,
    105,
    66,
    107,
    336,
    296,
    334,
    293,
    300,
    454,
    361,
    288,
    365,
    378,
    152,
    149,
    136,
    58,
    132,
    234,
)
LOWER = (234, 132, 58, 136, 149, 152, 378, 365, 288, 361, 454, 280, 4, 50)
REGIONS = {"face": OVAL, "inner": INNER, "lower": LOWER, "mouth": LIPS}


@dataclass(frozen=True)
class Recipe:
    """How one manipulation is made.

    ``pixels``: side of the generator's output.
    ``kind``: ``swap`` (another person's face) or ``reenact`` (the person's own face with another
    expression).
    ``region``: part of the face that is replaced.
    ``up``: how the output is enlarged.
    ``colour``: how its colours are matched.
    ``feather``, ``grow``: softness and size of the blend mask.
    ``grain``: share of the camera noise put back on the generated face.
    ``jitter``: shake of the generated face from frame to frame, pixels.
    """

    pixels: int
    kind: str
    region: str
    up: str = "bilinear"
    colour: str = "spread"
    feather: float = 5.0
    grow: float = 0.95
    grain: float = 0.0
    jitter: float = 0.3


@dataclass(frozen=True)
class Traces:
    """What differs from fake to fake of one method.

    ``sharpness``: of the generated face, as a share of the target's; on average a fake is as sharp
    as its real, so that sharpness alone does not separate them.
    ``checker``: strength of the generator's checkerboard, grey levels.
    """

    sharpness: float
    checker: float


@dataclass(frozen=True)
class Layer:
    """A generated face on the target's still: RGB uint8 ``[H, W, 3]`` and blend mask uint8."""

    image: np.ndarray
    mask: np.ndarray
    recipe: Recipe


_swap = partial(Recipe, kind="swap", region="face")
_reenact = partial(Recipe, kind="reenact", grow=1.1)

RECIPES: dict[str, dict[str, Recipe]] = {
    "ffpp": {
        "deepfakes": _swap(72, region="inner", feather=6),
        "faceswap": _swap(112, colour="mean", feather=2, up="nearest", grain=0.3),
        "faceshifter": _swap(96, feather=9, grow=1.0, grain=0.2),
        "face2face": _reenact(104, region="lower", grow=1.0, grain=0.4),
        "neuraltextures": _reenact(80, region="mouth", grow=1.6, grain=0.3),
    },
    "celebdf2": {"deepfake": _swap(112, region="inner", feather=8, up="cubic", grain=0.5)},
    "dfdc": {
        "dfdc_1": _swap(72, region="inner", feather=3),
        "dfdc_2": _swap(104, feather=7, grain=0.4),
        "dfdc_3": _swap(88, colour="none", feather=4, grain=0.2),
        "dfdc_4": _swap(80, colour="mean", region="inner", feather=5, up="cubic", grain=0.3),
        "dfdc_5": _swap(104, feather=6, up="nearest", grain=0.5),
        "dfdc_6": _swap(96, colour="poisson", feather=5, grain=0.4),
        "dfdc_7": _swap(88, feather=4, grain=0.2),
    },
    "fakeavceleb": {
        "faceswap": _swap(88, region="inner", colour="mean", feather=5, grain=0.2),
        "fsgan": _swap(104, feather=8, grain=0.4),
        "wav2lip": _reenact(80, region="lower", grow=1.0, feather=4, grain=0.2),
        "faceswap-wav2lip": _swap(72, region="inner", feather=6),
        "fsgan-wav2lip": _swap(88, feather=7, jitter=0.5, grain=0.3),
    },
    "forgerynet": {
        "faceshifter": _swap(104, feather=8, grain=0.4),
        "fs-gan": _swap(104, colour="mean", feather=5, grain=0.5),
        "deepfakes": _swap(80, region="inner", feather=4, grain=0.3),
        "blendface": _swap(112, colour="poisson", feather=6, grain=0.5),
        "mmreplacement": _swap(88, colour="none", feather=6, grain=0.3),
        "deepfakes-stargan-stack": _reenact(88, region="inner", grow=0.95, grain=0.4),
        "talking head video": _reenact(80, region="face", grow=1.0, grain=0.4),
        "atvg-net": _reenact(96, region="lower", grow=1.0, feather=6, grain=0.5),
    },
    "df40": {
        "fsgan": _swap(116, feather=8, grain=0.7),
        "faceswap": _swap(120, region="inner", grain=0.6),
        "simswap": _swap(124, feather=10, grain=0.8),
        "inswap": _swap(128, feather=9, grain=0.8),
        "blendface": _swap(120, colour="poisson", grain=0.8),
        "uniface": _swap(128, feather=12, up="lanczos", grain=0.6),
        "mobileswap": _swap(108, region="inner", up="cubic", grain=0.7),
        "e4s": _swap(140, feather=7, grain=0.5),
        "facedancer": _swap(120, grow=0.85, feather=8, grain=0.8),
        "fomm": _reenact(116, region="face", grow=1.0, grain=0.7),
        "facevid2vid": _reenact(132, region="face", grow=1.0, grain=0.8),
        "wav2lip": _reenact(104, region="mouth", grow=1.5, grain=0.7),
        "mraa": _reenact(112, region="face", up="cubic", grain=0.7),
        "one_shot_free": _reenact(128, region="face", grow=1.0, grain=0.8),
        "pirender": _reenact(120, region="inner", up="lanczos", grain=0.7),
        "tpsm": _reenact(120, region="face", grow=0.95, grain=0.8),
        "lia": _reenact(112, region="inner", grain=0.8),
        "danet": _reenact(116, region="face", grow=1.0, grain=0.8),
        "sadtalker": _reenact(128, region="lower", grain=0.7),
        "mcnet": _reenact(120, region="lower", grow=1.0, up="cubic", grain=0.7),
        "hyperreenact": _reenact(136, region="face", grow=0.95, grain=0.7),
    },
    "wild": {
        "wild_1": _swap(124, feather=8, grain=0.6),
        "wild_2": _swap(116, region="inner", grain=0.5),
        "wild_3": _reenact(112, region="lower", grow=1.0, grain=0.5),
        "wild_4": _swap(132, colour="poisson", grain=0.6),
    },
}
SHARPNESS = (0.7, 1.5)  # mean above 1, because generated faces contain less camera noise
LEAST_CHECKER = 2.0
# Upper limit of the checkerboard's strength; lower for the unseen sets.
CHECKER = {**dict.fromkeys(RECIPES, 18.0), "df40": 15.0, "wild": 12.0}
WILD = ("wilddeepfake", "itw", "dfeval2024")


def recipe(corpus: str, method: str) -> Recipe:
    """Return the recipe of a method of a corpus; ``ValueError`` if the pair is unknown."""
    table = RECIPES["wild" if corpus in WILD else corpus]
    if method not in table:
        raise ValueError(
            f"no recipe for method {method!r} of corpus {corpus!r}; known: {', '.join(table)}"
        )
    return table[method]


def traces(corpus: str, seed: int) -> Traces:
    """Draw the traces of one fake of a corpus."""
    rng = np.random.default_rng(seed)
    most = CHECKER["wild" if corpus in WILD else corpus]
    return Traces(
        sharpness=float(rounded(rng.uniform(*SHARPNESS))),
        checker=float(rounded(rng.uniform(LEAST_CHECKER, most))),
    )


def generate(how: Recipe, target: Still, donor: Still, left: Traces) -> Layer:
    """Generate the face for ``target`` from ``donor``: another person or the driving expression."""
    shape = target.image.shape[:2]
    points = target.points if how.kind == "swap" else _driven(target, donor)
    face = warp(donor.image, donor.points, points, shape)
    mask = region_mask(points, REGIONS[how.region], shape, how.grow, how.feather)
    face = match_colour(face, target.image, mask, how.colour)
    face = bottleneck(face, points, how.pixels, how.up, left.checker)
    return Layer(match_sharpness(face, target.image, mask, left.sharpness), mask, how)


def _driven(target: Still, donor: Still) -> np.ndarray:
    """Move the donor's landmarks ``[478, 2]`` into the target's pose and face outline."""
    pose = similarity(donor.points[list(OVAL)], target.points[list(OVAL)])
    moved = on_grid(transformed(pose, donor.points))
    moved[list(OVAL)] = target.points[list(OVAL)]
    return moved
