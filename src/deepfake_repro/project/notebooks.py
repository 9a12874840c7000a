"""Notebooks as pipeline stages: keep code cells only (``clean``), execute strictly (``run``).

``clean``: a stage depends on the code of its notebook, never on prose or saved outputs, so improving the
text can not invalidate a GPU run. ``run`` wraps Papermill: an unknown parameter is an error, the output
folder is made, cell output is streamed live, and the stored notebook has no time stamps, progress bars or
random ids, so that the same results give the same bytes.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat

from .params import root
from .progress import LINES


def clean(source: Path, target: Path) -> None:
    """Write the code cells of ``source`` (tags kept, outputs and prose dropped) to ``target``, deterministically."""
    notebook = nbformat.read(source, as_version=4)
    cells = []
    for number, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        tags = cell.metadata.get("tags", [])
        cells.append(
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"code-{number}",
                "outputs": [],
                "metadata": {"tags": tags} if tags else {},
                "source": cell.source,
            }
        )
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    text = json.dumps(
        {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text + "\n", encoding="utf-8")


def run(source: Path, target: Path, parameters: dict[str, object]) -> None:
    """Execute ``source`` with ``parameters`` and store the executed notebook at ``target``.

    Raises ``ValueError`` on a parameter that the notebook's ``parameters`` cell does not have, and
    ``SystemExit`` with the failing cell and its traceback when a cell fails (the half-run notebook
    is kept).
    """
    import papermill  # costs two seconds: only the stages that execute notebooks pay for it
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    known = papermill.inspect_notebook(str(source))
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(
            f"{source.name}: unknown parameter {unknown[0]!r}; its parameters cell has {', '.join(known)}"
        )
    _check_package_is_this_checkout()
    target.parent.mkdir(parents=True, exist_ok=True)
    os.environ[LINES] = "1"
    _stream_to_terminal()
    try:
        # IPC instead of TCP: no open port, no race between kernels started at the same moment;
        # sockets in a folder of their own: by default they have the same names for all kernels of a
        # working directory.
        with TemporaryDirectory(prefix="kernel-") as sockets:
            transport = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/socket"}})
            papermill.execute_notebook(
                str(source),
                str(target),
                parameters=parameters,
                kernel_name="python3",
                progress_bar=False,
                log_output=True,
                config=transport,
            )
    except PapermillExecutionError as error:
        raise SystemExit(
            f"{source.name} failed in cell {error.cell_index}:\n"
            + strip_ansi("\n".join(error.traceback))
        ) from None
    finally:
        if target.is_file():
            normalise(target)


def normalise(path: Path) -> None:
    """Remove from an executed notebook whatever differs between two runs with the same results."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def weave(executed: Path, source: Path, target: Path) -> None:
    """Put the prose of ``source`` back between the cells of its executed copy, for people to read.

    Done by cheap stages only. Raises ``ValueError`` if the code of the two differs: then the run is
    stale.
    """
    result, prose = (nbformat.read(path, as_version=4) for path in (executed, source))
    ran = iter(result.cells)
    cells = []
    for cell in prose.cells:
        if cell.cell_type == "code":
            cell = next(ran, None)
            if cell is not None and "injected-parameters" in cell.metadata.get("tags", []):
                cells.append(cell)
                cell = next(ran, None)
        cells.append(cell)
    codes = [
        [
            c.source
            for c in part
            if c
            and c.cell_type == "code"
            and "injected-parameters" not in c.metadata.get("tags", [])
        ]
        for part in (cells, prose.cells)
    ]
    if codes[0] != codes[1] or next(ran, None) is not None:
        raise ValueError(
            f"{executed.name} was not made from today's {source.name}: run its stage again"
        )
    result.cells = cells
    for number, cell in enumerate(result.cells):
        cell.id = f"cell-{number}"
    target.write_text(nbformat.writes(result) + "\n", encoding="utf-8")


def strip_ansi(text: str) -> str:
    """Text without terminal colour codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class _TerminalLines(logging.Formatter):
    """Cell output as it comes, without Papermill's framing."""

    def format(self, record: logging.LogRecord) -> str:
        return strip_ansi(record.getMessage()).rstrip()


def _stream_to_terminal() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_TerminalLines())
    framing = ("Executing", "Ending", "Input Notebook", "Output Notebook")
    handler.addFilter(
        lambda record: (
            bool(record.getMessage().strip()) and not record.getMessage().startswith(framing)
        )
    )
    logger = logging.getLogger("papermill")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)


def _check_package_is_this_checkout() -> None:
    """Fail if the imported package is another checkout's: its results would be recorded as this one's."""
    here = Path(__file__).resolve()
    if not here.is_relative_to(root().resolve()):
        raise SystemExit(
            f"deepfake_repro was imported from {here.parent}, another checkout: put PYTHONPATH=src first"
        )


def parse(arguments: list[str]) -> dict[str, object]:
    """``name=value`` arguments to parameters; values that look like integers become integers."""
    parameters = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            raise ValueError(f"parameter {argument!r} must be name=value")
        parameters[name] = int(value) if re.fullmatch(r"-?\d+", value) else value
    return parameters
