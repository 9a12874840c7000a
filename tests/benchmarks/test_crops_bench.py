"""Preprocessing at work: what a second process gains, opening a store of 100,000 parts, memory for
long 4K video.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import pandas as pd
import psutil
import pytest

from benchmarks.recording import record
from deepfake_repro.crops.preprocess import make_crops
from deepfake_repro.crops.store import CropStore, encode, write_listing, write_part
from deepfake_repro.faces.detection import detector
from support.squares import OPTIONS, Squares, index_row

PACKAGES = ("av", "numpy", "onnxruntime", "opencv-python-headless")

pytestmark = pytest.mark.bench
GUARDED = replace(OPTIONS, size=224, video_timeout=300)
TESTS = Path(__file__).resolve().parents[1]


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one ``call``."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def processor_seconds() -> float:
    """Processor time so far of this process and its ended children: what a busy machine cannot
    distort.
    """
    return sum(os.times()[:4])


def test_two_processes_beside_one(
    assets: Path, tile: np.ndarray, tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    clip = make_clip(
        tmp_path / "videos" / "0.mp4", [np.roll(tile, 2 * i, 1) for i in range(300)], rate=25
    )
    for number in range(1, 100):
        os.link(clip, clip.with_name(f"{number}.mp4"))
    index = pd.DataFrame([index_row(path.name) for path in clip.parent.iterdir()])
    factory = partial(detector, "retinaface", weights=assets / "retinaface_mobilenet025.onnx")

    def crop(workers: int, name: str) -> tuple[float, float]:
        before = processor_seconds()
        wall = seconds(
            lambda: make_crops(
                index,
                {"ffpp": clip.parent},
                tmp_path / name,
                factory,
                GUARDED,
                workers,
                5,
                progress=[].append,
            )
        )
        return wall, processor_seconds() - before

    one, two = (
        np.min([crop(workers, f"{workers}-{i}") for i in range(3)], axis=0) for workers in (1, 2)
    )
    record(
        "preprocessing",
        f"cropping {len(index)} videos, two processes / one",
        {
            "videos by the clock": round(one[0] / two[0], 2),
            "by processor time, on two idle cores": round(2 * one[1] / two[1], 2),
        },
        PACKAGES,
    )


def test_opening_a_store_of_100_000_parts(tmp_path: Path) -> None:
    box = {
        "x0": 1.0,
        "y0": 2.0,
        "x1": 3.0,
        "y1": 4.0,
        "score": 0.5,
        "landmarks": [0.0] * 10,
        "width": 9,
        "height": 9,
    }
    image = encode(np.zeros((8, 8, 3), np.uint8), "png")
    for number in range(100_000):
        path = tmp_path / f"ffpp-{number:05d}-000000000000.arrow"
        if number % 10_000 == 0:  # a file system limits the names of one file
            template = path
            write_part(
                path,
                [
                    {
                        **box,
                        "video_id": f"ffpp/{number:05d}",
                        "frame": 0,
                        "seconds": 0.0,
                        "face": 0,
                        "image": image,
                    }
                ]
                * 10,
            )
        else:
            os.link(template, path)
    listing = seconds(lambda: write_listing(tmp_path))
    stores = []
    opening = min(seconds(lambda: stores.append(CropStore(tmp_path))) for _ in range(3))
    rows = np.random.default_rng(0).integers(0, len(stores[0]), 1000)
    reading = seconds(lambda: [stores[0].image(int(row)) for row in rows])
    print(
        f"\n{len(stores[0])} crops in 100,000 parts: opened in {opening:.2f} s (first listing {listing:.0f} s), "
        f"{reading:.2f} ms for a random crop"
    )
    shutil.rmtree(tmp_path)


def long_video(path: Path, repeats: int) -> Path:
    """A 4K video of ``repeats`` times 20 s at 2 frames a second: one encoded stretch, its packets
    repeated.
    """
    noise = (
        np.random.default_rng(0)
        .integers(0, 90, (135, 240, 3), dtype=np.uint8)
        .repeat(16, 0)
        .repeat(16, 1)
    )
    noise[600:1400, 600:1400] = (20, 220, 20)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2, options={"preset": "ultrafast", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 3840, 2160, "yuv420p"
        frames = [
            av.VideoFrame.from_ndarray(np.roll(noise, i, 1), format="rgb24") for i in range(40)
        ]
        packets = [bytes(p) for frame in [*frames, None] for p in stream.encode(frame)]
        keys = [i == 0 for i in range(len(packets))]
        for number in range(repeats * len(packets)):
            packet = av.Packet(packets[number % len(packets)])
            packet.stream, packet.time_base = stream, stream.codec_context.time_base
            packet.pts = packet.dts = number
            packet.is_keyframe = keys[number % len(packets)]
            container.mux(packet)
    return path


def peak_memory(video: Path, out: Path) -> tuple[float, float]:
    """Highest resident memory in MB of this process above its start, and of the guarded one, while
    cropping.
    """
    import threading

    here, highest, done = psutil.Process(), [0.0, 0.0], threading.Event()
    start = here.memory_info().rss

    def watch() -> None:
        while not done.wait(0.02):
            highest[0] = max(highest[0], here.memory_info().rss - start)
            highest[1] = max([highest[1], *(child.memory_info().rss for child in here.children())])

    watcher = threading.Thread(target=watch)
    watcher.start()
    make_crops(
        pd.DataFrame([index_row(video.name)]),
        {"ffpp": video.parent},
        out,
        Squares,
        GUARDED,
        progress=[].append,
    )
    done.set()
    watcher.join()
    return highest[0] / 1e6, highest[1] / 1e6


def test_memory_does_not_grow_with_the_length_of_a_4k_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent / "src")]))
    for minutes in (1, 8):
        video = long_video(tmp_path / f"{minutes}.mp4", 3 * minutes)
        ours, guarded = peak_memory(video, tmp_path / f"out{minutes}")
        print(
            f"\n4K video of {minutes} minutes, {len(CropStore(tmp_path / f'out{minutes}'))} crops: writing process "
            f"{ours:+.0f} MB, guarded process {guarded:.0f} MB"
        )
