"""Kill the workers of ``rows`` ten times at random moments: the files must not differ.

Run it alone: ``python -m pytest tests/benchmarks/test_rows_killed.py -m bench -s`` (minutes).
"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import psutil
import pytest
from dask import config

from deepfake_repro.operations.rows.run import run_rows
from support.clones import dvc, make_smoke
from support.rowless import OF_ROWS, without_rows

KILLS = 10
PAUSE = (1.0, 15.0)
"""Seconds before each kill, drawn at random."""


def contents(folder: Path) -> dict[str, bytes]:
    """Path -> bytes of all that the rows and the report wrote, but what holds times."""
    results = folder / "results" / "smoke"
    return {
        file.relative_to(results).as_posix(): file.read_bytes()
        for name in OF_ROWS
        for file in sorted((results / name).rglob("*"))
        if file.is_file() and file.name != "provenance.json"
    }


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
