"""The balanced sample at the size of the paper, Table 1's training videos with five million crops:
ratios in one run.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake_repro.dataset.sampling import balanced_sample

pytestmark = pytest.mark.bench

# Real and fake training videos: Table 1's videos per split, divided as the releases are;
# FakeAVCeleb's and ForgeryNet's by their shares of real and fake videos.
VIDEOS = {
    "ffpp": (720, 3_600),
    "celebdf2": (711, 5_299),
    "dfdc": (19_154, 100_000),
    "fakeavceleb": (348, 14_372),
    "forgerynet": (35_256, 28_941),
}
CROPS = 5_000_000


def full_scale(seed: int = 0) -> pd.DataFrame:
    """A crop table with 1 to 47 crops a video, 24 on average."""
    videos = [
        (f"{corpus}/{'rf'[label]}{number:06d}", label, corpus)
        for corpus, counts in VIDEOS.items()
        for label, count in enumerate(counts)
        for number in range(count)
    ]
    each = np.random.default_rng(seed).integers(1, round(2 * CROPS / len(videos)), len(videos))
    row = np.repeat(np.arange(len(videos)), each)
    names, labels, corpora = (np.array(column) for column in zip(*videos, strict=True))
    frame = np.arange(len(row)) - np.repeat(np.cumsum(each) - each, each)
    return pd.DataFrame(
        {
            "video_id": pd.Series(names).astype("str")[row].to_numpy(),
            "frame": frame,
            "face": 0,
            "label": labels[row],
            "category": np.where(labels[row], "FS", "REAL"),
            "dataset": corpora[row],
        }
    )


def memory(name: str) -> int:
    """Resident (VmRSS) or highest resident (VmHWM) memory of this process, KiB; Linux."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1])


def test_five_million_crops_of_table_1() -> None:
    crops = full_scale()
    start = time.perf_counter()
    crops.sort_values(["video_id", "frame", "face"])
    sorting = time.perf_counter() - start
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    held, start = memory("VmRSS"), time.perf_counter()
    sample = balanced_sample(crops, seed=0)
    ours, peak = time.perf_counter() - start, memory("VmHWM")
    assert balanced_sample(crops.sample(frac=1, random_state=1), seed=0).equals(sample)
    of_class = sample["label"].value_counts()
    taken = sample.groupby("video_id").size()
    whole = crops.groupby("video_id").size()
    fakes = sample.loc[sample["label"] == 1, "video_id"].unique()
    cut = taken[fakes][taken[fakes] < whole[fakes]]
    assert of_class[0] == of_class[1] == (crops["label"] == 0).sum()  # 1:1, reals kept whole
    assert taken.index.equals(whole.index)  # at least one crop of each video
    assert cut.max() - cut.min() <= 1 and taken[fakes].max() == cut.max()  # equal over videos
    print(
        f"\n{len(crops):,} crops of {len(whole):,} videos -> {len(sample):,}: balanced_sample / sorting the table = "
        f"{ours / sorting:.1f} in time; peak memory / process with the table = {peak / held:.1f}"
    )
