"""Run one function on a file that is not trusted, in a process of limited memory and time."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
STDOUT = 1
STDERR = 2


def guarded(seconds: float, work: Callable[..., T], *arguments: Any) -> T:
    """Return ``work(*arguments)`` as computed in a child process.

    ``work``: a function of a module. Raises ``ValueError`` with one line for a ``ValueError`` or
    ``OSError`` in it, for a child that dies, and for one that takes more than ``seconds``.
    """
    import_root = str(Path(__file__).resolve().parents[3])
    python_path = filter(None, [import_root, os.environ.get("PYTHONPATH")])
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(python_path),
    }
    try:
        run = subprocess.run(
            [sys.executable, "-m", __name__],
            input=pickle.dumps((work, arguments)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"took more than {seconds:.0f} seconds") from None
    if run.returncode or not run.stdout:
        raise ValueError(f"the process that changes the clip ended with code {run.returncode}")
    problem, result = pickle.loads(run.stdout)
    if problem:
        raise ValueError(problem)
    return result


def serve() -> None:
    """Run the child: read the function and its arguments, write (problem, result)."""
    from ..inputs import limit_memory

    answer = os.fdopen(os.dup(STDOUT), "wb")
    os.dup2(STDERR, STDOUT)  # whatever native libraries print
    work, arguments = pickle.load(sys.stdin.buffer)
    limit_memory()
    try:
        outcome = "", work(*arguments)
    except (ValueError, OSError, MemoryError) as error:
        outcome = " ".join(str(error).split()) or type(error).__name__, None
    pickle.dump(outcome, answer)
    answer.close()


if __name__ == "__main__":
    serve()
