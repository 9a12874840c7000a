"""Rollout against timm's attention, gradients against finite differences, maps against views."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepfake_repro.scoring import saliency
from deepfake_repro.training.detector import Detector, build_detector
from deepfake_repro.training.transforms import Normalisation

NORM = Normalisation((0.5,) * 3, (0.5,) * 3)


@pytest.fixture(scope="module")
def vit() -> Detector:
    torch.manual_seed(0)
    return build_detector(
        "vit_small_patch14_dinov2", 2, depth=3, input_size=56, head_std=0.5
    ).eval()


def test_rollout_is_the_product_of_timms_own_attention(vit: Detector) -> None:
    images = torch.randn(2, 3, 56, 56)
    seen = []
    for block in vit.encoder.blocks:
        # Without the fused kernel the softmaxed attention passes through the module attn_drop.
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(
            lambda module, inputs, output: seen.append(inputs[0])
        )
    with torch.no_grad():
        vit.encoder.forward_features(images)
    for image in range(2):
        total = np.eye(17)
        for attention in seen[:3]:
            total = (0.5 * attention[image].mean(0).numpy() + 0.5 * np.eye(17)) @ total
        expected = total[1:, 1:].mean(0).reshape(4, 4)
        assert saliency.rollout(vit.encoder, images)[image].numpy() == pytest.approx(
            expected, abs=1e-6
        )


def test_gradient_is_the_finite_difference() -> None:
    torch.manual_seed(0)
    network = build_detector("efficientnet_b0", 2, head_std=0.5).eval().double()
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    slopes = saliency.gradient(network, images)

    def score(change: torch.Tensor) -> float:
        with torch.no_grad():
            return network(images + change)[1].softmax(-1)[0, 1].item()

    expected = 0.0
    for colour in range(3):
        step = torch.zeros_like(images)
        step[0, colour, 5, 9] = 1e-4
        expected += abs(score(step) - score(-step)) / 2e-4
    assert slopes[0, 5, 9].item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("views", ["windows", "fsfm", "lnclip"])
def test_maps_are_placed_where_the_views_came_from(
    vit: Detector, views: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use a network that sees bright pixels only: the map must show the bright part of the crop."""
    crop = np.zeros((128, 128, 3), np.uint8)
    crop[64:96, 32:64] = 255
    monkeypatch.setattr(
        saliency,
        "rollout",
        lambda encoder, images: torch.nn.functional.avg_pool2d(images.mean(1), 14),
    )
    (heat,) = saliency.saliency(vit, [crop], views, 56, NORM)
    assert heat.shape == (128, 128) and heat.min() == 0 and heat.max() == 1
    rows, columns = np.nonzero(heat > 0.6)
    assert abs(rows.mean() - 80) < 8 and abs(columns.mean() - 48) < 8


@pytest.mark.parametrize("views", ["windows", "fsfm"])
def test_the_map_of_a_crop_does_not_depend_on_those_beside_it(vit: Detector, views: str) -> None:
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 256, (side, side, 3), np.uint8) for side in (64, 128, 96)]
    together = saliency.saliency(vit, crops, views, 56, NORM)
    for crop, heat in zip(crops, together, strict=True):
        (alone,) = saliency.saliency(vit, [crop], views, 56, NORM)
        assert heat == pytest.approx(alone, abs=1e-5)
