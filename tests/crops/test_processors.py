"""The same crops, bytes and boxes, whatever the processor offers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CROPS = """
import hashlib, sys
from pathlib import Path
from deepfake_repro.crops.extraction import extract
from deepfake_repro.crops.preprocess import detector_factory
from deepfake_repro.project.params import load
options = load().profile("demo").crops
row = {"video_id": "clip", "path": "clip.mp4", "kind": "video", "attrs": "{}"}
found = extract(row, Path(sys.argv[1]), detector_factory(options)(), options).rows
digest = hashlib.sha256()
for face in found:
    for name in sorted(face):
        value = face[name]
        digest.update(value if isinstance(value, bytes) else repr(value).encode())
print(len(found), digest.hexdigest())
"""
PROCESSORS = {
    "native": {"OMP_NUM_THREADS": "2"},
    "OpenCV without AVX": {"OPENCV_CPU_DISABLE": "AVX2,FMA3,AVX"},
    "OpenBLAS of Nehalem, NumPy without AVX2, libjpeg without SIMD": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
        "JSIMD_FORCENONE": "1",
    },
}


def test_crops_have_the_same_bytes_on_every_processor(
    tmp_path: Path, assets: Path, tile: np.ndarray, make_clip: Callable[..., Path]
) -> None:
    """Three frames, each with a face that moves by parts of a pixel."""
    moved = [np.roll(tile, 3 * step, axis=1) for step in range(3)]
    make_clip(tmp_path / "clip.mp4", moved, rate=1)
    printed = {}
    for name, variables in PROCESSORS.items():
        process = subprocess.run(
            [sys.executable, "-c", CROPS, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr[-2000:]
        printed[name] = process.stdout.strip()
    assert printed["native"].startswith("3 ") and len(set(printed.values())) == 1, printed
