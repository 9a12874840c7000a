"""How the field prepares videos, written from its description: the baseline of
``test_decode_bench``.

One seek per sampled frame with OpenCV (FSFM's and many others' loop), then one detection call per
frame at full resolution: the image to float, the mean off, planes first, anchors made anew, the
same network.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from deepfake_repro.faces.detection import (
    anchor_boxes,
    decode_boxes,
    decode_points,
    non_maximum_suppression,
)


def sought_frames(path: Path, numbers: Iterable[int]) -> list[np.ndarray]:
    """BGR uint8 [H, W, 3] of the frames ``numbers``, each sought."""
    capture = cv2.VideoCapture(str(path))
    images = []
    for number in numbers:
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(number))
        images.append(capture.read()[1])
    capture.release()
    return images


class FullResolution:
    """RetinaFace on one BGR image as it is; boxes [N, 4] above ``threshold``."""

    def __init__(self, weights: Path, threshold: float = 0.5) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(weights), settings, providers=["CPUExecutionProvider"]
        )
        self._threshold = threshold

    def __call__(self, image: np.ndarray) -> np.ndarray:
        planes = np.float32(image)
        planes -= (104, 117, 123)
        offsets, scores, points = self._session.run(
            ["loc", "conf", "landmarks"],
            {"input": np.ascontiguousarray(planes.transpose(2, 0, 1))[None]},
        )
        anchors = anchor_boxes.__wrapped__(*image.shape[:2])
        boxes, scores = decode_boxes(offsets[0], anchors), scores[0, :, 1]
        decode_points(points[0], anchors)
        boxes, scores = boxes[scores > self._threshold], scores[scores > self._threshold]
        return boxes[non_maximum_suppression(boxes, scores, 0.4)]
