"""The manifest of a detector, ``detector.json``: everything needed to use its weights correctly.

Code bases differ in how they cut faces, order classes and aggregate face scores into a video score.
A detector that gets another detector's crops returns meaningless scores. Each detector therefore
declares its own preprocessing, and this package follows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ..crops.shapes import ALIGNED, BORDERS, INTERPOLATIONS, REPEAT, SHAPES, STRETCHED, RecipeCrops
from ..project.params import CropOptions
from ..training.manifest import Manifest
from ..training.transforms import AUGMENTATIONS
from .aggregation import AGGREGATIONS, FACES

FILE = "detector.json"
ROW = "row"
PYTHON = "python"
ONNX = "onnx"
FITS = ("stretch", "centre", "pad", *AUGMENTATIONS)


@dataclass(frozen=True)
class Weights:
    """The file of the weights in the detector's folder, and where it is from.

    ``sha256``: if given, another file is refused.
    """

    file: str
    sha256: str = ""
    source: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Crop:
    """How faces are cut out of frames; see ``crops.shapes.RecipeCrops``.

    ``faces``: which of a frame (``aggregation.FACES``); ``frames``: how many per video, evenly
    spaced, or 0 for one per second.
    """

    margin: float
    size: int
    shape: str = STRETCHED
    border: str = REPEAT
    interpolation: str = "area"
    template: tuple[tuple[float, float], ...] = ()
    faces: str = "all"
    frames: int = 0

    def options(self, base: CropOptions) -> CropOptions:
        """Return ``base`` with this recipe in place of its own."""
        own = {**asdict(base), "margin": self.margin, "size": self.size}
        if self.frames:
            own["frames_per_clip"] = self.frames
        if (self.shape, self.border, self.interpolation) == (STRETCHED, REPEAT, "area"):
            return CropOptions(**own)  # the paper's own way of cutting
        return RecipeCrops(
            **own,
            shape=self.shape,
            border=self.border,
            interpolation=self.interpolation,
            template=self.template,
        )


@dataclass(frozen=True)
class View:
    """How a crop becomes the input of the network, RGB in [0, 1], then normalised.

    ``fit``: ``stretch`` to ``size``; ``centre``: the shorter side to ``resize``, then the central
    ``size``; ``pad``: the longer side to ``size`` on black; or a kind of
    ``training.transforms.evaluation_transform``. ``flip``: average over the mirrored view as well.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: str = "stretch"
    resize: int = 0
    interpolation: str = "bicubic"
    flip: bool = False


@dataclass(frozen=True)
class DetectorManifest:
    """Content of ``detector.json``.

    ``network``: a key of ``loading.NETWORKS``, ``row`` (weights of this pipeline), ``python`` or
    ``onnx``. ``classes``: in the order of the network's outputs, ``real`` among them; a single
    class ``fake`` is one logit. ``crop`` may be missing for detectors that take the crops of a
    profile as they are; ``view`` only for ``python``.
    """

    name: str
    network: str
    weights: Weights
    classes: tuple[str, ...] = ("real", "fake")
    crop: Crop | None = None
    view: View | None = None
    aggregation: str = "mean"
    trained_on: str = ""
    paper: str = ""
    note: str = ""

    @classmethod
    def read(cls, folder: Path) -> DetectorManifest:
        """Read ``detector.json`` of ``folder``; ``ValueError`` names a wrong key."""
        path = folder / FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: not found; write a manifest (docs/weights.md shows one) or fetch the "
                "detector: deepfake-repro weights list"
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not valid JSON ({error}); correct it") from None
        return cls.from_json(values, str(path))

    @classmethod
    def from_json(cls, values: Any, source: str) -> DetectorManifest:
        """Make a manifest from JSON values; ``source`` names the file in errors."""
        manifest = _build(cls, values, source, "")
        _check(manifest, source)
        return manifest

    def as_json(self) -> dict[str, Any]:
        """Return plain values, without those that are the default."""
        return _plain(self)

    def write(self, folder: Path) -> Path:
        """Write ``detector.json`` into ``folder``."""
        path = folder / FILE
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")
        return path


def manifest_of_row(
    manifest: Manifest, crops: CropOptions, digest: str, trained_by: str
) -> DetectorManifest:
    """Make the manifest of a row, including what its ``model.json`` and profile leave implicit."""
    real, *fakes = (name.lower() for name in manifest.classes)
    row = (manifest.variant or {}).get("name") or manifest.architecture
    return DetectorManifest(
        name=f"{row}, profile {trained_by or 'unknown'}",
        network=ROW,
        weights=Weights("model.safetensors", digest, "this pipeline"),
        classes=(real, *fakes),
        crop=Crop(margin=crops.margin, size=crops.size, frames=crops.frames_per_clip),
        view=View(manifest.input_size, manifest.mean, manifest.std, fit=manifest.views),
        trained_on=f"profile {trained_by}" if trained_by else "",
    )


def _check(manifest: DetectorManifest, source: str) -> None:
    """Raise ``ValueError`` for an unsupported value."""
    crop = manifest.crop
    view = manifest.view
    choices: list[tuple[str, str, Sequence[str]]] = [
        ("aggregation", manifest.aggregation, tuple(AGGREGATIONS))
    ]
    if crop:
        choices += [
            ("crop.shape", crop.shape, SHAPES),
            ("crop.border", crop.border, BORDERS),
            ("crop.interpolation", crop.interpolation, tuple(INTERPOLATIONS)),
            ("crop.faces", crop.faces, FACES),
        ]
        if (crop.shape == ALIGNED) != (len(crop.template) == 5):
            raise ValueError(f"{source}: crop.template must have five points if aligned, else none")
    if view:
        choices.append(("view.fit", view.fit, FITS))
        choices.append(("view.interpolation", view.interpolation, tuple(INTERPOLATIONS)))
    for key, value, known in choices:
        if value not in known:
            raise ValueError(f"{source}: {key} is {value!r}; known: {', '.join(known)}")
    if len(set(manifest.classes)) != len(manifest.classes) or not (
        manifest.classes == ("fake",) or (len(manifest.classes) > 1 and "real" in manifest.classes)
    ):
        raise ValueError(
            f"{source}: classes are {list(manifest.classes)}; name each output once, with 'real' "
            "among them, or give the one logit 'fake'"
        )
    if view is None and manifest.network != PYTHON:
        raise ValueError(f"{source}: key 'view' is missing: only a python detector does without")
    if Path(manifest.weights.file).name != manifest.weights.file:
        raise ValueError(f"{source}: weights.file must be a file name in the detector's folder")


def _build(cls: Any, values: Any, source: str, key: str) -> Any:
    """Make the dataclass ``cls`` from a JSON object; ``ValueError`` names a wrong key."""
    where = f"{key}." if key else ""
    known = {field.name: field for field in fields(cls)}
    if not isinstance(values, Mapping):
        raise ValueError(f"{source}: {key or 'the file'} must be an object with keys")
    if unknown := sorted(values.keys() - known.keys()):
        raise ValueError(
            f"{source}: key {where + unknown[0]!r} is unknown; known: {', '.join(known)}"
        )
    required = {name for name, field in known.items() if field.default is MISSING}
    if missing := sorted(required - values.keys()):
        raise ValueError(f"{source}: key {where + missing[0]!r} is missing")
    hints = get_type_hints(cls)
    return cls(**{name: _value(hints[name], values[name], source, where + name) for name in values})


def _value(kind: Any, value: Any, source: str, key: str) -> Any:
    """Convert a JSON value to the type ``kind``."""
    if kind in (Crop | None, View | None):
        kind = get_args(kind)[0]
    if is_dataclass(kind):
        return _build(kind, value, source, key)
    if get_args(kind):
        parts = get_args(kind)
        if not isinstance(value, list) or (parts[-1] is not ... and len(value) != len(parts)):
            raise ValueError(f"{source}: {key} must be a list, as in the documentation")
        return tuple(_value(parts[0], item, source, key) for item in value)
    allowed = (int, float) if kind is float else (kind,)
    if not isinstance(value, allowed) or isinstance(value, bool) != (kind is bool):
        raise ValueError(f"{source}: {key} must be {kind.__name__}, not {value!r}")
    return kind(value)


def _plain(value: Any) -> Any:
    """Turn dataclasses and tuples into JSON values; leave out what is the default."""
    if is_dataclass(value):
        chosen = {}
        for field in fields(value):
            content = getattr(value, field.name)
            if content != field.default:
                chosen[field.name] = _plain(content)
        return chosen
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
