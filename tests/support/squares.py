"""A toy of preprocessing: green squares for faces, a detector of them, and a run to kill.

A module of its own, so that the processes of a run can import it.
"""

import ctypes
import os
import signal
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd

from deepfake_repro.crops.preprocess import make_crops
from deepfake_repro.faces.detection import Faces
from deepfake_repro.project.params import CropOptions

OPTIONS = CropOptions(
    frames_per_second=1.0,
    frames_per_clip=0,
    detector="squares",
    detector_weights="",
    detector_side=640,
    image_face="central",
    min_score=0.5,
    min_side=20,
    margin=0.3,
    size=32,
    encoding="png",
    max_skipped=1.0,
    video_timeout=0,
    scheduler="",
)


@dataclass(frozen=True)
class Squares:
    """A detector of green squares; appends one line per image to ``log``.

    ``pause``: seconds per image.
    """

    log: Path | None = None
    pause: float = 0

    def __call__(self, images):
        time.sleep(self.pause * len(images))
        if self.log:
            with self.log.open("a") as file:
                file.write("image\n" * len(images))
        return [self._find(image) for image in images]

    @staticmethod
    def _find(image):
        green = (image[..., 1] > 150) & (image[..., 0] < 100)
        _, _, components, _ = cv2.connectedComponentsWithStats(green.astype(np.uint8))
        corners = [(x, y, x + w, y + h) for x, y, w, h, area in components[1:] if area > 50]
        boxes = np.array(corners, np.float32).reshape(-1, 4)
        scores = np.linspace(0.9, 0.6, len(boxes), dtype=np.float32)
        offsets = np.arange(10, dtype=np.float32).reshape(5, 2)
        return Faces(boxes, scores, boxes[:, None, :2] + offsets)


TRAPS = {"segfault": (200, 0, 0), "hang": (0, 0, 200), "raise": (200, 0, 200)}


def _has_colour(image, colour):
    return np.abs(image[0, 0] - np.array(colour)).max() < 40


class Trapped(Squares):
    """As ``Squares``, but images in a colour of ``TRAPS`` crash, hang or fail it."""

    def _find(self, image):
        traps = [name for name, colour in TRAPS.items() if _has_colour(image, colour)]
        trap = traps[0] if traps else ""
        if trap == "segfault":
            ctypes.string_at(0)
        elif trap == "hang":
            time.sleep(600)
        elif trap == "raise":
            raise RuntimeError("a library's own error")
        return super()._find(image)


def dropped_by_the_decoder():
    """Make a detector after PyAV has dropped an argument of ``av.open``, as PyAV 19 has."""
    original = av.open
    av.open = lambda file, mode="r", *, options=None: original(file, mode, options=options)
    return Squares()


class Dropped(Squares):
    """As ``Squares``, but it calls what its libraries no longer have."""

    def __init__(self, what):
        super().__init__()
        object.__setattr__(self, "what", what)

    def _find(self, image):
        if self.what == "argument":
            np.asarray(image, kind="float32")
        elif self.what == "function":
            cv2.resized(image, (8, 8))
        elif self.what == "OpenCV's argument":
            cv2.resize(image, (8, 8), method=cv2.INTER_AREA)
        elif self.what == "module":
            from cv2 import resized  # noqa: F401
        raise NotImplementedError("gone since version 19")


def unimportable():
    """A detector whose library has moved a name."""
    from cv2 import resized

    return resized


class Unmakeable:
    """A detector that cannot be made: its library has dropped an argument."""

    def __init__(self):
        np.zeros(3, kind="float32")


class Fatal(Trapped):
    """As ``Trapped``, but it kills the parent process."""

    def _find(self, image):
        if _has_colour(image, TRAPS["segfault"]):
            os.kill(os.getppid(), signal.SIGKILL)
        return super()._find(image)


def scene(*corners, side=40, colour=(60, 60, 60)):
    """Draw an RGB image [120, 160, 3] with a green square at each of ``corners``."""
    image = np.full((120, 160, 3), colour, np.uint8)
    for x, y in corners:
        image[y : y + side, x : x + side] = (20, 220, 20)
    return image


def index_row(path, kind="video", dataset="ffpp", attrs="{}"):
    """Make a row of the index."""
    return {
        "video_id": f"{dataset}/{path.rsplit('.', 1)[0]}",
        "path": path,
        "kind": kind,
        "dataset": dataset,
        "attrs": attrs,
    }


def make_corpus(root, make_clip):
    """Make six good videos, one with two faces, and one of each bad kind: (root, index)."""
    for number in range(5):
        make_clip(root / f"v{number}.mp4", [scene((20 + 10 * number, 30))] * 21)
    make_clip(root / "two.mp4", [scene((10, 20), (90, 60))] * 11)
    make_clip(root / "sometimes.mp4", [scene((20, 30))] * 10 + [scene()] * 11)
    make_clip(root / "nobody.mp4", [scene()] * 21)
    (root / "text.mp4").write_text("not a video\n" * 20)
    (root / "zero.mp4").write_bytes(b"")
    noise = np.random.default_rng(0).integers(0, 90, (30, 120, 160, 3), dtype=np.uint8)
    noise[:, 30:70, 30:70] = (20, 220, 20)
    whole = make_clip(root / "broken.mp4", noise)
    whole.write_bytes(whole.read_bytes()[: -whole.stat().st_size // 4])
    names = [path.name for path in root.iterdir()] + ["gone.mp4"]
    return root, pd.DataFrame([index_row(name) for name in names]).sample(frac=1, random_state=0)


def run_to_kill(root, out):
    """Crop all files of ``root`` in two child processes, slowly enough to be killed midway."""
    index = pd.DataFrame([index_row(path.name) for path in sorted(Path(root).iterdir())])
    make_crops(
        index,
        {"ffpp": Path(root)},
        Path(out),
        partial(Squares, pause=0.1),
        replace(OPTIONS, video_timeout=60),
        workers=2,
        videos_per_part=2,
    )
