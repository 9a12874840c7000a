"""Measure how long each notebook takes (``make times``) and tabulate it in ``docs/teaching.md``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ..project.params import root
from ..project.progress import track
from ..project.provenance import hardware

RECORD = "results/benchmarks/notebooks.json"
PAGE = "docs/teaching.md"
MARKS = ("<!-- times: written by `make times` -->\n", "<!-- /times -->")
OUTPUT_FOLDERS = ("data", "results")
"""Folders with the pipeline's outputs, which the notebooks read; they write to a copy."""


def measure(base: Path, names: Sequence[str] = ()) -> None:
    """Run notebooks in a copy of the committed checkout; write their seconds and the table.

    ``names``: as in ``notebooks/`` (``solutions/04_triplets``); none means every notebook and
    solution. Seconds are those of the whole command, including the start of the kernel and all
    imports. Raises ``FileNotFoundError`` if the demo has not been made.
    """
    if not (base / "results" / "demo" / "weights").is_dir():
        raise FileNotFoundError(
            "results/demo/weights does not exist: run `dvc repro` first, which makes the demo"
        )
    existing = [
        path.relative_to(base / "notebooks").with_suffix("").as_posix()
        for folder in ("notebooks", "notebooks/solutions")
        for path in sorted((base / folder).glob("*.ipynb"))
    ]
    record = base / RECORD
    seconds = json.loads(record.read_text())["seconds"] if names and record.is_file() else {}
    with TemporaryDirectory() as scratch:
        checkout = _copy(base, Path(scratch) / "checkout")
        for name in track(names or existing, "notebooks"):
            seconds[name] = _seconds(checkout, name)
    seconds = {name: seconds[name] for name in existing if name in seconds}

    content = {"hardware": hardware(), "seconds": seconds}
    record.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    page = base / PAGE
    page.write_text(with_table(page.read_text(encoding="utf-8"), seconds), encoding="utf-8")


def table(seconds: Mapping[str, float]) -> str:
    """Write one Markdown row per notebook: its time and, if it has one, that of its solution."""
    lines = ["| notebook | alone | its solution |", "|---|---:|---:|"]
    for name in seconds:
        if name.startswith("solutions/"):
            continue
        solution = seconds.get(f"solutions/{name}")
        of_solution = "–" if solution is None else _duration(solution)
        link = f"[{name}](../notebooks/{name}.ipynb)"
        lines.append(f"| {link} | {_duration(seconds[name])} | {of_solution} |")
    return "\n".join(lines) + "\n"


def with_table(page: str, seconds: Mapping[str, float]) -> str:
    """Replace the table between the marks of a page."""
    begin, end = MARKS
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{table(seconds)}\n{end}{after}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _copy(base: Path, target: Path) -> Path:
    """Clone the checkout and copy the pipeline's outputs into it.

    Notebooks of the pipeline write their outputs; the copies are writable and DVC's files stay as
    they are.
    """
    subprocess.run(["git", "clone", "--quiet", str(base), str(target)], check=True)
    for folder in OUTPUT_FOLDERS:
        shutil.copytree(
            base / folder, target / folder, copy_function=shutil.copyfile, dirs_exist_ok=True
        )
    return target


def _seconds(checkout: Path, name: str) -> float:
    """Run one notebook with its own parameters; return the wall time.

    Raises ``SystemExit`` with its last lines if it fails.
    """
    source = checkout / "notebooks" / f"{name}.ipynb"
    options = ["--no-progress-bar", "--kernel", "python3"]
    command = [sys.executable, "-m", "papermill", source.name, os.devnull, *options]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    begin = time.perf_counter()
    run = subprocess.run(
        command, cwd=source.parent, env=environment, capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise SystemExit(f"{name} failed:\n{run.stderr[-2000:]}")
    return round(time.perf_counter() - begin, 1)


if __name__ == "__main__":
    try:
        measure(root(), sys.argv[1:])
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
