"""Read somebody else's checkpoint without executing anything in it."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

State = dict[str, torch.Tensor]
ALLOWED = (argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath)
"""Types beside tensors that published files contain: settings and paths, both plain data."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors of a file, and its settings: ``args`` of FSFM, ``hyper_parameters`` of Lightning."""

    name: str
    state: State
    args: Mapping[str, Any] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read ``.safetensors`` or a ``torch.save`` file; names without DataParallel's ``module.``.

    The tensors may be under ``model`` or ``state_dict``. Raises ``ValueError`` in one line for any
    other file, and for one that would have to execute code.
    """
    content = _read(path)
    tensors = content
    for key in ("model", "state_dict"):
        if isinstance(content.get(key), Mapping):
            tensors = content[key]
    state = {
        str(name).removeprefix("module."): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
        if isinstance(tensor, torch.Tensor)
    }
    if not state:
        raise ValueError(f"{path.name}: contains no tensors; it is not a checkpoint")
    return Checkpoint(path.name, state, _settings(content))


def _settings(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of its training that a file states; empty if it states none."""
    args = content.get("args")
    if isinstance(args, argparse.Namespace):
        return vars(args)
    stated = content.get("hyper_parameters")
    return stated if isinstance(stated, Mapping) else {}


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: weights not found; docs/weights.md says where to get them"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(str(path))
        with torch.serialization.safe_globals(list(ALLOWED)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, KeyError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if isinstance(error, UnpicklingError):  # torch's text has colour codes and unsafe advice
            reason = "damaged, or more than tensors in it"
        if path.read_bytes()[:200].lstrip().startswith(b"<"):
            reason = "it is a web page"
        raise ValueError(
            f"{path.name}: not readable as safe weights ({reason}); fetch it again, or convert it "
            "to safetensors where you trust it"
        ) from None
    if not isinstance(content, Mapping):
        raise ValueError(f"{path.name}: contains {type(content).__name__}, not named tensors")
    return content
