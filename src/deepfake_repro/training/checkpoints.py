"""Weights on disk: the starts that the papers name, and what a run saves (Section 3.2).

A start must contain every tensor of the network except the new ones: any other missing tensor, or
one of another shape, is an error.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed
from timm.models.efficientnet import EfficientNet
from torch import nn

from .detector import Detector, build_detector
from .manifest import Manifest
from .transforms import UNCHANGED, Normalisation, channels

State = dict[str, torch.Tensor]
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FSFM_NETWORKS = {768: "vit_base_patch16_224", 1024: "vit_large_patch16_224"}
"""Width of FSFM's ViTs -> timm's name of the same network."""
FSFM_SMALL = 384
"""Width of FSFM's ViT-S: 12 heads, where timm's has 6 with tensors of the same shapes. Files of
one's own pre-training, which is of timm's networks, state their number of ``heads``."""
FRESH = {"head.weight", "head.bias", "fc_norm.weight", "fc_norm.bias"}
"""The only parameters of a ViT that a start may lack: the new head and the norm after pooling."""


def load_start(model: Detector, source: str) -> Normalisation:
    """Load the start weights named in ``params.yaml``; return how their inputs are normalised.

    ``timm:<tag>`` fetches a published model; ``*.safetensors`` has timm's names and a ``.json``
    manifest beside it; ``*.pth`` is FSFM's released format. Raises ``FileNotFoundError``, saying
    where to get it, for a missing file.
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
            f"{path.name} is not a readable safetensors file ({error}); make or fetch it again"
        ) from None
    _load_encoder(model, state, path.name)
    return _normalisation(constants, manifest.name)


def load_fsfm(model: Detector, path: Path) -> Normalisation:
    """Load FSFM's released pre-training checkpoint (Section 3.2), without decoders and projectors.

    ``pretrain_ds_mean_std.txt`` beside it gives the normalisation, as released. Raises
    ``ValueError`` for a ViT-S, which timm does not have.
    """
    state, norm = _read_fsfm(path)
    _load_encoder(model, state, path.name)
    return norm


def fsfm_network(path: Path) -> tuple[str, int] | None:
    """Return timm's name and the depth of the network in a file of FSFM's format.

    None for a width that no ViT of FSFM has; ``ValueError`` for a ViT-S, which timm does not have.
    """
    state, _ = _read_fsfm(path)
    architecture = FSFM_NETWORKS.get(state["cls_token"].shape[-1]) if "cls_token" in state else None
    blocks = {name.split(".")[1] for name in state if name.startswith("blocks.")}
    return (architecture, len(blocks)) if architecture else None


def load_finetuned_fsfm(model: Detector, path: Path) -> Normalisation:
    """Load a checkpoint that FSFM's code fine-tuned to two classes, with head and ``fc_norm``.

    In FSFM fake is class 0 and real class 1; here real is 0, so the rows of the head are swapped.
    Raises ``ValueError`` if a tensor is missing, unknown or of another shape, e.g. in a
    pre-training checkpoint.
    """
    state, norm = _read_fsfm(path)
    head = state.get("head.bias")
    if head is not None and len(head) != 2:
        raise ValueError(
            f"{path.name} distinguishes {len(head)} classes: only detectors of two classes, fake "
            "and real, can be read"
        )
    expected = model.encoder.state_dict()
    wrong = _mismatches(state, expected)
    if wrong or len(expected["head.bias"]) != 2:
        raise ValueError(
            f"{path.name} is not a fine-tuned FSFM checkpoint of this two-class network: "
            f"{len(wrong)} tensors differ, first {wrong[0] if wrong else 'head.bias'}"
        )
    swapped = {
        name: tensor.flip(0) if name.startswith("head.") else tensor
        for name, tensor in state.items()
    }
    model.encoder.load_state_dict(swapped)
    return norm


def load_sbi(model: Detector, path: Path) -> Normalisation:
    """Load a checkpoint of SBI's authors (``FFraw``, ``FFc23``) into an EfficientNet-B4, with head.

    The file contains ``model``, the state of the package efficientnet_pytorch under ``net.``; real
    is 0 and fake 1 as here; pixels are divided by 255 and not normalised. The names follow that
    package; no released file was available for a test. Raises ``ValueError`` if a tensor is
    missing, unknown or of another shape.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"sbi.weights {path} not found: SBI's authors publish them, or leave it empty to train"
        )
    encoder = model.encoder
    if not isinstance(encoder, EfficientNet):
        raise ValueError(f"sbi.weights {path} need an EfficientNet-B4: set sbi.architecture")
    published = _read_model(path, "an SBI checkpoint", "fetch it again")
    state = {name.removeprefix("net."): tensor for name, tensor in published.items()}
    names = {name: _published_name(encoder, name) for name in encoder.state_dict()}
    expected = {names[name]: tensor for name, tensor in encoder.state_dict().items()}
    if wrong := _mismatches(state, expected):
        raise ValueError(
            f"{path.name} is not a checkpoint of this EfficientNet: {len(wrong)} tensors differ, "
            f"first {wrong[0]}"
        )
    encoder.load_state_dict({name: state[names[name]] for name in names})
    return UNCHANGED


def save_start(encoder: nn.Module, path: Path, norm: Normalisation) -> None:
    """Write timm-named weights and their manifest, as :func:`load_safetensors` reads them."""
    _write(encoder, path, {"mean": list(norm.mean), "std": list(norm.std)})


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
_PUBLISHED_NARROW = {**_PUBLISHED_BLOCK, "conv_pw": "_project_conv", "bn1": "_bn1", "bn2": "_bn2"}
"""Blocks without an expansion, whose norms timm numbers from the next layer on."""


def _published_name(encoder: EfficientNet, name: str) -> str:
    """Translate timm's name of a tensor to efficientnet_pytorch's, which numbers all blocks."""
    part, _, tensor = name.rpartition(".")
    if not name.startswith("blocks."):
        return f"{_PUBLISHED[part]}.{tensor}"
    _, stage, block, layer = part.split(".", 3)
    stages = [list(blocks.children()) for blocks in encoder.blocks]
    number = sum(map(len, stages[: int(stage)])) + int(block)
    expands = hasattr(stages[int(stage)][int(block)], "conv_pwl")
    layers = _PUBLISHED_BLOCK if expands else _PUBLISHED_NARROW
    return f"_blocks.{number}.{layers[layer]}.{tensor}"


def _read_fsfm(path: Path) -> tuple[State, Normalisation]:
    """Read tensors and normalisation of a file in FSFM's format.

    Beside the weights the file contains an ``argparse.Namespace`` and a path, so these two types
    are allowed and no others. With ``normalize_from_IMN`` among the arguments of its training,
    inputs are normalised as for ImageNet, else by the file beside it.
    """
    command = "python -m deepfake_repro weights"
    allowed = [argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath]
    content = _read_content(path, "an FSFM checkpoint", f"fetch it again: {command}", allowed)
    state: State = content["model"]
    is_small = "cls_token" in state and state["cls_token"].shape[-1] == FSFM_SMALL
    if is_small and "heads" not in content:
        raise ValueError(
            f"{path.name} is FSFM's ViT-S with 12 heads; timm's has 6 and would compute something "
            "else with the same tensors: use FSFM's ViT-B or ViT-L"
        )
    if getattr(content.get("args"), "normalize_from_IMN", False):
        return state, IMAGENET
    constants = path.with_name("pretrain_ds_mean_std.txt")
    if not constants.is_file():
        raise FileNotFoundError(
            f"{path.name}: {constants.name} (released with it) is missing beside it"
        )
    return state, _normalisation(json.loads(constants.read_text().splitlines()[0]), constants.name)


def _read_model(path: Path, kind: str, cure: str) -> State:
    """Read the tensors under ``model`` of a file, see :func:`_read_content`."""
    return _read_content(path, kind, cure)["model"]


def _read_content(
    path: Path, kind: str, cure: str, allowed: Sequence[Callable[..., Any]] = ()
) -> dict[str, Any]:
    """Read a ``torch.save`` file with tensors under ``model``; code in it is never executed.

    ``allowed``: types that may occur in it. Prefixes ``module.`` of a training on several devices
    are removed. Raises ``ValueError`` if it is not ``kind``.
    """
    try:
        with torch.serialization.safe_globals(list(allowed)):
            content = torch.load(path, map_location="cpu", weights_only=True)
            state = {name.removeprefix("module."): each for name, each in content["model"].items()}
    except (UnpicklingError, RuntimeError, KeyError, EOFError, TypeError, AttributeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if isinstance(error, UnpicklingError):  # torch's text has colour codes and unsafe advice
            reason = "damaged, or more than tensors in it"
        if path.read_bytes()[:200].lstrip().startswith(b"<"):
            reason = "a web page"
        raise ValueError(f"{path.name} is not {kind} ({reason}); {cure}") from None
    return {**content, "model": state}


def _mismatches(
    state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> list[str]:
    """List the tensors that only one of both has, or whose shapes differ."""
    return sorted(
        name
        for name in {*state, *expected}
        if name not in state or name not in expected or state[name].shape != expected[name].shape
    )


def _load_timm(model: Detector, tag: str) -> Normalisation:
    """Load weights that timm publishes, e.g. ``vit_base_patch16_224.augreg2_in21k_ft_in1k``."""
    published = timm.create_model(tag, pretrained=True, num_classes=0)
    _load_encoder(model, published.state_dict(), tag)
    constants = published.pretrained_cfg
    assert isinstance(constants, dict)
    return _normalisation(constants, tag)


def _load_encoder(model: Detector, state: State, name: str) -> None:
    """Copy exactly the encoder's tensors.

    Raises ``ValueError`` if one is missing that ``FRESH`` does not name, or has another shape.
    """
    encoder = model.encoder
    expected = encoder.state_dict()
    fresh = (_head_names(encoder) | FRESH) & set(expected)
    wanted = set(expected) - fresh
    if missing := sorted(wanted - set(state)):
        raise ValueError(
            f"{name}: {len(missing)} tensors missing, first {missing[0]}: "
            "not this architecture's weights"
        )
    chosen = {key: state[key] for key in wanted}
    if "pos_embed" in chosen and hasattr(encoder, "patch_embed"):
        chosen["pos_embed"] = _resample_positions(chosen["pos_embed"], encoder)
    for key, tensor in chosen.items():
        if tensor.shape != expected[key].shape:
            raise ValueError(
                f"{name}: {key} has shape {tuple(tensor.shape)}, "
                f"the network needs {tuple(expected[key].shape)}"
            )
    result = encoder.load_state_dict(chosen, strict=False)
    assert set(result.missing_keys) == fresh
    assert not result.unexpected_keys


def _head_names(encoder: Any) -> set[str]:
    """Name the parameters of the encoder's head."""
    head = {id(parameter) for parameter in encoder.get_classifier().parameters()}
    return {name for name, parameter in encoder.named_parameters() if id(parameter) in head}


def _resample_positions(positions: torch.Tensor, encoder: Any) -> torch.Tensor:
    """Resample a position embedding to the network's grid, unless it has that grid already."""
    if positions.shape == encoder.pos_embed.shape:
        return positions
    grid = list(encoder.patch_embed.grid_size)
    others = encoder.pos_embed.shape[1] - grid[0] * grid[1]  # class and register tokens
    return resample_abs_pos_embed(positions, grid, num_prefix_tokens=others)


def _normalisation(constants: Mapping[str, Any], name: str) -> Normalisation:
    """Read mean and standard deviation; ``ValueError`` if one is missing: there is no default."""
    if "mean" not in constants or "std" not in constants:
        raise ValueError(f"{name}: normalisation constants 'mean' and 'std' are missing")
    return Normalisation(
        channels(map(float, constants["mean"])), channels(map(float, constants["std"]))
    )
