"""Scoring and bootstrap of Table 3 at the paper's size, simulated: ten rows, eleven test sets, five million crops a row.

Ratios in one run: time against plainly sorting the crops of every row; peak memory against the process with one row.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake_repro.metrics import SETS, table_row, video_scores
from deepfake_repro.statistics import comparisons, delong, intervals, paired_bootstrap
from deepfake_repro.tables import ROW_NAMES

pytestmark = pytest.mark.bench

# Test videos (real, fake) of Tables 1 and 2, enlarged to about 60 thousand with DF40's 178 + 11,366.
VIDEOS = {"ffpp": (200, 1_000), "celebdf2": (250, 480), "dfdc": (3_500, 3_500), "fakeavceleb": (100, 4_300),
          "forgerynet": (10_000, 9_000), "wilddeepfake": (5_300, 4_900), "itw": (560, 470), "dfeval2024": (150, 1_350)}
ROWS = [row for row in ROW_NAMES if row != "lnclip"]
CROPS, DRAWS, GIGABYTES = 5_000_000, 2_000, 4


def all_videos() -> pd.DataFrame:
    """A row per test video, as the index has them."""
    rows = [(name, label, "x" if label else "real", "FS" if label else "REAL") for name, counts in VIDEOS.items()
            for label, count in enumerate(counts) for _ in range(count)]
    rows += [("df40", 0, "real", "REAL")] * 178 + [
        ("df40", 1, f"method{n}", "FS" if n < 9 else "RE") for n in range(21) for _ in range(541)]
    rows += [("df40", 1, "method0", "FS")] * 5
    table = pd.DataFrame(rows, columns=["dataset", "label", "manipulation", "category"])
    numbers = pd.Series(range(len(table))).astype("str").str.zfill(6)
    return table.assign(video_id=table["dataset"] + "/" + table["manipulation"] + "/" + numbers)


def crops_of(videos: pd.DataFrame, row: int, common: np.ndarray) -> pd.DataFrame:
    """Five million crops, about as many of each video, with the scores of one row."""
    rng = np.random.default_rng(row)
    video = np.sort(rng.integers(len(videos), size=CROPS - len(videos)))
    video = np.concatenate([np.arange(len(videos)), video])
    shown = common + 0.5 * rng.normal(size=len(videos)) + 1.2 * videos["label"].to_numpy()
    noise = rng.normal(size=CROPS)
    return videos.iloc[video].assign(p_fake=(1 / (1 + np.exp(-shown[video] - noise))).round(6)).reset_index(drop=True)


def memory(name: str) -> int:
    """Resident (VmRSS) or highest resident (VmHWM) memory of this process, KiB; Linux."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1])


def test_ten_rows_on_eleven_sets() -> None:
    videos = all_videos()
    common = np.random.default_rng(0).normal(size=len(videos))
    runs, rows, scoring, sorting = {}, {}, 0.0, 0.0
    for number, row in enumerate(ROWS):
        crops = crops_of(videos, number, common)
        if not number:
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
            held = memory("VmRSS")
        start = time.process_time()
        crops.sort_values(["video_id", "p_fake"])
        sorting += time.process_time() - start
        start = time.process_time()
        runs[f"{row}-0"] = video_scores(crops)
        rows[row] = table_row(runs[f"{row}-0"], {})
        scoring += time.process_time() - start
        del crops
    start = time.process_time()
    draws = paired_bootstrap(runs, DRAWS, seed=0)
    table = intervals(draws)
    pairs = [(row, "fsfm") for row in ROWS if row != "fsfm"]
    versus = comparisons(pairs, rows, rows, draws, delong(runs))
    resampling = time.process_time() - start
    peak = memory("VmHWM")
    assert len(table) == len(ROWS) * 2 * len(SETS) and len(versus) == len(pairs) * 2 * len(SETS)
    inside = table.set_index(["row", "metric", "set"])
    assert all(low <= rows[row][metric][key] <= high for (row, metric, key), low, high in inside.itertuples())
    print(f"\n{len(videos):,} videos, {CROPS:,} crops a row, {len(ROWS)} rows, {DRAWS:,} draws: scoring {scoring:.0f} s "
          f"+ bootstrap and DeLong {resampling:.0f} s of one core = {(scoring + resampling) / sorting:.2f} times sorting "
          f"the crops; peak {peak / 2**20:.1f} GiB = {peak / held:.1f} times the process with one row's crops")
    assert peak < GIGABYTES * 2**20
