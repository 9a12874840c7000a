"""A trained model with all that is known of it, from wherever it lies: the pipeline, an export, or elsewhere."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..project.params import CropOptions, load
from ..project.paths import profile_paths
from ..project.provenance import file_digest
from ..training import checkpoints
from ..training.detector import Detector, build_detector
from ..training.transforms import Normalisation, Transform, normalisation_of, views_of
from .calibration import Calibration, read


@dataclass(frozen=True)
class Model:
    """A trained network with all that is known of it: ``facts`` is its manifest, ``profile`` who trained it."""

    detector: Detector
    facts: dict[str, Any]
    folder: Path
    digest: str
    profile: str = ""
    calibration: Calibration | None = None

    @property
    def of_miniatures(self) -> bool:
        """True if it was trained on embedded miniatures: it knows synthetic people only."""
        return self.profile in load().miniatures

    @property
    def crops(self) -> CropOptions:
        """How the crops that it learned from were made, and those that it scores are."""
        return load().profile(self.profile or "demo").crops

    @property
    def norm(self) -> Normalisation:
        """Mean and standard deviation of its inputs."""
        return normalisation_of(self.facts)

    @property
    def transform(self) -> Transform:
        """Crop -> views."""
        return views_of(self.facts)


def default_weights() -> Path:
    """The demo's trained row that ``run.calibrate`` names first."""
    run = load().run
    return profile_paths("demo").weights(run.calibrate[0], run.seeds[0])


def read_model(weights: Path | None = None) -> Model:
    """The model in a folder of the pipeline or of ``export-model``, or a fine-tuned FSFM checkpoint (``.pth``).

    Its calibration lies beside it, or in ``results/<profile>/calibration``. Raises
    ``FileNotFoundError`` and ``ValueError`` naming what is missing.
    """
    folder = default_weights() if weights is None else Path(weights)
    if folder.suffix == ".pth" and folder.is_file():
        return _finetuned_fsfm(folder)
    file = folder / "model.safetensors"
    if not file.is_file():
        raise FileNotFoundError(
            f"{folder}: no model.safetensors here; run dvc repro train (the demo: "
            "train@demo-fsfm_ba-0) or give a folder of the pipeline's weights, or a fine-tuned .pth"
        )
    detector, facts = checkpoints.load(folder)
    beside = (
        folder / "calibration.json",
        folder.parents[1] / "calibration" / f"{folder.name}.json",
    )
    found = next((path for path in beside if path.is_file()), None)
    calibration, digest = read(found) if found else None, file_digest(file)
    if calibration and calibration.get("weights") != digest:
        raise ValueError(
            f"{found}: made for other weights than {file}; run python -m deepfake_repro calibrate again"
        )
    return Model(detector, facts, folder, digest, _trained_by(folder), calibration)


def _trained_by(folder: Path) -> str:
    """The profile whose samples the provenance beside the weights names; empty if unknown."""
    card = folder / "provenance.json"
    data = json.loads(card.read_text(encoding="utf-8")).get("data", {}) if card.is_file() else {}
    return next((Path(name).parent.name for name in data if name.startswith("data/samples/")), "")


def _finetuned_fsfm(file: Path) -> Model:
    recipe, classes = load().profile("paper").train, ("REAL", "FAKE")
    detector = build_detector(
        recipe.architecture, len(classes), depth=recipe.depth, input_size=recipe.input_size
    )
    norm = checkpoints.load_finetuned_fsfm(detector, file)
    facts = {
        "architecture": recipe.architecture,
        "depth": recipe.depth,
        "input_size": recipe.input_size,
        "views": recipe.augmentation,
        "classes": list(classes),
        **asdict(norm),
    }
    return Model(detector.eval(), facts, file.parent, file_digest(file))
