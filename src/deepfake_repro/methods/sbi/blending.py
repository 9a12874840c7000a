"""Self-blended images: a fake made from one real face (SBI in Table 3, Shiohara & Yamasaki 2022).

A face is blended onto a slightly changed copy of itself inside a deformed face hull. The pair shows
what every face swap leaves behind, a blending border between two statistics, and nothing of any
particular method. Written from the published description with its ranges (block ``blend`` of
``params.yaml``); it contains no code of SBI.

All of it works on whole batches of tensors, on any device. Random numbers are drawn on the CPU, so
the same seed gives the same pairs everywhere. Images are float ``[B, 3, S, S]`` of whole grey
levels 0-255. SBI works on a crop of about twice the face's width, ours is tighter: relative to the
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


class Draws:
    """Random numbers for a batch of ``size``, drawn on the CPU and moved to ``device``.

    Device ``rank`` of ``world`` has every ``world``-th image of the batch: it draws for all and
    takes the numbers of its own, so the images are the same on one device and on many.
    """

    def __init__(
        self,
        generator: torch.Generator,
        size: int,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.generator = generator
        self.size = size * world
        self.device = device
        self.own = slice(rank, None, world)

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """Draw floats ``[B, *shape]`` uniform in [low, high)."""
        values = torch.rand((self.size, *shape), generator=self.generator)
        return (low + (high - low) * values[self.own]).to(self.device)

    def within(self, limits: Sequence[float], *shape: int) -> torch.Tensor:
        """Draw floats ``[B, *shape]`` uniform between two ``limits``."""
        low, high = limits
        return self.uniform(low, high, *shape)

    def around_zero(self, limit: float, *shape: int) -> torch.Tensor:
        """Draw floats ``[B, *shape]`` uniform in [-limit, limit)."""
        return self.uniform(-limit, limit, *shape)

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw standard normal floats ``[B, *shape]``."""
        values = torch.randn((self.size, *shape), generator=self.generator)
        return values[self.own].to(self.device)

    def chance(self, probability: float) -> torch.Tensor:
        """Draw bools ``[B]``, true with ``probability``."""
        return self.uniform(0, 1) < probability

    def choice(self, values: Sequence[float]) -> torch.Tensor:
        """Draw floats ``[B]``, each of ``values`` equally often."""
        picked = torch.randint(len(values), (self.size,), generator=self.generator)
        return torch.tensor(values, dtype=torch.float32)[picked[self.own]].to(self.device)


@dataclass(frozen=True)
class Pairs:
    """Real and self-blended images uint8 ``[B, 3, S, S]``, blend masks float ``[B, S, S]``."""

    real: torch.Tensor
    fake: torch.Tensor
    mask: torch.Tensor


def self_blend(images: torch.Tensor, hulls: torch.Tensor, blend: Blend, draws: Draws) -> Pairs:
    """Make a pair from each face (SBI, Section 3).

    ``real = target`` and ``fake = mask * source + (1 - mask) * target``. ``images`` uint8 ``[B, 3,
    S, S]``, real faces; ``hulls`` ``[B, S, S]``, 1 inside the face hull. Source and target are the
    image and a changed copy of it, in either order. The pair differs inside the mask only; JPEG,
    which comes after blending and is the same for both, carries that into the 16 x 16 blocks that
    the mask touches.
    """
    flipped = draws.chance(blend.flip)
    images = _apply_where(flipped, images, _flip).float()
    hulls = _apply_where(flipped, hulls, _flip).float()
    changed = source_target_change(images, blend, draws)
    swap = draws.chance(0.5)[:, None, None, None]
    source = torch.where(swap, changed, images)
    target = torch.where(swap, images, changed)
    move = affine(blend, draws)
    mask = blend_mask(hulls, move, blend, draws)
    size = images.shape[-1]
    lines = torch.arange(size, device=images.device).expand(len(images), 2, -1)
    source = _sample(source, _grid(_before_move(lines, move, size), size))
    fake = torch.addcmul(target, mask[:, None], source.sub_(target))
    real, fake = common_change(torch.cat([target, fake]), blend, draws).byte().chunk(2)
    return Pairs(real, fake, mask)


def random_views(images: torch.Tensor, recipe: Sbi, margin: float, draws: Draws) -> torch.Tensor:
    """Cut the training views: uint8 ``[2B, 3, S, S]`` -> ``[2B, 3, s, s]``.

    Both images of a pair are cut alike. ``windows``: a window at native resolution (the demo).
    ``fsfm``: the face box with a random part of its surroundings on each side, resized; ``margin``:
    how far the crop extends beyond the box, both sides together. Raises ``ValueError`` for another
    ``recipe.augmentation``.
    """
    side = images.shape[-1]
    size = recipe.input_size
    if recipe.augmentation == "windows":
        corners = draws.uniform(0, side - size + 1, 2).int().repeat(2, 1).tolist()
        windows = [
            image[:, y : y + size, x : x + size]
            for image, (y, x) in zip(images, corners, strict=True)
        ]
        return torch.stack(windows)
    if recipe.augmentation != "fsfm":
        raise ValueError(
            f"sbi.augmentation is {recipe.augmentation!r}; known: {', '.join(AUGMENTATIONS)}"
        )
    shares = (margin / 2 - draws.within(recipe.blend.box_margin, 2, 2)).clamp(min=0)
    cut = shares * side / (1 + margin)
    step = (side - cut.sum(2, keepdim=True)) / size  # between output pixels, across and down
    lines = cut[..., :1] + (torch.arange(size, device=images.device) + 0.5) * step - 0.5
    return levels(_sample(images.float(), _grid(lines, side).repeat(2, 1, 1, 1))).byte()


def source_target_change(images: torch.Tensor, blend: Blend, draws: Draws) -> torch.Tensor:
    """Make the difference of source and target: colour, and lower resolution or sharpening."""
    shifted = draws.chance(blend.rgb_probability)
    shift = draws.around_zero(blend.rgb, 3)
    hsv = draws.around_zero(blend.hsv, 3)
    gain = draws.around_zero(blend.source_brightness)
    bias = draws.around_zero(blend.source_brightness)
    images = _apply_where(shifted, images, lambda part, rows: rgb_shift(part, shift[rows]))
    images = brightness_contrast(hsv_shift(images, hsv), 1 + gain, bias)
    coarse = draws.chance(0.5)
    factor = draws.choice(blend.coarsen)
    alpha = draws.within(blend.sharpen_alpha)
    lightness = draws.within(blend.sharpen_lightness)
    images = _apply_where(
        ~coarse, images, lambda part, rows: sharpen(part, alpha[rows], lightness[rows])
    )
    return _apply_where(coarse, images, lambda part, rows: coarsen(part, factor[rows]))


def common_change(images: torch.Tensor, blend: Blend, draws: Draws) -> torch.Tensor:
    """Change colour and compression, alike for both images of a pair.

    ``images`` ``[2B, 3, S, S]``: reals first, then fakes.
    """

    def for_both(values: torch.Tensor) -> torch.Tensor:
        return torch.cat([values, values])

    rgb_rows = for_both(draws.chance(blend.common_probability))
    hsv_rows = for_both(draws.chance(blend.common_probability))
    brightness_rows = for_both(draws.chance(blend.common_probability))
    shift = for_both(draws.around_zero(blend.rgb, 3))
    hsv = for_both(draws.around_zero(blend.hsv, 3))
    gain = for_both(draws.around_zero(blend.common_brightness))
    bias = for_both(draws.around_zero(blend.common_brightness))
    jpeg_rows = for_both(draws.chance(blend.jpeg_probability))
    quality = for_both(draws.within(blend.jpeg_quality).round())
    images = _apply_where(rgb_rows, images, lambda part, rows: rgb_shift(part, shift[rows]))
    images = _apply_where(hsv_rows, images, lambda part, rows: hsv_shift(part, hsv[rows]))
    images = _apply_where(
        brightness_rows,
        images,
        lambda part, rows: brightness_contrast(part, 1 + gain[rows], bias[rows]),
    )
    return _apply_where(jpeg_rows, levels(images), lambda part, rows: jpeg(part, quality[rows]))


def affine(blend: Blend, draws: Draws) -> torch.Tensor:
    """Draw the source's scale and shift ``[B, 3]``: factor; right, down as shares of the side."""
    scale = draws.uniform(blend.scale, 1 / blend.scale)
    right = draws.around_zero(blend.shift_x)
    down = draws.around_zero(blend.shift_y)
    return torch.stack([scale, right, down], 1)


def blend_mask(hulls: torch.Tensor, move: torch.Tensor, blend: Blend, draws: Draws) -> torch.Tensor:
    """Make soft masks ``[B, S, S]`` from hulls: moved like the source, deformed, blurred twice.

    The mask is resized to a random size, blurred, cut to where it is still whole (an erosion),
    blurred again, resized back, and multiplied by a ratio; so its highest value is the ratio.
    """
    low, high = blend.mask_side
    size = hulls.shape[-1]
    width = draws.uniform(low, high + 1).floor()
    height = draws.uniform(low, high + 1).floor()
    sides = torch.stack([width, height], 1)[..., None]
    lines = (torch.arange(high, device=hulls.device) + 0.5) * (size / sides) - 0.5
    grid = _grid(_before_move(lines, move, size), size)
    grid += elastic(lines, size, blend, draws) * (2 / size / move[:, None, None, :1])
    mask = _sample_mask(hulls, grid)
    widest = max(blend.kernel)
    first = _draw_kernel(blend.kernel, draws)
    second = _draw_kernel(blend.kernel, draws)
    # OpenCV's sigma for a kernel of this width.
    mask = _over_max(_blur(mask, first, 0.15 * first + 0.35, widest))
    eroded = (mask >= _WHOLE).float()
    mask = _over_max(_blur(eroded, second, draws.within(blend.sigma), widest))
    back = (torch.arange(size, device=hulls.device) + 0.5) * (sides / size) - 0.5
    mask = _over_max(_sample_mask(mask, _grid(back, high)))
    return mask * draws.choice(blend.ratios)[:, None, None]


def elastic(lines: torch.Tensor, size: int, blend: Blend, draws: Draws) -> torch.Tensor:
    """Draw displacements (x, y) in pixels ``[B, N, N, 2]`` at columns and rows ``[B, 2, N]``.

    ``size``: the side that ``lines`` refer to. The field is ``elastic_alpha`` times uniform noise
    in -1..1 filtered by a Gaussian of ``elastic_sigma`` pixels. It contains nothing finer than
    sigma, so normal numbers every few pixels under the same Gaussian give the same field.
    """
    sigma = blend.elastic_sigma
    step = _KNOTS * sigma
    knots = torch.arange(-3 * sigma, size + 3 * sigma, step, device=lines.device)
    weights = torch.exp((lines[..., None] - knots).square() / (-2 * sigma**2))
    columns, rows = weights.unsqueeze(2).unbind(1)
    noise = draws.normal(2, len(knots), len(knots))
    # The Gaussian sums to 2 pi sigma^2 over pixels; uniform noise in -1..1 has variance 1/3, on
    # knots step^2 of it.
    strength = blend.elastic_alpha * step / (3**0.5 * 2 * torch.pi * sigma**2)
    return (rows @ (strength * noise) @ columns.mT).permute(0, 2, 3, 1)


def _draw_kernel(kernel: Sequence[int], draws: Draws) -> torch.Tensor:
    """Draw odd kernel widths ``[B]``, each between the extremes of ``kernel`` equally often."""
    low = (min(kernel) - 1) // 2
    high = (max(kernel) - 1) // 2 + 1
    return 2 * draws.uniform(low, high).floor() + 1


def _blur(
    masks: torch.Tensor, widths: torch.Tensor, sigmas: torch.Tensor, widest: int
) -> torch.Tensor:
    """Blur each mask ``[B, N, N]`` by its own Gaussian of odd width and sigma ``[B]`` in pixels.

    Edges are repeated.
    """
    steps = torch.arange(widest, device=masks.device) - widest // 2
    inside = steps.abs() <= widths[:, None] // 2
    kernels = torch.exp(-steps.square() / (2 * sigmas[:, None].square())) * inside
    kernels = (kernels / kernels.sum(1, keepdim=True))[:, None, None]
    padded = F.pad(masks[None], (widest // 2,) * 4, mode="replicate")
    across = F.conv2d(padded, kernels, groups=len(masks))
    return F.conv2d(across, kernels.transpose(2, 3), groups=len(masks))[0]


def _over_max(masks: torch.Tensor) -> torch.Tensor:
    return masks / masks.amax((1, 2), keepdim=True).clamp(min=1e-6)


def _apply_where(chosen: torch.Tensor, images: torch.Tensor, change: Callable) -> torch.Tensor:
    """Replace the ``chosen`` rows ``[B]`` of ``images`` by ``change(part, rows)``."""
    rows = chosen.nonzero()[:, 0]
    return images.index_copy(0, rows, change(images[rows], rows)) if len(rows) else images


def _flip(images: torch.Tensor, _rows: torch.Tensor) -> torch.Tensor:
    return images.flip(-1)


def _before_move(lines: torch.Tensor, move: torch.Tensor, size: int) -> torch.Tensor:
    """Map columns and rows ``[B, 2, N]`` to where they were before scale and shift ``[B, 3]``."""
    centre = (size - 1) / 2
    return (lines - centre - size * move[:, 1:, None]) / move[:, :1, None] + centre


def _grid(lines: torch.Tensor, size: int) -> torch.Tensor:
    """Turn columns and rows in pixels ``[B, 2, N]`` into torch's sampling grid ``[B, N, N, 2]``.

    The grid runs from -1 to 1 between the outer edges.
    """
    columns, rows = ((2 * lines + 1) / size - 1).unbind(1)
    number = lines.shape[-1]
    x = columns[:, None].expand(-1, number, -1)
    y = rows[..., None].expand(-1, -1, number)
    return torch.stack([x, y], -1)


def _sample(images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Sample images ``[B, C, N, N]`` at the points of ``grid`` ``[B, M, M, 2]``."""
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _sample_mask(masks: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Sample masks ``[B, N, N]`` at the points of ``grid`` ``[B, M, M, 2]``."""
    return _sample(masks[:, None], grid)[:, 0]
