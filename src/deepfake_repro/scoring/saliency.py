"""Where a network looks on a face: attention rollout of a ViT, the input gradient of any other network.

Rollout (Abnar & Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020) multiplies the
attention of all blocks, each averaged over heads and with half an identity for the residual path.
It tells from where the embedding was gathered, not why a face was scored as it was.
"""

from __future__ import annotations

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..training.detector import Detector
from ..training.transforms import Normalisation, Transform, evaluation_transform


def rollout(encoder: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    """Share of each patch in the pooled tokens, float32 ``[B, rows, columns]`` summing to at most 1, of ``[B, 3, S, S]``.

    Pooled are all patch tokens or, for LNCLIP-DF, the class token.
    """
    flow: list[torch.Tensor] = []
    hooks = [
        block.attn.register_forward_pre_hook(
            lambda attention, given: flow.append(_mixing(attention, given[0]))
        )
        for block in encoder.blocks
    ]
    try:
        with torch.inference_mode():
            encoder.forward_features(images)
    finally:
        for hook in hooks:
            hook.remove()
    total = flow[0]
    for mixing in flow[1:]:
        total = mixing @ total
    prefix = encoder.num_prefix_tokens
    pooled = total[:, 0] if encoder.global_pool == "token" else total[:, prefix:].mean(1)
    return pooled[:, prefix:].unflatten(1, encoder.patch_embed.grid_size)


def _mixing(attention: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Mean attention of the heads with half an identity, ``[B, N, N]``, rows summing to 1."""
    query, key, _ = (
        attention.qkv(tokens).unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    )
    query, key = attention.q_norm(query), attention.k_norm(key)
    weights = (query @ key.transpose(-2, -1) * attention.scale).softmax(-1).mean(1)
    return (weights + torch.eye(tokens.shape[1])) / 2


def gradient(detector: Detector, images: torch.Tensor) -> torch.Tensor:
    """|d P(fake) / d pixel| summed over colours, float32 ``[B, S, S]``, of ``[B, 3, S, S]``."""
    images = images.clone().requires_grad_()
    detector(images)[1].softmax(-1)[:, 1:].sum().backward()
    return images.grad.abs().sum(1)


def method(detector: Detector) -> str:
    """What the heat map of this network is, in words for a reader."""
    if isinstance(detector.encoder, VisionTransformer):
        return "attention rollout: from where the network gathered its features, not why it scored as it did"
    return "gradient of the score by the pixels"


def saliency(
    detector: Detector, image: np.ndarray, views: str, size: int, norm: Normalisation
) -> np.ndarray:
    """Heat map of a crop uint8 ``[H, W, 3]`` as float64 ``[H, W]`` in [0, 1], averaged over its views.

    ``views``, ``size``, ``norm``: as for ``evaluation_transform``. What no view shows stays 0.
    """
    inputs = evaluation_transform(views, size, norm)(image)
    if isinstance(detector.encoder, VisionTransformer):
        heat = rollout(detector.encoder, inputs)
        heat = nn.functional.interpolate(heat[:, None], inputs.shape[-2:], mode="bilinear")[:, 0]
    else:
        heat = nn.functional.avg_pool2d(gradient(detector, inputs), 9, 1, 4)
    total, count = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    rows, columns = _origin(
        evaluation_transform(views, size, Normalisation((0,) * 3, (1,) * 3)), image.shape
    )
    np.add.at(total, (rows, columns), heat.numpy())
    np.add.at(count, (rows, columns), 1)
    mean = total / count.clip(1)
    seen = mean[count > 0]
    return ((mean - seen.min()) / max(float(np.ptp(seen)), 1e-12)).clip(0) * (count > 0)


def _origin(transform: Transform, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Row and column in the crop from which each pixel of each view comes, int64 ``[V, S, S]``.

    The transform itself says so, asked with a crop whose colours are its coordinates (at most 256
    pixels a side).
    """
    coordinates = np.zeros(shape, np.uint8)
    coordinates[..., 0], coordinates[..., 1] = np.ogrid[: shape[0], : shape[1]]
    shown = (transform(coordinates) * 255).round().long().numpy()
    return shown[:, 0].clip(0, shape[0] - 1), shown[:, 1].clip(0, shape[1] - 1)
