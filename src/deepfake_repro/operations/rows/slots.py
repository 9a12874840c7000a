"""Which workers of a cluster have a thread free for another row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from distributed import Client


def free_workers(client: Client, under_way: Mapping[str, str]) -> list[str]:
    """List the address of each worker once per free thread, those with most free threads first.

    ``under_way``: name of each row that the scheduler has -> the worker it was meant for. Dask
    itself compares workers by the time that it expects their tasks to take, so a worker of one
    thread may get a second row while one of four threads has two free.
    """
    where = dict(under_way)
    for address, rows in client.processing().items():
        where.update((row, address) for row in rows if row in under_way)
    taken = Counter(where.values())
    free = {address: threads - taken[address] for address, threads in client.nthreads().items()}
    slots = [(place, address) for address, count in free.items() for place in range(count)]
    return [address for place, address in sorted(slots, key=lambda slot: slot[0] - free[slot[1]])]
