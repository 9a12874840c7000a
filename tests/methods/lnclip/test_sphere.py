"""LNCLIP-DF's network, losses and latent augmentation."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn

from deepfake_repro.methods.lnclip import sphere
from deepfake_repro.methods.lnclip.recipe import build_optimizer
from deepfake_repro.methods.lnclip.sphere import (
    CLASSES,
    VIT_L14,
    SphereObjective,
    alignment,
    interpolate,
    parameter_counts,
    slerp,
    trainable,
    tune_layer_norms,
    uniformity,
)
from deepfake_repro.project import params
from deepfake_repro.training import checkpoints
from deepfake_repro.training.manifest import Manifest
from support.toy_lnclip import NORM, PAPER, RECIPE

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.usefixtures("one_thread")


def unit(*shape, seed=0):
    return F.normalize(
        torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64),
        dim=-1,
    )


def test_clip_vit_l14_trains_exactly_the_published_number_of_parameters():
    with torch.device("meta"):
        detector = sphere.build_sphere_detector(PAPER)
    assert parameter_counts(detector) == VIT_L14 == (104_450, 303_181_826)
    assert f"{104_450 / 303_181_826:.4%}" == "0.0345%"
    assert sum(isinstance(module, nn.LayerNorm) for module in detector.modules()) == 50
    head = detector.encoder.head
    assert (head.in_features, head.out_features) == (1024, 2)


def test_layer_norms_are_found_by_type_and_not_by_name():
    detector = sphere.build_sphere_detector(RECIPE)
    block = detector.encoder.blocks[0]
    block.add_module("scale", nn.LayerNorm(4))  # a LayerNorm with another name
    block.add_module("norm_like", nn.Linear(4, 4))  # a name without the type
    tune_layer_norms(detector)
    names = set(trainable(detector))
    assert {
        "encoder.blocks.0.scale.weight",
        "encoder.blocks.0.norm1.bias",
        "encoder.norm.weight",
        "encoder.head.weight",
    } <= names
    assert not any("norm_like" in name or "attn" in name or "pos_embed" in name for name in names)


def test_a_network_without_layer_norms_is_refused():
    detector = sphere.build_sphere_detector(RECIPE)
    for block in detector.encoder.blocks:
        block.norm1, block.norm2 = nn.Identity(), nn.Identity()
    detector.encoder.norm = nn.Identity()
    with pytest.raises(ValueError, match="no LayerNorm to tune"):
        tune_layer_norms(detector)


def test_the_optimiser_holds_the_trainable_parameters_only():
    detector = sphere.build_sphere_detector(RECIPE)
    held = {
        id(p) for group in build_optimizer(detector, RECIPE).param_groups for p in group["params"]
    }
    assert held == {id(p) for p in detector.parameters() if p.requires_grad}
    assert 0 < len(held) < len(list(detector.parameters()))


def test_the_feature_is_the_normalised_class_token_after_the_final_norm():
    detector = sphere.build_sphere_detector(RECIPE).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    encoder = detector.encoder
    tokens = encoder.patch_embed(images)
    tokens = torch.cat([encoder.cls_token.expand(2, -1, -1), tokens], dim=1) + encoder.pos_embed
    expected = F.normalize(encoder.norm(encoder.blocks(tokens))[:, 0], dim=1)
    features, logits = detector(images)
    torch.testing.assert_close(features, expected)
    torch.testing.assert_close(logits, expected @ encoder.head.weight.T + encoder.head.bias)


def test_saved_weights_come_back_as_the_same_network(tmp_path):
    detector = sphere.build_sphere_detector(RECIPE).eval()
    manifest = Manifest.of_run(RECIPE, CLASSES, NORM, 1, method="lnclip")
    checkpoints.save(detector, tmp_path, manifest)
    again, loaded = checkpoints.load(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    assert loaded == manifest and loaded.classes == ("REAL", "FAKE")
    for one, two in zip(again(images), detector(images), strict=True):
        assert torch.equal(one, two)


def test_the_demos_start_fits_and_its_final_norm_is_taken(assets):
    recipe = replace(
        params.load(ROOT / "params.yaml").profile("demo").lnclip,
        start=str(assets / "vit_small_patch14.safetensors"),
    )
    detector, norm = sphere.start_sphere_detector(recipe)
    with safe_open(recipe.start, "pt") as file:
        assert torch.equal(detector.encoder.norm.weight, file.get_tensor("norm.weight"))
        assert torch.equal(detector.encoder.cls_token, file.get_tensor("cls_token"))
    assert norm.mean == (0.485, 0.456, 0.406)


def naive(features, labels, power, temperature):
    """Both losses pair by pair."""
    apart, near = [], []
    for i in range(len(features)):
        for j in range(i + 1, len(features)):
            distance = float((features[i] - features[j]).norm())
            near.append(math.exp(-temperature * distance**2))
            if labels[i] == labels[j]:
                apart.append(distance**power)
    return sum(apart) / len(apart), math.log(sum(near) / len(near))


@pytest.mark.parametrize(("power", "temperature"), [(2.0, 2.0), (1.0, 3.0)])
def test_alignment_and_uniformity_are_the_sums_over_pairs(power, temperature):
    features, labels = unit(9, 5), torch.tensor([0, 1, 1, 0, 0, 1, 0, 1, 1])
    expected = naive(features, labels.tolist(), power, temperature)
    assert alignment(features, labels, power).item() == pytest.approx(expected[0], rel=1e-12)
    assert uniformity(features, temperature).item() == pytest.approx(expected[1], rel=1e-12)


def test_alignment_and_uniformity_of_points_whose_distances_are_known():
    north, east = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])
    square = torch.stack([north, east, -north, -east]).double()
    labels = torch.tensor([0, 1, 0, 1])  # antipodes: squared distance 4; neighbours: 2
    assert alignment(square, labels).item() == pytest.approx(4)
    assert uniformity(square).item() == pytest.approx(
        math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6)
    )
    same = north.expand(4, 2)
    assert (alignment(same, labels).item(), uniformity(same).item()) == (0, 0)


@pytest.mark.parametrize("labels", [[0], [0, 1]])
def test_batches_without_a_pair_give_zero_and_a_zero_gradient(labels):
    features = unit(len(labels), 3).requires_grad_()
    loss = alignment(features, torch.tensor(labels))
    loss = loss + (uniformity(features) if len(labels) == 1 else 0)
    loss.backward()
    assert loss.item() == 0 and not features.grad.any()


def test_the_mean_of_uniformity_is_kept_above_its_floor():
    assert uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 100.0).item() == pytest.approx(
        math.log(1e-6)
    )


def test_gradients_of_both_losses_are_right():
    features, labels = (
        torch.randn(5, 3, dtype=torch.float64, requires_grad=True),
        torch.tensor([0, 1, 0, 1, 1]),
    )
    assert torch.autograd.gradcheck(lambda z: alignment(F.normalize(z, dim=1), labels), features)
    assert torch.autograd.gradcheck(lambda z: uniformity(F.normalize(z, dim=1)), features)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("angle", [0.3, math.pi / 2, 3.0])
def test_slerp_turns_by_the_share_of_the_angle(share, angle):
    start, end = torch.tensor([[1, 0], [math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    point = slerp(start, end, torch.tensor(share, dtype=torch.float64))
    expected = torch.tensor([math.cos(share * angle), math.sin(share * angle)], dtype=torch.float64)
    torch.testing.assert_close(point, expected, atol=1e-9, rtol=0)


def test_slerp_between_equal_or_opposite_points_is_finite_with_its_gradient():
    start = unit(3, 8).float().requires_grad_()
    for end, far in ((start.detach().clone(), 1e-3), (-start.detach(), None)):
        point = slerp(start, end, torch.tensor([0.1, 0.4, 0.9]))
        (gradient,) = torch.autograd.grad(point.sum(), start)
        assert torch.isfinite(point).all() and torch.isfinite(gradient).all()
        if far:
            torch.testing.assert_close(point, start, atol=far, rtol=0)


def test_interpolated_features_lie_between_two_of_their_class():
    features = torch.eye(6).double()[[0, 1, 2, 3, 4, 5]]
    labels = torch.tensor([0, 0, 0, 1, 1, 1])  # real spans the first three axes, fake the others
    torch.manual_seed(0)
    new, classes = interpolate(features, labels, 8)
    assert new.shape == (48, 6) and classes.tolist() == [0] * 24 + [1] * 24
    torch.testing.assert_close(new.norm(dim=1), torch.ones(48).double())
    assert not new[:24, 3:].any() and not new[24:, :3].any()
    assert ((new > 1e-9).sum(1) <= 2).all() and (new >= 0).all()
    assert (
        (new > 1e-9).sum(1) == 2
    ).float().mean() > 0.4  # two thirds have another partner than themselves
    own = new.reshape(6, 8, 6).diagonal(dim1=0, dim2=2)
    assert (own > 0).all(), "each new feature starts at its own"


def test_no_copies_change_nothing():
    features, labels = unit(4, 3), torch.tensor([0, 1, 0, 1])
    assert interpolate(features, labels, 0) == (features, labels)


def test_the_objective_is_the_weighted_sum():
    features, labels = unit(6, 4), torch.tensor([0, 1, 0, 1, 1, 0])
    logits = torch.randn(6, 2, dtype=torch.float64)
    terms = SphereObjective(0.1, 0.5)(features, logits, labels)
    align, uniform = naive(features, labels.tolist(), 2, 2)
    expected = (
        -torch.log_softmax(logits, 1)[range(6), labels].mean().item() + 0.1 * align + 0.5 * uniform
    )
    assert terms["total"].item() == pytest.approx(expected, rel=1e-9)


def test_the_gradient_of_the_latent_augmentation_is_the_same_bits_every_time():
    """Large enough for several threads, which must not add up in any order they like."""
    torch.set_num_threads(2)
    features = F.normalize(torch.randn(24, 384, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = torch.arange(24) % 2

    def gradient():
        torch.manual_seed(1)
        leaf = features.clone().requires_grad_()
        (interpolate(leaf, labels, 8)[0] * torch.linspace(-1, 1, 384)).sum().backward()
        return leaf.grad

    try:
        first = gradient()
        assert all(torch.equal(gradient(), first) for _ in range(30))
    finally:
        torch.set_num_threads(1)
