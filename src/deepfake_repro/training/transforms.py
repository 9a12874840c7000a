"""Crops -> network inputs: the training augmentation and the fixed views of evaluation.

``fsfm``     the paper's "same data augmentation strategy as in [54]": timm's ``create_transform``
             with FSFM's settings; its crop ran *bilinear* although its code says bicubic.
``windows``  the demo's: a window of the crop at native resolution. A small network sees traces of
             manipulation only there; downscaling the crop removes them.
``lnclip``   LNCLIP-DF's list: flip, small affine moves, rare blur, slight colour jitter, JPEG of
             quality 40-100; in evaluation the whole crop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from timm.data import create_transform
from torchvision.transforms import v2

AUGMENTATIONS = ("fsfm", "windows", "lnclip")
Channels = tuple[float, float, float]
Transform = Callable[[np.ndarray], torch.Tensor]


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per channel (RGB, scale 0-1) of the start's pre-training."""

    mean: Channels
    std: Channels


UNCHANGED = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Pixels divided by 255 and nothing else, as in SBI."""


def channels(values: Iterable[float]) -> Channels:
    """Return one number per colour channel; ``ValueError`` unless there are three."""
    red, green, blue = values
    return red, green, blue


def training_transform(kind: str, size: int, norm: Normalisation) -> Transform:
    """Make the random transform uint8 RGB ``[H, W, 3]`` -> float32 ``[3, size, size]``.

    Raises ``ValueError`` for an unknown ``kind``.
    """
    if kind == "fsfm":
        timm_transform = create_transform(
            input_size=size,
            is_training=True,
            color_jitter=None,  # type: ignore[arg-type]  # timm's own way to switch it off
            auto_augment="rand-m9-mstd0.5-inc1",
            interpolation="bilinear",
            re_prob=0.25,
            re_mode="pixel",
            re_count=1,
            mean=norm.mean,
            std=norm.std,
        )
        return v2.Compose([v2.ToPILImage(), _with_zero_bits(timm_transform)])
    if kind == "windows":
        return v2.Compose(
            [v2.ToImage(), v2.RandomCrop(size), v2.RandomHorizontalFlip(), *_to_float(norm)]
        )
    if kind == "lnclip":
        return v2.Compose([v2.ToImage(), *_lnclip_distortions(), _resize(size), *_to_float(norm)])
    raise ValueError(f"train.augmentation is {kind!r}; known: {', '.join(AUGMENTATIONS)}")


def evaluation_transform(kind: str, size: int, norm: Normalisation) -> Transform:
    """Make the transform uint8 RGB ``[H, W, 3]`` -> float32 ``[V, 3, size, size]``: V fixed views.

    The network's outputs are averaged over the views.
    ``fsfm``: one view, resized to 256/224 of ``size`` and cropped at the centre, as in FSFM.
    ``windows``: four windows, symmetric about the centre, which together cover the face.
    ``lnclip``: one view, the whole crop, as CLIP pre-processes a square image.
    Raises ``ValueError`` for an unknown ``kind``.
    """
    if kind == "fsfm":
        resize = v2.Resize(round(size * 256 / 224), interpolation=v2.InterpolationMode.BICUBIC)
        return v2.Compose(
            [v2.ToImage(), resize, v2.CenterCrop(size), *_to_float(norm), _single_view]
        )
    if kind == "windows":
        return v2.Compose(
            [v2.ToImage(), *_to_float(norm), lambda image: _four_windows(image, size)]
        )
    if kind == "lnclip":
        return v2.Compose([v2.ToImage(), _resize(size), *_to_float(norm), _single_view])
    raise ValueError(f"train.augmentation is {kind!r}; known: {', '.join(AUGMENTATIONS)}")


def _with_zero_bits(transform: v2.Compose) -> v2.Compose:
    """Let PosterizeIncreasing in ``transform`` keep 0 bits, as it does at full magnitude.

    That happens to about one crop in 600. The Pillow of FSFM's time then returned a black image;
    today's raises ``ValueError``.
    """
    for part in transform.transforms:
        for operation in getattr(part, "ops", ()):
            if operation.name == "PosterizeIncreasing":
                operation.aug_fn = _posterize
    return transform


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    return ImageOps.posterize(image, bits) if bits else Image.new(image.mode, image.size)


def _lnclip_distortions() -> Sequence[Callable]:
    """Make LNCLIP-DF's distortions as published; affine moves and JPEG act on every crop."""
    return (
        v2.RandomHorizontalFlip(0.5),
        v2.RandomAffine(
            10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=v2.InterpolationMode.BILINEAR
        ),
        v2.RandomApply([v2.GaussianBlur(7, (0.1, 2.0))], 0.1),
        v2.ColorJitter(brightness=0.1, contrast=0.1),
        v2.JPEG((40, 100)),
    )


def _resize(size: int) -> Callable:
    return v2.Resize((size, size), interpolation=v2.InterpolationMode.BICUBIC)


def _to_float(norm: Normalisation) -> Sequence[Callable]:
    return v2.ToDtype(torch.float32, scale=True), v2.Normalize(norm.mean, norm.std)


def _single_view(image: torch.Tensor) -> torch.Tensor:
    return image[None]


def _four_windows(image: torch.Tensor, size: int) -> torch.Tensor:
    """Cut windows whose corners are an eighth of the free border in from the image's corners."""
    near = [(side - size) // 8 for side in image.shape[1:]]
    far = [side - size - offset for side, offset in zip(image.shape[1:], near, strict=True)]
    corners = [(y, x) for y in (near[0], far[0]) for x in (near[1], far[1])]
    return torch.stack([image[:, y : y + size, x : x + size] for y, x in corners])
