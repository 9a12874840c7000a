"""Side studies: the same pipeline with other values of ``params.yaml``, beside the main results.

Each option of a study runs ``dvc repro`` in a clone of the committed repository whose
``params.yaml`` has the option's values. Clone and repository share the DVC cache, so that only what
the values change is computed, and an interrupted study goes on where it stopped. What a reader
needs is copied to ``results/studies/<study>/<option>/<row>-<seed>/``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..project.params import Study, load, read_yaml
from .clones import clone_of, demand_committed, dvc, with_values

KEPT = ("scores.json", "history.csv")
RECORD = "study.json"


def run_study(base: Path, name: str) -> Path:
    """Run every option of study ``name`` and collect its rows; returns the folder of the study's results.

    Raises ``ValueError`` if ``dvc repro`` of an option fails, or for work that is not committed: a
    study is of a commit.
    """
    study = load(base / "params.yaml").study(name)
    demand_committed(base, f"study {name}")
    out = base / "results" / "studies" / name
    for number, (option, values) in enumerate(study.options.items(), start=1):
        print(f"study {name}, option {number}/{len(study.options)}: {option}", flush=True)
        clone = clone_of(base, f"{name}-{option}", base / ".dvc" / "cache")
        run = {
            "run.profiles": [study.profile],
            "run.variants": list(study.rows),
            "run.seeds": list(study.seeds),
        }
        file = clone / "params.yaml"
        file.write_text(with_values(file.read_text(), {**run, **values}))
        if dvc(clone, "repro", "score"):
            raise ValueError(
                f"study {name}: option {option} failed, see above; it goes on from there when started again"
            )
        _collect(clone / "results" / study.profile / "runs", out / option, study)
    (out / RECORD).write_text(json.dumps({"made_from": ingredients(base, study)}, indent=2) + "\n")
    return out


def ingredients(base: Path, study: Study) -> dict[str, str]:
    """Hash of everything that the study's rows are trained from, by path, as the committed ``dvc.lock`` has it."""
    stages = read_yaml(base / "dvc.lock")["stages"]
    found = {}
    for stage, entry in stages.items():
        name, _, item = stage.partition("@")
        if name.startswith(("train", "predict")) and item.startswith(
            f"{study.profile}-{study.rows[0]}-"
        ):
            found |= {
                dep["path"]: dep["md5"] for dep in entry["deps"] if "/weights/" not in dep["path"]
            }
    return dict(sorted(found.items()))


def is_current(base: Path, name: str) -> bool:
    """True if the study's results were made from the code and data of the committed ``dvc.lock``."""
    record = base / "results" / "studies" / name / RECORD
    study = load(base / "params.yaml").study(name)
    return record.is_file() and json.loads(record.read_text())["made_from"] == ingredients(
        base, study
    )


def _collect(runs: Path, out: Path, study: Study) -> None:
    for row in study.rows:
        for seed in study.seeds:
            target = out / f"{row}-{seed}"
            target.mkdir(parents=True, exist_ok=True)
            for name in KEPT:
                shutil.copyfile(runs / f"{row}-{seed}" / name, target / name)
