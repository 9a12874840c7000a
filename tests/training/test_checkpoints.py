"""Start weights and saved weights: what is loaded, and what is refused in one line."""

import argparse
import json
import os
import pathlib

import pytest
import torch
from safetensors.torch import load_file, save_file

from deepfake_repro.scoring.model import read_model
from deepfake_repro.training.checkpoints import (
    FRESH,
    fsfm_network,
    load,
    load_finetuned_fsfm,
    load_fsfm,
    load_safetensors,
    load_start,
    save,
)
from deepfake_repro.training.detector import build_detector as build
from deepfake_repro.training.manifest import Manifest
from deepfake_repro.training.transforms import Normalisation
from support.networks import TINY, images, only_line, tiny

CONSTANTS = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
NORM = Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def encoder_state(seed=5, size=32):
    """An encoder's tensors as a pre-training leaves them: no head, no ``fc_norm``."""
    return {
        key: value
        for key, value in tiny(seed, size=size).encoder.state_dict().items()
        if key not in FRESH
    }


def write_safetensors(folder, state, constants=CONSTANTS):
    save_file(state, str(folder / "start.safetensors"))
    (folder / "start.json").write_text(json.dumps(constants))
    return folder / "start.safetensors"


def write_fsfm(folder, state=None, args=None):
    """A file made like ``checkpoint-400.pth``: the model beside optimiser, scaler and the command
    line's Namespace.
    """
    extra = {
        "norm.weight": torch.ones(192),
        "norm.bias": torch.zeros(192),
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_embed.weight": torch.zeros(8, 192),
        "decoder_blocks.0.norm1.weight": torch.ones(8),
    }
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    torch.save(
        {
            "model": {**(encoder_state() if state is None else state), **extra},
            "epoch": 400,
            "optimizer": optimizer.state_dict(),
            "scaler": {"scale": 65536.0, "_growth_tracker": 3},
            "args": args
            or argparse.Namespace(output_dir=pathlib.Path("out") / "vit", blr=1.5e-4, resume=""),
        },
        folder / "checkpoint-400.pth",
    )
    (folder / "pretrain_ds_mean_std.txt").write_text(
        json.dumps(CONSTANTS) + "\nfurther lines are ignored\n"
    )
    return folder / "checkpoint-400.pth"


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
    state["pos_embed"] = torch.cat(
        [torch.full((1, 1, 192), 9.0), ramp[None, :, None].expand(1, 16, 192)], 1
    )
    model = tiny(size=32)
    load_safetensors(model, write_safetensors(tmp_path, state))
    positions = model.encoder.pos_embed.detach()
    assert positions.shape == (1, 1 + 4, 192)
    assert (positions[:, 0] == 9).all()
    rows = positions[0, 1:, 0].reshape(2, 2)
    torch.testing.assert_close(rows[:, 0], rows[:, 1])
    assert rows[0, 0] < 1.5 < rows[1, 0] and rows[:, 0].mean().item() == pytest.approx(
        1.5, abs=1e-4
    )
    assert model.eval()(images())[1].shape == (3, 2)


@pytest.mark.parametrize("write", [write_safetensors, write_fsfm])
def test_weights_of_another_network_are_refused(tmp_path, write):
    state = encoder_state()
    short = {key: value for key, value in state.items() if key != "blocks.1.attn.qkv.bias"}
    with pytest.raises(
        ValueError, match=r"1 tensors missing, first blocks.1.attn.qkv.bias"
    ) as info:
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
        load_safetensors(
            model,
            write_safetensors(tmp_path, {**encoder_state(), "cls_token": torch.zeros(1, 1, 3)}),
        )
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_missing_files_say_which_and_where_from(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"start weights .*nothing.pth not found: README.md"
    ) as info:
        load_start(tiny(), str(tmp_path / "nothing.pth"))
    only_line(info)
    path = write_safetensors(tmp_path, encoder_state())
    path.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"start.safetensors: manifest start.json") as info:
        load_start(tiny(), str(path))
    only_line(info)
    path = write_fsfm(tmp_path)
    (tmp_path / "pretrain_ds_mean_std.txt").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"pretrain_ds_mean_std.txt .*is missing beside it"
    ) as info:
        load_start(tiny(), str(path))
    only_line(info)


@pytest.mark.parametrize("constants", [{"mean": [0, 0, 0]}, {"std": [1, 1, 1]}, {}])
def test_normalisation_is_never_guessed(tmp_path, constants):
    with pytest.raises(
        ValueError, match=r"start.json: normalisation constants 'mean' and 'std' are missing"
    ) as info:
        load_safetensors(tiny(), write_safetensors(tmp_path, encoder_state(), constants))
    only_line(info)


def write_finetuned(folder, state=None, args=None, constants=CONSTANTS):
    """A file made like ``checkpoint-min_val_loss.pth``: all tensors of the detector, and args."""
    file = folder / "checkpoint-min_val_loss.pth"
    state = tiny(5).encoder.state_dict() if state is None else state
    torch.save({"model": state, "args": args or argparse.Namespace()}, file)
    if constants:
        (folder / "pretrain_ds_mean_std.txt").write_text(json.dumps(constants))
    return file


@pytest.mark.parametrize("write", [write_fsfm, write_finetuned])
def test_fsfms_small_network_is_refused_because_timms_has_other_heads(tmp_path, write):
    """FSFM's ViT-S has 12 heads of 32, timm's 6 of 64: tensors of the same shapes."""
    small = build("vit_small_patch16_224", 2, depth=1, input_size=32)
    path = write(tmp_path, small.encoder.state_dict())
    load_it = load_fsfm if write is write_fsfm else load_finetuned_fsfm
    with pytest.raises(ValueError, match=r"is FSFM's ViT-S with 12 heads; timm's has 6") as info:
        load_it(small, path)
    only_line(info)


def test_weights_tuned_with_imagenets_constants_are_fed_with_them(tmp_path):
    args = argparse.Namespace(normalize_from_IMN=True, nb_classes=2, model="vit_base_patch16")
    imagenet = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert load_finetuned_fsfm(tiny(), write_finetuned(tmp_path, args=args)) == imagenet
    other = write_finetuned(tmp_path, args=argparse.Namespace(normalize_from_IMN=False))
    assert load_finetuned_fsfm(tiny(), other) == NORM


def test_imagenets_constants_need_no_file_beside_the_weights(tmp_path):
    args = argparse.Namespace(normalize_from_IMN=True)
    path = write_finetuned(tmp_path, args=args, constants=None)
    assert load_finetuned_fsfm(tiny(), path).mean == (0.485, 0.456, 0.406)


def test_a_detector_of_four_classes_says_so(tmp_path):
    path = write_finetuned(tmp_path, tiny(classes=4).encoder.state_dict())
    with pytest.raises(ValueError, match="distinguishes 4 classes: only detectors of two") as info:
        load_finetuned_fsfm(tiny(), path)
    only_line(info)


def test_the_file_tells_the_network(tmp_path):
    large = {"cls_token": torch.zeros(1, 1, 1024)}
    large |= {f"blocks.{number}.norm1.bias": torch.zeros(1024) for number in range(24)}
    path = write_finetuned(tmp_path, large)
    assert fsfm_network(path) == ("vit_large_patch16_224", 24)
    assert fsfm_network(write_finetuned(tmp_path)) is None  # not a width of FSFM's


def test_a_detector_is_built_as_its_file_says(tmp_path):
    published = build("vit_base_patch16_224", 2, depth=1)
    path = write_finetuned(tmp_path, published.encoder.state_dict())
    manifest = read_model(path).manifest
    assert (manifest.architecture, manifest.depth) == ("vit_base_patch16_224", 1)


@pytest.mark.parametrize("write", [write_fsfm, write_finetuned])
def test_prefixes_of_a_training_on_several_devices_are_removed(tmp_path, write):
    wanted = tiny(5).encoder.state_dict()
    parallel = {f"module.{key}": value for key, value in wanted.items()}
    model = tiny(0)
    load_it = load_fsfm if write is write_fsfm else load_finetuned_fsfm
    load_it(model, write(tmp_path, parallel))
    for key in ("pos_embed", "blocks.1.mlp.fc2.weight"):
        assert torch.equal(model.encoder.state_dict()[key], wanted[key])


def html(path):
    path.write_text("<!DOCTYPE html>\n<html><body>404: sign in to download</body></html>\n")


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (html, "a web page"),
        (truncated, ".+"),
        (emptied, ".+"),
    ],
)
def test_files_that_are_no_fsfm_checkpoint(tmp_path, spoil, what):
    path = write_fsfm(tmp_path)
    spoil(path)
    with pytest.raises(
        ValueError,
        match=rf"checkpoint-400.pth is not an FSFM checkpoint \({what}\); fetch it again",
    ) as info:
        load_fsfm(tiny(), path)
    only_line(info)


@pytest.mark.parametrize("spoil", [html, truncated, emptied])
def test_files_that_are_no_safetensors(tmp_path, spoil):
    path = write_safetensors(tmp_path, encoder_state())
    spoil(path)
    with pytest.raises(
        ValueError, match=r"start.safetensors is not a readable safetensors file"
    ) as info:
        load_safetensors(tiny(), path)
    only_line(info)


def test_a_bare_state_dict_is_no_fsfm_checkpoint(tmp_path):
    path = write_fsfm(tmp_path)
    torch.save(encoder_state(), path)
    with pytest.raises(ValueError, match="is not an FSFM checkpoint") as info:
        load_fsfm(tiny(), path)
    only_line(info)


class Shell:
    """What an attacker hides in a pickle."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pickle_that_runs_a_command_is_refused_and_nothing_runs(tmp_path):
    trace = tmp_path / "trace"
    path = write_fsfm(tmp_path, args=Shell(f"touch {trace}"))
    with pytest.raises(ValueError, match="is not an FSFM checkpoint") as info:
        load_fsfm(tiny(), path)
    assert only_line(info).isprintable()
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the file would have worked on a careless reader
    assert trace.exists()


@torch.no_grad()
def test_what_is_saved_loads_with_the_same_logits(tmp_path):
    model = tiny(3, classes=6)
    manifest = Manifest(TINY, 2, 32, "fsfm", tuple("abcdef"), NORM.mean, NORM.std)
    save(model, tmp_path / "new" / "folder", manifest)
    again, loaded = load(tmp_path / "new" / "folder")
    assert loaded == manifest and not again.training
    for one, two in zip(model(images()), again(images()), strict=True):
        assert torch.equal(one, two)


def test_saving_twice_gives_the_same_bytes(tmp_path):
    manifest = Manifest(TINY, 2, 32, "fsfm", ("REAL", "FAKE"), NORM.mean, NORM.std)
    for name in ("a", "b"):
        save(tiny(), tmp_path / name, manifest)
    for file in ("model.safetensors", "model.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("text", ['{"depth": 2}', "", "[]"])
def test_an_unreadable_manifest_is_refused_in_one_line(tmp_path, text):
    manifest = Manifest(TINY, 2, 32, "fsfm", ("REAL", "FAKE"), NORM.mean, NORM.std)
    save(tiny(), tmp_path, manifest)
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match=r"model.json") as info:
        load(tmp_path)
    only_line(info)


def test_the_demos_weights_start_its_network(assets):
    model = build("vit_small_patch14_dinov2", 2, depth=1, input_size=112)
    norm = load_start(model, str(assets / "vit_small_patch14.safetensors"))
    assert norm == Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    stored = load_file(str(assets / "vit_small_patch14.safetensors"))
    assert model.encoder.pos_embed.shape == (1, 1 + 8 * 8, 384) != stored["pos_embed"].shape
    assert torch.equal(model.encoder.blocks[0].attn.qkv.weight, stored["blocks.0.attn.qkv.weight"])
