"""The detector: a ViT whose mean-pooled patch tokens are the embedding, with a linear head (Sections 3.2, 4.3).

timm's ``VisionTransformer(global_pool="avg")`` is the paper's network: the class token runs along but is
left out of the pooled mean; ``fc_norm`` follows the pooling; a fully connected layer makes the logits.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from pathlib import Path
from pickle import UnpicklingError

import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from .augment import Normalisation

FRESH = {"head.weight", "head.bias", "fc_norm.weight", "fc_norm.bias"}
"""The only parameters that a start may leave untouched: the new head and the norm after pooling."""


class Detector(nn.Module):
    """Images ``[B, 3, S, S]`` -> embeddings ``[B, D]`` and logits ``[B, C]``; class 0 is real."""

    def __init__(self, encoder: VisionTransformer) -> None:
        super().__init__()
        self.encoder = encoder

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Embedding ``[B, D]``: mean of all non-CLS tokens, after ``fc_norm`` (Section 4.3; D = 768 for ViT-B)."""
        return self.encoder.forward_head(self.encoder.forward_features(images), pre_logits=True)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings ``[B, D]`` and class logits ``[B, C]``."""
        embeddings = self.embed(images)
        return embeddings, self.encoder.head(embeddings)


class SphereDetector(Detector):
    """LNCLIP-DF's detector: the class token after the final LayerNorm, L2-normalised, is the embedding."""

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Embedding ``[B, D]`` of length one: a point on the unit hypersphere."""
        return F.normalize(super().embed(images), dim=1)


def build(architecture: str, classes: int, *, depth: int = 12, input_size: int = 224,
          drop_path: float = 0.0, head_std: float = 2e-5, sphere: bool = False) -> Detector:
    """A detector with fresh weights from a timm ViT name, cut to its first ``depth`` blocks.

    ``head_std``: standard deviation of the head's initial weights (2e-5 in FSFM's fine-tuning); ``sphere``:
    LNCLIP-DF's class token on the unit hypersphere in place of the mean-pooled patch tokens.

    Raises ``ValueError`` if timm does not know the name or the model is not a plain ViT.
    """
    if not timm.is_model(architecture):
        raise ValueError(f"train.architecture {architecture!r} is unknown to timm {timm.__version__}")
    encoder = timm.create_model(architecture, num_classes=classes, global_pool="token" if sphere else "avg",
                                depth=depth, img_size=input_size, drop_path_rate=drop_path)
    if not isinstance(encoder, VisionTransformer):
        raise ValueError(f"train.architecture {architecture!r} is no VisionTransformer; take a vit_* name")
    nn.init.trunc_normal_(encoder.head.weight, std=head_std)
    nn.init.zeros_(encoder.head.bias)
    return SphereDetector(encoder) if sphere else Detector(encoder)


def load_start(model: Detector, source: str) -> Normalisation:
    """Load the start weights named in ``params.yaml`` and return how their inputs are normalised.

    ``timm:<tag>`` fetches a published model; ``*.safetensors`` is timm-named with a ``.json`` manifest
    beside it; ``*.pth`` is FSFM's released format. A missing file is an error saying where it comes from.
    """
    if source.startswith("timm:"):
        return _load_timm(model, source.removeprefix("timm:"))
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"start weights {source} not found: README.md, Weights, says how to get them")
    if path.suffix == ".safetensors":
        return load_safetensors(model, path)
    return load_fsfm(model, path)


def load_safetensors(model: Detector, path: Path) -> Normalisation:
    """Load timm-named weights; the manifest beside them must give ``mean`` and ``std``."""
    manifest = path.with_suffix(".json")
    if not manifest.is_file():
        raise FileNotFoundError(f"{path.name}: manifest {manifest.name} with 'mean' and 'std' is missing beside it")
    constants = json.loads(manifest.read_text())
    try:
        state = load_file(str(path))
    except SafetensorError as error:
        raise ValueError(f"{path.name} is no readable safetensors file ({error}); make or fetch it again") from None
    _load_encoder(model, state, path.name)
    return _normalisation(constants, manifest.name)


def load_fsfm(model: Detector, path: Path) -> Normalisation:
    """Load FSFM's released pre-training checkpoint (Section 3.2) safely; decoders and projectors are left out.

    The dict in the file holds an ``argparse.Namespace`` and a path beside the weights, so these two types are
    allowed and nothing else. ``pretrain_ds_mean_std.txt`` beside it gives the normalisation, as released.
    """
    state, norm = _read_fsfm(path)
    _load_encoder(model, state, path.name)
    return norm


def load_finetuned_fsfm(model: Detector, path: Path) -> Normalisation:
    """Load a checkpoint that FSFM's code fine-tuned to two classes, head and ``fc_norm`` too.

    FSFM counts fake as class 0 and real as class 1; here real is 0, so the rows of its head change places. Raises
    ``ValueError`` if a tensor is missing, unknown or of another shape, e.g. in a pre-training checkpoint.
    """
    state, norm = _read_fsfm(path)
    wanted = model.encoder.state_dict()
    wrong = sorted(key for key in {*wanted, *state}
                   if key not in state or key not in wanted or state[key].shape != wanted[key].shape)
    if wrong or len(wanted["head.bias"]) != 2:
        raise ValueError(f"{path.name} is no fine-tuned FSFM checkpoint of this two-class network: "
                         f"{len(wrong)} tensors differ, first {wrong[0] if wrong else 'head.bias'}")
    model.encoder.load_state_dict({key: tensor.flip(0) if key.startswith("head.") else tensor
                                   for key, tensor in state.items()})
    return norm


def _read_fsfm(path: Path) -> tuple[dict[str, torch.Tensor], Normalisation]:
    """Tensors and normalisation of a file in FSFM's format."""
    constants = path.with_name("pretrain_ds_mean_std.txt")
    if not constants.is_file():
        raise FileNotFoundError(f"{path.name}: {constants.name} (released with it) is missing beside it")
    allowed = [argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath]
    try:
        with torch.serialization.safe_globals(allowed):
            state = torch.load(path, map_location="cpu", weights_only=True)["model"]
    except (UnpicklingError, RuntimeError, KeyError, EOFError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        what = "a web page" if path.read_bytes()[:200].lstrip().lower().startswith(b"<") else reason
        raise ValueError(f"{path.name} is no FSFM checkpoint ({what}); fetch it again: python -m deepfake_repro "
                         "weights") from None
    return state, _normalisation(json.loads(constants.read_text().splitlines()[0]), constants.name)


def _load_timm(model: Detector, tag: str) -> Normalisation:
    """ImageNet (or other) weights that timm publishes, e.g. ``vit_base_patch16_224.augreg2_in21k_ft_in1k``."""
    published = timm.create_model(tag, pretrained=True, num_classes=0)
    _load_encoder(model, published.state_dict(), tag)
    return _normalisation(published.pretrained_cfg, tag)


def _load_encoder(model: Detector, state: dict[str, torch.Tensor], name: str) -> None:
    """Copy exactly the encoder's tensors; anything missing beyond ``FRESH`` or of another shape is an error."""
    encoder = model.encoder
    wanted = set(encoder.state_dict()) - FRESH
    if missing := sorted(wanted - set(state)):
        raise ValueError(f"{name}: {len(missing)} tensors missing, first {missing[0]}: not this architecture's weights")
    chosen = {key: state[key] for key in wanted}
    chosen["pos_embed"] = _fit_positions(chosen["pos_embed"], encoder)
    for key, tensor in chosen.items():
        if tensor.shape != encoder.state_dict()[key].shape:
            raise ValueError(f"{name}: {key} has shape {tuple(tensor.shape)}, "
                             f"the network wants {tuple(encoder.state_dict()[key].shape)}")
    result = encoder.load_state_dict(chosen, strict=False)
    assert set(result.missing_keys) == FRESH & set(encoder.state_dict()) and not result.unexpected_keys


def _fit_positions(positions: torch.Tensor, encoder: VisionTransformer) -> torch.Tensor:
    """Position embedding resampled to the network's grid; unchanged where the grid is the same."""
    if positions.shape == encoder.pos_embed.shape:
        return positions
    return resample_abs_pos_embed(positions, list(encoder.patch_embed.grid_size), num_prefix_tokens=1)


def _normalisation(constants: dict, name: str) -> Normalisation:
    """Mean and standard deviation, three numbers each; their absence is an error, never a silent default."""
    if "mean" not in constants or "std" not in constants:
        raise ValueError(f"{name}: normalisation constants 'mean' and 'std' are missing")
    return Normalisation(tuple(map(float, constants["mean"])), tuple(map(float, constants["std"])))


def save(model: Detector, folder: Path, manifest: dict) -> None:
    """Write ``model.safetensors`` and ``model.json`` (architecture, classes, normalisation) to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()},
              str(folder / "model.safetensors"))
    (folder / "model.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def load(folder: Path) -> tuple[Detector, dict]:
    """The detector that ``save`` wrote, in evaluation mode, and its manifest."""
    manifest = json.loads((folder / "model.json").read_text())
    model = build(manifest["architecture"], len(manifest["classes"]), depth=manifest["depth"],
                  input_size=manifest["input_size"], sphere=manifest.get("method") == "lnclip")
    model.load_state_dict(load_file(str(folder / "model.safetensors")), strict=True)
    return model.eval(), manifest
