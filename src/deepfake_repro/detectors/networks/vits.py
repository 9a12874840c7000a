"""Vision transformers: CLIP's towers under the names of ``transformers``, and FSFM's ViTs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ...training.detector import Detector, SphereDetector
from ..files import Checkpoint, State
from .filling import build_empty, fill, finished, need, stripped

HEAD_WIDTH = 64
"""Channels per attention head of every CLIP tower."""
FSFM_HEADS = {384: 12, 768: 12, 1024: 16}
"""Heads by width: FSFM's ViT-S follows MoCo v3, timm's of that width has six."""

_OUTSIDE = {
    "embeddings.class_embedding": "cls_token",
    "embeddings.position_embedding.weight": "pos_embed",
    "embeddings.patch_embedding.weight": "patch_embed.proj.weight",
    "pre_layrnorm.weight": "norm_pre.weight",  # spelt so in transformers
    "pre_layrnorm.bias": "norm_pre.bias",
    "post_layernorm.weight": "norm.weight",
    "post_layernorm.bias": "norm.bias",
}
_INSIDE = {
    "self_attn.out_proj": "attn.proj",
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_SVD = ("U_r", "S_r", "V_r")
"""What Effort's training keeps beside a weight; no part of the network."""


GEND_HEADS: dict[str, type[Detector]] = {"LinearNorm": SphereDetector, "linear": Detector}
"""Heads of GenD by their name in a checkpoint of Lightning: on the unit sphere, or not."""


def load_gend_clip(checkpoint: Checkpoint, classes: Sequence[str]) -> Detector:
    """Load GenD's CLIP ViT: the class token on the unit sphere, a linear head (paper B).

    The published file states no settings; a checkpoint of Lightning names its head, and is refused
    if its inputs were prepared in a way that no manifest describes.
    """
    what = "a GenD checkpoint with a CLIP encoder"
    kind = _gend_head(checkpoint, what)
    tower = stripped(checkpoint.state, "feature_extractor.vision_model.")
    head = stripped(checkpoint.state, "model.linear.")
    known = ("feature_extractor.vision_model.", "feature_extractor.visual_projection.", "model.")
    _refuse_others(checkpoint, known, what)
    return _clip(checkpoint, tower, head, classes, what, kind)


def _gend_head(checkpoint: Checkpoint, what: str) -> type[Detector]:
    """Return the kind of detector that the settings of a GenD checkpoint ask for."""
    head = checkpoint.args.get("head", "LinearNorm")
    if head not in GEND_HEADS:
        known = ", ".join(GEND_HEADS)
        raise ValueError(f"{checkpoint.name}: not {what}: head {head!r} is unknown; known: {known}")
    prepared = checkpoint.args.get("custom_preprocessing") or {}
    changed = [key for key, value in prepared.items() if value not in (None, False, 1.0)]
    if changed:
        raise ValueError(
            f"{checkpoint.name}: its inputs were prepared by custom_preprocessing.{changed[0]} = "
            f"{prepared[changed[0]]}, which no manifest describes"
        )
    return GEND_HEADS[head]


def load_deepfakebench_clip(checkpoint: Checkpoint, classes: Sequence[str]) -> Detector:
    """Load DeepfakeBench's CLIP ViT: the class token as it is, a linear head."""
    what = "a DeepfakeBench CLIP checkpoint"
    _refuse_others(checkpoint, ("backbone.", "head."), what)
    tower = stripped(checkpoint.state, "backbone.")
    return _clip(checkpoint, tower, stripped(checkpoint.state, "head."), classes, what, Detector)


def load_effort(checkpoint: Checkpoint, classes: Sequence[str]) -> Detector:
    """Load Effort as a plain CLIP ViT: weight = main + U · diag(S) · V in each attention."""
    what = "an Effort checkpoint"
    _refuse_others(checkpoint, ("backbone.", "head."), what)
    tower = stripped(checkpoint.state, "backbone.")
    folded = {name: each for name, each in tower.items() if not name.endswith(_SVD)}
    need(folded, "encoder.layers.0.self_attn.q_proj.weight_main", checkpoint.name, what)
    for name in [name for name in folded if name.endswith(".weight_main")]:
        base = name.removesuffix("weight_main")
        folded[f"{base}weight"] = _folded(folded, base, checkpoint.name, what)
    head = stripped(checkpoint.state, "head.")
    return _clip(checkpoint, folded, head, classes, what, Detector)


def _folded(state: State, base: str, file: str, what: str) -> torch.Tensor:
    """Add Effort's low-rank residual to its fixed weight, in fp64; remove the four parts."""
    names = [f"{base}{part}" for part in ("weight_main", "U_residual", "S_residual", "V_residual")]
    main, left, values, right = (need(state, name, file, what).double() for name in names)
    for name in names:
        del state[name]
    return (main + left @ torch.diag(values) @ right).float()


def _clip(
    checkpoint: Checkpoint,
    tower: State,
    head: State,
    classes: Sequence[str],
    what: str,
    kind: type[Detector],
) -> Detector:
    """Build the ViT that the shapes describe; fill it with the translated tensors."""
    file = checkpoint.name
    tower.pop("embeddings.position_ids", None)  # a buffer of older transformers
    patches = need(tower, "embeddings.patch_embedding.weight", file, what)
    positions = need(tower, "embeddings.position_embedding.weight", file, what)
    hidden = need(tower, "encoder.layers.0.mlp.fc1.weight", file, what)
    outputs = need(head, "weight", file, what)
    width, _, patch, _ = patches.shape
    encoder = build_empty(
        lambda: VisionTransformer(
            img_size=patch * math.isqrt(len(positions) - 1),
            patch_size=patch,
            num_classes=len(outputs),
            global_pool="token",
            embed_dim=width,
            depth=_depth(tower, r"encoder\.layers\.(\d+)\."),
            num_heads=max(width // HEAD_WIDTH, 1),
            mlp_ratio=len(hidden) / width,
            pre_norm=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-5),
            act_layer="quick_gelu",
        )
    )
    fill(encoder, {**_to_timm(tower), **_under("head", head)}, file, what)
    return finished(encoder, kind(encoder), classes, file)


def _to_timm(tower: State) -> State:
    """Translate transformers' names of a CLIP tower; queries, keys and values become one tensor."""
    state: State = {}
    parts: dict[str, State] = {}
    for name, tensor in tower.items():
        layer = _LAYER.fullmatch(name)
        if name in _OUTSIDE:
            state[_OUTSIDE[name]] = tensor
        elif layer and layer[2] in _INSIDE:
            state[f"blocks.{layer[1]}.{_INSIDE[layer[2]]}.{layer[3]}"] = tensor
        elif layer and layer[2] in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
            joined = f"blocks.{layer[1]}.attn.qkv.{layer[3]}"
            parts.setdefault(joined, {})[layer[2]] = tensor
        else:
            state[name] = tensor  # unknown: ``fill`` refuses it
    for joined, of_layer in parts.items():
        order = [f"self_attn.{letter}_proj" for letter in "qkv"]
        state[joined] = torch.cat([of_layer[name] for name in order if name in of_layer])
    if "cls_token" in state:
        state["cls_token"] = state["cls_token"].reshape(1, 1, -1)
    if "pos_embed" in state:
        state["pos_embed"] = state["pos_embed"][None]
    return state


def load_fsfm(checkpoint: Checkpoint, classes: Sequence[str]) -> Detector:
    """Load a ViT that FSFM's code fine-tuned: FSFM and FS-VFM, sizes S, B and L.

    The embedding is the mean of the patch tokens after ``fc_norm``.
    """
    what = "a fine-tuned FSFM checkpoint"
    file = checkpoint.name
    state = checkpoint.state
    patches = need(state, "patch_embed.proj.weight", file, what)
    positions = need(state, "pos_embed", file, what)
    outputs = need(state, "head.weight", file, what)
    width, _, patch, _ = patches.shape
    if width not in FSFM_HEADS:
        raise ValueError(
            f"{file}: not {what}: width {width} is none of {', '.join(map(str, FSFM_HEADS))}"
        )
    encoder = build_empty(
        lambda: VisionTransformer(
            img_size=patch * math.isqrt(positions.shape[1] - 1),
            patch_size=patch,
            num_classes=len(outputs),
            global_pool="avg",
            embed_dim=width,
            depth=_depth(state, r"blocks\.(\d+)\."),
            num_heads=FSFM_HEADS[width],
        )
    )
    fill(encoder, state, file, what)
    return finished(encoder, Detector(encoder), classes, file)


def _depth(state: State, pattern: str) -> int:
    """Count the layers whose number the first group of ``pattern`` matches."""
    layers = {match[1] for name in state if (match := re.match(pattern, name))}
    return max(len(layers), 1)


def _under(prefix: str, state: State) -> State:
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def _refuse_others(checkpoint: Checkpoint, prefixes: tuple[str, ...], what: str) -> None:
    others = sorted(name for name in checkpoint.state if not name.startswith(prefixes))
    if others:
        raise ValueError(f"{checkpoint.name}: not {what}: tensor {others[0]} is unknown")
