"""Synthetic crops in a real crop store, and how much of each method is run on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from ...crops.store import CropStore, Row, encode, write_part
from ...faces.hulls import POINTS
from ...training.loading import CROP_KEY
from ...training.transforms import Normalisation

NORM = Normalisation((0.5,) * 3, (0.5,) * 3)
HELD_OUT = 8
"""Crops of the validation that ends each run; it is not timed."""


@dataclass(frozen=True)
class Amount:
    """How much is run: distinct ``crops`` of ``side`` pixels, ``steps``, the first ones untimed."""

    crops: int
    side: int
    steps: int
    untimed: int


def amount(side: int, on_gpu: bool) -> Amount:
    """Choose the amount: minutes on a GPU at full batch, less on a CPU with the demo's."""
    return Amount(2048, side, 120, 20) if on_gpu else Amount(96, side, 8, 1)


def write_crops(folder: Path, chosen: Amount) -> CropStore:
    """Write noise of two scales, which PNG compresses about as well as faces; odd ones redder."""
    write_part(folder / "noise.arrow", _rows(chosen))
    return CropStore(folder)


def _rows(chosen: Amount) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    side = chosen.side
    for number in range(chosen.crops):
        coarse = rng.integers(40, 180, (8, 8, 3), np.uint8)
        fine = rng.integers(0, 12, (side, side, 3), np.uint8)
        image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) // 2 + 50 + fine
        image[..., 0] += np.uint8(30 * (number % 2))
        yield {
            "video_id": f"noise/{number:05d}",
            "frame": 0,
            "seconds": 0.0,
            "face": 0,
            "x0": 0.0,
            "y0": 0.0,
            "x1": float(side),
            "y1": float(side),
            "score": 1.0,
            "landmarks": [0.0] * 10,
            "width": side,
            "height": side,
            "image": encode(image, "png"),
        }


def real_rows(chosen: Amount, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """List ``count`` crops as real, and their landmarks: an ellipse of 81 points, as SBI reads."""
    numbers = np.arange(count) % chosen.crops
    rows = pd.DataFrame(
        {
            "video_id": [f"noise/{number:05d}" for number in numbers],
            "frame": 0,
            "face": 0,
            "label": 0,
        }
    )
    turn = np.linspace(0, 2 * np.pi, len(POINTS), endpoint=False)
    ellipse = np.stack([0.5 + 0.3 * np.cos(turn), 0.5 + 0.36 * np.sin(turn)], 1) * chosen.side
    points = rows[CROP_KEY].drop_duplicates()
    return rows, points.assign(points=[ellipse.astype(np.float32).ravel()] * len(points))


def clock() -> Callable[[], float]:
    """Return the clock: wall time on a GPU; CPU seconds of this process on a CPU.

    On a CPU the crops are loaded in the same process. Other work on the machine then does not
    count, and with one thread on an idle machine both clocks agree.
    """
    return time.perf_counter if torch.cuda.is_available() else time.process_time


class Timed:
    """A loader that notes when each batch is asked for and when it comes.

    The steps of any training loop are then timed in the same way, ours and the field's.
    """

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self.batch_sampler = loader.batch_sampler
        self.asked: list[float] = []
        self.came: list[float] = []
        self.sizes: list[int] = []
        self.clock = clock()

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        while True:
            self.asked.append(self.clock())
            batch = next(cast(Iterator[Any], batches), None)
            if batch is None:
                return
            self.came.append(self.clock())
            self.sizes.append(len(batch[0]))
            yield batch

    def rates(self, untimed: int) -> tuple[float, float]:
        """Return items per second, and the share of time spent waiting, after ``untimed`` steps."""
        seconds = self.asked[-1] - self.asked[untimed]
        pairs = zip(self.asked[untimed:], self.came[untimed:], strict=False)
        waiting = sum(came - asked for asked, came in pairs)
        return sum(self.sizes[untimed:]) / seconds, waiting / seconds


def as_loader(timed: Timed) -> DataLoader:
    """Pass a timed loader where a ``DataLoader`` is expected: it has what the loops use."""
    return cast(DataLoader, timed)


def peak_memory_mib() -> int | None:
    """Return the GPU memory used since the last reset, or None on a CPU."""
    return torch.cuda.max_memory_allocated() // 2**20 if torch.cuda.is_available() else None
