"""Changes of colour, resolution and compression on batches of images, for self-blended images.

Images are float ``[B, 3, S, S]`` RGB on the scale 0-255 and stay within it; parameters have one
value per image.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

# ITU-T T.81, Annex K: quantisation of luminance and chrominance at quality 50.
# fmt: off
_LUMINANCE = (
    16, 11, 10, 16,  24,  40,  51,  61,
    12, 12, 14, 19,  26,  58,  60,  55,
    14, 13, 16, 24,  40,  57,  69,  56,
    14, 17, 22, 29,  51,  87,  80,  62,
    18, 22, 37, 56,  68, 109, 103,  77,
    24, 35, 55, 64,  81, 104, 113,  92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103,  99,
)
_CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)
# fmt: on
_TO_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)
"""RGB to luminance and chrominance, as in JFIF."""
_BLOCK = 8


def levels(images: torch.Tensor) -> torch.Tensor:
    """Round to whole grey levels 0-255, as a file stores them."""
    return images.round().clamp_(0, 255)


def rgb_shift(images: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Shift the channels by ``shift`` ``[B, 3]`` grey levels."""
    return (images + shift[..., None, None]).clamp_(0, 255)


def brightness_contrast(
    images: torch.Tensor, gain: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Compute ``gain * image + 255 * bias``, both ``[B]``."""
    offset = 255 * bias[:, None, None, None]
    return torch.addcmul(offset, images, gain[:, None, None, None]).clamp_(0, 255)


def hsv_shift(images: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Shift hue, saturation, value by ``shift`` ``[B, 3]`` on OpenCV's scales: 0-180, 0-255, 0-255.

    A published shift is at most 0.3 of these, less than a grey level for most pixels.
    """
    hue, saturation, value = shift[:, :, None, None].unbind(1)
    red, green, blue = images.unbind(1)
    top = torch.maximum(torch.maximum(red, green), blue)
    chroma = top - torch.minimum(torch.minimum(red, green), blue)
    share = chroma.clamp(min=1e-6).reciprocal_()
    sixths = torch.where(
        top == red,
        (green - blue) * share,
        torch.where(top == green, (blue - red) * share + 2, (red - green) * share + 4),
    )
    sixths = sixths.add_(hue / 30).remainder_(6)
    depth = chroma.div_(top.clamp(min=1e-6)).add_(saturation / 255).clamp_(0, 1)
    top.add_(value).clamp_(0, 255)
    depth.mul_(top)
    missing = (
        (sixths - 3).abs_().neg_().add_(2),
        (sixths - 2).abs_().sub_(1),
        (sixths - 4).abs_().sub_(1),
    )
    channels = [torch.addcmul(top, depth, part.clamp_(0, 1), value=-1) for part in missing]
    return torch.stack(channels, 1)


def sharpen(images: torch.Tensor, alpha: torch.Tensor, lightness: torch.Tensor) -> torch.Tensor:
    """Replace a share ``alpha`` ``[B]`` by ``(8 + lightness) * pixel - its eight neighbours``."""
    alpha = alpha[:, None, None, None]
    lightness = lightness[:, None, None, None]
    wide = F.pad(images, (1,) * 4, mode="reflect")
    rows = wide[..., :-2, :] + wide[..., 1:-1, :] + wide[..., 2:, :]
    # The sum of the eight neighbours and the pixel itself.
    around = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])
    scaled = (1 + alpha * (8 + lightness)) * images
    return torch.addcmul(scaled, alpha, around, value=-1).clamp_(0, 255)


def coarsen(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Keep every ``factor``-th pixel ``[B]`` in both directions and enlarge again bilinearly."""
    result = images.clone()
    for step in factor.unique().int().tolist():
        rows = factor == step
        small = images[rows][..., ::step, ::step]
        result[rows] = F.interpolate(small, images.shape[-2:], mode="bilinear", align_corners=False)
    return result


def jpeg(images: torch.Tensor, quality: torch.Tensor) -> torch.Tensor:
    """Apply the loss of JPEG of ``quality`` ``[B]`` (1-100, 4:2:0) to images of whole levels.

    Only the lossy part is computed.
    """
    height, width = images.shape[-2:]
    padded = F.pad(images, (0, -width % 16, 0, -height % 16), mode="replicate")
    to_ycc = torch.tensor(_TO_YCC, device=images.device)
    ycc = _mix_channels(to_ycc, padded)
    luminance = _quantise(ycc[:, :1] - 128, quality, _LUMINANCE).add_(128)
    small = _quantise(F.avg_pool2d(ycc[:, 1:], 2), quality, _CHROMINANCE)
    # libjpeg's "fancy" filter.
    chroma = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    rgb = _mix_channels(torch.linalg.inv(to_ycc), torch.cat([luminance, chroma], 1))
    return levels(rgb)[..., :height, :width]


def _mix_channels(matrix: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    return (matrix @ images.flatten(2)).unflatten(2, images.shape[2:])


def _quantise(planes: torch.Tensor, quality: torch.Tensor, table: tuple[int, ...]) -> torch.Tensor:
    """Transform ``[B, C, H, W]`` by 8 x 8 cosines, round to the quality's steps, transform back."""
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None]
    steps = ((torch.tensor(table, device=planes.device) * scale + 50) / 100).floor().clamp(1, 255)
    cosine = _cosine(planes.device)
    both = torch.kron(cosine, cosine)  # [frequency of a block, its pixel], 64 x 64
    # [B * C, 64, H / 8, W / 8]
    blocks = F.pixel_unshuffle(planes.round().flatten(0, 1)[:, None], _BLOCK)
    steps = steps.repeat_interleave(planes.shape[1], 0)[..., None]
    kept = (both @ blocks.flatten(2)).div_(steps).round_().mul_(steps)
    pixels = F.pixel_shuffle((both.T @ kept).reshape(blocks.shape), _BLOCK)
    return pixels.reshape(planes.shape).round_()


def _cosine(device: torch.device) -> torch.Tensor:
    """Compute the orthonormal cosine transform ``[8, 8]``: frequency by position."""
    position = torch.arange(_BLOCK, device=device, dtype=torch.float32)
    rows = torch.cos(torch.pi / _BLOCK * (position + 0.5) * position[:, None]) * (2 / _BLOCK) ** 0.5
    rows[0] /= 2**0.5
    return rows
