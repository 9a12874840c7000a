"""Crop store + table of crops -> batches. Nothing here holds all crops in memory."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ..crops.store import CropStore
from .transforms import Transform

CROP_KEY = ["video_id", "frame", "face"]
Key = tuple[int, int]
"""(epoch, item): all that the order and the augmentation of a crop depend on, besides the seed."""
Batch = list[torch.Tensor]


def positions(store: CropStore, rows: pd.DataFrame) -> np.ndarray:
    """Place in ``store`` of each crop of ``rows`` (keyed by video_id, frame, face); int64 ``[N]``.

    Raises ``ValueError`` naming the first crop that the store does not hold.
    """
    keys = store.table(CROP_KEY).reset_index(names="position")
    found = rows[CROP_KEY].merge(keys, on=CROP_KEY, how="left", validate="many_to_one")["position"]
    if found.isna().any():
        missing = next(
            rows.loc[found.isna().to_numpy(), CROP_KEY].itertuples(index=False, name=None)
        )
        raise ValueError(
            f"crop {missing} is in the sample but not in the crop store: run the crops stage again"
        )
    return found.to_numpy(dtype=np.int64)


class CropDataset(Dataset):
    """Item *i* -> (image tensor, class label, triplet label, *i*); each loader worker opens the store anew."""

    def __init__(
        self,
        store: CropStore,
        place: np.ndarray,
        transform: Transform,
        labels: Sequence[int],
        triplet_labels: Sequence[int] | None = None,
    ) -> None:
        self.store, self.place, self.transform = store, place, transform
        self.labels = np.asarray(labels, dtype=np.int64)
        self.triplet_labels = (
            self.labels if triplet_labels is None else np.asarray(triplet_labels, dtype=np.int64)
        )

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int, int, int]:
        image = self.store.image(int(self.place[item]))
        return self.transform(image), int(self.labels[item]), int(self.triplet_labels[item]), item


class GlobalBatches(Sampler[list[Key]]):
    """Batches of (epoch, item) in an order that depends on ``seed`` and ``epoch`` only.

    One batch belongs to all devices together: device ``rank`` of ``world`` takes every ``world``-th
    item of it, so the batches are the same on one device and on many. ``epoch`` and ``start`` (a
    batch) say where the next iteration begins. A last, smaller batch is kept when it is the only
    one, else dropped: a tiny batch has too few triplets. Raises ``ValueError`` if the devices
    cannot share a batch evenly.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.size, self.batch_size, self.seed, self.rank, self.world = (
            size,
            min(batch_size, size),
            seed,
            rank,
            world,
        )
        self.epoch = self.start = 0
        if self.batch_size % world:
            raise ValueError(
                f"batch_size is {self.batch_size}: {world} devices share it, give a multiple of {world}"
            )

    def __len__(self) -> int:
        """Steps an epoch, wherever the next iteration begins."""
        return self.size // self.batch_size if self.size else 0

    def order(self) -> np.ndarray:
        """All items in the order of ``epoch``, int64 ``[size]``."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.epoch))
        return torch.randperm(self.size, generator=generator).numpy()

    def plan(self) -> np.ndarray:
        """The items of each step of ``epoch``, of all devices together, int64 ``[steps, batch_size]``."""
        return self.order()[: len(self) * self.batch_size].reshape(-1, max(self.batch_size, 1))

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in self.plan()[self.start :]:
            yield [(self.epoch, item) for item in batch[self.rank :: self.world].tolist()]


class Seeded(Dataset):
    """Key (epoch, item) -> that item of ``dataset``, its augmentation a function of (seed, epoch, item).

    Neither the number of workers or devices nor an interruption can change a crop.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> tuple:
        epoch, item = key
        with seeded(self.seed, epoch, item):
            return self.dataset[item]


def seed_of(*parts: int) -> int:
    """A seed of 32 bits from several numbers, well spread."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


@contextmanager
def seeded(*parts: int) -> Iterator[None]:
    """The generators of torch (CPU), numpy and Python begin at ``seed_of(*parts)``; afterwards they are as before."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    state = seed_of(*parts)
    torch.default_generator.manual_seed(
        state
    )  # torch.manual_seed would disturb the GPU's and takes 50 times as long
    np.random.seed(state)  # timm's RandAugment and random erasing draw from the global states
    random.seed(state)
    try:
        yield
    finally:
        for restore, kept in zip(
            (torch.set_rng_state, np.random.set_state, random.setstate), before, strict=True
        ):
            restore(kept)


def training_loader(
    dataset: Dataset, batch_size: int, workers: int, seed: int, rank: int = 0, world: int = 1
) -> DataLoader:
    """Shuffled, augmented batches that are a function of ``seed``, epoch and step (see ``set_epoch``).

    ``batch_size`` counts the crops of all ``world`` devices together; ``workers`` are this
    device's.
    """
    return loader_of(dataset, GlobalBatches(len(dataset), batch_size, seed, rank, world), workers)


def loader_of(dataset: Dataset, batches: GlobalBatches, workers: int) -> DataLoader:
    """The ``batches`` of ``dataset``, augmented as their seed says."""
    return DataLoader(Seeded(dataset, batches.seed), batch_sampler=batches, **_feeding(workers))


def evaluation_loader(
    dataset: Dataset, batch_size: int, workers: int, rank: int = 0, world: int = 1
) -> DataLoader:
    """Batches in the dataset's order; device ``rank`` takes every ``world``-th whole batch."""
    batches = [
        range(first, min(first + batch_size, len(dataset)))
        for first in range(0, len(dataset), batch_size)
    ]
    return DataLoader(dataset, batch_sampler=batches[rank::world], **_feeding(workers))


def _feeding(workers: int) -> dict[str, object]:
    """Workers stay alive between epochs and read ahead; pinned memory lets copies to the GPU run beside its work."""
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": torch.cuda.is_available(),
        "prefetch_factor": 4 if workers else None,
    }


def set_epoch(loader: DataLoader, epoch: int, start: int = 0) -> None:
    """The next iteration over a ``training_loader`` begins with batch ``start`` of ``epoch``."""
    loader.batch_sampler.epoch, loader.batch_sampler.start = epoch, start
