"""Self-blended pairs: against formulas, OpenCV and their published ranges."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from deepfake_repro.methods.sbi import blending
from deepfake_repro.methods.sbi.blending import (
    Draws,
    affine,
    blend_mask,
    common_change,
    elastic,
    random_views,
    self_blend,
)
from support.toy_sbi import BLEND, RECIPE, SIDE, generator, pictures

PLAIN = replace(BLEND, flip=0.0, jpeg_probability=0.0)
pytestmark = pytest.mark.usefixtures("one_thread")


def discs(number, side=SIDE, radius=0.3):
    ys, xs = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    disc = ((xs - side / 2) ** 2 + (ys - side / 2) ** 2 < (radius * side) ** 2).byte()
    return disc.repeat(number, 1, 1)


def pairs_of(blend, number=24, seed=0, side=SIDE):
    return self_blend(
        pictures(number, side), discs(number, side), blend, Draws(generator(seed), number)
    )


def test_a_pair_differs_inside_the_mask_only_and_does_differ_there():
    pairs = pairs_of(PLAIN)
    differs = (pairs.real != pairs.fake).any(1)
    assert not differs[pairs.mask == 0].any()
    assert (differs & (pairs.mask > 0.2)).flatten(1).any(1).all()
    assert (pairs.mask == 0).flatten(1).any(1).all()


def test_jpeg_carries_the_difference_no_further_than_the_blocks_that_the_mask_touches():
    pairs = pairs_of(replace(BLEND, jpeg_probability=1.0))
    touched = torch.nn.functional.max_pool2d((pairs.mask > 0).float()[:, None], 16)
    near = torch.nn.functional.max_pool2d(
        touched, 3, stride=1, padding=1
    )  # chroma is interpolated over the edge
    near = near.repeat_interleave(16, 2).repeat_interleave(16, 3)[:, 0] > 0
    assert not (pairs.real != pairs.fake).any(1)[~near].any() and not near.all()


def test_same_seed_same_bytes_and_another_seed_others():
    one, same, other = pairs_of(BLEND), pairs_of(BLEND), pairs_of(BLEND, seed=1)
    assert (
        torch.equal(one.fake, same.fake)
        and torch.equal(one.real, same.real)
        and torch.equal(one.mask, same.mask)
    )
    assert not torch.equal(one.fake, other.fake)


def test_blending_is_the_formula(monkeypatch):
    """Source all 200, target all 100: the fake is 100 + 100 * mask, whichever of the two was
    changed.
    """
    monkeypatch.setattr(blending, "source_target_change", lambda images, blend, draws: images + 100)
    monkeypatch.setattr(blending, "common_change", lambda images, blend, draws: images)
    plain = torch.full((32, 3, SIDE, SIDE), 100, dtype=torch.uint8)
    pairs = self_blend(plain, discs(32), PLAIN, Draws(generator(), 32))
    swapped = pairs.real[:, 0, 0, 0] == 200
    assert 4 < swapped.sum() < 28 and torch.equal(
        pairs.real.unique(), torch.tensor([100, 200], dtype=torch.uint8)
    )
    signs = torch.where(swapped, -100.0, 100.0)[:, None, None]
    assert (
        (pairs.real[:, 0] + signs * pairs.mask) - pairs.fake[:, 0]
    ).abs().max() <= 1  # whole levels


def test_masks_peak_at_the_ratios_in_their_published_shares_and_stay_near_the_hull():
    masks = torch.cat([pairs_of(PLAIN, 48, seed).mask for seed in range(3)])
    peaks, counts = masks.amax((1, 2)).round(decimals=4).unique(return_counts=True)
    assert peaks.tolist() == [0.25, 0.5, 0.75, 1.0]
    expected = np.array([1, 1, 1, 3]) / 6 * len(masks)
    assert (np.abs(counts.numpy() - expected) < 4 * np.sqrt(expected)).all()
    reach = (
        SIDE * 0.3 / 0.95 + 0.03 * SIDE + 4 + 12 * SIDE / 192 + 1
    )  # scaled, moved, bent, half a kernel
    ys, xs = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    far = (xs - SIDE / 2) ** 2 + (ys - SIDE / 2) ** 2 > reach**2
    assert far.any() and not masks[:, far].any()
    share = (masks / masks.amax((1, 2), keepdim=True)).mean((1, 2))
    hull = discs(1).float().mean()
    assert (share < 1.3 * hull).all() and (share > 0.4 * hull).all()


def test_mask_without_bending_is_opencvs():
    """Resize, blur, erode, blur, resize of a centred disc, with fixed sizes, by OpenCV."""
    still = replace(
        BLEND,
        elastic_alpha=0.0,
        mask_side=(192, 192),
        kernel=(11, 11),
        sigma=(7.0, 7.0),
        ratios=(1.0,),
    )
    move = torch.tensor([[1.0, 0.0, 0.0]])
    ours = blend_mask(discs(1).float(), move, still, Draws(generator(), 1))[0].numpy()
    canvas = cv2.GaussianBlur(
        cv2.resize(discs(1)[0].numpy().astype(np.float32), (192, 192)), (11, 11), 0
    )
    whole = (canvas / canvas.max() >= 1 - 5e-4).astype(np.float32)
    theirs = cv2.resize(cv2.GaussianBlur(whole, (11, 11), 7.0), (SIDE, SIDE))
    assert np.abs(ours - theirs / theirs.max()).max() < 2e-3


def test_source_is_moved_as_opencv_moves_it():
    image = pictures(1)[0].permute(1, 2, 0).numpy()
    scale, right, down = 1.04, 0.03, -0.015
    move = torch.tensor([[scale, right, down]])
    lines = blending._before_move(torch.arange(SIDE).expand(1, 2, -1), move, SIDE)
    images = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    ours = blending._sample(images, blending._grid(lines, SIDE))[0].permute(1, 2, 0).numpy()
    centre = (SIDE - 1) / 2
    matrix = np.array(
        [
            [scale, 0, centre * (1 - scale) + right * SIDE],
            [0, scale, centre * (1 - scale) + down * SIDE],
        ]
    )
    theirs = cv2.warpAffine(
        image.astype(np.float32), matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE
    )
    assert np.abs(ours - theirs)[4:-4, 4:-4].max() < 4  # OpenCV rounds places to 1/32 of a pixel


def test_elastic_field_has_the_spread_and_smoothness_of_filtered_noise():
    lines = torch.arange(SIDE, dtype=torch.float32).expand(64, 2, -1)
    ours = elastic(lines, SIDE, BLEND, Draws(generator(), 64))
    rng, noise = np.random.default_rng(0), []
    for _ in range(64):
        wide = cv2.GaussianBlur(
            rng.uniform(-1, 1, (SIDE + 84, SIDE + 84)), (85, 85), BLEND.elastic_sigma
        )
        noise.append(BLEND.elastic_alpha * wide[42:-42, 42:-42])
    theirs = np.stack(noise)
    for step in (0, 7, 14):
        actual = (ours[:, :, step:] * ours[:, :, : SIDE - step]).mean()
        assert float(actual) == pytest.approx(
            (theirs[:, :, step:] * theirs[:, :, : SIDE - step]).mean(), abs=0.12
        )


def test_draws_keep_within_the_published_ranges():
    draws = Draws(generator(), 4000)
    move = affine(BLEND, draws)
    low, high = move.amin(0).tolist(), move.amax(0).tolist()
    assert low == pytest.approx([0.95, -0.03, -0.015], abs=1e-3)
    assert high == pytest.approx([1 / 0.95, 0.03, 0.015], abs=1e-3)
    widths = blending._draw_kernel((5, 25), draws)
    assert widths.unique().tolist() == list(range(5, 26, 2))
    grey = torch.full((4000, 3, 2, 2), 120.0)
    common = common_change(
        torch.cat([grey, grey]), replace(BLEND, jpeg_probability=0.0, rgb_probability=0.0), draws
    )
    first, second = common.chunk(2)
    assert torch.equal(first, second)  # both images of a pair change alike
    assert (first != 120).flatten(1).any(1).float().mean() == pytest.approx(1 - 0.7**2, abs=0.05)
    assert first.max() <= 120 * 1.3 + 0.3 * 255 + 20 * 1.3 + 1


@pytest.mark.parametrize(("kind", "size"), [("windows", 64), ("fsfm", 120)])
def test_both_images_of_a_pair_are_seen_through_the_same_window(kind, size):
    images = pictures(6)
    views = random_views(
        torch.cat([images, images]),
        replace(RECIPE, augmentation=kind, input_size=size),
        0.3,
        Draws(generator(), 6),
    )
    first, second = views.chunk(2)
    assert (
        views.shape == (12, 3, size, size)
        and views.dtype == torch.uint8
        and torch.equal(first, second)
    )
    assert not torch.equal(first[0], first[1])


def test_boxes_keep_the_published_share_of_the_surroundings():
    """A ramp tells where the view begins: 5 to 15 % of the face box beyond its edge, which is at 15
    % of 1.3.
    """
    ramp = torch.arange(130.0).expand(200, 3, 130, 130).byte()
    views = random_views(
        torch.cat([ramp, ramp]),
        replace(RECIPE, augmentation="fsfm", input_size=130),
        0.3,
        Draws(generator(), 200),
    )
    left, right = views[:200, 0, 0, 0].float(), views[:200, 0, 0, -1].float()
    assert 0 <= left.min() <= 1 and 9 <= left.max() <= 11  # pixels, of a face of 100
    assert 119 <= right.min() <= 121 and 128 <= right.max() <= 130
    with pytest.raises(ValueError, match=r"sbi.augmentation is 'other'; known: fsfm, windows"):
        random_views(ramp, replace(RECIPE, augmentation="other"), 0.3, Draws(generator(), 100))
