"""Four rows of the profile smoke, one after the other and two at a time.

Run it alone on a quiet machine of two cores or more: ``python -m pytest
tests/benchmarks/test_rows_bench.py -m bench -s`` (many minutes). Each number of workers has two
runs, in the order 1, 2, 2, 1, so that a load that grows or ends evenly hits both alike.
"""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import pytest

from benchmarks.recording import RESULTS, device
from deepfake_repro.operations.rows.run import run_rows
from support.clones import make_smoke
from support.rowless import without_rows

ORDER = (1, 2, 2, 1)
HEAD = ("jobs", "seconds", "load_before", "cores", "processor")


def measure(checkout: Path, jobs: int) -> tuple[int, str, str, int | None, str]:
    """Run the rows of a checkout; return a line of the file."""
    load = os.getloadavg()[0]
    start = time.monotonic()
    assert run_rows(checkout, jobs=jobs) == 0
    seconds = time.monotonic() - start
    return jobs, f"{seconds:.0f}", f"{load:.1f}", os.cpu_count(), device()


@pytest.mark.bench
def test_two_rows_at_a_time_are_faster(tmp_path_factory: pytest.TempPathFactory) -> None:
    done = make_smoke(tmp_path_factory)
    folder = tmp_path_factory.mktemp("rows")
    lines = []
    for number, jobs in enumerate(ORDER):
        lines.append(measure(without_rows(done, folder / str(number)), jobs))
        print(lines[-1], flush=True)
    with (RESULTS / "rows.csv").open("w", newline="", encoding="utf-8") as sink:
        csv.writer(sink, lineterminator="\n").writerows([HEAD, *lines])
    seconds = {
        jobs: sum(float(line[1]) for line in lines if line[0] == jobs) for jobs in set(ORDER)
    }
    print(f"two at a time: {seconds[1] / seconds[2]:.2f} times as fast")
    assert seconds[2] < seconds[1]
