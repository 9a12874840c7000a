"""A trained model for other programs: safetensors with manifest, ONNX, calibration and a model card in one folder."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from ..project.provenance import file_digest
from ..training import checkpoints
from .card import card
from .model import Model, read_model

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference in probability at which the exported network still counts as the same."""
OUTPUTS = ("p_fake", "probabilities", "embedding")


class Portable(nn.Module):
    """RGB in [0, 1] ``[N, 3, S, S]`` -> P(fake) ``[N]``, class probabilities ``[N, C]``, embedding ``[N, D]``."""

    def __init__(self, known: Model) -> None:
        super().__init__()
        self.detector = known.detector
        for name in ("mean", "std"):
            self.register_buffer(
                name, torch.tensor(known.facts[name], dtype=torch.float32).view(3, 1, 1)
            )

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Normalisation, network, softmax and the sum over all fake classes (end of Section 3.4)."""
        embedding, logits = self.detector((images - self.mean) / self.std)
        probabilities = logits.softmax(-1)
        return probabilities[:, 1:].sum(1), probabilities, embedding


def export_model(weights: Path | None, out: Path) -> list[Path]:
    """Write ``model.safetensors``, ``model.json``, ``model.onnx``, ``MODEL_CARD.md`` and what lies beside the weights.

    ``weights``: as for ``read_model``. Returns the files. Raises ``ValueError`` if ``out`` is not empty, or if
    ONNX Runtime gives other probabilities than PyTorch by more than ``TOLERANCE``.
    """
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty: give a new folder")
    known = read_model(weights)
    checkpoints.save(
        known.detector,
        out,
        known.facts | {"trained_by": known.profile, "weights_sha256": known.digest},
    )
    if (known.folder / "provenance.json").is_file():
        shutil.copyfile(known.folder / "provenance.json", out / "provenance.json")
    if known.calibration:
        of_these = {**known.calibration, "weights": file_digest(out / "model.safetensors")}
        (out / "calibration.json").write_text(json.dumps(of_these) + "\n")
    write_onnx(known, out / "model.onnx")
    if (difference := parity(known, out / "model.onnx")) > TOLERANCE:
        raise ValueError(
            f"model.onnx: differs from PyTorch by {difference:.1e} in probability; do not use it"
        )
    (out / "MODEL_CARD.md").write_text(card(known), encoding="utf-8")
    return sorted(out.iterdir())


def write_onnx(known: Model, file: Path) -> None:
    """The network as ONNX: input ``images``, outputs ``OUTPUTS`` as of ``Portable``, any number of images."""
    size = known.facts["input_size"]
    axes = {name: {0: "images"} for name in ("images", *OUTPUTS)}
    with warnings.catch_warnings():  # the exporter that needs no further package announces its age
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Portable(known).eval(),
            (torch.zeros(2, 3, size, size),),
            str(file),
            dynamo=False,
            input_names=["images"],
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
            opset_version=OPSET,
        )


def parity(known: Model, file: Path, images: int = 4) -> float:
    """Largest difference in any probability between an ONNX file and PyTorch, on seeded noise."""
    size = known.facts["input_size"]
    noise = np.random.default_rng(0).random((images, 3, size, size), np.float32)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = Portable(known).eval()(torch.from_numpy(noise))[1].numpy()
    return float(np.abs(session.run(["probabilities"], {"images": noise})[0] - expected).max())
