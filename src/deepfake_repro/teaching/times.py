"""How long each notebook takes by hand (``make times``), and the table of it in ``docs/teaching.md``."""

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
MADE = ("data", "results")
"""What the notebooks read of the pipeline's outputs; they write to a copy of it."""


def measure(base: Path, names: Sequence[str] = ()) -> None:
    """Run notebooks alone in a copy of the committed checkout; write the seconds and the table.

    ``names`` as in ``notebooks/`` (``solutions/04_triplets``); none: every notebook and solution.
    Seconds are from the command to its end, the start of the kernel and all imports in them. Raises
    ``FileNotFoundError`` where the demo has not been made.
    """
    if not (base / "results" / "demo" / "weights").is_dir():
        raise FileNotFoundError(
            "results/demo/weights is not there: run `dvc repro` first; the notebooks need the demo"
        )
    known = [
        path.relative_to(base / "notebooks").with_suffix("").as_posix()
        for folder in ("notebooks", "notebooks/solutions")
        for path in sorted((base / folder).glob("*.ipynb"))
    ]
    file, page = base / RECORD, base / PAGE
    seconds = json.loads(file.read_text())["seconds"] if names and file.is_file() else {}
    with TemporaryDirectory() as scratch:
        copy = _copy(base, Path(scratch) / "checkout")
        seconds |= {name: _seconds(copy, name) for name in track(names or known, "notebooks")}
    seconds = {name: seconds[name] for name in known if name in seconds}
    file.write_text(
        json.dumps({"hardware": hardware(), "seconds": seconds}, indent=2) + "\n", encoding="utf-8"
    )
    page.write_text(with_table(page.read_text(encoding="utf-8"), seconds), encoding="utf-8")


def table(seconds: Mapping[str, float]) -> str:
    """A Markdown row for each notebook: its time and, where it has one, that of its solution."""
    lines = ["| notebook | alone | its solution |", "|---|---:|---:|"]
    for name in (name for name in seconds if not name.startswith("solutions/")):
        solution = seconds.get(f"solutions/{name}")
        lines.append(
            f"| [{name}](../notebooks/{name}.ipynb) | {_spoken(seconds[name])} "
            f"| {'–' if solution is None else _spoken(solution)} |"
        )
    return "\n".join(lines) + "\n"


def with_table(page: str, seconds: Mapping[str, float]) -> str:
    """The text of a page with the table between its marks made anew."""
    before, _, rest = page.partition(MARKS[0])
    return f"{before}{MARKS[0]}\n{table(seconds)}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}"


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _copy(base: Path, target: Path) -> Path:
    """A clone with the pipeline's outputs, writable: pipeline notebooks write, and what DVC holds stays as it is."""
    subprocess.run(["git", "clone", "--quiet", str(base), str(target)], check=True)
    for folder in MADE:
        shutil.copytree(
            base / folder, target / folder, copy_function=shutil.copyfile, dirs_exist_ok=True
        )
    return target


def _seconds(checkout: Path, name: str) -> float:
    """Wall time of one notebook with its own parameters; ``SystemExit`` with its last lines if it fails."""
    source = checkout / "notebooks" / f"{name}.ipynb"
    command = [
        sys.executable,
        "-m",
        "papermill",
        source.name,
        os.devnull,
        "--no-progress-bar",
        "--kernel",
        "python3",
    ]
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
    except FileNotFoundError as problem:
        sys.exit(f"error: {problem}")
