"""A trained model for other programs: safetensors with manifest, ONNX, calibration and a model card in one folder."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from ..project.provenance import file_digest
from ..project.vocabulary import SETS
from ..training import detector as model
from .calibration import summary
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
            self.register_buffer(name, torch.tensor(known.facts[name], dtype=torch.float32).view(3, 1, 1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Normalisation, network, softmax and the sum over all fake classes (end of Section 3.4)."""
        embedding, logits = self.detector((images - self.mean) / self.std)
        probabilities = logits.softmax(-1)
        return probabilities[:, 1:].sum(1), probabilities, embedding


def export_model(weights: Path | None, out: Path) -> list[Path]:
    """Write ``model.safetensors``, ``model.json``, ``model.onnx``, ``MODEL_CARD.md`` and what lies beside the weights.

    ``weights``: as for ``trained.read_model``. Returns the files. Raises ``ValueError`` if ``out`` is not empty, or if
    ONNX Runtime gives other probabilities than PyTorch by more than ``TOLERANCE``.
    """
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty: give a new folder")
    known = read_model(weights)
    model.save(known.detector, out, known.facts | {"trained_by": known.profile, "weights_sha256": known.digest})
    if (known.folder / "provenance.json").is_file():
        shutil.copyfile(known.folder / "provenance.json", out / "provenance.json")
    if known.calibration:
        of_these = {**known.calibration, "weights": file_digest(out / "model.safetensors")}
        (out / "calibration.json").write_text(json.dumps(of_these) + "\n")
    write_onnx(known, out / "model.onnx")
    if (difference := parity(known, out / "model.onnx")) > TOLERANCE:
        raise ValueError(f"model.onnx: differs from PyTorch by {difference:.1e} in probability; do not use it")
    (out / "MODEL_CARD.md").write_text(card(known), encoding="utf-8")
    return sorted(out.iterdir())


def write_onnx(known: Model, file: Path) -> None:
    """The network as ONNX: input ``images``, outputs ``OUTPUTS`` as of ``Portable``, any number of images."""
    size = known.facts["input_size"]
    axes = {name: {0: "images"} for name in ("images", *OUTPUTS)}
    with warnings.catch_warnings():  # the exporter that needs no further package announces its age
        warnings.simplefilter("ignore")
        torch.onnx.export(Portable(known).eval(), (torch.zeros(2, 3, size, size),), str(file), dynamo=False,
                          input_names=["images"], output_names=list(OUTPUTS), dynamic_axes=axes, opset_version=OPSET)


def parity(known: Model, file: Path, images: int = 4) -> float:
    """Largest difference in any probability between an ONNX file and PyTorch, on seeded noise."""
    size = known.facts["input_size"]
    noise = np.random.default_rng(0).random((images, 3, size, size), np.float32)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = Portable(known).eval()(torch.from_numpy(noise))[1].numpy()
    return float(np.abs(session.run(["probabilities"], {"images": noise})[0] - expected).max())


def card(known: Model) -> str:
    """The model card, Markdown: what it is, from what it learned, what was measured, what it is not for."""
    facts, rows = known.facts, [line for part in (_inputs(known.facts), _training(known)) for line in part]
    measured = summary(known.calibration) if known.calibration else "No calibration is stored with these weights.\n"
    demo = ("\n**Trained on the demo alone**: synthetic people and home-made manipulations. It knows nothing of real "
            "deepfakes.\n" if known.of_miniatures else "")
    return (f"# Model card: {facts['architecture']}, {len(facts['classes'])} classes\n{demo}\n"
            "Scores face crops for traces of manipulation (Mylonas & Papadopoulos 2025; code: deepfake-repro, "
            "Apache-2.0; weights inherit the licences of their start and corpora).\n\n| | |\n| --- | --- |\n"
            + "".join(f"| {name} | {value} |\n" for name, value in rows)
            + f"\n## Error rates\n\n{measured}\n## Test results\n\n{_tests(known)}\n## Use\n\n"
            "For research and teaching, and as one hint among others. A score is no proof: manipulations, codecs and "
            "people unlike the training corpora give wrong scores without notice. Not for decisions about persons.\n")


def _inputs(facts: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [("input", f"RGB crop of a face (box + 30 %), {facts['input_size']} × {facts['input_size']} pixels, views "
                      f"`{facts['views']}`"),
            ("normalisation", f"mean {facts['mean']}, standard deviation {facts['std']} on a 0–1 scale"),
            ("classes", f"{', '.join(facts['classes'])}; P(fake) is the sum of all but the first")]


def _training(known: Model) -> list[tuple[str, object]]:
    """What is known of the training, from manifest and provenance."""
    beside = known.folder / "provenance.json"
    card = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    return [("weights, sha256", f"`{known.digest}`"), ("trained by profile", known.profile or "unknown"),
            ("variant", json.dumps(known.facts.get("variant", "unknown"))), ("seed", card.get("seed", "unknown")),
            ("commit", card.get("commit", "unknown")),
            *((f"data `{name}`, sha256", f"`{digest}`") for name, digest in card.get("data", {}).items())]


def _tests(known: Model) -> str:
    """AUC and balanced accuracy of the run in ``results/<profile>/runs``, where it is."""
    scores = known.folder.parents[1] / "runs" / known.folder.name / "scores.json"
    if not scores.is_file():
        return "None beside these weights.\n"
    row = json.loads(scores.read_text(encoding="utf-8"))
    lines = [f"| {name} | {row['auc'][name]} | {row['bacc'][name]} |" for name in SETS if name in row["auc"]]
    return "\n".join(["| test set | AUC (%) | balanced accuracy at 0.5 (%) |", "| --- | ---: | ---: |", *lines]) + "\n"
