"""LNCLIP-DF: what is trained, closed forms of its losses, slerp, and a run on toy crops."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from safetensors import safe_open
from torch import nn

from deepfake_repro.crops.store import CropStore, encode, write_part
from deepfake_repro.evaluation.prediction import class_probabilities
from deepfake_repro.methods.lnclip import recipe as lnclip_training
from deepfake_repro.methods.lnclip import sphere
from deepfake_repro.methods.lnclip.pairing import PairedBatches
from deepfake_repro.methods.lnclip.recipe import SELECTIONS, learning_rate, restore
from deepfake_repro.methods.lnclip.sphere import (
    VIT_L14,
    SphereObjective,
    alignment,
    interpolated,
    parameter_counts,
    slerp,
    trainable,
    tune_layer_norms,
    uniformity,
)
from deepfake_repro.project import params
from deepfake_repro.training import checkpoints
from deepfake_repro.training.loading import CropDataset, evaluation_loader, loader_of
from deepfake_repro.training.loop import Best
from deepfake_repro.training.transforms import Normalisation, evaluation_transform, training_transform

ROOT = Path(__file__).resolve().parents[1]
PAPER = params.load(ROOT / "params.yaml").profile("paper").lnclip
RECIPE = replace(PAPER, architecture="vit_tiny_patch16_224", depth=1, input_size=32, augmentation="windows", epochs=3,
                 cycle_epochs=3, learning_rate=0.03, batch_size=16, selection="validation_loss", precision="32-true",
                 workers=0, start="unused")
NORM = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CPU = Fabric(accelerator="cpu", devices=1)
CROPS, TRAIN, VALIDATION = 128, 96, 32


pytestmark = pytest.mark.usefixtures("one_thread")


def unit(*shape, seed=0):
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


# --- what is trained ----------------------------------------------------------------------------------------------

def test_clip_vit_l14_trains_exactly_the_published_number_of_parameters():
    with torch.device("meta"):
        detector = sphere.empty(PAPER)
    assert parameter_counts(detector) == VIT_L14 == (104_450, 303_181_826)
    assert f"{104_450 / 303_181_826:.4%}" == "0.0345%"
    assert sum(isinstance(module, nn.LayerNorm) for module in detector.modules()) == 50
    head = detector.encoder.head
    assert (head.in_features, head.out_features) == (1024, 2)


def test_layer_norms_are_found_by_type_and_not_by_name():
    detector = sphere.empty(RECIPE)
    block = detector.encoder.blocks[0]
    block.add_module("scale", nn.LayerNorm(4))  # a LayerNorm with another name
    block.add_module("norm_like", nn.Linear(4, 4))  # a name without the type
    tune_layer_norms(detector)
    names = set(trainable(detector))
    assert {"encoder.blocks.0.scale.weight", "encoder.blocks.0.norm1.bias", "encoder.norm.weight",
            "encoder.head.weight"} <= names
    assert not any("norm_like" in name or "attn" in name or "pos_embed" in name for name in names)


def test_a_network_without_layer_norms_is_refused():
    detector = sphere.empty(RECIPE)
    for block in detector.encoder.blocks:
        block.norm1, block.norm2 = nn.Identity(), nn.Identity()
    detector.encoder.norm = nn.Identity()
    with pytest.raises(ValueError, match="no LayerNorm to tune"):
        tune_layer_norms(detector)


def test_the_optimiser_holds_the_trainable_parameters_only():
    detector = sphere.empty(RECIPE)
    held = {id(p) for group in lnclip_training.optimiser(detector, RECIPE).param_groups for p in group["params"]}
    assert held == {id(p) for p in detector.parameters() if p.requires_grad}
    assert 0 < len(held) < len(list(detector.parameters()))


def test_the_feature_is_the_normalised_class_token_after_the_final_norm():
    detector = sphere.empty(RECIPE).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    encoder = detector.encoder
    tokens = encoder.patch_embed(images)
    tokens = torch.cat([encoder.cls_token.expand(2, -1, -1), tokens], dim=1) + encoder.pos_embed
    expected = F.normalize(encoder.norm(encoder.blocks(tokens))[:, 0], dim=1)
    features, logits = detector(images)
    torch.testing.assert_close(features, expected)
    torch.testing.assert_close(logits, expected @ encoder.head.weight.T + encoder.head.bias)


def test_saved_weights_come_back_as_the_same_network(tmp_path):
    detector = sphere.empty(RECIPE).eval()
    checkpoints.save(detector, tmp_path, lnclip_training.manifest(RECIPE, NORM, 1))
    again, facts = checkpoints.load(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    assert facts["method"] == "lnclip" and facts["classes"] == ["REAL", "FAKE"]
    for one, two in zip(again(images), detector(images), strict=True):
        assert torch.equal(one, two)


def test_the_demos_start_fits_and_its_final_norm_is_taken(assets):
    recipe = replace(params.load(ROOT / "params.yaml").profile("demo").lnclip,
                     start=str(assets / "vit_small_patch14.safetensors"))
    detector, norm = sphere.build(recipe)
    with safe_open(recipe.start, "pt") as file:
        assert torch.equal(detector.encoder.norm.weight, file.get_tensor("norm.weight"))
        assert torch.equal(detector.encoder.cls_token, file.get_tensor("cls_token"))
    assert norm.mean == (0.485, 0.456, 0.406)


# --- losses and latent augmentation -------------------------------------------------------------------------------

def naive(features, labels, power, temperature):
    """Both losses pair by pair."""
    apart, near = [], []
    for i in range(len(features)):
        for j in range(i + 1, len(features)):
            distance = float((features[i] - features[j]).norm())
            near.append(math.exp(-temperature * distance ** 2))
            if labels[i] == labels[j]:
                apart.append(distance ** power)
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
    assert uniformity(square).item() == pytest.approx(math.log((4 * math.exp(-4) + 2 * math.exp(-8)) / 6))
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
    assert uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 100.0).item() == pytest.approx(math.log(1e-6))


def test_gradients_of_both_losses_are_right():
    features, labels = torch.randn(5, 3, dtype=torch.float64, requires_grad=True), torch.tensor([0, 1, 0, 1, 1])
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
    new, classes = interpolated(features, labels, 8)
    assert new.shape == (48, 6) and classes.tolist() == [0] * 24 + [1] * 24
    torch.testing.assert_close(new.norm(dim=1), torch.ones(48).double())
    assert not new[:24, 3:].any() and not new[24:, :3].any()
    assert ((new > 1e-9).sum(1) <= 2).all() and (new >= 0).all()
    assert ((new > 1e-9).sum(1) == 2).float().mean() > 0.4  # two thirds have another partner than themselves
    own = new.reshape(6, 8, 6).diagonal(dim1=0, dim2=2)
    assert (own > 0).all(), "each new feature starts at its own"


def test_no_copies_change_nothing():
    features, labels = unit(4, 3), torch.tensor([0, 1, 0, 1])
    assert interpolated(features, labels, 0) == (features, labels)


def test_the_objective_is_the_weighted_sum():
    features, labels = unit(6, 4), torch.tensor([0, 1, 0, 1, 1, 0])
    logits = torch.randn(6, 2, dtype=torch.float64)
    terms = SphereObjective(0.1, 0.5)(features, logits, labels)
    align, uniform = naive(features, labels.tolist(), 2, 2)
    expected = -torch.log_softmax(logits, 1)[range(6), labels].mean().item() + 0.1 * align + 0.5 * uniform
    assert terms["total"].item() == pytest.approx(expected, rel=1e-9)


def test_the_augmentation_is_the_published_list():
    flip, affine, rare, jitter, jpeg = training_transform("lnclip", 224, NORM).transforms[1:6]
    assert (flip.p, affine.degrees, affine.translate, affine.scale) == (0.5, [-10, 10], (0.1, 0.1), (0.9, 1.1))
    (blur,) = rare.transforms
    assert (rare.p, blur.kernel_size, blur.sigma) == (0.1, (7, 7), [0.1, 2.0])
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == ((0.9, 1.1), (0.9, 1.1), None, None)
    assert tuple(jpeg.quality) == (40, 100)


def test_augmented_and_evaluated_crops_are_whole_and_normalised():
    grey = np.full((256, 256, 3), 204, np.uint8)  # 0.8 on the unit scale, 0.6 normalised
    torch.manual_seed(0)
    trained = training_transform("lnclip", 224, NORM)(grey)
    (seen,) = evaluation_transform("lnclip", 224, NORM)(grey)
    assert trained.shape == seen.shape == (3, 224, 224) and trained.dtype == torch.float32
    torch.testing.assert_close(seen, torch.full_like(seen, 0.6))
    assert abs(float(trained[:, 80:140, 80:140].mean()) - 0.6) < 0.3


# --- the recipe ---------------------------------------------------------------------------------------------------

def test_rate_without_warm_up_is_torchs_warm_restarts():
    recipe = replace(RECIPE, warmup_epochs=0, cycle_epochs=10, learning_rate=3e-4, min_learning_rate=1e-6)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=3e-4)
    oracle = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, eta_min=1e-6)
    for step in range(120):
        epoch = step / 4
        oracle.step(epoch)
        assert learning_rate(epoch, recipe) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


def test_the_papers_cycle_warms_up_for_one_epoch_and_starts_again():
    rates = [learning_rate(epoch, PAPER) for epoch in (0, 0.5, 1, 5.5, 9.999999, 10, 11)]
    assert rates == pytest.approx([1e-5, 1.55e-4, 3e-4, 1.55e-4, 1e-5, 1e-5, 3e-4], rel=1e-4)
    with pytest.raises(ValueError, match=r"^lnclip\.warmup_epochs is 10: keep it below"):
        learning_rate(0, replace(PAPER, warmup_epochs=10))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> CropStore:
    """128 crops of noise; the odd ones (fake) are redder."""
    folder, draw = tmp_path_factory.mktemp("toy"), np.random.default_rng(0)
    rows = []
    for number in range(CROPS):
        image = draw.integers(60, 180, (40, 40, 3), dtype=np.uint8)
        image[..., 0] += np.uint8(60 * (number % 2))
        rows.append({"video_id": f"toy/{number:03d}", "frame": 0, "seconds": 0.0, "face": 0, "x0": 0.0, "y0": 0.0,
                     "x1": 40.0, "y1": 40.0, "score": 1.0, "landmarks": [0.0] * 10, "width": 40, "height": 40,
                     "image": encode(image, "png")})
    write_part(folder / "toy.arrow", rows)
    return CropStore(folder)


def loaders(store, recipe):
    labels = np.arange(CROPS) % 2
    videos = np.array([f"v{number // 4 * 2 + number % 2}" for number in range(CROPS)])
    shape = (recipe.augmentation, recipe.input_size, NORM)
    crops = CropDataset(store, np.arange(TRAIN), training_transform(*shape), labels[:TRAIN])
    held_out = CropDataset(store, np.arange(TRAIN, CROPS), evaluation_transform(*shape), labels[TRAIN:])
    batches = PairedBatches(labels[:TRAIN], videos[:TRAIN], recipe.batch_size, paired=recipe.paired, seed=0)
    return loader_of(crops, batches, 0), evaluation_loader(held_out, 16, 0), videos[TRAIN:]


def run(store, scratch, recipe=RECIPE):
    torch.manual_seed(0)
    detector = sphere.empty(recipe)
    before = {name: tensor.detach().clone() for name, tensor in detector.named_parameters()}
    train, validation, videos = loaders(store, recipe)
    result = lnclip_training.fit(detector, train, validation, videos, recipe, seed=0, scratch=scratch, fabric=CPU,
                                 report=lambda line: None)
    return detector, before, result, validation


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    return run(store, tmp_path_factory.mktemp("whole"))


def test_frozen_parameters_are_bit_identical_after_training_and_all_others_have_moved(whole):
    detector, before, _, _ = whole
    for name, tensor in detector.named_parameters():
        assert torch.equal(tensor, before[name]) != tensor.requires_grad, name


def test_it_learns_and_keeps_the_epoch_that_validation_prefers(whole):
    detector, _, result, validation = whole
    history = result.history
    assert result.best_epoch == history["validation_loss"].idxmin() + 1
    assert history["validation_loss"].iloc[-1] < history["validation_loss"].iloc[0]
    restore(detector, result.best_state)
    fake = class_probabilities(detector, validation, CPU)[:, 1]
    of_video = pd.DataFrame({"p": fake, "video": np.arange(TRAIN, CROPS) // 4 * 2 + np.arange(CROPS - TRAIN) % 2})
    scores = of_video.groupby("video")["p"].mean().sort_index()
    above = np.mean([[f > r for f in scores[1::2]] for r in scores[::2]])
    assert history["video_auc"].iloc[result.best_epoch - 1] == pytest.approx(above, abs=1e-9)
    assert above > 0.9


@pytest.mark.parametrize("saves", [1, 5, 12])
def test_a_run_cut_off_at_any_step_ends_with_the_same_bits(store, whole, tmp_path, cut_off, saves):
    recipe = replace(RECIPE, checkpoint_steps=1)
    cut_off(lambda: run(store, tmp_path, recipe), saves)
    _, _, result, _ = run(store, tmp_path, recipe)
    pd.testing.assert_frame_equal(result.history, whole[2].history)
    assert all(torch.equal(result.best_state[name], tensor) for name, tensor in whole[2].best_state.items())


@pytest.mark.parametrize("change", [{"slerp": 0}, {"paired": False}, {"alignment": 0.0, "uniformity": 0.0}])
def test_every_switch_changes_the_run(store, whole, tmp_path, change):
    _, _, result, _ = run(store, tmp_path, replace(RECIPE, epochs=1, **change))
    assert result.history["train_loss"].iloc[0] != whole[2].history["train_loss"].iloc[0]


def test_wrong_weights_and_selection_are_refused(store, tmp_path):
    detector = sphere.empty(RECIPE)
    with pytest.raises(ValueError, match="not of this network's LayerNorms"):
        restore(detector, {"encoder.norm.weight": torch.ones(192)})
    with pytest.raises(ValueError, match=r"^lnclip\.selection is 'loss'; known: validation_loss, video_auc, video_map$"):
        run(store, tmp_path, replace(RECIPE, selection="loss"))


def test_a_loss_that_is_no_number_stops_with_the_crops(store, tmp_path):
    with pytest.raises(ValueError, match=r"^loss is nan on the batch of crops \[\d+, "):
        run(store, tmp_path, replace(RECIPE, alignment=math.nan))


def test_selections_prefer_lower_loss_and_higher_scores():
    rows = [{"validation_loss": 0.5, "video_auc": 0.7, "video_map": 0.9},
            {"validation_loss": 0.6, "video_auc": 0.8, "video_map": 0.9},
            {"validation_loss": 0.4, "video_auc": 0.8, "video_map": 0.8}]
    chosen = {}
    for selection, sign in SELECTIONS.items():
        best = Best()
        for epoch, row in enumerate(rows, start=1):
            best.offer(sign * row[selection], epoch, {})
        chosen[selection] = best.epoch
    assert chosen == {"validation_loss": 3, "video_auc": 2, "video_map": 1}  # the first of equals


def test_the_gradient_of_the_latent_augmentation_is_the_same_bits_every_time():
    """Large enough for several threads, which must not add up in any order they like."""
    torch.set_num_threads(2)
    features = F.normalize(torch.randn(24, 384, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = torch.arange(24) % 2

    def gradient():
        torch.manual_seed(1)
        leaf = features.clone().requires_grad_()
        (interpolated(leaf, labels, 8)[0] * torch.linspace(-1, 1, 384)).sum().backward()
        return leaf.grad

    try:
        first = gradient()
        assert all(torch.equal(gradient(), first) for _ in range(30))
    finally:
        torch.set_num_threads(1)
