"""Tests that several stages run at a time, each after those that it needs."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.operations import parallel
from deepfake_repro.operations.parallel import (
    Task,
    as_tasks,
    read_graph,
    read_times,
    run_tasks,
    ways_to_the_end,
)

DOT = """strict digraph {
"code";
"crops@demo-training";
"train@demo-fsfm_ba-0";
"predict@demo-fsfm_ba-0";
"train_sbi@demo-sbi-0";
"report@demo";
"code" -> "crops@demo-training";
"crops@demo-training" -> "train@demo-fsfm_ba-0";
"crops@demo-training" -> "train_sbi@demo-sbi-0";
"train@demo-fsfm_ba-0" -> "predict@demo-fsfm_ba-0";
"predict@demo-fsfm_ba-0" -> "report@demo";
"train_sbi@demo-sbi-0" -> "report@demo";
}
"""
TASKS = as_tasks(read_graph(DOT))


def test_the_stages_of_a_row_and_seed_are_one_task_in_their_order() -> None:
    assert TASKS["demo-fsfm_ba-0"] == Task(
        ["train@demo-fsfm_ba-0", "predict@demo-fsfm_ba-0"], {"crops@demo-training"}
    )
    assert TASKS["report@demo"].needs == {"demo-fsfm_ba-0", "demo-sbi-0"}
    assert sorted(stage for task in TASKS.values() for stage in task.stages) == sorted(
        read_graph(DOT)
    )


def test_a_task_runs_after_those_it_needs_and_beside_others() -> None:
    finished: list[str] = []
    together = threading.Barrier(2, timeout=30)  # breaks unless both rows run at once

    def run(name: str) -> bool:
        assert TASKS[name].needs <= set(finished)
        if name.startswith("demo-"):
            together.wait()
        finished.append(name)
        return True

    assert run_tasks(TASKS, run, 2, lambda: None, {}) == []
    assert sorted(finished) == sorted(TASKS)


def test_never_more_tasks_at_a_time_than_jobs() -> None:
    running: set[str] = set()

    def run(name: str) -> bool:
        running.add(name)
        assert len(running) == 1
        running.discard(name)
        return True

    run_tasks(TASKS, run, 1, lambda: None, {})


def test_a_failure_stops_only_what_needs_it() -> None:
    ran: list[str] = []

    def run(name: str) -> bool:
        ran.append(name)
        return name != "demo-sbi-0"

    assert run_tasks(TASKS, run, 1, lambda: None, {}) == ["demo-sbi-0", "report@demo"]
    assert "demo-fsfm_ba-0" in ran and "report@demo" not in ran


def test_the_longest_way_to_the_end_goes_first() -> None:
    """By hand: a 2 + c 9, b 10 and d unknown; with one job, b would keep the others waiting."""
    tasks = {
        "d": Task([], set()),
        "b": Task([], set()),
        "a": Task([], set()),
        "c": Task([], {"a"}),
    }
    seconds = {"a": 2.0, "b": 10.0, "c": 9.0}
    assert ways_to_the_end(tasks, seconds) == {"a": 11.0, "b": 10.0, "c": 9.0, "d": 1.0}
    begun: list[str] = []
    run_tasks(tasks, lambda name: not begun.append(name), 1, lambda: None, seconds)
    assert begun == ["a", "b", "c", "d"]


def test_times_are_read_from_the_benchmarks_that_have_them(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "benchmarks"
    assert read_times(tmp_path) == {}
    folder.mkdir(parents=True)
    (folder / "demo.csv").write_text("task,begun,seconds\ncode,0,7\ndemo-sbi-0,8,150\n")
    (folder / "rows.csv").write_text("workers,seconds\n2,155\n")
    assert read_times(tmp_path) == {"code": 7.0, "demo-sbi-0": 150.0}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A DVC project of two independent stages and a third one; ``b`` fails while it has no
    input.
    """
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n"
        "  a: {cmd: echo a > a.txt, outs: [a.txt]}\n"
        "  b: {cmd: cat input > b.txt, outs: [b.txt]}\n"
        "  c: {cmd: cat a.txt b.txt > c.txt, deps: [a.txt, b.txt], outs: [c.txt]}\n"
    )
    parallel.dvc(tmp_path, "init", "--no-scm", "--quiet")
    return tmp_path


def test_after_an_interrupt_no_waiting_task_is_started() -> None:
    """Ctrl-C ends what runs; what has not begun must not begin."""
    begun = []

    def run(name: str) -> bool:
        begun.append(name)
        time.sleep(0.3)
        return True

    def interrupt() -> None:
        raise KeyboardInterrupt

    tasks = {str(number): Task([], set()) for number in range(6)}
    with pytest.raises(KeyboardInterrupt):
        run_tasks(tasks, run, 2, interrupt, {})
    assert len(begun) <= 4


def test_what_failed_is_named_with_its_output_and_the_next_run_does_only_the_rest(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parallel.run_pipeline(project, 2) == 1
    printed = capsys.readouterr()
    assert "b FAILED:" in printed.err and "cat: input" in printed.err
    assert "failed or not run: c" in printed.err and "a: " in printed.out
    (project / "input").write_text("b\n")
    assert parallel.run_pipeline(project, 2, times=project / "times.csv") == 0
    assert (project / "c.txt").read_text() == "a\nb\n"
    times = pd.read_csv(project / "times.csv", index_col="task")
    assert sorted(times.index) == ["all", "b", "c"], "a was up to date"
    ends = times["begun"] + times["seconds"]
    assert times["begun"]["c"] >= ends["b"] - 1 and ends["all"] >= ends.max() - 1  # rounded
    capsys.readouterr()
    assert parallel.run_pipeline(project) == 0
    assert capsys.readouterr().out == "Data and pipelines are up to date.\n"
