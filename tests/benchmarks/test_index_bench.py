"""Seconds and memory of indexing the nine official downloads at full size, each and all in a fresh
process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.official_trees import TREES

pytestmark = pytest.mark.bench

SOURCE = Path(__file__).resolve().parents[2] / "src"
MEASURE = """
import json, resource, sys, time
from deepfake_repro.corpora import index_corpora
start, busy = time.perf_counter(), time.process_time()
table, _ = index_corpora(json.loads(sys.argv[1]))
seconds, used = time.perf_counter() - start, time.process_time() - busy
print(json.dumps([len(table), seconds, used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def measure(roots: dict[str, str]) -> tuple[int, float, float, float]:
    """Rows, seconds, processor seconds and peak MB of one ``index_corpora`` in a process of its
    own.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(roots)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    return tuple(json.loads(done.stdout))


def test_indexing_all_official_corpora(tmp_path: Path) -> None:
    roots = {corpus: str(tree(tmp_path / corpus)) for corpus, tree in TREES.items()}
    print(f"\n{'corpus':<14}{'rows':>9}{'seconds':>9}{'CPU s':>7}{'MB':>7}")
    for name, some in {
        **{corpus: {corpus: root} for corpus, root in roots.items()},
        "all": roots,
    }.items():
        rows, seconds, busy, megabytes = measure(some)
        print(f"{name:<14}{rows:>9,}{seconds:>9.1f}{busy:>7.1f}{megabytes:>7.0f}")
    shutil.rmtree(tmp_path)
    assert rows > 250_000 and megabytes < 1_000
