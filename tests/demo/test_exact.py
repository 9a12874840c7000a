"""The generator's arithmetic against other libraries, and its bytes on emulated processors."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_repro.demo import exact
from support.takes import smooth

ROOT = Path(__file__).resolve().parents[2]
CLIPS = """
import sys, tempfile
from pathlib import Path
import cv2
from deepfake_repro.demo.build import make_clip
from deepfake_repro.demo.casting import Clip
from deepfake_repro.project.provenance import file_digest
cv2.setNumThreads(int(sys.argv[2]))
with tempfile.TemporaryDirectory() as folder:
    for number, (corpus, kind, method) in enumerate(
        [("dfdc", "video", "dfdc_6"), ("itw", "video", "wild_2"), ("df40", "frames", "e4s")]
    ):
        path = f"{number}.mp4" if kind == "video" else str(number)
        clip = Clip(corpus, path, kind, "test", 1, method, "P006", 3, "P008")
        make_clip(clip, Path(sys.argv[1]), Path(folder), 0.25)
    print(file_digest(Path(folder)))
"""
PROCESSORS = {
    "native": {},
    "OpenCV without AVX": {"OPENCV_CPU_DISABLE": "AVX2,FMA3,AVX"},
    "OpenBLAS of Nehalem, NumPy without AVX2, libjpeg without SIMD": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
        "JSIMD_FORCENONE": "1",
    },
}


def start(assets: Path, variables: dict[str, str], threads: int) -> subprocess.Popen:
    """Start a process that prints the digest of three clips."""
    paths = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        [sys.executable, "-c", CLIPS, str(assets), str(threads)],
        env={**os.environ, **paths, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_clips_have_the_same_bytes_on_every_processor_and_with_any_number_of_threads(assets):
    digests = {}
    for name, variables in PROCESSORS.items():
        process = start(assets, variables, 4 if name == "native" else 1)
        digests[name] = process.communicate(timeout=120)[0].strip()
    assert len(digests["native"]) == 64 and len(set(digests.values())) == 1, digests


def test_bilinear_sampling_is_that_of_opencv_to_a_thirty_second_of_a_pixel():
    image = smooth()
    ys, xs = np.mgrid[5:200:1.37, 5:180:1.21]
    source = np.stack([xs, ys], -1)
    expected = cv2.remap(image, source.astype(np.float32), None, cv2.INTER_LINEAR)
    assert np.abs(exact.sample(image, source).astype(int) - expected).max() <= 1


def test_sampling_a_doubled_picture_is_nearly_cubic():
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 1)
    ys, xs = np.mgrid[10:50, 10:50] + 0.5
    source = np.stack([xs, ys], -1)
    cubic, linear = (
        cv2.remap(image, source.astype(np.float32), None, how).astype(int)
        for how in (cv2.INTER_CUBIC, cv2.INTER_LINEAR)
    )
    found = exact.sample_doubled(exact.doubled(image), source, cv2.BORDER_REPLICATE)
    assert np.abs(found - cubic).mean() < 0.6 * np.abs(linear - cubic).mean()


def test_luma_and_chroma_are_jpegs_and_can_be_undone():
    image = np.random.default_rng(1).integers(0, 256, (50, 50, 3), np.uint8)
    planes = exact.luma_chroma(image)
    expected = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(int) - (0, 128, 128)
    np.testing.assert_allclose(planes[..., 0] / 256, expected[..., 0], atol=1)
    np.testing.assert_allclose(planes[..., 1:] / 256, expected[..., [2, 1]], atol=2)
    assert np.abs(exact.from_luma_chroma(planes).astype(int) - image).max() <= 2


def test_planes_of_video_are_those_of_opencv_and_can_be_undone():
    colours = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)
    image = colours.repeat(16, 0).repeat(16, 1)
    planes = exact.yuv420(image)
    expected = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    assert planes.shape == (192, 128) and np.abs(planes.astype(int) - expected).max() <= 1
    inside = np.s_[6::16, 6::16]
    back = exact.from_yuv420(planes)[inside].astype(int)
    assert np.abs(back - image[inside]).max() <= 4


def test_an_enlarged_grid_is_linear_between_its_values():
    ys, xs = np.mgrid[0:21:4, 0:17:4].astype(float)
    plane = np.stack([2 * xs + ys, xs - 3 * ys], -1)
    big = exact.enlarged(plane, 4, (17, 13))
    ys, xs = np.mgrid[0:17, 0:13]
    np.testing.assert_allclose(big, np.stack([2 * xs + ys, xs - 3 * ys], -1))


def test_a_blend_is_a_weighted_mean():
    over, under = np.full((4, 4, 3), 200, np.uint8), np.full((4, 4, 3), 100, np.uint8)
    mask = np.array([[0, 51, 102, 255]] * 4, np.uint8)
    assert exact.mixed(over, under, mask)[0, :, 0].tolist() == [100, 120, 140, 200]


@pytest.mark.parametrize("deviation", [0.8, 2.0, 5.0])
def test_three_boxes_are_nearly_a_gaussian(deviation):
    image = np.zeros((61, 61), np.uint8)
    image[20:41, 20:41] = 255
    expected = cv2.GaussianBlur(image, (0, 0), deviation)
    assert np.abs(exact.blurred(image, deviation).astype(int) - expected).max() < 12
