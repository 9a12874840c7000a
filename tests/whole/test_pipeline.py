"""Tests of the pipeline in a fresh clone, and that committed results match committed code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.operations.clones import with_values
from deepfake_repro.operations.parallel import read_graph
from deepfake_repro.operations.stage_code import LOADER
from deepfake_repro.project import params
from deepfake_repro.project.code.closure import NAMING
from support.clones import clone, dvc

ROOT = Path(__file__).resolve().parents[2]
UP_TO_DATE = "Data and pipelines are up to date."
pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("guard") / "clone")


def test_committed_results_belong_to_the_committed_code(fresh: Path) -> None:
    """Without any data: a clone whose lock file does not match code, params or notebooks would have
    stages to run.
    """
    result = dvc(fresh, "repro", "--dry", "--allow-missing")
    assert result.stdout.strip().splitlines()[-1] == UP_TO_DATE, (
        result.stdout[-2000:] + result.stderr[-2000:]
    )


def test_byte_code_makes_no_stage_look_changed(fresh: Path) -> None:
    """Importing the package leaves ``__pycache__`` in a folder that the stage ``index`` depends
    on.
    """
    folder = fresh / "src" / "deepfake_repro" / "corpora" / "__pycache__"
    folder.mkdir(exist_ok=True)
    (folder / "ffpp.cpython-311.pyc").write_bytes(b"any bytes")
    result = dvc(fresh, "repro", "--dry", "--allow-missing")
    assert result.stdout.strip().splitlines()[-1] == UP_TO_DATE, (
        result.stdout[-2000:] + result.stderr[-2000:]
    )


def test_the_guard_notices_a_changed_margin(fresh: Path) -> None:
    """The guard can fail, and it names exactly one row: its training, prediction, score, and the
    report.
    """
    params = fresh / "params.yaml"
    before = params.read_text()
    params.write_text(with_values(before, {"variants.fsfm_ba.loss.margin": 1.5}))
    try:
        result = dvc(fresh, "status", "--json")
    finally:
        params.write_text(before)
    changed = {
        stage
        for stage, why in json.loads(result.stdout).items()
        if "params.yaml" in json.dumps(why)
    }
    row = {"train@demo-fsfm_ba-0", "score@demo-fsfm_ba-0"}
    assert changed == row | {"code", "report@demo"}  # `code` reads which losses are named


def test_a_test_corpus_of_ones_own_trains_and_predicts_nothing_else(
    fresh: Path, tmp_path: Path
) -> None:
    """Stages of its own alone, of which none is needed by another but the report's rows."""
    own = fresh / "data" / "own_corpora.yaml"
    before = own.read_text()
    old = read_graph(dvc(fresh, "dag", "--dot").stdout)
    own.write_text(f"own:\n- {{name: mine, root: {tmp_path}}}\n")
    try:
        new = read_graph(dvc(fresh, "dag", "--dot").stdout)
        changed = json.loads(dvc(fresh, "status", "--json").stdout)
    finally:
        own.write_text(before)
    rows = params.load(ROOT / "params.yaml").run.variants
    added = {
        "index_own@demo-corpus0",
        "crops_own@demo-corpus0",
        *(f"score_own@demo-{row}-0-corpus0" for row in rows),
    }
    assert set(new) - set(old) == added <= set(changed)
    assert all(old[stage] == new[stage] - added for stage in old)
    assert {stage for stage in old if new[stage] & added} == {"report@demo"}


def test_an_outside_detector_adds_its_own_stage_and_the_report_waits_for_it(
    fresh: Path, tmp_path: Path
) -> None:
    listed = fresh / "data" / "detectors.yaml"
    before = listed.read_text()
    old = read_graph(dvc(fresh, "dag", "--dot").stdout)
    listed.write_text(f"detectors:\n- {{name: mine, folder: {tmp_path}}}\n")
    try:
        new = read_graph(dvc(fresh, "dag", "--dot").stdout)
    finally:
        listed.write_text(before)
    assert set(new) - set(old) == {"evaluate@demo-detector0"}
    assert {stage for stage in old if new[stage] != old[stage]} == {"report@demo"}


def test_a_function_that_no_row_names_runs_nothing(fresh: Path) -> None:
    """A new entry of the registry of losses changes the code of no stage."""
    losses = fresh / "src" / "deepfake_repro" / "training" / "losses.py"
    before = losses.read_text()
    assert '"batch_all": batch_all,' in before
    losses.write_text(
        before.replace('"batch_all": batch_all,', '"batch_all": batch_all,\n    "twice": _lift,')
    )
    codes = {file: file.read_bytes() for file in (fresh / "results/code").rglob("*.json")}
    try:
        subprocess.run(
            [sys.executable, "-m", "deepfake_repro", "code"],
            cwd=fresh,
            env={**os.environ, "PYTHONPATH": "src"},
            check=True,
        )
        assert {file: file.read_bytes() for file in codes} == codes
    finally:
        losses.write_text(before)


def test_metrics_show_lists_the_averages_of_each_row_in_a_bare_clone(fresh: Path) -> None:
    """Six columns per row; the paper's rows are apart and have the same names."""
    shown = json.loads(dvc(fresh, "metrics", "show", "--json").stdout)[""]["data"]
    reproduced = shown["results/demo/runs/fsfm_ba-0/summary.json"]["data"]
    assert {path.split("/")[1] for path in shown} == {"demo"}
    path = "results/published/scores/fsfm_ba.json"
    printed = json.loads(dvc(fresh, "metrics", "show", "--json", path).stdout)
    published = printed[""]["data"][path]["data"]
    assert published["auc"]["in_the_wild"] == 77.9
    for metric in ("auc", "bacc"):
        assert len(reproduced[metric]) == 3 and set(reproduced[metric]) < set(published[metric])


def test_smoke_pipeline_leaves_a_complete_row(smoke: Path) -> None:
    scores = json.loads((smoke / "results/smoke/runs/fsfm_category_ba-0/scores.json").read_text())
    published = json.loads((smoke / "results/published/scores/fsfm_category_ba.json").read_text())
    for metric in ("auc", "bacc"):
        assert set(scores[metric]) == set(published[metric])
    assert sum(scores["videos"]["unscored"].values()) == 0


def test_smoke_report_is_a_pure_function_of_what_lies_in_git(smoke: Path) -> None:
    report = smoke / "results/smoke/report"
    before = {file.name: file.read_bytes() for file in sorted(report.iterdir())}
    assert {
        "table3.md",
        "table3.csv",
        "comparison.csv",
        "roc.svg",
        "history.svg",
        "results.ipynb",
    } <= set(before)
    assert dvc(smoke, "repro", "--single-item", "--force", "report@smoke").returncode == 0
    assert {file.name: file.read_bytes() for file in sorted(report.iterdir())} == before


def test_a_second_repro_does_nothing(smoke: Path) -> None:
    result = dvc(smoke, "repro")
    assert result.returncode == 0
    assert result.stdout.strip().splitlines()[-1] == UP_TO_DATE


def test_no_person_crosses_from_training_to_test_in_the_index(smoke: Path) -> None:
    """Training, test and validation tables contain videos of their own split only."""
    index = pd.read_parquet(smoke / "data/index/smoke").set_index("video_id")["split"]
    sample = pd.read_parquet(smoke / "data/samples/smoke/train.parquet")
    scored, validation = (
        pd.read_csv(smoke / f"results/smoke/runs/imagenet-0/{name}.csv")
        for name in ("videos", "validation")
    )
    assert set(index[sample["video_id"]]) == {"train"}
    assert set(index[scored["video_id"]]) == {"test"}
    assert set(index[validation["video_id"]]) == {"val"}


def test_provenance_names_the_commit_and_the_inputs(smoke: Path) -> None:
    """The commit may be an earlier one, if the run is from the cache."""
    provenance = json.loads((smoke / "results/smoke/runs/imagenet-0/provenance.json").read_text())
    subprocess.run(
        ["git", "merge-base", "--is-ancestor", provenance["commit"], "HEAD"], cwd=smoke, check=True
    )
    assert provenance["dirty"] is True  # params.yaml was changed to the smoke profile
    assert provenance["seed"] == 0 and len(provenance["data"]) == 2


EXECUTED = {
    "index": ("index", "--profile", "smoke", "--part", "training"),
    "counts": ("counts", "--profile", "smoke"),
    "landmarks": ("landmarks", "--profile", "smoke"),
    "audit": ("audit", "--profile", "smoke"),
    "predict": ("predict", "smoke", "imagenet", "0"),
    "score": ("score-row", "smoke", "sbi", "0"),
    "calibrate": ("calibrate", "smoke", "fsfm_category_ba", "0"),
    "robustness": ("robustness", "smoke", "sbi", "0"),
    "report": ("html", "--profile", "smoke"),
}


@pytest.mark.parametrize("stage", EXECUTED)
def test_what_a_stage_executes_is_in_its_code(stage: str, smoke: Path, tmp_path: Path) -> None:
    """The names that are followed in syntax trees, against the calls that really happen."""
    script = Path(__file__).parents[1] / "support" / "executed.py"
    out = tmp_path / "executed.json"
    run = subprocess.run(
        [sys.executable, str(script), str(out), *EXECUTED[stage]],
        cwd=smoke,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    code = json.loads((smoke / "results" / "code" / f"{stage}.json").read_text())["definitions"]
    executed = json.loads(out.read_text())
    apart = ("deepfake_repro.cli", *(f"deepfake_repro.{name}:" for name in (*NAMING, *LOADER)))
    begun = {name for name in executed if not name.startswith(apart)}
    assert len(begun) > 5
    assert begun - set(code) == set()
