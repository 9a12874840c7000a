"""The workers: one per device of this machine, or those of any Dask scheduler."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dask import config
from distributed import Client, Nanny, Scheduler, SpecCluster

LOOPBACK = "127.0.0.1"
_SETTINGS = {
    # A worker gets a second row only when it has finished the first: others may be free.
    "distributed.scheduler.worker-saturation": 1.0,
    # A nanny has this time to replace a worker before it is replaced itself; on a busy machine
    # Dask's 15 s are too few.
    "distributed.deploy.lost-worker-timeout": "300s",
}


def devices() -> list[str]:
    """Return the GPUs of this machine that may be used, as ``CUDA_VISIBLE_DEVICES`` names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name.strip()]
    found = (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    return sorted(found, key=int)


def scheduler_address(given: str) -> str:
    """Return the scheduler given here or by ``DASK_SCHEDULER_ADDRESS``; empty for this machine."""
    return given or config.get("scheduler-address", None) or ""


@contextmanager
def connect(scheduler: str, jobs: int) -> Iterator[Client]:
    """Connect to a scheduler, or to ``jobs`` workers of this machine that take one row each.

    On this machine ports are opened on loopback only; nannies replace workers that end. Raises
    ``ValueError`` if no scheduler answers.
    """
    if scheduler:
        try:
            client = Client(scheduler)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"no Dask scheduler answers at {scheduler} ({error}); start one with "
                "`dask scheduler`, or leave the address out"
            ) from None
        with client:
            yield client
        return
    with (
        config.set(_SETTINGS),
        SpecCluster(
            workers=_workers(jobs),
            scheduler={
                "cls": Scheduler,
                "options": {"host": LOOPBACK, "port": 0, "dashboard_address": f"{LOOPBACK}:0"},
            },
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def replace_lost(client: Client) -> None:
    """Start workers of this machine again whose nannies ended, too; else all rows would wait."""
    cluster = client.cluster
    if isinstance(cluster, SpecCluster):
        cluster.scale(len(cluster.worker_spec))


def _workers(jobs: int) -> dict[int, dict[str, Any]]:
    """Describe the workers: several share a device if there are more of them than devices."""
    found = devices()
    return {
        number: {
            "cls": Nanny,
            "options": {
                "host": LOOPBACK,
                "nthreads": 1,
                "memory_limit": 0,
                "silence_logs": logging.CRITICAL,
                "dashboard_address": f"{LOOPBACK}:0",
                "env": {"CUDA_VISIBLE_DEVICES": found[number % len(found)]} if found else {},
            },
        }
        for number in range(jobs)
    }
