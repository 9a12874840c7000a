"""Put translated tensors into a network, all of them or none, and class real first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ...training.detector import Detector
from ..files import State


def build_empty(make: Callable[[], nn.Module]) -> nn.Module:
    """Make a network without memory for its parameters: a ViT-L is then built at once."""
    with torch.device("meta"):
        return make()


def fill(encoder: nn.Module, state: Mapping[str, torch.Tensor], file: str, what: str) -> None:
    """Load exactly the encoder's tensors.

    Raises ``ValueError`` naming the first tensor that is missing, unknown or of another shape.
    """
    expected = encoder.state_dict()
    for name in sorted({*state, *expected}):
        if name not in state:
            problem = "is missing"
        elif name not in expected:
            problem = "is unknown"
        elif state[name].shape != expected[name].shape:
            problem = f"has shape {_shape(state[name])}, expected {_shape(expected[name])}"
        else:
            continue
        raise ValueError(f"{file}: not {what}: tensor {name} {problem}")
    encoder.load_state_dict(dict(state), assign=True)


def finished(encoder: Any, detector: Detector, classes: Sequence[str], file: str) -> Detector:
    """Reorder the head so that real is class 0, as everywhere here; evaluation mode.

    ``classes``: in the order of the file; the single class ``fake`` is one logit, whose softmax
    against 0 is the logistic function. Raises ``ValueError`` for another number of outputs.
    """
    head = encoder.get_classifier()
    if len(head.bias) != len(classes):
        raise ValueError(
            f"{file}: has {len(head.bias)} output(s), the manifest names {len(classes)}: "
            f"{', '.join(classes)}"
        )
    weight, bias = head.weight.detach(), head.bias.detach()
    if len(classes) == 1:
        weight = torch.cat([torch.zeros_like(weight), weight])
        bias = torch.cat([torch.zeros_like(bias), bias])
    else:
        real = classes.index("real")
        order = [real, *(number for number in range(len(classes)) if number != real)]
        weight, bias = weight[order], bias[order]
    head.out_features = len(bias)
    head.weight = nn.Parameter(weight.clone())
    head.bias = nn.Parameter(bias.clone())
    return detector.requires_grad_(False).eval()


def stripped(state: State, prefix: str) -> State:
    """Return the tensors under ``prefix``, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }


def need(state: Mapping[str, torch.Tensor], name: str, file: str, what: str) -> torch.Tensor:
    """Return a tensor; ``ValueError`` if the file lacks it."""
    if name not in state:
        raise ValueError(f"{file}: not {what}: tensor {name} is missing")
    return state[name]


def _shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"
