"""Face detection: images -> boxes, scores and five landmarks (Section 4.1 uses RetinaFace).

``RetinaFace`` decodes the network of Deng et al., "RetinaFace: Single-Shot Multi-Level Face
Localisation in the Wild" (CVPR 2020): the MobileNet-0.25 edition or any other with the same
anchors. ``MTCNN`` wraps the one of facenet-pytorch. Both follow the protocol ``FaceDetector`` and
run on a GPU if their runtime has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from scipy.special import expit

from ..project.registry import Registry

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# Stride -> sides in pixels of the two square anchors per cell (MobileNet-0.25 and ResNet-50).
ANCHORS = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
CENTRE_VARIANCE = 0.1
SIZE_VARIANCE = 0.2
MEAN_BGR = np.array((104, 117, 123), np.float32)
FULL_SIDE = 3840  # longer side of the second search: 4K, whose layers take about 1 GB
GPU_BATCH = 8  # images per call; on a CPU batches are no faster (results/benchmarks)


@dataclass(frozen=True)
class Faces:
    """The faces of one image by falling score; coordinates in pixels of that image.

    ``boxes`` float32 [N, 4] (x0, y0, x1, y1); ``scores`` float32 [N]; ``points`` float32 [N, 5, 2]:
    left eye, right eye, nose tip, left and right mouth corner, with left and right as in the image.
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


class FaceDetector(Protocol):
    """Anything that detects faces in RGB uint8 [H, W, 3] images."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[Faces]:
        """Return the ``Faces`` of each image, in the order of ``images``."""


class RetinaFaceNetwork:
    """A RetinaFace ONNX file: images -> box offsets, scores and point offsets of each anchor.

    Exports may differ in the names and order of their outputs, may return class probabilities or
    logits, and may take images of one size (``size`` = (H, W)) or of any (None). Raises
    ``FileNotFoundError``, and ``ValueError`` unless a trial run returns 4 box, 2 class and 10 point
    columns for each anchor of ``ANCHORS``.
    """

    def __init__(self, weights: Path, threads: int = 1) -> None:
        from onnxruntime.capi import onnxruntime_pybind11_state as errors

        if not Path(weights).is_file():
            raise FileNotFoundError(
                f"{weights}: RetinaFace weights not found; run the assets stage first"
            )
        try:
            self._session = _start_session(weights, threads)
            self._inspect_input(weights)
            self._inspect_outputs(weights)
        except (
            errors.Fail,
            errors.InvalidArgument,
            errors.InvalidGraph,
            errors.InvalidProtobuf,
            errors.RuntimeException,
        ) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{weights}: cannot be run as a RetinaFace ({reason})") from error

    def _inspect_input(self, weights: Path) -> None:
        """Read the batch and image size that the file accepts."""
        image, *others = self._session.get_inputs()
        if others or len(image.shape) != 4 or image.shape[1] != 3:
            raise ValueError(
                f"{weights}: not a RetinaFace of the usual form: "
                f"input {image.name} is {image.shape}, expected one image [N, 3, H, W]"
            )
        self._input = image.name
        batch, _, *size = image.shape
        is_fixed_size = all(isinstance(side, int) for side in size)
        self.size: tuple[int, int] | None = (size[0], size[1]) if is_fixed_size else None
        on_cpu = self._session.get_providers()[0] == "CPUExecutionProvider"
        self.batch = 1 if on_cpu or isinstance(batch, int) else GPU_BATCH

    def _inspect_outputs(self, weights: Path) -> None:
        """Identify the outputs by their shapes in a trial run on a black image."""
        height, width = self.size or (64, 96)
        black = np.zeros((1, 3, height, width), np.float32)
        outputs = self._session.run(None, {self._input: black})
        names = [output.name for output in self._session.get_outputs()]
        shapes = {name: values.shape for name, values in zip(names, outputs, strict=True)}
        expected = {(1, len(anchor_boxes(height, width)), columns) for columns in (4, 2, 10)}
        if len(shapes) != 3 or set(shapes.values()) != expected:
            raise ValueError(
                f"{weights}: not a RetinaFace of the usual form: for {height} × {width} pixels it "
                f"returns {shapes}, expected the shapes "
                f"{sorted(expected, key=lambda shape: shape[2])}"
            )
        name_by_columns = {shape[2]: name for name, shape in shapes.items()}
        self._outputs = [name_by_columns[columns] for columns in (4, 2, 10)]
        scores = next(values for values in outputs if values.shape[2] == 2)
        sums_to_one = np.allclose(scores.sum(axis=2), 1, atol=1e-3)
        self._is_softmaxed = bool((scores >= 0).all() and sums_to_one)

    def __call__(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Run RGB uint8 [H, W, 3] images of one size through the network.

        Returns, for A anchors, box offsets [N, A, 4], scores of a face [N, A], point offsets
        [N, A, 10].
        """
        height, width = self.size or images[0].shape[:2]
        batch = np.zeros((len(images), 3, height, width), np.float32)
        for planes, image in zip(batch, images, strict=True):
            rows, columns = image.shape[:2]
            # Plane by plane is 15 times as fast as all three at once.
            for plane, channel, mean in zip(planes, (2, 1, 0), MEAN_BGR, strict=True):
                np.subtract(image[..., channel], mean, out=plane[:rows, :columns])
        offsets, classes, points = self._session.run(self._outputs, {self._input: batch})
        if self._is_softmaxed:
            return offsets, classes[..., 1], points
        return offsets, expit(classes[..., 1] - classes[..., 0]), points


def _start_session(weights: Path, threads: int) -> InferenceSession:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = threads
    available = onnxruntime.get_available_providers()
    preferred = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in preferred if name in available]
    return onnxruntime.InferenceSession(str(weights), settings, providers=providers)


class RetinaFace:
    """RetinaFace through ONNX Runtime.

    ``weights``: ONNX file (see ``RetinaFaceNetwork``). ``threshold``: minimum score. ``nms``: IoU
    above which the weaker of two boxes is dropped. ``max_side``: images with a longer side of more
    pixels are shrunk (recall by size: results/benchmarks); where nothing is found, the image is
    searched again with up to ``FULL_SIDE`` pixels. Raises ``FileNotFoundError`` and
    ``ValueError``.
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
        self._threshold = threshold
        self._nms = nms
        self._max_side = max_side

    def __call__(self, images: Sequence[np.ndarray]) -> list[Faces]:
        """Detect the faces of each RGB uint8 [H, W, 3] image."""
        resized = [self._resize(image, self._max_side) for image in images]
        found = _detect_by_size(images, resized, self._network.batch, self._detect)
        for number, image in enumerate(images):
            if len(found[number]) or resized[number].shape == image.shape:
                continue
            larger = self._resize(image, FULL_SIDE)
            if larger.shape != resized[number].shape:
                (found[number],) = _detect_by_size([image], [larger], 1, self._detect)
        return found

    def _resize(self, image: np.ndarray, max_side: int) -> np.ndarray:
        """Shrink an image to ``max_side`` and, if the network has a fixed size, to fit into it."""
        if self._network.size is None:
            return shrink(image, max_side)
        height, width = image.shape[:2]
        ratio = min(self._network.size[0] / height, self._network.size[1] / width)
        return shrink(image, min(max_side, int(ratio * max(height, width))))

    def _detect(self, images: Sequence[np.ndarray]) -> list[Faces]:
        height, width = self._network.size or images[0].shape[:2]
        anchors = anchor_boxes(height, width)
        outputs = zip(*self._network(images), strict=True)
        return [self._decode(anchors, *offsets_of_image) for offsets_of_image in outputs]

    def _decode(
        self, anchors: np.ndarray, offsets: np.ndarray, scores: np.ndarray, points: np.ndarray
    ) -> Faces:
        likely = scores >= self._threshold
        boxes = decode_boxes(offsets[likely], anchors[likely])
        points = decode_points(points[likely], anchors[likely])
        scores = scores[likely]
        keep = non_maximum_suppression(boxes, scores, self._nms)
        return Faces(boxes[keep], scores[keep], points[keep])


class MTCNN:
    """The MTCNN of facenet-pytorch, which includes its weights."""

    def __init__(
        self, threshold: float = 0.5, max_side: int = 640, min_face: int = 20, threads: int = 1
    ) -> None:
        import facenet_pytorch
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = facenet_pytorch.MTCNN(keep_all=True, min_face_size=min_face, device=device)
        self._threshold = threshold
        self._max_side = max_side
        self._min_face = min_face
        self._threads = threads

    def __call__(self, images: Sequence[np.ndarray]) -> list[Faces]:
        """Detect the faces of each RGB uint8 [H, W, 3] image."""
        import torch

        resized = [shrink(image, self._max_side) for image in images]
        threads_before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            return _detect_by_size(images, resized, GPU_BATCH, self._detect)
        finally:
            torch.set_num_threads(threads_before)

    def _detect(self, images: Sequence[np.ndarray]) -> list[Faces]:
        if min(images[0].shape[:2]) < self._min_face:  # the package fails on such images
            return [self._sort_faces(None, None, None) for _ in images]
        outputs = zip(*self._network.detect(np.stack(images), landmarks=True), strict=True)
        return [self._sort_faces(*faces) for faces in outputs]

    def _sort_faces(
        self, boxes: np.ndarray | None, scores: np.ndarray | None, points: np.ndarray | None
    ) -> Faces:
        """Convert one image's output; the package returns no boxes as None."""
        if boxes is None:
            boxes = scores = points = np.empty(0)
        # The package returns object arrays, which NumPy's float functions reject.
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        scores = np.asarray(scores, np.float32).reshape(-1)
        points = np.asarray(points, np.float32).reshape(-1, 5, 2)
        order = np.argsort(-scores, kind="stable")
        keep = order[scores[order] >= self._threshold]
        return Faces(boxes[keep], scores[keep], points[keep])


DETECTORS: Registry[Callable[..., FaceDetector]] = Registry(
    "crops.detector", {"retinaface": RetinaFace, "mtcnn": MTCNN}
)


def detector(name: str, **options: Any) -> FaceDetector:
    """Make the detector called ``name`` with its options; ``ValueError`` for an unknown name."""
    return DETECTORS[name](**options)


def shrink(image: np.ndarray, max_side: int) -> np.ndarray:
    """Shrink an image [H, W, 3] to a longer side of ``max_side`` pixels; keep smaller ones."""
    height, width = image.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=8)
def anchor_boxes(height: int, width: int) -> np.ndarray:
    """Return an image's anchors in output order: float32 [N, 4] (centre x, y, width, height)."""
    levels = []
    for stride, sides in ANCHORS.items():
        rows, columns = -(-height // stride), -(-width // stride)
        y, x, side = np.meshgrid(
            (np.arange(rows) + 0.5) * stride,
            (np.arange(columns) + 0.5) * stride,
            sides,
            indexing="ij",
        )
        levels.append(np.stack([x, y, side, side], axis=-1).reshape(-1, 4))
    return np.concatenate(levels).astype(np.float32)


def decode_boxes(offsets: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Network offsets [N, 4] from ``anchors`` [N, 4] -> boxes [N, 4] (x0, y0, x1, y1; pixels)."""
    centre = anchors[:, :2] + offsets[:, :2] * CENTRE_VARIANCE * anchors[:, 2:]
    half = anchors[:, 2:] * np.exp(offsets[:, 2:] * SIZE_VARIANCE) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def decode_points(offsets: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Network offsets [N, 10] from ``anchors`` [N, 4] -> five points [N, 5, 2] in pixels."""
    return anchors[:, None, :2] + offsets.reshape(-1, 5, 2) * CENTRE_VARIANCE * anchors[:, None, 2:]


def non_maximum_suppression(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Return the indices of boxes [N, 4] to keep, by falling score.

    A box is dropped if its IoU with a better kept one is greater than ``overlap``.
    """
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
    intersection = np.clip(sides, 0, None).prod(axis=1)
    area = (box[2:] - box[:2]).prod()
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return intersection / (area + areas - intersection)


def _detect_by_size(
    images: Sequence[np.ndarray],
    resized: Sequence[np.ndarray],
    batch: int,
    detect: Callable[[Sequence[np.ndarray]], list[Faces]],
) -> list[Faces]:
    """Detect in batches of ``resized`` images of one size; return faces in pixels of ``images``."""
    numbers_by_size: dict[tuple[int, ...], list[int]] = {}
    for number, image in enumerate(resized):
        numbers_by_size.setdefault(image.shape, []).append(number)
    faces_by_number: dict[int, Faces] = {}
    for numbers in numbers_by_size.values():
        for first in range(0, len(numbers), batch):
            batch_numbers = numbers[first : first + batch]
            detected = detect([resized[number] for number in batch_numbers])
            for number, faces in zip(batch_numbers, detected, strict=True):
                faces_by_number[number] = _rescale(faces, resized[number], images[number])
    return [faces_by_number[number] for number in range(len(images))]


def _rescale(faces: Faces, resized: np.ndarray, image: np.ndarray) -> Faces:
    """Convert coordinates from pixels of ``resized`` to those of ``image``; clip boxes to it."""
    size = np.array(image.shape[1::-1], np.float32)
    factor = size / np.array(resized.shape[1::-1], np.float32)
    boxes = np.clip(faces.boxes.reshape(-1, 2, 2) * factor, 0, size).reshape(-1, 4)
    points = faces.points * factor
    return Faces(
        boxes.astype(np.float32), faces.scores.astype(np.float32), points.astype(np.float32)
    )
