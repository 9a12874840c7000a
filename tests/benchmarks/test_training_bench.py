"""Ratios in one run: our full training loop beside a loop written as the field writes it, same
crops, network and recipe.

On a CPU: the demo's small ViT, CPU seconds (other work on the machine does not count; workers only
move work between cores, so both load in the training process). On CUDA: the paper's network and
batch, wall time, ten or more workers; and what the chip could do. The CUDA branch has not been run
where it was written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from benchmarks.recording import device as processor
from benchmarks.recording import record
from deepfake_repro.crops.store import CropStore
from deepfake_repro.methods.finetune.recipe import build_objective, fine_tune
from deepfake_repro.operations.certify import field as field_training
from deepfake_repro.operations.planning.plan import count_network
from deepfake_repro.project import params
from deepfake_repro.project.recipes import Train
from deepfake_repro.training import loop
from deepfake_repro.training.detector import Detector, build_detector
from deepfake_repro.training.devices import launch_fabric
from deepfake_repro.training.loading import CropDataset, evaluation_loader, training_loader
from deepfake_repro.training.transforms import (
    Normalisation,
    evaluation_transform,
    training_transform,
)

pytestmark = pytest.mark.bench
ROOT = Path(__file__).resolve().parents[2]
NORM = Normalisation((0.5,) * 3, (0.5,) * 3)
CUDA = torch.cuda.is_available()
PARAMS = params.load(ROOT / "params.yaml")
ROW = PARAMS.variant("fsfm_ba")
CROPS = 20_000 if CUDA else 128
VALIDATION = 4  # of no interest here


def recipe() -> Train:
    """The paper's on CUDA; on a CPU the demo's small network and the paper's augmentation and
    batch.
    """
    profiles = PARAMS.profiles
    if CUDA:
        return replace(
            profiles["paper"].train,
            epochs=2,
            warmup_epochs=1,
            workers=max(10, (os.cpu_count() or 1) - 2),
        )
    return replace(
        profiles["demo"].train,
        augmentation="fsfm",
        batch_size=64,
        epochs=2,
        warmup_epochs=1,
        workers=0,
    )


def network(chosen: Train) -> Detector:
    torch.manual_seed(0)
    return build_detector(
        chosen.architecture,
        2,
        depth=chosen.depth,
        input_size=chosen.input_size,
        drop_path=chosen.drop_path,
    )


@pytest.fixture(scope="module")
def store() -> CropStore:
    folder = ROOT / "data" / "crops" / "demo"
    if not folder.is_dir():
        pytest.skip("needs data/crops/demo: dvc repro crops@demo")
    return CropStore(folder)


@pytest.fixture(scope="module")
def files(store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same crops as PNG files."""
    folder = tmp_path_factory.mktemp("crops")
    files = [folder / f"{item}.png" for item in range(min(CROPS, len(store)))]
    for item, file in enumerate(files):
        cv2.imwrite(str(file), cv2.cvtColor(store.image(item), cv2.COLOR_RGB2BGR))
    return files


CLOCK = time.perf_counter if CUDA else time.process_time


def ours(store: CropStore, chosen: Train, scratch: Path) -> float:
    """Images a second of the training steps of ``fit``, as its provenance has them; validation on a
    handful of crops.
    """
    place = np.arange(CROPS) % min(CROPS, len(store))
    shape = chosen.augmentation, chosen.input_size, NORM
    train = CropDataset(store, place, training_transform(*shape), place % 2)
    held = CropDataset(
        store, place[:VALIDATION], evaluation_transform(*shape), place[:VALIDATION] % 2
    )
    loaders = (
        training_loader(train, chosen.batch_size, chosen.workers, 0),
        evaluation_loader(held, VALIDATION, 0),
    )
    result = fine_tune(
        network(chosen),
        *loaders,
        build_objective(ROW, chosen),
        chosen,
        seed=0,
        scratch=scratch,
        fabric=launch_fabric(chosen.precision),
        report=lambda line: None,
    )
    ours.waiting = result.speed["waiting_share"]
    return result.speed["crops_per_second"]


def field(files: list[Path], chosen: Train, amp: torch.dtype | None) -> float:
    """Images a second of the field's training steps."""
    names = [files[item % len(files)] for item in range(CROPS)]
    data = field_training.Files(
        names, [item % len(files) % 2 for item in range(CROPS)], chosen, NORM
    )
    device = torch.device("cuda" if CUDA else "cpu")
    detector, begun = network(chosen), CLOCK()
    loader = field_training.build_loader(data, chosen, 10 if CUDA else 0, CUDA)
    images = field_training.train(detector, loader, chosen, ROW, device, amp)
    return images / (CLOCK() - begun)


def rates(calls: dict[str, Callable[[], float]], repeats: int = 2) -> dict[str, float]:
    """Best images a second of each call; the calls take turns, so that a busy machine slows all."""
    best = dict.fromkeys(calls, 0.0)
    for _ in range(repeats):
        for name, call in calls.items():
            best[name] = max(best[name], call())
    return best


def matrix_peak(size: int = 8192, repeats: int = 20) -> float:
    """Operations a second of a bf16 matrix product on this CUDA device."""
    a = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)
    a @ a
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(repeats):
        a @ a
    torch.cuda.synchronize()
    return repeats * 2 * size**3 / (time.perf_counter() - begun)


def test_training_loop_beside_the_field(
    store: CropStore, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        loop, "time", SimpleNamespace(perf_counter=CLOCK)
    )  # the loop's own stopwatch, in CPU seconds
    chosen, number = recipe(), iter(range(1000))
    torch.backends.cudnn.benchmark = True
    threads = torch.get_num_threads()
    torch.set_num_threads(threads if CUDA else 1)
    calls = {
        name: (
            lambda precision=precision: ours(
                store, replace(chosen, precision=precision), tmp_path / str(next(number))
            )
        )
        for name, precision in {
            "ours, bf16-mixed": "bf16-mixed",
            "ours, 32-true": "32-true",
        }.items()
    }
    amps: dict[str, torch.dtype | None] = {"field, fp16": torch.float16}
    amps |= {} if CUDA else {"field, fp32": None, "field, bf16": torch.bfloat16}
    calls |= {name: (lambda amp=amp: field(files, chosen, amp)) for name, amp in amps.items()}
    found = rates(calls)
    torch.set_num_threads(threads)
    figures: dict[str, object] = {
        "network": f"{chosen.architecture}, {chosen.depth} blocks, {chosen.input_size} px, batch {chosen.batch_size}",
        "images per second" if CUDA else "images per CPU second": {
            key: round(value, 1) for key, value in found.items()
        },
    }
    for mine in ("ours, bf16-mixed", "ours, 32-true"):
        for name in amps:
            figures[f"{mine} / {name}"] = round(found[mine] / found[name], 2)
    if CUDA:
        step = (
            found["ours, bf16-mixed"]
            * count_network(lambda: network(chosen), "", chosen.input_size).training
        )
        figures |= {
            "share of the measured bf16 matrix peak": round(step / matrix_peak(), 3),
            "share of time waiting for the loader": ours.waiting,
        }
    record(
        "training",
        torch.cuda.get_device_name() if CUDA else f"CPU, {processor()}",
        figures,
        ("torch", "torchvision", "timm", "pytorch-metric-learning"),
    )
