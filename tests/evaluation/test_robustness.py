"""Perturbations against closed forms and a second library; the study against a plain loop."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from lightning_fabric import Fabric
from scipy.ndimage import gaussian_filter
from torch import nn

from deepfake_repro.evaluation import robustness
from deepfake_repro.evaluation.metrics import auc
from deepfake_repro.project.params import Predict, Robustness
from deepfake_repro.training.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]
PREDICT = Predict(batch_size=3, precision="32-true", devices=1, workers=0)
MANIFEST = Manifest(
    "vit_tiny_patch16_224",
    depth=1,
    input_size=8,
    views="windows",
    classes=("REAL", "FAKE"),
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """A smooth coloured picture with a hard edge, RGB uint8 [64, 64, 3]."""
    y, x = np.mgrid[:64, :64]
    return (
        np.stack([4 * x, 255 - 2 * y, np.where(x > 30, 220, 20)], axis=-1)
        .clip(0, 255)
        .astype(np.uint8)
    )


@pytest.mark.parametrize("name", robustness.PERTURBATIONS)
def test_size_type_and_repetition(name: str, image: np.ndarray) -> None:
    severity = {"jpeg": 30, "resolution": 16, "blur": 1.5, "noise": 10}[name]
    before = image.copy()
    first, again = (robustness.PERTURBATIONS[name](image, severity) for _ in range(2))
    assert first.shape == image.shape and first.dtype == np.uint8
    assert (first == again).all() and (image == before).all() and (first != image).any()


@pytest.mark.parametrize(
    ("name", "severities"),
    [
        ("jpeg", [90, 50, 10]),
        ("resolution", [48, 24, 8]),
        ("blur", [0.5, 1, 4]),
        ("noise", [3, 10, 30]),
    ],
)
def test_severer_is_further_from_the_crop(
    name: str, severities: list[float], image: np.ndarray
) -> None:
    errors = [
        np.square(robustness.PERTURBATIONS[name](image, s).astype(float) - image).mean()
        for s in severities
    ]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_jpeg_keeps_colours_in_their_order_as_pillow_does(image: np.ndarray) -> None:
    memory = io.BytesIO()
    PIL.Image.fromarray(image).save(memory, "jpeg", quality=50)
    other = np.asarray(PIL.Image.open(memory)).astype(float)
    ours = robustness.jpeg(image, 50).astype(float)
    assert np.abs(ours - other).mean() < 2 < np.abs(ours - other[..., ::-1]).mean()


def test_halving_averages_blocks_of_four(image: np.ndarray) -> None:
    """Each pixel interpolates its own 2 x 2 block with the neighbouring ones by 3/4 and 1/4."""
    small = image.reshape(32, 2, 32, 2, 3).mean((1, 3)).round()
    pixel = robustness.resolution(image, 32)[33, 21]  # row 16 with 17, column 10 with 11
    across = 0.75 * small[[16, 17], 10] + 0.25 * small[[16, 17], 11]
    np.testing.assert_allclose(pixel, 0.75 * across[0] + 0.25 * across[1], atol=1.5)


def test_blur_is_scipys(image: np.ndarray) -> None:
    expected = gaussian_filter(image.astype(float), (2, 2, 0), mode="mirror")
    assert np.abs(robustness.blur(image, 2) - expected).max() <= 2


def test_noise_has_the_stated_spread_and_one_pattern_for_all_severities() -> None:
    grey = np.full((224, 224, 3), 128, np.uint8)
    weak, strong = (robustness.noise(grey, deviation).astype(float) - 128 for deviation in (5, 10))
    assert weak.std() == pytest.approx(5, rel=0.02) and abs(weak.mean()) < 0.1
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.99
    other = robustness.noise(grey + 1, 5).astype(float) - 129
    assert abs(np.corrcoef(weak.ravel(), other.ravel())[0, 1]) < 0.05


def test_the_grid_begins_clean_and_an_unknown_perturbation_is_named(image: np.ndarray) -> None:
    grid = list(robustness.conditions(Robustness((), 0, {"blur": (1.0, 2.0), "noise": (5.0,)})))
    assert [(name, severity) for name, severity, _ in grid] == [
        ("none", 0),
        ("blur", 1),
        ("blur", 2),
        ("noise", 5),
    ]
    assert grid[0][2](image) is image
    assert (grid[1][2](image) == robustness.blur(image, 1)).all()  # each keeps its own severity
    with pytest.raises(
        ValueError, match="severities has 'fog': use one of jpeg, resolution, blur, noise"
    ):
        list(robustness.conditions(Robustness((), 0, {"fog": (1.0,)})))


@pytest.mark.parametrize("kept", [1, 2, 3, 7])
def test_crops_are_thinned_evenly_over_each_video(kept: int) -> None:
    rows = pd.DataFrame({"video_id": ["a"] * 6 + ["b"] * 2, "frame": [*range(6), 0, 1]})
    counts = robustness.thin(rows, kept).groupby("video_id").size().to_dict()
    assert counts == {"a": min(kept, 6), "b": min(kept, 2)}
    assert (
        robustness.thin(rows, 3)["frame"].tolist() == [0, 2, 4, 0, 1]
        and robustness.thin(rows, 0) is rows
    )


def test_sets_are_those_named_or_all() -> None:
    sets = {"ffpp": pd.DataFrame({"n": [1]}), "dfdc": pd.DataFrame({"n": [2]})}
    assert robustness.select_sets(sets, ["dfdc"])["n"].tolist() == [2]
    assert robustness.select_sets(sets, [])["n"].tolist() == [1, 2]
    with pytest.raises(
        ValueError, match="sets has 'itw', which has no test crops: use some of ffpp, dfdc"
    ):
        robustness.select_sets(sets, ["itw"])


class Sharpness(nn.Module):
    """A detector that classifies crops with strong horizontal steps as fake."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        steps = images.diff(dim=-1).abs().mean((1, 2, 3))
        return steps[:, None], torch.stack([torch.zeros_like(steps), 40 * (steps - 0.1)], dim=1)


class Store:
    """Crops in memory: the part of a crop store that a dataset uses."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def table(self, _columns: list[str]) -> pd.DataFrame:
        return pd.DataFrame(
            {"video_id": [f"v{n:02d}" for n in range(len(self.images))], "frame": 0, "face": 0}
        )

    def image(self, row: int) -> np.ndarray:
        return self.images[row]


def test_study_equals_a_loop_over_crops() -> None:
    """Fakes are grainier than reals; blur hides that and lowers the AUC, as in a plain loop."""
    rng = np.random.default_rng(0)
    labels = np.arange(16) % 2
    graininess = np.where(labels, 22, 20)[:, None, None, None]
    images = (128 + graininess * rng.standard_normal((16, 16, 16, 3))).clip(0, 255).astype(np.uint8)
    store = Store(images)
    rows = store.table([]).assign(dataset="ffpp", manipulation="any", category="FS", label=labels)
    options = Robustness((), 0, {"blur": (2.0,)})
    table = robustness.score_conditions(
        Sharpness(), MANIFEST, store, rows, options, PREDICT, 0.5, Fabric(accelerator="cpu")
    )
    corners = [(y, x) for y in (1, 7) for x in (1, 7)]  # of four 8-pixel windows in 16 pixels
    for line, change in zip(
        table.itertuples(), (lambda crop: crop, lambda crop: robustness.blur(crop, 2)), strict=True
    ):
        scores = []
        for crop in images:
            views = [
                change(crop)[y : y + 8, x : x + 8].astype(np.float32) / 255 for y, x in corners
            ]
            steps = [np.abs(np.diff(view, axis=1)).mean() for view in views]
            scores.append(
                np.mean([1 / (1 + np.exp(-40 * (step - 0.1))) for step in steps]).round(6)
            )
        assert line.set == "ffpp" and line.auc == round(100 * auc(labels, np.array(scores)), 2)
    assert table["perturbation"].tolist() == ["none", "blur"] and list(table) == robustness.COLUMNS
    assert table["auc"][0] > table["auc"][1]
