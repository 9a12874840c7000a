"""Load a trained model with its manifest, digest and calibration."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..project.params import CropOptions, load
from ..project.paths import profile_paths
from ..project.provenance import file_digest
from ..training import checkpoints
from ..training.detector import Detector, build_detector
from ..training.manifest import Manifest
from ..training.transforms import Normalisation, Transform
from .calibration import Calibration, read_calibration


@dataclass(frozen=True)
class Model:
    """A trained network with its manifest, folder, digest and calibration.

    ``profile``: the profile that trained it, empty if unknown.
    """

    detector: Detector
    manifest: Manifest
    folder: Path
    digest: str
    profile: str = ""
    calibration: Calibration | None = None

    @property
    def of_miniatures(self) -> bool:
        """True if trained on embedded miniatures only, that is on synthetic people."""
        return self.profile in load().miniatures

    @property
    def crops(self) -> CropOptions:
        """Crop options of its training, and so of the videos that it scores."""
        return load().profile(self.profile or "demo").crops

    @property
    def norm(self) -> Normalisation:
        """Mean and standard deviation of its inputs."""
        return self.manifest.normalisation

    @property
    def transform(self) -> Transform:
        """Turn a crop into the views of evaluation."""
        return self.manifest.transform


def default_weights() -> Path:
    """Return the folder of the demo's first row in ``run.calibrate``."""
    run = load().run
    return profile_paths("demo").weights(run.calibrate[0], run.seeds[0])


def read_model(weights: Path | None = None) -> Model:
    """Read a model from a folder of the pipeline or of ``export-model``, or an FSFM ``.pth`` file.

    ``weights``: None reads the demo's model. The calibration is read from ``calibration.json`` in
    the folder, else from ``results/<profile>/calibration``. Raises ``FileNotFoundError`` and
    ``ValueError`` naming the culprit.
    """
    folder = default_weights() if weights is None else Path(weights)
    if folder.suffix == ".pth" and folder.is_file():
        return _read_finetuned_fsfm(folder)
    file = folder / "model.safetensors"
    if not file.is_file():
        raise FileNotFoundError(
            f"{folder}: no model.safetensors here; run dvc repro train (the demo: "
            "train@demo-fsfm_ba-0) or give a folder of the pipeline's weights, or a fine-tuned .pth"
        )
    detector, manifest = checkpoints.load(folder)
    digest = file_digest(file)
    calibration = _calibration_of(folder, digest)
    return Model(detector, manifest, folder, digest, _trained_by(folder), calibration)


def _calibration_of(folder: Path, digest: str) -> Calibration | None:
    """Read the calibration of the weights in ``folder``; None if there is none."""
    candidates = (
        folder / "calibration.json",
        folder.absolute().parents[1] / "calibration" / f"{folder.name}.json",
    )
    for path in candidates:
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
    recipe = load().profile("paper").train
    classes = ("REAL", "FAKE")
    network = checkpoints.fsfm_network(file) or (recipe.architecture, recipe.depth)
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
    return Model(detector.eval(), manifest, file.parent, file_digest(file))
