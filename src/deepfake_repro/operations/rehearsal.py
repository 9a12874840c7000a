"""The paper profile rehearsed: every stage and row at full width on miniature corpora, in minutes, before days are paid.

A clone of the committed repository gets the values of ``params.yaml: rehearsal`` and the miniatures
in place of the official downloads; then DVC runs the very stages of the profile ``paper``. Start
weights that are at hand are used. Where one is not, a file of random weights takes its place and
the rehearsal says so: nothing is fetched, and the code that trains knows nothing of it. The figures
of a rehearsal mean nothing; that it ends means that the set-up works.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import timm
import torch
from huggingface_hub import try_to_load_from_cache

from ..project.params import Params, Profile, load
from ..project.paths import Paths
from ..training import checkpoints
from ..training.detector import build_detector
from .clones import clone_of, demand_committed, dvc, with_values

PROFILE = "paper"
GREY = {"mean": [0.5] * 3, "std": [0.5] * 3}
"""Normalisation beside random weights."""


def rehearse(base: Path, rows: Sequence[str] = ()) -> pd.DataFrame:
    """Run the rehearsal in a clone of ``base``: all rows of ``run.variants``, or ``rows``; :func:`summary` of it.

    The clone is removed when all is well. Raises ``ValueError`` if a stage fails, for an unknown
    row, or for work that is not committed. The next try goes on from there: the clone has a DVC
    cache of its own.
    """
    demand_committed(base, "rehearse")
    params, begun = load(base / "params.yaml"), time.monotonic()
    values = changed(params, rows, gpu=torch.cuda.is_available())
    clone = clone_of(
        base, "rehearsal", Path("cache")
    )  # gigabytes that are not worth a place in the repository's
    dvc(clone, "config", "--local", "cache.type", "hardlink,symlink")
    _write(clone, values)
    _run(clone, f"miniatures@{params.rehearsal.miniatures}")
    corpora = clone / "data" / "corpora"
    shutil.copyfile(corpora / f"{params.rehearsal.miniatures}.yaml", corpora / f"{PROFILE}.yaml")
    # From here on as with official downloads: the miniatures' own stages are no part of the
    # profile.
    _write(
        clone, values | {"run.miniatures": []} | start_weights(params.profile(PROFILE), base, clone)
    )
    _run(clone)
    table = summary(Paths(PROFILE, clone))
    shutil.rmtree(clone)
    print(
        f"rehearsal of {len(table)} rows: every stage ran, {(time.monotonic() - begun) / 60:.0f} minutes on "
        f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'the CPU'}"
    )
    return table


def changed(params: Params, rows: Sequence[str], gpu: bool) -> dict[str, Any]:
    """Dotted key -> value of all that the rehearsal changes in ``params.yaml``, but for missing start weights.

    Raises ``ValueError`` for a row that ``run.variants`` does not have.
    """
    if unknown := sorted(set(rows) - set(params.run.variants)):
        raise ValueError(
            f"rehearse: unknown row {unknown[0]!r}; run.variants knows {', '.join(params.run.variants)}"
        )
    kept = {
        key: [row for row in getattr(params.run, key) if row in (rows or params.run.variants)]
        for key in ("variants", "finetune", "sbi", "lnclip", "calibrate", "robustness")
    }
    run = {
        "profiles": [PROFILE],
        "miniatures": [params.rehearsal.miniatures],
        "pretrain": [],
        "seeds": [0],
        **kept,
    }
    return (
        {f"run.{key}": value for key, value in run.items()}
        | dict(params.rehearsal.values)
        | ({} if gpu else dict(params.rehearsal.without_gpu))
    )


def start_weights(options: Profile, base: Path, clone: Path) -> dict[str, str]:
    """See that every start has weights in ``clone``: dotted key -> file of random weights, for those not at hand.

    Files of ``base`` are copied; of ``timm:`` tags the hub's local cache is asked.
    """
    train, tuned, values = options.train, options.lnclip, {}
    starts = {
        "start.imagenet": (options.start.imagenet, train, False),
        "start.fsfm": (options.start.fsfm, train, False),
        "start.sbi": (options.start.sbi, options.sbi, False),
        "lnclip.start": (tuned.start, tuned, True),
    }
    (clone / "data" / "pretrained" / PROFILE).mkdir(parents=True, exist_ok=True)
    for key, (source, recipe, sphere) in starts.items():
        if _at_hand(source, base, clone):
            print(f"rehearse: {PROFILE}.{key} starts from {source}")
            continue
        print(
            f"rehearse: {PROFILE}.{key}: {source} is not on this machine; it STARTS FROM RANDOM WEIGHTS",
            flush=True,
        )
        values[f"{PROFILE}.{key}"] = f"data/pretrained/{PROFILE}/random-{key}.safetensors"
        _write_random(clone / values[f"{PROFILE}.{key}"], recipe, sphere)
    return values


def summary(paths: Paths) -> pd.DataFrame:
    """A line per rehearsed row: seconds and memory (MiB) of its training, crops a second, and test sets scored."""
    lines = []
    for folder in sorted(paths.runs.iterdir()):
        run, scores = (
            json.loads((folder / name).read_text()) for name in ("provenance.json", "scores.json")
        )
        lines.append(
            {
                "row": folder.name.rpartition("-")[0],
                "seconds": run["seconds"],
                "peak_memory_mib": run["peak_memory_mib"],
                "crops_per_second": run["speed"]["crops_per_second"],
                "test_sets": len(scores["videos"]["scored"]),
            }
        )
    return pd.DataFrame(lines)


def _at_hand(source: str, base: Path, clone: Path) -> bool:
    """True if ``source`` can be loaded in ``clone`` without a download; a file goes there with what lies beside it."""
    if source.startswith("timm:"):
        hub = timm.get_pretrained_cfg(source.removeprefix("timm:")).hf_hub_id
        return isinstance(try_to_load_from_cache(hub, "model.safetensors"), str)
    file = base / source
    if file.is_file():
        for beside in (file, file.with_suffix(".json"), file.with_name("pretrain_ds_mean_std.txt")):
            if beside.is_file():
                (clone / source).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(beside, (clone / source).with_name(beside.name))
    return file.is_file()


def _write_random(file: Path, recipe: Any, sphere: bool) -> None:
    """Fresh weights of ``recipe``'s network in the format of ``load_safetensors``."""
    if file.is_file():  # of an earlier try: the same bytes
        return
    torch.manual_seed(0)
    detector = build_detector(
        recipe.architecture, 2, depth=recipe.depth, input_size=recipe.input_size, sphere=sphere
    )
    checkpoints.save(detector.encoder, file.parent, GREY)
    for written in ("safetensors", "json"):
        (file.parent / f"model.{written}").rename(file.with_suffix(f".{written}"))


def _write(clone: Path, values: dict[str, Any]) -> None:
    file = clone / "params.yaml"
    file.write_text(with_values(file.read_text(), values))


def _run(clone: Path, *arguments: str) -> None:
    if dvc(clone, "repro", *arguments):
        raise ValueError(
            "rehearse: a stage failed, see above; mend it, commit and start again: it goes on from there "
            "(name rows to rehearse only those)"
        )
