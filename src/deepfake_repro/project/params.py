"""Load ``params.yaml`` into frozen dataclasses and reject unknown or missing keys.

Every number that a reader may want to change is in ``params.yaml`` and reaches the code from here.
The profiles have the same keys, because they run the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from .layout import Layout
from .recipes import (
    BLOCKS,
    LNCLIP,
    METHODS,
    Corpora,
    CropOptions,
    IndexOptions,
    LabelCurve,
    LnClip,
    Miniature,
    Predict,
    Pretrain,
    Reporting,
    Robustness,
    Sampling,
    Sbi,
    Scoring,
    Start,
    Train,
    Variant,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """Profiles, miniature corpora, pre-trainings, rows and seeds that ``dvc repro`` runs."""

    profiles: tuple[str, ...]
    miniatures: tuple[str, ...]
    audit: tuple[str, ...]
    pretrain: tuple[str, ...]
    variants: tuple[str, ...]
    finetune: tuple[str, ...]
    sbi: tuple[str, ...]
    lnclip: tuple[str, ...]
    calibrate: tuple[str, ...]
    robustness: tuple[str, ...]
    seeds: tuple[int, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cpu:
    """What processors may use, so that different ones compute the same (``project.machine``).

    ``threads``: per process, 0 for one per core; ``level``: the newest instructions, ``avx2``, or
    ``native`` for all that the processor has.
    """

    threads: int
    level: str


@dataclass(frozen=True)
class Profile:
    """All options of one profile, one of ``PROFILES``."""

    cpu: Cpu
    accelerator: str
    corpora: Corpora
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
    report: Reporting
    robustness: Robustness
    labels: LabelCurve

    @property
    def layout(self) -> Layout:
        """Columns of this profile's table of results."""
        return Layout(self.corpora.table)


@dataclass(frozen=True)
class Study:
    """A side study: the pipeline for some rows and seeds, run once per option.

    ``options``: option -> values that replace those of ``params.yaml``, by dotted key. ``stage``:
    the last one that is run, ``score`` for each row and seed, or ``labels``.
    """

    question: str
    profile: str
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    options: Mapping[str, Mapping[str, Any]]
    stage: str = "score"


@dataclass(frozen=True)
class Rehearsal:
    """Changes to the paper profile for ``make rehearse``, which runs it on miniature corpora.

    ``values``: replacements in ``params.yaml`` by dotted key; ``without_gpu``: more of them for a
    machine without a GPU.
    """

    miniatures: str
    values: Mapping[str, Any]
    without_gpu: Mapping[str, Any]


@dataclass(frozen=True)
class Params:
    """Content of ``params.yaml``; ``run`` is one of ``known_runs``."""

    run: Run
    known_runs: Mapping[str, Run]
    variants: Mapping[str, Variant]
    miniatures: Mapping[str, Miniature]
    profiles: Mapping[str, Profile]
    studies: Mapping[str, Study]
    rehearsal: Rehearsal

    def profile(self, name: str, row: str = "") -> Profile:
        """Return a profile, with the values of ``row`` in place of its own if one is given.

        Raises ``ValueError`` for an unknown profile or row, listing the known ones.
        """
        options = _lookup(self.profiles, name, "profile")
        return _of_row(options, self.variant(row), name, row) if row else options

    def variant(self, name: str) -> Variant:
        """Return a row of Table 3; ``ValueError`` lists the rows if there is none of this name."""
        return _lookup(self.variants, name, "variant")

    @property
    def row_names(self) -> dict[str, str]:
        """Printed names of all rows by key, in their order."""
        return {key: row.name for key, row in self.variants.items()}

    @property
    def paper_rows(self) -> tuple[str, ...]:
        """The rows of the paper's own Table 3."""
        return tuple(key for key, row in self.variants.items() if row.in_paper)

    @property
    def rows_of_run(self) -> tuple[str, ...]:
        """The rows that ``run`` trains, scores and reports, in the order of ``variants``."""
        return tuple(key for key in self.variants if key in self.run.variants)

    @property
    def runs(self) -> tuple[str, ...]:
        """Names ``<row>-<seed>`` of the runs of ``run``, by row, then seed."""
        return self.runs_of(self.run)

    def runs_of(self, run: Run) -> tuple[str, ...]:
        """Return the names ``<row>-<seed>`` of the runs of one of ``known_runs``."""
        rows = [key for key in self.variants if key in run.variants]
        return tuple(f"{row}-{seed}" for row in rows for seed in run.seeds)

    def method_of(self, row: str) -> str:
        """Return the method that trains a row."""
        return self.variant(row).method

    def study(self, name: str) -> Study:
        """Return a side study; ``ValueError`` lists the studies if there is none of this name."""
        return _lookup(self.studies, name, "study")

    def miniature(self, name: str) -> Miniature:
        """Return the size of a set of miniature corpora; ``ValueError`` lists the sets."""
        return _lookup(self.miniatures, name, "miniature")


PROFILES = ("demo", "smoke", "open", "paper")
SHARED = ("common", "small")
"""Blocks with values that several profiles merge by YAML merge keys."""


def root() -> Path:
    """Return the repository root: the nearest folder with a ``dvc.yaml``, upwards from here.

    Papermill runs in the root and JupyterLab in ``notebooks/``; both get the same root without
    ``chdir``. Raises ``FileNotFoundError`` outside the repository.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no dvc.yaml in or above {here}: run this inside the repository")


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file; ``ValueError`` names the file and the line with the error."""
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        problem = str(error.problem).splitlines()[0]
        raise ValueError(f"{path.name} line {line} is not valid YAML: {problem}") from None


def load(path: Path | None = None) -> Params:
    """Load ``params.yaml`` (YAML 1.2, as DVC does); ``ValueError`` names the first wrong key."""
    path = path or root() / "params.yaml"
    raw = read_yaml(path)
    expected = {"runs", "run", "variants", "miniatures", "studies", "rehearsal", *SHARED, *PROFILES}
    _check_keys(raw, expected, path.name)
    params = Params(
        run=_build(Run, raw["run"], "run"),
        known_runs=_value(Mapping[str, Run], raw["runs"], "runs"),
        variants=_value(Mapping[str, Variant], raw["variants"], "variants"),
        miniatures=_value(Mapping[str, Miniature], raw["miniatures"], "miniatures"),
        profiles={name: _build(Profile, raw[name], name) for name in PROFILES},
        studies=_value(Mapping[str, Study], raw["studies"], "studies"),
        rehearsal=_build(Rehearsal, raw["rehearsal"], "rehearsal"),
    )
    _check_rows(params)
    return params


def current() -> Params:
    """Load ``params.yaml`` of this repository, once until the file changes."""
    path = root() / "params.yaml"
    return _load_once(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _load_once(path: Path, changed: int) -> Params:
    """Load ``path`` as it was at the time ``changed``."""
    return load(path)


def _check_rows(params: Params) -> None:
    """Raise ``ValueError`` for an incomplete row, and for one that ``run`` does not train once."""
    for key, row in params.variants.items():
        _check_row(params, key, row)
    for method in METHODS:
        for key in getattr(params.run, method):
            if (right := params.variant(key).method) != method:
                raise ValueError(
                    f"params.yaml: run.{method} lists {key!r}, whose method is {right}: "
                    f"move it to run.{right}"
                )
    for key in params.run.variants:
        method = params.variant(key).method
        if key not in getattr(params.run, method):
            raise ValueError(
                f"params.yaml: run.variants lists {key!r}, which nothing trains: "
                f"add it to run.{method}"
            )
    for stage in ("calibrate", "robustness"):
        for key in getattr(params.run, stage):
            if key not in params.run.variants:
                raise ValueError(
                    f"params.yaml: run.{stage} lists {key!r}, which run.variants does not: "
                    f"add it there or remove it from run.{stage}"
                )


def _check_row(params: Params, key: str, row: Variant) -> None:
    """Raise ``ValueError`` for an unknown method, start or profile of a row, or a wrong value."""
    if row.method not in METHODS:
        raise ValueError(
            f"params.yaml: variants.{key}.method is {row.method!r}; known: {', '.join(METHODS)}"
        )
    starts = [each.name for each in fields(Start)]
    if row.method != LNCLIP and row.init not in starts:
        raise ValueError(
            f"params.yaml: variants.{key}.init is {row.init!r}; known: {', '.join(starts)}"
        )
    for name in (*PROFILES, *row.profiles):
        params.profile(name, key)


def _of_row(options: Profile, row: Variant, profile: str, key: str) -> Profile:
    """Return ``options`` with a row's own values; ``ValueError`` names one that does not exist."""
    values = {**row.backbone, **row.profiles.get(profile, {})}
    where = f"variants.{key}.backbone or .profiles.{profile}"
    if "start" in values and row.method != LNCLIP:
        source = _value(str, values.pop("start"), f"{where}.start")
        options = replace(options, start=replace(options.start, **{row.init: source}))
    block = BLOCKS[row.method]
    recipe = getattr(options, block)
    types = get_type_hints(type(recipe))
    for name, value in values.items():
        if name not in types:
            raise ValueError(
                f"params.yaml: unknown key {name} in {where}; valid keys: start, {', '.join(types)}"
            )
        recipe = replace(recipe, **{name: _value(types[name], value, f"{where}.{name}")})
    return replace(options, **{block: recipe})


def _lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; params.yaml has {', '.join(table)}")
    return table[name]


def _check_keys(
    raw: Mapping[str, Any], expected: set[str], key: str, optional: set[str] | None = None
) -> None:
    names = ", ".join(sorted(expected))
    if not isinstance(raw, Mapping):
        raise ValueError(f"params.yaml: {key} must have the keys {names}, not {raw!r}")
    unknown = sorted(set(raw) - expected)
    if unknown:
        raise ValueError(f"params.yaml: unknown key {key}.{unknown[0]}; valid keys: {names}")
    missing = sorted(expected - set(raw) - (optional or set()))
    if missing:
        raise ValueError(f"params.yaml: missing key {key}.{missing[0]}")


def _build(cls: type, raw: Mapping[str, Any], key: str) -> Any:
    """Return an instance of the dataclass ``cls`` from a mapping with its fields.

    Only fields with a default may be missing.
    """
    optional = {
        each.name
        for each in fields(cls)
        if each.default is not MISSING or each.default_factory is not MISSING
    }
    _check_keys(raw, {each.name for each in fields(cls)}, key, optional)
    types = get_type_hints(cls)
    values = {
        name: _value(types[name], raw[name], f"{key}.{name}") for name in types if name in raw
    }
    return cls(**values)


def _value(kind: Any, raw: Any, key: str) -> Any:
    """Convert a value of ``params.yaml`` to the type ``kind``; ``ValueError`` names its ``key``."""
    if isinstance(kind, type) and is_dataclass(kind):
        return _build(kind, raw, key)
    if get_origin(kind) is tuple:
        if not isinstance(raw, Sequence) or isinstance(raw, str):
            raise ValueError(f"params.yaml: {key} must be a list, not {raw!r}")
        return tuple(_value(get_args(kind)[0], item, key) for item in raw)
    if get_origin(kind) is Mapping:
        if not isinstance(raw, Mapping):
            raise ValueError(f"params.yaml: {key} must be a mapping, not {raw!r}")
        item_kind = get_args(kind)[1]
        return {name: _value(item_kind, item, f"{key}.{name}") for name, item in raw.items()}
    if kind is Any:
        return raw
    allowed = (int, float) if kind is float else (kind,)
    if not isinstance(raw, allowed) or isinstance(raw, bool) != (kind is bool):
        raise ValueError(f"params.yaml: {key} must be {kind.__name__}, not {raw!r}")
    return kind(raw)
