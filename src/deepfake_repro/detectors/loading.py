"""A detector's folder -> manifest, scorer and digest, every check made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..project.provenance import file_digest
from ..training import checkpoints
from ..training.detector import Detector
from .files import Checkpoint, read_checkpoint
from .manifest import ONNX, PYTHON, ROW, DetectorManifest
from .networks import cnns, vits
from .scorers import NetworkScorer, OnnxScorer, PythonScorer, Scorer
from .views import view_transform

Loader = Callable[[Checkpoint, Sequence[str]], Detector]

NETWORKS: dict[str, Loader] = {
    "gend_clip": vits.load_gend_clip,
    "fsfm": vits.load_fsfm,
    "sbi": cnns.load_sbi,
    "dfdc": cnns.load_dfdc,
    "deepfakebench_efficientnet": cnns.load_deepfakebench_efficientnet,
    "deepfakebench_xception": cnns.load_deepfakebench_xception,
    "deepfakebench_clip": vits.load_deepfakebench_clip,
    "effort": vits.load_effort,
}
"""Released networks by their name in a manifest."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class LoadedDetector:
    """A detector that is ready to score crops; ``digest``: sha256 of its weights."""

    manifest: DetectorManifest
    scorer: Scorer
    folder: Path
    digest: str


def load_detector(folder: Path) -> LoadedDetector:
    """Load the detector whose ``detector.json`` is in ``folder``.

    A Python file in it is executed. Raises ``FileNotFoundError`` and ``ValueError`` in one line for
    a missing file, another sha256, an unknown network and tensors that are not those expected.
    """
    manifest = DetectorManifest.read(folder)
    return load_weights(folder / manifest.weights.file, manifest)


def load_weights(path: Path, manifest: DetectorManifest) -> LoadedDetector:
    """Load the weights ``path`` as ``manifest`` says; errors as for :func:`load_detector`."""
    if not path.is_file():
        source = f"; get it from {manifest.weights.source}" if manifest.weights.source else ""
        raise FileNotFoundError(f"{path}: the weights of {manifest.name} are not here{source}")
    digest = file_digest(path)
    if manifest.weights.sha256 not in ("", digest):
        raise ValueError(
            f"{path}: has sha256 {digest}, the manifest says {manifest.weights.sha256}: "
            "another file, or a damaged one"
        )
    return LoadedDetector(manifest, _scorer(path, manifest), path.parent, digest)


def _scorer(path: Path, manifest: DetectorManifest) -> Scorer:
    if manifest.network == PYTHON:
        return PythonScorer(path)
    if manifest.network == ONNX:
        return OnnxScorer(path, manifest)
    if manifest.network == ROW:
        return _row(path, manifest)
    if manifest.network not in NETWORKS:
        known = ", ".join([*NETWORKS, ROW, PYTHON, ONNX])
        raise ValueError(f"{manifest.name}: network {manifest.network!r} is unknown; use {known}")
    checkpoint = read_checkpoint(path)
    _check_normalisation(checkpoint, manifest)
    assert manifest.view is not None
    detector = NETWORKS[manifest.network](checkpoint, manifest.classes)
    return NetworkScorer(detector, view_transform(manifest.view))


def _row(path: Path, manifest: DetectorManifest) -> Scorer:
    """Load a row of the pipeline as ``export-model`` writes it; its manifest says how to use it."""
    check_row(manifest)
    assert manifest.view is not None
    if not (path.parent / "model.json").is_file():
        raise FileNotFoundError(
            f"{path.parent}: model.json is not here; make the folder by export-model"
        )
    detector, _ = checkpoints.load(path.parent)
    return NetworkScorer(detector, view_transform(manifest.view))


def check_row(manifest: DetectorManifest) -> None:
    """Raise ``ValueError`` if the manifest of a row says what its weights are not."""
    if manifest.classes[0] != "real" or manifest.weights.file != "model.safetensors":
        raise ValueError(
            f"{manifest.name}: the first class of a row is 'real' and its file model.safetensors: "
            "correct detector.json"
        )


def _check_normalisation(checkpoint: Checkpoint, manifest: DetectorManifest) -> None:
    """Raise ``ValueError`` if the file was trained with another normalisation than stated.

    Only FSFM's files say so themselves.
    """
    if "normalize_from_IMN" not in checkpoint.args or manifest.view is None:
        return
    given = (*manifest.view.mean, *manifest.view.std)
    imagenet = all(
        math.isclose(one, other, abs_tol=1e-4)
        for one, other in zip(given, (*IMAGENET[0], *IMAGENET[1]), strict=True)
    )
    if bool(checkpoint.args["normalize_from_IMN"]) != imagenet:
        wanted = "ImageNet's" if not imagenet else "that of pretrain_ds_mean_std.txt"
        raise ValueError(
            f"{checkpoint.name}: was trained with {wanted} mean and standard deviation "
            f"(normalize_from_IMN is {checkpoint.args['normalize_from_IMN']}); correct view.mean "
            "and view.std"
        )
