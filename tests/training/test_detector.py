"""The network against the paper's sizes and its own definition."""

import pytest
import torch

from deepfake_repro.training.detector import build_detector as build
from support.networks import TINY, images, only_line, tiny


@pytest.fixture
def normed():
    """A tiny detector whose ``fc_norm`` has weights that show when they are left out."""
    model = tiny()
    torch.nn.init.normal_(model.encoder.fc_norm.weight)
    torch.nn.init.normal_(model.encoder.fc_norm.bias)
    return model


@torch.no_grad()
def test_embedding_is_the_mean_of_the_patch_tokens_after_fc_norm(normed):
    tokens = normed.encoder.forward_features(images())
    assert tokens.shape == (3, 1 + 4, 192)
    mean = tokens[:, 1:].sum(1) / 4
    centred = mean - mean.mean(1, keepdim=True)
    scaled = centred / (centred.square().mean(1, keepdim=True) + normed.encoder.fc_norm.eps).sqrt()
    expected = scaled * normed.encoder.fc_norm.weight + normed.encoder.fc_norm.bias
    torch.testing.assert_close(normed.embed(images()), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("token, matters", [(0, False), (1, True), (4, True)])
def test_only_the_cls_output_is_left_out_of_the_embedding(normed, monkeypatch, token, matters):
    before, forward = normed.embed(images()), normed.encoder.forward_features

    def changed(batch):
        tokens = forward(batch)
        tokens[:, token] += torch.linspace(-3, 3, 192)
        return tokens

    monkeypatch.setattr(normed.encoder, "forward_features", changed)
    assert torch.equal(before, normed.embed(images())) != matters


@torch.no_grad()
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_forward_gives_the_embedding_and_a_linear_map_of_it(classes):
    model = tiny(classes=classes)
    embeddings, logits = model(images())
    assert embeddings.shape == (3, 192) and logits.shape == (3, classes)
    head = model.encoder.head
    torch.testing.assert_close(embeddings, model.embed(images()))
    torch.testing.assert_close(logits, embeddings @ head.weight.T + head.bias, rtol=1e-4, atol=1e-6)


def test_the_head_starts_with_the_given_spread_and_no_bias():
    model = build(TINY, 6, depth=1, input_size=32, head_std=2e-5)
    assert model.encoder.head.weight.std().item() == pytest.approx(2e-5, rel=0.1)
    assert not model.encoder.head.bias.any()


def test_vit_b_has_the_papers_number_of_parameters():
    with torch.device("meta"):
        model = build("vit_base_patch16_224", 2)
    assert sum(parameter.numel() for parameter in model.parameters()) == 85_800_194


def test_depth_cuts_blocks_and_nothing_else():
    one, three = (dict(tiny(depth=depth).named_parameters()) for depth in (1, 3))
    assert set(one) < set(three)
    assert {name.split(".")[2] for name in set(three) - set(one)} == {"1", "2"}


@pytest.mark.parametrize(
    "name, message",
    [
        ("vit_gigantic_patch3", "train.architecture 'vit_gigantic_patch3' is unknown to timm"),
        ("levit_128", "'levit_128' has no linear head over one embedding per image"),
    ],
)
def test_architectures_that_cannot_be_built(name, message):
    with pytest.raises(ValueError, match=message) as info:
        build(name, 2, depth=1)
    only_line(info)
