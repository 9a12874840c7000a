"""Face detection: frames -> boxes, scores and five landmarks (Section 4.1 uses RetinaFace).

``RetinaFace`` decodes the network of Deng et al., "RetinaFace: Single-Shot Multi-Level Face
Localisation in the Wild" (CVPR 2020), of the MobileNet-0.25 edition or any other with the same
anchors; ``MTCNN`` is facenet-pytorch's. Both follow one protocol and take a GPU where their runtime
finds one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from scipy.special import expit

# MobileNet-0.25 and ResNet-50 editions, by stride: side lengths in pixels of the two square anchors
# of each cell.
ANCHORS = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
MEAN_BGR = np.array((104, 117, 123), np.float32)
GPU_BATCH = 8  # images of one size in one call; on a CPU a batch is no faster than its images (results/benchmarks)


@dataclass(frozen=True)
class Faces:
    """The faces of one image by falling score; coordinates in pixels of that image.

    ``boxes`` float32 [N, 4] (x0, y0, x1, y1); ``scores`` float32 [N]; ``points`` float32 [N, 5, 2]:
    the eye at the left of the image, the other eye, nose tip, mouth corner at the left, the other
    corner.
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


_Found = tuple[
    np.ndarray, np.ndarray, np.ndarray
]  # boxes, scores, points in pixels of the image as detected in


class FaceDetector(Protocol):
    """Anything that finds faces in RGB uint8 [H, W, 3] images: one ``Faces`` for each image, in order."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[Faces]: ...


class RetinaFaceNetwork:
    """A RetinaFace ONNX file: image -> box offsets, scores and point offsets of each anchor.

    Backbone, names and order of the outputs may differ, the class scores may be softmaxed or not,
    the image size fixed (``size`` (H, W)) or free (None). Raises ``FileNotFoundError``, and
    ``ValueError`` if one trial run gives other than, per anchor of ``ANCHORS``, 4 box, 2 class and
    10 point columns.
    """

    def __init__(self, weights: Path, threads: int = 1) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        if not Path(weights).is_file():
            raise FileNotFoundError(
                f"{weights}: no RetinaFace weights here; run the assets stage first"
            )
        onnxruntime.disable_telemetry_events()
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = threads
        usable = onnxruntime.get_available_providers()
        providers = [
            name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in usable
        ]
        try:
            self._session = onnxruntime.InferenceSession(
                str(weights), settings, providers=providers
            )
            self._inspect(weights)
        except (
            errors.Fail,
            errors.InvalidArgument,
            errors.InvalidGraph,
            errors.InvalidProtobuf,
            errors.RuntimeException,
        ) as error:
            raise ValueError(
                f"{weights}: cannot be run as a RetinaFace ({str(error).splitlines()[0]})"
            ) from error

    def _inspect(self, weights: Path) -> None:
        """Find out from one run what the file's inputs and outputs are."""
        (image, *others), wrong = (
            self._session.get_inputs(),
            f"{weights}: not a RetinaFace of the usual form: ",
        )
        if others or len(image.shape) != 4 or image.shape[1] != 3:
            raise ValueError(
                f"{wrong}input {image.name} is {image.shape}, expected one image [N, 3, H, W]"
            )
        number, _, *size = image.shape
        fixed = (
            isinstance(number, int) or self._session.get_providers()[0] == "CPUExecutionProvider"
        )
        self.batch = 1 if fixed else GPU_BATCH
        self.size = tuple(size) if all(isinstance(side, int) for side in size) else None
        height, width = self.size or (64, 96)
        outputs = self._session.run(None, {image.name: np.zeros((1, 3, height, width), np.float32)})
        found = {
            output.name: values.shape
            for output, values in zip(self._session.get_outputs(), outputs, strict=True)
        }
        expected = {(1, len(anchor_boxes(height, width)), columns) for columns in (4, 2, 10)}
        if len(found) != 3 or set(found.values()) != expected:
            raise ValueError(
                f"{wrong}for {height} × {width} pixels it gives {found}, expected the shapes "
                f"{sorted(expected, key=lambda shape: shape[2])}"
            )
        names = {shape[2]: name for name, shape in found.items()}
        self._input, self._outputs = image.name, [names[4], names[2], names[10]]
        scores = next(values for values in outputs if values.shape[2] == 2)
        self._softmaxed = bool(
            (scores >= 0).all() and np.allclose(scores.sum(axis=2), 1, atol=1e-3)
        )

    def __call__(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """RGB uint8 [H, W, 3] images of one size -> offsets [N, A, 4], scores of a face [N, A], points [N, A, 10]."""
        batch = np.zeros((len(images), 3, *(self.size or images[0].shape[:2])), np.float32)
        for planes, image in zip(batch, images, strict=True):
            for plane, channel, mean in zip(
                planes, (2, 1, 0), MEAN_BGR, strict=True
            ):  # by plane: 15 times as fast
                np.subtract(
                    image[..., channel], mean, out=plane[: image.shape[0], : image.shape[1]]
                )
        offsets, scores, points = self._session.run(self._outputs, {self._input: batch})
        if self._softmaxed:
            return offsets, scores[..., 1], points
        return offsets, expit(scores[..., 1] - scores[..., 0]), points


class RetinaFace:
    """RetinaFace through ONNX Runtime.

    ``weights``: ONNX file (see ``RetinaFaceNetwork``); ``threshold``: least score; ``nms``: overlap above
    which the weaker of two boxes goes; ``max_side``: images are shrunk so that their longer side has at most
    so many pixels (recall by size: results/benchmarks). Raises ``FileNotFoundError`` and ``ValueError``.
    """

    def __init__(
        self,
        weights: Path,
        threshold: float = 0.5,
        nms: float = 0.4,
        max_side: int = 640,
        threads: int = 1,
    ) -> None:
        self._network = RetinaFaceNetwork(weights, threads)
        self._threshold, self._nms, self._max_side = threshold, nms, max_side

    def __call__(self, images: Sequence[np.ndarray]) -> list[Faces]:
        """Faces of each RGB uint8 [H, W, 3] image."""
        return _by_size(
            images, [self._fit(image) for image in images], self._network.batch, self._detect
        )

    def _fit(self, image: np.ndarray) -> np.ndarray:
        if self._network.size is None:
            return shrink(image, self._max_side)
        ratio = min(
            fixed / side for fixed, side in zip(self._network.size, image.shape, strict=False)
        )
        return shrink(image, min(self._max_side, int(ratio * max(image.shape[:2]))))

    def _detect(self, some: Sequence[np.ndarray]) -> list[_Found]:
        anchors = anchor_boxes(*(self._network.size or some[0].shape[:2]))
        return [
            self._decode(anchors, *outputs) for outputs in zip(*self._network(some), strict=True)
        ]

    def _decode(
        self, anchors: np.ndarray, offsets: np.ndarray, scores: np.ndarray, points: np.ndarray
    ) -> _Found:
        likely = scores >= self._threshold
        anchors, scores = anchors[likely], scores[likely]
        boxes, points = (
            decode_boxes(offsets[likely], anchors),
            decode_points(points[likely], anchors),
        )
        keep = non_maximum_suppression(boxes, scores, self._nms)
        return boxes[keep], scores[keep], points[keep]


class MTCNN:
    """facenet-pytorch's MTCNN behind the same protocol; its weights come with that package."""

    def __init__(
        self, threshold: float = 0.5, max_side: int = 640, min_face: int = 20, threads: int = 1
    ) -> None:
        import facenet_pytorch
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = facenet_pytorch.MTCNN(keep_all=True, min_face_size=min_face, device=device)
        self._threshold, self._max_side, self._min_face, self._threads = (
            threshold,
            max_side,
            min_face,
            threads,
        )

    def __call__(self, images: Sequence[np.ndarray]) -> list[Faces]:
        """Faces of each RGB uint8 [H, W, 3] image."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            return _by_size(
                images, [shrink(image, self._max_side) for image in images], GPU_BATCH, self._detect
            )
        finally:
            torch.set_num_threads(before)

    def _detect(self, some: Sequence[np.ndarray]) -> list[_Found]:
        if min(some[0].shape[:2]) < self._min_face:  # on which the package fails
            return [self._sorted(None, None, None) for _ in some]
        return [
            self._sorted(*found)
            for found in zip(*self._network.detect(np.stack(some), landmarks=True), strict=True)
        ]

    def _sorted(
        self, boxes: np.ndarray | None, scores: np.ndarray | None, points: np.ndarray | None
    ) -> _Found:
        if boxes is None:
            boxes, scores, points = (), (), ()
        # The package returns object arrays, on which NumPy's float functions fail.
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        scores = np.asarray(scores, np.float32).reshape(-1)
        points = np.asarray(points, np.float32).reshape(-1, 5, 2)
        keep = np.argsort(-scores, kind="stable")
        keep = keep[scores[keep] >= self._threshold]
        return boxes[keep], scores[keep], points[keep]


DETECTORS: dict[str, Callable[..., FaceDetector]] = {"retinaface": RetinaFace, "mtcnn": MTCNN}


def detector(name: str, **options: Any) -> FaceDetector:
    """The detector called ``name`` (``retinaface`` or ``mtcnn``) with its options.

    Raises ``ValueError`` for an unknown name.
    """
    if name not in DETECTORS:
        raise ValueError(
            f"crops.detector = {name!r}: unknown detector; choose one of {', '.join(DETECTORS)}"
        )
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
            (np.arange(-(-width // stride)) + 0.5) * stride,
            sides,
            indexing="ij",
        )
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
    return shared / (
        (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared
    )


def _by_size(
    images: Sequence[np.ndarray],
    fitted: Sequence[np.ndarray],
    batch: int,
    detect: Callable[[Sequence[np.ndarray]], list[_Found]],
) -> list[Faces]:
    """``detect`` on batches of ``fitted`` copies of one size; faces in pixels of ``images``, in their order."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for number, small in enumerate(fitted):
        sizes.setdefault(small.shape, []).append(number)
    faces: dict[int, Faces] = {}
    for numbers in sizes.values():
        for first in range(0, len(numbers), batch):
            some = numbers[first : first + batch]
            for number, found in zip(
                some, detect([fitted[number] for number in some]), strict=True
            ):
                faces[number] = _to_image(*found, fitted[number], images[number])
    return [faces[number] for number in range(len(images))]


def _to_image(
    boxes: np.ndarray, scores: np.ndarray, points: np.ndarray, small: np.ndarray, image: np.ndarray
) -> Faces:
    """Coordinates in ``small`` -> ``Faces`` in ``image``, boxes clipped to it."""
    size = np.array(image.shape[1::-1], np.float32)
    factor = size / np.array(small.shape[1::-1], np.float32)
    boxes = np.clip(boxes.reshape(-1, 2, 2) * factor, 0, size).reshape(-1, 4)
    return Faces(
        boxes.astype(np.float32), scores.astype(np.float32), (points * factor).astype(np.float32)
    )
