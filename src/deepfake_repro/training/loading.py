"""Crop store and table of crops -> batches. Nothing here keeps all crops in memory."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch.utils.data import DataLoader, Dataset, Sampler

from ..crops.store import CropStore
from .transforms import Transform

CROP_KEY = ["video_id", "frame", "face"]
Key = tuple[int, int]
"""(epoch, item): with the seed, all that the order and the augmentation of a crop depend on."""
Batch = list[torch.Tensor]


def positions(store: CropStore, rows: pd.DataFrame) -> np.ndarray:
    """Find the row in ``store`` of each crop of ``rows`` (video_id, frame, face); int64 ``[N]``.

    Raises ``ValueError`` naming the first crop that the store does not contain.
    """
    keys = store.table(CROP_KEY).reset_index(names="position")
    matched = rows[CROP_KEY].merge(keys, on=CROP_KEY, how="left", validate="many_to_one")
    missing = matched["position"].isna().to_numpy()
    if missing.any():
        crop = next(rows.loc[missing, CROP_KEY].itertuples(index=False, name=None))
        raise ValueError(
            f"crop {crop} is in the sample but not in the crop store: rerun the crops stage"
        )
    return matched["position"].to_numpy(dtype=np.int64)


class SizedDataset(Dataset):
    """A dataset of known length."""

    @abstractmethod
    def __len__(self) -> int: ...


class CropDataset(SizedDataset):
    """Item *i* -> (image tensor, class label, triplet label, *i*).

    ``positions``: row in ``store`` of each crop, int64 ``[N]``. Each worker of a loader opens the
    store itself.
    """

    def __init__(
        self,
        store: CropStore,
        positions: np.ndarray,
        transform: Transform,
        labels: ArrayLike,
        triplet_labels: ArrayLike | None = None,
    ) -> None:
        self.store = store
        self.positions = positions
        self.transform = transform
        self.labels = np.asarray(labels, dtype=np.int64)
        self.triplet_labels = (
            self.labels if triplet_labels is None else np.asarray(triplet_labels, dtype=np.int64)
        )

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int, int, int]:
        image = self.store.image(int(self.positions[item]))
        return self.transform(image), int(self.labels[item]), int(self.triplet_labels[item]), item


class GlobalBatches(Sampler[list[Key]]):
    """Batches of (epoch, item) in an order that depends on ``seed`` and ``epoch`` only.

    All devices share each batch: device ``rank`` of ``world`` takes every ``world``-th item of it,
    so the batches are the same on one device and on many. ``epoch`` and ``start`` (a batch) say
    where the next iteration begins. A last, smaller batch is kept only if there is no other: a tiny
    batch has too few triplets. Raises ``ValueError`` if the devices cannot share a batch evenly.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.size = size
        self.batch_size = min(batch_size, size)
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.start = 0
        if self.batch_size % world:
            raise ValueError(
                f"batch_size is {self.batch_size}: {world} devices share it, "
                f"give a multiple of {world}"
            )

    def __len__(self) -> int:
        """Count the steps per epoch, wherever the next iteration begins."""
        return self.size // self.batch_size if self.size else 0

    def order(self) -> np.ndarray:
        """Order all items for ``epoch``, int64 ``[size]``."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.epoch))
        return torch.randperm(self.size, generator=generator).numpy()

    def plan(self) -> np.ndarray:
        """List the items of each step of ``epoch``, all devices, int64 ``[steps, batch_size]``."""
        return self.order()[: len(self) * self.batch_size].reshape(-1, max(self.batch_size, 1))

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in self.plan()[self.start :]:
            yield [(self.epoch, item) for item in batch[self.rank :: self.world].tolist()]


class SeededDataset(SizedDataset):
    """Key (epoch, item) -> that item of ``dataset``, its augmentation seeded by all three.

    A crop depends neither on the number of workers or devices nor on interruptions.
    """

    def __init__(self, dataset: SizedDataset, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> tuple:
        epoch, item = key
        with seeded(self.seed, epoch, item):
            return self.dataset[item]


def derive_seed(*parts: int) -> int:
    """Derive a well-mixed seed of 32 bits from several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


@contextmanager
def seeded(*parts: int) -> Iterator[None]:
    """Seed torch (CPU), numpy and Python by ``derive_seed(*parts)``, then restore their states."""
    torch_state = torch.get_rng_state()
    numpy_state = np.random.get_state()
    python_state = random.getstate()
    seed = derive_seed(*parts)
    # Not torch.manual_seed: it would seed the GPU too and takes 50 times as long.
    torch.default_generator.manual_seed(seed)
    # timm's RandAugment and random erasing draw from the global generators.
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def training_loader(
    dataset: SizedDataset, batch_size: int, workers: int, seed: int, rank: int = 0, world: int = 1
) -> DataLoader:
    """Load shuffled, augmented batches that depend on ``seed``, epoch and step only.

    ``set_epoch`` chooses epoch and step. ``batch_size`` counts the crops of all ``world`` devices
    together; ``workers`` are this device's.
    """
    return seeded_loader(
        dataset, GlobalBatches(len(dataset), batch_size, seed, rank, world), workers
    )


def seeded_loader(dataset: SizedDataset, batches: GlobalBatches, workers: int) -> DataLoader:
    """Load the ``batches`` of ``dataset``, augmented by their seed."""
    return _loader(SeededDataset(dataset, batches.seed), batches, workers)


def evaluation_loader(
    dataset: SizedDataset, batch_size: int, workers: int, rank: int = 0, world: int = 1
) -> DataLoader:
    """Load batches in the dataset's order; device ``rank`` takes every ``world``-th whole batch."""
    size = len(dataset)
    batches = [range(first, min(first + batch_size, size)) for first in range(0, size, batch_size)]
    return _loader(dataset, batches[rank::world], workers)


def _loader(dataset: Dataset, batches: Iterable[Sequence[Any]], workers: int) -> DataLoader:
    """Make a loader whose workers stay alive between epochs and read ahead.

    Pinned memory lets copies to the GPU overlap with its work.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,  # type: ignore[arg-type]  # ranges serve as well as lists
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )


def set_epoch(loader: DataLoader, epoch: int, start: int = 0) -> None:
    """Begin the next iteration over a ``training_loader`` with batch ``start`` of ``epoch``."""
    batches = loader.batch_sampler
    assert isinstance(batches, GlobalBatches)
    batches.epoch = epoch
    batches.start = start
