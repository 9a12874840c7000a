"""Geometry and blending against closed forms."""

import cv2
import numpy as np
import pytest

from deepfake_repro.demo import exact, warps
from deepfake_repro.faces.landmarks import OVAL
from support.takes import smooth


def cloud(count=478, seed=0):
    """Landmarks about the middle of a 240 × 200 picture."""
    offsets = np.random.default_rng(seed).uniform(-50, 50, (count, 2))
    return (offsets + np.array((100, 120))).astype(np.float32)


def test_identical_landmarks_leave_the_picture_alone():
    warped = warps.warp(smooth(), cloud(), cloud(), (240, 200))
    assert np.abs(warped.astype(int) - smooth()).max() <= 1


@pytest.mark.parametrize(
    "angle, scale, shift", [(0.2, 1.0, (5, -3)), (-0.3, 1.25, (0, 0)), (0.0, 0.8, (12, 7))]
)
def test_a_pure_similarity_is_undone(angle, scale, shift):
    """A picture and its landmarks moved by a similarity are brought back."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([turn, np.array([100, 120]) - turn @ (100, 120) + shift])
    moved = cv2.warpAffine(
        smooth(), matrix, (200, 240), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    landmarks = (cloud() @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    np.testing.assert_allclose(warps.similarity(cloud(), landmarks), matrix, atol=2e-2)
    back = warps.warp(moved, landmarks, cloud(), (240, 200))
    inside = np.s_[60:180, 50:150]
    assert np.abs(back[inside].astype(int) - smooth()[inside]).mean() < 1
    assert np.abs(moved[inside].astype(int) - smooth()[inside]).mean() > 5


def test_the_displacement_is_right_at_the_points_and_nothing_at_the_border():
    at = np.array([(40, 40), (160, 40), (160, 200), (40, 200), (100, 120)], np.float32)
    move = np.array([(3, 0), (0, 3), (-3, 0), (0, -3), (4, 4)], np.float32)
    field = warps.displacement(at, move, (240, 200))
    assert field.shape == (240, 200, 2) and field.dtype == np.float64
    for (x, y), expected in zip(at.astype(int), move, strict=True):
        np.testing.assert_allclose(field[y, x], expected, atol=0.5)
    assert np.abs(field[0]).max() < 0.5 and np.abs(field[:, 0]).max() < 0.5


def test_a_region_mask_is_the_grown_hull_of_bytes():
    square = np.array([(60, 60), (140, 60), (140, 140), (60, 140)], np.float32)
    hard = warps.region_mask(square, [0, 1, 2, 3], (240, 200), 1.5, 0)
    expected = np.zeros((240, 200), np.uint8)
    expected[40:161, 40:161] = 255
    np.testing.assert_array_equal(hard, expected)
    soft = warps.region_mask(square, [0, 1, 2, 3], (240, 200), 1.0, 5.0)
    assert soft[100, 100] == 255 and soft[0, 0] == 0 and soft.dtype == np.uint8
    assert 0.4 < soft[60, 100] / 255 < 0.6


def spectrum(image):
    """Share of the energy at high spatial frequencies."""
    power = np.abs(np.fft.fftshift(np.fft.fft2(image.mean(2) - image.mean()))) ** 2
    ys, xs = np.mgrid[-1 : 1 : power.shape[0] * 1j, -1 : 1 : power.shape[1] * 1j]
    return power[np.hypot(ys, xs) > 0.5].sum() / power.sum()


@pytest.mark.parametrize("up", warps.INTERPOLATIONS)
def test_the_bottleneck_loses_high_frequencies_near_the_face_only(up):
    noise, points = (
        np.random.default_rng(0).integers(0, 256, (240, 200, 3), dtype=np.uint8),
        cloud(),
    )
    result = warps.bottleneck(noise, points, 32, up, 0.0)
    low, high = (
        points[list(OVAL)].min(0).astype(int) - 13,
        points[list(OVAL)].max(0).astype(int) + 14,
    )
    outside = np.ones((240, 200), bool)
    outside[low[1] : high[1], low[0] : high[0]] = False
    assert np.array_equal(result[outside], noise[outside])
    face = np.s_[low[1] + 2 : high[1] - 2, low[0] + 2 : high[0] - 2]
    assert (result[face] != noise[face]).mean() > 0.9
    assert spectrum(result[face]) < 0.5 * spectrum(noise[face])


def test_the_checkerboard_alternates_in_colour_and_hardly_in_luma():
    grey = np.full((16, 24, 3), 120, np.uint8)
    board = warps.checkered(grey, 10).astype(int)
    assert board[0, 0].tolist() == [130, 114, 130] and board[0, 4].tolist() == [110, 126, 110]
    assert np.array_equal(board[:8, :8], board[8:, 16:]) and np.array_equal(
        board[:4, :4], board[4:8, 4:8]
    )
    luma = cv2.cvtColor(board.astype(np.uint8), cv2.COLOR_RGB2GRAY).astype(int)
    assert np.ptp(luma) <= 2
    assert np.array_equal(warps.checkered(grey, 0), grey)


def variance(image, mask):
    """Variance of OpenCV's Laplacian inside the mask."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.Laplacian(grey, cv2.CV_64F)[mask > 127].var()


@pytest.mark.parametrize("share", [0.7, 1.0, 1.4])
@pytest.mark.parametrize("softness", [0.6, 1.6])
def test_a_face_becomes_as_sharp_as_asked(share, softness):
    """Softer or sharper than the target before, the layer has that share of its variance after."""
    noise = np.random.default_rng(1).integers(60, 190, (240, 200, 3), np.uint8)
    target = cv2.GaussianBlur(noise, (0, 0), 1.0)
    layer = cv2.GaussianBlur(noise[::-1], (0, 0), softness)
    mask = cv2.circle(np.zeros((240, 200), np.uint8), (100, 120), 60, 255, -1)
    assert not 0.6 < variance(layer, mask) / variance(target, mask) < 1.6
    matched = warps.match_sharpness(layer, target, mask, share)
    assert variance(matched, mask) == pytest.approx(share * variance(target, mask), rel=0.15)


def test_sharpness_is_the_mean_square_of_opencvs_laplacian():
    image = smooth()
    inside = np.zeros(image.shape[:2], bool)
    inside[50:150, 40:160] = True
    luma = exact.luma_chroma(image)[..., 0].astype(np.float64)
    expected = (cv2.Laplacian(luma, cv2.CV_64F)[inside] ** 2).mean()
    assert warps.sharpness(image, inside) == pytest.approx(expected)


@pytest.fixture
def patches():
    """(layer, target, mask): the same texture in two colours, and a disc."""
    texture = smooth().astype(np.float32)
    layer, target = (
        np.clip(texture * gain + add, 0, 255).astype(np.uint8)
        for gain, add in ((0.5, (90, 20, 10)), (0.8, (5, 40, 30)))
    )
    return layer, target, cv2.circle(np.zeros((240, 200), np.uint8), (100, 120), 60, 255, -1)


def lab(image, mask):
    """LAB values float32 inside the mask."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)[mask > 127]


def test_colour_transfer_brings_mean_and_spread_to_those_of_the_target(patches):
    layer, target, mask = patches
    goal = lab(target, mask)
    assert warps.match_colour(layer, target, mask, "none") is layer
    by_mean, by_both = (
        lab(warps.match_colour(layer, target, mask, how), mask) for how in ("mean", "spread")
    )
    assert np.abs(lab(layer, mask).mean(0) - goal.mean(0)).max() > 10
    for values in (by_mean, by_both):
        assert np.abs(values.mean(0) - goal.mean(0)).max() < 3
    assert np.abs(by_both.std(0) - goal.std(0)).max() < np.abs(by_mean.std(0) - goal.std(0)).max()


def test_poisson_cloning_keeps_the_target_outside_and_the_layers_gradients_inside(patches):
    layer, target, mask = patches
    cloned = warps.match_colour(layer, target, mask, "poisson")
    far = cv2.dilate(mask, np.ones((5, 5))) == 0
    changed = np.abs(cloned.astype(int) - target)
    assert (
        changed[far].max() < 12 < changed[mask > 127].max()
    )  # OpenCV solves in the mask's rectangle, to some levels
    rectangle = np.zeros_like(far)
    rectangle[55:186, 35:166] = True
    assert np.array_equal(cloned[~rectangle], target[~rectangle])
    deep = cv2.erode(mask, np.ones((21, 21))) > 0
    edges, wanted, other = (
        cv2.Laplacian(i.astype(np.float32), cv2.CV_32F, ksize=5)[deep]
        for i in (cloned, layer, target)
    )
    assert np.abs(edges - wanted).mean() < np.abs(edges - other).mean()
    assert np.abs(cloned[deep].astype(int) - layer[deep]).mean() > 5
