"""Write the code behind each stage of the pipeline to a file, the code dependency in ``dvc.yaml``.

``results/code/<stage>.json``, or ``<stage>/<row>.json`` of a training stage, lists every definition
that the stage can reach, with a hash that ignores docstrings, comments and formatting. So a stage
cannot miss a change of its code, and a change of prose reruns nothing. The files are in git: their
diff between two commits shows why a stage reruns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..project.code.closure import SOURCE, Closure, Code
from ..project.machine import pin
from ..project.notebooks import clean
from ..project.params import PROFILES, read_yaml

NOTEBOOK = "notebook"
"""The command that executes a notebook of the pipeline."""
STAGES: Mapping[str, tuple[str, ...]] = {
    "assets": ("assets",),
    "miniatures": ("miniatures",),
    "index": ("index",),
    "crops": ("notebook 02_crops",),
    "audit": ("audit",),
    "controls": ("controls",),
    "sample": ("notebook 03_sampling",),
    "pretrain": ("notebook 03b_pretrain",),
    "counts": ("counts",),
    "landmarks": ("landmarks",),
    "train": ("notebook 05_finetune",),
    "train_sbi": ("notebook 05b_sbi",),
    "train_lnclip": ("notebook 09_layernorm_clip",),
    "predict": ("notebook 06_predict",),
    "score": ("score-row",),
    "index_own": ("index",),
    "crops_own": ("notebook 02_crops",),
    "score_own": ("score-own",),
    "calibrate": ("calibrate",),
    "robustness": ("robustness",),
    "evaluate": ("evaluate",),
    "labels": ("labels",),
    "report": ("notebook 07_results", "weave", "html"),
}
"""Commands that each stage runs; DVC does not let ``dvc.yaml`` itself be a dependency."""
TRAINING = {"train": "finetune", "train_sbi": "sbi", "train_lnclip": "lnclip"}
"""Training stages and the list of their rows under ``run`` in ``params.yaml``. A row depends on its
own loss, not on those of other rows."""
DRAWING = ("report.figures", "report.method_figures", "teaching.figures")
"""Modules that draw the pictures in executed notebooks: a new colour retrains nothing."""
LOADER = ("project.params",)
"""What reads ``params.yaml``: the values are dependencies of the stages, so a new option or check
retrains nothing. Defaults and recipes are in ``project.recipes`` and count. How a row's own values
replace those of its profile is here and does not: tests check it."""
DRAWING_STAGES = ("report", "audit", "labels")
"""Stages whose products are pictures: for them drawing counts too."""

Command = Callable[..., Any]


def write_stage_code(base: Path, functions: Mapping[str, Command]) -> None:
    """Write the code of every stage, and the notebooks that the stages execute without their prose.

    ``functions``: the function behind each command of the command line.
    """
    for stage, code in stage_codes(base, functions).items():
        file = base / "results" / "code" / f"{stage}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code.as_json(), encoding="utf-8")
    for name in executed_notebooks():
        clean(base / "notebooks" / f"{name}.ipynb", base / "results" / ".clean" / f"{name}.ipynb")


def stage_codes(
    base: Path, functions: Mapping[str, Command], source: Path = SOURCE
) -> dict[str, Code]:
    """Return what each stage can reach, a training stage for each row: ``train/fsfm_ba``.

    ``source``: folder of the package.
    """
    values = read_yaml(base / "params.yaml")
    shared = set(_texts([values[name] for name in PROFILES]))
    lock = base / "requirements.lock"
    whole = Closure(source, lock, LOADER, shared)
    numbers = Closure(source, lock, (*DRAWING, *LOADER), shared)
    codes = {}
    for stage in STAGES:
        if stage in TRAINING:
            for row in values["run"][TRAINING[stage]]:
                own = numbers.choosing(shared | set(_texts(values["variants"][row])))
                codes[f"{stage}/{row}"] = _code_of(base, stage, own, functions)
        else:
            closure = whole if stage in DRAWING_STAGES else numbers
            codes[stage] = _code_of(base, stage, closure, functions)
    return codes


def _texts(value: object) -> Iterator[str]:
    """Yield all texts among the values of ``params.yaml``: the choices that it makes by name."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _code_of(base: Path, stage: str, closure: Closure, functions: Mapping[str, Command]) -> Code:
    """Return the code of a stage's commands, and what every command does first."""
    commands = [
        code for command in STAGES[stage] for code in _codes(base, command, closure, functions)
    ]
    return Code.union([closure.of_function(pin), *commands])


def executed_notebooks() -> list[str]:
    """Return the names of all notebooks that the stages execute."""
    words = [command.split() for commands in STAGES.values() for command in commands]
    return [name for command, *names in words if command == NOTEBOOK for name in names]


def _codes(
    base: Path, command: str, closure: Closure, functions: Mapping[str, Command]
) -> Iterator[Code]:
    """Yield the code of a command's function, and of the notebook that it executes."""
    name, *notebooks = command.split()
    yield closure.of_function(functions[name])
    for notebook in notebooks:
        content = json.loads((base / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))
        cells = (
            "".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"
        )
        yield closure.of_text("\n".join(cells))
