"""Pairs per second of the batched generator against the same operations written image by image:
ratios, one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from scipy.ndimage import gaussian_filter, map_coordinates

from deepfake_repro.methods.sbi.blending import Draws, self_blend
from deepfake_repro.project import params

pytestmark = pytest.mark.bench

BLEND = params.load(Path(__file__).resolve().parents[2] / "params.yaml").profile("paper").sbi.blend
SIDE, BATCH = 224, 16


def shifted_hsv(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    hue, saturation, value = rng.uniform(-BLEND.hsv, BLEND.hsv, 3) / (180, 255, 255)
    hsv = rgb_to_hsv(image / 255) + (hue, saturation, value)
    hsv[..., 0] %= 1
    return 255 * hsv_to_rgb(np.clip(hsv, 0, 1))


def brighter(image: np.ndarray, limit: float, rng: np.random.Generator) -> np.ndarray:
    gain, bias = rng.uniform(-limit, limit, 2)
    return np.clip(image * (1 + gain) + 255 * bias, 0, 255)


def changed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < BLEND.rgb_probability:
        image = np.clip(image + rng.uniform(-BLEND.rgb, BLEND.rgb, 3), 0, 255)
    image = brighter(shifted_hsv(image, rng), BLEND.source_brightness, rng)
    if rng.random() < 0.5:
        step = int(rng.choice(BLEND.coarsen))
        return cv2.resize(image[::step, ::step], image.shape[:2], interpolation=cv2.INTER_LINEAR)
    alpha, lightness = rng.uniform(*BLEND.sharpen_alpha), rng.uniform(*BLEND.sharpen_lightness)
    kernel = alpha * np.array([[-1, -1, -1], [-1, 8 + lightness, -1], [-1, -1, -1]])
    kernel[1, 1] += 1 - alpha
    return np.clip(cv2.filter2D(image, -1, kernel), 0, 255)


def both_changed(image: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if rng.random() < BLEND.common_probability:
        image = np.clip(image + rng.uniform(-BLEND.rgb, BLEND.rgb, 3), 0, 255)
    if rng.random() < BLEND.common_probability:
        image = shifted_hsv(image, rng)
    if rng.random() < BLEND.common_probability:
        image = brighter(image, BLEND.common_brightness, rng)
    image = image.round().astype(np.uint8)
    if rng.random() < BLEND.jpeg_probability:
        quality = int(rng.integers(*BLEND.jpeg_quality))
        image = cv2.imdecode(
            cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1], cv2.IMREAD_COLOR
        )
    return image


def warped(plane: np.ndarray, places: np.ndarray) -> np.ndarray:
    return map_coordinates(plane, places, order=1, mode="nearest")


def one_mask(hull: np.ndarray, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.uniform(-1, 1, (2, SIDE, SIDE))
    bent = np.stack(
        [BLEND.elastic_alpha * gaussian_filter(plane, BLEND.elastic_sigma) for plane in noise]
    )
    mask = warped(warped(hull.astype(float), places), np.indices((SIDE, SIDE)) + bent)
    low, high = BLEND.mask_side
    mask = cv2.resize(mask, tuple(int(side) for side in rng.integers(low, high + 1, 2)))
    width = int(2 * rng.integers(2, 13) + 1)
    mask = cv2.GaussianBlur(mask, (width, width), 0)
    mask = np.where(mask / mask.max() < 1 - 1e-6, 0.0, 1.0)
    width = int(2 * rng.integers(2, 13) + 1)
    mask = cv2.GaussianBlur(mask, (width, width), rng.uniform(*BLEND.sigma))
    return cv2.resize(mask / mask.max(), (SIDE, SIDE)) * rng.choice(BLEND.ratios)


def one_pair(
    image: np.ndarray, hull: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A real and a self-blended image from one face, as one writes it down: NumPy, SciPy,
    OpenCV.
    """
    if rng.random() < BLEND.flip:
        image, hull = image[:, ::-1], hull[:, ::-1]
    image = image.astype(float)
    source, target = image, changed(image, rng)
    if rng.random() < 0.5:
        source, target = target, source
    scale, down, right = (
        rng.uniform(BLEND.scale, 1 / BLEND.scale),
        rng.uniform(-3, 3),
        rng.uniform(-6, 6),
    )
    places = (np.indices((SIDE, SIDE)) - 112 - np.array([down, right])[:, None, None]) / scale + 112
    source = np.stack([warped(source[..., channel], places) for channel in range(3)], -1)
    mask = one_mask(hull, places, rng)[..., None]
    seed = int(rng.integers(1 << 30))
    return both_changed(target, seed), both_changed(mask * source + (1 - mask) * target, seed)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def cpu_seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Median processor time of ``call`` after one warm-up; other work on the machine does not
    count.
    """
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return sorted(times)[repeats // 2]


def test_batches_beside_image_by_image() -> None:
    rng = np.random.default_rng(0)
    images = np.stack(
        [
            cv2.GaussianBlur(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), (0, 0), 2)
            for _ in range(BATCH)
        ]
    )
    hulls = np.repeat(
        cv2.ellipse(np.zeros((SIDE, SIDE), np.uint8), (112, 118), (70, 85), 0, 0, 360, 1, -1)[None],
        BATCH,
        axis=0,
    )
    tensors = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(hulls)
    generator = torch.Generator().manual_seed(0)
    ours = cpu_seconds(lambda: self_blend(*tensors, BLEND, Draws(generator, BATCH)))
    theirs = cpu_seconds(lambda: [one_pair(*face, rng) for face in zip(images, hulls, strict=True)])
    print(
        f"\nself-blended pairs a second, one core, {SIDE} px: batches of {BATCH} {BATCH / ours:.0f}, "
        f"image by image {BATCH / theirs:.0f}; ratio {theirs / ours:.1f}"
    )
