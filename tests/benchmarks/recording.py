"""Benchmarks beside each other in one process, and the file their ratios are kept in."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "results" / "benchmarks"


def cpu_seconds(*calls: Callable[[], object], repeats: int = 3) -> list[float]:
    """Least CPU time of each call, all threads counted; the calls take turns, so that a busy
    machine slows all.
    """
    for call in calls:
        call()
    least = [float("inf")] * len(calls)
    for _ in range(repeats):
        for number, call in enumerate(calls):
            start = time.process_time()
            call()
            least[number] = min(least[number], time.process_time() - start)
    return least


def device() -> str:
    """Name of the processor."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def record(
    name: str, section: str, figures: Mapping[str, object], packages: tuple[str, ...]
) -> None:
    """Put ``figures`` as ``section`` into ``results/benchmarks/<name>.json``, beside what they were
    measured with.
    """
    path = RESULTS / f"{name}.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content["device"], content["python"] = device(), platform.python_version()
    content["versions"] = {package: metadata.version(package) for package in packages}
    content[section] = figures
    path.write_text(
        json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(f"\n{section}: {json.dumps(figures, ensure_ascii=False)}")
