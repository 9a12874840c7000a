"""Checks of the exercises: each raises ``AssertionError`` with a hint, never with the answer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ..evaluation.statistics import LEVEL
from ..report.claims import GROUPS, evaluate, point_table
from ..training.losses import batch_all, distances, kind_of_triplet
from .lessons import toy_batch

Loss = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]

NO_ANSWER = "no answer yet: replace the three dots with yours"


def check(answer: Any, expected: Any, hint: str) -> None:
    """Compare numbers and arrays to a relative error of 1e-4, everything else by ``==``.

    Raises ``AssertionError`` with ``hint``, or saying that there is no answer yet (``...``).
    """
    assert answer is not ..., NO_ANSWER
    assert _equal(answer, expected), f"not yet: {hint}"
    print("right")


def _equal(answer: Any, expected: Any) -> bool:
    if isinstance(expected, int | float | np.number):
        if not isinstance(answer, int | float | np.number):
            return False
        return math.isclose(answer, expected, rel_tol=1e-4, abs_tol=1e-9)
    if isinstance(expected, np.ndarray):
        if np.shape(answer) != expected.shape:
            return False
        return np.allclose(answer, expected, rtol=1e-4, atol=1e-9)
    return answer == expected


def returned(answer: Any) -> Any:
    """Pass on what a function returned; raise ``AssertionError`` if it returned nothing."""
    assert answer is not None and answer is not ..., "the function returns nothing yet"
    return answer


def check_triplet_loss(function: Callable[[float, float, float], float]) -> None:
    """Check ``function(d_ap, d_an, margin)``, the loss of one triplet (Section 3.3)."""
    cases = {
        "a hard triplet costs more than the margin: d_ap - d_an is above 0 and counts": (
            (2.0, 1.5, 1.0),
            1.5,
        ),
        "a semi-hard triplet costs less than the margin, but something": ((1.0, 1.5, 1.0), 0.5),
        "an easy triplet costs nothing: the loss is never below 0": ((1.0, 3.0, 1.0), 0.0),
    }
    for hint, (arguments, expected) in cases.items():
        answer = float(returned(function(*arguments)))
        assert math.isclose(answer, expected), (
            f"not yet at d_ap, d_an, margin = {list(arguments)}: {hint}"
        )
    print("right")


def check_batch_all(function: Loss) -> None:
    """Check Batch All on random batches against the package (Section 3.3.1)."""
    for number, (points, labels) in enumerate(_batches()):
        answer = _value(function, points, labels)
        expected = batch_all(points, labels, 1.0).item()
        if math.isclose(answer, expected, rel_tol=1e-4, abs_tol=1e-6):
            continue
        losses = [max(float(loss), 0.0) for _, loss in _kinds(points, labels)]
        assert not math.isclose(answer, sum(losses) / len(losses), rel_tol=1e-4), (
            "not yet: you divide by the number of valid triplets; Batch All divides by that of the "
            "active ones"
        )
        assert not math.isclose(answer, sum(losses), rel_tol=1e-4), (
            "not yet: this is the sum; Batch All is a mean"
        )
        raise AssertionError(
            f"not yet: batch {number} should give {expected:.4f}, yours gives {answer:.4f}; is an "
            "anchor its own positive somewhere, or a fake the positive of a real?"
        )
    print("right")


def check_semi_hard(function: Loss) -> None:
    """Check a loss that averages over the semi-hard triplets alone (Fig. 2)."""
    for number, (points, labels) in enumerate(_batches()):
        answer = _value(function, points, labels)
        losses = [float(loss) for kind, loss in _kinds(points, labels) if kind == "semi-hard"]
        expected = sum(losses) / max(len(losses), 1)
        assert not math.isnan(answer), (
            "not yet: a batch without a semi-hard triplet gives nan; it should give 0"
        )
        assert math.isclose(answer, expected, rel_tol=1e-4, abs_tol=1e-6), (
            f"not yet: batch {number} has {len(losses)} semi-hard triplets with a mean loss of "
            f"{expected:.4f}, yours gives {answer:.4f}; are hard ones (negative nearer than "
            "positive) still included?"
        )
    print("right")


def check_window(function: Callable[[float, float, float, float, float], Sequence[float]]) -> None:
    """Check ``function(x0, y0, x1, y1, margin)``, the window of a box (Section 4.1)."""
    for box, margin, expected in (
        ((50, 50, 150, 150), 0.3, (35, 35, 165, 165)),
        ((0, 10, 20, 50), 0.5, (-5, 0, 25, 60)),
    ):
        answer = returned(function(*box, margin))
        assert np.shape(answer) == (4,), "not yet: return four numbers, x0, y0, x1, y1"
        doubled = 2 * np.array(expected) - box
        assert not np.allclose(answer, doubled), "not yet: half of the growth belongs to each side"
        assert np.allclose(answer, expected), (
            f"not yet: {box} with margin {margin} should give {expected}; is the centre where it "
            "was, and does each side grow by its own length?"
        )
    print("right")


def check_level(function: Callable[[np.ndarray, int], int]) -> None:
    """Check ``function(crops_of_videos, target)``, the common level (Section 4.1)."""
    cases = {
        "levels 1 to 5 give 4, 7, 9, 11 and 13 crops; 12 may not be exceeded": (
            [1, 2, 10, 10],
            12,
            4,
        ),
        "each video keeps at least one crop, even if that is more than the target": (
            [5, 5, 5],
            2,
            1,
        ),
        "a level that meets the target exactly is allowed": ([4, 4], 6, 3),
        "no level is above the longest video": ([2, 3], 100, 3),
    }
    for hint, (crops, target, expected) in cases.items():
        answer = returned(function(np.array(crops), target))
        assert int(answer) == expected, f"not yet for crops {crops} and target {target}: {hint}"
    print("right")


def check_hidden_whole(
    function: Callable[[torch.Tensor, torch.Tensor], set[str]], names: Sequence[str]
) -> None:
    """Check ``function(mask, groups)``, the groups that are hidden whole (Section 3.2).

    It is called for a face of four patches. ``names``: of the groups, in order, with ``eyes`` and
    ``skin`` among them.
    """
    groups = torch.zeros(len(names), 4, dtype=torch.bool)
    groups[names.index("eyes"), :2] = True
    groups[names.index("skin"), 1:] = True
    cases = {
        "both patches of the eyes are hidden, and one of the skin is visible": (
            [True, True, True, False],
            {"eyes"},
        ),
        "a region with one visible patch is not hidden whole": ([True, False, True, True], set()),
        "groups without a patch (here brows, nose, …) are not hidden: the face has none": (
            [True] * 4,
            {"eyes", "skin"},
        ),
    }
    for hint, (mask, expected) in cases.items():
        assert returned(function(torch.tensor(mask), groups)) == expected, f"not yet: {hint}"
    print("right")


def check_alignment(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    """Check ``function(features, labels)``, the alignment of the second paper."""
    for points, labels in itertools.islice(_batches(), 3):
        features = torch.nn.functional.normalize(points, dim=1)
        answer = float(returned(function(features, labels)))
        distance = distances(features)
        same = labels[:, None] == labels[None, :]
        pairs = same & ~torch.eye(len(labels), dtype=torch.bool)
        expected = distance[pairs].pow(2).mean().item()
        with_itself = distance[same].pow(2).mean().item()
        not_squared = distance[pairs].mean().item()
        assert not math.isclose(answer, with_itself, rel_tol=1e-4), (
            "not yet: a feature is not a pair with itself; its distance 0 lowers your mean"
        )
        assert not math.isclose(answer, not_squared, rel_tol=1e-4), (
            "not yet: the distance is squared"
        )
        assert math.isclose(answer, expected, rel_tol=1e-4), (
            f"not yet: should give {expected:.4f}, yours gives {answer:.4f}; are pairs of a real "
            "and a fake among them?"
        )
    print("right")


def check_slerp(function: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]) -> None:
    """Check ``function(a, b, t)``, the point at a share t of the great circle from a to b."""
    a, b = torch.nn.functional.normalize(torch.tensor([[1.0, 0.2, 0.0], [0.1, 0.9, 0.7]]), dim=1)
    angle = torch.acos(a @ b).item()
    for t in (0.0, 0.3, 1.0):
        point = returned(function(a, b, t))
        assert math.isclose(float(point.norm()), 1, rel_tol=1e-4), (
            f"not yet at t = {t}: the point has length {point.norm():.3f} and is off the sphere, "
            "as on a straight line"
        )
        shares = [math.acos(min(1.0, float(end @ point))) / angle for end in (a, b)]
        assert np.allclose(shares, (t, 1 - t), atol=2e-3), (
            f"not yet at t = {t}: its angle from a is {shares[0]:.3f} of the whole; equal steps of "
            "t are equal angles"
        )
    print("right")


def check_interval_of_difference(
    function: Callable[[np.ndarray, np.ndarray], Sequence[float]],
) -> None:
    """Check ``function(first, second)``, the paired interval of a difference.

    It is called with draws that rise and fall together.
    """
    rng = np.random.default_rng(0)
    second = rng.normal(80, 3, 1000)
    first = second + rng.normal(1, 0.2, 1000)
    answer = returned(function(first, second))
    assert np.shape(answer) == (2,), "not yet: return two numbers, low and high"
    ends_of_first = np.percentile(first, LEVEL)
    ends_of_second = np.percentile(second, LEVEL)
    unpaired = (ends_of_first - ends_of_second, ends_of_first - ends_of_second[::-1])
    assert not any(np.allclose(answer, wrong) for wrong in unpaired), (
        "not yet: you subtract the ends of two intervals; the rows rise and fall together: "
        "subtract draw by draw"
    )
    assert np.allclose(answer, np.percentile(first - second, LEVEL)), (
        "not yet: take the percentiles 2.5 and 97.5 of first - second, the lower one first"
    )
    print("right")


def check_sentence(expression: str) -> None:
    """Check an expression on made-up tables.

    It should say: *by AUC, FSFM + BA beats FSFM in all scenarios, on ForgeryNet by more than 0.1*.
    """
    assert expression is not ..., NO_ANSWER
    cells = (*GROUPS["scenarios"], "forgerynet")
    for worse in (None, *cells):
        baseline = dict.fromkeys(cells, 80.0)
        with_ba = dict.fromkeys(cells, 81.0)
        if worse:
            with_ba[worse] = 80.05 if worse == "forgerynet" else 79.0
        rows = {"fsfm": {"auc": baseline}, "fsfm_ba": {"auc": with_ba}}
        try:
            answer = bool(evaluate(expression, point_table(rows)))
        except ValueError as error:
            raise AssertionError(f"not yet: {error}") from None
        if worse:
            assert not answer, f"not yet: it should be false where {worse} speaks against it"
        else:
            assert answer, (
                "not yet: it is false on a table in which BA is one point better everywhere"
            )
    print("right")


def _batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield three random batches, then one with easy triplets only."""
    for seed in range(3):
        points, labels = toy_batch(10, 1.0, seed)
        yield torch.as_tensor(points), torch.as_tensor(labels)
    yield torch.tensor([[0.0, 0.0], [0.1, 0.0], [9.0, 0.0], [9.1, 0.0]]), torch.tensor([0, 0, 1, 1])


def _value(function: Loss, points: torch.Tensor, labels: torch.Tensor) -> float:
    return float(returned(function(points, labels, 1.0)))


def _kinds(points: torch.Tensor, labels: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the kind and the value at margin 1 of each valid triplet, by three plain loops."""
    distance = distances(points)
    batch = range(len(points))
    for i in batch:
        for j in batch:
            for k in batch:
                if i != j and labels[i] == labels[j] and labels[i] != labels[k]:
                    kind = kind_of_triplet(float(distance[i, j]), float(distance[i, k]), 1.0)
                    yield kind, distance[i, j] - distance[i, k] + 1.0
