"""Self-blended images: a fake made from one real face (the SBI baseline of Table 3, Shiohara & Yamasaki 2022).

A face is blended onto a slightly changed copy of itself inside a deformed face hull. The pair shows
what every face swap leaves behind, a blending border between two statistics, and nothing of any one
method. Written from the published description with its ranges (block ``blend`` of ``params.yaml``);
no code of SBI is in it.

All of it works on whole batches of tensors, on any device. Random numbers are drawn on the CPU, so
the same seed gives the same pairs everywhere. Images are float ``[B, 3, S, S]`` of whole grey
levels 0-255. SBI works on a crop of about twice the face's width, ours is tighter: seen from the
face, the same blur kernels are about 0.7 as wide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ...project.recipes import Blend, Sbi
from ...training.transforms import AUGMENTATIONS
from .colour import brightness_contrast, coarsen, hsv_shift, jpeg, levels, rgb_shift, sharpen

_KNOTS = 0.8
"""Sigmas between the random numbers under an elastic field; a finer grid would change nothing."""
_WHOLE = 1 - 5e-4
"""A blurred mask this high had nothing but ones under its kernel, up to rounding."""
_SAMPLING = {"mode": "bilinear", "padding_mode": "border", "align_corners": False}


class Draws:
    """Random numbers for a batch of ``size``: made on the CPU from ``generator``, delivered on ``device``.

    Device ``rank`` of ``world`` has every ``world``-th image of the batch: it draws for all and
    takes the numbers of its own, so that the images are the same on one device and on many.
    """

    def __init__(
        self,
        generator: torch.Generator,
        size: int,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.generator, self.size, self.device = generator, size * world, device
        self.mine = slice(rank, None, world)

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """Float ``[B, *shape]`` uniform in [low, high)."""
        values = torch.rand((self.size, *shape), generator=self.generator)
        return (low + (high - low) * values[self.mine]).to(self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal ``[B, *shape]``."""
        return torch.randn((self.size, *shape), generator=self.generator)[self.mine].to(self.device)

    def chance(self, probability: float) -> torch.Tensor:
        """Bool ``[B]``, true with ``probability``."""
        return self.uniform(0, 1) < probability

    def choice(self, values: Sequence[float]) -> torch.Tensor:
        """Float ``[B]``, each of ``values`` equally often."""
        picked = torch.randint(len(values), (self.size,), generator=self.generator)
        return torch.tensor(values, dtype=torch.float32)[picked[self.mine]].to(self.device)


@dataclass(frozen=True)
class Pairs:
    """Real and self-blended images uint8 ``[B, 3, S, S]`` and the blend mask float ``[B, S, S]`` in 0..1."""

    real: torch.Tensor
    fake: torch.Tensor
    mask: torch.Tensor


def self_blend(images: torch.Tensor, hulls: torch.Tensor, blend: Blend, draws: Draws) -> Pairs:
    """A pair from each face: ``fake = mask * source + (1 - mask) * target``, ``real = target`` (SBI, Section 3).

    ``images`` uint8 ``[B, 3, S, S]``, real faces; ``hulls`` ``[B, S, S]``, 1 inside the face hull.
    Source and target are the image and a changed copy of it, either way round. The pair differs
    inside the mask only; JPEG, which comes after blending and is the same for both, carries that
    into the 16 x 16 blocks the mask touches.
    """
    turned = draws.chance(blend.flip)
    images, hulls = (
        _for(turned, part, lambda some, _: some.flip(-1)).float() for part in (images, hulls)
    )
    changed = source_target_change(images, blend, draws)
    swap = draws.chance(0.5)[:, None, None, None]
    source, target = torch.where(swap, changed, images), torch.where(swap, images, changed)
    move, size = affine(blend, draws), images.shape[-1]
    mask = blend_mask(hulls, move, blend, draws)
    lines = _moved(torch.arange(size, device=images.device).expand(len(images), 2, -1), move, size)
    source = F.grid_sample(source, _grid(lines, size), **_SAMPLING)
    fake = torch.addcmul(target, mask[:, None], source.sub_(target))
    real, fake = common_change(torch.cat([target, fake]), blend, draws).byte().chunk(2)
    return Pairs(real, fake, mask)


def random_views(images: torch.Tensor, recipe: Sbi, margin: float, draws: Draws) -> torch.Tensor:
    """What the network sees in training: uint8 ``[2B, 3, S, S]`` -> ``[2B, 3, s, s]``, the same cut of both of a pair.

    ``windows``: a window at native resolution (the demo). ``fsfm``: the face box with a random part of its
    surroundings on each side, resized; ``margin``: how much the crop has beyond the box, both sides together.
    Raises ``ValueError`` for another ``recipe.augmentation``.
    """
    side, size = images.shape[-1], recipe.input_size
    if recipe.augmentation == "windows":
        corners = draws.uniform(0, side - size + 1, 2).int().repeat(2, 1).tolist()
        return torch.stack(
            [
                image[:, y : y + size, x : x + size]
                for image, (y, x) in zip(images, corners, strict=True)
            ]
        )
    if recipe.augmentation != "fsfm":
        raise ValueError(
            f"sbi.augmentation is {recipe.augmentation!r}; known: {', '.join(AUGMENTATIONS)}"
        )
    cut = (
        (margin / 2 - draws.uniform(*recipe.blend.box_margin, 2, 2)).clamp(min=0)
        * side
        / (1 + margin)
    )
    width = (side - cut.sum(2, keepdim=True)) / size  # of an output pixel, across and down
    lines = cut[..., :1] + (torch.arange(size, device=images.device) + 0.5) * width - 0.5
    return levels(
        F.grid_sample(images.float(), _grid(lines, side).repeat(2, 1, 1, 1), **_SAMPLING)
    ).byte()


def source_target_change(images: torch.Tensor, blend: Blend, draws: Draws) -> torch.Tensor:
    """The change that sets source and target apart: colour, and either lower resolution or sharpening."""
    shifted, shift = draws.chance(blend.rgb_probability), draws.uniform(-blend.rgb, blend.rgb, 3)
    hsv = draws.uniform(-blend.hsv, blend.hsv, 3)
    gain, bias = (
        draws.uniform(-blend.source_brightness, blend.source_brightness) for _ in range(2)
    )
    images = _for(shifted, images, lambda part, some: rgb_shift(part, shift[some]))
    images = brightness_contrast(hsv_shift(images, hsv), 1 + gain, bias)
    coarse, factor = draws.chance(0.5), draws.choice(blend.coarsen)
    alpha, lightness = draws.uniform(*blend.sharpen_alpha), draws.uniform(*blend.sharpen_lightness)
    images = _for(~coarse, images, lambda part, some: sharpen(part, alpha[some], lightness[some]))
    return _for(coarse, images, lambda part, some: coarsen(part, factor[some]))


def common_change(images: torch.Tensor, blend: Blend, draws: Draws) -> torch.Tensor:
    """Colour and JPEG changes, the same for both images of a pair: ``[2B, 3, S, S]``, the reals first."""

    def both(*parts: torch.Tensor) -> list[torch.Tensor]:
        return [torch.cat([part, part]) for part in parts]

    shifted, turned, lit = both(*(draws.chance(blend.common_probability) for _ in range(3)))
    shift, hsv = both(
        draws.uniform(-blend.rgb, blend.rgb, 3), draws.uniform(-blend.hsv, blend.hsv, 3)
    )
    gain, bias = both(
        *(draws.uniform(-blend.common_brightness, blend.common_brightness) for _ in range(2))
    )
    compressed, quality = both(
        draws.chance(blend.jpeg_probability), draws.uniform(*blend.jpeg_quality).round()
    )
    images = _for(shifted, images, lambda part, some: rgb_shift(part, shift[some]))
    images = _for(turned, images, lambda part, some: hsv_shift(part, hsv[some]))
    images = levels(
        _for(lit, images, lambda part, some: brightness_contrast(part, 1 + gain[some], bias[some]))
    )
    return _for(compressed, images, lambda part, some: jpeg(part, quality[some]))


def affine(blend: Blend, draws: Draws) -> torch.Tensor:
    """Scale and shift of the source, ``[B, 3]``: factor, and right and down as shares of the side."""
    scale = draws.uniform(blend.scale, 1 / blend.scale)
    return torch.stack(
        [
            scale,
            draws.uniform(-blend.shift_x, blend.shift_x),
            draws.uniform(-blend.shift_y, blend.shift_y),
        ],
        1,
    )


def blend_mask(hulls: torch.Tensor, move: torch.Tensor, blend: Blend, draws: Draws) -> torch.Tensor:
    """Soft masks ``[B, S, S]`` from hulls ``[B, S, S]``: moved like the source, bent elastically, blurred twice.

    The mask is brought to a random size, blurred, cut to where it is still whole (an erosion),
    blurred again, brought back, and multiplied by a ratio; so its highest value is the ratio.
    """
    low, high = blend.mask_side
    size = hulls.shape[-1]
    sides = torch.stack([draws.uniform(low, high + 1).floor() for _ in range(2)], 1)[
        ..., None
    ]  # width, height
    lines = (torch.arange(high, device=hulls.device) + 0.5) * (size / sides) - 0.5
    grid = _grid(_moved(lines, move, size), size)
    grid += elastic(lines, size, blend, draws) * (2 / size / move[:, None, None, :1])
    mask = _sample(hulls, grid)
    first, second = (2 * draws.uniform(*_halves(blend.kernel)).floor() + 1 for _ in range(2))
    mask = _over_max(
        _blur(mask, first, 0.15 * first + 0.35, max(blend.kernel))
    )  # OpenCV's sigma for a kernel
    mask = _over_max(
        _blur((mask >= _WHOLE).float(), second, draws.uniform(*blend.sigma), max(blend.kernel))
    )
    back = (torch.arange(size, device=hulls.device) + 0.5) * (sides / size) - 0.5
    return _over_max(_sample(mask, _grid(back, high))) * draws.choice(blend.ratios)[:, None, None]


def elastic(lines: torch.Tensor, size: int, blend: Blend, draws: Draws) -> torch.Tensor:
    """Displacement (x, y) in pixels ``[B, N, N, 2]`` at columns and rows ``lines`` ``[B, 2, N]`` of a side ``size``.

    ``elastic_alpha`` times uniform noise in -1..1 filtered by a Gaussian of ``elastic_sigma``
    pixels. That field holds nothing finer than sigma: normal numbers every few pixels under the
    same Gaussian give the same field.
    """
    sigma, step = blend.elastic_sigma, _KNOTS * blend.elastic_sigma
    knots = torch.arange(-3 * sigma, size + 3 * sigma, step, device=lines.device)
    columns, rows = (
        torch.exp((lines[..., None] - knots).square() / (-2 * sigma**2)).unsqueeze(2).unbind(1)
    )
    noise = draws.normal(2, len(knots), len(knots))
    # The Gaussian sums to 2 pi sigma^2 over pixels; uniform noise in -1..1 has variance 1/3, on
    # knots step^2 of it.
    strength = blend.elastic_alpha * step / (3**0.5 * 2 * torch.pi * sigma**2)
    return (rows @ (strength * noise) @ columns.mT).permute(0, 2, 3, 1)


def _halves(kernel: Sequence[int]) -> tuple[float, float]:
    """Range of (k - 1) / 2 whose floor gives every odd k of ``kernel`` equally often."""
    return (min(kernel) - 1) // 2, (max(kernel) - 1) // 2 + 1


def _blur(
    masks: torch.Tensor, widths: torch.Tensor, sigmas: torch.Tensor, widest: int
) -> torch.Tensor:
    """Each mask ``[B, N, N]`` under its own Gaussian kernel: odd width and sigma ``[B]`` in pixels, edges repeated."""
    steps = torch.arange(widest, device=masks.device) - widest // 2
    kernels = torch.exp(-steps.square() / (2 * sigmas[:, None].square())) * (
        steps.abs() <= widths[:, None] // 2
    )
    kernels = (kernels / kernels.sum(1, keepdim=True))[:, None, None]
    padded = F.pad(masks[None], (widest // 2,) * 4, mode="replicate")
    across = F.conv2d(padded, kernels, groups=len(masks))
    return F.conv2d(across, kernels.transpose(2, 3), groups=len(masks))[0]


def _over_max(masks: torch.Tensor) -> torch.Tensor:
    return masks / masks.amax((1, 2), keepdim=True).clamp(min=1e-6)


def _for(chosen: torch.Tensor, images: torch.Tensor, change: Callable) -> torch.Tensor:
    """``images`` with ``change(part, rows)`` in place of the chosen rows ``[B]``."""
    rows = chosen.nonzero()[:, 0]
    return images.index_copy(0, rows, change(images[rows], rows)) if len(rows) else images


def _moved(lines: torch.Tensor, move: torch.Tensor, size: int) -> torch.Tensor:
    """Where columns and rows ``[B, 2, N]`` of a side ``size`` were before scale and shift ``move`` ``[B, 3]``."""
    centre = (size - 1) / 2
    return (lines - centre - size * move[:, 1:, None]) / move[:, :1, None] + centre


def _grid(lines: torch.Tensor, size: int) -> torch.Tensor:
    """Columns and rows in pixels ``[B, 2, N]`` as torch's sampling grid ``[B, N, N, 2]``, -1..1 from edge to edge."""
    columns, rows = ((2 * lines + 1) / size - 1).unbind(1)
    number = lines.shape[-1]
    return torch.stack(
        [columns[:, None].expand(-1, number, -1), rows[..., None].expand(-1, -1, number)], -1
    )


def _sample(masks: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Masks ``[B, N, N]`` at the places of ``grid`` ``[B, M, M, 2]``."""
    return F.grid_sample(masks[:, None], grid, **_SAMPLING)[:, 0]
