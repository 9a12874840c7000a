"""Side studies: the same pipeline with other values of ``params.yaml``, beside the main results.

Each option of a study runs ``dvc repro`` in a clone of the committed repository whose ``params.yaml`` has the option's
values. Clone and repository share the DVC cache, so that only what the values change is computed, and an interrupted
study goes on where it stopped. What a reader needs is copied to ``results/studies/<study>/<option>/<row>-<seed>/``.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from .params import load, read_yaml
from .provenance import has_history
from .side_runs import Study

KEPT = ("scores.json", "history.csv")
SOURCE = "src"  # a clone runs its own code
RECORD = "study.json"


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """``params.yaml`` with ``values`` (dotted key -> value) put in; comments and anchors stay.

    Raises ``ValueError`` for a key that the file does not have.
    """
    yaml = YAML()
    content = yaml.load(text)
    for dotted, value in values.items():
        *parents, last = dotted.split(".")
        block = content
        for name in parents:
            block = block.get(name, {}) if isinstance(block, Mapping) else {}
        if not isinstance(block, Mapping) or last not in block:
            raise ValueError(f"params.yaml: studies change {dotted!r}, which is no key of the file")
        block[last] = value
    out = io.StringIO()
    yaml.dump(content, out)
    return out.getvalue()


def run_study(base: Path, name: str) -> Path:
    """Run every option of study ``name`` and collect its rows; returns the folder of the study's results.

    Raises ``ValueError`` if ``dvc repro`` of an option fails, or for work that is not committed: a study is of
    a commit.
    """
    study = load(base / "params.yaml").study(name)
    demand_committed(base, f"study {name}")
    out = base / "results" / "studies" / name
    for number, (option, values) in enumerate(study.options.items(), start=1):
        print(f"study {name}, option {number}/{len(study.options)}: {option}", flush=True)
        clone = clone_of(base, f"{name}-{option}", base / ".dvc" / "cache")
        run = {"run.profiles": [study.profile], "run.variants": list(study.rows), "run.seeds": list(study.seeds)}
        file = clone / "params.yaml"
        file.write_text(with_values(file.read_text(), {**run, **values}))
        if dvc(clone, "repro", "score"):
            raise ValueError(f"study {name}: option {option} failed, see above; it goes on from there when started again")
        _collect(clone / "results" / study.profile / "runs", out / option, study)
    (out / RECORD).write_text(json.dumps({"made_from": ingredients(base, study)}, indent=2) + "\n")
    return out


def ingredients(base: Path, study: Study) -> dict[str, str]:
    """Hash of everything that the study's rows are trained from, by path, as the committed ``dvc.lock`` has it."""
    stages = read_yaml(base / "dvc.lock")["stages"]
    found = {}
    for stage, entry in stages.items():
        name, _, item = stage.partition("@")
        if name.startswith(("train", "predict")) and item.startswith(f"{study.profile}-{study.rows[0]}-"):
            found |= {dep["path"]: dep["md5"] for dep in entry["deps"] if "/weights/" not in dep["path"]}
    return dict(sorted(found.items()))


def is_current(base: Path, name: str) -> bool:
    """True if the study's results were made from the code and data of the committed ``dvc.lock``."""
    record = base / "results" / "studies" / name / RECORD
    study = load(base / "params.yaml").study(name)
    return record.is_file() and json.loads(record.read_text())["made_from"] == ingredients(base, study)


def demand_committed(base: Path, what: str) -> None:
    """Raise ``ValueError`` for changes that are not committed: ``what`` runs in a clone, which would not have them."""
    if not has_history(base):
        raise ValueError(f"{what}: this folder has no git history (an unpacked archive), and what is committed is run in "
                         "a clone; run git init && git add -A && git commit -m archive")
    if _git(base, "status", "--porcelain", "--untracked-files=no"):
        raise ValueError(f"{what}: commit your changes first; it runs in a clone of what is committed")


def clone_of(base: Path, name: str, cache: Path) -> Path:
    """A clone of the committed state with the DVC cache ``cache``; one that was begun before is kept and brought up.

    Its ``params.yaml`` and ``dvc.lock`` are the committed ones. A relative ``cache`` lies in the clone.
    """
    clone = base / ".scratch" / "studies" / name
    if not clone.is_dir():
        _git(base, "clone", "--quiet", "--shared", str(base), str(clone))
    _git(clone, "checkout", "--quiet", "--force", "--detach", _git(base, "rev-parse", "HEAD"))
    dvc(clone, "config", "--local", "cache.dir", str(cache))
    return clone


def _collect(runs: Path, out: Path, study: Study) -> None:
    for row in study.rows:
        for seed in study.seeds:
            target = out / f"{row}-{seed}"
            target.mkdir(parents=True, exist_ok=True)
            for name in KEPT:
                shutil.copyfile(runs / f"{row}-{seed}" / name, target / name)


def dvc(folder: Path, *arguments: str) -> int:
    """Exit code of a ``dvc`` command in a clone."""
    return subprocess.run(["dvc", *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": SOURCE}).returncode


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
