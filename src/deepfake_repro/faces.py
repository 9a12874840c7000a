"""Face detection: frames -> boxes, scores and five landmarks (Section 4.1 uses RetinaFace).

``RetinaFace`` decodes the network of Deng et al., "RetinaFace: Single-Shot Multi-Level Face Localisation in
the Wild" (CVPR 2020), MobileNet-0.25 edition; ``MTCNN`` is facenet-pytorch's. Both follow one protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

# MobileNet-0.25 edition, by stride: side lengths in pixels of the two square anchors of each cell.
ANCHORS = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
MEAN_BGR = np.array((104, 117, 123), np.float32)


@dataclass(frozen=True)
class Faces:
    """The faces of one image by falling score; coordinates in pixels of that image.

    ``boxes`` float32 [N, 4] (x0, y0, x1, y1); ``scores`` float32 [N]; ``points`` float32 [N, 5, 2]: the eye
    at the left of the image, the other eye, nose tip, mouth corner at the left, the other corner.
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


class FaceDetector(Protocol):
    """Anything that finds faces in RGB uint8 [H, W, 3] images: one ``Faces`` for each image, in order."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[Faces]: ...


class RetinaFace:
    """RetinaFace MobileNet-0.25 on the CPU through ONNX Runtime.

    ``weights``: ONNX file with outputs loc [N, 4], conf [N, 2] (softmaxed) and landmarks [N, 10] per anchor.
    ``threshold``: least score; ``nms``: overlap above which the weaker of two boxes goes; ``max_side``:
    images are shrunk so that their longer side has at most so many pixels. Raises ``FileNotFoundError``.
    """

    def __init__(self, weights: Path, threshold: float = 0.5, nms: float = 0.4, max_side: int = 640,
                 threads: int = 1) -> None:
        import onnxruntime

        if not Path(weights).is_file():
            raise FileNotFoundError(f"{weights}: no RetinaFace weights here; run the assets stage first")
        onnxruntime.disable_telemetry_events()
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            str(weights), settings, providers=["CPUExecutionProvider"])
        self._threshold, self._nms, self._max_side = threshold, nms, max_side

    def __call__(self, images: Sequence[np.ndarray]) -> list[Faces]:
        """Faces of each RGB uint8 [H, W, 3] image."""
        return [self._detect(image) for image in images]  # on a CPU a batch is no faster than its images

    def _detect(self, image: np.ndarray) -> Faces:
        small = shrink(image, self._max_side)
        batch = (small[..., ::-1] - MEAN_BGR).transpose(2, 0, 1)[None]
        offsets, confidence, points = (output[0] for output in self._session.run(
            ["loc", "conf", "landmarks"], {"input": np.ascontiguousarray(batch)}))
        likely = confidence[:, 1] >= self._threshold
        anchors, scores = anchor_boxes(*small.shape[:2])[likely], confidence[likely, 1]
        boxes, points = decode_boxes(offsets[likely], anchors), decode_points(points[likely], anchors)
        keep = non_maximum_suppression(boxes, scores, self._nms)
        return _to_image(boxes[keep], scores[keep], points[keep], small, image)


class MTCNN:
    """facenet-pytorch's MTCNN behind the same protocol; its weights come with that package."""

    def __init__(self, threshold: float = 0.5, max_side: int = 640, min_face: int = 20,
                 threads: int = 1) -> None:
        import facenet_pytorch

        self._network = facenet_pytorch.MTCNN(keep_all=True, min_face_size=min_face, device="cpu")
        self._threshold, self._max_side, self._threads = threshold, max_side, threads

    def __call__(self, images: Sequence[np.ndarray]) -> list[Faces]:
        """Faces of each RGB uint8 [H, W, 3] image."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            return [self._detect(image) for image in images]
        finally:
            torch.set_num_threads(before)

    def _detect(self, image: np.ndarray) -> Faces:
        small = shrink(image, self._max_side)
        boxes, scores, points = self._network.detect(small, landmarks=True)
        if boxes is None:
            boxes, scores, points = (), (), ()
        # The package returns object arrays, on which NumPy's float functions fail.
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        scores = np.asarray(scores, np.float32).reshape(-1)
        points = np.asarray(points, np.float32).reshape(-1, 5, 2)
        keep = np.argsort(-scores, kind="stable")
        keep = keep[scores[keep] >= self._threshold]
        return _to_image(boxes[keep], scores[keep], points[keep], small, image)


DETECTORS: dict[str, Callable[..., FaceDetector]] = {"retinaface": RetinaFace, "mtcnn": MTCNN}


def detector(name: str, **options: Any) -> FaceDetector:
    """The detector called ``name`` (``retinaface`` or ``mtcnn``) with its options.

    Raises ``ValueError`` for an unknown name.
    """
    if name not in DETECTORS:
        raise ValueError(f"crops.detector = {name!r}: unknown detector; choose one of {', '.join(DETECTORS)}")
    return DETECTORS[name](**options)


def shrink(image: np.ndarray, max_side: int) -> np.ndarray:
    """A copy of [H, W, 3] ``image`` whose longer side has at most ``max_side`` pixels; smaller ones stay."""
    height, width = image.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=8)
def anchor_boxes(height: int, width: int) -> np.ndarray:
    """Anchors of an image, float32 [N, 4] (centre x, centre y, width, height; pixels), in output order."""
    levels = []
    for stride, sides in ANCHORS.items():
        y, x, side = np.meshgrid(
            (np.arange(-(-height // stride)) + 0.5) * stride,
            (np.arange(-(-width // stride)) + 0.5) * stride, sides, indexing="ij")
        levels.append(np.stack([x, y, side, side], axis=-1).reshape(-1, 4))
    return np.concatenate(levels).astype(np.float32)


def decode_boxes(offsets: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Network offsets [N, 4] about ``anchors`` [N, 4] -> boxes [N, 4] (x0, y0, x1, y1; pixels)."""
    centre = anchors[:, :2] + offsets[:, :2] * CENTRE_VARIANCE * anchors[:, 2:]
    half = anchors[:, 2:] * np.exp(offsets[:, 2:] * SIZE_VARIANCE) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def decode_points(offsets: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Network offsets [N, 10] about ``anchors`` [N, 4] -> five points [N, 5, 2] in pixels."""
    return anchors[:, None, :2] + offsets.reshape(-1, 5, 2) * CENTRE_VARIANCE * anchors[:, None, 2:]


def non_maximum_suppression(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Indices, by falling score, of boxes [N, 4] that no better kept box covers by an IoU > ``overlap``."""
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[intersection_over_union(boxes[best], boxes[order]) <= overlap]
    return np.array(kept, np.int64)


def intersection_over_union(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """IoU of one box [4] with each of ``boxes`` [N, 4] (x0, y0, x1, y1) -> [N]."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    return shared / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared)


def _to_image(boxes: np.ndarray, scores: np.ndarray, points: np.ndarray, small: np.ndarray,
              image: np.ndarray) -> Faces:
    """Coordinates in ``small`` -> ``Faces`` in ``image``, boxes clipped to it."""
    size = np.array(image.shape[1::-1], np.float32)
    factor = size / np.array(small.shape[1::-1], np.float32)
    boxes = np.clip(boxes.reshape(-1, 2, 2) * factor, 0, size).reshape(-1, 4)
    return Faces(boxes.astype(np.float32), scores.astype(np.float32), (points * factor).astype(np.float32))
