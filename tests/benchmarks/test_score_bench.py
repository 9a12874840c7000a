"""A minute of 720p video, scored from the command line as a user does; cost and memory against the
video's length.

Beside it: three minutes against one, and eight files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from benchmarks.recording import record
from support import scoring_model

pytestmark = pytest.mark.bench
ROOT = Path(__file__).resolve().parents[2]
DEMO_DEPTH = 3


def film(path: Path, tile: np.ndarray, seconds: int) -> Path:
    """An H.264 file of RGB [720, 1280, 3], 25 a second: a face that wanders, before noise that
    moves.
    """
    noise = np.random.default_rng(0).integers(0, 255, (180, 320, 3), np.uint8)
    ground = cv2.GaussianBlur(cv2.resize(noise, (1280, 720)), (0, 0), 3)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"crf": "26", "preset": "veryfast", "threads": "1"}
        )
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for number in range(25 * seconds):
            frame = np.roll(ground, 2 * number, axis=1)
            x, y = 300 + int(200 * np.sin(number / 60)), 150 + int(80 * np.cos(number / 40))
            frame[y : y + 360, x : x + 440] = tile
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def score(*arguments: str | Path) -> tuple[float, float, int]:
    """Run ``score``: seconds by the clock, seconds of processor, largest resident memory (MiB)."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "deepfake_repro", "score", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scoring_model.make(tmp_path_factory.mktemp("weights") / "tiny-0", DEMO_DEPTH)


def test_a_minute_of_720p(tile: np.ndarray, weights: Path, tmp_path: Path) -> None:
    results = {}
    for seconds in (60, 180):
        clip = film(tmp_path / f"{seconds}.mp4", tile, seconds)
        results[seconds] = score(clip, "--weights", weights, "--out", tmp_path / "out")
    (clock, short, small), (_, long, large) = results[60], results[180]
    record(
        "scoring",
        "60 s of 1280x720, a frame a second, the whole command",
        {
            "seconds by the clock": round(clock, 1),
            "seconds of processor without the decoding child": round(short, 1),
            "MiB": small,
            "180 s / 60 s, processor": round(long / short, 2),
            "180 s / 60 s, memory": round(large / small, 2),
            "load of the machine": round(os.getloadavg()[0], 1),
        },
        ("av", "onnxruntime", "torch"),
    )
    assert large < 1.25 * small


def test_eight_files(tile: np.ndarray, weights: Path, tmp_path: Path) -> None:
    """One command each; one command for all, one file at a time and two."""
    clips = [film(tmp_path / f"{number}.mp4", tile, 20) for number in range(8)]

    def seconds(*arguments: str | Path) -> float:
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        return score(*arguments, "--weights", weights, "--out", out)[0]

    apart = sum(seconds(clip) for clip in clips)
    one = seconds(*clips)
    two = seconds(*clips, "--jobs", "2")
    record(
        "scoring",
        "eight clips of 20 s of 1280x720",
        {
            "seconds, eight commands": round(apart, 1),
            "seconds, one command": round(one, 1),
            "seconds, one command with --jobs 2": round(two, 1),
            "eight commands / one with --jobs 2": round(apart / two, 2),
            "one command / with --jobs 2": round(one / two, 2),
            "load of the machine": round(os.getloadavg()[0], 1),
        },
        ("av", "onnxruntime", "torch"),
    )
    assert two < apart
