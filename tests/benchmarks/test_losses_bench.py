"""Ratios in one run, never absolute times: the losses against the naive triple loop and pytorch-metric-learning."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from pytorch_metric_learning import distances, losses, reducers

from deepfake_repro.losses import batch_all

pytestmark = pytest.mark.bench


def median_seconds(call: Callable[[], object], repeats: int = 15) -> float:
    """Median wall time of ``call`` after one warm-up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def test_batch_all_beside_the_library() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(64, 768, generator=generator)
    labels = torch.randint(0, 2, (64,), generator=generator)
    library = losses.TripletMarginLoss(margin=1.0, distance=distances.LpDistance(normalize_embeddings=False),
                                       reducer=reducers.AvgNonZeroReducer())

    def step(loss: Callable[[torch.Tensor], torch.Tensor]) -> None:
        leaf = embeddings.clone().requires_grad_()
        loss(leaf).backward()

    ours = median_seconds(lambda: step(lambda h: batch_all(h, labels, 1.0)))
    theirs = median_seconds(lambda: step(lambda h: library(h, labels)))
    print(f"\nBatch All, B=64, D=768, forward + backward: pytorch-metric-learning / ours = {theirs / ours:.1f}")
