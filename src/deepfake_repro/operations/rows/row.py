"""What DVC says about the stages of each row: what they need and what they write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

from ...project.machine import THREADS
from ...project.params import Params, load
from ..parallel import Task


@dataclass(frozen=True)
class Row:
    """The stages of one row and seed, in their order, with paths relative to the checkout.

    ``cached``: outputs of DVC's cache that they need or write, ``files``: other files and folders;
    ``results``: those of ``files`` that they write, which git has. ``variables``: limits of threads
    where the profile sets none.
    """

    name: str
    stages: tuple[str, ...]
    cached: tuple[str, ...]
    files: tuple[str, ...]
    results: tuple[str, ...]
    variables: Mapping[str, str]


def read_rows(base: Path, tasks: Mapping[str, Task], share: int) -> tuple[list[Row], Path]:
    """Read the rows behind ``tasks`` (name -> stages); return them and the folder of DVC's cache.

    ``share``: threads for each row of a profile that sets none; 0 leaves it to the worker.
    """
    params = load(base / "params.yaml")
    with Repo(str(base)) as repo:
        stages = {stage.name: stage for stage in repo.index.stages}
        outputs = {out.def_path: out.use_cache for stage in stages.values() for out in stage.outs}
        cache = Path(repo.cache.local_cache_dir)
        rows = [
            _row(name, [stages[key] for key in task.stages], outputs, _threads(params, name, share))
            for name, task in tasks.items()
        ]
    return rows, cache


def _row(
    name: str, stages: list[Any], outputs: Mapping[str, bool], variables: Mapping[str, str]
) -> Row:
    """Sort the paths of a row; ``outputs``: path of each stage output -> whether DVC caches it."""
    own = {out.def_path for stage in stages for out in stage.outs}
    needed = {
        dep.def_path
        for stage in stages
        for dep in stage.deps
        if not isinstance(dep, ParamsDependency)
    }
    paths = own | {_container(path, outputs) for path in needed}
    cached = {path for path in paths if outputs.get(path)}
    files = own | {path for path in needed if not outputs.get(_container(path, outputs))}
    return Row(
        name,
        tuple(stage.name for stage in stages),
        tuple(sorted(cached)),
        tuple(sorted(files - cached)),
        tuple(sorted(own - cached)),
        variables,
    )


def _container(path: str, outputs: Iterable[str]) -> str:
    """Return the output that is or contains ``path``; ``path`` itself if none does."""
    parents = [path, *map(str, PurePosixPath(path).parents)]
    return next((parent for parent in parents if parent in outputs), path)


def _threads(params: Params, name: str, share: int) -> dict[str, str]:
    profile = params.profile(name.partition("-")[0])
    return {} if profile.cpu.threads or not share else dict.fromkeys(THREADS, str(share))
