"""Weights on disk: the starts that the papers name, and what a run leaves (Section 3.2).

A start must bring exactly the tensors that are not new: anything else missing or of another shape
is an error.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed
from timm.models.efficientnet import EfficientNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from .detector import Detector, build_detector
from .manifest import Manifest
from .transforms import Normalisation, channels

FRESH = {"head.weight", "head.bias", "fc_norm.weight", "fc_norm.bias"}
"""The only parameters that a start may leave untouched: the new head and the norm after pooling."""
FRESH_OF_CNN = {"classifier.weight", "classifier.bias"}


def load_start(model: Detector, source: str) -> Normalisation:
    """Load the start weights named in ``params.yaml`` and return how their inputs are normalised.

    ``timm:<tag>`` fetches a published model; ``*.safetensors`` is timm-named with a ``.json``
    manifest beside it; ``*.pth`` is FSFM's released format. A missing file is an error saying where
    it comes from.
    """
    if source.startswith("timm:"):
        return _load_timm(model, source.removeprefix("timm:"))
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"start weights {source} not found: README.md, Weights, says how to get them"
        )
    if path.suffix == ".safetensors":
        return load_safetensors(model, path)
    return load_fsfm(model, path)


def load_safetensors(model: Detector, path: Path) -> Normalisation:
    """Load timm-named weights; the manifest beside them must give ``mean`` and ``std``."""
    manifest = path.with_suffix(".json")
    if not manifest.is_file():
        raise FileNotFoundError(
            f"{path.name}: manifest {manifest.name} with 'mean' and 'std' is missing beside it"
        )
    constants = json.loads(manifest.read_text())
    try:
        state = load_file(str(path))
    except SafetensorError as error:
        raise ValueError(
            f"{path.name} is no readable safetensors file ({error}); make or fetch it again"
        ) from None
    _load_encoder(model, state, path.name)
    return _normalisation(constants, manifest.name)


def load_fsfm(model: Detector, path: Path) -> Normalisation:
    """Load FSFM's released pre-training checkpoint (Section 3.2) safely; decoders and projectors are left out.

    The dict in the file holds an ``argparse.Namespace`` and a path beside the weights, so these two
    types are allowed and nothing else. ``pretrain_ds_mean_std.txt`` beside it gives the
    normalisation, as released.
    """
    state, norm = _read_fsfm(path)
    _load_encoder(model, state, path.name)
    return norm


def load_finetuned_fsfm(model: Detector, path: Path) -> Normalisation:
    """Load a checkpoint that FSFM's code fine-tuned to two classes, head and ``fc_norm`` too.

    FSFM counts fake as class 0 and real as class 1; here real is 0, so the rows of its head change
    places. Raises ``ValueError`` if a tensor is missing, unknown or of another shape, e.g. in a
    pre-training checkpoint.
    """
    state, norm = _read_fsfm(path)
    wanted = model.encoder.state_dict()
    wrong = sorted(
        key
        for key in {*wanted, *state}
        if key not in state or key not in wanted or state[key].shape != wanted[key].shape
    )
    if wrong or len(wanted["head.bias"]) != 2:
        raise ValueError(
            f"{path.name} is no fine-tuned FSFM checkpoint of this two-class network: "
            f"{len(wrong)} tensors differ, first {wrong[0] if wrong else 'head.bias'}"
        )
    model.encoder.load_state_dict(
        {
            key: tensor.flip(0) if key.startswith("head.") else tensor
            for key, tensor in state.items()
        }
    )
    return norm


def load_sbi(model: Detector, path: Path) -> Normalisation:
    """Load a checkpoint of SBI's authors (README.md of SBI: ``FFraw``, ``FFc23``) into an EfficientNet-B4, head too.

    The file holds ``model``, the state of the package efficientnet_pytorch under ``net.``; real is
    0 and fake 1 in it as here, and pixels are divided by 255 and not normalised. The names follow
    that package; no released file was at hand to try. Raises ``ValueError`` if a tensor is missing,
    unknown or of another shape.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"sbi.weights {path} not found: SBI's authors publish them, or leave it empty to train"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["model"]
    except (UnpicklingError, RuntimeError, KeyError, EOFError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path.name} is no checkpoint of SBI ({reason}); fetch it again"
        ) from None
    state, wanted = (
        {key.removeprefix("net."): value for key, value in state.items()},
        model.encoder.state_dict(),
    )
    names = {_published_name(model.encoder, key): key for key in wanted}
    wrong = sorted(
        key
        for key in {*names, *state}
        if key not in names or key not in state or state[key].shape != wanted[names[key]].shape
    )
    if wrong:
        raise ValueError(
            f"{path.name} is no checkpoint of this EfficientNet: {len(wrong)} tensors differ, "
            f"first {wrong[0]}"
        )
    model.encoder.load_state_dict({name: state[key] for key, name in names.items()})
    return Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


_PUBLISHED = {
    "conv_stem": "_conv_stem",
    "bn1": "_bn0",
    "conv_head": "_conv_head",
    "bn2": "_bn1",
    "classifier": "_fc",
}
_PUBLISHED_BLOCK = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "se.conv_reduce": "_se_reduce",
    "se.conv_expand": "_se_expand",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}
_PUBLISHED_FIRST = {**_PUBLISHED_BLOCK, "conv_pw": "_project_conv", "bn1": "_bn1", "bn2": "_bn2"}
"""Blocks that do not widen their input have no expansion, and timm numbers their norms from the next layer on."""


def _published_name(encoder: EfficientNet, key: str) -> str:
    """The name in efficientnet_pytorch of a tensor of timm's EfficientNet: blocks counted through, not by stage."""
    part, _, last = key.rpartition(".")
    if not key.startswith("blocks."):
        return f"{_PUBLISHED[part]}.{last}"
    _, stage, number, layer = part.split(".", 3)
    place = sum(map(len, encoder.blocks[: int(stage)])) + int(number)
    names = (
        _PUBLISHED_BLOCK
        if hasattr(encoder.blocks[int(stage)][int(number)], "conv_pwl")
        else _PUBLISHED_FIRST
    )
    return f"_blocks.{place}.{names[layer]}.{last}"


def _read_fsfm(path: Path) -> tuple[dict[str, torch.Tensor], Normalisation]:
    """Tensors and normalisation of a file in FSFM's format."""
    constants = path.with_name("pretrain_ds_mean_std.txt")
    if not constants.is_file():
        raise FileNotFoundError(
            f"{path.name}: {constants.name} (released with it) is missing beside it"
        )
    allowed = [argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath]
    try:
        with torch.serialization.safe_globals(allowed):
            state = torch.load(path, map_location="cpu", weights_only=True)["model"]
    except (UnpicklingError, RuntimeError, KeyError, EOFError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        what = "a web page" if path.read_bytes()[:200].lstrip().lower().startswith(b"<") else reason
        raise ValueError(
            f"{path.name} is no FSFM checkpoint ({what}); fetch it again: python -m deepfake_repro "
            "weights"
        ) from None
    return state, _normalisation(json.loads(constants.read_text().splitlines()[0]), constants.name)


def _load_timm(model: Detector, tag: str) -> Normalisation:
    """ImageNet (or other) weights that timm publishes, e.g. ``vit_base_patch16_224.augreg2_in21k_ft_in1k``."""
    published = timm.create_model(tag, pretrained=True, num_classes=0)
    _load_encoder(model, published.state_dict(), tag)
    return _normalisation(published.pretrained_cfg, tag)


def _load_encoder(model: Detector, state: dict[str, torch.Tensor], name: str) -> None:
    """Copy exactly the encoder's tensors; anything missing beyond ``FRESH`` or of another shape is an error."""
    encoder = model.encoder
    fresh = (FRESH_OF_CNN if isinstance(encoder, EfficientNet) else FRESH) & set(
        encoder.state_dict()
    )
    wanted = set(encoder.state_dict()) - fresh
    if missing := sorted(wanted - set(state)):
        raise ValueError(
            f"{name}: {len(missing)} tensors missing, first {missing[0]}: not this architecture's weights"
        )
    chosen = {key: state[key] for key in wanted}
    if "pos_embed" in chosen:
        chosen["pos_embed"] = _fit_positions(chosen["pos_embed"], encoder)
    for key, tensor in chosen.items():
        if tensor.shape != encoder.state_dict()[key].shape:
            raise ValueError(
                f"{name}: {key} has shape {tuple(tensor.shape)}, "
                f"the network wants {tuple(encoder.state_dict()[key].shape)}"
            )
    result = encoder.load_state_dict(chosen, strict=False)
    assert set(result.missing_keys) == fresh and not result.unexpected_keys


def _fit_positions(positions: torch.Tensor, encoder: VisionTransformer) -> torch.Tensor:
    """Position embedding resampled to the network's grid; unchanged where the grid is the same."""
    if positions.shape == encoder.pos_embed.shape:
        return positions
    return resample_abs_pos_embed(
        positions, list(encoder.patch_embed.grid_size), num_prefix_tokens=1
    )


def _normalisation(constants: dict, name: str) -> Normalisation:
    """Mean and standard deviation, three numbers each; their absence is an error, never a silent default."""
    if "mean" not in constants or "std" not in constants:
        raise ValueError(f"{name}: normalisation constants 'mean' and 'std' are missing")
    return Normalisation(
        channels(map(float, constants["mean"])), channels(map(float, constants["std"]))
    )


def save_start(encoder: nn.Module, path: Path, normalisation: Normalisation) -> None:
    """Write timm-named weights and the manifest beside them, as :func:`load_safetensors` reads them."""
    _write(encoder, path, {"mean": list(normalisation.mean), "std": list(normalisation.std)})


def save(detector: Detector, folder: Path, manifest: Manifest) -> None:
    """Write ``model.safetensors`` and ``model.json`` to ``folder``."""
    _write(detector, folder / "model.safetensors", manifest.as_json())


def load(folder: Path) -> tuple[Detector, Manifest]:
    """Load the detector that ``save`` wrote, in evaluation mode, and its manifest."""
    manifest = Manifest.read(folder / "model.json")
    detector = build_detector(
        manifest.architecture,
        len(manifest.classes),
        depth=manifest.depth,
        input_size=manifest.input_size,
        sphere=manifest.on_sphere,
    )
    detector.load_state_dict(load_file(str(folder / "model.safetensors")), strict=True)
    return detector.eval(), manifest


def _write(module: nn.Module, path: Path, manifest: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    save_file(tensors, str(path))
    path.with_suffix(".json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
