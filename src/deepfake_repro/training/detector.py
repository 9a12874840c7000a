"""The detector: an encoder whose output is the embedding, and a linear head (Sections 3.2, 4.3).

timm's ``VisionTransformer(global_pool="avg")`` is the paper's network: the embedding is the mean of
the patch tokens, without the class token, after ``fc_norm``; a fully connected layer turns it into
logits. The SBI baseline is an EfficientNet instead, whose embedding is its pooled features.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import nn

VITS = ("timm.models.vision_transformer", "timm.models.eva", "timm.models.deit")
"""Modules of timm with ViTs of equal blocks: DINOv3, EVA-02 and CLIP are among them."""
CNN_DROPOUT = 0.4
"""Dropout before the head of an EfficientNet, as published for B4."""


class Detector(nn.Module):
    """Images ``[B, 3, S, S]`` -> embeddings ``[B, D]`` and logits ``[B, C]``; class 0 is real."""

    encoder: Any

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def vit(self) -> VisionTransformer:
        """The encoder as a ViT; ``ValueError`` if it is another network."""
        if not isinstance(self.encoder, VisionTransformer):
            raise ValueError(f"{type(self.encoder).__name__} is not a ViT; choose a vit_* name")
        return self.encoder

    def no_weight_decay(self) -> set[str]:
        """Name the encoder's parameters without weight decay, such as position embeddings."""
        names = getattr(self.encoder, "no_weight_decay", set)
        return names()

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Compute embeddings ``[B, D]`` (Section 4.3).

        For a ViT: the mean of all tokens but CLS, after ``fc_norm`` (D = 768 for ViT-B). For an
        EfficientNet: the pooled features (D = 1792 for B4).
        """
        return self.encoder.forward_head(self.encoder.forward_features(images), pre_logits=True)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute embeddings ``[B, D]`` and class logits ``[B, C]``."""
        embeddings = self.embed(images)
        return embeddings, self.encoder.get_classifier()(embeddings)


class SphereDetector(Detector):
    """LNCLIP-DF's detector: the embedding is the class token on the unit hypersphere."""

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Compute embeddings ``[B, D]`` of length one, after the final LayerNorm."""
        return F.normalize(super().embed(images), dim=1)


def build_detector(
    architecture: str,
    classes: int,
    *,
    depth: int = 12,
    input_size: int = 224,
    drop_path: float = 0.0,
    head_std: float = 2e-5,
    sphere: bool = False,
) -> Detector:
    """Build a detector with fresh weights from the timm name of its encoder.

    ``depth``: number of blocks kept, from the first. ``head_std``: standard deviation of the head's
    initial weights (2e-5 in FSFM's fine-tuning). ``sphere``: LNCLIP-DF's class token on the unit
    hypersphere instead of the mean of the patch tokens. A network that is not a ViT, such as an
    EfficientNet, is never cut and takes any image size: ``depth`` and ``input_size`` have no effect
    on it.

    Raises ``ValueError`` if timm does not know the name, or the model has no linear head over one
    embedding per image.
    """
    if not timm.is_model(architecture):
        raise ValueError(
            f"train.architecture {architecture!r} is unknown to timm {timm.__version__}"
        )
    options: dict[str, Any] = {}
    if "efficientnet" in architecture:
        options["drop_rate"] = CNN_DROPOUT
    elif is_vit(architecture):
        pool = "token" if sphere else "avg"
        options = {"global_pool": pool, "depth": depth, "img_size": input_size}
    encoder: Any = timm.create_model(
        architecture, num_classes=classes, drop_path_rate=drop_path, **options
    )
    head = encoder.get_classifier() if hasattr(encoder, "get_classifier") else None
    if not isinstance(head, nn.Linear) or (sphere and not is_vit(architecture)):
        raise ValueError(
            f"architecture {architecture!r} has no linear head over "
            f"{'a class token' if sphere else 'one embedding per image'}; "
            "choose a ViT such as vit_base_patch16_224"
        )
    nn.init.trunc_normal_(head.weight, std=head_std)
    nn.init.zeros_(head.bias)
    return SphereDetector(encoder) if sphere else Detector(encoder)


def is_vit(architecture: str) -> bool:
    """Return True if timm builds the network as a ViT of ``depth`` equal blocks, or as EVA's."""
    return timm.models.model_entrypoint(architecture).__module__.endswith(VITS)


def by_view(model: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute embeddings ``[B, V, D]`` and logits ``[B, V, C]`` of views ``[B, V, 3, S, S]``."""
    embeddings, logits = model(images.flatten(0, 1))
    return embeddings.unflatten(0, images.shape[:2]), logits.unflatten(0, images.shape[:2])


def over_views(model: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute embeddings ``[B, D]`` and logits ``[B, C]``, averaged over views where there are any.

    ``images``: ``[B, 3, S, S]``, or V views of each crop, ``[B, V, 3, S, S]``.
    """
    if images.ndim == 4:
        return model(images)
    embeddings, logits = by_view(model, images)
    return embeddings.mean(1), logits.mean(1)


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Turn logits ``[B, V, C]`` into softmax probabilities fp32 ``[B, C]``, averaged over views."""
    return logits.float().softmax(-1).mean(1)
