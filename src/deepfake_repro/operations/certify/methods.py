"""Each method's own training loop on synthetic crops, and the field's, in the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from ...crops.store import CropStore
from ...methods.finetune.recipe import build_objective, fine_tune
from ...methods.lnclip.recipe import train_lnclip
from ...methods.sbi.faces import RealCrops
from ...methods.sbi.recipe import Task, train_sbi
from ...project.params import Profile, Variant
from ...project.recipes import LnClip, Sbi, Train
from ...project.vocabulary import FINETUNE, LNCLIP, SBI
from ...training.detector import Detector
from ...training.devices import launch_fabric
from ...training.loading import CropDataset, evaluation_loader, training_loader
from ...training.transforms import evaluation_transform, training_transform
from . import field
from .workload import HELD_OUT, NORM, Amount, Timed, as_loader, peak_memory_mib, real_rows


@dataclass(frozen=True)
class Pace:
    """Crops per second of training steps, share of the time spent waiting, GPU memory in MiB."""

    crops_per_second: float
    waiting_share: float
    peak_memory_mib: int | None


@dataclass(frozen=True)
class Bench:
    """What all runs share: crops, how many, the options of the profile, and a row with triplets."""

    store: CropStore
    amount: Amount
    options: Profile
    row: Variant

    def crops(self, recipe: Train | LnClip, count: int, learn: bool) -> CropDataset:
        """Make a dataset of ``count`` crops, real and fake in turn."""
        make = training_transform if learn else evaluation_transform
        positions = np.arange(count) % len(self.store)
        transform = make(recipe.augmentation, recipe.input_size, NORM)
        return CropDataset(self.store, positions, transform, positions % 2)


def run_method(bench: Bench, method: str, build: Callable[[], Detector]) -> Pace:
    """Train by the method's own loop and recipe for ``bench.amount.steps`` steps."""
    run = {FINETUNE: _finetune, SBI: _sbi, LNCLIP: _lnclip}[method]
    torch.manual_seed(0)
    detector = build()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with TemporaryDirectory() as folder:
        timed = run(bench, detector, Path(folder))
    rate, waiting = timed.rates(bench.amount.untimed)
    # A pair is two images, for the network as for the plan.
    images = 2 if method == SBI else 1
    return Pace(round(images * rate, 1), round(waiting, 3), peak_memory_mib())


def run_field(bench: Bench, build: Callable[[], Detector], folder: Path) -> Pace:
    """Train by the field's loop: the same network, recipe and crops, one PNG file per crop."""
    recipe = one_epoch(bench.options.train)
    for number, image in enumerate(bench.store.table(["image"])["image"]):
        (folder / f"{number}.png").write_bytes(image)
    count = bench.amount.steps * recipe.batch_size
    numbers = [number % len(bench.store) for number in range(count)]
    files = [folder / f"{number}.png" for number in numbers]
    data = field.Files(files, [number % 2 for number in numbers], recipe, NORM)
    on_gpu = torch.cuda.is_available()
    timed = Timed(field.build_loader(data, recipe, recipe.workers, on_gpu))
    torch.manual_seed(0)
    detector = build()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    device = torch.device("cuda" if on_gpu else "cpu")
    amp = torch.float16 if on_gpu else None
    field.train(detector, as_loader(timed), recipe, bench.row, device, amp)
    rate, waiting = timed.rates(bench.amount.untimed)
    return Pace(round(rate, 1), round(waiting, 3), peak_memory_mib())


def one_epoch(recipe: Any) -> Any:
    """Return the recipe for one epoch at its first rate, without checkpoints on the way."""
    values: dict[str, Any] = {"epochs": 1, "warmup_epochs": 0, "checkpoint_steps": 10**9}
    for key in ("constant_epochs", "cycle_epochs"):
        if hasattr(recipe, key):
            values[key] = 1
    return replace(recipe, **values)


def _common(fabric: Fabric, folder: Path) -> dict[str, Any]:
    return {"seed": 0, "scratch": folder, "fabric": fabric, "report": lambda line: None}


def _finetune(bench: Bench, detector: Detector, folder: Path) -> Timed:
    recipe: Train = one_epoch(bench.options.train)
    count = bench.amount.steps * recipe.batch_size
    crops = bench.crops(recipe, count, learn=True)
    timed = Timed(training_loader(crops, recipe.batch_size, recipe.workers, seed=0))
    fine_tune(
        detector,
        as_loader(timed),
        _held_out(bench, recipe),
        build_objective(bench.row, recipe),
        recipe,
        **_common(launch_fabric(recipe.precision), folder),
    )
    return timed


def _lnclip(bench: Bench, detector: Detector, folder: Path) -> Timed:
    recipe: LnClip = one_epoch(bench.options.lnclip)
    count = bench.amount.steps * recipe.batch_size
    crops = bench.crops(recipe, count, learn=True)
    timed = Timed(training_loader(crops, recipe.batch_size, recipe.workers, seed=0))
    train_lnclip(
        detector,
        as_loader(timed),
        _held_out(bench, recipe),
        [str(number) for number in range(HELD_OUT)],
        recipe,
        **_common(launch_fabric(recipe.precision), folder),
    )
    return timed


def _sbi(bench: Bench, detector: Detector, folder: Path) -> Timed:
    recipe: Sbi = replace(one_epoch(bench.options.sbi), weights="")
    rows, points = real_rows(bench.amount, bench.amount.steps * recipe.pairs)
    crops = RealCrops(bench.store, rows, points, recipe.blend)
    held_out = RealCrops(bench.store, rows[:HELD_OUT], points, recipe.blend)
    timed = Timed(training_loader(crops, recipe.pairs, recipe.workers, seed=0))
    train_sbi(
        detector,
        as_loader(timed),
        evaluation_loader(held_out, HELD_OUT, 0),
        Task(recipe, NORM, bench.options.crops.margin),
        **_common(launch_fabric(recipe.precision), folder),
    )
    return timed


def _held_out(bench: Bench, recipe: Train | LnClip) -> DataLoader:
    return evaluation_loader(bench.crops(recipe, HELD_OUT, learn=False), HELD_OUT, 0)
