"""Dense landmarks: image + face box -> the 478 points of MediaPipe's face mesh (for the demo and for SBI).

Left and right are the person's own, as in MediaPipe: the left eye is at the right of the image.
Each index tuple is a closed polygon in order of walking around it.
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
    10,
    338,
    297,
    332,
    284,
    251,
    389,
    356,
    454,
    323,
    361,
    288,
    397,
    365,
    379,
    378,
    400,
    377,
    152,
    148,
    176,
    149,
    150,
    136,
    172,
    58,
    132,
    93,
    234,
    127,
    162,
    21,
    54,
    103,
    67,
    109,
)
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (
    78,
    95,
    88,
    178,
    87,
    14,
    317,
    402,
    318,
    324,
    308,
    415,
    310,
    311,
    312,
    13,
    82,
    81,
    80,
    191,
)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_BROW = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)
RIGHT_BROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
NOSE = (168, 351, 399, 420, 344, 278, 294, 327, 326, 2, 97, 98, 64, 48, 115, 198, 174, 122)

POINTS = 478
_SIDE = 256  # the model's input, pixels
_ENLARGE = 1.5  # the model was trained on faces with about this much surrounding


class FaceMesh:
    """MediaPipe's face landmark model on the CPU through LiteRT.

    Raises ``FileNotFoundError``, and at the first call ``ValueError`` for a model without 478
    points.
    """

    def __init__(self, model: Path, threads: int = 1) -> None:
        if not Path(model).is_file():
            raise FileNotFoundError(f"{model}: no landmark model here; run the assets stage first")
        self.model, self.threads = Path(model), threads

    @cached_property
    def _network(self) -> Interpreter:
        """Made at the first call, so that an unused mesh can be handed to worker processes."""
        from ai_edge_litert.interpreter import Interpreter

        network = Interpreter(str(self.model), num_threads=self.threads)
        network.allocate_tensors()
        self._input = network.get_input_details()[0]["index"]
        found = [
            output["index"]
            for output in network.get_output_details()
            if output["shape"][-1] == POINTS * 3
        ]
        if not found:
            raise ValueError(
                f"{self.model}: no landmark model, no output has {POINTS} points; run the assets stage"
            )
        self._output = found[0]
        return network

    def __call__(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Points float32 [478, 2] in pixels of RGB uint8 ``image`` [H, W, 3] for the face in ``box`` [4].

        A first look through the detector's box finds the face's true extent and tilt, a second look
        through that window gives the points; detectors differ in how tightly they frame a face.
        """
        box = np.asarray(box, np.float32)
        first = self._look(image, (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max(), 0.0)
        low, high = first.min(axis=0), first.max(axis=0)
        return self._look(image, (low + high) / 2, (high - low).max(), _tilt(first))

    def _look(self, image: np.ndarray, centre: np.ndarray, side: float, tilt: float) -> np.ndarray:
        """Points found in a square window of ``side`` × 1.5 pixels, turned by ``tilt`` degrees."""
        matrix = cv2.getRotationMatrix2D(
            tuple(map(float, centre)), tilt, _SIDE / (_ENLARGE * float(side))
        )
        matrix[:, 2] += _SIDE / 2 - centre
        window = cv2.warpAffine(image, matrix, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE)
        network = self._network
        network.set_tensor(self._input, window[None].astype(np.float32) / 255)
        network.invoke()
        points = network.get_tensor(self._output).reshape(POINTS, 3)[:, :2]
        back = cv2.invertAffineTransform(matrix)
        return (points @ back[:, :2].T + back[:, 2]).astype(np.float32)


def _tilt(points: np.ndarray) -> float:
    """Degrees by which the line between the eyes falls to the right in the image."""
    right, left = points[list(RIGHT_EYE)].mean(axis=0), points[list(LEFT_EYE)].mean(axis=0)
    return float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))
