"""Crops -> P(fake), whatever computes it: a network, a Python file, an ONNX file."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnxruntime
import torch

from ..training.detector import Detector, by_view, probabilities
from ..training.labels import p_fake
from ..training.transforms import Transform
from .manifest import DetectorManifest
from .views import view_transform


class Scores(NamedTuple):
    """P(fake) ``[N]``, six decimals, and embeddings ``[N, D]`` where there are any."""

    p_fake: np.ndarray
    embedding: np.ndarray | None


class Scorer(Protocol):
    """Scores crops, RGB uint8 ``[H, W, 3]``, of any size."""

    def __call__(self, crops: Sequence[np.ndarray]) -> Scores:
        """Score crops."""
        ...


@dataclass(frozen=True)
class NetworkScorer:
    """A network whose class 0 is real, with the transform of its inputs."""

    detector: Detector
    transform: Transform

    @torch.inference_mode()
    def __call__(self, crops: Sequence[np.ndarray]) -> Scores:
        """Score crops as the pipeline does, to six decimals, on the device of the network."""
        device = next(self.detector.parameters()).device
        views = torch.stack([self.transform(crop) for crop in crops]).to(device)
        embedding, logits = by_view(self.detector, views)
        scores = np.asarray(p_fake(probabilities(logits).cpu().numpy())).round(6)
        return Scores(scores, embedding.mean(1).cpu().numpy())


class PythonScorer:
    """The function ``predict(crops) -> P(fake)`` of somebody's Python file, which is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        predict = runpy.run_path(str(path)).get("predict")
        if not callable(predict):
            raise ValueError(f"{path}: has no function predict(crops) -> array of P(fake)")
        self.predict: Callable[[list[np.ndarray]], Any] = predict

    def __call__(self, crops: Sequence[np.ndarray]) -> Scores:
        """Score crops; ``ValueError`` unless each gets one number in [0, 1]."""
        scores = np.asarray(self.predict(list(crops)), np.float64).reshape(-1)
        return Scores(_checked(scores, len(crops), f"{self.path}: predict"), None)


class OnnxScorer:
    """An ONNX file: images ``[N, 3, S, S]`` in, one output per class out.

    Its first output is taken, or the one named ``logits``, ``probabilities`` or ``p_fake``. Logits
    go through softmax (one alone: the logistic function) and are told from probabilities by name.
    An output named ``embedding`` gives the embeddings.
    """

    def __init__(self, path: Path, manifest: DetectorManifest) -> None:
        assert manifest.view is not None
        self.path = path
        self.classes = manifest.classes
        self.transform = view_transform(manifest.view)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        outputs = [output.name for output in self.session.get_outputs()]
        named = [name for name in ("p_fake", "probabilities", "logits") if name in outputs]
        self.output = named[0] if named else outputs[0]
        self.embedding = [name for name in outputs if name == "embedding"]
        self.input = self.session.get_inputs()[0].name

    def __call__(self, crops: Sequence[np.ndarray]) -> Scores:
        """Score crops, averaged over views; ``ValueError`` for outputs of another shape."""
        views = torch.stack([self.transform(crop) for crop in crops])
        inputs = {self.input: views.flatten(0, 1).numpy()}
        values, *embeddings = self.session.run([self.output, *self.embedding], inputs)
        values = np.asarray(values, np.float64).reshape(len(views) * views.shape[1], -1)
        by_view = self._of_classes(values).reshape(len(crops), views.shape[1])
        scores = _checked(by_view.mean(1), len(crops), f"{self.path.name}")
        if not embeddings:
            return Scores(scores, None)
        return Scores(scores, embeddings[0].reshape(*views.shape[:2], -1).mean(1))

    def _of_classes(self, values: np.ndarray) -> np.ndarray:
        """Turn outputs ``[N, C]`` into P(fake) ``[N]``."""
        count = 1 if self.output == "p_fake" else len(self.classes)
        if values.shape[1] != count:
            raise ValueError(
                f"{self.path.name}: output {self.output} has {values.shape[1]} values per image, "
                f"the manifest names {count} class(es)"
            )
        if self.output not in ("p_fake", "probabilities"):
            logits = torch.from_numpy(values)
            values = (logits.sigmoid() if count == 1 else logits.softmax(1)).numpy()
        return values[:, 0] if count == 1 else 1 - values[:, self.classes.index("real")]


def _checked(scores: np.ndarray, count: int, source: str) -> np.ndarray:
    """Return scores with six decimals; ``ValueError`` unless there are ``count`` in [0, 1]."""
    if len(scores) != count:
        raise ValueError(f"{source} returned {len(scores)} scores for {count} crops")
    if not ((scores >= -1e-6) & (scores <= 1 + 1e-6)).all():
        raise ValueError(f"{source} returned a score outside [0, 1]: it must be P(fake)")
    return scores.clip(0, 1).round(6)
