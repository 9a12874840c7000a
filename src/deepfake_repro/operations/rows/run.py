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
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client, Future, KilledWorker, wait
from dvc.repo import Repo

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
from .table import DONE, FAILED, RUNNING, WAITING, Display, State
from .worker import CLONES, Checkout, Outcome, last_progress, log_of, run_row

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a shell."""
PATIENCE = 1.0
"""Seconds between two looks at the rows."""


def run_rows(
    base: Path, wanted: Sequence[str] = (), jobs: int | None = None, scheduler: str = ""
) -> int:
    """Run all rows that are not up to date, or those of ``wanted``; return the exit code.

    ``jobs``: workers on this machine; default: one per GPU, without a GPU one per core.
    ``scheduler``: address of a Dask scheduler whose workers are used instead. Raises ``ValueError``
    for an unknown row, uncommitted changes, or if the scheduler does not answer.
    """
    require_committed(base, "rows", but=("results", "dvc.lock", "README.md"))
    workers = jobs or len(devices()) or default_jobs()
    graph = read_pipeline(base)
    chosen = _chosen(as_tasks(graph), wanted)
    stages = {stage for task in chosen.values() for stage in task.stages}
    before = set(needed(graph, stages)) - stages
    if run_graph(base, _part(graph, before), workers):
        return 1
    outdated = _outdated(base, chosen)
    rows, cache = read_rows(base, outdated, max((os.cpu_count() or 1) // workers, 1))
    commit = _git(base, "rev-parse", "HEAD")
    if rows:
        try:
            with connect(scheduler_address(scheduler), min(workers, len(rows))) as client:
                failed = _Run(client, Checkout(base, commit, cache), rows).to_end()
        except KeyboardInterrupt:
            print("interrupted: rerun to resume", file=sys.stderr)
            return INTERRUPTED
        if failed:
            print(f"failed: {', '.join(failed)}; fix it and rerun to resume", file=sys.stderr)
            return 1
    if wanted:
        return 0
    return run_graph(base, _part(graph, set(graph) - before - stages), workers)


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


def _outdated(base: Path, tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Return the tasks of which DVC would run a stage."""
    stages = [stage for task in tasks.values() for stage in task.stages]
    result = dvc(base, "status", "--json", *stages)
    if result.returncode:
        raise ValueError(f"dvc status failed: {result.stderr.strip()}")
    changed = set(json.loads(result.stdout))
    return {name: task for name, task in tasks.items() if changed & set(task.stages)}


def _git(base: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=base, check=True, capture_output=True, text=True
    ).stdout.strip()


@dataclass
class _Run:
    """Rows under way on a cluster; ``reasons``: name -> why a row failed."""

    client: Client
    checkout: Checkout
    rows: Sequence[Row]
    done: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)

    def to_end(self) -> list[str]:
        """Run all rows, showing their table; return the names of those that failed."""
        clones = self.checkout.base / CLONES
        shutil.rmtree(clones, ignore_errors=True)  # of a killed run
        display = Display()
        running = {
            self.client.submit(run_row, row, self.checkout, pure=False, key=row.name): row
            for row in self.rows
        }
        while running:
            finished = _finished(list(running))
            for future in finished:
                self._take(running.pop(future), future)
            display.show(self._states())
            replace_lost(self.client)
        for folder in clones.glob("*/"):  # of killed workers
            shutil.rmtree(folder, ignore_errors=True)
        return list(self.reasons)

    def _take(self, row: Row, future: Future) -> None:
        """Take over the results of a finished row, or the reason of its failure."""
        try:
            outcome = future.result()
        except KilledWorker:
            self.reasons[row.name] = f"its workers died repeatedly: memory? ({self._log(row)})"
        except (ValueError, OSError, subprocess.CalledProcessError, CancelledError) as error:
            self.reasons[row.name] = str(error)
        else:
            take_over(self.checkout.base, row, outcome)
            self.done.add(row.name)

    def _states(self) -> list[State]:
        processing = {key for keys in self.client.processing().values() for key in keys}
        return [self._state(row, row.name in processing) for row in self.rows]

    def _state(self, row: Row, is_processed: bool) -> State:
        if row.name in self.reasons:
            return State(row.name, FAILED, self.reasons[row.name])
        if row.name in self.done:
            return State(row.name, DONE)
        if is_processed and self._log(row).is_file():
            return State(row.name, RUNNING, last_progress(self._log(row)))
        return State(row.name, WAITING)

    def _log(self, row: Row) -> Path:
        return log_of(self.checkout.base, row.name)


def _finished(futures: list[Future]) -> list[Future]:
    """Wait a moment and return the futures that are done."""
    try:
        return list(wait(futures, timeout=PATIENCE, return_when="FIRST_COMPLETED").done)
    except TimeoutError:
        return []


def take_over(base: Path, row: Row, outcome: Outcome) -> None:
    """Write the results of a row into the checkout: files, ``dvc.lock``, outputs of the cache."""
    for path, content in outcome.files.items():
        with replacing(base / path) as temporary:
            temporary.write_bytes(content)
    with Repo(str(base)) as repo, repo.lock:
        put_stages(base / "dvc.lock", outcome.entries)
    result = dvc(base, "checkout", "--quiet", "--force", *set(row.cached) & _outputs(outcome))
    if result.returncode:
        raise ValueError(f"dvc checkout of {row.name} failed: {result.stderr.strip()}")


def _outputs(outcome: Outcome) -> set[str]:
    entries = outcome.entries.values()
    return {out["path"] for entry in entries for out in entry.get("outs", [])}
