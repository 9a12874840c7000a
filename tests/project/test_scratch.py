"""Tests that only changes of what a run uses rename its scratch folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = """
from deepfake_repro.evaluation.prediction import predict_row
from deepfake_repro.methods.finetune.run import train_row
from deepfake_repro.project.code.closure import code_digest
print(code_digest(train_row), code_digest(predict_row))
"""


def digests(source: Path) -> list[str]:
    """Code digests of training and prediction, as a process with the package in ``source`` computes
    them.
    """
    command = [sys.executable, "-c", NAMES]
    result = subprocess.run(
        command, env={"PYTHONPATH": str(source)}, capture_output=True, text=True, check=True
    )
    return result.stdout.split()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    shutil.copytree(
        ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    return tmp_path / "src"


def change(package: Path, name: str, old: str, new: str) -> None:
    path = package / "deepfake_repro" / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_only_what_a_run_uses_names_its_scratch_folder(package: Path) -> None:
    before = digests(package)
    change(
        package,
        "report/tables.py",
        "from __future__ import annotations",
        "from __future__ import annotations\n\nNEW = 1",
    )
    change(package, "training/losses.py", '"""', '"""Better prose. ')
    (package / "deepfake_repro" / "corpora" / "adapters" / "another.py").write_text(
        "NAME = 'another'\n"
    )
    assert digests(package) == before
    change(package, "training/losses.py", "return F.cross_entropy(", "return 2 * F.cross_entropy(")
    training, prediction = digests(package)
    assert training != before[0] and prediction == before[1]
