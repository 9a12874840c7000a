"""``params.yaml`` read once into frozen dataclasses; an unknown or missing key is an error naming it.

Every number a reader may want to change stands in ``params.yaml`` and reaches the code through
here. The blocks ``demo``, ``smoke`` and ``paper`` have the same keys: the two doors run the same
code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from .recipes import LnClip, Pretrain, Sbi, Train


@dataclass(frozen=True)
class Run:
    """What *this* ``dvc repro`` does: which profiles, miniature corpora, pre-trainings, rows and seeds."""

    profiles: tuple[str, ...]
    miniatures: tuple[str, ...]
    pretrain: tuple[str, ...]
    variants: tuple[str, ...]
    finetune: tuple[str, ...]
    sbi: tuple[str, ...]
    lnclip: tuple[str, ...]
    calibrate: tuple[str, ...]
    robustness: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Variant:
    """One row of Table 3: its start, its label scheme and its triplet loss (Sections 3.2-3.4)."""

    init: str
    labels: str
    triplet: str
    margin: float
    weight: float


@dataclass(frozen=True)
class Miniature:
    """Size of the embedded benchmark: seconds per clip and real takes per corpus and split."""

    seed: int
    train_seconds: float
    test_seconds: float
    videos: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class IndexOptions:
    """Choices in reading the corpora (Section 4.1; what the paper leaves open is a key here)."""

    compression: str
    composite_category: str
    forgerynet_category: str
    split_seed: int
    forgerynet_validation: float


@dataclass(frozen=True)
class CropOptions:
    """Section 4.1: sampling rate, detector, enlargement and size of the crops; how the work is run."""

    frames_per_second: float
    frames_per_clip: int
    detector: str
    detector_side: int
    min_score: float
    min_side: int
    margin: float
    size: int
    encoding: str
    max_skipped: float
    video_timeout: float
    scheduler: str


@dataclass(frozen=True)
class Sampling:
    """Section 4.1: the balanced training sample."""

    real_to_fake: float
    seed: int


@dataclass(frozen=True)
class Start:
    """Weights each start begins from: a file, or ``timm:<tag>`` (Section 3.2)."""

    imagenet: str
    fsfm: str
    sbi: str


@dataclass(frozen=True)
class Predict:
    """How test crops pass through the network: crops per batch, precision, devices and loader workers of each."""

    batch_size: int
    precision: str
    devices: int
    workers: int


@dataclass(frozen=True)
class Scoring:
    """Section 4.3: decision threshold; bootstrap draws for intervals."""

    threshold: float
    bootstrap: int


@dataclass(frozen=True)
class Robustness:
    """The robustness study: test sets (none: all), crops of each video (0: all), severities of each perturbation."""

    sets: tuple[str, ...]
    crops_per_video: int
    severities: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Profile:
    """Everything one door needs: ``demo``, ``smoke`` or ``paper``."""

    index: IndexOptions
    crops: CropOptions
    sampling: Sampling
    start: Start
    pretrain: Pretrain
    train: Train
    sbi: Sbi
    lnclip: LnClip
    predict: Predict
    scoring: Scoring
    robustness: Robustness


@dataclass(frozen=True)
class Study:
    """A side study: the same pipeline for some rows and seeds, once for each option's values of ``params.yaml``."""

    question: str
    profile: str
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    options: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Rehearsal:
    """``make rehearse``: the paper profile on miniature corpora, with ``values`` of ``params.yaml`` in place of its own.

    ``without_gpu``: further values where there is no GPU.
    """

    miniatures: str
    values: Mapping[str, Any]
    without_gpu: Mapping[str, Any]


@dataclass(frozen=True)
class Params:
    """The whole of ``params.yaml``."""

    run: Run
    variants: Mapping[str, Variant]
    miniatures: Mapping[str, Miniature]
    profiles: Mapping[str, Profile]
    studies: Mapping[str, Study]
    rehearsal: Rehearsal

    def profile(self, name: str) -> Profile:
        """The profile called ``name``; an unknown name is an error listing the known ones."""
        return _lookup(self.profiles, name, "profile")

    def variant(self, name: str) -> Variant:
        """The row of Table 3 called ``name``; an unknown name is an error listing the known ones."""
        return _lookup(self.variants, name, "variant")

    def study(self, name: str) -> Study:
        """The side study called ``name``."""
        return _lookup(self.studies, name, "study")

    def miniature(self, name: str) -> Miniature:
        """The size of the miniature corpora called ``name``."""
        return _lookup(self.miniatures, name, "miniature")


PROFILES = ("demo", "smoke", "paper")
SHARED = ("common", "small")
"""Blocks that hold values for several profiles, which take them by YAML merge keys."""


def root() -> Path:
    """The repository root: the nearest folder at or above the working directory with a ``dvc.yaml``.

    Papermill runs in the root and JupyterLab in ``notebooks/``; both find the same place without
    ``chdir``.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no dvc.yaml at or above {here}: start from inside the repository")


def read_yaml(path: Path) -> Any:
    """Content of a YAML 1.2 file; ``ValueError`` names the file and the line that is broken."""
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        problem = str(error.problem).splitlines()[0]
        raise ValueError(
            f"{path.name} line {error.problem_mark.line + 1} is no valid YAML: {problem}"
        ) from None


def load(path: Path | None = None) -> Params:
    """Read ``params.yaml`` (YAML 1.2, as DVC does); ``ValueError`` names the first wrong key."""
    path = path or root() / "params.yaml"
    raw = read_yaml(path)
    expected = {"run", "variants", "miniatures", "studies", "rehearsal", *SHARED, *PROFILES}
    _check_keys(raw, expected, path.name)
    return Params(
        run=_build(Run, raw["run"], "run"),
        variants=_value(Mapping[str, Variant], raw["variants"], "variants"),
        miniatures=_value(Mapping[str, Miniature], raw["miniatures"], "miniatures"),
        profiles={name: _build(Profile, raw[name], name) for name in PROFILES},
        studies=_value(Mapping[str, Study], raw["studies"], "studies"),
        rehearsal=_build(Rehearsal, raw["rehearsal"], "rehearsal"),
    )


def _lookup(table: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}; params.yaml knows {', '.join(table)}")
    return table[name]


def _check_keys(found: Mapping[str, Any], expected: set[str], where: str) -> None:
    if not isinstance(found, Mapping):
        raise ValueError(
            f"params.yaml: {where} must hold the keys {', '.join(sorted(expected))}, found {found!r}"
        )
    if unknown := sorted(set(found) - expected):
        raise ValueError(
            f"params.yaml: unknown key {where}.{unknown[0]}; known: {', '.join(sorted(expected))}"
        )
    if missing := sorted(expected - set(found)):
        raise ValueError(f"params.yaml: missing key {where}.{missing[0]}")


def _build(cls: type, raw: Mapping[str, Any], where: str) -> Any:
    """An instance of the dataclass ``cls`` from a mapping with exactly its fields, types checked."""
    _check_keys(raw, {f.name for f in fields(cls)}, where)
    hints = get_type_hints(cls)
    return cls(**{name: _value(hints[name], raw[name], f"{where}.{name}") for name in hints})


def _value(kind: Any, raw: Any, where: str) -> Any:
    if is_dataclass(kind):
        return _build(kind, raw, where)
    if get_origin(kind) is tuple:
        if not isinstance(raw, Sequence) or isinstance(raw, str):
            raise ValueError(f"params.yaml: {where} must be a list, found {raw!r}")
        return tuple(_value(get_args(kind)[0], item, where) for item in raw)
    if get_origin(kind) is Mapping:
        if not isinstance(raw, Mapping):
            raise ValueError(f"params.yaml: {where} must be a mapping, found {raw!r}")
        return {key: _value(get_args(kind)[1], item, f"{where}.{key}") for key, item in raw.items()}
    if kind is Any:
        return raw
    allowed = (int, float) if kind is float else (kind,)
    if not isinstance(raw, allowed) or isinstance(raw, bool) != (kind is bool):
        raise ValueError(f"params.yaml: {where} must be {kind.__name__}, found {raw!r}")
    return kind(raw)
