"""Run a command that ends, with its descendants, when the process that started it is gone.

A killed worker leaves its children running, and jupyter starts kernels in sessions of their own. So
a worker runs DVC below this script, which notices the end of the worker by the end of its standard
input. It imports nothing of this package and is started by its path.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress

import psutil


def main(command: list[str]) -> int:
    """Run ``command`` to its end, or to the end of standard input; return its exit code.

    As in a shell, it is 128 plus the signal that ended the command.
    """
    child = psutil.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_input, args=(child,), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _end_with_input(child: psutil.Process) -> None:
    while os.read(0, 1024):  # sys.stdin has a lock, which this thread would keep to the end
        pass
    end_tree(child)


def end_tree(process: psutil.Process) -> None:
    """Kill a process and its descendants; a suspended one can start no other meanwhile."""
    with suppress(psutil.NoSuchProcess):
        process.suspend()
        for child in process.children():
            end_tree(child)
        process.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
