"""The code of each stage: what ``dvc.yaml`` runs is what is hashed, and no change of a number can be missed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from deepfake_repro import cli
from deepfake_repro.operations import stage_code
from deepfake_repro.project.closure import Code

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
WITH_PREDICTIONS = {"predict", "robustness"}
TRAINING = {"train", "train_sbi", "train_lnclip"}


@pytest.fixture(scope="module")
def today() -> dict[str, Code]:
    return stage_code.stage_codes(ROOT, cli.functions())


def definition(stage: str) -> dict:
    return PIPELINE[stage].get("do", PIPELINE[stage])


def test_the_stages_are_those_of_the_pipeline() -> None:
    assert set(PIPELINE) - {"code"} == set(stage_code.STAGES)


@pytest.mark.parametrize("stage", stage_code.STAGES)
def test_the_code_is_that_of_the_commands_which_the_stage_runs(stage: str) -> None:
    lines = definition(stage)["cmd"]
    for line, command in zip([lines] if isinstance(lines, str) else lines, stage_code.STAGES[stage], strict=True):
        assert line.split()[: 1 + len(command.split())] == ["${command}", *command.split()]


@pytest.mark.parametrize("stage", stage_code.STAGES)
def test_each_stage_depends_on_its_code_and_its_notebook(stage: str) -> None:
    deps = definition(stage)["deps"]
    assert f"results/code/{stage}.json" in deps
    notebooks = [name for line in stage_code.STAGES[stage] for name in line.split()[1:]]
    assert [dep for dep in deps if dep.startswith("results/.clean/")] == [
        f"results/.clean/{name}.ipynb" for name in notebooks
    ]
    assert not [dep for dep in deps if dep.startswith("src/")]


@pytest.mark.parametrize("stage", stage_code.STAGES)
def test_the_committed_files_are_those_of_the_committed_code(stage: str, today: dict[str, Code]) -> None:
    committed = json.loads((ROOT / "results" / "code" / f"{stage}.json").read_text())
    assert committed["definitions"] == today[stage].definitions
    assert committed["libraries"] == today[stage].libraries


def of_module(codes: dict[str, Code], name: str) -> set[str]:
    """Stages that can reach the definition ``module:name``."""
    return {stage for stage, code in codes.items() if f"deepfake_repro.{name}" in code.definitions}


@pytest.mark.parametrize(
    ("path", "old", "new", "stages"),
    [
        ("training/labels.py", "REPLACED", "", WITH_PREDICTIONS),
    ],
)
def test_placeholder(path: str, old: str, new: str, stages: set[str]) -> None:
    assert path and stages
