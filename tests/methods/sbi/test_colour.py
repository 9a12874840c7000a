"""Changes of colour, resolution and compression against a second library."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest
import torch

from deepfake_repro.methods.sbi.colour import coarsen, hsv_shift, jpeg, sharpen
from support.toy_sbi import SIDE, pictures

pytestmark = pytest.mark.usefixtures("one_thread")


def test_hsv_shift_is_that_of_the_standard_library():
    images, shift = (
        pictures(3, 8).float(),
        torch.tensor([[20.0, -30.0, 15.0], [-9.0, 40.0, -20.0], [0.3, 0.3, -0.3]]),
    )
    ours = hsv_shift(images, shift)
    for number, (hue, saturation, value) in enumerate(
        (shift / torch.tensor([180, 255, 255])).tolist()
    ):
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
        kernel = a * np.array([[-1, -1, -1], [-1, 8 + b, -1], [-1, -1, -1]]) + (1 - a) * np.pad(
            [[1]], 1
        )
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
        assert (
            np.abs(ours - theirs)[:80, :80].mean() < 0.15 * lost + 0.3
        )  # colours are interpolated a little otherwise
        grey = images[:, :1].expand(-1, 3, -1, -1)
        data = cv2.imencode(".jpg", grey[0, 0].numpy(), (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
        theirs = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)[:80, :80].astype(float)
        ours = jpeg(grey.float(), torch.tensor([float(quality)]))[0, 1].numpy()[:80, :80]
        assert np.abs(ours - theirs).mean() < 0.25  # libjpeg computes with whole numbers
