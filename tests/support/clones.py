"""Fresh clones of this repository, with the environment of this test run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_repro.operations.parallel import run_pipeline

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = ("sbi", "imagenet", "fsfm_category_ba", "lnclip")


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run DVC in ``folder`` with this environment's tools first in the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": "src"}
    return subprocess.run(
        ["dvc", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def clone(target: Path) -> Path:
    """A fresh clone of what is committed, with no data and no DVC cache; of an unpacked archive,
    of its files.
    """
    if (REPOSITORY / ".git").exists():
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(target)], check=True)
        return target
    nobody = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
    subprocess.run(["git", "init", "--quiet", str(target)], check=True)
    git = ["git", *nobody, f"--git-dir={target / '.git'}", f"--work-tree={REPOSITORY}"]
    subprocess.run([*git, "add", "--all"], cwd=REPOSITORY, check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "archive"], cwd=REPOSITORY, check=True)
    subprocess.run(["git", "reset", "--quiet", "--hard"], cwd=target, check=True)
    return target


def make_smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the smoke profile has run; the assets come from this cache
    if it has them.
    """
    folder = clone(tmp_path_factory.mktemp("smoke") / "clone")
    params = (folder / "params.yaml").read_text()
    for key in ("profiles", "miniatures", "audit", "pretrain"):
        params = params.replace(f"{key}: [demo]", f"{key}: [smoke]")
    params = params.replace("calibrate: [fsfm_ba]", "calibrate: [fsfm_category_ba]")
    rows = [
        line
        for line in params.splitlines()
        if line.strip().startswith("- ") and line.strip()[2:] not in ROWS
    ]
    (folder / "params.yaml").write_text(
        "\n".join(line for line in params.splitlines() if line not in rows) + "\n"
    )
    dvc(folder, "config", "--local", "cache.dir", str(REPOSITORY / ".dvc" / "cache"))
    assert run_pipeline(folder) == 0, "the output of the stage that failed is above"
    return folder
