"""Heat maps of a face: attention rollout of a ViT, the input gradient of any other network.

Rollout (Abnar & Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020) multiplies the
attention of all blocks, each averaged over heads and mixed half and half with the identity for the
residual path. It shows where the embedding was gathered from, not why a face got its score.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
from timm.models.vision_transformer import Attention, VisionTransformer
from torch import nn

from ..training.detector import Detector
from ..training.transforms import UNCHANGED, Normalisation, Transform, evaluation_transform


def rollout(encoder: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    """Compute the share of each patch in the pooled tokens of images ``[B, 3, S, S]``.

    Returns float32 ``[B, rows, columns]`` with a sum of at most 1. All patch tokens are pooled or,
    for LNCLIP-DF, the class token alone.
    """
    attentions: list[torch.Tensor] = []
    thread = threading.get_ident()

    def keep(attention: Attention, inputs: tuple[torch.Tensor]) -> None:
        if threading.get_ident() == thread:  # other threads may score with the same network
            attentions.append(_mixed_attention(attention, inputs[0]))

    hooks = [
        module.register_forward_pre_hook(keep)
        for module in encoder.blocks.modules()
        if isinstance(module, Attention)
    ]
    try:
        with torch.inference_mode():
            encoder.forward_features(images)
    finally:
        for hook in hooks:
            hook.remove()

    total = attentions[0]
    for attention in attentions[1:]:
        total = attention @ total
    prefix = encoder.num_prefix_tokens
    pooled = total[:, 0] if encoder.global_pool == "token" else total[:, prefix:].mean(1)
    return pooled[:, prefix:].unflatten(1, encoder.patch_embed.grid_size)


def _mixed_attention(attention: Attention, tokens: torch.Tensor) -> torch.Tensor:
    """Average the heads' attention and the identity, ``[B, N, N]``; rows sum to 1."""
    heads = attention.qkv(tokens).unflatten(2, (3, attention.num_heads, -1))
    query, key, _ = heads.permute(2, 0, 3, 1, 4)
    query = attention.q_norm(query)
    key = attention.k_norm(key)
    weights = (query @ key.transpose(-2, -1) * attention.scale).softmax(-1).mean(1)
    return (weights + torch.eye(tokens.shape[1], device=tokens.device)) / 2


def gradient(detector: Detector, images: torch.Tensor) -> torch.Tensor:
    """Compute |d P(fake) / d pixel| of images ``[B, 3, S, S]``: ``[B, S, S]``, summed over RGB."""
    images = images.clone().requires_grad_()
    _, logits = detector(images)
    p_fake = logits.softmax(-1)[:, 1:].sum()
    (slopes,) = torch.autograd.grad(p_fake, images)
    return slopes.abs().sum(1)


def method(detector: Detector) -> str:
    """Say what the heat map of this network shows."""
    if isinstance(detector.encoder, VisionTransformer):
        return (
            "attention rollout: where the network gathered its features from, not why it gave this "
            "score"
        )
    return "gradient of the score by the pixels"


def saliency(
    detector: Detector, crops: Sequence[np.ndarray], views: str, size: int, norm: Normalisation
) -> list[np.ndarray]:
    """Compute heat maps ``[H, W]`` in [0, 1] of crops uint8 ``[H, W, 3]``, averaged over views.

    ``views``, ``size``, ``norm``: as for ``evaluation_transform``. Pixels outside all views are 0.
    """
    device = next(detector.parameters()).device
    transform = evaluation_transform(views, size, norm)
    inputs = [transform(crop) for crop in crops]
    heat = _heat(detector, torch.cat(inputs).to(device)).cpu()
    by_crop = heat.split([len(views_of_crop) for views_of_crop in inputs])
    where = evaluation_transform(views, size, UNCHANGED)
    return [
        _placed(heat_of_crop.numpy(), _origin(where, crop.shape), crop.shape[:2])
        for heat_of_crop, crop in zip(by_crop, crops, strict=True)
    ]


def _heat(detector: Detector, inputs: torch.Tensor) -> torch.Tensor:
    """Compute the heat ``[V, S, S]`` of views ``[V, 3, S, S]``."""
    if not isinstance(detector.encoder, VisionTransformer):
        return nn.functional.avg_pool2d(gradient(detector, inputs), 9, 1, 4)
    patches = rollout(detector.encoder, inputs)[:, None]
    return nn.functional.interpolate(patches, inputs.shape[-2:], mode="bilinear")[:, 0]


def _placed(
    heat: np.ndarray, pixels: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]
) -> np.ndarray:
    """Average the heat of all views in the crop that they came from, and scale it to [0, 1]."""
    total = np.zeros(shape)
    count = np.zeros(shape)
    np.add.at(total, pixels, heat)
    np.add.at(count, pixels, 1)
    mean = total / count.clip(1)
    seen = mean[count > 0]
    spread = max(float(np.ptp(seen)), 1e-12)
    return ((mean - seen.min()) / spread).clip(0) * (count > 0)


def _origin(transform: Transform, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column in the crop of each pixel of each view, int64 ``[V, S, S]``.

    Found by transforming a crop whose colours are its coordinates (at most 256 pixels per side).
    """
    height, width = shape[:2]
    coordinates = np.zeros(shape, np.uint8)
    coordinates[..., 0], coordinates[..., 1] = np.ogrid[:height, :width]
    seen = (transform(coordinates) * 255).round().long().numpy()
    return seen[:, 0].clip(0, height - 1), seen[:, 1].clip(0, width - 1)
