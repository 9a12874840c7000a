"""Tests of side studies: replaced values, collected rows, outdated results."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.cli import main
from deepfake_repro.operations import clones, parallel, studies
from deepfake_repro.operations.committed import extract_committed
from deepfake_repro.project import params
from deepfake_repro.project.provenance import has_history

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "params.yaml").read_text()
COMMIT = ("-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q")
NAMES = tuple(params.load(ROOT / "params.yaml").studies)


def test_values_replace_exactly_their_keys_and_comments_stay(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(
        clones.with_values(TEXT, {"demo.train.head_std": 2e-5, "run.seeds": [3]})
    )
    before, after = params.load(ROOT / "params.yaml"), params.load(tmp_path / "params.yaml")
    assert (after.profile("demo").train.head_std, after.run.seeds) == (2e-5, (3,))
    assert after.profile("smoke") == before.profile("smoke")
    assert after.profile("demo").crops == before.profile("demo").crops
    comments = re.findall("#.*", TEXT)
    assert comments and re.findall("#.*", (tmp_path / "params.yaml").read_text()) == comments


@pytest.mark.parametrize(
    "key", ["demo.train.depht", "demo.nothing.here", "demo.train.depth.deeper"]
)
def test_a_key_that_the_file_lacks_is_named(key: str) -> None:
    with pytest.raises(
        ValueError,
        match=rf"^params\.yaml: a study or rehearsal replaces the unknown key '{re.escape(key)}'$",
    ):
        clones.with_values(TEXT, {key: 1})


@pytest.mark.parametrize("name", NAMES)
def test_every_study_asks_for_rows_and_keys_that_exist(name: str) -> None:
    loaded = params.load(ROOT / "params.yaml")
    study = loaded.study(name)
    assert (
        study.question.endswith("?")
        and study.rows
        and study.seeds
        and study.profile in params.PROFILES
    )
    assert set(study.rows) <= {*loaded.variants, *loaded.run.lnclip}
    for values in study.options.values():
        clones.with_values(TEXT, values)


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed studies: ``make repro`` on another machine changes the data in dvc.lock."""
    if not has_history(ROOT):
        pytest.skip("an archive without git history has no committed state beside its files")
    folder = tmp_path_factory.mktemp("committed")
    extract_committed(ROOT, "HEAD", folder, "params.yaml", "dvc.lock", "results/studies")
    return folder


def test_committed_studies_belong_to_the_committed_code(committed: Path) -> None:
    """A study that has results: if they are of other code, run ``make studies`` and commit
    ``results/studies``.
    """
    run = [path.parent.name for path in committed.glob("results/studies/*/study.json")]
    assert "start_over_seeds" in run
    assert [name for name in run if not studies.is_current(committed, name)] == []
    for name in run:
        study = params.load(committed / "params.yaml").study(name)
        for option, values in study.options.items():
            if study.stage == studies.LABELS:
                curve = committed / "results" / "studies" / name / option / studies.CURVE
                starts = values.get(f"{study.profile}.labels.rows", study.rows)
                assert set(pd.read_csv(curve)["start"]) == set(starts)
                continue
            for row in study.rows:
                for seed in study.seeds:
                    folder = committed / "results" / "studies" / name / option / f"{row}-{seed}"
                    assert json.loads((folder / "scores.json").read_text())["auc"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A committed repository whose pipeline is one script that writes what each row of params.yaml
    would give.
    """
    base = tmp_path / "base"
    base.mkdir()
    (base / "params.yaml").write_text(TEXT)
    (base / "dvc.yaml").write_text(PIPELINE)
    (base / "row.py").write_text(ROW)
    (base / "curve.py").write_text(CURVE)
    git(base, "init", "-q")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=base, check=True)
    (base / "dvc.lock").write_text(
        "schema: '2.0'\n"
        "stages: {train@demo-imagenet-0: {cmd: x, deps: ["
        f'{{path: src/a.py, hash: md5, md5: "{CODE}"}}, '
        f'{{path: results/demo/weights/x, hash: md5, md5: "{CODE}"}}]}}, '
        f'labels@open: {{cmd: x, deps: [{{path: src/b.py, hash: md5, md5: "{CODE}"}}]}}}}\n'
    )
    (base / ".gitignore").write_text(".scratch\nresults\n")
    git(base, "add", "-A")
    git(base, *COMMIT, "-m", "first")
    return base


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)


CODE = "0123456789abcdef0123456789abcdef"
PIPELINE = """stages:
  score:
    matrix:
      variant: ${run.variants}
      seed: ${run.seeds}
    cmd: python row.py ${item.variant} ${item.seed}
    params: [demo.train.epochs]
    outs:
    - results/demo/runs/${item.variant}-${item.seed}/scores.json
    - results/demo/runs/${item.variant}-${item.seed}/history.csv
  labels:
    foreach: ${run.labels}
    do:
      cmd: python curve.py
      params: [open.pretrain.epochs]
      outs:
      - results/open/labels/curve.csv
  report:
    cmd: "false"
    deps: [results/demo/runs]
"""
ROW = """import json, pathlib, sys
from deepfake_repro.project import params
row, seed = sys.argv[1:]
out = pathlib.Path("results/demo/runs") / f"{row}-{seed}"
epochs = params.load(pathlib.Path("params.yaml")).profile("demo").train.epochs
out.mkdir(parents=True, exist_ok=True)
(out / "scores.json").write_text(json.dumps({"auc": {"ffpp": epochs + int(seed)}}))
(out / "history.csv").write_text("epoch\\n")
"""
CURVE = """import pathlib
from deepfake_repro.project import params
out = pathlib.Path("results/open/labels")
out.mkdir(parents=True, exist_ok=True)
epochs = params.load(pathlib.Path("params.yaml")).profile("open").pretrain.epochs
(out / "curve.csv").write_text(f"start,auc\\nfsfm,{epochs}\\n")
"""


@pytest.mark.parametrize(
    "command", [("study", "head_std"), ("rehearse",)], ids=lambda command: command[0]
)
def test_what_runs_in_a_clone_asks_an_archive_for_a_commit(
    tmp_path: Path, monkeypatch, capsys, command
) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert main(list(command)) == 2
    error = capsys.readouterr().err
    assert (
        error.startswith(f"error: {' '.join(command)}: this folder has no git history")
        and error.count("\n") == 1
    )


def test_a_study_runs_each_option_with_its_values_and_keeps_the_rows(
    repository: Path, monkeypatch
) -> None:
    text = TEXT.replace(
        "      default: {}\n", "      default: {}\n      long: {demo.train.epochs: 7}\n"
    )
    (repository / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match="commit your changes first"):
        studies.run_study(repository, "start_over_seeds")
    git(repository, *COMMIT, "-am", "changed")
    monkeypatch.setattr(parallel, "SOURCE", str(ROOT / "src"))
    out = studies.run_study(repository, "start_over_seeds")
    epochs = params.load(ROOT / "params.yaml").profile("demo").train.epochs
    for option, expected in (("default", epochs), ("long", 7)):
        for row in ("imagenet", "fsfm"):
            for seed in (0, 1, 2):
                found = json.loads((out / option / f"{row}-{seed}" / "scores.json").read_text())
                assert found["auc"]["ffpp"] == expected + seed
    assert studies.is_current(repository, "start_over_seeds")
    lock = repository / "dvc.lock"
    lock.write_text(lock.read_text().replace(CODE, CODE[::-1], 1))
    assert not studies.is_current(repository, "start_over_seeds")


def test_a_study_of_starts_trains_no_row_and_keeps_the_curve(repository: Path, monkeypatch) -> None:
    monkeypatch.setattr(parallel, "SOURCE", str(ROOT / "src"))
    out = studies.run_study(repository, "pretraining")
    epochs = params.load(ROOT / "params.yaml").profile("open").pretrain.epochs
    for option, expected in (("default", epochs), ("epochs_2", 2), ("epochs_8", 8)):
        assert pd.read_csv(out / option / "curve.csv")["auc"].tolist() == [expected]
        assert not list((out / option).glob("fsfm-*"))
    assert studies.is_current(repository, "pretraining")
    lock = repository / "dvc.lock"
    lock.write_text(lock.read_text().replace(CODE, CODE[::-1]))
    assert not studies.is_current(repository, "pretraining")


def test_clones_share_the_cache_where_it_was_moved_to(repository: Path, tmp_path: Path) -> None:
    moved = tmp_path / "large disk"
    assert clones.cache_of(repository) == repository / ".dvc" / "cache"
    clones.dvc(repository, "config", "--local", "cache.dir", str(moved))
    assert clones.cache_of(repository) == moved


def test_without_names_the_studies_are_those_of_the_run(monkeypatch) -> None:
    ran = []
    monkeypatch.setattr(studies, "run_study", lambda base, name, jobs=None: ran.append(name))
    assert main(["study"]) == 0
    loaded = params.load(ROOT / "params.yaml")
    assert ran == [name for name in NAMES if loaded.study(name).profile in loaded.run.profiles]
    assert "pretraining" not in ran and len(ran) > 3
