"""Evaluation at the paper's size, simulated: ten rows, eleven test sets, five million crops a row.

Scoring and bootstrap: the goal is two minutes of two cores and 4 GiB; beside it stands a ratio of
one run, the time against plainly sorting the crops of every row. Predictions: memory while five
million of them are written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.recording import record
from deepfake_repro.evaluation.metrics import table_row, video_scores
from deepfake_repro.evaluation.prediction import write_predictions
from deepfake_repro.evaluation.statistics import comparisons, delong, intervals, paired_bootstrap
from deepfake_repro.project.vocabulary import PAPER_ROWS, SETS

pytestmark = pytest.mark.bench

# Test videos (real, fake) of Tables 1 and 2, enlarged to about 60 thousand with DF40's 178 +
# 11,366.
VIDEOS = {
    "ffpp": (200, 1_000),
    "celebdf2": (250, 480),
    "dfdc": (3_500, 3_500),
    "fakeavceleb": (100, 4_300),
    "forgerynet": (10_000, 9_000),
    "wilddeepfake": (5_300, 4_900),
    "itw": (560, 470),
    "dfeval2024": (150, 1_350),
}
ROWS = list(PAPER_ROWS)
CROPS, DRAWS, GIGABYTES = 5_000_000, 2_000, 4
PACKAGES = ("numpy", "pandas", "pyarrow", "scikit-learn")


def all_videos() -> pd.DataFrame:
    """A row per test video, as the index has them."""
    rows = [
        (name, label, "x" if label else "real", "FS" if label else "REAL")
        for name, counts in VIDEOS.items()
        for label, count in enumerate(counts)
        for _ in range(count)
    ]
    rows += [("df40", 0, "real", "REAL")] * 178 + [
        ("df40", 1, f"method{n}", "FS" if n < 9 else "RE") for n in range(21) for _ in range(541)
    ]
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
    return (
        videos.iloc[video]
        .assign(p_fake=(1 / (1 + np.exp(-shown[video] - noise))).round(6))
        .reset_index(drop=True)
    )


def memory(name: str) -> int:
    """Resident (VmRSS) or highest resident (VmHWM) memory of this process, KiB; Linux."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1])


def test_ten_rows_on_eleven_sets() -> None:
    videos = all_videos()
    common = np.random.default_rng(0).normal(size=len(videos))
    runs, rows, scoring, sorting, clock = {}, {}, 0.0, 0.0, 0.0
    for number, row in enumerate(ROWS):
        crops = crops_of(videos, number, common)
        if not number:
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
            held = memory("VmRSS")
        start = time.process_time()
        crops.sort_values(["video_id", "p_fake"])
        sorting += time.process_time() - start
        start, begun = time.process_time(), time.perf_counter()
        runs[f"{row}-0"] = video_scores(crops)
        rows[row] = table_row(runs[f"{row}-0"], {})
        scoring, clock = scoring + time.process_time() - start, clock + time.perf_counter() - begun
        del crops
    start, begun = time.process_time(), time.perf_counter()
    draws = paired_bootstrap(runs, DRAWS, seed=0)
    table = intervals(draws)
    pairs = [(row, "fsfm") for row in ROWS if row != "fsfm"]
    versus = comparisons(pairs, rows, rows, draws, delong(runs))
    resampling, clock = time.process_time() - start, clock + time.perf_counter() - begun
    peak = memory("VmHWM")
    assert len(table) == len(ROWS) * 2 * len(SETS) and len(versus) == len(pairs) * 2 * len(SETS)
    inside = table.set_index(["row", "metric", "set"])
    assert all(
        low <= rows[row][metric][key] <= high
        for (row, metric, key), low, high in inside.itertuples()
    )
    record(
        "evaluation",
        f"{len(ROWS)} rows, {len(videos):,} videos, {CROPS:,} crops a row, {DRAWS:,} draws",
        {
            "seconds by the clock": round(clock),
            "load of the machine": round(os.getloadavg()[0], 1),
            "seconds of processor, scoring": round(scoring),
            "bootstrap and DeLong": round(resampling),
            "processor / sorting the crops": round((scoring + resampling) / sorting, 2),
            "peak GiB": round(peak / 2**20, 1),
            "peak / the process with one row's crops": round(peak / held, 1),
        },
        PACKAGES,
    )
    assert peak < GIGABYTES * 2**20


def test_predictions_are_written_as_they_come(tmp_path: Path) -> None:
    """Ten times as many crops of one set: the file grows, what is held does not."""
    videos, table = all_videos(), {}
    for count in (CROPS // 10, CROPS):
        rows = (
            videos.iloc[np.arange(count) * len(videos) // count]
            .reset_index(drop=True)
            .assign(frame=0, face=0)
        )

        def batches(count: int = count) -> Iterator[np.ndarray]:
            for first in range(0, count, 256):
                yield np.full((min(256, count - first), 2), 0.5, np.float32)

        Path("/proc/self/clear_refs").write_text("5")
        held, begun = memory("VmRSS"), time.perf_counter()
        write_predictions(tmp_path / "set.parquet", rows, batches(), ("REAL", "FAKE"))
        table[f"{count:,} crops"] = {
            "MiB above its table of crops": round((memory("VmHWM") - held) / 1024),
            "crops a second": round(count / (time.perf_counter() - begun), -3),
        }
    record("evaluation", "predictions of one set, written in a stream", table, PACKAGES)
    small, large = (entry["MiB above its table of crops"] for entry in table.values())
    assert large < small + 200
