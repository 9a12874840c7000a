"""Notebooks as pipeline stages: strip them to their code (``clean``) and execute them (``run``).

A stage depends on the code of its notebook only, so that better prose cannot invalidate a GPU run.
``run`` wraps Papermill: it rejects unknown parameters, creates the output folder, streams cell
output, and stores no time stamps, progress bars or random ids, so that the same results give the
same bytes.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import nbformat

from .params import root
from .progress import LINES

SOCKET_BYTES = 103
"""Longest path of a socket: 104 bytes with the final zero on macOS, 108 on Linux."""
LARGE_PICTURE = 150_000
"""Characters of a PNG, in base64, from which on it is reduced."""
_RELATIVE_LINK = re.compile(r"\]\((?![a-z]+:|[#/])([^)\s]+)\)")


def clean(source: Path, target: Path) -> None:
    """Write the code cells of ``source`` with their tags to ``target``, without outputs."""
    notebook = nbformat.read(source, as_version=4)
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    cells = []
    for number, cell in enumerate(code_cells):
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

    Raises ``ValueError`` for a parameter that is not in the notebook's ``parameters`` cell, and
    ``SystemExit`` with cell number and traceback if a cell fails, or with one line if the system
    ends the kernel; ``target`` then contains the cells executed so far.
    """
    import papermill  # takes two seconds: import it only in stages that execute notebooks
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    valid = papermill.inspect_notebook(str(source))
    unknown = sorted(set(parameters) - set(valid))
    if unknown:
        raise ValueError(
            f"{source.name}: unknown parameter {unknown[0]!r}; "
            f"its parameters cell has {', '.join(valid)}"
        )
    _check_package_is_this_checkout()
    target.parent.mkdir(parents=True, exist_ok=True)
    os.environ[LINES] = "1"
    _stream_to_terminal()
    try:
        _execute(source, target, parameters)
    except PapermillExecutionError as error:
        raise SystemExit(
            f"{source.name} failed in cell {error.cell_index}:\n"
            + strip_ansi("\n".join(error.traceback))
        ) from None
    except DeadKernelError:
        raise SystemExit(
            f"{source.name}: the system ended its kernel in cell {_last_cell(target)}; "
            "out of memory? (rerun the stage; with more workers or larger batches it takes more)"
        ) from None
    finally:
        if target.is_file():
            normalise(target)


def _execute(source: Path, target: Path, parameters: dict[str, object]) -> None:
    """Execute a notebook in a kernel that communicates by IPC where that is possible, else by TCP.

    Unlike TCP, IPC opens no port, and kernels that start simultaneously do not race for one. The
    sockets need a folder per kernel, because by default kernels of one working directory use the
    same names.
    """
    import papermill
    from traitlets.config import Config

    base = _socket_base()
    with TemporaryDirectory(prefix="kernel-", dir=base) as sockets:
        transport = {"transport": "ipc", "ip": f"{sockets}/socket"} if base else {}
        papermill.execute_notebook(
            str(source),
            str(target),
            parameters=parameters,
            kernel_name="python3",
            progress_bar=False,
            log_output=True,
            config=Config({"KernelManager": transport}),
        )


def _socket_base() -> str | None:
    """Return a folder in which the paths of sockets are short enough; None if there is none."""
    import zmq

    name = "/kernel-12345678/socket-5"
    candidates = (gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp")
    for folder in candidates if zmq.has("ipc") else ():
        if len(os.fsencode(folder + name)) <= SOCKET_BYTES and os.access(folder, os.W_OK):
            return folder
    return None


def _last_cell(executed: Path) -> int:
    """Return the number of the last cell that Papermill started."""
    cells = nbformat.read(executed, as_version=4).cells
    started = (
        number
        for number, cell in enumerate(cells)
        if cell.metadata.get("papermill", {}).get("start_time")
    )
    return max(started)


def normalise(path: Path) -> None:
    """Remove from an executed notebook what differs between two runs with the same results."""
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
    """Insert the prose of ``source`` between the cells of its executed copy, and write ``target``.

    Its relative links are rewritten for the folder of ``target``, and large pictures are reduced as
    by :func:`shrink_pictures`. Raises ``ValueError`` if the code of the two differs, because the
    execution is then outdated.
    """
    result = nbformat.read(executed, as_version=4)
    prose = nbformat.read(source, as_version=4)
    if _code(result.cells) != _code(prose.cells):
        raise ValueError(
            f"{executed.name} was not executed from the current {source.name}: rerun its stage"
        )
    executed_cells = (cell for cell in result.cells if cell.cell_type == "code")
    cells = []
    for cell in prose.cells:
        if cell.cell_type != "code":
            cell.source = relinked(cell.source, source.parent, target.parent)
            cells.append(cell)
            continue
        executed_cell = next(executed_cells)
        if _is_injected(executed_cell):
            cells.append(executed_cell)
            executed_cell = next(executed_cells)
        cells.append(executed_cell)
    result.cells = cells
    shrink_pictures(result)
    for number, cell in enumerate(result.cells):
        cell.id = f"cell-{number}"
    target.write_text(nbformat.writes(result) + "\n", encoding="utf-8")


def shrink_pictures(notebook: nbformat.NotebookNode) -> None:
    """Reduce each large PNG among the outputs to 256 colours, a third of its size.

    The same picture gives the same bytes; one that has a palette stays as it is.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            picture = output.get("data", {}).get("image/png", "")
            if len(picture) > LARGE_PICTURE:
                output.data["image/png"] = _with_palette(picture)


def _with_palette(picture: str) -> str:
    """Reduce a PNG, in base64, to 256 colours."""
    import PIL.Image  # only where a notebook has pictures

    drawing = PIL.Image.open(BytesIO(b64decode(picture)))
    if drawing.mode == "P":
        return picture
    memory = BytesIO()
    drawing.convert("RGB").quantize(256).save(memory, format="png", optimize=True)
    return b64encode(memory.getvalue()).decode()


def relinked(text: str, old: Path, new: Path) -> str:
    """Rewrite the relative links of Markdown for a page that moves from folder ``old`` to ``new``.

    Links with a scheme, and those to anchors of the page itself, stay as they are.
    """

    def moved(link: re.Match[str]) -> str:
        return f"]({Path(os.path.relpath(old / link[1], new)).as_posix()})"

    return _RELATIVE_LINK.sub(moved, text)


def _code(cells: Sequence[nbformat.NotebookNode]) -> list[str]:
    """Return the code of a notebook, without the cell in which Papermill injects parameters."""
    return [cell.source for cell in cells if cell.cell_type == "code" and not _is_injected(cell)]


def _is_injected(cell: nbformat.NotebookNode) -> bool:
    return "injected-parameters" in cell.metadata.get("tags", [])


def strip_ansi(text: str) -> str:
    """Return ``text`` without terminal colour codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class _TerminalLines(logging.Formatter):
    """Formats cell output without Papermill's framing."""

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
    """Exit if the package was imported from another checkout than the one that records results."""
    here = Path(__file__).resolve()
    if not here.is_relative_to(root().resolve()):
        raise SystemExit(
            f"deepfake_repro was imported from {here.parent}, another checkout: set PYTHONPATH=src"
        )


def parse(arguments: list[str]) -> dict[str, object]:
    """Parse arguments ``name=value``; values that look like integers become integers."""
    parameters: dict[str, object] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            raise ValueError(f"parameter {argument!r} must be name=value")
        parameters[name] = int(value) if re.fullmatch(r"-?\d+", value) else value
    return parameters
