"""The loss of the first steps against a stored reference: a broken driver or kernel shows.

Random weights of a fixed seed learn fixed images, whose fakes are a little redder, with a recipe's
optimizer and objective and a tenth of its rate, so that the losses stay away from zero. The
reference was computed in fp32 on a CPU.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...methods.finetune.recipe import build_objective, build_optimizer
from ...project.files import replacing
from ...project.params import Variant
from ...project.recipes import Train
from ...training.detector import Detector, build_detector
from ...training.devices import launch_fabric
from ...training.loop import LOSS

STEPS = 50
BATCH = 4
REFERENCE = Path("results/benchmarks/first_losses.json")
"""Profile -> total loss of each step in fp32 on a CPU."""
TOLERANCE = {"32-true": 1e-4, "tf32": 1e-2, "bf16-mixed": 1e-2}
"""Largest difference by precision.

With the demo's network, bf16 differs from fp32 by 1e-3. A ReLU in place of one block's GELU makes
7e-4: fp32 shows that, bf16 shows only what is grosser.
"""


def first_losses(
    recipe: Train, row: Variant, steps: int = STEPS, change: Any = lambda detector: detector
) -> list[float]:
    """Train ``steps`` steps on fixed images and return the total loss of each.

    ``change``: applied to the network first; tests break it by this.
    """
    detector = build_detector(
        recipe.architecture, 2, depth=recipe.depth, input_size=recipe.input_size, head_std=0.02
    )
    slow = replace(recipe, drop_path=0.0, learning_rate=recipe.learning_rate / 10)
    _set_weights(detector)
    fabric = launch_fabric(recipe.precision)
    objective = build_objective(row, recipe)
    network, optimizer = fabric.setup(change(detector), build_optimizer(detector, slow))
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(steps):
        images, labels = (fabric.to_device(part) for part in _batch(rng, recipe.input_size))
        embeddings, logits = network(images)
        loss = objective(embeddings, logits, labels, labels)[LOSS]
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def _set_weights(detector: Detector) -> None:
    """Draw the weights by numpy: torch's generator gives others on a processor without AVX-512.

    Biases are 0, and the scales of norms and layers keep their constant start.
    """
    rng = np.random.default_rng(0)
    for name, parameter in detector.named_parameters():
        if parameter.ndim > 1:
            draws = rng.standard_normal(tuple(parameter.shape), np.float32)
            parameter.copy_(torch.from_numpy(0.02 * draws))
        elif name.endswith("bias"):
            parameter.zero_()


def _batch(rng: np.random.Generator, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw images ``[BATCH, 3, side, side]`` in [-1, 1] and their labels ``[BATCH]``."""
    pixels = rng.integers(60, 180, (BATCH, 3, side, side), np.uint8)
    labels = np.arange(BATCH) % 2
    pixels[labels == 1, 0] += 5
    return torch.from_numpy(pixels).float() / 127.5 - 1, torch.from_numpy(labels)


def check_losses(losses: Sequence[float], reference: Path, profile: str, precision: str) -> dict:
    """Compare ``losses`` with the stored ones: steps, largest difference, tolerance, passed.

    ``passed`` and the difference are None if none are stored for the profile. Raises ``ValueError``
    for a precision without a tolerance.
    """
    if precision not in TOLERANCE:
        raise ValueError(f"no tolerance of first losses in {precision}; {', '.join(TOLERANCE)}")
    found: dict[str, Any] = {
        "steps": len(losses),
        "precision": precision,
        "tolerance": TOLERANCE[precision],
        "largest_difference": None,
        "passed": None,
    }
    stored = _stored(reference)
    if profile in stored:
        largest = float(np.abs(np.subtract(losses, stored[profile][: len(losses)])).max())
        found["largest_difference"] = round(largest, 6)
        found["passed"] = largest <= TOLERANCE[precision]  # False if a loss is not a number
    return found


def store_losses(
    reference: Path, profile: str, recipe: Train, row: Variant, steps: int = STEPS
) -> None:
    """Compute the losses of a profile in fp32 and store them; run it on a CPU."""
    losses = first_losses(replace(recipe, precision="32-true"), row, steps)
    stored = _stored(reference) | {profile: [round(loss, 6) for loss in losses]}
    with replacing(reference) as temporary:
        text = json.dumps(stored, indent=1, sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")


def _stored(reference: Path) -> dict[str, list[float]]:
    return json.loads(reference.read_text(encoding="utf-8")) if reference.is_file() else {}
