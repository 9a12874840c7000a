"""FSFM's two networks, with the shapes and names of its released files (Section 3.2).

The *online* network (``FSFM``) sees the visible patches, reconstructs the hidden ones and describes
the face; the *target* network (``Target``) sees all patches and only describes it. For ViT-B/16 and
FSFM's own decoders the online network has the 297 tensors of the released checkpoint.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn
from torch.nn import functional as F

from ...project.recipes import Pretrain

M = TypeVar("M", bound=nn.Module)


def sincos_table(width: int, grid: int) -> torch.Tensor:
    """Compute fixed sine-cosine positions ``[1, 1 + grid², width]``, zeros for CLS.

    The first half of the width encodes the column, the second the row.
    """
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies
    axis = torch.cat([angles.sin(), angles.cos()], 1)
    table = torch.cat([axis.repeat(grid, 1), axis.repeat_interleave(grid, 0)], 1)
    return torch.cat([torch.zeros(1, width, dtype=table.dtype), table])[None].float()


@torch.no_grad()
def initialise_from_scratch(encoder: VisionTransformer) -> None:
    """Give ``encoder`` FSFM's fresh weights: MAE's initialisation, fixed sine-cosine positions."""
    cls_token, positions = _class_token_and_positions(encoder)
    _initialise(encoder.blocks)
    nn.init.xavier_uniform_(encoder.patch_embed.proj.weight.flatten(1))
    nn.init.normal_(cls_token, std=0.02)
    positions.copy_(sincos_table(positions.shape[-1], encoder.patch_embed.grid_size[0]))


class Projection(nn.Module):
    """Projector and predictor: Linear, LayerNorm, ReLU, Linear; no batch norm."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.projection_head = _initialise(
            nn.Sequential(
                nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, out)
            )
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project ``[B, width]`` -> ``[B, out]``."""
        return self.projection_head(features)


class Branch(nn.Module):
    """Encoder, rep decoder and projector, which both networks have.

    Tensors are named as in FSFM's released files. The encoder's parts are those of a timm ViT
    (class token, plain blocks) and trained in place; its positions are frozen. Raises
    ``ValueError`` for a network without exactly one class token.
    """

    cls_token: nn.Parameter
    patch_embed: PatchEmbed
    blocks: nn.Sequential
    pos_embed: nn.Parameter
    norm: nn.Module

    def __init__(self, encoder: VisionTransformer | Branch, recipe: Pretrain) -> None:
        super().__init__()
        cls_token, positions = _class_token_and_positions(encoder)
        width = cls_token.shape[-1]
        self.cls_token = cls_token
        self.patch_embed = encoder.patch_embed
        self.blocks = encoder.blocks
        self.pos_embed = _frozen(positions.detach().clone())
        self.norm = encoder.norm
        if isinstance(encoder, VisionTransformer) and isinstance(encoder.norm, nn.Identity):
            self.norm = encoder.fc_norm  # of a network that pools by the mean, after the pooling
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.rep_decoder_embed = _initialise(nn.Linear(width, width))
        # As in FSFM, which stores a table here but leaves it zero: this decoder has no positions.
        self.rep_decoder_pos_embed = _frozen(torch.zeros_like(self.pos_embed))
        self.rep_decoder_blocks = _blocks(width, recipe.rep_depth, recipe.rep_heads)
        self.rep_decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.rep_decoder_pred = _initialise(nn.Linear(width, width))
        self.projector = Projection(width, recipe.projector_hidden, recipe.projector_out)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Yield what fine-tuning keeps, and the norm after it."""
        yield self.cls_token
        for part in (self.patch_embed, self.blocks, self.norm):
            yield from part.parameters()

    def tokens(self, images: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Encode images to ``[B, 1 + V, D]``: CLS, and V patches not hidden by ``mask``."""
        patches = self.patch_embed(images) + self.pos_embed[:, 1:]
        if mask is not None:
            patches = patches[~mask].reshape(len(images), -1, patches.shape[-1])
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(images), -1, -1)
        return self.norm(self.blocks(torch.cat([cls, patches], 1)))

    def complete(self, tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Insert the mask token at every hidden position: ``[B, 1 + N, D]``."""
        if mask is None:
            return tokens
        patches = self.mask_token.to(tokens.dtype).expand(*mask.shape, -1).clone()
        patches[~mask] = tokens[:, 1:].flatten(0, 1)
        return torch.cat([tokens[:, :1], patches], 1)

    def represent(self, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Describe each image by a vector ``[B, out]``.

        It is the projected mean over all tokens, CLS too, of the rep decoder.
        """
        inputs = self.complete(self.rep_decoder_embed(tokens), mask) + self.rep_decoder_pos_embed
        decoded = self.rep_decoder_norm(self.rep_decoder_blocks(inputs))
        return self.projector(self.rep_decoder_pred(decoded).mean(1))


class Target(Branch):
    """The target network: it sees whole images and learns no gradient."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the keys ``[B, out]`` of images ``[B, 3, S, S]``."""
        return self.represent(self.tokens(images))


class FSFM(Branch):
    """The online network: a ``Branch`` with a predictor and a pixel decoder (Section 3.2).

    Raises ``ValueError`` if ``recipe.decoder_width`` is not divisible by 4 and by
    ``recipe.decoder_heads``.
    """

    def __init__(self, encoder: VisionTransformer, recipe: Pretrain) -> None:
        super().__init__(encoder, recipe)
        width = self.cls_token.shape[-1]
        inner = recipe.decoder_width
        if inner % 4 or inner % recipe.decoder_heads:
            raise ValueError(
                f"pretrain.decoder_width is {inner}: use a multiple of 4 and of decoder_heads"
            )
        self.patch = self.patch_embed.patch_size[0]
        self.predictor = Projection(
            recipe.projector_out, recipe.projector_hidden, recipe.projector_out
        )
        self.decoder_embed = _initialise(nn.Linear(width, inner))
        self.decoder_pos_embed = _frozen(sincos_table(inner, self.patch_embed.grid_size[0]))
        self.decoder_blocks = _blocks(inner, recipe.decoder_depth, recipe.decoder_heads)
        self.decoder_norm = nn.LayerNorm(inner, eps=1e-6)
        self.decoder_pred = _initialise(nn.Linear(inner, 3 * self.patch**2))

    def forward(
        self, images: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict normalised pixels ``[B, N, 3 p²]`` of every patch and unit queries ``[B, out]``.

        ``images`` ``[B, 3, S, S]``; ``mask`` bool ``[B, N]``, True = hidden, equally many in every
        image.
        """
        tokens = self.tokens(images, mask)
        inner = self.decoder_embed(self.complete(tokens, mask)) + self.decoder_pos_embed
        pixels = self.decoder_pred(self.decoder_norm(self.decoder_blocks(inner)))[:, 1:]
        return pixels, F.normalize(self.predictor(self.represent(tokens, mask)).float(), dim=1)


def build_target(model: FSFM, recipe: Pretrain) -> Target:
    """Copy the online network without predictor and pixel decoder, frozen."""
    target = Target(copy.deepcopy(model), recipe)
    online = model.state_dict()
    target.load_state_dict({name: online[name] for name in target.state_dict()})
    return target.requires_grad_(False).eval()


def _class_token_and_positions(
    encoder: VisionTransformer | Branch,
) -> tuple[nn.Parameter, nn.Parameter]:
    cls_token = encoder.cls_token
    positions = encoder.pos_embed
    tokens = 1 + encoder.patch_embed.num_patches
    if cls_token is None or positions is None or positions.shape[1] != tokens:
        raise ValueError(
            "FSFM pre-training needs a ViT with one class token and a position for every token"
        )
    return cls_token, positions


def _frozen(table: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(table, requires_grad=False)


def _blocks(width: int, depth: int, heads: int) -> nn.Sequential:
    norm: Any = partial(nn.LayerNorm, eps=1e-6)  # timm's annotation expects a class
    blocks = (Block(width, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth))
    return _initialise(nn.Sequential(*blocks))


def _initialise(module: M) -> M:
    """Apply MAE's initialisation: Xavier-uniform weights and zero biases for linear layers."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    return module
