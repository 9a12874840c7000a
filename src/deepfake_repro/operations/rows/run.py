"""Run the rows and seeds of ``run`` on all devices, on this machine or on a cluster.

What rows share (crops, sample, pre-training) runs first, in this checkout; then each row is one
task of Dask (``worker.run_row``); then, if all are done, what needs them, such as the report.
A finished row's results are taken over at once, so an interrupted run loses none.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client, Future, KilledWorker, wait
from distributed.comm import CommClosedError
from dvc.exceptions import DvcException
from dvc.repo import Repo
from filelock import FileLock, Timeout

from ...project.files import replacing
from ..clones import require_committed
from ..lock import put_stages
from ..parallel import (
    Graph,
    Task,
    as_tasks,
    default_jobs,
    dvc,
    is_row,
    needed,
    read_pipeline,
    run_graph,
)
from .cluster import connect, devices, replace_lost, scheduler_address
from .row import Row, read_rows
from .slots import free_workers
from .table import DONE, FAILED, RUNNING, WAITING, Display, State
from .worker import CLONES, Checkout, Outcome, last_progress, log_of, run_row

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a shell."""
PATIENCE = 1.0
"""Seconds between two looks at the rows."""
CLEAR = (ValueError, OSError, subprocess.CalledProcessError, DvcException)
"""Errors whose message says enough without their name."""


def run_rows(
    base: Path, wanted: Sequence[str] = (), jobs: int | None = None, scheduler: str = ""
) -> int:
    """Run all rows that are not up to date, or those of ``wanted``; return the exit code.

    ``jobs``: workers on this machine; default: one per GPU, without a GPU one per core.
    ``scheduler``: address of a Dask scheduler whose workers are used instead. Raises ``ValueError``
    for an unknown row, uncommitted changes, or if the scheduler does not answer or ends.
    """
    require_committed(base, "rows", but=("results", "dvc.lock", "README.md"))
    workers = jobs or len(devices()) or default_jobs()
    graph = read_pipeline(base)
    chosen = _chosen(as_tasks(graph), wanted)
    stages = {stage for task in chosen.values() for stage in task.stages}
    before = set(needed(graph, stages)) - stages
    changed = _changed(base, before | stages)
    if before & changed:
        if run_graph(base, _part(graph, before), workers):
            return 1
        changed = _changed(base, stages)
    outdated = {name: task for name, task in chosen.items() if changed & set(task.stages)}
    try:
        failed = _run_outdated(base, outdated, workers, scheduler_address(scheduler))
    except KeyboardInterrupt:
        print("interrupted: rerun to resume", file=sys.stderr)
        return INTERRUPTED
    lost = {stage for name in failed for stage in chosen[name].stages}
    after = set() if wanted else _without(graph, lost) - before - stages
    code = run_graph(base, _part(graph, after), workers) if after else 0
    if failed:
        print(f"failed: {', '.join(failed)}; fix it and rerun to resume", file=sys.stderr)
        return 1
    return code


def _run_outdated(
    base: Path, outdated: Mapping[str, Task], workers: int, address: str
) -> list[str]:
    """Run these rows, ``workers`` at a time or on those of a scheduler; return those that failed.

    On this machine rows share its cores; elsewhere the environment of a worker decides.
    """
    if not outdated:
        return []
    at_once = min(workers, len(outdated))
    share = 0 if address else max((os.cpu_count() or 1) // at_once, 1)
    rows, cache = read_rows(base, outdated, share)
    return run_on(address, at_once, Checkout(base, _git(base, "rev-parse", "HEAD"), cache), rows)


def _without(graph: Graph, lost: set[str]) -> set[str]:
    """Return the stages of the graph that need none of those that are lost."""
    return {stage for stage in graph if not lost & needed(graph, [stage]).keys()}


def run_on(address: str, jobs: int, checkout: Checkout, rows: Sequence[Row]) -> list[str]:
    """Run rows on the workers of a scheduler, or on ``jobs`` of this machine if it is empty.

    Returns the names of those that failed. Raises ``ValueError`` if the scheduler is not there or
    ends meanwhile.
    """
    try:
        with _alone(checkout.base), connect(address, jobs) as client:
            return _Run(client, checkout, rows).to_end()
    except (CancelledError, CommClosedError):
        raise ValueError(
            f"the scheduler {address} is gone; start it again and rerun to resume"
        ) from None


@contextmanager
def _alone(base: Path) -> Iterator[None]:
    """Keep other ``rows`` out of this checkout: each removes the clones that it finds there."""
    lock = base / ".scratch" / "rows.lock"
    lock.parent.mkdir(exist_ok=True)
    try:
        with FileLock(lock, blocking=False):
            yield
    except Timeout:
        raise ValueError("rows runs in this checkout already; wait for its end") from None


def _chosen(tasks: Mapping[str, Task], wanted: Sequence[str]) -> dict[str, Task]:
    """Return the tasks of the wanted rows with all their seeds and profiles; default: all."""
    rows = {name: task for name, task in tasks.items() if is_row(name)}
    variants = {name.split("-")[1] for name in rows}
    for variant in wanted:
        if variant not in variants:
            raise ValueError(f"unknown row {variant!r}; run has {', '.join(sorted(variants))}")
    return {name: task for name, task in rows.items() if name.split("-")[1] in wanted or not wanted}


def _part(graph: Graph, stages: set[str]) -> dict[str, set[str]]:
    return {stage: graph[stage] & stages for stage in graph if stage in stages}


def _changed(base: Path, stages: set[str]) -> set[str]:
    """Return those of ``stages`` that DVC would run, or whose outputs it would check out."""
    result = dvc(base, "status", "--json", *sorted(stages))
    if result.returncode:
        raise ValueError(f"dvc status failed: {result.stderr.strip()}")
    return set(json.loads(result.stdout))


def _git(base: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=base, check=True, capture_output=True, text=True
    ).stdout.strip()


@dataclass
class _Run:
    """Rows under way on a cluster.

    ``waiting``: rows not yet given to the scheduler, ``running``: those given to it; ``placed``:
    name -> worker that it was meant for; ``movable``: keys that any other worker may take up;
    ``run``: tells its keys from those of others on the scheduler; ``reasons``: name -> why a row
    failed.
    """

    client: Client
    checkout: Checkout
    rows: Sequence[Row]
    waiting: list[Row] = field(default_factory=list)
    running: dict[Future, Row] = field(default_factory=dict)
    placed: dict[str, str] = field(default_factory=dict)
    movable: set[str] = field(default_factory=set)
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    done: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)

    def to_end(self) -> list[str]:
        """Run all rows, showing their table; return the names of those that failed."""
        clones = self.checkout.base / CLONES
        shutil.rmtree(clones, ignore_errors=True)  # of a killed run
        display = Display()
        self.waiting = list(self.rows)
        while self.waiting or self.running:
            self._submit()
            for future in _finished(list(self.running)):
                self._take(self.running.pop(future), future)
            placed = {str(key) for keys in self.client.processing().values() for key in keys}
            self._let_move(placed)
            display.show(self._states(placed))
            replace_lost(self.client)
        for folder in clones.glob("*/"):  # of killed workers
            shutil.rmtree(folder, ignore_errors=True)
        return list(self.reasons)

    def _submit(self) -> None:
        """Give the next rows to workers with a free thread; others wait here.

        A row that waited on a worker would count that worker's end as its own failure.
        """
        under_way = {str(future.key): self.placed[row.name] for future, row in self.running.items()}
        for address in free_workers(self.client, under_way)[: len(self.waiting)]:
            row = self.waiting.pop(0)
            future = self.client.submit(
                run_row,
                row,
                self.checkout,
                pure=False,
                key=f"{row.name}-{self.run}",  # others may run this row on the same scheduler
                workers=[address],
                allow_other_workers=True,  # if this one is lost
            )
            self.running[future] = row
            self.placed[row.name] = address

    def _take(self, row: Row, future: Future) -> None:
        """Take over the results of a finished row, or the reason of its failure."""
        error = future.exception()  # itself raises if the scheduler has ended
        if error is None:
            try:
                take_over(self.checkout.base, row, future.result())
                self.done.add(row.name)
            except CLEAR as problem:
                self.reasons[row.name] = str(problem)
        elif isinstance(error, KilledWorker):
            self.reasons[row.name] = f"its workers died repeatedly: memory? ({self._log(row)})"
        else:
            name = "" if isinstance(error, CLEAR) else f"{type(error).__name__}: "
            self.reasons[row.name] = f"{name}{error}"

    def _states(self, placed: set[str]) -> list[State]:
        begun = {
            row.name
            for future, row in self.running.items()
            if future.key in placed or future.done()
        }
        return [self._state(row, row.name in begun) for row in self.rows]

    def _let_move(self, placed: set[str]) -> None:
        """Let rows that have a worker, by key, go to any other when it is lost.

        A row that Dask cannot place at once waits for the address that it was submitted for, even
        with ``allow_other_workers``; a restarted worker has another one.
        """
        keys = {str(future.key) for future in self.running} & placed - self.movable
        if keys:
            scheduler = self.client.scheduler
            assert scheduler is not None
            self.client.sync(scheduler.set_restrictions, worker=dict.fromkeys(keys))
            self.movable |= keys

    def _state(self, row: Row, is_begun: bool) -> State:
        if row.name in self.reasons:
            return State(row.name, FAILED, self.reasons[row.name])
        if row.name in self.done:
            return State(row.name, DONE)
        if is_begun and self._log(row).is_file():
            return State(row.name, RUNNING, last_progress(self._log(row)))
        return State(row.name, WAITING, "" if self.client.nthreads() else "for a worker")

    def _log(self, row: Row) -> Path:
        return log_of(self.checkout.base, row.name)


def _finished(futures: list[Future]) -> list[Future]:
    """Wait a moment and return the futures that are done."""
    if not futures:
        time.sleep(PATIENCE)
        return []
    try:
        return list(wait(futures, timeout=PATIENCE, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        return []


def take_over(base: Path, row: Row, outcome: Outcome) -> None:
    """Write the results of a row into the checkout: files, ``dvc.lock``, outputs of the cache."""
    for path, content in outcome.files.items():
        with replacing(base / path) as temporary:
            temporary.write_bytes(content)
    paths = [str(base / path) for path in sorted(set(row.cached) & _outputs(outcome))]
    with Repo(str(base), _wait_for_lock=True) as repo:
        with repo.lock:
            put_stages(base / "dvc.lock", outcome.entries)
        if paths:
            repo.checkout(paths, force=True)


def _outputs(outcome: Outcome) -> set[str]:
    entries = outcome.entries.values()
    return {out["path"] for entry in entries for out in entry.get("outs", [])}
