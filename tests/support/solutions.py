"""Run solutions of exercises, each in a process of its own that has the imports already.

python solutions.py '[["01_corpora.ipynb", {"profile": "smoke"}], …]'     (in their folder)

Most of a solution's time is imports, so that a kernel each would take many times as long.
"""

from __future__ import annotations

import ast
import json
import multiprocessing
import sys
import traceback
from typing import Any

import nbformat

# What solutions import; a child of this process then has it.
import deepfake_repro.report.tables
import deepfake_repro.teaching.exercises
import deepfake_repro.teaching.networks  # noqa: F401


def run(name: str, parameters: dict[str, Any]) -> None:
    """Run the code cells of a notebook; ``parameters`` replace those of its parameters cell."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in nbformat.read(name, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        exec(compile(ast.parse(cell.source), f"{name}, {cell.id}", "exec"), names)
        if "parameters" in cell.metadata.get("tags", []):
            unknown = parameters.keys() - names.keys()
            assert not unknown, f"{name} has no parameter {unknown}"
            names |= parameters


def main(solutions: list[tuple[str, dict[str, Any]]]) -> dict[str, str]:
    """Return the traceback of each solution that fails."""
    fork = multiprocessing.get_context("fork")
    failures: dict[str, str] = {}
    for name, parameters in solutions:
        receiving, sending = fork.Pipe(duplex=False)
        child = fork.Process(target=attempt, args=(name, parameters, sending))
        child.start()
        sending.close()
        try:
            error = receiving.recv()
        except EOFError:
            error = "its process ended"
        child.join()
        if error:
            failures[name] = error
    return failures


def attempt(name: str, parameters: dict[str, Any], sending: Any) -> None:
    """Send the traceback of a run, or an empty text."""
    sys.stdout = sys.stderr
    try:
        run(name, parameters)
    except BaseException:
        sending.send(traceback.format_exc())
        raise
    sending.send("")


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
