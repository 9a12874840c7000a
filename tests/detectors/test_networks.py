"""Released networks: logits equal to an independent restatement, anything unknown refused."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deepfake_repro.detectors.catalogue import FOUR_CLASSES, RELEASED, describe_file
from deepfake_repro.detectors.files import Checkpoint, read_checkpoint
from deepfake_repro.detectors.loading import NETWORKS, load_weights
from deepfake_repro.training.detector import Detector
from support import published_networks as published

pytestmark = pytest.mark.usefixtures("one_thread")

REAL_FIRST = ("real", "fake")
FAKE_FIRST = ("fake", "real")
State = published.State


def unprefixed(state: State) -> State:
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def load(network: str, state: State, classes: tuple[str, ...] = REAL_FIRST) -> Detector:
    return NETWORKS[network](Checkpoint("file.pth", unprefixed(state)), classes)


def p_fake(detector: Detector, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return detector(images)[1].softmax(1)[:, 1:].sum(1)


def check(network: str, state: State, images: torch.Tensor, logits: torch.Tensor) -> None:
    """Both columns, real first; they differ from image to image."""
    with torch.inference_mode():
        _, actual = load(network, state)(images)
    assert logits.std(0).min() > 1e-4
    assert torch.allclose(actual, logits, rtol=1e-4, atol=2e-5), (actual - logits).abs().max()


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_gend() -> None:
    state = published.gend_state()
    images = torch.randn(3, 3, 56, 56)
    check("gend_clip", state, images, published.gend_logits(state, images))


@pytest.mark.parametrize("head", ["LinearNorm", "linear"])
def test_gend_training_checkpoint(head: str, tmp_path: Path) -> None:
    """A file of Lightning, in bf16; its settings decide whether features are normalised."""
    state = {name: each.bfloat16() for name, each in published.gend_state().items()}
    path = tmp_path / "best_mAP.ckpt"
    torch.save(published.lightning_file(state, head=head), path)
    manifest = describe_file(path)
    assert manifest.view is not None and manifest.view.size == 56  # four patches of 14
    assert manifest.name == RELEASED["gend_lightning"].manifest.name
    images = torch.randn(3, 3, 56, 56)
    wide = {name: each.float() for name, each in state.items()}
    logits = published.gend_logits(wide, images, normalised=head == "LinearNorm")
    with torch.inference_mode():
        _, actual = load_weights(path, manifest).scorer.detector(images)
    assert logits.std(0).min() > 1e-4
    assert torch.allclose(actual, logits, rtol=1e-4, atol=2e-5), (actual - logits).abs().max()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"head": "cosine"}, "head 'cosine' is unknown; known: LinearNorm, linear"),
        (
            {"custom_preprocessing": {"zoom_factor": 1.3, "image_size": None}},
            "prepared by custom_preprocessing.zoom_factor = 1.3, which no manifest describes",
        ),
    ],
)
def test_gend_training_checkpoints_of_other_settings_are_refused(
    settings: dict, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "last.ckpt"
    torch.save(published.lightning_file(published.gend_state(), **settings), path)
    with pytest.raises(ValueError, match=r"^last\.ckpt: ") as refused:
        load_weights(path, RELEASED["gend_lightning"].manifest)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_gend_training_checkpoints_of_other_networks_are_refused(tmp_path: Path) -> None:
    """Encoders of another kind, adapters of PEFT, and settings that only code could read."""
    tower = "feature_extractor.backbone.blocks.0.norm1.weight"
    lora = "feature_extractor.base_model.model.vision_model.pre_layrnorm.weight"
    for name in (tower, lora):
        path = tmp_path / "other.ckpt"
        state = published.gend_state() | {name: torch.ones(128)}
        torch.save(published.lightning_file(state), path)
        words = f"other.ckpt: not a GenD checkpoint with a CLIP encoder: tensor {name} is unknown"
        with pytest.raises(ValueError, match=f"^{words}$"):
            load_weights(path, describe_file(path))
    torch.save(published.lightning_file(published.gend_state(), devices=Path.cwd), path)
    with pytest.raises(ValueError, match=r"^other\.ckpt: not readable as safe weights"):
        describe_file(path)


def test_fsfm_of_four_classes_is_one_minus_real(tmp_path: Path) -> None:
    """From the file, by the manifest of the list: the fake classes are summed."""
    manifest = RELEASED["fsfm_unified"].manifest
    assert manifest.classes == FOUR_CLASSES
    state = published.fsfm_state(384, depth=2, classes=4)
    state["head.weight"] *= 40
    path = tmp_path / manifest.weights.file
    torch.save({"model": state, "args": argparse.Namespace(nb_classes=4), "epoch": 3}, path)
    images = torch.randn(5, 3, 224, 224)
    expected = 1 - published.fsfm_logits(state, images, 12).softmax(1)[:, 0]
    assert expected.std() > 1e-2
    described = describe_file(path)
    assert described == manifest
    assert torch.allclose(
        p_fake(load_weights(path, described).scorer.detector, images), expected, atol=1e-5
    )
    two = published.fsfm_state(384, depth=1)
    torch.save({"model": two}, path)
    with pytest.raises(ValueError, match=r"has 2 output\(s\), the manifest names 4"):
        load_weights(path, manifest)


def test_deepfakebench_clip_and_effort() -> None:
    images = torch.randn(3, 3, 56, 56)
    state = published.clip_state("backbone.") | published.linear_state("head", 128, 2)
    state["backbone.embeddings.position_ids"] = torch.arange(17)[None]
    check("deepfakebench_clip", state, images, published.clip_logits(state, images))
    parts = published.effort_state()
    parts["module.backbone.encoder.layers.0.self_attn.q_proj.S_r"] = torch.ones(2)
    check("effort", parts, images, published.clip_logits(unprefixed(parts), images))


@pytest.mark.parametrize(("width", "heads"), [(384, 12), (768, 12), (1024, 16)])
def test_fsfm_of_each_size_has_its_own_number_of_heads(width: int, heads: int) -> None:
    state = published.fsfm_state(width, depth=1)
    images = torch.randn(2, 3, 224, 224)
    check("fsfm", state, images, published.fsfm_logits(state, images, heads))


def test_efficientnets_pad_as_their_package_does() -> None:
    """Sides where the padding of efficientnet_pytorch (for 224) and of timm differ."""
    state = published.efficientnet_state("b0")
    for side in (96, 75):
        images = torch.randn(2, 3, side, side)
        logits = published.efficientnet_logits(state, "b0", images)
        check("sbi", prefixed(state, "net."), images, logits)
        renamed = {
            f"backbone.{name.replace('_fc', 'last_layer')}"
            if name.startswith("_fc")
            else f"backbone.efficientnet.{name}": tensor
            for name, tensor in state.items()
        }
        logits = published.efficientnet_logits(state, "b0", images, padded_stem=False)
        check("deepfakebench_efficientnet", renamed, images, logits)


def test_the_dfdc_winner_has_one_logit() -> None:
    state = published.efficientnet_state("b0", classes=1)
    images = torch.randn(3, 3, 75, 75)
    expected = published.efficientnet_logits(state, "b0", images, static=False).sigmoid()[:, 0]
    renamed = prefixed(published.timm_names(state, "b0"), "module.encoder.")
    renamed["module.encoder.classifier.weight"] = torch.randn(1000, 1280)  # of ImageNet, unused
    renamed["module.encoder.classifier.bias"] = torch.randn(1000)
    renamed |= {f"module.fc.{part}": state[f"_fc.{part}"] for part in ("weight", "bias")}
    actual = p_fake(load("dfdc", renamed, ("fake",)), images)
    assert expected.std() > 1e-4
    assert torch.allclose(actual, expected, atol=1e-5)


def test_xception() -> None:
    state = published.xception_state()
    images = torch.randn(2, 3, 75, 75)
    check("deepfakebench_xception", state, images, published.xception_logits(state, images))


def sizes(state: State) -> int:
    return sum(tensor.numel() for name, tensor in state.items() if "running" not in name)


def test_full_sizes_have_the_published_numbers_of_parameters() -> None:
    """EfficientNets with 1,000 classes, as in their papers: 19.3 and 66.3 million."""
    with torch.device("meta"):
        b4 = sizes(published.efficientnet_state("b4", 1000))
        b7 = sizes(published.efficientnet_state("b7", 1000))
        clip = published.gend_state(width=1024, depth=24, patch=14, side=16)
    assert [round(b4 / 1e6, 1), round(b7 / 1e6, 1)] == [19.3, 66.3]
    tower = {name: each for name, each in clip.items() if "projection" not in name}
    # 4 bytes per number are all but the header of the published file of 1,215,928,160 bytes.
    assert 0 < 1_215_928_160 - 4 * (sizes(tower) + 768 * 1024) < 100_000


@pytest.mark.parametrize(
    ("network", "make"),
    [
        ("gend_clip", lambda: published.gend_state(width=1024, depth=24, side=16)),
        ("deepfakebench_clip", lambda: _benchmark_clip()),
        ("fsfm", lambda: published.fsfm_state(1024, depth=24)),
        ("fsfm", lambda: published.fsfm_state(768, depth=12, classes=4)),
        ("sbi", lambda: prefixed(published.efficientnet_state("b4"), "net.")),
        ("dfdc", lambda: _dfdc("b7")),
    ],
)
def test_every_name_and_shape_of_the_full_size_is_known(
    network: str, make: Callable[[], State]
) -> None:
    """On torch's meta device: names and shapes alone, no memory and no arithmetic."""
    with torch.device("meta"):
        state = make()
        classes = {1: ("fake",), 4: FOUR_CLASSES}.get(outputs(state), REAL_FIRST)
        detector = load(network, state, classes)
    assert detector.encoder.get_classifier().out_features == max(len(classes), 2)


def outputs(state: State) -> int:
    """Size of the head: the last tensor of one dimension whose name says so."""
    heads = ("head.bias", "linear.bias", "fc.bias")
    return [len(each) for name, each in state.items() if name.endswith(heads)][-1]


def _benchmark_clip() -> State:
    tower = published.clip_state("backbone.", width=768, depth=12, patch=16, side=14)
    return tower | published.linear_state("head", 768, 2)


def _dfdc(size: str) -> State:
    state = published.efficientnet_state(size, classes=1)
    renamed = prefixed(published.timm_names(state, size), "encoder.")
    return renamed | {f"fc.{part}": state[f"_fc.{part}"] for part in ("weight", "bias")}


def test_the_order_of_classes_decides_what_fake_is() -> None:
    state = published.fsfm_state(384, depth=1)
    images = torch.randn(3, 3, 224, 224)
    logits = published.fsfm_logits(state, images, 12).softmax(1)
    assert torch.allclose(p_fake(load("fsfm", state, FAKE_FIRST), images), logits[:, 0], atol=1e-5)
    four = published.fsfm_state(384, depth=1, classes=4)
    names = ("real", "deepfake", "diffusion", "spoof")
    logits = published.fsfm_logits(four, images, 12).softmax(1)
    assert torch.allclose(p_fake(load("fsfm", four, names), images), 1 - logits[:, 0], atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_other_checkpoints_are_refused_in_one_line(network: str) -> None:
    states = {
        "gend_clip": published.gend_state,
        "deepfakebench_clip": lambda: (
            published.clip_state("backbone.") | published.linear_state("head", 128, 2)
        ),
        "effort": lambda: unprefixed(published.effort_state()),
        "fsfm": lambda: published.fsfm_state(384, depth=1),
        "sbi": lambda: prefixed(published.efficientnet_state("b0"), "net."),
    }
    own = states.get(network, published.xception_state)()
    for other, make in states.items():
        if other != network:
            with pytest.raises(ValueError, match=r"^file\.pth: not a.* tensor .*$") as refused:
                load(network, make())
            assert "\n" not in str(refused.value)
    if network in states:
        missing = dict(own)
        name = sorted(own)[3]
        del missing[name]
        for spoilt in (missing, own | {"extra.weight": torch.zeros(2)}):
            with pytest.raises(ValueError, match=r"is missing|is unknown|shape"):
                load(network, spoilt)
        with pytest.raises(ValueError, match=r"has 2 output\(s\), the manifest names 3"):
            load(network, own, ("real", "fake", "spoof"))


def test_files_are_read_without_executing_them(tmp_path: Path) -> None:
    state = published.gend_state(depth=1)
    save_file(state, str(tmp_path / "a.safetensors"))
    torch.save({"state_dict": {f"module.{k}": v.half() for k, v in state.items()}}, tmp_path / "b")
    one, other = (read_checkpoint(tmp_path / name).state for name in ("a.safetensors", "b"))
    assert one.keys() == other.keys() == state.keys()
    assert all(torch.equal(one[name], state[name]) for name in state)
    assert {tensor.dtype for tensor in other.values()} == {torch.float32}
    torch.save({"model": Path.cwd}, tmp_path / "code")
    (tmp_path / "page").write_text("<html>")
    torch.save([1, 2], tmp_path / "list")
    torch.save({"epoch": 3}, tmp_path / "empty")
    for name, words in (
        ("code", "damaged, or more than tensors"),
        ("page", "it is a web page"),
        ("list", "contains list, not named tensors"),
        ("empty", "contains no tensors"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: .*{words}") as refused:
            read_checkpoint(tmp_path / name)
        assert "\n" not in str(refused.value)
    with pytest.raises(FileNotFoundError, match="none: weights not found"):
        read_checkpoint(tmp_path / "none")
