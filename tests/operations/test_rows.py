"""Tests of ``rows`` on a toy pipeline: real Dask workers, real DVC, training by a few lines."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
from dask import config
from distributed import LocalCluster
from dvc.repo import Repo
from filelock import FileLock

from deepfake_repro.operations import parallel
from deepfake_repro.operations.parallel import Task
from deepfake_repro.operations.rows import child, cluster, run
from deepfake_repro.operations.rows.cluster import connect, devices, scheduler_address
from deepfake_repro.operations.rows.row import Row, read_rows
from deepfake_repro.operations.rows.run import run_rows
from deepfake_repro.operations.rows.table import DONE, FAILED, RUNNING, WAITING, Display, State
from deepfake_repro.operations.rows.worker import (
    CLONES,
    Checkout,
    Outcome,
    last_error,
    last_progress,
)
from deepfake_repro.project.machine import THREADS
from deepfake_repro.project.params import read_yaml

ROOT = Path(__file__).resolve().parents[2]
STEPS = 30
PIPELINE = """
stages:
  sample: {cmd: echo 7 > sample.txt, outs: [sample.txt]}
  train:
    matrix: {profile: [smoke], variant: [a, b], seed: [0]}
    cmd: python train.py ${item.variant}
    deps: [sample.txt, train.py]
    outs: ["${item.variant}.weights"]
  score:
    matrix: {profile: [smoke], variant: [a, b], seed: [0]}
    cmd: cat ${item.variant}.weights > results/${item.variant}.json
    deps: ["${item.variant}.weights"]
    metrics: [{"results/${item.variant}.json": {cache: false}}]
  audit:
    cmd: cat sample.txt > results/audit
    deps: [sample.txt]
    outs: [{results/audit: {cache: false}}]
  report:
    cmd: cat results/a.json results/b.json > results/report
    deps: [results/a.json, results/b.json]
    outs: [{results/report: {cache: false}}]
"""
TRAIN = f"""
import os, sys, time
from pathlib import Path
row = sys.argv[1]
if row == "b" and Path("flaw").is_file():
    sys.exit("b has a flaw")
scratch = Path(".scratch")
checkpoint = scratch / f"checkpoint-{{row}}"
value = int(Path("sample.txt").read_text())
step = 0
if checkpoint.is_file():
    step, value = map(int, checkpoint.read_text().split())
while step < {STEPS}:
    with (scratch / f"journal-{{row}}").open("a") as journal:
        print(step, os.getpid(), file=journal)
    time.sleep(0.1)
    step, value = step + 1, value * 31 % 1009
    part = scratch / f"part-{{row}}"
    part.write_text(f"{{step}} {{value}}")
    part.replace(checkpoint)
    print(f"epoch 1/1 train: {{step}}/{STEPS}, 10 it/s, 00:01 left", flush=True)
Path(f"{{row}}.weights").write_text(f"{{value}}\\n")
"""


def trained(value: int = 7) -> str:
    """What an undisturbed training writes for a sample."""
    for _ in range(STEPS):
        value = value * 31 % 1009
    return f"{value}\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed DVC project of two rows, which share a sample, and a report."""
    base = tmp_path_factory.mktemp("rows") / "template"
    (base / "results").mkdir(parents=True)
    (base / "results" / ".gitkeep").touch()
    (base / "dvc.yaml").write_text(PIPELINE)
    (base / "train.py").write_text(TRAIN)
    (base / ".gitignore").write_text("/.scratch/\n/sample.txt\n/*.weights\n")
    shutil.copy(ROOT / "params.yaml", base)
    subprocess.run(["git", "init", "--quiet", str(base)], check=True)
    assert not parallel.dvc(base, "init", "--quiet").returncode
    commit(base)
    return base


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, apart from others."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    return shutil.copytree(template, tmp_path / "project with space")


def commit(base: Path) -> None:
    nobody = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
    for command in (("add", "--all"), (*nobody, "commit", "--quiet", "--message", "toy")):
        subprocess.run(["git", *command], cwd=base, check=True)


def journal(base: Path, row: str) -> list[list[int]]:
    """(step, process) of each step that was begun."""
    file = base / ".scratch" / f"journal-{row}"
    lines = file.read_text().splitlines() if file.is_file() else []
    return [[int(word) for word in line.split()] for line in lines]


def wait_for_step(base: Path, row: str, step: int) -> int:
    """Wait until a row has begun a step; return the process that trains it."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if (lines := journal(base, row)) and lines[-1][0] >= step:
            return lines[-1][1]
        time.sleep(0.02)
    raise AssertionError(f"{row} never began step {step}")


def ended(process: psutil.Process) -> bool:
    """Whether a process ends within seconds; nobody may be there to reap it."""
    for _ in range(200):
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_worker_costs_at_most_a_step_and_the_lock_is_whole(
    project: Path, capsys: pytest.CaptureFixture[str], jobs: int
) -> None:
    """Beside another worker, and as the only one, whose successor has another address."""
    trainers = []

    def kill() -> None:
        trainer = psutil.Process(wait_for_step(project, "a", 3))
        trainers.append(trainer)
        worker = next(each for each in trainer.parents() if each.ppid() == psutil.Process().pid)
        worker.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    assert run_rows(project, jobs=jobs) == 0
    killer.join()
    assert ended(trainers[0])  # with its worker
    for row in "ab":
        assert (project / f"{row}.weights").read_text() == trained()
        assert (project / "results" / f"{row}.json").read_text() == trained()
    steps = [step for step, _ in journal(project, "a")]
    assert sorted(set(steps)) == list(range(STEPS))
    assert len(steps) <= STEPS + 1, "a row resumes from its checkpoint"
    assert (project / "results" / "report").read_text() == trained() * 2
    status = parallel.dvc(project, "status")
    assert status.stdout.strip() == "Data and pipelines are up to date."
    assert not list((project / CLONES).glob("*/")), "no clone is left"
    assert "smoke-a-0  done\nsmoke-b-0  done\n2 done\n" in capsys.readouterr().out


def test_a_failed_row_is_named_and_others_are_done(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the workers of a scheduler; the next run computes only what is missing."""
    train = project / "train.py"
    train.write_text(TRAIN.replace('Path("flaw").is_file()', "True").replace("0.1", "0"))
    with pytest.raises(ValueError, match="commit your changes first"):
        run_rows(project)
    commit(project)
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address=None,
    ) as local:
        assert run_rows(project, scheduler=local.scheduler_address) == 1
    printed = capsys.readouterr()
    assert "smoke-b-0  failed   b has a flaw (" in printed.out
    assert "failed: smoke-b-0; fix it" in printed.err
    assert (project / "results" / "a.json").read_text() == trained()
    assert not (project / "results" / "report").exists()
    assert (project / "results" / "audit").read_text() == "7\n", "it needs no row"
    with pytest.raises(ValueError, match="unknown row 'c'; run has a, b"):
        run_rows(project, ["c"])
    assert run_rows(project, ["a"]) == 0  # up to date: no worker is started
    assert len(journal(project, "a")) == STEPS


def test_two_checkouts_on_one_scheduler_get_each_their_own_row(
    project: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(project, tmp_path / "other")
    pipeline = other / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("echo 7", "echo 8"))
    commit(other)
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address=None,
    ) as local:

        def run_a(base: Path) -> int:
            return run_rows(base, ["a"], scheduler=local.scheduler_address)

        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(run_a, [project, other])) == [0, 0]
    assert (project / "results" / "a.json").read_text() == trained(7)
    assert (other / "results" / "a.json").read_text() == trained(8)


def test_a_second_run_in_a_checkout_is_refused(project: Path) -> None:
    """It would remove the clones of the first."""
    (project / ".scratch").mkdir(exist_ok=True)
    with (
        FileLock(project / ".scratch" / "rows.lock"),
        pytest.raises(ValueError, match="^rows runs in this checkout already"),
    ):
        run_rows(project, ["a"], jobs=1)


def test_no_scheduler_at_the_address_is_one_line() -> None:
    with (
        config.set({"distributed.comm.timeouts.connect": "100ms"}),
        pytest.raises(ValueError, match="no Dask scheduler answers at tcp://127.0.0.1:9"),
        connect("tcp://127.0.0.1:9", 1),
    ):
        pass


def test_a_worker_whose_nanny_ended_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cluster._SETTINGS, "distributed.deploy.lost-worker-timeout", "100ms")
    with connect("", 1) as client:
        client.wait_for_workers(1, timeout=60)
        (first,) = client.scheduler_info()["workers"]
        assert first.startswith("tcp://127.0.0.1:")
        client.sync(client.cluster.workers[0].close)
        deadline = time.monotonic() + 60
        while set(client.scheduler_info()["workers"]) in ({first}, set()):
            assert time.monotonic() < deadline
            cluster.replace_lost(client)
            time.sleep(0.1)
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3


def test_a_profile_without_a_limit_of_threads_gets_a_share_of_the_cores(project: Path) -> None:
    tasks = {"smoke-a-0": Task(["train@smoke-a-0", "score@smoke-a-0"], set())}
    (row,), cache = read_rows(project, tasks, 3)
    assert row.variables == {} and cache == project / ".dvc" / "cache"
    assert row.cached == ("a.weights", "sample.txt")
    assert row.files == ("results/a.json", "train.py") and row.results == ("results/a.json",)
    tasks["paper-a-0"] = tasks["smoke-a-0"]
    (of_smoke, of_paper), _ = read_rows(project, tasks, 3)
    assert of_smoke.variables == {}
    assert of_paper.variables == dict.fromkeys(THREADS, "3")


def test_on_a_cluster_the_environment_of_a_worker_decides_its_threads(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cores of the machine that only asks say nothing about those of the workers."""
    given: dict[str, list[Row]] = {}
    monkeypatch.setattr(
        run, "run_on", lambda address, jobs, checkout, rows: given.update({address: rows})
    )
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    tasks = {"paper-a-0": Task(["train@smoke-a-0", "score@smoke-a-0"], set())}
    run._run_outdated(project, tasks, 2, "")
    run._run_outdated(project, tasks, 2, "tcp://elsewhere:8786")
    assert given[""][0].variables == dict.fromkeys(THREADS, "6")
    assert given["tcp://elsewhere:8786"][0].variables == {}


def test_a_finished_row_waits_for_another_command_of_dvc(project: Path) -> None:
    (project / ".scratch").mkdir(exist_ok=True)
    row = Row("smoke-a-0", ("audit",), (), (), ("results/audit",), {})
    outcome = Outcome({"audit": {"cmd": "true"}}, {"results/audit": b"7\n"})
    lock = project / "dvc.lock"
    lock.write_text("schema: '2.0'\nstages: {}\n")
    with Repo(str(project)) as other, ThreadPoolExecutor(1) as threads:
        with other.lock:
            taking = threads.submit(run.take_over, project, row, outcome)
            with pytest.raises(TimeoutError):
                taking.result(timeout=5)  # DVC itself gives up after three
            assert read_yaml(lock)["stages"] == {}
        taking.result(timeout=60)
    assert read_yaml(lock)["stages"] == {"audit": {"cmd": "true"}}
    assert (project / "results" / "audit").read_text() == "7\n"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("the margin is negative"), "the margin is negative"),
        (RuntimeError("out of memory"), "RuntimeError: out of memory"),
    ],
)
def test_an_error_is_told_with_its_name_unless_its_message_says_enough(
    project: Path, error: Exception, told: str
) -> None:
    row = Row("smoke-a-0", (), (), (), (), {})
    rows = run._Run(Mock(), Checkout(project, "HEAD", project / ".dvc" / "cache"), [row])
    rows._take(row, Mock(exception=lambda: error))
    assert rows.reasons == {"smoke-a-0": told}


def test_the_command_ends_with_its_input(tmp_path: Path) -> None:
    """Also a grandchild in a session of its own, as kernels are."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys, time\n"
        "grandchild = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "print(grandchild.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, child.__file__, sys.executable, str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdin
        grandchild = psutil.Process(int(process.stdout.readline()))
        process.stdin.close()
        assert process.wait(timeout=30) == 137
    assert ended(grandchild)


def test_the_exit_code_of_the_command_is_returned() -> None:
    command = [sys.executable, child.__file__, sys.executable, "-c", "raise SystemExit(5)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.wait(timeout=30) == 5


def test_devices_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert devices() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices() == []


def test_a_given_scheduler_goes_before_the_variable() -> None:
    with config.set({"scheduler-address": "tcp://other:1"}):
        assert scheduler_address("tcp://given:1") == "tcp://given:1"
        assert scheduler_address("") == "tcp://other:1"
    with config.set({"scheduler-address": None}):
        assert scheduler_address("") == ""


def test_a_log_tells_progress_and_the_reason_of_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "row.log"
    assert last_progress(log) == ""
    log.write_text(
        "Running stage 'train@smoke-a-0':\n"
        "epoch 1/4 train: 5/100, 3.10it/s, 00:31 left\n"
        "epoch 1/4 train: 9/100, 3.14it/s, 00:29 left\n"
        "ValueError: the margin is negative\n"
        "ERROR: failed to reproduce 'train@smoke-a-0': failed to run: python\n"
    )
    assert last_progress(log) == "epoch 1/4 train: 9/100, 3.14it/s, 00:29 left"
    assert last_error(log) == f"ValueError: the margin is negative ({log})"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_table_is_redrawn_in_a_terminal_and_repeated_only_when_changed_in_a_file() -> None:
    first = [State("a-0", RUNNING, "3 it/s"), State("long-0", WAITING)]
    slower = [State("a-0", RUNNING, "2 it/s"), State("long-0", WAITING)]
    last = [State("a-0", DONE), State("long-0", FAILED, "disk full")]
    told = "a-0     running  3 it/s\nlong-0  waiting\n1 waiting, 1 running\n"
    end = "a-0     done\nlong-0  failed   disk full\n1 done, 1 failed\n"
    file = io.StringIO()
    display = Display(file)
    for states in (first, slower, last):
        display.show(states)
    assert file.getvalue() == told + end
    terminal = Terminal()
    display = Display(terminal)
    for states in (first, last):
        display.show(states)
    assert terminal.getvalue() == f"{told}\x1b[3F\x1b[J{end}"
