"""The manifest of a detector, ``model.json``: what a program must know to use its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from ..project.params import Variant
from ..project.recipes import LnClip, Sbi, Train
from ..project.vocabulary import LNCLIP
from .transforms import Normalisation, Transform, channels, evaluation_transform


@dataclass(frozen=True)
class Manifest:
    """Network, classes, inputs and training of a detector.

    ``views`` is the kind of its evaluation views, and of its augmentation in training; ``mean`` and
    ``std`` normalise its inputs. ``variant`` and ``train`` are the parameters of its training;
    ``trained_by`` (a profile) and ``weights_sha256`` are added by ``export-model``. What is None is
    not written.
    """

    architecture: str
    depth: int
    input_size: int
    views: str
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    best_epoch: int | None = None
    method: str | None = None
    variant: dict[str, Any] | None = None
    train: dict[str, Any] | None = None
    trained_by: str | None = None
    weights_sha256: str | None = None

    @classmethod
    def of_run(
        cls,
        recipe: Train | Sbi | LnClip,
        classes: tuple[str, ...],
        normalisation: Normalisation,
        best_epoch: int,
        *,
        variant: Variant | None = None,
        method: str | None = None,
    ) -> Manifest:
        """Describe the detector that a run of ``recipe`` has trained."""
        return cls(
            architecture=recipe.architecture,
            depth=recipe.depth,
            input_size=recipe.input_size,
            views=recipe.augmentation,
            classes=classes,
            mean=normalisation.mean,
            std=normalisation.std,
            best_epoch=best_epoch,
            method=method,
            variant=_chosen(variant) if variant else None,
            train=asdict(recipe),
        )

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a ``model.json``; ``ValueError`` naming the file if it is not a manifest."""
        try:
            values = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: not valid JSON ({error}); export the model again") from None
        if not isinstance(values, dict):
            raise ValueError(f"{path}: not a JSON object; export the model again")
        return cls.from_json(values, str(path))

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str) -> Manifest:
        """Make a manifest from the values in a ``model.json``; ``source`` names the file in errors.

        Raises ``ValueError`` naming a key that is missing or unknown.
        """
        required = {field.name for field in fields(cls) if field.default is MISSING}
        if missing := sorted(required - values.keys()):
            raise ValueError(f"{source}: key {missing[0]!r} is missing; export the model again")
        if unknown := sorted(values.keys() - {field.name for field in fields(cls)}):
            raise ValueError(f"{source}: key {unknown[0]!r} is unknown; remove it")
        sequences = {
            "classes": tuple(values["classes"]),
            "mean": channels(values["mean"]),
            "std": channels(values["std"]),
        }
        return cls(**{**values, **sequences})

    def as_json(self) -> dict[str, Any]:
        """Return the plain values that ``model.json`` contains."""
        names = ["method", *(field.name for field in fields(self))]  # the method comes first
        values = {name: getattr(self, name) for name in names}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
            if value is not None
        }

    @property
    def normalisation(self) -> Normalisation:
        """Mean and standard deviation of the inputs."""
        return Normalisation(self.mean, self.std)

    @property
    def transform(self) -> Transform:
        """Turn a crop into the fixed views that the detector sees in evaluation."""
        return evaluation_transform(self.views, self.input_size, self.normalisation)

    @property
    def on_sphere(self) -> bool:
        """True if the embeddings are points on the unit hypersphere, as LNCLIP-DF's are."""
        return self.method == LNCLIP


def _chosen(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults, also inside."""
    chosen = {}
    for each in fields(value):
        content = getattr(value, each.name)
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if content != default:
            chosen[each.name] = _chosen(content) if is_dataclass(content) else content
    return chosen
