"""Ratios in one run, never absolute times: the losses against the naive triple loop and
pytorch-metric-learning.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from pytorch_metric_learning import distances, losses, reducers

from deepfake_repro.training.losses import batch_all

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
    library = losses.TripletMarginLoss(
        margin=1.0,
        distance=distances.LpDistance(normalize_embeddings=False),
        reducer=reducers.AvgNonZeroReducer(),
    )

    def step(loss: Callable[[torch.Tensor], torch.Tensor]) -> None:
        leaf = embeddings.clone().requires_grad_()
        loss(leaf).backward()

    ours = median_seconds(lambda: step(lambda h: batch_all(h, labels, 1.0)))
    theirs = median_seconds(lambda: step(lambda h: library(h, labels)))
    print(
        f"\nBatch All, B=64, D=768, forward + backward: pytorch-metric-learning / ours = {theirs / ours:.1f}"
    )


def test_batch_all_beside_the_mask_of_all_triplets() -> None:
    """What sorting saves, and how time grows from B = 64 to the batch of thousands that a cube
    would not let be.
    """

    def mask_of_all(h: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        distance, same = (
            torch.cdist(h, h, compute_mode="donot_use_mm_for_euclid_dist"),
            labels[:, None] == labels,
        )
        positive = same & ~torch.eye(len(labels), dtype=torch.bool)
        violation = distance[:, :, None] - distance[:, None, :] + 1.0
        active = positive[:, :, None] & ~same[:, None, :] & (violation > 0)
        return torch.where(active, violation, 0.0).sum() / active.sum().clamp(min=1)

    def step(loss: Callable[[torch.Tensor], torch.Tensor], leaf: torch.Tensor) -> None:
        loss(leaf.clone().requires_grad_()).backward()

    ours: dict[int, float] = {}
    for size in (24, 64, 256, 2048):
        generator = torch.Generator().manual_seed(0)
        h, y = (
            torch.randn(size, 64, generator=generator),
            torch.randint(0, 2, (size,), generator=generator),
        )
        ours[size] = median_seconds(
            lambda h=h, y=y: step(lambda x: batch_all(x, y, 1.0), h), 15 if size < 1000 else 2
        )
        if size < 1000:
            cube = median_seconds(lambda h=h, y=y: step(lambda x: mask_of_all(x, y), h), 5)
            print(
                f"\nBatch All, B={size}: mask of all triplets / ours = {cube / ours[size]:.1f}",
                end="",
            )
    print(
        f"\nBatch All, time at B=2048 / at B=256 = {ours[2048] / ours[256]:.0f}; B² log B says {8**2 * 11 / 8:.0f}"
    )
