"""Crop store + table of crops -> batches. Nothing here holds all crops in memory."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from .augment import Transform
from .crops import CropStore

CROP_KEY = ["video_id", "frame", "face"]


def positions(store: CropStore, rows: pd.DataFrame) -> np.ndarray:
    """Place in ``store`` of each crop of ``rows`` (keyed by video_id, frame, face); int64 ``[N]``.

    Raises ``ValueError`` naming the first crop that the store does not hold.
    """
    keys = store.table(CROP_KEY).reset_index(names="position")
    found = rows[CROP_KEY].merge(keys, on=CROP_KEY, how="left", validate="many_to_one")["position"]
    if found.isna().any():
        missing = next(rows.loc[found.isna().to_numpy(), CROP_KEY].itertuples(index=False, name=None))
        raise ValueError(f"crop {missing} is in the sample but not in the crop store: run the crops stage again")
    return found.to_numpy(dtype=np.int64)


class CropDataset(Dataset):
    """Item *i* -> (image tensor, class label, triplet label, *i*); each loader worker opens the store anew."""

    def __init__(self, store: CropStore, place: np.ndarray, transform: Transform, labels: Sequence[int],
                 triplet_labels: Sequence[int] | None = None) -> None:
        self.store, self.place, self.transform = store, place, transform
        self.labels = np.asarray(labels, dtype=np.int64)
        self.triplet_labels = self.labels if triplet_labels is None else np.asarray(triplet_labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int, int, int]:
        image = self.store.image(int(self.place[item]))
        return self.transform(image), int(self.labels[item]), int(self.triplet_labels[item]), item


def training_loader(dataset: Dataset, batch_size: int, workers: int, seed: int) -> DataLoader:
    """Shuffled batches; the order is a function of ``seed`` and of the epoch (see ``set_epoch``).

    The last, smaller batch is kept when it is the only one, else dropped: a tiny batch has too few triplets.
    """
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(dataset, batch_size, shuffle=True, num_workers=workers, generator=generator,
                      drop_last=len(dataset) >= batch_size, persistent_workers=False)


def evaluation_loader(dataset: CropDataset, batch_size: int, workers: int) -> DataLoader:
    """Batches in the dataset's order."""
    return DataLoader(dataset, batch_size, shuffle=False, num_workers=workers)


def set_epoch(loader: DataLoader, seed: int, epoch: int) -> None:
    """Make shuffling and augmentation of ``epoch`` a function of (seed, epoch), so that a resumed run repeats them."""
    state = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    loader.generator.manual_seed(state)
    torch.manual_seed(state)
    np.random.seed(state)  # timm's RandAugment and random erasing draw from the global states
    random.seed(state)
