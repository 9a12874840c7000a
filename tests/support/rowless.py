"""Copies of a checkout as it was before its rows ran."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ruamel.yaml import YAML

from deepfake_repro.operations.parallel import read_pipeline
from support.clones import dvc

OF_ROWS = ("weights", "predictions", "runs", "calibration", "robustness", "report")
"""Folders of ``results/smoke`` that the rows and the report write."""


def without_rows(done: Path, target: Path) -> Path:
    """Copy a checkout as it was before its rows ran; its cache has only what they need."""
    shutil.copytree(done, target, symlinks=True, ignore=shutil.ignore_patterns(".scratch"))
    for name in OF_ROWS:
        shutil.rmtree(target / "results" / "smoke" / name, ignore_errors=True)
    lock = YAML().load(target / "dvc.lock")
    for stage in [*lock["stages"]]:
        kind, _, item = stage.partition("@")
        if (item.startswith("smoke-") and item.count("-") > 1) or kind == "report":
            del lock["stages"][stage]
    YAML().dump(lock, target / "dvc.lock")
    shared = dvc(target, "cache", "dir").stdout.strip()
    dvc(target, "cache", "dir", "--local", str(target / ".dvc" / "own-cache"))
    dvc(target, "remote", "add", "--local", "shared", shared)
    pipeline = read_pipeline(target)  # the lock also has stages of the demo
    stages = [entry for stage, entry in lock["stages"].items() if stage in pipeline]
    outs = [out["path"] for stage in stages for out in stage["outs"]]
    needed = [path for path in outs if path.startswith(("data/", "results/.clean"))]
    fetched = dvc(target, "fetch", "--remote", "shared", *needed)
    assert fetched.returncode == 0, fetched.stderr
    nobody = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
    subprocess.run(
        ["git", *nobody, "commit", "--quiet", "--all", "--message", "smoke"], cwd=target, check=True
    )
    return target
