"""Export a model for other programs: safetensors, manifest, ONNX, calibration and a model card."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from ..detectors.manifest import ONNX, Weights
from ..project.provenance import file_digest
from ..training import checkpoints
from .card import model_card
from .model import Model, read_model

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference in probability at which the exported network still counts as the same."""
OUTPUTS = ("p_fake", "probabilities", "embedding")


class Portable(nn.Module):
    """A detector with its normalisation before it and the probabilities after it.

    RGB in [0, 1] ``[N, 3, S, S]`` -> P(fake) ``[N]``, class probabilities ``[N, C]``, embedding
    ``[N, D]``.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        assert model.detector is not None
        self.detector = model.detector
        self.register_buffer("mean", _per_channel(model.norm.mean))
        self.register_buffer("std", _per_channel(model.norm.std))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Normalise, run the network, apply softmax and add up all fake classes (Section 3.4)."""
        embedding, logits = self.detector((images - self.mean) / self.std)
        probabilities = logits.softmax(-1)
        return probabilities[:, 1:].sum(1), probabilities, embedding


def _per_channel(values: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(3, 1, 1)


def export_model(weights: Path | None, out: Path) -> list[Path]:
    """Write ``model.safetensors``, its two manifests, ``model.onnx`` and ``MODEL_CARD.md``.

    ``model.json`` describes the network and its training, ``detector.json`` how to use it.
    Adds ``calibration.json`` and ``provenance.json`` if the model has them. ``weights``: as for
    ``read_model``. Returns the files. Raises ``ValueError`` if ``out`` is not empty, or if a
    probability of ONNX Runtime differs from PyTorch's by more than ``TOLERANCE``.
    """
    model = _exportable(weights, out)
    assert model.manifest is not None and model.detector is not None
    manifest = replace(model.manifest, trained_by=model.profile, weights_sha256=model.digest)
    checkpoints.save(model.detector, out, manifest)
    exported = Weights("model.safetensors", file_digest(out / "model.safetensors"), "export-model")
    replace(model.recipe, weights=exported).write(out)

    _write_checked_onnx(model, out)
    _write_records(model, out, exported.sha256)
    return sorted(out.iterdir())


def export_onnx(weights: Path | None, out: Path) -> list[Path]:
    """Write a folder that is a detector of the network ``onnx``: it needs no PyTorch model.

    ``model.onnx`` normalises its inputs itself, so the view of ``detector.json`` does not. Other
    files, arguments and errors as for :func:`export_model`.
    """
    model = _exportable(weights, out)
    out.mkdir(parents=True, exist_ok=True)
    file = _write_checked_onnx(model, out)
    recipe = model.recipe
    assert recipe.view is not None
    exported = Weights(file.name, file_digest(file), "export-model")
    view = replace(recipe.view, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    replace(recipe, network=ONNX, weights=exported, view=view).write(out)
    _write_records(model, out, exported.sha256)
    return sorted(out.iterdir())


def _exportable(weights: Path | None, out: Path) -> Model:
    """Read a row of this pipeline; ``ValueError`` for others and if ``out`` is not empty."""
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty: give a new folder")
    model = read_model(weights)
    if model.manifest is None or model.detector is None:
        raise ValueError(f"{model.recipe.name}: only networks of this pipeline are exported")
    return model


def _write_checked_onnx(model: Model, out: Path) -> Path:
    """Write ``model.onnx``; ``ValueError`` if it computes something else than PyTorch."""
    onnx = out / "model.onnx"
    write_onnx(model, onnx)
    difference = onnx_difference(model, onnx)
    if difference > TOLERANCE:
        raise ValueError(
            f"model.onnx: differs from PyTorch by {difference:.1e} in probability; do not use it"
        )
    return onnx


def _write_records(model: Model, out: Path, digest: str) -> None:
    """Write provenance, calibration (for weights of ``digest``) and model card."""
    provenance = model.folder / "provenance.json"
    if provenance.is_file():
        shutil.copyfile(provenance, out / "provenance.json")
    if model.calibration:
        calibration = {**model.calibration, "weights": digest}
        (out / "calibration.json").write_text(json.dumps(calibration) + "\n")
    (out / "MODEL_CARD.md").write_text(model_card(model), encoding="utf-8")


def write_onnx(model: Model, path: Path) -> None:
    """Write the network as ONNX: input ``images`` (any number), outputs ``OUTPUTS``."""
    assert model.recipe.view is not None
    size = model.recipe.view.size
    axes = {name: {0: "images"} for name in ("images", *OUTPUTS)}
    with warnings.catch_warnings():
        # The old exporter, which needs no further package, warns that it is deprecated.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Portable(model).eval(),
            (torch.zeros(2, 3, size, size),),
            str(path),
            dynamo=False,
            input_names=["images"],
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=OPSET,
        )


def onnx_difference(model: Model, path: Path, images: int = 4) -> float:
    """Return the largest difference in any probability between an ONNX file and PyTorch.

    Both get the same seeded noise.
    """
    assert model.recipe.view is not None
    size = model.recipe.view.size
    noise = np.random.default_rng(0).random((images, 3, size, size), np.float32)
    with torch.inference_mode():
        _, expected, _ = Portable(model).eval()(torch.from_numpy(noise))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"images": noise})
    return float(np.abs(probabilities - expected.numpy()).max())
