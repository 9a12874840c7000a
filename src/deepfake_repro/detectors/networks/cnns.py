"""EfficientNets under the names of efficientnet_pytorch and timm, and DeepfakeBench's Xception."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import timm
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from ...training.checkpoints import _published_name
from ...training.detector import Detector
from ..files import Checkpoint, State
from .filling import build_empty, fill, finished, need, stripped

SIZES = {1280: "b0", 1408: "b2", 1536: "b3", 1792: "b4", 2048: "b5", 2304: "b6", 2560: "b7"}
"""EfficientNet by the width of its features; b1 has that of b0 and is not used by any detector."""
PAD_SIDES = {"b0": 224, "b2": 260, "b3": 300, "b4": 380, "b5": 456, "b6": 528, "b7": 600}
"""Side of the images for which efficientnet_pytorch computes its paddings, once and for all."""


class StaticPadding(nn.Module):
    """A convolution that pads as computed for one size of image, whatever it gets.

    efficientnet_pytorch does so; timm computes the padding for each image, which differs for
    images of another size.
    """

    def __init__(self, convolution: nn.Module, pad: tuple[int, int]) -> None:
        super().__init__()
        self.convolution = convolution
        self.pad = pad

    def forward(self, images: Tensor) -> Tensor:
        """Pad height and width alike, then convolve."""
        conv: Any = self.convolution
        padded = F.pad(images, (*self.pad, *self.pad))
        return F.conv2d(padded, conv.weight, conv.bias, conv.stride, 0, 1, conv.groups)


def load_sbi(checkpoint: Checkpoint, classes: Sequence[str]) -> Detector:
    """Load SBI's EfficientNet-B4 (``FFraw.tar``, ``FFc23.tar``): efficientnet_pytorch's names."""
    what = "an SBI checkpoint"
    if others := sorted(set(checkpoint.state) - _starting(checkpoint, "net.")):
        raise ValueError(f"{checkpoint.name}: not {what}: tensor {others[0]} is unknown")
    state = stripped(checkpoint.state, "net.")
    return _published(checkpoint, state, classes, what, padded_stem=True)


def load_deepfakebench_efficientnet(checkpoint: Checkpoint, classes: Sequence[str]) -> Detector:
    """Load DeepfakeBench's EfficientNet-B4, whose first convolution has no padding."""
    what = "a DeepfakeBench EfficientNet checkpoint"
    state: State = {}
    for name, tensor in checkpoint.state.items():
        if name.startswith("backbone.efficientnet."):
            state[name.removeprefix("backbone.efficientnet.")] = tensor
        elif name.startswith("backbone.last_layer."):
            state[name.replace("backbone.last_layer.", "_fc.")] = tensor
        else:
            raise ValueError(f"{checkpoint.name}: not {what}: tensor {name} is unknown")
    return _published(checkpoint, state, classes, what, padded_stem=False)


_DFDC_HEAD = {"fc.weight", "fc.bias"}


def load_dfdc(checkpoint: Checkpoint, classes: Sequence[str]) -> Detector:
    """Load an EfficientNet-B7 of the DFDC winner: timm's names in ``encoder.``, one logit."""
    what = "a checkpoint of the DFDC winner"
    if others := sorted(set(checkpoint.state) - _DFDC_HEAD - _starting(checkpoint, "encoder.")):
        raise ValueError(f"{checkpoint.name}: not {what}: tensor {others[0]} is unknown")
    state = stripped(checkpoint.state, "encoder.")
    for part in ("weight", "bias"):
        state[f"classifier.{part}"] = need(checkpoint.state, f"fc.{part}", checkpoint.name, what)
    encoder = _efficientnet(state, "classifier.weight", checkpoint.name, what)
    fill(encoder, state, checkpoint.name, what)
    return finished(encoder, Detector(encoder), classes, checkpoint.name)


def _starting(checkpoint: Checkpoint, prefix: str) -> set[str]:
    return {name for name in checkpoint.state if name.startswith(prefix)}


def _efficientnet(state: State, head: str, file: str, what: str) -> Any:
    """Build timm's EfficientNet with the width and the outputs of the head."""
    outputs, width = need(state, head, file, what).shape
    if width not in SIZES:
        raise ValueError(f"{file}: not {what}: no EfficientNet has features of width {width}")
    name = f"tf_efficientnet_{SIZES[width]}"
    return build_empty(partial(timm.create_model, name, num_classes=outputs))


def _published(
    checkpoint: Checkpoint, state: State, classes: Sequence[str], what: str, *, padded_stem: bool
) -> Detector:
    """Fill an EfficientNet from efficientnet_pytorch's names and give it that package's padding."""
    encoder = _efficientnet(state, "_fc.weight", checkpoint.name, what)
    names = {_published_name(encoder, name): name for name in encoder.state_dict()}
    fill(encoder, {names.get(key, key): each for key, each in state.items()}, checkpoint.name, what)
    side = PAD_SIDES[SIZES[state["_fc.weight"].shape[1]]]
    _pad_statically(encoder, side, padded_stem)
    return finished(encoder, Detector(encoder), classes, checkpoint.name)


def _pad_statically(encoder: nn.Module, side: int, padded_stem: bool) -> None:
    """Replace the convolutions of stride two by ones with the padding for images of ``side``."""
    strided = [
        (name, module)
        for name, module in encoder.named_modules()
        if isinstance(module, Conv2dSame) and module.stride[0] == 2
    ]
    for name, module in strided:
        after = math.ceil(side / 2)
        total = max((after - 1) * 2 + module.kernel_size[0] - side, 0)
        pad = (total // 2, total - total // 2)
        if name == "conv_stem" and not padded_stem:
            pad = (0, 0)
        parent, _, child = name.rpartition(".")
        setattr(encoder.get_submodule(parent), child, StaticPadding(module, pad))
        side = after


def load_deepfakebench_xception(checkpoint: Checkpoint, classes: Sequence[str]) -> Detector:
    """Load DeepfakeBench's Xception; ``adjust_channel`` is in the file and not in the network."""
    what = "a DeepfakeBench Xception checkpoint"
    state: State = {}
    for name, tensor in checkpoint.state.items():
        if not name.startswith("backbone."):
            raise ValueError(f"{checkpoint.name}: not {what}: tensor {name} is unknown")
        inner = name.removeprefix("backbone.").replace("last_linear.1.", "last_linear.")
        if not inner.startswith("adjust_channel."):
            state[inner.replace("last_linear.", "fc.")] = tensor
    outputs = need(state, "fc.weight", checkpoint.name, what)
    encoder: Any = build_empty(
        partial(timm.create_model, "legacy_xception", num_classes=len(outputs))
    )
    fill(encoder, state, checkpoint.name, what)
    return finished(encoder, Detector(encoder), classes, checkpoint.name)
