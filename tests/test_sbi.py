"""Self-blended pairs, the faces they are made of, and the recipe: each against an oracle or a property that can fail."""

from __future__ import annotations

import colorsys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from deepfake_repro.crops.store import CropStore, encode, write_part
from deepfake_repro.evaluation.metrics import sbi_protocol, table_row, video_scores
from deepfake_repro.faces import hulls
from deepfake_repro.faces.landmarks import FaceMesh
from deepfake_repro.methods.sbi import blending
from deepfake_repro.methods.sbi import recipe as sbi_training
from deepfake_repro.methods.sbi.blending import (
    Draws,
    affine,
    blend_mask,
    common_change,
    elastic,
    random_views,
    self_blend,
)
from deepfake_repro.methods.sbi.colour import coarsen, hsv_shift, jpeg, sharpen
from deepfake_repro.methods.sbi.faces import RealCrops, crop_points, real_faces
from deepfake_repro.methods.sbi.recipe import Sam, Task, rate
from deepfake_repro.project import params
from deepfake_repro.report.shortcuts import LIMIT, pair_features, shortcuts
from deepfake_repro.training import checkpoints
from deepfake_repro.training.detector import build_detector
from deepfake_repro.training.loading import evaluation_loader, training_loader
from deepfake_repro.training.transforms import Normalisation

PARAMS = params.load(Path(__file__).resolve().parents[1] / "params.yaml")
RECIPE = PARAMS.profile("demo").sbi
BLEND = RECIPE.blend
PLAIN = replace(BLEND, flip=0.0, jpeg_probability=0.0)
NORM = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
SIDE = 96


pytestmark = pytest.mark.usefixtures("one_thread")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(number, side=SIDE, seed=0):
    """Smooth coloured noise, uint8 [N, 3, S, S]."""
    rng = np.random.default_rng(seed)
    images = [cv2.GaussianBlur(rng.integers(0, 256, (side, side, 3), np.uint8), (0, 0), 2) for _ in range(number)]
    images = [cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX) for image in images]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def discs(number, side=SIDE, radius=0.3):
    ys, xs = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    disc = ((xs - side / 2) ** 2 + (ys - side / 2) ** 2 < (radius * side) ** 2).byte()
    return disc.repeat(number, 1, 1)


def pairs_of(blend, number=24, seed=0, side=SIDE):
    return self_blend(pictures(number, side), discs(number, side), blend, Draws(generator(seed), number))


# --- pairs --------------------------------------------------------------------------------------------------------

def test_a_pair_differs_inside_the_mask_only_and_does_differ_there():
    pairs = pairs_of(PLAIN)
    differs = (pairs.real != pairs.fake).any(1)
    assert not differs[pairs.mask == 0].any()
    assert (differs & (pairs.mask > 0.2)).flatten(1).any(1).all()
    assert (pairs.mask == 0).flatten(1).any(1).all()


def test_jpeg_carries_the_difference_no_further_than_the_blocks_that_the_mask_touches():
    pairs = pairs_of(replace(BLEND, jpeg_probability=1.0))
    touched = torch.nn.functional.max_pool2d((pairs.mask > 0).float()[:, None], 16)
    near = torch.nn.functional.max_pool2d(touched, 3, stride=1, padding=1)  # chroma is interpolated over the edge
    near = near.repeat_interleave(16, 2).repeat_interleave(16, 3)[:, 0] > 0
    assert not (pairs.real != pairs.fake).any(1)[~near].any() and not near.all()


def test_same_seed_same_bytes_and_another_seed_others():
    one, same, other = pairs_of(BLEND), pairs_of(BLEND), pairs_of(BLEND, seed=1)
    assert torch.equal(one.fake, same.fake) and torch.equal(one.real, same.real) and torch.equal(one.mask, same.mask)
    assert not torch.equal(one.fake, other.fake)


def test_blending_is_the_formula(monkeypatch):
    """Source all 200, target all 100: the fake is 100 + 100 * mask, whichever of the two was changed."""
    monkeypatch.setattr(blending, "source_target_change", lambda images, blend, draws: images + 100)
    monkeypatch.setattr(blending, "common_change", lambda images, blend, draws: images)
    plain = torch.full((32, 3, SIDE, SIDE), 100, dtype=torch.uint8)
    pairs = self_blend(plain, discs(32), PLAIN, Draws(generator(), 32))
    swapped = pairs.real[:, 0, 0, 0] == 200
    assert 4 < swapped.sum() < 28 and torch.equal(pairs.real.unique(), torch.tensor([100, 200], dtype=torch.uint8))
    signs = torch.where(swapped, -100.0, 100.0)[:, None, None]
    assert ((pairs.real[:, 0] + signs * pairs.mask) - pairs.fake[:, 0]).abs().max() <= 1  # whole levels


def test_masks_peak_at_the_ratios_in_their_published_shares_and_stay_near_the_hull():
    masks = torch.cat([pairs_of(PLAIN, 48, seed).mask for seed in range(3)])
    peaks, counts = masks.amax((1, 2)).round(decimals=4).unique(return_counts=True)
    assert peaks.tolist() == [0.25, 0.5, 0.75, 1.0]
    expected = np.array([1, 1, 1, 3]) / 6 * len(masks)
    assert (np.abs(counts.numpy() - expected) < 4 * np.sqrt(expected)).all()
    reach = SIDE * 0.3 / 0.95 + 0.03 * SIDE + 4 + 12 * SIDE / 192 + 1  # scaled, moved, bent, half a kernel
    ys, xs = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    far = (xs - SIDE / 2) ** 2 + (ys - SIDE / 2) ** 2 > reach**2
    assert far.any() and not masks[:, far].any()
    share = (masks / masks.amax((1, 2), keepdim=True)).mean((1, 2))
    hull = discs(1).float().mean()
    assert (share < 1.3 * hull).all() and (share > 0.4 * hull).all()


def test_mask_without_bending_is_opencvs():
    """Resize, blur, erode, blur, resize of a centred disc, with fixed sizes, by OpenCV."""
    still = replace(BLEND, elastic_alpha=0.0, mask_side=(192, 192), kernel=(11, 11), sigma=(7.0, 7.0), ratios=(1.0,))
    move = torch.tensor([[1.0, 0.0, 0.0]])
    ours = blend_mask(discs(1).float(), move, still, Draws(generator(), 1))[0].numpy()
    canvas = cv2.GaussianBlur(cv2.resize(discs(1)[0].numpy().astype(np.float32), (192, 192)), (11, 11), 0)
    whole = (canvas / canvas.max() >= 1 - 5e-4).astype(np.float32)
    theirs = cv2.resize(cv2.GaussianBlur(whole, (11, 11), 7.0), (SIDE, SIDE))
    assert np.abs(ours - theirs / theirs.max()).max() < 2e-3


def test_source_is_moved_as_opencv_moves_it():
    image = pictures(1)[0].permute(1, 2, 0).numpy()
    scale, right, down = 1.04, 0.03, -0.015
    move = torch.tensor([[scale, right, down]])
    lines = blending._moved(torch.arange(SIDE).expand(1, 2, -1), move, SIDE)
    ours = torch.nn.functional.grid_sample(torch.from_numpy(image).permute(2, 0, 1)[None].float(),
                                           blending._grid(lines, SIDE), **blending._SAMPLING)[0].permute(1, 2, 0).numpy()
    centre = (SIDE - 1) / 2
    matrix = np.array([[scale, 0, centre * (1 - scale) + right * SIDE], [0, scale, centre * (1 - scale) + down * SIDE]])
    theirs = cv2.warpAffine(image.astype(np.float32), matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(ours - theirs)[4:-4, 4:-4].max() < 4  # OpenCV rounds places to 1/32 of a pixel


def test_elastic_field_has_the_spread_and_smoothness_of_filtered_noise():
    lines = torch.arange(SIDE, dtype=torch.float32).expand(64, 2, -1)
    ours = elastic(lines, SIDE, BLEND, Draws(generator(), 64))
    rng, noise = np.random.default_rng(0), []
    for _ in range(64):
        wide = cv2.GaussianBlur(rng.uniform(-1, 1, (SIDE + 84, SIDE + 84)), (85, 85), BLEND.elastic_sigma)
        noise.append(BLEND.elastic_alpha * wide[42:-42, 42:-42])
    theirs = np.stack(noise)
    for step in (0, 7, 14):
        found = (ours[:, :, step:] * ours[:, :, :SIDE - step]).mean()
        assert float(found) == pytest.approx((theirs[:, :, step:] * theirs[:, :, :SIDE - step]).mean(), abs=0.12)


def test_draws_keep_within_the_published_ranges():
    draws = Draws(generator(), 4000)
    move = affine(BLEND, draws)
    low, high = move.amin(0).tolist(), move.amax(0).tolist()
    assert low == pytest.approx([0.95, -0.03, -0.015], abs=1e-3)
    assert high == pytest.approx([1 / 0.95, 0.03, 0.015], abs=1e-3)
    widths = 2 * draws.uniform(*blending._halves((5, 25))).floor() + 1
    assert widths.unique().tolist() == list(range(5, 26, 2))
    grey = torch.full((4000, 3, 2, 2), 120.0)
    common = common_change(torch.cat([grey, grey]), replace(BLEND, jpeg_probability=0.0, rgb_probability=0.0), draws)
    first, second = common.chunk(2)
    assert torch.equal(first, second)  # both images of a pair change alike
    assert (first != 120).flatten(1).any(1).float().mean() == pytest.approx(1 - 0.7**2, abs=0.05)
    assert first.max() <= 120 * 1.3 + 0.3 * 255 + 20 * 1.3 + 1


# --- colour -------------------------------------------------------------------------------------------------------

def test_hsv_shift_is_that_of_the_standard_library():
    images, shift = pictures(3, 8).float(), torch.tensor([[20.0, -30.0, 15.0], [-9.0, 40.0, -20.0], [0.3, 0.3, -0.3]])
    ours = hsv_shift(images, shift)
    for number, (hue, saturation, value) in enumerate((shift / torch.tensor([180, 255, 255])).tolist()):
        for y, x in np.ndindex(8, 8):
            h, s, v = colorsys.rgb_to_hsv(*(images[number, :, y, x] / 255).tolist())
            changed = np.clip((s + saturation, v + value), 0, 1)
            expected = np.array(colorsys.hsv_to_rgb((h + hue) % 1, *changed)) * 255
            assert np.abs(ours[number, :, y, x].numpy() - expected).max() < 0.01


def test_sharpening_and_coarsening_are_opencvs():
    images = pictures(2).float()
    alpha, lightness = torch.tensor([0.2, 0.5]), torch.tensor([0.5, 1.0])
    sharp = sharpen(images, alpha, lightness)
    coarse = coarsen(images, torch.tensor([2.0, 4.0]))
    for number, (a, b, step) in enumerate(((0.2, 0.5, 2), (0.5, 1.0, 4))):
        image = images[number].permute(1, 2, 0).numpy()
        kernel = a * np.array([[-1, -1, -1], [-1, 8 + b, -1], [-1, -1, -1]]) + (1 - a) * np.pad([[1]], 1)
        theirs = np.clip(cv2.filter2D(image, -1, kernel), 0, 255)
        assert np.abs(sharp[number].permute(1, 2, 0).numpy() - theirs).max() < 1e-2
        theirs = cv2.resize(image[::step, ::step], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        assert np.abs(coarse[number].permute(1, 2, 0).numpy() - theirs).max() < 1e-2


@pytest.mark.parametrize("quality", [40, 49, 75, 100])
def test_jpeg_is_what_libjpeg_leaves(quality):
    for side in (SIDE, 90):
        images = pictures(1, side)
        ours = jpeg(images.float(), torch.tensor([float(quality)]))[0].permute(1, 2, 0).numpy()
        colour = cv2.cvtColor(images[0].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", colour, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        theirs = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(float)
        lost = np.abs(theirs - images[0].permute(1, 2, 0).numpy()).mean()
        assert np.abs(ours - theirs)[:80, :80].mean() < 0.15 * lost + 0.3  # colours are interpolated a little otherwise
        grey = images[:, :1].expand(-1, 3, -1, -1)
        data = cv2.imencode(".jpg", grey[0, 0].numpy(), (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        theirs = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)[:80, :80].astype(float)
        ours = jpeg(grey.float(), torch.tensor([float(quality)]))[0, 1].numpy()[:80, :80]
        assert np.abs(ours - theirs).mean() < 0.25  # libjpeg computes with whole numbers


# --- views --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("kind", "size"), [("windows", 64), ("fsfm", 120)])
def test_both_images_of_a_pair_are_seen_through_the_same_window(kind, size):
    images = pictures(6)
    views = random_views(torch.cat([images, images]), replace(RECIPE, augmentation=kind, input_size=size), 0.3,
                             Draws(generator(), 6))
    first, second = views.chunk(2)
    assert views.shape == (12, 3, size, size) and views.dtype == torch.uint8 and torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_boxes_keep_the_published_share_of_the_surroundings():
    """A ramp tells where the view begins: 5 to 15 % of the face box beyond its edge, which is at 15 % of 1.3."""
    ramp = torch.arange(130.0).expand(200, 3, 130, 130).byte()
    views = random_views(torch.cat([ramp, ramp]), replace(RECIPE, augmentation="fsfm", input_size=130), 0.3,
                             Draws(generator(), 200))
    left, right = views[:200, 0, 0, 0].float(), views[:200, 0, 0, -1].float()
    assert 0 <= left.min() <= 1 and 9 <= left.max() <= 11  # pixels, of a face of 100
    assert 119 <= right.min() <= 121 and 128 <= right.max() <= 130
    with pytest.raises(ValueError, match="sbi.augmentation is 'other'; known: fsfm, windows"):
        random_views(ramp, replace(RECIPE, augmentation="other"), 0.3, Draws(generator(), 100))


# --- faces --------------------------------------------------------------------------------------------------------

def test_hulls_of_a_hand_made_face():
    """81 points on a circle: the hull of all is its area; without forehead (upper fifth missing) it is smaller."""
    turn = np.linspace(0, 2 * np.pi, 81, endpoint=False)
    points = (100 + 60 * np.stack([np.cos(turn), np.sin(turn)], 1)).astype(np.float32)
    assert hulls.hull(points, "face", 200).sum() == pytest.approx(np.pi * 60**2, rel=0.03)
    assert hulls.hull(points[:68], "face", 200).sum() < 0.99 * np.pi * 60**2
    with pytest.raises(ValueError, match="sbi.blend.hulls lists 'oval'; known: face, full, components, extended"):
        hulls.hull(points, "oval", 200)
    for name in params.PROFILES:
        assert set(PARAMS.profile(name).sbi.blend.hulls) <= set(hulls.HULLS)


def test_landmarks_and_hulls_of_a_portrait(assets, tile, tmp_path):
    crop = cv2.resize(tile[:, 40:400], (224, 224), interpolation=cv2.INTER_AREA)
    write(tmp_path, [crop])
    rows = table(1)
    points = crop_points(CropStore(tmp_path), rows, FaceMesh(assets / "face_landmarks.tflite"), 0.3)
    found = np.reshape(points["points"][0], (81, 2))
    jaw, forehead, right_eye, left_eye, mouth = (found[a:b] for a, b in ((0, 17), (68, 81), (36, 42), (42, 48), (48, 68)))
    assert forehead[:, 1].mean() < right_eye[:, 1].mean() < mouth[:, 1].mean() < jaw[8, 1]
    assert right_eye[:, 0].max() < mouth[:, 0].mean() < left_eye[:, 0].min()
    assert (np.diff(jaw[1:-1, 0]) > 0).all() and (np.diff(forehead[2:-2, 0]) > 0).all()
    masks = {kind: hulls.hull(found, kind, 224).astype(bool) for kind in hulls.HULLS}
    short = hulls.hull(found[:68], "face", 224).astype(bool)
    sizes = {kind: mask.sum() for kind, mask in masks.items()}
    assert sizes["components"] < sizes["extended"] < sizes["face"] and sizes["full"] <= short.sum() < sizes["face"]
    for mask in masks.values():
        inside = [mask[round(float(y)), round(float(x))] for x, y in (right_eye.mean(0), left_eye.mean(0), mouth.mean(0))]
        assert all(inside) and not mask[0].any()
        assert cv2.connectedComponents(mask.astype(np.uint8))[0] == 2  # one piece, and the rest


def write(folder, images):
    write_part(folder / "toy.arrow", [
        {"video_id": f"v{number}", "frame": 0, "seconds": 0.0, "face": 0, "x0": 0.0, "y0": 0.0, "x1": 1.0, "y1": 1.0,
         "score": 1.0, "landmarks": [0.0] * 10, "width": 9, "height": 9, "image": encode(np.asarray(image), "png")}
        for number, image in enumerate(images)])


def table(number, label=0):
    return pd.DataFrame({"video_id": [f"v{n}" for n in range(number)], "frame": 0, "face": 0, "label": label,
                         "dataset": "ffpp"})


def sample_and_index():
    """Real a (ten crops) and b (two) of ffpp, real c of dfdc (three), fake d."""
    counts = {"a": 10, "b": 2, "c": 3, "d": 4}
    rows = [(name, frame, 0, int(name == "d"), "dfdc" if name == "c" else "ffpp")
            for name, count in counts.items() for frame in range(count)]
    sample = pd.DataFrame(rows, columns=["video_id", "frame", "face", "label", "dataset"])
    return sample, pd.DataFrame({"video_id": list(counts), "split": "train"})


def test_faces_are_real_of_the_corpus_and_spread_over_each_video():
    sample, index = sample_and_index()
    every = real_faces(sample, index, "train", replace(RECIPE, crops_per_video=4))
    assert every.groupby("video_id").size().to_dict() == {"a": 4, "b": 2, "c": 3}
    frames = every.loc[every["video_id"] == "a", "frame"].tolist()
    assert frames[0] == 0 and np.ptp(np.diff(frames)) <= 1
    of_ffpp = real_faces(sample, index, "train", replace(RECIPE, faces="ffpp", crops_per_video=99))
    assert of_ffpp.groupby("video_id").size().to_dict() == {"a": 10, "b": 2}
    with pytest.raises(ValueError, match="video a is in the sample but not in split val"):
        real_faces(sample, index, "val", RECIPE)
    with pytest.raises(ValueError, match="sbi.faces is 'celebdf2', of which split train has no real crop"):
        real_faces(sample, index, "train", replace(RECIPE, faces="celebdf2"))


def test_fake_crops_and_crops_without_landmarks_are_refused(tmp_path):
    write(tmp_path, np.zeros((2, 8, 8, 3), np.uint8))
    points = table(2)[["video_id", "frame", "face"]].assign(points=[np.zeros(162, np.float32)] * 2)
    with pytest.raises(ValueError, match="crop of v0 is fake"):
        RealCrops(CropStore(tmp_path), table(2, 1), points, BLEND)
    with pytest.raises(ValueError, match="no landmarks of a crop of v1: run the landmarks stage"):
        RealCrops(CropStore(tmp_path), table(2), points[:1], BLEND)


# --- recipe -------------------------------------------------------------------------------------------------------

def test_rate_is_constant_and_then_linear_to_zero():
    rates = [rate(PARAMS.profile("paper").sbi, epoch) for epoch in range(100)]
    assert rates[:76] == [1e-3] * 76 and rates[99] == pytest.approx(1e-3 / 25)
    assert np.allclose(np.diff(rates[75:]), -1e-3 / 25)
    warm = replace(PARAMS.profile("paper").sbi, warmup_epochs=2)
    assert [rate(warm, *at) for at in ((0, 0.5), (1, 0.0), (1, 1.0), (2, 0.0))] == [
        0.25e-3, 0.5e-3, 1e-3, 1e-3]


def test_adamw_scales_its_rates_by_layer_and_unknown_optimisers_are_refused():
    network = build_detector(TOY.architecture, 2, depth=2, input_size=64)
    found = sbi_training.optimiser(network, replace(TOY, optimiser="adamw", layer_decay=0.5))
    assert {group["lr_scale"] for group in found.param_groups} == {0.5**power for power in range(4)}
    with pytest.raises(ValueError, match="sbi.optimiser is 'lion'; known: sgd, adamw"):
        sbi_training.optimiser(network, replace(TOY, optimiser="lion"))


def test_sam_steps_by_the_gradient_found_uphill():
    """f(w) = w1^2 + 3 w2^2 at (1, 2): gradient (2, 12), uphill point w + r g / |g|, step by the gradient there."""
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    curve = torch.tensor([1.0, 3.0])
    sam = Sam(torch.optim.SGD([weight], lr=0.1), 0.05)
    (curve * weight**2).sum().backward()
    sam.climb()
    gradient = torch.tensor([2.0, 12.0])
    uphill = torch.tensor([1.0, 2.0]) + 0.05 * gradient / gradient.norm()
    assert torch.allclose(weight, uphill)
    (curve * weight**2).sum().backward()
    sam.step()
    assert torch.allclose(weight, torch.tensor([1.0, 2.0]) - 0.1 * 2 * curve * uphill)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Forty crops: the even ones real, the odd ones fake and unreadable, so that reading one fails."""
    folder = tmp_path_factory.mktemp("toy")
    images = [image.permute(1, 2, 0).numpy() for image in pictures(40)]
    write(folder, images)

    class Guarded(CropStore):
        def image(self, row):
            assert row % 2 == 0, f"fake crop {row} was read"
            return super().image(row)

    rows = table(40).iloc[::2].reset_index(drop=True)
    turn = np.linspace(0, 2 * np.pi, 81, endpoint=False)
    circle = (48 + 30 * np.stack([np.cos(turn), np.sin(turn)], 1)).astype(np.float32).ravel()
    points = rows[["video_id", "frame", "face"]].assign(points=[circle] * len(rows))
    return RealCrops(Guarded(folder), rows, points, replace(BLEND, hulls=("face",)))


TOY = replace(RECIPE, architecture="vit_tiny_patch16_224", depth=1, input_size=64, pairs=5, epochs=2, warmup_epochs=0,
              constant_epochs=1, optimiser="sgd", learning_rate=0.05)


def trained(toy, scratch, recipe=TOY, report=lambda line: None):
    torch.manual_seed(0)
    network = build_detector(recipe.architecture, 2, depth=1, input_size=64, head_std=0.02)
    task = Task(recipe, NORM, 0.3)
    result = sbi_training.fit(network, training_loader(toy, 5, 0, 0), evaluation_loader(toy, 5, 0), task, seed=0,
                              scratch=scratch, fabric=Fabric(accelerator="cpu", devices=1), report=report)
    return network, result


def test_a_run_cut_off_at_any_step_is_the_whole_run_and_no_fake_crop_is_read(toy, tmp_path, cut_off):
    whole, result = trained(toy, tmp_path / "whole")
    assert result.history["epoch"].tolist() == [1, 2] and result.history["learning_rate"].tolist() == [0.05, 0.05]
    assert {"train_loss", "validation_loss", "validation_auc", "active_fraction"} <= set(result.history)

    recipe = replace(TOY, checkpoint_steps=1)
    for saves in (1, 5, 7):  # in the first epoch, after it, in the second
        folder = tmp_path / f"cut{saves}"
        cut_off(lambda folder=folder: trained(toy, folder, recipe), saves)
        said = []
        resumed, again = trained(toy, folder, recipe, report=said.append)
        assert said[0] == f"resumed after step {saves}/8 from cut{saves}"
        pd.testing.assert_frame_equal(again.history, result.history)
        assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_published_weights_are_judged_and_not_trained(toy, tmp_path):
    network, result = trained(toy, tmp_path, replace(TOY, weights="FFraw.tar"))
    torch.manual_seed(0)
    fresh = build_detector(TOY.architecture, 2, depth=1, input_size=64, head_std=0.02)
    assert result.history["epoch"].tolist() == [0] and result.history["validation_loss"].notna().all()
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), fresh.parameters(), strict=True))


# --- the EfficientNet ---------------------------------------------------------------------------------------------

def published_state(network):
    """What efficientnet_pytorch would save, by its own rules: a flat list of blocks, one counter of norms a block."""
    state, flat = {}, [block for stage in network.encoder.blocks for block in stage]

    def put(name, layer):
        state.update({f"net.{name}.{key}": value for key, value in layer.state_dict().items()})

    encoder = network.encoder
    for name, layer in (("_conv_stem", encoder.conv_stem), ("_bn0", encoder.bn1), ("_conv_head", encoder.conv_head),
                        ("_bn1", encoder.bn2), ("_fc", encoder.classifier)):
        put(name, layer)
    for number, block in enumerate(flat):
        convs = [layer for layer in block.children() if isinstance(layer, nn.Conv2d)]
        norms = [layer for layer in block.children() if isinstance(layer, nn.BatchNorm2d)]
        first = 3 - len(convs)  # no expansion: names begin with the second
        for place, (conv, norm) in enumerate(zip(convs, norms, strict=True), start=first):
            put(f"_blocks.{number}.{('_expand_conv', '_depthwise_conv', '_project_conv')[place]}", conv)
            put(f"_blocks.{number}._bn{place}", norm)
        put(f"_blocks.{number}._se_reduce", block.se.conv_reduce)
        put(f"_blocks.{number}._se_expand", block.se.conv_expand)
    return state


@pytest.fixture(scope="module")
def small_cnn():
    torch.manual_seed(1)
    return build_detector("tf_efficientnet_b0", 2, head_std=0.1).eval()


def test_published_weights_find_their_place_and_any_other_key_is_refused(small_cnn, tmp_path):
    state = published_state(small_cnn)
    torch.save({"model": state, "epoch": 99}, tmp_path / "FFraw.tar")
    other = build_detector("tf_efficientnet_b0", 2).eval()
    norm = checkpoints.load_sbi(other, tmp_path / "FFraw.tar")
    images = torch.rand(2, 3, 64, 64, generator=generator())
    assert torch.equal(other(images)[1], small_cnn(images)[1]) and norm.mean == (0, 0, 0) and norm.std == (1, 1, 1)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    for change, what in ((lambda s: s.pop("net._fc.bias"), "_fc.bias"),
                         (lambda s: s.update({"net._blocks.99.w": torch.zeros(1)}), "_blocks.99.w"),
                         (lambda s: s.update({"net._fc.weight": torch.zeros(3, 1280)}), "_fc.weight")):
        spoilt = dict(state)
        change(spoilt)
        torch.save({"model": spoilt}, tmp_path / "bad.tar")
        with pytest.raises(ValueError, match=f"bad.tar is no checkpoint of this EfficientNet: 1 tensors .* {what}"):
            checkpoints.load_sbi(other, tmp_path / "bad.tar")
    (tmp_path / "page.tar").write_text("<html>")
    with pytest.raises(ValueError, match="page.tar is no checkpoint of SBI"):
        checkpoints.load_sbi(other, tmp_path / "page.tar")
    with pytest.raises(FileNotFoundError, match="sbi.weights .*none.tar not found"):
        checkpoints.load_sbi(other, tmp_path / "none.tar")
    assert all(torch.equal(before[key], value) for key, value in other.state_dict().items())


def test_efficientnet_embeds_its_pooled_features_and_survives_saving(small_cnn, tmp_path):
    recipe = replace(RECIPE, architecture="tf_efficientnet_b0", depth=0)
    facts = sbi_training.manifest(recipe, PARAMS.variant("sbi"), NORM, 1)
    checkpoints.save(small_cnn, tmp_path, facts)
    again, manifest = checkpoints.load(tmp_path)
    images = torch.rand(2, 3, 64, 64, generator=generator())
    embeddings, logits = again(images)
    assert torch.equal(logits, small_cnn(images)[1]) and manifest["classes"] == ["REAL", "FAKE"]
    assert torch.allclose(embeddings, small_cnn.encoder.forward_features(images).mean((2, 3)), atol=1e-6)
    assert torch.allclose(logits, embeddings @ small_cnn.encoder.classifier.weight.T, atol=1e-5)


def test_a_start_leaves_only_the_head_of_an_efficientnet_fresh(small_cnn, monkeypatch):
    fresh = build_detector("tf_efficientnet_b0", 2, head_std=0.3)
    head = fresh.encoder.classifier.weight.clone()
    state = {key: value for key, value in small_cnn.encoder.state_dict().items() if not key.startswith("classifier")}
    checkpoints._load_encoder(fresh, state, "b0")
    assert torch.equal(fresh.encoder.conv_head.weight, small_cnn.encoder.conv_head.weight)
    assert torch.equal(fresh.encoder.classifier.weight, head)
    with pytest.raises(ValueError, match="b0: 1 tensors missing, first conv_head.weight"):
        checkpoints._load_encoder(fresh, {key: value for key, value in state.items() if key != "conv_head.weight"}, "b0")


# --- scores and params --------------------------------------------------------------------------------------------

def test_own_protocol_takes_the_highest_face_of_each_frame():
    """One real and one fake video; the fake face is the second in each frame. Mean of all faces: a tie, and too low."""
    rows = [("r", 0, 0, 0, 0.3), ("r", 1, 0, 0, 0.5), ("f", 0, 0, 1, 0.1), ("f", 0, 1, 1, 0.9), ("f", 1, 0, 1, 0.1),
            ("f", 1, 1, 1, 0.5)]
    predictions = pd.DataFrame(rows, columns=["video_id", "frame", "face", "label", "p_fake"]).assign(
        dataset="itw", manipulation="x", category="UNK")
    assert table_row(video_scores(predictions), {})["auc"] == {"itw": 50.0}
    assert sbi_protocol(video_scores(predictions, "frame_max")) == {"auc": {"itw": 100.0}, "bacc": {"itw": 100.0}}


def test_every_row_is_trained_by_exactly_one_list():
    trainers = [name for name in ("finetune", "sbi", "lnclip") if hasattr(PARAMS.run, name)]
    trained_rows = [row for name in trainers for row in getattr(PARAMS.run, name)]
    assert sorted(trained_rows) == sorted(PARAMS.run.variants) and len(set(trained_rows)) == len(trained_rows)


def test_paper_profile_is_sbis_published_recipe():
    recipe = PARAMS.profile("paper").sbi
    assert (recipe.epochs, recipe.constant_epochs, recipe.pairs, recipe.input_size, recipe.crops_per_video) == (
        100, 75, 16, 380, 8)
    assert (recipe.learning_rate, recipe.momentum, recipe.sam_radius, recipe.faces) == (1e-3, 0.9, 0.05, "ffpp")
    assert all(PARAMS.profile(name).sbi.blend == recipe.blend for name in params.PROFILES)


# --- audit --------------------------------------------------------------------------------------------------------

def test_no_property_of_the_whole_crop_tells_the_pairs_apart(toy):
    """Paired images: brightness, colour and sharpness outside the face are the same but for JPEG over the edge."""
    rows = pd.DataFrame(pair_features(toy))
    found = shortcuts(rows).set_index("dataset").loc["sbi"]
    assert rows["label"].tolist() == [0, 1] * len(toy)
    assert (found[["seconds", "frames"]] == 0.5).all() and (found[["brightness", "colour", "sharpness"]] < LIMIT).all()
