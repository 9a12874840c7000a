"""Merge two versions of ``dvc.lock`` stage by stage, such as rows trained on two machines.

Git merges lines: stages that two machines added at one place conflict, and ``merge=union`` drops
lines that both have. The command is also a merge driver of git.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..project.files import replacing


def merge_lock(ours: Path, theirs: Path, base: Path | None = None) -> list[str]:
    """Write the stages of both files to ``ours``; return those that both changed differently.

    ``base``: the version that both come from; without it, every stage that differs counts as
    changed by both. Of such a stage ``ours`` is kept. Raises ``ValueError`` for a file that is not
    a ``dvc.lock`` of one schema, ``FileNotFoundError`` if there is none.
    """
    merged = _read(ours)
    other = _read(theirs)
    if merged["schema"] != other["schema"]:
        raise ValueError(
            f"{theirs}: schema {other['schema']}, {ours} has {merged['schema']}: "
            "run both with one version of DVC"
        )
    before: Mapping[str, Any] = {}
    if base and base.read_bytes().strip():  # git gives an empty file where there was none
        before = _read(base)["stages"]
    conflicts = _merge(merged["stages"], other["stages"], before)
    _write(ours, merged)
    return conflicts


def put_stages(lock: Path, entries: Mapping[str, Any]) -> None:
    """Write the entries of some stages, which replace earlier ones, to a ``dvc.lock``.

    Raises as :func:`merge_lock`.
    """
    content = _read(lock)
    content["stages"].update(entries)
    _write(lock, content)


def _merge(ours: dict[str, Any], theirs: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Take into ``ours`` what only ``theirs`` changed; return what both changed differently."""
    conflicts = []
    for stage in [*ours, *(name for name in theirs if name not in ours)]:
        mine, other, old = (part.get(stage) for part in (ours, theirs, before))
        if other in (mine, old):
            continue
        if mine != old:
            conflicts.append(stage)
        elif other is None:
            del ours[stage]
        else:
            ours[stage] = other
    return conflicts


def _read(path: Path) -> Any:
    try:
        content = _yaml().load(path.read_text(encoding="utf-8"))
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not a dvc.lock") from None
    except (YAMLError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict) or not {"schema", "stages"} <= set(content):
        raise ValueError(
            f"{path} is not a dvc.lock; one with conflict markers has its versions in git: "
            "git show :2:dvc.lock is ours, :3: theirs, :1: their base"
        )
    content["stages"] = content["stages"] or {}  # None if no stage is left
    return content


def _write(path: Path, content: Any) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as sink:
        _yaml().dump(content, sink)


def _yaml() -> YAML:
    """Return a reader and writer that gives DVC's own bytes."""
    yaml = YAML()
    yaml.default_flow_style = False
    return yaml
