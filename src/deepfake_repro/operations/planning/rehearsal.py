"""Rehearse the paper profile: every stage and row at full width on miniature corpora, in minutes.

A clone of the committed repository gets the values of ``params.yaml: rehearsal``, with the
miniatures instead of the official downloads; then DVC runs the unchanged stages of the profile
``paper``. Start weights on this machine are used. Missing ones are replaced by random weights, with
a message: nothing is downloaded, and the training code is the same. The scores of a rehearsal mean
nothing; if it ends, the set-up works.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import timm
import torch
from huggingface_hub import try_to_load_from_cache

from ...project.params import Params, load
from ...project.paths import Paths
from ...project.recipes import BLOCKS, LNCLIP, LnClip, Sbi, Train
from ...training import checkpoints
from ...training.detector import build_detector
from ...training.transforms import Normalisation
from ..clones import clone_commit, dvc, replace_params, require_committed

PROFILE = "paper"
GREY = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Normalisation saved with random weights."""


class _Start(NamedTuple):
    """Start weights: their source and the network they are for."""

    source: str
    recipe: Train | Sbi | LnClip
    sphere: bool = False


def rehearse(base: Path, rows: Sequence[str] = ()) -> pd.DataFrame:
    """Run the rehearsal of ``rows`` (default: all) in a clone of ``base`` and return its summary.

    The clone is removed on success. Raises ``ValueError`` if a stage fails, for an unknown row, or
    for uncommitted changes. The clone has a DVC cache of its own, so that a rerun resumes after a
    failure.
    """
    require_committed(base, "rehearse")
    start = time.monotonic()
    params = load(base / "params.yaml")
    values = rehearsal_values(params, rows, gpu=torch.cuda.is_available())
    # Gigabytes that the repository's cache should not keep.
    clone = clone_commit(base, "rehearsal", Path("cache"))
    dvc(clone, "config", "--local", "cache.type", "hardlink,symlink")
    replace_params(clone, values)
    _reproduce(clone, f"miniatures@{params.rehearsal.miniatures}")
    corpora = clone / "data" / "corpora"
    shutil.copyfile(corpora / f"{params.rehearsal.miniatures}.yaml", corpora / f"{PROFILE}.yaml")
    # From here on the miniatures are treated like official downloads, without stages of their own.
    weights = start_weights(params, base, clone)
    replace_params(clone, values | {"run.miniatures": []} | weights)
    _reproduce(clone)
    table = summary(Paths(PROFILE, clone))
    shutil.rmtree(clone)
    minutes = (time.monotonic() - start) / 60
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
    print(f"rehearsal of {len(table)} rows: every stage ran, {minutes:.0f} minutes on {device}")
    return table


def rehearsal_values(params: Params, rows: Sequence[str], gpu: bool) -> dict[str, Any]:
    """Return dotted key -> value of what the rehearsal replaces, except missing start weights.

    Raises ``ValueError`` for a row that is not in ``run.variants``.
    """
    unknown = sorted(set(rows) - set(params.run.variants))
    if unknown:
        raise ValueError(
            f"rehearse: unknown row {unknown[0]!r}; run.variants has "
            f"{', '.join(params.run.variants)}"
        )
    kept = rows or params.run.variants
    values: dict[str, Any] = {
        "run.profiles": [PROFILE],
        "run.miniatures": [params.rehearsal.miniatures],
        "run.pretrain": [],
        "run.seeds": [0],
    }
    for key in ("variants", "finetune", "sbi", "lnclip", "calibrate", "robustness"):
        values[f"run.{key}"] = [row for row in getattr(params.run, key) if row in kept]
    values |= params.rehearsal.values
    if not gpu:
        values |= params.rehearsal.without_gpu
    return values


def start_weights(params: Params, base: Path, clone: Path) -> dict[str, str]:
    """Provide start weights in ``clone``, random ones where the real ones are not on this machine.

    Files are copied from ``base``; ``timm:`` tags are looked up in the hub's local cache. Returns
    dotted key -> file of random weights.
    """
    (clone / "data" / "pretrained" / PROFILE).mkdir(parents=True, exist_ok=True)
    values: dict[str, str] = {}
    for key, start in _starts(params).items():
        if _provide(start.source, base, clone):
            print(f"rehearse: {key} starts from {start.source}")
            continue
        print(
            f"rehearse: {key}: {start.source} is not on this machine; "
            "it STARTS FROM RANDOM WEIGHTS",
            flush=True,
        )
        file = f"data/pretrained/{PROFILE}/random-{key.removeprefix(f'{PROFILE}.')}.safetensors"
        values[key] = file
        _write_random(clone / file, start)
    return values


def _starts(params: Params) -> dict[str, _Start]:
    """Return dotted key -> start weights of the profile, and of rows with a start of their own."""
    options = params.profile(PROFILE)
    starts = {
        f"{PROFILE}.start.imagenet": _Start(options.start.imagenet, options.train),
        f"{PROFILE}.start.fsfm": _Start(options.start.fsfm, options.train),
        f"{PROFILE}.start.sbi": _Start(options.start.sbi, options.sbi),
        f"{PROFILE}.lnclip.start": _Start(options.lnclip.start, options.lnclip, sphere=True),
    }
    for row in params.rows_of_run:
        variant = params.variant(row)
        recipe = getattr(params.profile(PROFILE, row), BLOCKS[variant.method])
        keys = {
            f"variants.{row}.backbone.start": variant.backbone,
            f"variants.{row}.profiles.{PROFILE}.start": variant.profiles.get(PROFILE, {}),
        }
        for key, values in keys.items():
            if "start" in values:
                starts[key] = _Start(values["start"], recipe, sphere=variant.method == LNCLIP)
    return starts


def summary(paths: Paths) -> pd.DataFrame:
    """Return one line per row: seconds, memory (MiB) and speed of training, scored test sets."""
    lines = []
    for folder in sorted(paths.runs.iterdir()):
        provenance = json.loads((folder / "provenance.json").read_text())
        scores = json.loads((folder / "scores.json").read_text())
        lines.append(
            {
                "row": folder.name.rpartition("-")[0],
                "seconds": provenance["seconds"],
                "peak_memory_mib": provenance["peak_memory_mib"],
                "crops_per_second": provenance["speed"]["crops_per_second"],
                "test_sets": len(scores["videos"]["scored"]),
            }
        )
    return pd.DataFrame(lines)


def _provide(source: str, base: Path, clone: Path) -> bool:
    """Make ``source`` loadable in ``clone``; return False if that needs a download."""
    if source.startswith("timm:"):
        return is_cached(source.removeprefix("timm:"))
    file = base / source
    if not file.is_file():
        return False
    # Files with the normalisation, in timm's and in FSFM's format.
    companions = (file.with_suffix(".json"), file.with_name("pretrain_ds_mean_std.txt"))
    for path in (file, *companions):
        if path.is_file():
            target = (clone / source).with_name(path.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return True


def is_cached(tag: str) -> bool:
    """Return True if the weights of a timm tag are in the hub's local cache."""
    config = timm.get_pretrained_cfg(tag)
    if config is None or not config.hf_hub_id:
        raise ValueError(f"rehearse: timm has no weights {tag!r}; correct the start in params.yaml")
    return isinstance(try_to_load_from_cache(config.hf_hub_id, "model.safetensors"), str)


def _write_random(file: Path, start: _Start) -> None:
    """Write random weights of a network in the format of ``load_safetensors``."""
    if file.is_file():  # written before the interruption, with the same bytes
        return
    torch.manual_seed(0)
    recipe = start.recipe
    detector = build_detector(
        recipe.architecture,
        2,
        depth=recipe.depth,
        input_size=recipe.input_size,
        sphere=start.sphere,
    )
    checkpoints.save_start(detector.encoder, file, GREY)


def _reproduce(clone: Path, *targets: str) -> None:
    if dvc(clone, "repro", *targets):
        raise ValueError(
            "rehearse: a stage failed, see above; fix it, commit and rerun to resume "
            "(name rows to rehearse only those)"
        )
