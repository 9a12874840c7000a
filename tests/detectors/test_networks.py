"""Released networks: logits equal to an independent restatement, anything unknown refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deepfake_repro.detectors.files import Checkpoint, read_checkpoint
from deepfake_repro.detectors.loading import NETWORKS
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
        detector = load(network, state, ("fake",) if network == "dfdc" else REAL_FIRST)
    assert detector.encoder.get_classifier().out_features == 2


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
