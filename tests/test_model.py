"""The detector and its start weights: pooling by hand, released formats imitated, broken files named in one line."""

import argparse
import json
import os
import pathlib

import pytest
import torch
from safetensors.torch import load_file, save_file

from deepfake_repro.training.checkpoints import FRESH, load, load_fsfm, load_safetensors, load_start, save
from deepfake_repro.training.detector import build_detector as build
from deepfake_repro.training.transforms import Normalisation

TINY = "vit_tiny_patch16_224"
CONSTANTS = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
NORM = Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def tiny(seed=0, classes=2, depth=2, size=32):
    torch.manual_seed(seed)
    return build(TINY, classes, depth=depth, input_size=size, head_std=0.02).eval()


def images(count=3, size=32):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def encoder_state(seed=5, size=32):
    """An encoder's tensors as a pre-training leaves them: no head, no ``fc_norm``."""
    return {key: value for key, value in tiny(seed, size=size).encoder.state_dict().items() if key not in FRESH}


def write_safetensors(folder, state, constants=CONSTANTS):
    save_file(state, str(folder / "start.safetensors"))
    (folder / "start.json").write_text(json.dumps(constants))
    return folder / "start.safetensors"


def write_fsfm(folder, state=None, args=None):
    """A file made like ``checkpoint-400.pth``: the model beside optimiser, scaler and the command line's Namespace."""
    extra = {"norm.weight": torch.ones(192), "norm.bias": torch.zeros(192), "mask_token": torch.zeros(1, 1, 8),
             "decoder_embed.weight": torch.zeros(8, 192), "decoder_blocks.0.norm1.weight": torch.ones(8)}
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    torch.save({"model": {**(encoder_state() if state is None else state), **extra}, "epoch": 400,
                "optimizer": optimizer.state_dict(), "scaler": {"scale": 65536.0, "_growth_tracker": 3},
                "args": args or argparse.Namespace(output_dir=pathlib.Path("out") / "vit", blr=1.5e-4, resume="")},
               folder / "checkpoint-400.pth")
    (folder / "pretrain_ds_mean_std.txt").write_text(json.dumps(CONSTANTS) + "\nfurther lines are ignored\n")
    return folder / "checkpoint-400.pth"


def only_line(info):
    """The error's message, which must be a single line."""
    message = str(info.value)
    assert "\n" not in message
    return message


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


@pytest.mark.parametrize("name, message", [
    ("vit_gigantic_patch3", "train.architecture 'vit_gigantic_patch3' is unknown to timm"),
    ("convit_tiny", "'convit_tiny' is no VisionTransformer"),
])
def test_architectures_that_cannot_be_built(name, message):
    with pytest.raises(ValueError, match=message) as info:
        build(name, 2, depth=1)
    only_line(info)


@pytest.mark.parametrize("write", [write_safetensors, write_fsfm])
def test_a_start_copies_the_encoder_and_leaves_the_fresh_parameters_alone(tmp_path, write):
    model, state = tiny(0), encoder_state(5)
    before = {key: model.encoder.state_dict()[key].clone() for key in FRESH}
    assert load_start(model, str(write(tmp_path, state))) == NORM
    after = model.encoder.state_dict()
    assert set(after) == set(state) | FRESH
    assert all(torch.equal(after[key], state[key]) for key in state)
    assert all(torch.equal(after[key], before[key]) for key in FRESH)


def test_deeper_weights_start_the_first_blocks_of_a_shallow_network(tmp_path):
    model, state = tiny(depth=1), encoder_state()
    load_safetensors(model, write_safetensors(tmp_path, state))
    assert torch.equal(model.encoder.blocks[0].mlp.fc1.weight, state["blocks.0.mlp.fc1.weight"])


def test_position_embedding_follows_the_grid_and_keeps_the_class_position(tmp_path):
    state = encoder_state(size=64)
    ramp = torch.arange(4.0).repeat_interleave(4)  # grows from row to row, the same along a row
    state["pos_embed"] = torch.cat([torch.full((1, 1, 192), 9.0), ramp[None, :, None].expand(1, 16, 192)], 1)
    model = tiny(size=32)
    load_safetensors(model, write_safetensors(tmp_path, state))
    positions = model.encoder.pos_embed.detach()
    assert positions.shape == (1, 1 + 4, 192)
    assert (positions[:, 0] == 9).all()
    rows = positions[0, 1:, 0].reshape(2, 2)
    torch.testing.assert_close(rows[:, 0], rows[:, 1])
    assert rows[0, 0] < 1.5 < rows[1, 0] and rows[:, 0].mean().item() == pytest.approx(1.5, abs=1e-4)
    assert model.eval()(images())[1].shape == (3, 2)


@pytest.mark.parametrize("write", [write_safetensors, write_fsfm])
def test_weights_of_another_network_are_refused(tmp_path, write):
    state = encoder_state()
    short = {key: value for key, value in state.items() if key != "blocks.1.attn.qkv.bias"}
    with pytest.raises(ValueError, match="1 tensors missing, first blocks.1.attn.qkv.bias") as info:
        load_start(tiny(), str(write(tmp_path, short)))
    only_line(info)
    wrong = {**state, "blocks.0.mlp.fc2.weight": torch.zeros(192, 7)}
    with pytest.raises(ValueError, match=r"blocks.0.mlp.fc2.weight has shape \(192, 7\)") as info:
        load_start(tiny(), str(write(tmp_path, wrong)))
    assert "(192, 768)" in only_line(info)


def test_a_refused_start_changes_nothing(tmp_path):
    model = tiny()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError):
        load_safetensors(model, write_safetensors(tmp_path, {**encoder_state(), "cls_token": torch.zeros(1, 1, 3)}))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_missing_files_say_which_and_where_from(tmp_path):
    with pytest.raises(FileNotFoundError, match="start weights .*nothing.pth not found: README.md") as info:
        load_start(tiny(), str(tmp_path / "nothing.pth"))
    only_line(info)
    place = write_safetensors(tmp_path, encoder_state())
    place.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match="start.safetensors: manifest start.json") as info:
        load_start(tiny(), str(place))
    only_line(info)
    place = write_fsfm(tmp_path)
    (tmp_path / "pretrain_ds_mean_std.txt").unlink()
    with pytest.raises(FileNotFoundError, match="pretrain_ds_mean_std.txt .*is missing beside it") as info:
        load_start(tiny(), str(place))
    only_line(info)


@pytest.mark.parametrize("constants", [{"mean": [0, 0, 0]}, {"std": [1, 1, 1]}, {}])
def test_normalisation_is_never_guessed(tmp_path, constants):
    with pytest.raises(ValueError, match="start.json: normalisation constants 'mean' and 'std' are missing") as info:
        load_safetensors(tiny(), write_safetensors(tmp_path, encoder_state(), constants))
    only_line(info)


def html(path):
    path.write_text("<!DOCTYPE html>\n<html><body>404: sign in to download</body></html>\n")


def truncated(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(("spoil", "what"), [
    (html, "a web page"), (truncated, ".+"), (emptied, ".+"),
])
def test_files_that_are_no_fsfm_checkpoint(tmp_path, spoil, what):
    place = write_fsfm(tmp_path)
    spoil(place)
    with pytest.raises(ValueError, match=rf"checkpoint-400.pth is no FSFM checkpoint \({what}\); fetch it again") as info:
        load_fsfm(tiny(), place)
    only_line(info)


@pytest.mark.parametrize("spoil", [html, truncated, emptied])
def test_files_that_are_no_safetensors(tmp_path, spoil):
    place = write_safetensors(tmp_path, encoder_state())
    spoil(place)
    with pytest.raises(ValueError, match="start.safetensors is no readable safetensors file") as info:
        load_safetensors(tiny(), place)
    only_line(info)


def test_a_bare_state_dict_is_no_fsfm_checkpoint(tmp_path):
    place = write_fsfm(tmp_path)
    torch.save(encoder_state(), place)
    with pytest.raises(ValueError, match="is no FSFM checkpoint") as info:
        load_fsfm(tiny(), place)
    only_line(info)


class Shell:
    """What an attacker hides in a pickle."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pickle_that_runs_a_command_is_refused_and_nothing_runs(tmp_path):
    trace = tmp_path / "trace"
    place = write_fsfm(tmp_path, args=Shell(f"touch {trace}"))
    with pytest.raises(ValueError, match="is no FSFM checkpoint") as info:
        load_fsfm(tiny(), place)
    only_line(info)
    assert not trace.exists()
    torch.load(place, weights_only=False)  # the file would have worked on a careless reader
    assert trace.exists()


@torch.no_grad()
def test_what_is_saved_loads_with_the_same_logits(tmp_path):
    model = tiny(3, classes=6)
    manifest = {"architecture": TINY, "classes": list("abcdef"), "depth": 2, "input_size": 32, "mean": [0.5] * 3}
    save(model, tmp_path / "new" / "folder", manifest)
    again, found = load(tmp_path / "new" / "folder")
    assert found == manifest and not again.training
    for one, two in zip(model(images()), again(images()), strict=True):
        assert torch.equal(one, two)


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save(tiny(), tmp_path / name, {"depth": 2, "classes": ["REAL", "FAKE"]})
    for file in ("model.safetensors", "model.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_demos_weights_start_its_network(assets):
    model = build("vit_small_patch14_dinov2", 2, depth=1, input_size=112)
    norm = load_start(model, str(assets / "vit_small_patch14.safetensors"))
    assert norm == Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    stored = load_file(str(assets / "vit_small_patch14.safetensors"))
    assert model.encoder.pos_embed.shape == (1, 1 + 8 * 8, 384) != stored["pos_embed"].shape
    assert torch.equal(model.encoder.blocks[0].attn.qkv.weight, stored["blocks.0.attn.qkv.weight"])
