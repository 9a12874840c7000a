"""The recipe beside FSFM's, restated here from its published description, to the differences that
were measured.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from deepfake_repro.methods.finetune.recipe import build_optimizer, build_schedule
from deepfake_repro.training.detector import build_detector as build
from support.toy_training import RECIPE

PAPER = replace(RECIPE, epochs=30, warmup_epochs=5, learning_rate=1e-4, min_learning_rate=1e-6)


def forward(
    state: dict[str, torch.Tensor], images: torch.Tensor, heads: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """MAE's ViT with mean pooling, in plain products: embedding behind ``fc_norm`` and logits."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    patch = state["patch_embed.proj.weight"].shape[-1]
    cut = F.unfold(images, patch, stride=patch).transpose(1, 2)
    x = cut @ state["patch_embed.proj.weight"].flatten(1).T + state["patch_embed.proj.bias"]
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], 1) + state["pos_embed"]
    for block in range(
        1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
    ):
        name = f"blocks.{block}"
        parts = linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv").unflatten(-1, (3, heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
        x = x + linear((weights @ v).transpose(1, 2).flatten(2), f"{name}.attn.proj")
        inner = linear(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")
        x = x + linear(inner * (1 + torch.erf(inner / math.sqrt(2))) / 2, f"{name}.mlp.fc2")
    embedding = norm(x[:, 1:].mean(1), "fc_norm")
    return embedding, linear(embedding, "head")


@torch.no_grad()
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_embedding_and_logits_are_those_of_the_restated_network(
    kind: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    detector = build("vit_base_patch16_224", 2, depth=2, head_std=0.02).to(kind).eval()
    for parameter in detector.parameters():
        parameter.add_(
            0.02 * torch.randn_like(parameter)
        )  # biases and norms begin at 0 and 1, which would hide them
    images = torch.randn(2, 3, 224, 224, dtype=kind)
    for actual, expected in zip(
        detector(images), forward(detector.encoder.state_dict(), images, 12), strict=True
    ):
        assert (actual - expected).abs().max() <= tolerance


def test_152_parameters_in_28_groups_have_maes_scales_and_decays() -> None:
    with torch.device("meta"):
        detector = build("vit_base_patch16_224", 2)
    groups = build_optimizer(detector, PAPER).param_groups
    actual = {
        id(p): (group["lr_scale"], group["weight_decay"])
        for group in groups
        for p in group["params"]
    }
    named = dict(detector.encoder.named_parameters())
    assert len(named) == len(actual) == 152 and len(groups) == 28
    for name, parameter in named.items():
        layer = (
            int(name.split(".")[1]) + 1
            if name.startswith("blocks.")
            else 13
            if name[:2] in ("fc", "he")
            else 0
        )
        decays = parameter.ndim > 1 and name not in ("pos_embed", "cls_token")
        assert actual[id(parameter)] == (0.75 ** (13 - layer), 0.05 if decays else 0.0), name


def test_the_curve_of_30_epochs_is_maes_at_every_step() -> None:
    """MAE counts in fractions of an epoch e: lr · e / 5, then floor + (lr - floor) (1 + cos pi (e -
    5) / 25) / 2.
    """
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [
        {"params": [weight], "lr_scale": scale}
        for weight, scale in zip(weights, (1, 0.75), strict=True)
    ]
    optimizer = torch.optim.AdamW(groups, lr=PAPER.learning_rate)
    clock = build_schedule(optimizer, PAPER, 10)
    for step in range(300):
        clock.step_update(step)
        epoch = step / 10
        rate = (
            1e-4 * epoch / 5
            if epoch < 5
            else 1e-6 + 99e-6 * (1 + math.cos(math.pi * (epoch - 5) / 25)) / 2
        )
        for group in optimizer.param_groups:
            assert abs(group["lr"] - rate * group["lr_scale"]) <= 5e-20, step
