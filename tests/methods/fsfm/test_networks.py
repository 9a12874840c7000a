"""FSFM's networks against timm, loops and printed sizes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from deepfake_repro.methods.fsfm.networks import (
    FSFM,
    Branch,
    build_target,
    initialise_from_scratch,
    sincos_table,
)
from deepfake_repro.methods.fsfm.recipe import (
    follow,
    patchify,
    unpatchify,
)
from deepfake_repro.training.detector import build_detector
from support.toy_pretraining import COUNT, FACE, MASK, PAPER, PATCH, SMALL, encoder, noise, small

ROOT = Path(__file__).resolve().parents[3]


def test_vit_b_has_the_tensors_and_values_of_the_released_files() -> None:
    with torch.device("meta"):
        online = FSFM(build_detector("vit_base_patch16_224", 2).encoder, PAPER)
        target = build_target(online, PAPER)
    sizes = {name: tensor.numel() for name, tensor in online.state_dict().items()}
    assert len(sizes) == 297 and sum(sizes.values()) == 133_734_400
    kept = {name: tensor.numel() for name, tensor in target.state_dict().items()}
    assert len(kept) == 188 and sum(kept.values()) == 105_516_032
    assert {name for name in sizes if name not in kept} == {
        name for name in sizes if name.startswith(("predictor.", "decoder_"))
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in online.state_dict().items()}
    released = {
        "cls_token": (1, 1, 768),
        "pos_embed": (1, 197, 768),
        "patch_embed.proj.weight": (768, 3, 16, 16),
        "blocks.11.attn.qkv.weight": (2304, 768),
        "norm.bias": (768,),
        "mask_token": (1, 1, 768),
        "projector.projection_head.0.weight": (4096, 768),
        "projector.projection_head.1.bias": (4096,),
        "projector.projection_head.3.weight": (256, 4096),
        "predictor.projection_head.0.weight": (4096, 256),
        "rep_decoder_pos_embed": (1, 197, 768),
        "rep_decoder_blocks.1.mlp.fc1.weight": (3072, 768),
        "rep_decoder_pred.weight": (768, 768),
        "decoder_embed.weight": (512, 768),
        "decoder_pos_embed": (1, 197, 512),
        "decoder_blocks.7.norm2.weight": (512,),
        "decoder_pred.weight": (768, 512),
    }
    assert {name: shapes[name] for name in released} == released


def test_sincos_table_is_the_formula_written_as_a_loop() -> None:
    width, grid = 8, 3
    table = sincos_table(width, grid)[0]
    assert table.shape == (1 + grid * grid, width) and not table[0].any()
    for row in range(grid):
        for column in range(grid):
            expected = [
                function(position / 10000 ** (k / 2))
                for position in (column, row)
                for function in (math.sin, math.cos)
                for k in range(2)
            ]
            assert table[1 + row * grid + column].tolist() == pytest.approx(expected, abs=1e-6)


def test_tables_of_positions_are_frozen_and_the_rep_decoder_has_none() -> None:
    online = small()
    assert {name for name, p in online.named_parameters() if not p.requires_grad} == {
        "pos_embed",
        "rep_decoder_pos_embed",
        "decoder_pos_embed",
    }
    assert not online.rep_decoder_pos_embed.any()
    torch.testing.assert_close(online.decoder_pos_embed.detach(), sincos_table(16, 4))


@torch.no_grad()
def test_whole_images_pass_the_encoder_as_in_timm() -> None:
    torch.manual_seed(0)
    source = encoder(pool="token")
    torch.nn.init.normal_(source.norm.weight)
    images = noise(2, 3, FACE, FACE)
    torch.testing.assert_close(FSFM(source, SMALL).tokens(images), source.forward_features(images))


@torch.no_grad()
def test_encoder_sees_exactly_the_visible_patches_in_their_places() -> None:
    """Against timm's blocks on tokens that are picked by hand."""
    online, images = small(), noise(2, 3, FACE, FACE)
    embedded = online.patch_embed(images) + online.pos_embed[:, 1:]
    for image, mask in enumerate(MASK):
        picked = [online.cls_token[0] + online.pos_embed[0, :1]]
        picked += [
            embedded[image, position][None] for position in range(COUNT) if not mask[position]
        ]
        expected = online.norm(online.blocks(torch.cat(picked)[None]))[0]
        torch.testing.assert_close(
            online.tokens(images, MASK)[image], expected, rtol=1e-4, atol=1e-5
        )


@torch.no_grad()
def test_mask_tokens_go_to_the_hidden_places() -> None:
    online, tokens = small(), noise(2, 1 + 8, 24)
    complete = online.complete(tokens, MASK)
    for image in range(2):
        visible = iter(tokens[image, 1:])
        expected = [
            tokens[image, 0],
            *(online.mask_token[0, 0] if gone else next(visible) for gone in MASK[image]),
        ]
        assert torch.equal(complete[image], torch.stack(expected))


@torch.no_grad()
def test_forward_is_the_published_chain_of_layers() -> None:
    online, images = small().eval(), noise(2, 3, FACE, FACE)
    pixels, query = online(images, MASK)
    tokens = online.tokens(images, MASK)
    painted = online.decoder_embed(online.complete(tokens, MASK)) + online.decoder_pos_embed
    painted = online.decoder_pred(online.decoder_norm(online.decoder_blocks(painted)))
    torch.testing.assert_close(pixels, painted[:, 1:])
    described = online.rep_decoder_blocks(online.complete(online.rep_decoder_embed(tokens), MASK))
    described = online.rep_decoder_pred(online.rep_decoder_norm(described)).sum(1) / (1 + COUNT)
    described = online.predictor(online.projector(described))
    torch.testing.assert_close(query, described / described.square().sum(1, keepdim=True).sqrt())
    assert pixels.shape == (2, COUNT, 3 * PATCH**2) and query.shape == (2, 8)


@torch.no_grad()
def test_hidden_pixels_cannot_be_seen() -> None:
    online, images = small(), noise(2, 3, FACE, FACE)
    changed = unpatchify(torch.where(MASK[..., None], 9.0, patchify(images, PATCH)), PATCH)
    for before, after in zip(online(images, MASK), online(changed, MASK), strict=True):
        assert torch.equal(before, after)


def test_target_begins_as_the_online_network_without_its_heads_and_shares_nothing() -> None:
    online = small()
    target = build_target(online, SMALL)
    assert all(
        torch.equal(tensor, online.state_dict()[name])
        for name, tensor in target.state_dict().items()
    )
    theirs = {tensor.data_ptr() for tensor in online.parameters()}
    assert not theirs & {tensor.data_ptr() for tensor in target.parameters()}
    images = noise(2, 3, FACE, FACE)
    torch.testing.assert_close(target(images), online.represent(online.tokens(images)))
    assert not target(images).requires_grad


def test_moving_average_has_its_closed_form() -> None:
    """After n steps at constant m with the online network moved once: m^n old + (1 - m^n) new."""
    online = small()
    target = build_target(online, SMALL)
    old = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    new = small(seed=9).state_dict()
    online.load_state_dict(new)
    for _ in range(5):
        follow(target, online, 0.9)
    for name, tensor in target.state_dict().items():
        torch.testing.assert_close(
            tensor, 0.9**5 * old[name] + (1 - 0.9**5) * new[name], rtol=1e-4, atol=1e-6
        )


def test_a_beginning_from_nothing_has_maes_positions_and_spread() -> None:
    network = timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=0)
    initialise_from_scratch(network)
    torch.testing.assert_close(network.pos_embed.detach(), sincos_table(192, 14))
    bound = (
        6 / (192 + 768)
    ) ** 0.5  # Xavier's of a 192 -> 768 layer and of a patch of 768 values -> 192
    for weight in (network.blocks[0].mlp.fc1.weight, network.patch_embed.proj.weight):
        assert 0.98 * bound < weight.abs().max() <= bound
    assert not network.blocks[0].mlp.fc1.bias.any()


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"decoder_width": 18},
            "pretrain.decoder_width is 18: use a multiple of 4 and of decoder_heads",
        ),
        ({"decoder_heads": 5}, "pretrain.decoder_width is 16"),
    ],
)
def test_decoder_that_cannot_be_built_is_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(recipe=replace(SMALL, **change))


def test_network_without_class_token_is_refused() -> None:
    bare = VisionTransformer(
        img_size=FACE,
        patch_size=PATCH,
        embed_dim=24,
        depth=1,
        num_heads=3,
        class_token=False,
        global_pool="avg",
    )
    with pytest.raises(ValueError, match="one class token"):
        Branch(bare, SMALL)
