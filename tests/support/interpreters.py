"""Run the subset ``everywhere`` on every other supported Python of this machine, each in an
environment of its own.

    python tests/support/interpreters.py        (the last step of make test)

It says which it found and which not. A name in the path is no proof: pyenv's shims are there for
versions that do not run, and its versions run without being in the path.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROBE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
PATIENCE = 60
"""Seconds for an interpreter to start on a busy machine: a limit, not a measure."""


def supported() -> list[str]:
    """Versions such as ``3.12`` that ``pyproject.toml`` allows, oldest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first, end = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()
    return [f"3.{minor}" for minor in range(int(first), int(end))]


def candidates(version: str) -> Iterator[Path]:
    """Files that may be an interpreter of ``version``: in the path, pyenv's and uv's, newest
    first.
    """
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield Path(folder or ".", f"python{version}")
    roots = {
        "PYENV_ROOT": (Path.home() / ".pyenv", f"versions/{version}*"),
        "UV_PYTHON_INSTALL_DIR": (
            Path.home() / ".local" / "share" / "uv" / "python",
            f"cpython-{version}*",
        ),
    }
    for variable, (usual, pattern) in roots.items():
        folders = Path(os.environ.get(variable) or usual).glob(pattern)
        newest_first = sorted(
            folders, key=lambda path: list(map(int, re.findall(r"\d+", path.name))), reverse=True
        )
        yield from (folder / "bin" / f"python{version}" for folder in newest_first)


def works(python: Path, version: str) -> bool:
    """True if ``python`` runs, is of ``version`` and can make environments."""
    if not os.access(python, os.X_OK):
        return False
    try:
        probe = subprocess.run(
            [python, "-I", "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.stdout.strip() == version


def find(version: str) -> Path | None:
    """The first working interpreter of ``version``, or None."""
    return next((python for python in candidates(version) if works(python, version)), None)


def main() -> int:
    """Run ``make everywhere`` for each; returns the number of failures."""
    mine = "{}.{}".format(*sys.version_info)
    found = {version: find(version) for version in supported() if version != mine}
    there = [f"{version} ({python})" for version, python in found.items() if python]
    missing = [version for version, python in found.items() if not python]
    print(
        f"== all tests ran on Python {mine}; the subset runs on {', '.join(there) or 'no other'}; "
        f"not found: {', '.join(missing) or 'none'}",
        flush=True,
    )
    failed = []
    for version, python in found.items():
        if python and run(version, python):
            failed.append(version)
    if failed:
        print(f"error: the subset failed on Python {', '.join(failed)}, see above", file=sys.stderr)
    return len(failed)


def run(version: str, python: Path) -> int:
    """Exit code of the subset on one interpreter, in the environment ``.venv-<version>``."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MAKEFLAGS", "MAKEOVERRIDES")
    }
    command = [
        "make",
        "--no-print-directory",
        "everywhere",
        f"VENV=.venv-{version}",
        f"PYTHON={python}",
    ]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
