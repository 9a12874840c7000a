"""Side studies: the same pipeline with other values of ``params.yaml``, beside the main results.

Each option of a study runs ``dvc repro`` in a clone of the committed repository whose
``params.yaml`` has the option's values. Clone and repository share the DVC cache, so that DVC
computes only what the values change, and a rerun resumes an interrupted study. What a reader needs
is copied to ``results/studies/<study>/<option>/<row>-<seed>/``, or, of the stage ``labels``, its
curve to ``results/studies/<study>/<option>``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..project.params import Run, Study, load, read_yaml
from .clones import cache_of, clone_commit, dvc, replace_params, require_committed
from .parallel import run_pipeline

KEPT = ("scores.json", "history.csv")
RECORD = "study.json"
LABELS = "labels"
"""The stage of a study that compares start weights and trains no row."""
CURVE = "curve.csv"


def run_study(base: Path, name: str, jobs: int | None = None) -> Path:
    """Run every option of a study, collect its rows, and return the folder of its results.

    ``jobs``: rows at a time, as for :func:`.parallel.run_pipeline`.

    Raises ``ValueError`` if ``dvc repro`` of an option fails, or for uncommitted changes.
    """
    params = load(base / "params.yaml")
    study = params.study(name)
    require_committed(base, f"study {name}")
    out = base / "results" / "studies" / name
    for number, (option, values) in enumerate(study.options.items(), start=1):
        print(f"study {name}, option {number}/{len(study.options)}: {option}", flush=True)
        clone = clone_commit(base, f"{name}-{option}", cache_of(base))
        # The stages' files that are in git keep DVC from restoring a missing one from its cache.
        dvc(clone, "checkout", "--quiet")
        replace_params(clone, {**_rows_of(params.run, study), **values})
        if run_pipeline(clone, jobs, study.stage):
            raise ValueError(
                f"study {name}: option {option} failed, see above; fix it and rerun to resume"
            )
        _collect(clone / "results" / study.profile, out / option, study)
    record = {"made_from": _ingredients(base, study)}
    (out / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    return out


def _rows_of(run: Run, study: Study) -> dict[str, list]:
    """Return what ``run`` becomes in a study: its profile, rows and seeds alone."""
    profile = [study.profile]
    values: dict[str, list] = {"run.profiles": profile, "run.seeds": list(study.seeds)}
    if study.stage == LABELS:
        values |= {"run.pretrain": profile, "run.labels": profile, "run.miniatures": []}
    for key in ("variants", "finetune", "sbi", "lnclip", "calibrate", "robustness"):
        values[f"run.{key}"] = [row for row in getattr(run, key) if row in study.rows]
    return values


def ingredients(base: Path, profile: str, row: str) -> dict[str, str]:
    """Return path -> hash of all that a row depends on, from ``dvc.lock``; seeds share them."""
    stages = read_yaml(base / "dvc.lock")["stages"]
    hashes: dict[str, str] = {}
    for stage, entry in stages.items():
        name, _, run = stage.partition("@")
        if name.startswith(("train", "predict")) and run.startswith(f"{profile}-{row}-"):
            for dependency in entry["deps"]:
                if "/weights/" not in dependency["path"]:
                    hashes[dependency["path"]] = dependency["md5"]
    return dict(sorted(hashes.items()))


def is_current(base: Path, name: str) -> bool:
    """Return True if the study's results are from the code and data in ``dvc.lock``."""
    study = load(base / "params.yaml").study(name)
    path = base / "results" / "studies" / name / RECORD
    if not path.is_file():
        return False
    return json.loads(path.read_text())["made_from"] == _ingredients(base, study)


def _ingredients(base: Path, study: Study) -> dict[str, str]:
    """Return the ingredients of the study's first row, which stand for those of the others."""
    if study.stage == LABELS:
        entry = read_yaml(base / "dvc.lock")["stages"].get(f"{LABELS}@{study.profile}", {})
        return {dependency["path"]: dependency["md5"] for dependency in entry.get("deps", [])}
    return ingredients(base, study.profile, study.rows[0])


def _collect(results: Path, out: Path, study: Study) -> None:
    if study.stage == LABELS:
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(results / LABELS / CURVE, out / CURVE)
        return
    runs = results / "runs"
    for row in study.rows:
        for seed in study.seeds:
            target = out / f"{row}-{seed}"
            target.mkdir(parents=True, exist_ok=True)
            for name in KEPT:
                shutil.copyfile(runs / f"{row}-{seed}" / name, target / name)
