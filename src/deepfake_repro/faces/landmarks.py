"""Dense landmarks: image + face box -> the 478 points of MediaPipe's face mesh.

Left and right are the person's own, as in MediaPipe: the left eye is on the right of the image.
Each index tuple lists the corners of a closed polygon in order.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324,
    308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_BROW = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)
RIGHT_BROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
NOSE = (168, 351, 399, 420, 344, 278, 294, 327, 326, 2, 97, 98, 64, 48, 115, 198, 174, 122)

POINTS = 478
_SIDE = 256  # of the model's input, in pixels
_ENLARGE = 1.5  # window side per face side; the model was trained on faces framed about so loosely


class FaceMesh:
    """MediaPipe's face landmark model on the CPU through LiteRT.

    Raises ``FileNotFoundError``, and on the first call ``ValueError`` for a model without 478
    points.
    """

    def __init__(self, model: Path, threads: int = 1) -> None:
        if not Path(model).is_file():
            raise FileNotFoundError(
                f"{model}: landmark model not found; run the assets stage first"
            )
        self.model = Path(model)
        self.threads = threads

    @cached_property
    def _network(self) -> Interpreter:
        """Load the model on the first call, so that an unused mesh can be pickled for workers."""
        from ai_edge_litert.interpreter import Interpreter

        network = Interpreter(str(self.model), num_threads=self.threads)
        network.allocate_tensors()
        self._input = network.get_input_details()[0]["index"]
        outputs = [
            output["index"]
            for output in network.get_output_details()
            if output["shape"][-1] == POINTS * 3
        ]
        if not outputs:
            raise ValueError(
                f"{self.model}: not a landmark model, no output has {POINTS} points; "
                "run the assets stage"
            )
        self._output = outputs[0]
        return network

    def __call__(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Return the points, float32 [478, 2] in pixels, of the face in ``box`` [4].

        ``image`` is RGB uint8 [H, W, 3]. Detectors differ in how tightly they frame a face. A first
        run on the detector's box gives the face's extent and tilt; a second run on that window
        gives the points.
        """
        box = np.asarray(box, np.float32)
        coarse = self._run(image, (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max(), 0.0)
        low, high = coarse.min(axis=0), coarse.max(axis=0)
        return self._run(image, (low + high) / 2, (high - low).max(), _tilt(coarse))

    def _run(self, image: np.ndarray, centre: np.ndarray, side: float, tilt: float) -> np.ndarray:
        """Run the model on a square window of 1.5 × ``side`` pixels, turned by ``tilt`` degrees."""
        x, y = map(float, centre)
        scale = _SIDE / (_ENLARGE * float(side))
        matrix = np.asarray(cv2.getRotationMatrix2D((x, y), tilt, scale), np.float64)
        matrix[:, 2] += _SIDE / 2 - centre
        window = cv2.warpAffine(image, matrix, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE)
        network = self._network
        network.set_tensor(self._input, window[None].astype(np.float32) / 255)
        network.invoke()
        points = network.get_tensor(self._output).reshape(POINTS, 3)[:, :2]
        back = cv2.invertAffineTransform(matrix)
        return (points @ back[:, :2].T + back[:, 2]).astype(np.float32)


def _tilt(points: np.ndarray) -> float:
    """Return the angle in degrees by which the line between the eyes falls to the right."""
    right = points[list(RIGHT_EYE)].mean(axis=0)
    left = points[list(LEFT_EYE)].mean(axis=0)
    return float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))
