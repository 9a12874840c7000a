"""LNCLIP-DF (Yermakov et al. 2025, arXiv:2508.06248): LayerNorms, hypersphere, latent augmentation.

A pretrained ViT stays frozen except for its LayerNorms; the class token is L2-normalised; a linear
head classifies it. Features of one class are drawn together (alignment), all features are spread
over the sphere (uniformity), and new ones are made on the great circles between features of a class
(slerp: in the abstract's version of the paper, dropped by the later one). Written from the
published formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...project.recipes import LnClip
from ...training import checkpoints
from ...training.detector import Detector, build_detector
from ...training.labels import Scheme, class_names
from ...training.losses import cross_entropy, distances
from ...training.transforms import Normalisation

CLASSES = class_names(Scheme.binary)
VIT_L14 = (104_450, 303_181_826)
"""Trained and all parameters of CLIP ViT-L/14 with a head of two classes: "0.03 % of the total"."""


def build_sphere_detector(recipe: LnClip) -> Detector:
    """Build the network with fresh weights; only LayerNorms and head are trainable."""
    detector = build_detector(
        recipe.architecture,
        len(CLASSES),
        depth=recipe.depth,
        input_size=recipe.input_size,
        head_std=recipe.head_std,
        sphere=True,
    )
    tune_layer_norms(detector)
    return detector


def start_sphere_detector(recipe: LnClip) -> tuple[Detector, Normalisation]:
    """Build the network and load its start weights; return how its inputs are normalised.

    The demo's start has the final LayerNorm of its twelfth block, used here after block ``depth``;
    it is tuned like the others. Raises as :func:`.training.detector.build_detector` and
    :func:`.training.checkpoints.load_start`.
    """
    detector = build_sphere_detector(recipe)
    norm = checkpoints.load_start(detector, recipe.start)
    return detector, norm


def tune_layer_norms(detector: Detector) -> None:
    """Freeze everything but the head and the modules that are LayerNorms, whatever their names.

    Raises ``ValueError`` for a network without LayerNorms: only its head would learn.
    """
    norms = [module for module in detector.encoder.modules() if isinstance(module, nn.LayerNorm)]
    if not norms:
        raise ValueError("lnclip.architecture has no LayerNorm to tune; choose a vit_* name")
    detector.requires_grad_(False)
    for module in (*norms, detector.encoder.get_classifier()):
        module.requires_grad_(True)


def trainable(detector: Detector) -> dict[str, nn.Parameter]:
    """Return the trained parameters by name."""
    return {
        name: parameter
        for name, parameter in detector.named_parameters()
        if parameter.requires_grad
    }


def parameter_counts(detector: Detector) -> tuple[int, int]:
    """Count the trained and all parameters."""
    trained = sum(parameter.numel() for parameter in trainable(detector).values())
    return trained, sum(parameter.numel() for parameter in detector.parameters())


def alignment(features: Tensor, labels: Tensor, power: float = 2.0) -> Tensor:
    """Average ``||z_i - z_j|| ** power`` over all pairs i < j of one class (Wang & Isola 2020).

    ``features`` ``[B, D]`` of unit length, ``labels`` ``[B]`` -> scalar in [0, 2 ** power], at
    least fp32; 0 without such a pair.
    """
    same = (labels[:, None] == labels[None, :]).triu(1)
    apart = distances(features).pow(power)
    return torch.where(same, apart, 0.0).sum() / same.sum().clamp(min=1)


def uniformity(features: Tensor, temperature: float = 2.0) -> Tensor:
    """Compute ``log(mean over pairs i < j of exp(-t ||z_i - z_j||²))`` (Wang & Isola 2020).

    Classes do not matter. ``features`` ``[B, D]`` of unit length -> scalar in [-4 t, 0], lower is
    more even; 0 without a pair. The mean is clamped to at least 1e-6.
    """
    pairs = len(features) * (len(features) - 1) // 2
    if not pairs:
        return features.sum() * 0.0
    near = distances(features).pow(2).mul(-temperature).exp()
    return (near.triu(1).sum() / pairs).clamp(min=1e-6).log()


def slerp(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Interpolate on great circles: ``(sin((1-t)θ) a + sin(tθ) b) / sin θ``, length one.

    ``start`` a and ``end`` b ``[..., D]`` of unit length, ``share`` t in [0, 1] ``[...]``. Equal
    ends give that point; the angle is kept off 0 and π, where the formula divides by zero.
    """
    cosine = (start * end).sum(-1).clamp(-1 + 1e-6, 1 - 1e-6)
    angle = cosine.acos()
    start_weight = torch.sin((1 - share) * angle) / angle.sin()
    end_weight = torch.sin(share * angle) / angle.sin()
    return F.normalize(start_weight[..., None] * start + end_weight[..., None] * end, dim=-1)


def interpolate(features: Tensor, labels: Tensor, copies: int) -> tuple[Tensor, Tensor]:
    """Augment in latent space: replace each feature by ``copies`` new ones.

    Each is a :func:`slerp` towards a random feature of the same class (possibly itself) by t ~
    U[0, 1], drawn from torch's global generator. ``[B, D]``, ``[B]`` -> ``[copies · B, D]``,
    ``[copies · B]``; 0 copies change nothing.
    """
    if not copies:
        return features, labels
    same = (labels[:, None] == labels[None, :]).float()
    partners = torch.multinomial(same, copies, replacement=True)
    start = features[:, None].expand(-1, copies, -1)
    share = torch.rand(partners.shape, device=features.device, dtype=features.dtype)
    # Not features[partners]: its gradient is summed in an order that changes from run to run.
    ends = features.index_select(0, partners.flatten()).unflatten(0, partners.shape)
    return slerp(start, ends, share).flatten(0, 1), labels.repeat_interleave(copies)


@dataclass(frozen=True)
class SphereObjective:
    """``L = L_CE + a · L_alignment + u · L_uniformity``; published weights: 0.1 and 0.5."""

    alignment: float
    uniformity: float

    def __call__(self, features: Tensor, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute scalars ``total``, ``cross_entropy``, ``alignment`` and ``uniformity``."""
        terms = {
            "cross_entropy": cross_entropy(logits, labels),
            "alignment": alignment(features, labels),
            "uniformity": uniformity(features),
        }
        total = (
            terms["cross_entropy"]
            + self.alignment * terms["alignment"]
            + self.uniformity * terms["uniformity"]
        )
        return {"total": total, **terms}
