"""Fixtures shared by the tests: small generated H.264 clips and the demo's licensed assets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # two processes with two threads each slow each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import cv2
import numpy as np
import pytest
import torch
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

ASSETS = Path(__file__).resolve().parents[1] / "data" / "assets"
SMOKE = ("test_pipeline.py", "test_lessons.py")
"""Modules whose tests use the smoke pipeline."""
BITS, CELL = 8, 16
X264 = {"threads": "1", "x264-params": "mbtree=0"}
"""x264 then gives the same bytes each time: its macroblock tree depends on memory layout."""


class WholeModules(LoadScopeScheduling):
    """Give each process whole modules, and all that use the smoke pipeline to one: it runs once."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return "smoke" if Path(module).name in SMOKE else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> WholeModules:
    """Divide the tests between the processes of ``--numprocesses``."""
    return WholeModules(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the smoke pipeline, which takes longest."""
    items.sort(key=lambda item: item.path.name not in SMOKE)


@pytest.fixture(scope="session")
def assets() -> Path:
    """Folder of the demo's assets; the test is skipped where they have not been fetched."""
    if not (ASSETS / "retinaface_mobilenet025.onnx").is_file():
        pytest.skip("needs data/assets, which the pipeline's assets stage fetches")
    return ASSETS


@pytest.fixture(scope="session")
def sheet(assets: Path) -> np.ndarray:
    """RGB sheet [1792, 2400, 3] of one synthetic person: a 4 × 4 grid of 16 expressions."""
    return cv2.cvtColor(cv2.imread(str(assets / "people" / "P001.jpg")), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="session")
def tile(sheet: np.ndarray) -> np.ndarray:
    """The sheet's first face with its surroundings, RGB [360, 440, 3]."""
    return sheet[100:460, 130:570].copy()


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """``picture(number)``: RGB [96, 128, 3] with ``number`` in eight black or white cells of its
    top rows.

    Below, the left half is red and the right half blue, so that colour order and turning show.
    """

    def paint(number: int) -> np.ndarray:
        image = np.zeros((96, CELL * BITS, 3), np.uint8)
        image[:, :64], image[:, 64:] = (220, 20, 20), (20, 20, 220)
        for bit in range(BITS):
            image[:32, bit * CELL : (bit + 1) * CELL] = 235 if number >> bit & 1 else 16
        return image

    return paint


@pytest.fixture(scope="session")
def read_number() -> Callable[[np.ndarray], int]:
    """``read_number(image)``: the number in a (decoded, lossy) ``picture``."""

    def read(image: np.ndarray) -> int:
        return sum((image[16, bit * CELL + CELL // 2].mean() > 128) << bit for bit in range(BITS))

    return read


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """``make_clip(path, images, rate=10, times=None)``: an H.264 video, its index at the front.

    ``times``: seconds of each image, for a variable frame rate; else ``rate`` images a second.
    """

    def make(
        path: Path,
        images: Iterable[np.ndarray],
        rate: int = 10,
        times: Iterable[float] | None = None,
    ) -> Path:
        images = list(images)
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("libx264", rate=rate, options={"crf": "10", **X264})
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            for seconds, image in zip(
                times or (i / rate for i in range(len(images))), images, strict=True
            ):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = round(seconds * 1000), Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which the smoke pipeline has run, once for all tests that need it."""
    from support.clones import make_smoke

    return make_smoke(tmp_path_factory)


@pytest.fixture(scope="module")
def one_thread() -> Iterable[None]:
    """Tiny batches are faster in one thread, and bits do not depend on how work is shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object], int], None]:
    """``cut_off(start, saves)``: call ``start`` and interrupt its training right after checkpoint
    number ``saves``.
    """
    from deepfake_repro.training.loop import Loop

    def cut(start: Callable[[], object], saves: int) -> None:
        whole, written = Loop.save, []

        def save(self: Loop) -> None:
            whole(self)
            written.append(self.step)
            if len(written) == saves:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Loop, "save", save)
            start()

    return cut
