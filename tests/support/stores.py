"""Rows of a crop store with random images."""

from __future__ import annotations

import numpy as np

from deepfake_repro.crops.store import encode


def store_rows(count: int, video: str = "ffpp/a") -> tuple[np.ndarray, list[dict]]:
    """Random images ``[count, 8, 8, 3]`` and their rows."""
    images = np.random.default_rng(count).integers(0, 255, (count, 8, 8, 3), dtype=np.uint8)
    box = {
        "x0": 1.0,
        "y0": 2.0,
        "x1": 3.0,
        "y1": 4.0,
        "score": 0.5,
        "landmarks": [float("nan")] * 10,
    }
    rows = [
        {
            "video_id": video,
            "frame": i,
            "seconds": float(i),
            "face": 0,
            **box,
            "width": 9,
            "height": 9,
            "image": encode(image, "png"),
        }
        for i, image in enumerate(images)
    ]
    return images, rows
