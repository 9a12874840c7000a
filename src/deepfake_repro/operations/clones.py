"""Clones of the committed repository with other values of ``params.yaml``, for what runs beside the pipeline."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from ..project.provenance import has_history

SOURCE = "src"  # a clone runs its own code


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """``params.yaml`` with ``values`` (dotted key -> value) put in; comments and anchors stay.

    Raises ``ValueError`` for a key that the file does not have.
    """
    yaml = YAML()
    content = yaml.load(text)
    for dotted, value in values.items():
        *parents, last = dotted.split(".")
        block = content
        for name in parents:
            block = block.get(name, {}) if isinstance(block, Mapping) else {}
        if not isinstance(block, Mapping) or last not in block:
            raise ValueError(f"params.yaml: studies change {dotted!r}, which is no key of the file")
        block[last] = value
    out = io.StringIO()
    yaml.dump(content, out)
    return out.getvalue()


def demand_committed(base: Path, what: str) -> None:
    """Raise ``ValueError`` for changes that are not committed: ``what`` runs in a clone, which would not have them."""
    if not has_history(base):
        raise ValueError(
            f"{what}: this folder has no git history (an unpacked archive), and what is committed is run in "
            "a clone; run git init && git add -A && git commit -m archive"
        )
    if _git(base, "status", "--porcelain", "--untracked-files=no"):
        raise ValueError(
            f"{what}: commit your changes first; it runs in a clone of what is committed"
        )


def clone_of(base: Path, name: str, cache: Path) -> Path:
    """A clone of the committed state with the DVC cache ``cache``; one that was begun before is kept and brought up.

    Its ``params.yaml`` and ``dvc.lock`` are the committed ones. A relative ``cache`` lies in the
    clone.
    """
    clone = base / ".scratch" / "studies" / name
    if not clone.is_dir():
        _git(base, "clone", "--quiet", "--shared", str(base), str(clone))
    _git(clone, "checkout", "--quiet", "--force", "--detach", _git(base, "rev-parse", "HEAD"))
    dvc(clone, "config", "--local", "cache.dir", str(cache))
    return clone


def dvc(folder: Path, *arguments: str) -> int:
    """Exit code of a ``dvc`` command in a clone."""
    return subprocess.run(
        ["dvc", *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": SOURCE}
    ).returncode


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()
