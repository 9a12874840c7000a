"""Kill the workers of ``rows`` ten times at random moments: the files must not differ.

Run it alone: ``python -m pytest tests/benchmarks/test_rows_killed.py -m bench -s`` (minutes).
"""

from __future__ import annotations

import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest
from dask import config
from ruamel.yaml import YAML

from deepfake_repro.operations.parallel import read_pipeline
from deepfake_repro.operations.rows.run import run_rows
from support.clones import dvc, make_smoke

KILLS = 10
PAUSE = (1.0, 15.0)
"""Seconds before each kill, drawn at random."""
OF_ROWS = ("weights", "predictions", "runs", "calibration", "robustness", "report")


def contents(folder: Path) -> dict[str, bytes]:
    """Path -> bytes of all that the rows and the report wrote, but what holds times."""
    results = folder / "results" / "smoke"
    return {
        file.relative_to(results).as_posix(): file.read_bytes()
        for name in OF_ROWS
        for file in sorted((results / name).rglob("*"))
        if file.is_file() and file.name != "provenance.json"
    }


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


def kill_workers(killed: list[float], finished: threading.Event) -> None:
    """Kill a worker that runs a row after each random pause."""
    rng = random.Random(22)
    start = time.monotonic()
    while len(killed) < KILLS and not finished.wait(rng.uniform(*PAUSE)):
        workers = [each for each in psutil.Process().children() if is_busy(each)]
        if workers:
            rng.choice(workers).kill()
            killed.append(time.monotonic() - start)
            print(f"kill {len(killed)}/{KILLS} after {killed[-1]:.0f} s", flush=True)


def is_busy(process: psutil.Process) -> bool:
    try:
        return any("rows/child.py" in " ".join(each.cmdline()) for each in process.children())
    except psutil.NoSuchProcess:
        return False


@pytest.mark.bench
def test_ten_killed_workers_change_no_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    undisturbed = make_smoke(tmp_path_factory)
    disturbed = without_rows(undisturbed, tmp_path_factory.mktemp("killed") / "clone")
    killed: list[float] = []
    finished = threading.Event()
    killer = threading.Thread(target=kill_workers, args=(killed, finished))
    killer.start()
    start = time.monotonic()
    try:
        with config.set({"distributed.scheduler.allowed-failures": 4 * KILLS}):
            assert run_rows(disturbed, jobs=2) == 0
    finally:
        finished.set()
        killer.join()
    expected, found = contents(undisturbed), contents(disturbed)
    print(f"{len(killed)} kills, {len(found)} files, {time.monotonic() - start:.0f} s")
    assert len(killed) == KILLS
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    dry = dvc(disturbed, "repro", "--dry")
    assert dry.stdout.strip().splitlines()[-1] == "Data and pipelines are up to date."
