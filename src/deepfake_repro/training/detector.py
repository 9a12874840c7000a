"""The detector: a ViT whose mean-pooled patch tokens are the embedding, with a linear head (Sections 3.2, 4.3).

timm's ``VisionTransformer(global_pool="avg")`` is the paper's network: the class token runs along
but is left out of the pooled mean; ``fc_norm`` follows the pooling; a fully connected layer makes
the logits. The SBI baseline is an EfficientNet instead, whose pooled features are the embedding.
"""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from timm.models.efficientnet import EfficientNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn

CNN_DROPOUT = 0.4  # before the head: EfficientNet-B4's own


class Detector(nn.Module):
    """Images ``[B, 3, S, S]`` -> embeddings ``[B, D]`` and logits ``[B, C]``; class 0 is real."""

    def __init__(self, encoder: VisionTransformer | EfficientNet) -> None:
        super().__init__()
        self.encoder = encoder

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Embedding ``[B, D]``: mean of all non-CLS tokens, after ``fc_norm`` (Section 4.3; D = 768 for ViT-B).

        Of an EfficientNet the pooled features (D = 1792 for B4).
        """
        return self.encoder.forward_head(self.encoder.forward_features(images), pre_logits=True)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings ``[B, D]`` and class logits ``[B, C]``."""
        embeddings = self.embed(images)
        return embeddings, self.encoder.get_classifier()(embeddings)


class SphereDetector(Detector):
    """LNCLIP-DF's detector: the class token after the final LayerNorm, L2-normalised, is the embedding."""

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Embedding ``[B, D]`` of length one: a point on the unit hypersphere."""
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
    """A detector with fresh weights from a timm ViT name, cut to its first ``depth`` blocks, or an EfficientNet's.

    ``head_std``: standard deviation of the head's initial weights (2e-5 in FSFM's fine-tuning); ``sphere``:
    LNCLIP-DF's class token on the unit hypersphere in place of the mean-pooled patch tokens. An EfficientNet takes
    any ``input_size`` and is never cut: ``depth`` does not count.

    Raises ``ValueError`` if timm does not know the name or the model is neither a plain ViT nor an
    EfficientNet.
    """
    if not timm.is_model(architecture):
        raise ValueError(
            f"train.architecture {architecture!r} is unknown to timm {timm.__version__}"
        )
    if "efficientnet" in architecture:
        encoder = timm.create_model(
            architecture, num_classes=classes, drop_rate=CNN_DROPOUT, drop_path_rate=drop_path
        )
    else:
        encoder = timm.create_model(
            architecture,
            num_classes=classes,
            global_pool="token" if sphere else "avg",
            depth=depth,
            img_size=input_size,
            drop_path_rate=drop_path,
        )
    if not isinstance(encoder, VisionTransformer | EfficientNet):
        raise ValueError(
            f"train.architecture {architecture!r} is no VisionTransformer; take a vit_* name"
        )
    head = encoder.get_classifier()
    nn.init.trunc_normal_(head.weight, std=head_std)
    nn.init.zeros_(head.bias)
    return SphereDetector(encoder) if sphere else Detector(encoder)


def by_view(model: Detector, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings ``[B, V, D]`` and logits ``[B, V, C]`` of V views of each crop, ``[B, V, 3, S, S]``."""
    embeddings, logits = model(images.flatten(0, 1))
    return embeddings.unflatten(0, images.shape[:2]), logits.unflatten(0, images.shape[:2])


def over_views(model: Detector, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings ``[B, D]`` and logits ``[B, C]`` of ``[B, 3, S, S]``, or averaged over V views ``[B, V, 3, S, S]``."""
    if images.ndim == 4:
        return model(images)
    embeddings, logits = by_view(model, images)
    return embeddings.mean(1), logits.mean(1)


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Softmax probabilities fp32 ``[B, C]``, averaged over the views of logits ``[B, V, C]``."""
    return logits.float().softmax(-1).mean(1)
