"""Checks of the exercises: each raises ``AssertionError`` with a hint of what to think of, never the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from .lessons import toy_batch
from .losses import batch_all, distances, kind_of_triplet

Loss = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def check(answer: Any, wanted: Any, hint: str) -> None:
    """Compare an answer with what is wanted: numbers and arrays to a part in 10,000, all else by ``==``.

    Raises ``AssertionError`` with ``hint``, or saying that there is no answer yet (``...``).
    """
    assert answer is not ..., "no answer yet: put yours in place of the three dots"
    if isinstance(wanted, int | float | np.number):
        right = isinstance(answer, int | float | np.number) and math.isclose(answer, wanted, rel_tol=1e-4, abs_tol=1e-9)
    elif isinstance(wanted, np.ndarray):
        right = np.shape(answer) == wanted.shape and np.allclose(answer, wanted, rtol=1e-4, atol=1e-9)
    else:
        right = answer == wanted
    assert right, f"not yet: {hint}"
    print("right")


def check_triplet_loss(function: Callable[[float, float, float], float]) -> None:
    """Check the loss of one triplet, ``function(d_ap, d_an, margin)``, by one case of each kind (Section 3.3)."""
    cases = {
        "a hard triplet costs more than the margin: d_ap - d_an is above 0 and counts": (2.0, 1.5, 1.0, 1.5),
        "a semi-hard triplet costs less than the margin, but something": (1.0, 1.5, 1.0, 0.5),
        "an easy triplet costs nothing: the loss is never below 0": (1.0, 3.0, 1.0, 0.0),
    }
    for hint, (*arguments, wanted) in cases.items():
        answer = function(*arguments)
        assert answer is not None and answer is not ..., "the function returns nothing yet"
        assert math.isclose(float(answer), wanted), f"not yet at d_ap, d_an, margin = {arguments}: {hint}"
    print("right")


def check_batch_all(function: Loss) -> None:
    """Check Batch All against the package's on random batches, naming the commonest mistakes (Section 3.3.1)."""
    for seed, (points, labels) in enumerate(_batches()):
        answer, wanted = _value(function, points, labels), batch_all(points, labels, 1.0).item()
        if math.isclose(answer, wanted, rel_tol=1e-4, abs_tol=1e-6):
            continue
        every = [max(float(loss), 0.0) for _, loss in _kinds(points, labels)]
        assert not math.isclose(answer, sum(every) / len(every), rel_tol=1e-4), \
            "not yet: you divide by the number of valid triplets; Batch All divides by that of the active ones"
        assert not math.isclose(answer, sum(every), rel_tol=1e-4), "not yet: this is the sum; Batch All is a mean"
        raise AssertionError(f"not yet: batch {seed} should give {wanted:.4f}, yours gives {answer:.4f}; is an anchor "
                             "its own positive somewhere, or a fake the positive of a real?")
    print("right")


def check_semi_hard(function: Loss) -> None:
    """Check a loss that averages over the semi-hard triplets alone (Fig. 2) against three plain loops."""
    for seed, (points, labels) in enumerate(_batches()):
        answer = _value(function, points, labels)
        losses = [float(loss) for kind, loss in _kinds(points, labels) if kind == "semi-hard"]
        wanted = sum(losses) / max(len(losses), 1)
        assert not math.isnan(answer), "not yet: a batch without a semi-hard triplet gives nan; it should give 0"
        assert math.isclose(answer, wanted, rel_tol=1e-4, abs_tol=1e-6), (
            f"not yet: batch {seed} has {len(losses)} semi-hard triplets with a mean loss of {wanted:.4f}, yours gives "
            f"{answer:.4f}; are hard ones (negative nearer than positive) still in?")
    print("right")


def _batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Random batches, then one whose triplets are all easy."""
    for seed in range(3):
        points, labels = toy_batch(10, 1.0, seed)
        yield torch.as_tensor(points), torch.as_tensor(labels)
    yield torch.tensor([[0.0, 0.0], [0.1, 0.0], [9.0, 0.0], [9.1, 0.0]]), torch.tensor([0, 0, 1, 1])


def _value(function: Loss, points: torch.Tensor, labels: torch.Tensor) -> float:
    answer = function(points, labels, 1.0)
    assert answer is not None and answer is not ..., "the function returns nothing yet"
    return float(answer)


def _kinds(points: torch.Tensor, labels: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Kind and raw value of each valid triplet at margin 1, by three loops."""
    distance, batch = distances(points), range(len(points))
    for i in batch:
        for j in batch:
            for k in batch:
                if i != j and labels[i] == labels[j] and labels[i] != labels[k]:
                    yield (kind_of_triplet(float(distance[i, j]), float(distance[i, k]), 1.0),
                           distance[i, j] - distance[i, k] + 1.0)
