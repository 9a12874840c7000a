"""FSFM's two networks, in the shapes and names of its released files (Section 3.2).

The *online* network (``FSFM``) sees the visible patches, paints the hidden ones and describes the face; the
*target* (``Branch``) sees all patches and only describes it. For ViT-B/16 and FSFM's own decoders the online
network has the 297 tensors of the released checkpoint.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import TypeVar

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn
from torch.nn import functional as F

from ...project.recipes import Pretrain

M = TypeVar("M", bound=nn.Module)


def sincos_table(width: int, grid: int) -> torch.Tensor:
    """Fixed positions ``[1, 1 + grid², width]``: the column's sines and cosines, then the row's; zeros for CLS."""
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies
    axis = torch.cat([angles.sin(), angles.cos()], 1)
    table = torch.cat([axis.repeat(grid, 1), axis.repeat_interleave(grid, 0)], 1)
    return torch.cat([torch.zeros(1, width, dtype=table.dtype), table])[None].float()


@torch.no_grad()
def begin_from_nothing(encoder: VisionTransformer) -> None:
    """Fresh weights as FSFM's own pre-training begins with: MAE's initialisation and fixed sine-cosine positions."""
    _fresh(encoder.blocks)
    nn.init.xavier_uniform_(encoder.patch_embed.proj.weight.flatten(1))
    nn.init.normal_(encoder.cls_token, std=0.02)
    encoder.pos_embed.copy_(sincos_table(encoder.pos_embed.shape[-1], encoder.patch_embed.grid_size[0]))


class Projection(nn.Module):
    """Projector and predictor: Linear, LayerNorm, ReLU, Linear; no batch norm."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.projection_head = _fresh(nn.Sequential(nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.ReLU(),
                                                    nn.Linear(hidden, out)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``[B, width]`` -> ``[B, out]``."""
        return self.projection_head(features)


class Branch(nn.Module):
    """Encoder, rep decoder and projector, which both networks have; tensors named as in FSFM's released files.

    The encoder's parts are taken from a timm ViT (class token, plain blocks) and trained in place; its positions
    are frozen. Raises ``ValueError`` for a network without exactly one class token.
    """

    def __init__(self, encoder: VisionTransformer | Branch, recipe: Pretrain) -> None:
        super().__init__()
        if encoder.cls_token is None or encoder.pos_embed.shape[1] != 1 + encoder.patch_embed.num_patches:
            raise ValueError("FSFM pre-training needs a ViT with one class token and a position for every token")
        width = encoder.cls_token.shape[-1]
        self.cls_token, self.patch_embed, self.blocks = encoder.cls_token, encoder.patch_embed, encoder.blocks
        self.pos_embed = _frozen(encoder.pos_embed.detach().clone())
        # A network that pools by the mean has its fresh norm behind the pooling.
        self.norm = encoder.fc_norm if isinstance(encoder.norm, nn.Identity) else encoder.norm
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.rep_decoder_embed = _fresh(nn.Linear(width, width))
        # Kept from FSFM: it stores a table here but leaves it zero, so this decoder knows no positions.
        self.rep_decoder_pos_embed = _frozen(torch.zeros_like(self.pos_embed))
        self.rep_decoder_blocks = _blocks(width, recipe.rep_depth, recipe.rep_heads)
        self.rep_decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.rep_decoder_pred = _fresh(nn.Linear(width, width))
        self.projector = Projection(width, recipe.projector_hidden, recipe.projector_out)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """What fine-tuning keeps, and the norm behind it; the rest of the network is only for pre-training."""
        yield self.cls_token
        for part in (self.patch_embed, self.blocks, self.norm):
            yield from part.parameters()

    def tokens(self, images: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Encoder output ``[B, 1 + V, D]``: CLS, then the V patches not hidden by ``mask`` ``[B, N]``."""
        patches = self.patch_embed(images) + self.pos_embed[:, 1:]
        if mask is not None:
            patches = patches[~mask].reshape(len(images), -1, patches.shape[-1])
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(images), -1, -1)
        return self.norm(self.blocks(torch.cat([cls, patches], 1)))

    def completed(self, tokens: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """``[B, 1 + N, D]``: ``tokens`` with the mask token at every hidden place."""
        if mask is None:
            return tokens
        patches = self.mask_token.to(tokens.dtype).expand(*mask.shape, -1).clone()
        patches[~mask] = tokens[:, 1:].flatten(0, 1)
        return torch.cat([tokens[:, :1], patches], 1)

    def represent(self, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """One vector per image ``[B, out]``: rep decoder, mean over all tokens (CLS too), projector."""
        tokens = self.completed(self.rep_decoder_embed(tokens), mask) + self.rep_decoder_pos_embed
        return self.projector(self.rep_decoder_pred(self.rep_decoder_norm(self.rep_decoder_blocks(tokens))).mean(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The target's key ``[B, out]`` of the whole images ``[B, 3, S, S]``."""
        return self.represent(self.tokens(images))


class FSFM(Branch):
    """The online network: a ``Branch`` with a predictor and a pixel decoder (Section 3.2).

    Raises ``ValueError`` if ``recipe.decoder_width`` does not divide by 4 and by ``recipe.decoder_heads``.
    """

    def __init__(self, encoder: VisionTransformer, recipe: Pretrain) -> None:
        super().__init__(encoder, recipe)
        width, inner = self.cls_token.shape[-1], recipe.decoder_width
        if inner % 4 or inner % recipe.decoder_heads:
            raise ValueError(f"pretrain.decoder_width is {inner}: take a multiple of 4 and of decoder_heads")
        self.patch = self.patch_embed.patch_size[0]
        self.predictor = Projection(recipe.projector_out, recipe.projector_hidden, recipe.projector_out)
        self.decoder_embed = _fresh(nn.Linear(width, inner))
        self.decoder_pos_embed = _frozen(sincos_table(inner, self.patch_embed.grid_size[0]))
        self.decoder_blocks = _blocks(inner, recipe.decoder_depth, recipe.decoder_heads)
        self.decoder_norm = nn.LayerNorm(inner, eps=1e-6)
        self.decoder_pred = _fresh(nn.Linear(inner, 3 * self.patch**2))

    def forward(self, images: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels ``[B, N, 3 p²]`` of every patch (normalised patches) and query ``[B, out]`` of unit length.

        ``images`` ``[B, 3, S, S]``; ``mask`` bool ``[B, N]``, True = hidden, as many in every image.
        """
        tokens = self.tokens(images, mask)
        inner = self.decoder_embed(self.completed(tokens, mask)) + self.decoder_pos_embed
        pixels = self.decoder_pred(self.decoder_norm(self.decoder_blocks(inner)))[:, 1:]
        return pixels, F.normalize(self.predictor(self.represent(tokens, mask)).float(), dim=1)


def target_of(model: FSFM, recipe: Pretrain) -> Branch:
    """The target network: a copy of the online one without predictor and pixel decoder, which learns no gradient."""
    target = Branch(copy.deepcopy(model), recipe)
    own = model.state_dict()
    target.load_state_dict({name: own[name] for name in target.state_dict()})
    return target.requires_grad_(False).eval()


def _frozen(table: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(table, requires_grad=False)


def _blocks(width: int, depth: int, heads: int) -> nn.Sequential:
    return _fresh(nn.Sequential(*(Block(width, heads, qkv_bias=True, norm_layer=partial(nn.LayerNorm, eps=1e-6))
                                  for _ in range(depth))))


def _fresh(module: M) -> M:
    """MAE's initialisation: Xavier-uniform weights and zero biases for linear layers."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    return module
