"""Tests that the code of each stage covers what ``dvc.yaml`` runs and every change of a number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from deepfake_repro import cli
from deepfake_repro.operations import stage_code
from deepfake_repro.project.code.closure import Code

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))[
    "stages"
]
RUN = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))["run"]
CODES = [
    *(stage for stage in stage_code.STAGES if stage not in stage_code.TRAINING),
    *(f"{stage}/{row}" for stage, rows in stage_code.TRAINING.items() for row in RUN[rows]),
]
TRAINING = {name for name in CODES if "/" in name}


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
    for line, command in zip(
        [lines] if isinstance(lines, str) else lines, stage_code.STAGES[stage], strict=True
    ):
        assert line.split()[: 1 + len(command.split())] == ["${command}", *command.split()]


@pytest.mark.parametrize("stage", stage_code.STAGES)
def test_each_stage_depends_on_its_code_and_its_notebook(stage: str) -> None:
    deps = definition(stage)["deps"]
    row = "/${item.variant}" if stage in stage_code.TRAINING else ""
    assert f"results/code/{stage}{row}.json" in deps
    notebooks = [name for line in stage_code.STAGES[stage] for name in line.split()[1:]]
    assert [dep for dep in deps if dep.startswith("results/.clean/")] == [
        f"results/.clean/{name}.ipynb" for name in notebooks
    ]
    assert not [dep for dep in deps if dep.startswith("src/") and dep.endswith(("/", ".py"))]


@pytest.mark.parametrize("stage", CODES)
def test_the_committed_files_are_those_of_the_committed_code(
    stage: str, today: dict[str, Code]
) -> None:
    committed = json.loads((ROOT / "results" / "code" / f"{stage}.json").read_text())
    assert committed["definitions"] == today[stage].definitions
    assert committed["libraries"] == today[stage].libraries


MUTATIONS = {
    "p_fake": (
        "training/labels.py",
        "return probabilities[:, 1:].sum(1)",
        "return probabilities[:, 1:].max(1)",
    ),
    "cross-entropy": (
        "training/losses.py",
        "return F.cross_entropy(_lift(logits), labels)",
        "return 2 * F.cross_entropy(_lift(logits), labels)",
    ),
    "best threshold": (
        "evaluation/thresholds.py",
        "np.abs(best - 0.5).argmin()",
        "np.abs(best - 0.4).argmin()",
    ),
    "AUC": ("evaluation/metrics.py", "ranks = rankdata(", "ranks = 1 + rankdata("),
    "face detector": (
        "faces/detection.py",
        "self._nms = nms",
        "self._nms = 0.9",
    ),
    "scoring stage": ("evaluation/rows.py", "table.round(4)", "table.round(5)"),
    "sampling": (
        "dataset/sampling.py",
        "import pandas as pd",
        "import pandas as pd\n\npd.options.mode.copy_on_write = True",
    ),
    "threads": (
        "project/machine.py",
        "os.environ.setdefault(name, value)",
        "os.environ.setdefault(name, value.upper())",
    ),
    "a figure": (
        "report/figures.py",
        "import matplotlib",
        "import matplotlib\n\nmatplotlib.use('agg')",
    ),
}
"""Changes of the code: (file, text, new text)."""
REACHED = {
    "p_fake": {"evaluate", "labels", "predict", "robustness", "score_own"},
    "cross-entropy": TRAINING | {"labels"},
    "best threshold": {"calibrate", "controls", "report"},
    "AUC": {
        "audit",
        "controls",
        "evaluate",
        "labels",
        "report",
        "robustness",
        "score",
        "score_own",
    }
    | {name for name in TRAINING if name.startswith(("train_sbi", "train_lnclip"))},
    "face detector": {"crops", "crops_own", "evaluate"},  # evaluate --recrop
    "scoring stage": {"controls", "evaluate", "score", "score_own"},
    "sampling": {"sample"},
    "threads": set(CODES),
    "a figure": {"audit", "labels", "report"},
}
"""Stages whose results each change can alter; the miniatures need no network."""


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_change_of_what_a_number_is_made_of_marks_every_stage_that_can_reach_it(
    what: str, today: dict[str, Code], tmp_path: Path
) -> None:
    path, old, new = MUTATIONS[what]
    source = tmp_path / "deepfake_repro"
    shutil.copytree(
        ROOT / "src" / "deepfake_repro", source, ignore=shutil.ignore_patterns("__pycache__")
    )
    text = (source / path).read_text(encoding="utf-8")
    assert old in text
    (source / path).write_text(text.replace(old, new, 1), encoding="utf-8")
    changed = stage_code.stage_codes(ROOT, cli.functions(), source)
    assert {
        stage for stage in today if changed[stage].digest() != today[stage].digest()
    } == REACHED[what]
