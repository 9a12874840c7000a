"""The EfficientNet of the SBI row, and weights of SBI's authors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from deepfake_repro.training import checkpoints
from deepfake_repro.training.detector import build_detector
from deepfake_repro.training.manifest import Manifest
from support.toy_sbi import NORM, PARAMS, RECIPE, generator

pytestmark = pytest.mark.usefixtures("one_thread")


def published_state(network):
    """What efficientnet_pytorch would save, by its own rules: a flat list of blocks, one counter of
    norms a block.
    """
    state, flat = {}, [block for stage in network.encoder.blocks for block in stage]

    def put(name, layer):
        state.update({f"net.{name}.{key}": value for key, value in layer.state_dict().items()})

    encoder = network.encoder
    for name, layer in (
        ("_conv_stem", encoder.conv_stem),
        ("_bn0", encoder.bn1),
        ("_conv_head", encoder.conv_head),
        ("_bn1", encoder.bn2),
        ("_fc", encoder.classifier),
    ):
        put(name, layer)
    for number, block in enumerate(flat):
        convs = [layer for layer in block.children() if isinstance(layer, nn.Conv2d)]
        norms = [layer for layer in block.children() if isinstance(layer, nn.BatchNorm2d)]
        first = 3 - len(convs)  # no expansion: names begin with the second
        for layer, (conv, norm) in enumerate(zip(convs, norms, strict=True), start=first):
            put(
                f"_blocks.{number}.{('_expand_conv', '_depthwise_conv', '_project_conv')[layer]}",
                conv,
            )
            put(f"_blocks.{number}._bn{layer}", norm)
        put(f"_blocks.{number}._se_reduce", block.se.conv_reduce)
        put(f"_blocks.{number}._se_expand", block.se.conv_expand)
    return state


@pytest.fixture(scope="module")
def small_cnn():
    torch.manual_seed(1)
    return build_detector("tf_efficientnet_b0", 2, head_std=0.1).eval()


def test_published_weights_find_their_place_and_any_other_key_is_refused(small_cnn, tmp_path):
    state = published_state(small_cnn)
    torch.save({"model": state, "epoch": 99}, tmp_path / "FFraw.tar")
    other = build_detector("tf_efficientnet_b0", 2).eval()
    norm = checkpoints.load_sbi(other, tmp_path / "FFraw.tar")
    images = torch.rand(2, 3, 64, 64, generator=generator())
    assert (
        torch.equal(other(images)[1], small_cnn(images)[1])
        and norm.mean == (0, 0, 0)
        and norm.std == (1, 1, 1)
    )
    before = {key: value.clone() for key, value in other.state_dict().items()}
    for change, what in (
        (lambda s: s.pop("net._fc.bias"), "_fc.bias"),
        (lambda s: s.update({"net._blocks.99.w": torch.zeros(1)}), "_blocks.99.w"),
        (lambda s: s.update({"net._fc.weight": torch.zeros(3, 1280)}), "_fc.weight"),
    ):
        spoilt = dict(state)
        change(spoilt)
        torch.save({"model": spoilt}, tmp_path / "bad.tar")
        with pytest.raises(
            ValueError,
            match=f"bad.tar is not a checkpoint of this EfficientNet: 1 tensors .* {what}",
        ):
            checkpoints.load_sbi(other, tmp_path / "bad.tar")
    (tmp_path / "page.tar").write_text("<html>")
    with pytest.raises(ValueError, match=r"page.tar is not an SBI checkpoint"):
        checkpoints.load_sbi(other, tmp_path / "page.tar")
    with pytest.raises(FileNotFoundError, match=r"sbi.weights .*none.tar not found"):
        checkpoints.load_sbi(other, tmp_path / "none.tar")
    assert all(torch.equal(before[key], value) for key, value in other.state_dict().items())


def test_efficientnet_embeds_its_pooled_features_and_survives_saving(small_cnn, tmp_path):
    recipe = replace(RECIPE, architecture="tf_efficientnet_b0", depth=0)
    classes = ("REAL", "FAKE")
    manifest = Manifest.of_run(recipe, classes, NORM, 1, variant=PARAMS.variant("sbi"))
    checkpoints.save(small_cnn, tmp_path, manifest)
    again, loaded = checkpoints.load(tmp_path)
    images = torch.rand(2, 3, 64, 64, generator=generator())
    embeddings, logits = again(images)
    assert torch.equal(logits, small_cnn(images)[1]) and loaded.classes == classes
    assert torch.allclose(
        embeddings, small_cnn.encoder.forward_features(images).mean((2, 3)), atol=1e-6
    )
    assert torch.allclose(logits, embeddings @ small_cnn.encoder.classifier.weight.T, atol=1e-5)


def test_a_start_leaves_only_the_head_of_an_efficientnet_fresh(small_cnn, monkeypatch):
    fresh = build_detector("tf_efficientnet_b0", 2, head_std=0.3)
    head = fresh.encoder.classifier.weight.clone()
    state = {
        key: value
        for key, value in small_cnn.encoder.state_dict().items()
        if not key.startswith("classifier")
    }
    checkpoints._load_encoder(fresh, state, "b0")
    assert torch.equal(fresh.encoder.conv_head.weight, small_cnn.encoder.conv_head.weight)
    assert torch.equal(fresh.encoder.classifier.weight, head)
    with pytest.raises(ValueError, match=r"b0: 1 tensors missing, first conv_head.weight"):
        checkpoints._load_encoder(
            fresh, {key: value for key, value in state.items() if key != "conv_head.weight"}, "b0"
        )
