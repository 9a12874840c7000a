"""Encoders of other families than the paper's ViT: embedding, start weights, layer-wise decay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from deepfake_repro.methods.finetune.recipe import build_optimizer
from deepfake_repro.training.checkpoints import load_start, save_start
from deepfake_repro.training.detector import build_detector
from deepfake_repro.training.transforms import Normalisation
from support.toy_training import RECIPE

NORM = Normalisation((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
FAMILIES = {
    "vit_small_patch16_dinov3": 32,
    "eva02_tiny_patch14_224": 28,
    "vit_base_patch16_clip_quickgelu_224": 32,
    "vit_small_patch14_reg4_dinov2": 28,
}
"""Timm's name and a small image size."""


@pytest.mark.parametrize(("architecture", "size"), FAMILIES.items())
def test_the_embedding_is_the_mean_of_the_patch_tokens_after_the_norm(
    architecture: str, size: int
) -> None:
    torch.manual_seed(0)
    detector = build_detector(architecture, 3, depth=1, input_size=size, head_std=0.02).eval()
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        embeddings, logits = detector(images)
        encoder = detector.encoder
        tokens = encoder.forward_features(images)[:, encoder.num_prefix_tokens :]
        assert torch.allclose(embeddings, encoder.fc_norm(tokens.mean(1)), atol=1e-6)
        assert torch.allclose(logits, encoder.head(embeddings))
    assert len(encoder.blocks) == 1 and logits.shape == (2, 3)


@pytest.mark.parametrize(("architecture", "size"), FAMILIES.items())
def test_a_start_of_another_size_is_loaded_except_head_and_pooled_norm(
    architecture: str, size: int, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    published = timm.create_model(architecture, num_classes=0, depth=1, img_size=2 * size)
    path = tmp_path / "start.safetensors"
    save_start(published, path, NORM)
    detector = build_detector(architecture, 2, depth=1, input_size=size)
    assert load_start(detector, str(path)) == NORM
    source = published.state_dict()
    for name, tensor in detector.encoder.state_dict().items():
        if not name.startswith(("head.", "fc_norm.")) and name != "pos_embed":
            assert torch.equal(tensor, source[name]), name


@pytest.mark.parametrize(("architecture", "size"), FAMILIES.items())
def test_the_rate_falls_layer_by_layer(architecture: str, size: int) -> None:
    recipe = replace(RECIPE, layer_decay=0.5)
    detector = build_detector(architecture, 2, depth=2, input_size=size)
    groups = build_optimizer(detector, recipe).param_groups
    scale = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    for name, parameter in detector.encoder.named_parameters():
        layer = {"head": 3, "fc_norm": 3, "norm": 3}.get(name.split(".")[0], 0)
        if name.startswith("blocks."):
            layer = 1 + int(name.split(".")[1])
        if not name.startswith("norm."):
            assert scale[id(parameter)] == pytest.approx(0.5 ** (3 - layer)), name


def test_a_network_without_blocks_learns_too() -> None:
    detector = build_detector("resnet18", 2, depth=1, input_size=32)
    embeddings, logits = detector(torch.zeros(2, 3, 64, 64))
    assert embeddings.shape == (2, 512) and logits.shape == (2, 2)
    assert build_optimizer(detector, RECIPE).param_groups


def test_only_a_vit_has_a_class_token() -> None:
    with pytest.raises(ValueError, match="'resnet18' has no linear head over a class token"):
        build_detector("resnet18", 2, sphere=True)
    sphere = build_detector("vit_small_patch16_dinov3", 2, depth=1, input_size=32, sphere=True)
    assert sphere.embed(torch.randn(2, 3, 32, 32)).norm(dim=1).tolist() == pytest.approx([1, 1])
