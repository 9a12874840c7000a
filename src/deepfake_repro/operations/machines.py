"""Train the rows again as other machines would, to measure what their processors change.

The numerical libraries choose their code by the processor; environment variables make them choose
as on another one. Each machine gets a clone of the committed repository, which shares the DVC
cache, and runs the commands recorded in ``dvc.lock`` there, from pre-training on: corpora and crops
do not depend on the processor. Results go to ``results/<profile>/machines.csv`` row by row, so that
a rerun resumes an interrupted run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..project.machine import AVX2, AVX2_OF_INTEL, THREADS, WITHOUT_AVX512, processor
from ..project.params import load, read_yaml
from .clones import SOURCE, cache_of, clone_commit, dvc, require_committed
from .spread import EXACT, KEY, MACHINES, PROBABILITY, read_cells
from .studies import ingredients

RECORD = "machines.json"
"""What ``machines.csv`` was made from."""
COLUMNS = ["machine", "row", "seed", "metric", "set", "value"]
ONE_THREAD = dict.fromkeys(THREADS, "1")
AS_PINNED = {**AVX2, **AVX2_OF_INTEL, **WITHOUT_AVX512}


@dataclass(frozen=True)
class Machine:
    """A processor to emulate: its variables, and the feature that a real one needs for it."""

    feature: str
    variables: Mapping[str, str]


# MKL's code for AVX and SSE is left out: it is three times as slow.
EMULATED = {
    "avx512": Machine(
        "avx512f",
        {
            **ONE_THREAD,
            "ATEN_CPU_CAPABILITY": "avx512",
            "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
            "MKL_CBWR": "AVX512",
            "OPENBLAS_CORETYPE": "SkylakeX",
            "NPY_DISABLE_CPU_FEATURES": "",
            "OPENCV_CPU_DISABLE": "",
        },
    ),
    "old": Machine(
        "avx2",
        {
            **ONE_THREAD,
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "MKL_CBWR": "AVX2",
            "OPENBLAS_CORETYPE": "Nehalem",
            "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
            "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FMA3,AVX",
        },
    ),
    "other_maker": Machine("avx2", {**ONE_THREAD, **AS_PINNED, "MKL_CBWR": "AUTO"}),
    "two_threads": Machine("avx2", {**AS_PINNED, **dict.fromkeys(THREADS, "2")}),
}


def run_machines(
    base: Path, profile: str, rows: Sequence[str] = (), machines: Sequence[str] = (), jobs: int = 2
) -> Path:
    """Run ``rows`` of a profile as each of ``machines`` and return the path of the table.

    Default: all rows of ``run.variants`` and all machines that this processor can emulate. Only the
    first seed is run, ``jobs`` rows at a time. Raises ``ValueError`` for unknown names, uncommitted
    changes, or a command that fails.
    """
    run = load(base / "params.yaml").run
    chosen = _checked(rows or run.variants, run.variants, "row")
    names = _checked(machines or _emulable(), tuple(EMULATED), "machine")
    require_committed(base, "machines")
    table = _prepare(base, profile, run.variants[0])
    for name in names:
        done = set(_read(table).query("machine == @name")["row"])
        missing = [row for row in chosen if row not in done]
        print(f"machine {name}: {len(missing)} of {len(chosen)} rows to run", flush=True)
        if missing:
            _run_machine(base, profile, name, missing, run.seeds[0], jobs)
    return table


def is_current(base: Path, profile: str) -> bool:
    """Return True if the table was made from the code and data in ``dvc.lock``."""
    record = base / "results" / profile / RECORD
    first_row = load(base / "params.yaml").run.variants[0]
    return record.is_file() and json.loads(record.read_text())["made_from"] == ingredients(
        base, profile, first_row
    )


def _checked(names: Sequence[str], known: Sequence[str], kind: str) -> list[str]:
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {kind} {name!r}; there are {', '.join(known)}")
    return list(names)


def _emulable() -> list[str]:
    """Return the machines whose instructions this processor has."""
    features = processor().get("flags", "").split()
    names = [name for name, machine in EMULATED.items() if machine.feature in features]
    if not names:
        raise ValueError("this processor cannot emulate another one: it is not x86-64 under Linux")
    return names


def _prepare(base: Path, profile: str, row: str) -> Path:
    """Start an empty table unless there is one of the same code and data."""
    table = base / "results" / profile / MACHINES
    if not is_current(base, profile) or not table.is_file():
        record = {"made_from": ingredients(base, profile, row)}
        table.parent.mkdir(parents=True, exist_ok=True)
        table.with_name(RECORD).write_text(json.dumps(record, indent=2) + "\n")
        _write(table, pd.DataFrame(columns=COLUMNS))
    return table


def _read(table: Path) -> pd.DataFrame:
    return pd.read_csv(table)


def _write(table: Path, content: pd.DataFrame) -> None:
    """Write the table sorted, so that the order in which rows finish does not matter."""
    content = content.sort_values(COLUMNS[:-1], ignore_index=True)
    unfinished = table.with_suffix(".unfinished")
    content.to_csv(unfinished, index=False, lineterminator="\n")
    unfinished.replace(table)


def _run_machine(
    base: Path, profile: str, name: str, rows: list[str], seed: int, jobs: int
) -> None:
    """Run rows as one machine, add each to the table when it is done, and report progress."""
    table = base / "results" / profile / MACHINES
    clone = clone_commit(base, f"machine-{name}", cache_of(base))
    stages = read_yaml(clone / "dvc.lock")["stages"]
    variables = EMULATED[name].variables
    _fetch_data(clone, profile, rows, seed, stages)
    _pretrain(clone, profile, stages, variables)
    begun = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        running = {
            pool.submit(_run_row, clone, f"{profile}-{row}-{seed}", stages, variables): row
            for row in rows
        }
        try:
            for number, future in enumerate(as_completed(running), start=1):
                row = running[future]
                future.result()
                values = _values(base / "results" / profile, clone / "results" / profile, row, seed)
                found = pd.DataFrame([(name, row, seed, *cell) for cell in values], columns=COLUMNS)
                _write(table, pd.concat([_read(table), found]))
                minutes = (time.monotonic() - begun) / 60
                print(f"machine {name}: {number}/{len(rows)} {row}, {minutes:.1f} min", flush=True)
        finally:  # on an error or interrupt, do not wait for rows that have not started
            pool.shutdown(wait=False, cancel_futures=True)


def _stages_of(run: str, stages: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the stages that train, predict and score a run, in this order."""
    for kind in ("train", "predict", "score"):
        for name, stage in stages.items():
            before, _, item = name.partition("@")
            if item == run and before.startswith(kind):
                yield name, stage


def _fetch_data(
    clone: Path, profile: str, rows: list[str], seed: int, stages: Mapping[str, Any]
) -> None:
    """Check out what the stages of the rows need from the DVC cache."""
    needed = {
        dependency["path"]
        for row in rows
        for _, stage in _stages_of(f"{profile}-{row}-{seed}", stages)
        for dependency in stage["deps"]
    }
    pretraining = stages.get(f"pretrain@{profile}", {"deps": []})
    needed |= {dependency["path"] for dependency in pretraining["deps"]}
    outputs = {output["path"] for stage in stages.values() for output in stage.get("outs", [])}
    cached = {path for path in needed & outputs if path.startswith("data/")}
    made_here = f"data/pretrained/{profile}" if pretraining["deps"] else ""
    targets = sorted((cached | {"results/.clean"}) - {made_here})
    if dvc(clone, "checkout", "--quiet", *targets):
        raise ValueError("machines: dvc checkout failed, see above; run dvc repro first")


def _pretrain(
    clone: Path, profile: str, stages: Mapping[str, Any], variables: Mapping[str, str]
) -> None:
    """Pre-train as this machine, unless it was done for the same code and data."""
    name = f"pretrain@{profile}"
    if name not in stages:
        return
    marker = clone / ".scratch" / "pretrained.json"
    made_from = json.dumps([stages[name]["deps"], dict(variables)])
    if not marker.is_file() or marker.read_text() != made_from:
        _run_stage(clone, name, stages[name], variables)
        marker.write_text(made_from)


def _run_row(
    clone: Path, run: str, stages: Mapping[str, Any], variables: Mapping[str, str]
) -> None:
    found = list(_stages_of(run, stages))
    if len(found) < len(("train", "predict", "score")):
        raise ValueError(f"machines: dvc.lock lacks stages of {run}: run dvc repro, then commit")
    for name, stage in found:
        _run_stage(clone, name, stage, variables)


def _run_stage(
    clone: Path, name: str, stage: Mapping[str, Any], variables: Mapping[str, str]
) -> None:
    """Run the recorded command of a stage; ``ValueError`` names its log if it fails."""
    for output in stage["outs"]:
        path = clone / output["path"]
        if path.is_dir():
            shutil.rmtree(path)
    log = clone / ".scratch" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    here = {"PATH": programs, "PYTHONPATH": SOURCE, "CUDA_VISIBLE_DEVICES": ""}
    with log.open("wb") as stream:
        result = subprocess.run(
            stage["cmd"],
            cwd=clone,
            env={**os.environ, **here, **variables},
            shell=True,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if result.returncode:
        raise ValueError(f"machines: stage {name} failed, see {log}; rerun to resume")


def _values(
    committed: Path, results: Path, row: str, seed: int
) -> Iterator[tuple[str, str, float]]:
    """Yield metric, set and value of a run's scores, and how far its probabilities moved."""
    names = [f"runs/{row}-{seed}/{name}" for name in ("scores.json", "videos.csv")]
    cells = read_cells(results, names)
    for metric, name, value in cells[["metric", "set", "value"]].itertuples(index=False):
        if metric not in (EXACT, PROBABILITY):
            yield metric, name, value
    both = cells.merge(read_cells(committed, names), on=KEY, suffixes=("", "_committed"))
    both = both[both["metric"] == PROBABILITY]
    squares = (both["value"] - both["value_committed"]).astype(float) ** 2
    for name, mean in squares.groupby(both["set"]).mean().items():
        yield PROBABILITY, str(name), round(mean**0.5, 6)
