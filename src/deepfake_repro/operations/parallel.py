"""Run ``dvc repro`` with several stages in parallel, such as independent rows of Table 3.

DVC itself runs one stage after another. Here each worker calls ``dvc repro`` for the stages of one
task, all in this checkout; DVC's own locks keep ``dvc.lock`` consistent. Results equal those of
``dvc repro``, because the profile fixes the number of threads per stage. Unlike ``rows``, it needs
no git history, takes uncommitted changes, and also runs stages in parallel that belong to no row.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from operator import itemgetter
from pathlib import Path

from .clones import SOURCE

Graph = Mapping[str, set[str]]
"""Stage -> the stages whose outputs it needs."""


@dataclass
class Task:
    """Stages that one call of DVC runs, and the tasks that must come before."""

    stages: list[str]
    needs: set[str]


COLUMNS = ("task", "begun", "seconds")
"""Of a table of times, in ``results/benchmarks`` or elsewhere."""
UNKNOWN = 1.0
"""Seconds of a task that was never timed."""
TAIL = 30
"""Lines of a failed task that are shown."""
PATIENCE = 15.0
"""Seconds between two lines that say what is running."""


def run_pipeline(
    base: Path, jobs: int | None = None, wanted: str = "", times: Path | None = None
) -> int:
    """Run all stages that are not up to date, ``jobs`` tasks at a time; return the exit code.

    By default as many as there are cores, or one on a machine with a GPU. ``wanted``: run only the
    stages of this kind, such as ``score``, and what they need. A task that fails stops only the
    tasks that need it. ``times``: a CSV file for when each task that was not up to date began and
    how long it took, in seconds. Raises ``ValueError`` with DVC's own words if it cannot read the
    pipeline.
    """
    if not dvc(base, "status", "--quiet").returncode:
        print("Data and pipelines are up to date.")
        return 0
    graph = read_pipeline(base)
    kinds = [name for name in graph if name.partition("@")[0] == wanted]
    return run_graph(base, needed(graph, kinds) if wanted else graph, jobs or default_jobs(), times)


def run_graph(base: Path, graph: Graph, jobs: int, times: Path | None = None) -> int:
    """Run the stages of a graph that contains all that they need; as :func:`run_pipeline`."""
    tasks = as_tasks(graph)
    run = _Run(base, tasks)
    failed = run_tasks(tasks, run.task, jobs, run.watch, read_times(base))
    if times:
        _write_times(run.times, times)
    for name in failed:
        print(f"failed or not run: {name}", file=sys.stderr)
    return 1 if failed else 0


def _write_times(times: list[tuple[str, float, float]], file: Path) -> None:
    """Write the times of tasks; the last line is the whole run."""
    whole = max((begun + seconds for _, begun, seconds in times), default=0.0)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, begun, seconds in [*sorted(times, key=itemgetter(1)), ("all", 0.0, whole)]:
            writer.writerow((name, f"{begun:.0f}", f"{seconds:.0f}"))


def read_times(base: Path) -> dict[str, float]:
    """Read how many seconds tasks took when they were timed for ``results/benchmarks``."""
    seconds: dict[str, float] = {}
    for file in sorted((base / "results" / "benchmarks").glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as source:
            reader = csv.DictReader(source)
            if reader.fieldnames == [*COLUMNS]:
                seconds |= {line["task"]: float(line["seconds"]) for line in reader}
    return seconds


def default_jobs() -> int:
    """Return the number of cores, or 1 on a machine with a GPU, because one row occupies it."""
    has_gpu = any(Path("/dev").glob("nvidia[0-9]*"))
    return 1 if has_gpu else os.cpu_count() or 1


def read_pipeline(base: Path) -> dict[str, set[str]]:
    """Read the graph of the pipeline; ``ValueError`` with DVC's own words if DVC cannot read it."""
    drawn = dvc(base, "dag", "--dot")
    if drawn.returncode:
        raise ValueError(f"the pipeline cannot be read: {drawn.stderr.strip()}")
    return read_graph(drawn.stdout)


def read_graph(dot: str) -> dict[str, set[str]]:
    """Read the output of ``dvc dag --dot``: stage -> the stages that it needs."""
    graph: dict[str, set[str]] = {name: set() for name in re.findall(r'^"([^"]+)";$', dot, re.M)}
    for needed, stage in re.findall(r'^"([^"]+)" -> "([^"]+)";$', dot, re.M):
        graph[stage].add(needed)
    return graph


def needed(graph: Graph, stages: Iterable[str]) -> dict[str, set[str]]:
    """Return the part of the graph that consists of these stages and all that they need."""
    waiting = list(stages)
    kept: dict[str, set[str]] = {}
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept[name] = graph[name]
            waiting += graph[name]
    return kept


def as_tasks(graph: Graph) -> dict[str, Task]:
    """Group the stages of each row and seed: one call of DVC trains, predicts and scores it.

    Returns name of the task -> its stages in order, and the tasks that it needs.
    """
    tasks: dict[str, Task] = {}
    for stage in TopologicalSorter(graph).static_order():
        tasks.setdefault(_task_of(stage), Task([], set())).stages.append(stage)
    for name, task in tasks.items():
        needed = {_task_of(other) for stage in task.stages for other in graph[stage]}
        task.needs |= needed - {name}
    return tasks


def _task_of(stage: str) -> str:
    """Return ``demo-fsfm_ba-0`` for ``train@demo-fsfm_ba-0``, and other stages as they are."""
    _, _, item = stage.partition("@")
    return item if is_row(item) else stage


def is_row(name: str) -> bool:
    """Return whether a task is that of a row and seed, such as ``demo-fsfm_ba-0``."""
    return re.fullmatch(r"\w+-\w+-\d+", name) is not None


def run_tasks(
    tasks: Mapping[str, Task],
    run: Callable[[str], bool],
    jobs: int,
    watch: Callable[[], None],
    seconds: Mapping[str, float],
) -> list[str]:
    """Call ``run`` with each task, ``jobs`` at a time, once the tasks that it needs have succeeded.

    Of those that may begin, the one with the longest way to the end goes first, by the ``seconds``
    that tasks take. ``run`` returns whether the task succeeded; ``watch`` is called now and then.
    Returns the tasks that failed or were not run because of that.
    """
    ways = ways_to_the_end(tasks, seconds)
    sorter = TopologicalSorter({name: task.needs for name, task in tasks.items()})
    sorter.prepare()
    ready: list[str] = []
    failed: set[str] = set()
    running: dict[Future[bool], str] = {}
    pool = ThreadPoolExecutor(jobs)
    try:
        while sorter.is_active():
            ready = sorted([*ready, *sorter.get_ready()], key=lambda name: -ways[name])
            while ready and len(running) < jobs:
                name = ready.pop(0)
                if tasks[name].needs & failed:
                    failed.add(name)
                    sorter.done(name)
                else:
                    running[pool.submit(run, name)] = name
            finished, _ = wait(running, timeout=PATIENCE, return_when=FIRST_COMPLETED)
            for future in finished:
                name = running.pop(future)
                if not future.result():
                    failed.add(name)
                sorter.done(name)
            watch()
    finally:
        pool.shutdown(cancel_futures=True)  # after an interrupt, start none of those that wait
    return [name for name in tasks if name in failed]


def ways_to_the_end(tasks: Mapping[str, Task], seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds of each task and of the longest chain of tasks that wait for it."""
    ways: dict[str, float] = {}
    order = TopologicalSorter({name: task.needs for name, task in tasks.items()}).static_order()
    for name in reversed([*order]):
        after = (ways[other] for other in ways if name in tasks[other].needs)
        ways[name] = seconds.get(name, UNKNOWN) + max(after, default=0.0)
    return ways


@dataclass
class _Run:
    """Runs tasks in a checkout and prints what is done and what is running.

    ``begun``: those running, and when they began; ``done``: those that ended; ``times``: (task,
    begun, seconds) of those that succeeded and had something to do.
    """

    base: Path
    tasks: Mapping[str, Task]
    begun: dict[str, float] = field(default_factory=dict)
    times: list[tuple[str, float, float]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)
    said: float = 0.0

    def task(self, name: str) -> bool:
        """Run the stages of a task by ``dvc repro``; on failure print the end of its output."""
        self.begun[name] = time.monotonic()
        stages = self.tasks[name].stages
        result = dvc(self.base, "--wait-for-lock", "repro", "--single-item", *stages)
        begun = self.begun.pop(name)
        seconds = time.monotonic() - begun
        if not result.returncode and "Running stage" in result.stdout:
            self.times.append((name, begun - self.start, seconds))
        self.done.append(name)
        count = f"[{len(self.done)}/{len(self.tasks)}]"
        if result.returncode:
            lines = (result.stdout + result.stderr).splitlines()[-TAIL:]
            print("\n".join([f"{count} {name} FAILED:", *lines]), file=sys.stderr, flush=True)
        else:
            print(f"{count} {name}: {seconds:.0f} s", flush=True)
        return not result.returncode

    def watch(self) -> None:
        """Print the running tasks, at most every ``PATIENCE`` seconds."""
        now = time.monotonic()
        if self.begun and now - self.said >= PATIENCE:
            self.said = now
            running = ", ".join(
                f"{name} ({now - began:.0f} s)" for name, began in self.begun.items()
            )
            print(f"running since {now - self.start:.0f} s: {running}", flush=True)


def dvc(base: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run DVC in ``base`` with its code and this environment; return its exit code and output."""
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=base,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def environment() -> dict[str, str]:
    """Return the variables for DVC: this environment's programs, and the checkout's own code."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": programs, "PYTHONPATH": SOURCE}
