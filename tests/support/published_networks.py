"""Released checkpoints with small random values, and what their networks compute, written again.

Names and shapes are the published ones; nothing here is shared with the loaders. Each network is
restated as arithmetic on the tensors under their published names.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def random(*shape: int, scale: float = 0.05, about: float = 0.0) -> Tensor:
    return about + scale * torch.randn(*shape)


# CLIP vision towers, named as in transformers


def clip_state(
    prefix: str, width: int = 128, depth: int = 2, patch: int = 14, side: int = 4, hidden: int = 0
) -> State:
    hidden = hidden or 4 * width
    state = {
        "embeddings.class_embedding": random(width),
        "embeddings.patch_embedding.weight": random(width, 3, patch, patch),
        "embeddings.position_embedding.weight": random(side * side + 1, width),
        **norm_state("pre_layrnorm", width),
        **norm_state("post_layernorm", width),
    }
    for layer in range(depth):
        base = f"encoder.layers.{layer}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            state |= linear_state(f"{base}.self_attn.{name}", width, width)
        state |= norm_state(f"{base}.layer_norm1", width) | norm_state(f"{base}.layer_norm2", width)
        state |= linear_state(f"{base}.mlp.fc1", width, hidden)
        state |= linear_state(f"{base}.mlp.fc2", hidden, width)
    return {prefix + name: tensor for name, tensor in state.items()}


def norm_state(name: str, width: int) -> State:
    return {f"{name}.weight": random(width, scale=0.2, about=1), f"{name}.bias": random(width)}


def linear_state(name: str, inputs: int, outputs: int) -> State:
    return {f"{name}.weight": random(outputs, inputs), f"{name}.bias": random(outputs)}


def gend_state(**sizes: int) -> State:
    width = sizes.get("width", 128)
    return {
        **clip_state("feature_extractor.vision_model.", **sizes),
        "feature_extractor.visual_projection.weight": random(max(width // 4 * 3, 8), width),
        **linear_state("model.linear", width, 2),
    }


def effort_state(width: int = 128) -> State:
    """Effort: attention weights in four parts, under DataParallel's prefix."""
    state = clip_state("backbone.", width=width) | linear_state("head", width, 2)
    for name in [name for name in state if "self_attn" in name and name.endswith("weight")]:
        base = name.removesuffix("weight")
        state[f"{base}weight_main"] = state.pop(name)
        state[f"{base}S_residual"] = random(3, about=1)
        state[f"{base}U_residual"] = random(width, 3)
        state[f"{base}V_residual"] = random(3, width)
    return {f"module.{name}": tensor for name, tensor in state.items()}


def clip_features(state: State, prefix: str, images: Tensor) -> Tensor:
    """The class token after the last LayerNorm, ``[B, D]``; 64 channels per head."""
    get = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    kernel = get["embeddings.patch_embedding.weight"]
    width = len(kernel)
    tokens = F.conv2d(images, kernel, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
    first = get["embeddings.class_embedding"].expand(len(images), 1, -1)
    x = torch.cat([first, tokens], 1) + get["embeddings.position_embedding.weight"]

    def layer_norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        spread = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return centred / spread * get[f"{name}.weight"] + get[f"{name}.bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        weight = get.get(f"{name}.weight")
        if weight is None:  # Effort
            parts = [get[f"{name}.{part}_residual"] for part in "USV"]
            residual = torch.einsum("ik,k,kj->ij", *parts)
            weight = get[f"{name}.weight_main"] + residual
        return x @ weight.T + get[f"{name}.bias"]

    x = layer_norm(x, "pre_layrnorm")
    for number in range(sum(name.endswith("mlp.fc1.bias") for name in get)):
        base = f"encoder.layers.{number}"
        normed = layer_norm(x, f"{base}.layer_norm1")
        q, k, v = (linear(normed, f"{base}.self_attn.{each}_proj") for each in "qkv")
        x = x + linear(attention(q, k, v, width // 64), f"{base}.self_attn.out_proj")
        hidden = linear(layer_norm(x, f"{base}.layer_norm2"), f"{base}.mlp.fc1")
        x = x + linear(hidden * torch.sigmoid(1.702 * hidden), f"{base}.mlp.fc2")
    return layer_norm(x[:, 0], "post_layernorm")


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention, one head after the other."""
    width = q.shape[-1] // heads
    outputs = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        weights = (q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(width)).softmax(-1)
        outputs.append(weights @ v[..., part])
    return torch.cat(outputs, -1)


def lightning_file(state: State, **settings: Any) -> dict[str, Any]:
    """What Lightning writes in training: GenD's settings are plain values by name."""
    stated = {"head": "LinearNorm", "num_classes": 2, "precision": "bf16-mixed", "lr": 3e-4}
    stated |= {"backbone": "openai/clip-vit-large-patch14", "custom_preprocessing": None}
    callback = {"monitor": "val/mAP_video", "best_model_score": torch.tensor(0.9)}
    return {
        "epoch": 4,
        "global_step": 2000,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": OrderedDict(state),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 5}}}},
        "callbacks": {"ModelCheckpoint": callback},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(9.0)}}, "param_groups": []}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": stated | settings,
    }


def gend_logits(state: State, images: Tensor, normalised: bool = True) -> Tensor:
    features = clip_features(state, "feature_extractor.vision_model.", images)
    if normalised:
        features = features / features.norm(dim=1, keepdim=True)
    return features @ state["model.linear.weight"].T + state["model.linear.bias"]


def clip_logits(state: State, images: Tensor) -> Tensor:
    """DeepfakeBench's CLIP, and Effort without its prefix."""
    features = clip_features(state, "backbone.", images)
    return features @ state["head.weight"].T + state["head.bias"]


# FSFM's ViTs, named as in timm


def fsfm_state(width: int = 384, depth: int = 2, classes: int = 2) -> State:
    state = {
        "cls_token": random(1, 1, width),
        "pos_embed": random(1, 197, width),
        "patch_embed.proj.weight": random(width, 3, 16, 16),
        "patch_embed.proj.bias": random(width),
        **norm_state("fc_norm", width),
        **linear_state("head", width, classes),
    }
    for block in range(depth):
        base = f"blocks.{block}"
        state |= norm_state(f"{base}.norm1", width) | norm_state(f"{base}.norm2", width)
        state |= linear_state(f"{base}.attn.qkv", width, 3 * width)
        state |= linear_state(f"{base}.attn.proj", width, width)
        state |= linear_state(f"{base}.mlp.fc1", width, 4 * width)
        state |= linear_state(f"{base}.mlp.fc2", 4 * width, width)
    return state


def fsfm_logits(state: State, images: Tensor, heads: int) -> Tensor:
    """The mean of the patch tokens after ``fc_norm``, then the head."""
    kernel = state["patch_embed.proj.weight"]
    tokens = F.conv2d(images, kernel, state["patch_embed.proj.bias"], stride=16)
    tokens = tokens.flatten(2).transpose(1, 2)
    x = torch.cat([state["cls_token"].expand(len(images), 1, -1), tokens], 1) + state["pos_embed"]

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    for block in range(sum(name.endswith("attn.qkv.bias") for name in state)):
        base = f"blocks.{block}"
        q, k, v = linear(norm(x, f"{base}.norm1"), f"{base}.attn.qkv").chunk(3, -1)
        x = x + linear(attention(q, k, v, heads), f"{base}.attn.proj")
        hidden = F.gelu(linear(norm(x, f"{base}.norm2"), f"{base}.mlp.fc1"))
        x = x + linear(hidden, f"{base}.mlp.fc2")
    return linear(norm(x[:, 1:].mean(1), "fc_norm"), "head")


# EfficientNets: the paper's table, scaled; names of efficientnet_pytorch

STAGES = ((16, 1, 3, 1, 1), (24, 2, 3, 2, 6), (40, 2, 5, 2, 6), (80, 3, 3, 2, 6))
STAGES += ((112, 3, 5, 1, 6), (192, 4, 5, 2, 6), (320, 1, 3, 1, 6))
"""(channels, repeats, kernel, stride, expansion) of EfficientNet-B0."""
SCALES = {"b0": (1.0, 1.0, 224), "b4": (1.4, 1.8, 380), "b7": (2.0, 3.1, 600)}
"""Width, depth and image side of a size."""


def channels(number: int, width: float) -> int:
    """Scale a number of channels to a multiple of eight, not below nine tenths of it."""
    scaled = number * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def blocks(size: str) -> Iterator[tuple[int, int, int, int, int, int, int]]:
    """Stage, number in it, inputs, outputs, kernel, stride, expansion of each block."""
    width, depth, _ = SCALES[size]
    inputs = channels(32, width)
    for stage, (number, repeats, kernel, stride, expansion) in enumerate(STAGES):
        outputs = channels(number, width)
        for block in range(math.ceil(repeats * depth)):
            yield stage, block, inputs, outputs, kernel, stride if block == 0 else 1, expansion
            inputs = outputs


def batch_norm_state(name: str, width: int) -> State:
    return {
        **norm_state(name, width),
        f"{name}.running_mean": random(width),
        f"{name}.running_var": random(width).abs() + 0.9,
        f"{name}.num_batches_tracked": torch.tensor(7),
    }


def measure(state: State, name: str, x: Tensor) -> None:
    """Set a batch norm by ``x``, so that the signal neither dies nor grows from layer to layer.

    One variance for all channels: that of a silent channel would be zero.
    """
    state[f"{name}.running_mean"] = x.mean((0, 2, 3))
    state[f"{name}.running_var"] = x.var().expand(x.shape[1]).clone()


def conv(outputs: int, inputs: int, kernel: int) -> Tensor:
    return random(outputs, inputs, kernel, kernel, scale=1 / math.sqrt(inputs * kernel * kernel))


def efficientnet_state(size: str, classes: int = 2) -> State:
    """All tensors of efficientnet_pytorch's network, with norms measured on noise."""
    width = SCALES[size][0]
    stem = channels(32, width)
    state = {"_conv_stem.weight": conv(stem, 3, 3), **batch_norm_state("_bn0", stem)}
    for number, (_, _, inputs, outputs, kernel, _, expansion) in enumerate(blocks(size)):
        base = f"_blocks.{number}"
        wide = inputs * expansion
        if expansion > 1:
            state[f"{base}._expand_conv.weight"] = conv(wide, inputs, 1)
            state |= batch_norm_state(f"{base}._bn0", wide)
        state[f"{base}._depthwise_conv.weight"] = conv(wide, 1, kernel)
        state |= batch_norm_state(f"{base}._bn1", wide)
        squeezed = max(1, int(inputs * 0.25))
        for name, out, into in (("_se_reduce", squeezed, wide), ("_se_expand", wide, squeezed)):
            state[f"{base}.{name}.weight"] = conv(out, into, 1)
            state[f"{base}.{name}.bias"] = random(out)
        state[f"{base}._project_conv.weight"] = conv(outputs, wide, 1)
        state |= batch_norm_state(f"{base}._bn2", outputs)
    last = channels(320, width)
    head = channels(1280, width)
    state |= {"_conv_head.weight": conv(head, last, 1), **batch_norm_state("_bn1", head)}
    state |= linear_state("_fc", head, classes)
    if not state["_fc.bias"].is_meta:
        efficientnet_logits(state, size, torch.randn(4, 3, 64, 64), measuring=True)
    return state


def efficientnet_logits(
    state: State,
    size: str,
    images: Tensor,
    *,
    static: bool = True,
    padded_stem: bool = True,
    measuring: bool = False,
) -> Tensor:
    """``static``: paddings for the published image size, else for the size of ``images``."""
    side = SCALES[size][2] if static else images.shape[-1]

    def norm(x: Tensor, name: str) -> Tensor:
        if measuring:
            measure(state, name, x)
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        shape = (1, -1, 1, 1)
        normed = (x - mean.view(shape)) / (variance.view(shape) + 1e-3).sqrt()
        return normed * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)

    def same(x: Tensor, name: str, stride: int, groups: int, side: int) -> Tensor:
        kernel = state[f"{name}.weight"]
        total = max((math.ceil(side / stride) - 1) * stride + kernel.shape[-1] - side, 0)
        pads = (total // 2, total - total // 2) * 2
        return F.conv2d(F.pad(x, pads), kernel, stride=stride, groups=groups)

    if padded_stem:
        x = same(images, "_conv_stem", 2, 1, side)
    else:
        x = F.conv2d(images, state["_conv_stem.weight"], stride=2)
    x = F.silu(norm(x, "_bn0"))
    side = math.ceil(side / 2)
    for number, (_, _, inputs, outputs, _, stride, expansion) in enumerate(blocks(size)):
        base, before = f"_blocks.{number}", x
        if expansion > 1:
            x = F.silu(norm(F.conv2d(x, state[f"{base}._expand_conv.weight"]), f"{base}._bn0"))
        x = same(x, f"{base}._depthwise_conv", stride, x.shape[1], side)
        x = F.silu(norm(x, f"{base}._bn1"))
        side = math.ceil(side / stride)
        squeezed = x.mean((2, 3), keepdim=True)
        for name, activation in (("_se_reduce", F.silu), ("_se_expand", torch.sigmoid)):
            weight, bias = state[f"{base}.{name}.weight"], state[f"{base}.{name}.bias"]
            squeezed = activation(F.conv2d(squeezed, weight, bias))
        x = norm(F.conv2d(x * squeezed, state[f"{base}._project_conv.weight"]), f"{base}._bn2")
        if stride == 1 and inputs == outputs:
            x = x + before
    x = F.silu(norm(F.conv2d(x, state["_conv_head.weight"]), "_bn1"))
    return x.mean((2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]


def timm_names(state: State, size: str) -> State:
    """The same tensors as timm names them, which the DFDC winner's checkpoints have."""
    renamed = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    inside = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
    wide = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"}
    wide |= {"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}
    flat = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    for number, (stage, block, *_, expansion) in enumerate(blocks(size)):
        for old, new in {**inside, **(wide if expansion > 1 else flat)}.items():
            renamed[f"_blocks.{number}.{old}"] = f"blocks.{stage}.{block}.{new}"
    parts = {name: name.rpartition(".") for name in state if not name.startswith("_fc")}
    return {f"{renamed[base]}.{leaf}": state[name] for name, (base, _, leaf) in parts.items()}


# Xception as in DeepfakeBench: (outputs, repeats, stride, the first convolution grows)

FLOW = [(128, 2, 2, True), (256, 2, 2, True), (728, 2, 2, True)]
FLOW += [(728, 3, 1, True)] * 8 + [(1024, 2, 2, False)]


def xception_plan() -> Iterator[tuple[str, int, int, int, list[tuple[int, int, int]]]]:
    """Block, inputs, outputs, stride, and (position, inputs, outputs) of its convolutions."""
    inputs = 64
    for number, (outputs, repeats, stride, grows) in enumerate(FLOW, start=1):
        widths = [inputs] + [outputs if grows else inputs] * (repeats - 1) + [outputs]
        # Each is ReLU, convolution, norm; the first block begins without the ReLU.
        first = 0 if number == 1 else 1
        layers = [(first + 3 * i, widths[i], widths[i + 1]) for i in range(repeats)]
        yield f"block{number}", inputs, outputs, stride, layers
        inputs = outputs


def xception_state(classes: int = 2) -> State:
    state = {"conv1.weight": conv(32, 3, 3), "conv2.weight": conv(64, 32, 3)}
    state |= batch_norm_state("bn1", 32) | batch_norm_state("bn2", 64)
    for name, inputs, outputs, stride, layers in xception_plan():
        if inputs != outputs or stride != 1:
            state[f"{name}.skip.weight"] = conv(outputs, inputs, 1)
            state |= batch_norm_state(f"{name}.skipbn", outputs)
        for position, into, out in layers:
            state |= separable_state(f"{name}.rep.{position}", into, out)
            state |= batch_norm_state(f"{name}.rep.{position + 1}", out)
    state |= separable_state("conv3", 1024, 1536) | batch_norm_state("bn3", 1536)
    state |= separable_state("conv4", 1536, 2048) | batch_norm_state("bn4", 2048)
    state |= linear_state("last_linear", 2048, classes)
    state |= {"adjust_channel.0.weight": conv(512, 2048, 1), "adjust_channel.0.bias": random(512)}
    state |= batch_norm_state("adjust_channel.1", 512)
    state = {f"backbone.{name}": tensor for name, tensor in state.items()}
    xception_logits(state, torch.randn(4, 3, 75, 75), measuring=True)
    return state


def separable_state(name: str, inputs: int, outputs: int) -> State:
    return {
        f"{name}.conv1.weight": conv(inputs, 1, 3),
        f"{name}.pointwise.weight": conv(outputs, inputs, 1),
    }


def xception_logits(state: State, images: Tensor, measuring: bool = False) -> Tensor:
    get = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        if measuring:
            measure(get, name, x)
            measure(state, f"backbone.{name}", x)
        mean, variance = get[f"{name}.running_mean"], get[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, get[f"{name}.weight"], get[f"{name}.bias"], eps=1e-5)

    def separable(x: Tensor, name: str) -> Tensor:
        x = F.conv2d(x, get[f"{name}.conv1.weight"], padding=1, groups=x.shape[1])
        return F.conv2d(x, get[f"{name}.pointwise.weight"])

    x = F.relu(norm(F.conv2d(images, get["conv1.weight"], stride=2), "bn1"))
    x = F.relu(norm(F.conv2d(x, get["conv2.weight"]), "bn2"))
    for name, inputs, outputs, stride, layers in xception_plan():
        skip = x
        if inputs != outputs or stride != 1:
            skip = norm(F.conv2d(x, get[f"{name}.skip.weight"], stride=stride), f"{name}.skipbn")
        for number, (position, *_) in enumerate(layers):
            if not (name == "block1" and number == 0):
                x = F.relu(x)
            x = norm(separable(x, f"{name}.rep.{position}"), f"{name}.rep.{position + 1}")
        if stride != 1:
            x = F.max_pool2d(x, 3, stride, 1)
        x = x + skip
    for name, bn in (("conv3", "bn3"), ("conv4", "bn4")):
        x = F.relu(norm(separable(x, name), bn))
    return x.mean((2, 3)) @ get["last_linear.weight"].T + get["last_linear.bias"]
