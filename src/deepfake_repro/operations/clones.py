"""Clones of the committed repository with other values in ``params.yaml``.

Studies and rehearsals run in them, apart from the pipeline.
"""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from ruamel.yaml import YAML

from ..project.provenance import has_history

SOURCE = "src"
"""Folder of the code that DVC runs, relative to the clone."""


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Return the text of ``params.yaml`` with ``values`` (dotted key -> value) replaced.

    Comments and anchors stay. Raises ``ValueError`` for a key that the file does not have.
    """
    yaml = YAML()
    content = yaml.load(text)
    for key, value in values.items():
        *parents, last = key.split(".")
        block: Any = content
        for name in parents:
            block = block.get(name, {}) if isinstance(block, MutableMapping) else {}
        if not isinstance(block, MutableMapping) or last not in block:
            raise ValueError(f"params.yaml: a study or rehearsal replaces the unknown key {key!r}")
        block[last] = value
    out = io.StringIO()
    yaml.dump(content, out)
    return out.getvalue()


def require_committed(base: Path, task: str, but: Sequence[str] = ("results/studies",)) -> None:
    """Raise ``ValueError`` for uncommitted changes, which the clone of a ``task`` would lack.

    ``but``: paths that do not count. By default results of side studies, because several studies
    run one after another.
    """
    if not has_history(base):
        raise ValueError(
            f"{task}: this folder has no git history (an unpacked archive) and a clone needs a "
            "commit; run git init && git add -A && git commit -m archive"
        )
    paths = ("--", ".", *(f":(exclude){path}" for path in but))
    if _git(base, "status", "--porcelain", "--untracked-files=no", *paths):
        raise ValueError(f"{task}: commit your changes first; it runs in a clone of the commit")


def clone_commit(base: Path, name: str, cache: Path) -> Path:
    """Clone the committed state, or update an earlier clone of this ``name``; return its folder.

    ``params.yaml`` and ``dvc.lock`` are reset to the committed ones. ``cache`` becomes the DVC
    cache of the clone; a relative path is inside it.
    """
    clone = base / ".scratch" / "studies" / name
    if not clone.is_dir():
        _git(base, "clone", "--quiet", "--shared", str(base), str(clone))
    commit = _git(base, "rev-parse", "HEAD")
    _git(clone, "checkout", "--quiet", "--force", "--detach", commit)
    dvc(clone, "config", "--local", "cache.dir", str(cache))
    return clone


def cache_of(base: Path) -> Path:
    """Return the folder of DVC's cache, which users move to a large disk by ``cache.dir``."""
    with Repo(str(base)) as repo:
        return Path(repo.cache.local_cache_dir)


def replace_params(clone: Path, values: Mapping[str, Any]) -> None:
    """Replace ``values`` (dotted key -> value) in the ``params.yaml`` of a clone."""
    file = clone / "params.yaml"
    file.write_text(with_values(file.read_text(), values))


def dvc(folder: Path, *arguments: str) -> int:
    """Run a ``dvc`` command in a clone and return its exit code."""
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    return subprocess.run(["dvc", *arguments], cwd=folder, env=environment, check=False).returncode


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()
