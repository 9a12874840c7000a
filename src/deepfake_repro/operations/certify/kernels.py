"""What the device could do: its matrix peak, and each part of a training step by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from ...crops.store import CropStore
from ...project.params import Profile
from ...project.vocabulary import LNCLIP, SBI
from ...training.detector import Detector
from ...training.loading import seeded
from ...training.transforms import AUGMENTATIONS, training_transform
from ..planning.plan import bare_rate, builders
from .workload import NORM, clock


def matrix_peak(repeats: int = 10) -> tuple[str, float]:
    """Measure operations per second of square matrix products; also return their precision.

    bf16 on a GPU, fp32 on a CPU: the precisions of the recipes there.
    """
    now = clock()
    on_gpu = torch.cuda.is_available()
    size = 8192 if on_gpu else 1536
    kind = torch.bfloat16 if on_gpu else torch.float32
    matrix = torch.randn(size, size, device="cuda" if on_gpu else "cpu", dtype=kind)

    def run() -> float:
        start = now()
        for _ in range(repeats):
            matrix @ matrix
        if on_gpu:
            torch.cuda.synchronize()
        return now() - start

    run()
    best = min(run() for _ in range(3))
    return str(kind).removeprefix("torch."), repeats * 2 * size**3 / best


def per_core(store: CropStore, size: int, crops: int = 64) -> dict[str, float]:
    """Measure crops per second that one process decodes, and decodes and augments of each kind."""
    now = clock()

    def rate(call: Callable[[np.ndarray], object]) -> float:
        start = now()
        for item in range(crops):
            with seeded(0, 0, item):
                call(store.image(item % len(store)))
        return round(crops / (now() - start), 1)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        found = {"decode": rate(np.shape)}
        for kind in AUGMENTATIONS:
            found[f"decode, {kind}"] = rate(training_transform(kind, size, NORM))
        return found
    finally:
        torch.set_num_threads(threads)


def ways(options: Profile, batches: Mapping[str, int]) -> dict[str, float | None]:
    """Measure how many times faster a bare step is compiled, and with channels last.

    ``batches``: method -> images per step. None where PyTorch cannot compile, and on a CPU, where
    compiling takes longer than it saves. Channels last is measured for the fine-tuned network and
    for SBI's.
    """
    figures: dict[str, float | None] = {}
    for method, (recipe, build) in builders(options).items():
        if method == LNCLIP:
            continue
        plain = bare_rate(build, recipe, batches[method], learn=True)

        def last(build: Callable[[], Detector] = build) -> Detector:
            return build().to(memory_format=torch.channels_last)

        faster = bare_rate(last, recipe, batches[method], learn=True) / plain
        figures[f"{method}, channels last"] = round(faster, 2)
        if method != SBI:
            compiled = _compiled(build, recipe, batches[method])
            figures[f"{method}, compiled"] = compiled and round(compiled / plain, 2)
    return figures


def _compiled(build: Callable[[], Detector], recipe: Any, batch: int) -> float | None:
    def compiled() -> Detector:
        return cast(Detector, torch.compile(cast(nn.Module, build())))

    if not torch.cuda.is_available():
        return None
    try:
        return bare_rate(compiled, recipe, batch, learn=True)
    except (torch._inductor.exc.InductorError, torch._dynamo.exc.BackendCompilerFailed):
        return None
