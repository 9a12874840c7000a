"""Tests of how ``rows`` fills the workers of a cluster: in-process workers, rows that only wait."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Future, Scheduler, SpecCluster, Worker
from distributed.comm import CommClosedError

from deepfake_repro.operations.rows import run
from deepfake_repro.operations.rows.row import Row
from deepfake_repro.operations.rows.run import _Run
from deepfake_repro.operations.rows.slots import free_workers
from deepfake_repro.operations.rows.worker import Checkout, Outcome

PATIENCE = 60.0
"""Seconds after which a test fails."""


def worker(threads: int) -> dict[str, Any]:
    """Describe a worker for ``SpecCluster``."""
    options = {"nthreads": threads, "memory_limit": 0, "dashboard_address": None}
    return {"cls": Worker, "options": {"host": "127.0.0.1", **options}}


@pytest.fixture
def client() -> Iterator[Client]:
    """A client of workers of one and of three threads, with Dask's own settings."""
    options = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}
    scheduler = {"cls": Scheduler, "options": options}
    workers = {0: worker(1), 1: worker(3)}
    with SpecCluster(workers=workers, scheduler=scheduler) as cluster, Client(cluster) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        yield client


@pytest.fixture
def addresses(client: Client) -> tuple[str, str]:
    """The workers of one and of three threads."""
    one, three = sorted(client.nthreads(), key=client.nthreads().__getitem__)
    return one, three


GATES: list[threading.Event] = []
"""The last one holds the rows of a test."""


def wait_at_gate() -> bool:
    return GATES[-1].wait(PATIENCE)


def work(row: Row, checkout: Checkout) -> Outcome:
    """Stand in for ``run_row``."""
    if not wait_at_gate():
        raise ValueError("never were six rows at work")
    return Outcome({}, {})


def test_each_thread_has_a_row_and_a_worker_that_joins_takes_the_next(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask would give a worker of one thread several rows, of which others steal some later."""
    GATES.append(threading.Event())
    finished = run._finished
    looks: list[dict[int, int]] = []

    def look(futures: list[Future]) -> list[Future]:
        """Note how many rows each worker has; open the gate when six threads have one."""
        threads = client.nthreads()
        looks.append({threads[name]: len(rows) for name, rows in client.processing().items()})
        if sum(looks[-1].values()) >= 4 and 2 not in client.cluster.worker_spec:
            client.cluster.worker_spec[2] = worker(2)
            client.cluster.loop.add_callback(client.cluster._correct_state)
        if sum(looks[-1].values()) >= 6:
            GATES[-1].set()
        return finished(futures)

    monkeypatch.setattr(run, "_finished", look)
    monkeypatch.setattr(run, "PATIENCE", 0.05)
    monkeypatch.setattr(run, "run_row", work)
    monkeypatch.setattr(run, "take_over", lambda base, row, outcome: None)
    rows = [Row(str(number), (), (), (), (), {}) for number in range(10)]
    assert _Run(client, Checkout(tmp_path, "", tmp_path), rows).to_end() == []
    assert {1: 1, 3: 3, 2: 2} in looks
    assert all(count <= threads for seen in looks for threads, count in seen.items())


@pytest.mark.parametrize("error", [CancelledError(), CommClosedError()])
def test_a_scheduler_that_ends_is_one_line(
    error: Exception, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask raises the first where it waits for rows, the second where it asks for workers."""

    def lose(futures: list[Future]) -> list[Future]:
        raise error

    monkeypatch.setattr(run, "_finished", lose)
    monkeypatch.setattr(run, "run_row", work)
    monkeypatch.setattr(run, "connect", lambda address, jobs: nullcontext(client))
    GATES.append(threading.Event())
    GATES[-1].set()
    with pytest.raises(ValueError, match="the scheduler tcp://its:1 is gone; start it again"):
        run.run_on(
            "tcp://its:1",
            1,
            Checkout(tmp_path, "", tmp_path),
            [Row("0", (), (), (), (), {})],
        )


def test_workers_are_listed_once_per_free_thread_the_emptiest_first(
    client: Client, addresses: tuple[str, str]
) -> None:
    one, three = addresses
    free = free_workers(client, {})
    assert free[:2] == [three, three] and sorted(free[2:]) == sorted([one, three])
    assert sorted(free_workers(client, {"a": three, "b": three})) == sorted([one, three])
    full = {"a": three, "b": three, "c": three}
    assert free_workers(client, full) == [one]
    assert free_workers(client, {**full, "d": one}) == []
    assert free_workers(client, {**full, "d": three}) == [one]


def test_a_row_counts_where_the_scheduler_moved_it(
    client: Client, addresses: tuple[str, str]
) -> None:
    one, three = addresses
    GATES.append(threading.Event())
    future = client.submit(wait_at_gate, key="moved", workers=[three], pure=False)
    deadline = time.monotonic() + PATIENCE
    while not any(client.processing().values()):
        assert time.monotonic() < deadline
    assert Counter(free_workers(client, {"moved": one})) == {one: 1, three: 2}
    GATES[-1].set()
    assert future.result(timeout=PATIENCE)
