"""The balanced training sample (Section 4.1 of Mylonas & Papadopoulos 2025).

The paper asks for a real-to-fake ratio of about 1:1, "equal sampling across videos", and "at least
one sample from each video". All crops of the rarer class are kept; every video of the commoner
class contributes up to a common number of crops. The paper's counts fit this rule: 14K fake crops
from 3,600 videos of FF++.

Each choice depends on a hash of the seed and the crop's key only, not on the order of the rows or
the version of a random generator, and a crop keeps its rank when videos are added.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pandas as pd

from ..project.vocabulary import TRAINING_CORPORA

COLUMNS = ["video_id", "frame", "face", "label", "category", "dataset"]


def balanced_sample(crops: pd.DataFrame, real_to_fake: float = 1.0, *, seed: int) -> pd.DataFrame:
    """Choose the training crops of Section 4.1.

    ``crops``: one row per crop with at least ``video_id, frame, face, label, category, dataset``;
    ``real_to_fake``: target ratio of real to fake crops. Returns the chosen rows with only these
    columns, sorted by (video_id, frame, face). Each video contributes at least one crop, even if
    this exceeds the target. Raises ``ValueError`` for missing columns, repeated crops, a video with
    two labels, a missing class, or a ratio <= 0.
    """
    if not real_to_fake > 0:
        raise ValueError(f"real_to_fake is {real_to_fake}: give a ratio above 0, such as 1.0")
    table, video, names = _sorted(crops)
    video_labels = _video_labels(table, video, names)
    commoner, target = _target(table["label"], real_to_fake)
    capacity = np.bincount(video, minlength=len(names))
    keys = _video_keys(names, seed)
    quota = capacity.copy()
    is_commoner = video_labels == commoner
    quota[is_commoner] = _fill(capacity[is_commoner], target, keys[is_commoner])
    order = np.lexsort((_crop_keys(table, keys[video]), video))
    rank_in_video = np.arange(len(table)) - np.repeat(np.cumsum(capacity) - capacity, capacity)
    chosen = np.sort(order[rank_in_video < quota[video[order]]])
    return table.iloc[chosen].reset_index(drop=True)


def summary(sample: pd.DataFrame) -> pd.DataFrame:
    """Count real and fake videos and crops of each corpus in Table 1's order, with a ``total``.

    ``sample`` as returned by :func:`balanced_sample`. Columns: ``dataset, real_videos, fake_videos,
    real_crops, fake_crops``; the last two are Table 1's last two columns (Section 4.1).
    """
    rows = []
    present = set(sample["dataset"])
    others = sorted(present.difference(TRAINING_CORPORA))
    for dataset in [name for name in TRAINING_CORPORA if name in present] + others:
        part = sample[sample["dataset"] == dataset]
        real = part[part["label"] == 0]
        fake = part[part["label"] == 1]
        counts = (real["video_id"].nunique(), fake["video_id"].nunique(), len(real), len(fake))
        rows.append((dataset, *counts))
    table = pd.DataFrame(
        rows, columns=["dataset", "real_videos", "fake_videos", "real_crops", "fake_crops"]
    )
    total = {"dataset": "total", **table.drop(columns="dataset").sum()}
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True)


def _sorted(crops: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, pd.Index]:
    """Return the rows sorted by crop key, the video number of each ``[N]``, and the video ids."""
    missing = [column for column in COLUMNS if column not in crops]
    if missing:
        raise ValueError(
            f"crops lack the columns {', '.join(missing)}: join them with the index table first"
        )
    if not crops["label"].isin([0, 1]).all():
        raise ValueError(
            "crops have labels other than 0 (real) and 1 (fake): correct the column label"
        )
    video, names = pd.factorize(crops["video_id"].astype("str"), sort=True)
    keys = (crops["face"].to_numpy(np.int64), crops["frame"].to_numpy(np.int64), video)
    order = np.lexsort(keys)
    repeated = np.logical_and.reduce([key[order][1:] == key[order][:-1] for key in keys])
    if repeated.any():
        row = crops.iloc[order[np.flatnonzero(repeated)[0]]]
        raise ValueError(
            f"crop {row.video_id} frame {row.frame} face {row.face} is listed twice: drop a row"
        )
    return crops[COLUMNS].iloc[order], video[order], names


def _video_labels(table: pd.DataFrame, video: np.ndarray, names: pd.Index) -> np.ndarray:
    fakes = np.bincount(video, weights=table["label"], minlength=len(names))
    crops = np.bincount(video, minlength=len(names))
    mixed = (fakes > 0) & (fakes < crops)
    if mixed.any():
        raise ValueError(
            f"video {names[mixed.argmax()]} has crops of both labels: correct the index table"
        )
    return (fakes > 0).astype(int)


def _target(label: pd.Series, real_to_fake: float) -> tuple[int, int]:
    """Return the label of the commoner class and how many of its crops to keep."""
    fake = int(label.sum())
    real = len(label) - fake
    if not (real and fake):
        raise ValueError(
            f"{real} real and {fake} fake crops cannot be balanced: give crops of both classes"
        )
    if real > real_to_fake * fake:
        return 0, round(real_to_fake * fake)
    return 1, round(real / real_to_fake)


def _fill(capacity: np.ndarray, target: int, keys: np.ndarray) -> np.ndarray:
    """Return the number of crops to take from each video, about ``target`` in total.

    It is ``min(capacity, level)`` with the highest level whose sum does not exceed ``target``, but
    at least 1, plus one crop for the videos of lowest key until the sum is ``target``.
    """
    levels = np.arange(1, capacity.max() + 1)
    # When the level rises to q, each video with at least q crops contributes one more.
    total = np.cumsum(len(capacity) - np.searchsorted(np.sort(capacity), levels))
    level = max(1, int(np.searchsorted(total, target, side="right")))
    quota = np.minimum(capacity, level)
    remainder = max(0, target - int(quota.sum()))
    higher = np.flatnonzero(capacity > level)
    quota[higher[np.argsort(keys[higher], kind="stable")[:remainder]]] += 1
    return quota


def _video_keys(names: pd.Index, seed: int) -> np.ndarray:
    """Hash the seed and the id of each video to a pseudo-random uint64."""
    salt = f"{seed}\0"
    digests = (blake2b((salt + name).encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(b"".join(digests), "<u8")


def _crop_keys(table: pd.DataFrame, video_key: np.ndarray) -> np.ndarray:
    """Hash the video key, frame and face of each crop to a pseudo-random uint64 ``[N]``."""
    key = _mix(video_key ^ table["frame"].to_numpy(np.int64).view(np.uint64))
    return _mix(key ^ table["face"].to_numpy(np.int64).view(np.uint64))


def _mix(values: np.ndarray) -> np.ndarray:
    """Scatter all 64 bits by SplitMix64's finaliser (Steele, Lea & Flood 2014), a bijection."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
