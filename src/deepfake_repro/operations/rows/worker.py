"""Run a row in a clone of its own: what a worker does.

The clone shares the DVC cache with the checkout, so that no data are copied, and its folder of
checkpoints, so that any worker resumes what another began. DVC's own locks and state are in the
clone: what a killed DVC left of them is never read again.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Status, get_worker

from ...project.params import read_yaml
from ..parallel import environment
from . import child
from .row import Row

CLONES = Path(".scratch", "rows")
"""Folder for the clones and logs, below the checkout."""
TAIL = 4000
"""Bytes at the end of a log that are searched for its last line of progress or error."""
_PROGRESS = re.compile(rb"[^\r\n]+: \d+/\d+, [^\r\n]+ left[^\r\n]*")
_DVC = """
import json, sys
from dvc.cli import main
codes = [main(command) for command in json.loads(sys.argv[1])]
sys.exit(codes[-1])
"""
"""Runs several commands of DVC, which takes a second to import, and ends as the last of them."""
_LINK_TYPES = ["reflink", "hardlink", "symlink"]


@dataclass(frozen=True)
class Outcome:
    """What the checkout takes over from a row's clone: entries of ``dvc.lock``, files of git."""

    entries: Mapping[str, Any]
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Checkout:
    """The checkout that every worker must see at the same path, its commit and its DVC cache."""

    base: Path
    commit: str
    cache: Path


def run_row(row: Row, checkout: Checkout) -> Outcome:
    """Run the stages of a row, resuming what a lost worker left.

    Raises ``ValueError`` if a stage fails, with the end of its output, or if this machine does not
    see the checkout.
    """
    clones = checkout.base / CLONES
    if not (checkout.base / "dvc.yaml").is_file():
        raise ValueError(
            f"{socket.gethostname()} does not see {checkout.base}: workers need the checkout and "
            "its DVC cache at the same path (docs/operations.md)"
        )
    clones.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{row.name}-", dir=clones) as folder:
        clone = Path(folder)
        with log_of(checkout.base, row.name).open("wb") as log:
            _clone(checkout, clone)
            _take_inputs(row, checkout.base, clone)
            failed = _run(clone, row, log)
        if failed:
            raise ValueError(last_error(log_of(checkout.base, row.name)))
        lock = read_yaml(clone / "dvc.lock")["stages"]
        return Outcome(
            {stage: lock[stage] for stage in row.stages},
            {path: (clone / path).read_bytes() for path in row.results},
        )


def log_of(base: Path, name: str) -> Path:
    """Return the file with the output of a row."""
    return base / CLONES / f"{name}.log"


def last_progress(log: Path) -> str:
    """Return the last line of progress in a log, with its speed and time left, or nothing."""
    found = _PROGRESS.findall(_tail(log))
    return found[-1].decode(errors="replace").strip() if found else ""


def last_error(log: Path) -> str:
    """Return the last line of a failed row before DVC's own, and where all of them are."""
    lines = [line.strip() for line in _tail(log).decode(errors="replace").splitlines()]
    told = [line for line in lines if line and not line.startswith(("ERROR: failed to", "Running"))]
    return f"{told[-1] if told else 'no output'} ({log})"


def _tail(log: Path) -> bytes:
    if not log.is_file():
        return b""
    with log.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(stream.tell() - TAIL, 0))
        return stream.read()


def _clone(checkout: Checkout, clone: Path) -> None:
    """Clone the commit, without a copy of history or data."""
    git = ["git", "clone", "--quiet", "--shared", "--no-checkout"]
    subprocess.run([*git, str(checkout.base), str(clone)], check=True)
    subprocess.run(
        ["git", "checkout", "--quiet", "--detach", checkout.commit], cwd=clone, check=True
    )
    from dvc.repo import Repo  # takes a second to import

    with Repo(str(clone)) as repo, repo.config.edit("local") as config:
        config["cache"] = {"dir": str(checkout.cache), "type": _LINK_TYPES}
        config["core"] = {"site_cache_dir": str(clone / ".dvc" / "site")}


def _take_inputs(row: Row, base: Path, clone: Path) -> None:
    """Take the checkout's ``dvc.lock`` and all that a row needs and that DVC does not cache."""
    (clone / ".scratch").symlink_to(base / ".scratch", target_is_directory=True)
    for path in ("dvc.lock", *row.files):
        source = base / path
        target = clone / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            shutil.copyfile(source, target)
        elif source.is_dir() and not target.exists():
            target.symlink_to(source, target_is_directory=True)


def _run(clone: Path, row: Row, log: Any) -> int:
    """Link what a row needs and run its stages, as long as this task is wanted.

    Returns DVC's exit code.
    """
    link = ["checkout", "--quiet", "--allow-missing", *row.cached]
    repro = ["repro", "--single-item", *row.stages]
    command = [
        sys.executable,
        child.__file__,
        sys.executable,
        "-c",
        _DVC,
        json.dumps([link, repro]),
    ]
    with subprocess.Popen(
        command,
        cwd=clone,
        env={**environment(), **row.variables},
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # an interrupt in the terminal reaches only the main process
    ) as process:
        while True:
            try:
                return process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                if not _is_wanted():
                    assert process.stdin
                    process.stdin.close()


def _is_wanted() -> bool:
    """Return False once the client or the scheduler is gone, or this task was cancelled."""
    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    is_ending = worker.status in (Status.closing, Status.closed, Status.failed)
    return not is_ending and task is not None and task.state == "executing"
