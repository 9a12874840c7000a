"""Load a detector, ours or a released one, with its manifests, digest and calibration."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..detectors.catalogue import RELEASED, describe_file, has_four_classes
from ..detectors.files import Checkpoint
from ..detectors.loading import LoadedDetector, check_row, load_detector, load_weights
from ..detectors.manifest import FILE, DetectorManifest, Weights, manifest_of_row
from ..detectors.scorers import NetworkScorer, Scorer
from ..detectors.views import view_transform
from ..evaluation.metrics import auc
from ..project.params import CropOptions, current, root
from ..project.paths import profile_paths
from ..project.provenance import file_digest
from ..training import checkpoints
from ..training.detector import Detector, build_detector
from ..training.devices import accelerator
from ..training.manifest import Manifest
from ..training.transforms import Normalisation
from .calibration import Calibration, read_calibration


@dataclass(frozen=True)
class Model:
    """A detector with its folder, digest and calibration.

    ``detector`` and ``manifest`` (``model.json``) are those of a row of the pipeline, None for a
    released detector; ``profile``: the profile that trained it, empty if unknown. ``described``
    and ``scorer_of_others``: its ``detector.json`` and what scores its crops, where a row's own do
    not hold.
    """

    detector: Detector | None
    manifest: Manifest | None
    folder: Path
    digest: str
    profile: str = ""
    calibration: Calibration | None = None
    described: DetectorManifest | None = None
    scorer_of_others: Scorer | None = None

    @property
    def of_miniatures(self) -> bool:
        """True if trained on embedded miniatures only, that is on synthetic people."""
        return self.profile in current().miniatures

    @cached_property
    def recipe(self) -> DetectorManifest:
        """Everything that must be known to use it: crops, views, classes, aggregation."""
        if self.described:
            return self.described
        assert self.manifest is not None
        return manifest_of_row(self.manifest, self._base_crops, self.digest, self.profile)

    @property
    def _base_crops(self) -> CropOptions:
        return current().profile(self.profile or "demo").crops

    @property
    def crops(self) -> CropOptions:
        """Crop options of its training, and so of the videos that it scores."""
        crop = self.recipe.crop
        return crop.options(self._base_crops) if crop else self._base_crops

    @cached_property
    def scorer(self) -> Scorer:
        """Score crops as in evaluation."""
        if self.scorer_of_others:
            return self.scorer_of_others
        assert self.detector is not None and self.recipe.view is not None
        return NetworkScorer(self.detector, view_transform(self.recipe.view))

    def to_accelerator(self) -> None:
        """Move the network to where its profile computes: a GPU, where there is one."""
        if self.detector is None:
            return
        chosen = current().profile(self.profile or "demo").accelerator
        decided = chosen == "auto" or "LT_ACCELERATOR" in os.environ
        self.detector.to(accelerator() if decided else chosen)

    @property
    def norm(self) -> Normalisation:
        """Mean and standard deviation of its inputs."""
        assert self.recipe.view is not None
        return Normalisation(self.recipe.view.mean, self.recipe.view.std)


def default_weights() -> Path:
    """Return the folder of the detector that scores if the user names none.

    A row that has seen real faces comes first: of the profiles that train on more than miniatures
    the last in ``params.yaml`` (``paper`` before ``open``), and there the calibrated row with the
    highest AUC on its validation videos. Without any it is the demo's first row in
    ``run.calibrate``.
    """
    params = current()
    rows = list(calibrated_rows(root()))
    for profile in reversed(list(params.profiles)):
        of_profile = [row for row in rows if row.parent.parent.name == profile]
        if of_profile and profile not in params.miniatures:
            return max(of_profile, key=_validation_auc)
    return profile_paths("demo").weights(params.run.calibrate[0], params.run.seeds[0])


def calibrated_rows(base: Path) -> Iterator[Path]:
    """Yield the folders of the pipeline's rows that have weights and error rates, sorted."""
    for file in sorted((base / "results").glob("*/weights/*/model.safetensors")):
        if any(path.is_file() for path in _calibration_files(file.parent)):
            yield file.parent


def _validation_auc(folder: Path) -> float:
    """Return the AUC of a calibrated row on its validation videos."""
    stored = next(path for path in _calibration_files(folder) if path.is_file())
    scores = read_calibration(stored)["scores"]
    labels = np.repeat([0, 1], [len(scores["real"]), len(scores["fake"])])
    return auc(labels, np.concatenate([scores["real"], scores["fake"]]))


def read_model(weights: Path | None = None) -> Model:
    """Read a detector from its folder, or from a released file.

    ``weights``: a folder of the pipeline or of ``export-model``; one with a ``detector.json``; an
    FSFM ``.pth``; SBI's ``.tar``; GenD's folder or ``.ckpt``. None reads that of
    :func:`default_weights`. The calibration is read from ``calibration.json`` in the folder, else
    from ``results/<profile>/calibration``.
    Raises ``FileNotFoundError`` and ``ValueError`` naming the culprit.
    """
    folder = default_weights() if weights is None else Path(weights)
    if folder.is_file():
        if folder.suffix == ".pth":
            return _read_finetuned_fsfm(folder)
        return _outside(load_weights(folder, describe_file(folder)))
    file = folder / "model.safetensors"
    described = DetectorManifest.read(folder) if (folder / FILE).is_file() else None
    if described and not (folder / "model.json").is_file():
        return _outside(load_detector(folder))
    if not file.is_file():
        raise FileNotFoundError(
            f"{folder}: no model.safetensors here; run dvc repro train (the demo: "
            "train@demo-fsfm_ba-0) or give a folder of the pipeline's weights, one with a "
            f"{FILE}, or a released file"
        )
    if not (folder / "model.json").is_file():
        return _outside(load_weights(file, describe_file(file)))
    if described:
        check_row(described)
    detector, manifest = checkpoints.load(folder)
    digest = file_digest(file)
    calibration = _calibration_of(folder, digest)
    return Model(detector, manifest, folder, digest, _trained_by(folder), calibration, described)


def _outside(loaded: LoadedDetector) -> Model:
    """Wrap a detector that is more than a row: of somebody else, or a row as ONNX."""
    calibration = _calibration_of(loaded.folder, loaded.digest)
    network = loaded.scorer.detector if isinstance(loaded.scorer, NetworkScorer) else None
    return Model(
        network,
        None,
        loaded.folder,
        loaded.digest,
        _trained_by(loaded.folder),
        calibration,
        described=loaded.manifest,
        scorer_of_others=loaded.scorer,
    )


def _calibration_of(folder: Path, digest: str) -> Calibration | None:
    """Read the calibration of the weights in ``folder``; None if there is none."""
    for path in _calibration_files(folder):
        if not path.is_file():
            continue
        calibration = read_calibration(path)
        if calibration.get("weights") != digest:
            raise ValueError(
                f"{path}: made for other weights than {folder / 'model.safetensors'}; "
                "rerun deepfake-repro calibrate PROFILE ROW SEED"
            )
        return calibration
    return None


def _calibration_files(folder: Path) -> tuple[Path, Path]:
    """Return where the calibration of weights may be: beside them, or among the results."""
    of_results = folder.absolute().parent.parent / "calibration" / f"{folder.name}.json"
    return folder / "calibration.json", of_results


def _trained_by(folder: Path) -> str:
    """Return the profile whose samples the weights' provenance names, empty if unknown."""
    provenance = folder / "provenance.json"
    if not provenance.is_file():
        return ""
    data = json.loads(provenance.read_text(encoding="utf-8")).get("data", {})
    for name in data:
        if name.startswith("data/samples/"):
            return Path(name).parent.name
    return ""


def _read_finetuned_fsfm(file: Path) -> Model:
    recipe = current().profile("paper").train
    classes = ("REAL", "FAKE")
    network = checkpoints.fsfm_network(file) or (recipe.architecture, recipe.depth)
    state, norm = checkpoints._read_fsfm(file)
    if has_four_classes(Checkpoint(file.name, state)):
        unified = describe_file(file)
        assert unified.view is not None
        view = replace(unified.view, mean=norm.mean, std=norm.std)
        return _outside(load_weights(file, replace(unified, view=view)))
    architecture, depth = network
    detector = build_detector(architecture, len(classes), depth=depth, input_size=recipe.input_size)
    norm = checkpoints.load_finetuned_fsfm(detector, file)
    manifest = Manifest(
        architecture,
        depth,
        recipe.input_size,
        views=recipe.augmentation,
        classes=classes,
        mean=norm.mean,
        std=norm.std,
    )
    released = RELEASED["fsfm_vit_b"].manifest
    assert released.view is not None
    described = replace(
        released,
        name=f"FSFM, {architecture}",
        weights=Weights(file.name, licence=released.weights.licence),
        classes=("real", "fake"),  # as the detector above has them
        view=replace(released.view, mean=norm.mean, std=norm.std),
        trained_on="",
    )
    digest = file_digest(file)
    return Model(detector.eval(), manifest, file.parent, digest, described=described)
