"""What it costs that processors compute alike: training steps of the demo under each variable.

A library reads its variable once, so that each measurement is a process of its own. They take
turns. Written to ``results/benchmarks/pins.json``, with the weights after a few steps: settings with
the same digest compute the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.recording import record
from deepfake_repro.operations.machines import AS_PINNED, ONE_THREAD
from deepfake_repro.project.machine import AVX2_OF_INTEL, VARIABLES

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 2
STEPS = """
import hashlib, json, time
import torch, torch.nn.functional as F
from deepfake_repro.project.params import load
from deepfake_repro.training.detector import build_detector
chosen = load().profile("demo").train
torch.manual_seed(0)
detector = build_detector(
    chosen.architecture, 2, depth=chosen.depth, input_size=chosen.input_size, head_std=0.02
)
optimiser = torch.optim.AdamW(detector.parameters(), lr=chosen.learning_rate, fused=True)
seconds = []
for _ in range(5):
    images = torch.randn(chosen.batch_size, 3, chosen.input_size, chosen.input_size)
    labels = torch.randint(0, 2, (chosen.batch_size,))
    begun = time.process_time()
    loss = F.cross_entropy(detector(images)[1], labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    seconds.append(time.process_time() - begun)
weights = b"".join(value.detach().numpy().tobytes() for value in detector.parameters())
print(json.dumps([min(seconds), hashlib.sha256(weights).hexdigest()[:12]]))
"""


def settings() -> dict[str, dict[str, str]]:
    """Name each setting: nothing, each variable alone, and all."""
    alone = {
        name: {name: value}
        for name, value in AS_PINNED.items()
        if name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", *AVX2_OF_INTEL)
    }
    return {"none": {}, **alone, "all": AS_PINNED}


def steps(variables: dict[str, str]) -> tuple[float, str]:
    """Return the least CPU seconds of a step and the digest of the weights after five."""
    free = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    result = subprocess.run(
        [sys.executable, "-c", STEPS],
        cwd=ROOT,
        env={**free, "PYTHONPATH": "src", "CUDA_VISIBLE_DEVICES": "", **ONE_THREAD, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, digest = json.loads(result.stdout)
    return seconds, digest


def test_cost_of_each_pin() -> None:
    chosen = settings()
    least = dict.fromkeys(chosen, float("inf"))
    digests: dict[str, str] = {}
    for _ in range(ROUNDS):
        for name, variables in chosen.items():
            seconds, digest = steps(variables)
            least[name] = min(least[name], seconds)
            assert digests.setdefault(name, digest) == digest, f"{name}: two runs differ"
    times = {name: round(seconds / least["none"], 2) for name, seconds in least.items()}
    figures = {"CPU time of a training step, times that without pins": times, "weights": digests}
    record("pins", "training step", figures, ("torch", "numpy"))
