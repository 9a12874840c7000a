"""Random crops for tests of the store."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepfake_repro.crops.store import encode


def random_crops(count: int, video: str = "ffpp/a") -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return ``count`` random images uint8 [N, 8, 8, 3] and their rows of ``CROP_SCHEMA``."""
    images = np.random.default_rng(count).integers(0, 255, (count, 8, 8, 3), dtype=np.uint8)
    rows = [
        {
            "video_id": video,
            "frame": number,
            "seconds": float(number),
            "face": 0,
            "x0": 1.0,
            "y0": 2.0,
            "x1": 3.0,
            "y1": 4.0,
            "score": 0.5,
            "landmarks": [float("nan")] * 10,
            "width": 9,
            "height": 9,
            "image": encode(image, "png"),
        }
        for number, image in enumerate(images)
    ]
    return images, rows
