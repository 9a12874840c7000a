"""Tests of emulated machines: what runs in the clone, with which variables, and what is kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.operations import clones, machines
from deepfake_repro.operations.committed import extract_committed
from deepfake_repro.project import params
from deepfake_repro.project.machine import VARIABLES
from deepfake_repro.project.provenance import has_history
from deepfake_repro.project.vocabulary import METRICS

ROOT = Path(__file__).resolve().parents[2]
ROWS = params.load(ROOT / "params.yaml").run.variants[:2]
SEED = params.load(ROOT / "params.yaml").run.seeds[0]
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")
SCORE = """
import json, os, pathlib, sys
row, auc = sys.argv[1:]
out = pathlib.Path(f"results/demo/runs/{row}")
out.mkdir(parents=True, exist_ok=True)
moved = os.environ["ATEN_CPU_CAPABILITY"] == "avx512"
scores = {"auc": {"ffpp": float(auc) + moved}, "bacc": {"ffpp": 50.0}}
(out / "scores.json").write_text(json.dumps(scores))
low, high = (0.3, 0.6) if moved else (0.2, 0.6)
lines = ["video_id,dataset,p_fake", f"a,ffpp,{low}", f"b,ffpp,{high}"]
(out / "videos.csv").write_text("\\n".join(lines))
"""


def stage(command: str, *outputs: str) -> dict:
    return {
        "cmd": command,
        "deps": [{"path": "data/x", "md5": "1"}],
        "outs": [{"path": path} for path in outputs],
    }


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed repository whose stages are short commands that log what they do."""
    base = tmp_path / "base"
    base.mkdir()
    log = f"echo {{}} >> {tmp_path}/log"
    stages = {"pretrain@demo": stage(log.format("pretrain"), "data/pretrained/demo")}
    for row in ROWS:
        run = f"{row}-{SEED}"
        weights = f"results/demo/weights/{run}"
        train = f"test ! -e {weights} && mkdir -p {weights} && {log.format(run)}"
        stages |= {
            f"train@demo-{run}": stage(train, weights),
            f"predict@demo-{run}": stage("true", f"results/demo/predictions/{run}"),
            f"score@demo-{run}": stage(f"python score.py {run} 90"),
        }
        (base / f"results/demo/runs/{run}").mkdir(parents=True)
        subprocess.run(
            [sys.executable, "-c", SCORE, run, "90"],
            cwd=base,
            env={"ATEN_CPU_CAPABILITY": ""},
            check=True,
        )
    (base / "dvc.lock").write_text(json.dumps({"stages": stages}))
    (base / "score.py").write_text(SCORE)
    (base / ".gitignore").write_text(".scratch\nweights\n")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, base / name)
    (base / ".dvc").mkdir()
    subprocess.run([*GIT, "init", "-q"], cwd=base, check=True)
    subprocess.run([*GIT, "add", "-A"], cwd=base, check=True)
    subprocess.run([*GIT, "commit", "-qm", "first"], cwd=base, check=True)
    monkeypatch.setattr(clones, "dvc", lambda folder, *arguments: 0)
    monkeypatch.setattr(machines, "dvc", lambda folder, *arguments: 0)
    return base


def log_of(repository: Path) -> list[str]:
    return sorted((repository.parent / "log").read_text().split())


def test_values_and_moved_probabilities_are_kept(repository: Path) -> None:
    table = machines.run_machines(repository, "demo", ROWS[:1], ["avx512"])
    expected = [("auc", 91.0), ("bacc", 50.0), ("p_fake", round((0.01 / 2) ** 0.5, 6))]
    found = pd.read_csv(table)
    assert list(found.columns) == machines.COLUMNS
    assert list(zip(found["metric"], found["value"], strict=True)) == expected
    assert set(found["machine"]) == {"avx512"} and set(found["set"]) == {"ffpp"}
    assert set(found["row"]) == {ROWS[0]} and set(found["seed"]) == {SEED}
    assert machines.is_current(repository, "demo")


def test_a_rerun_runs_only_what_is_missing(repository: Path) -> None:
    runs = [f"{row}-{SEED}" for row in ROWS]
    machines.run_machines(repository, "demo", ROWS[:1], ["avx512"])
    assert log_of(repository) == sorted(["pretrain", runs[0]])
    machines.run_machines(repository, "demo", ROWS, ["avx512"])
    assert log_of(repository) == sorted(["pretrain", *runs])
    (repository / "results/demo/machines.csv").unlink()
    table = machines.run_machines(repository, "demo", ROWS, ["avx512", "old"], jobs=1)
    assert log_of(repository) == sorted(["pretrain"] * 2 + runs * 3)
    assert len(pd.read_csv(table)) == 2 * 2 * 3


def test_results_of_other_code_are_dropped(repository: Path) -> None:
    table = machines.run_machines(repository, "demo", ROWS, ["avx512"])
    lock = repository / "dvc.lock"
    lock.write_text(lock.read_text().replace('"md5": "1"', '"md5": "2"'))
    assert not machines.is_current(repository, "demo")
    subprocess.run([*GIT, "commit", "-qam", "changed"], cwd=repository, check=True)
    machines.run_machines(repository, "demo", ROWS[:1], ["old"])
    assert set(pd.read_csv(table)["machine"]) == {"old"}


def test_a_failing_stage_names_its_log_and_what_was_done_stays(repository: Path) -> None:
    lock = repository / "dvc.lock"
    content = json.loads(lock.read_text())
    content["stages"][f"predict@demo-{ROWS[1]}-{SEED}"]["cmd"] = "echo broken; exit 3"
    lock.write_text(json.dumps(content))
    subprocess.run([*GIT, "commit", "-qam", "broken"], cwd=repository, check=True)
    with pytest.raises(ValueError, match=rf"stage predict@demo-{ROWS[1]}-{SEED} failed, see ") as e:
        machines.run_machines(repository, "demo", ROWS, ["avx512"], jobs=1)
    assert Path(str(e.value).split("see ")[1].split(";")[0]).read_text() == "broken\n"
    kept = pd.read_csv(repository / "results/demo/machines.csv")
    assert set(kept["row"]) == {ROWS[0]}


@pytest.mark.parametrize(
    ("rows", "names", "error"),
    [
        (["nothing"], [], f"unknown row 'nothing'; there are {ROWS[0]}"),
        ([], ["abacus"], "unknown machine 'abacus'; there are avx512"),
    ],
)
def test_unknown_names_list_those_there_are(rows: list[str], names: list[str], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        machines.run_machines(ROOT, "demo", rows, names)


def test_a_processor_emulates_only_what_it_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "processor", lambda: {"flags": "sse2 avx2"})
    assert set(machines._emulable()) == set(machines.EMULATED) - {"avx512"}
    monkeypatch.setattr(machines, "processor", dict)
    with pytest.raises(ValueError, match="cannot emulate"):
        machines._emulable()


def test_every_machine_decides_every_variable() -> None:
    """One that it left out would be that of the pins, or of the user's shell."""
    for machine in machines.EMULATED.values():
        assert set(machine.variables) == set(VARIABLES)


def test_what_is_said_of_another_makers_processor_is_in_the_table(tmp_path: Path) -> None:
    """The sentence of REPRODUCIBILITY.md, on what is committed."""
    if not has_history(ROOT):
        pytest.skip("an archive without git history has no committed state beside its files")
    paths = ("results/demo/machines.csv", "results/demo/runs", "REPRODUCIBILITY.md")
    extract_committed(ROOT, "HEAD", tmp_path, *paths)
    table = pd.read_csv(tmp_path / "results/demo/machines.csv")
    moved: dict[str, list[float]] = {}
    for cell in table[table["machine"] == "other_maker"].itertuples():
        if cell.metric in METRICS:
            file = tmp_path / f"results/demo/runs/{cell.row}-{cell.seed}/scores.json"
            committed = json.loads(file.read_text())[cell.metric][cell.set]
            moved.setdefault(cell.row, []).append(abs(cell.value - committed))
    assert "all cells of nine rows came out the same" in (
        tmp_path / "REPRODUCIBILITY.md"
    ).read_text().replace("\n", " ")
    assert len(moved) == 11
    differing = {
        row: [size for size in sizes if size] for row, sizes in moved.items() if any(sizes)
    }
    assert set(differing) == {"fsfm_dataset_ba", "sbi"}
    assert len(differing["fsfm_dataset_ba"]) == 4 and max(differing["fsfm_dataset_ba"]) < 0.75
    assert 9 < max(differing["sbi"]) < 10
