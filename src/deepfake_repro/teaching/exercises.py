"""Checks of the exercises: each raises ``AssertionError`` with a hint of what to think of, never the answer."""

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


def check(answer: Any, wanted: Any, hint: str) -> None:
    """Compare an answer with what is wanted: numbers and arrays to a part in 10,000, all else by ``==``.

    Raises ``AssertionError`` with ``hint``, or saying that there is no answer yet (``...``).
    """
    assert answer is not ..., "no answer yet: put yours in place of the three dots"
    if isinstance(wanted, int | float | np.number):
        right = isinstance(answer, int | float | np.number) and math.isclose(
            answer, wanted, rel_tol=1e-4, abs_tol=1e-9
        )
    elif isinstance(wanted, np.ndarray):
        right = np.shape(answer) == wanted.shape and np.allclose(
            answer, wanted, rtol=1e-4, atol=1e-9
        )
    else:
        right = answer == wanted
    assert right, f"not yet: {hint}"
    print("right")


def given(answer: Any) -> Any:
    """What a function returned; ``AssertionError`` if it returns nothing yet."""
    assert answer is not None and answer is not ..., "the function returns nothing yet"
    return answer


def check_triplet_loss(function: Callable[[float, float, float], float]) -> None:
    """Check the loss of one triplet, ``function(d_ap, d_an, margin)``, by one case of each kind (Section 3.3)."""
    cases = {
        "a hard triplet costs more than the margin: d_ap - d_an is above 0 and counts": (
            2.0,
            1.5,
            1.0,
            1.5,
        ),
        "a semi-hard triplet costs less than the margin, but something": (1.0, 1.5, 1.0, 0.5),
        "an easy triplet costs nothing: the loss is never below 0": (1.0, 3.0, 1.0, 0.0),
    }
    for hint, (*arguments, wanted) in cases.items():
        answer = float(given(function(*arguments)))
        assert math.isclose(answer, wanted), f"not yet at d_ap, d_an, margin = {arguments}: {hint}"
    print("right")


def check_batch_all(function: Loss) -> None:
    """Check Batch All against the package's on random batches, naming the commonest mistakes (Section 3.3.1)."""
    for seed, (points, labels) in enumerate(_batches()):
        answer, wanted = _value(function, points, labels), batch_all(points, labels, 1.0).item()
        if math.isclose(answer, wanted, rel_tol=1e-4, abs_tol=1e-6):
            continue
        every = [max(float(loss), 0.0) for _, loss in _kinds(points, labels)]
        assert not math.isclose(answer, sum(every) / len(every), rel_tol=1e-4), (
            "not yet: you divide by the number of valid triplets; Batch All divides by that of the active ones"
        )
        assert not math.isclose(answer, sum(every), rel_tol=1e-4), (
            "not yet: this is the sum; Batch All is a mean"
        )
        raise AssertionError(
            f"not yet: batch {seed} should give {wanted:.4f}, yours gives {answer:.4f}; is an anchor "
            "its own positive somewhere, or a fake the positive of a real?"
        )
    print("right")


def check_semi_hard(function: Loss) -> None:
    """Check a loss that averages over the semi-hard triplets alone (Fig. 2) against three plain loops."""
    for seed, (points, labels) in enumerate(_batches()):
        answer = _value(function, points, labels)
        losses = [float(loss) for kind, loss in _kinds(points, labels) if kind == "semi-hard"]
        wanted = sum(losses) / max(len(losses), 1)
        assert not math.isnan(answer), (
            "not yet: a batch without a semi-hard triplet gives nan; it should give 0"
        )
        assert math.isclose(answer, wanted, rel_tol=1e-4, abs_tol=1e-6), (
            f"not yet: batch {seed} has {len(losses)} semi-hard triplets with a mean loss of {wanted:.4f}, yours gives "
            f"{answer:.4f}; are hard ones (negative nearer than positive) still in?"
        )
    print("right")


def check_window(function: Callable[[float, float, float, float, float], Sequence[float]]) -> None:
    """Check the window of one box, ``function(x0, y0, x1, y1, margin)``, by hand-made boxes (Section 4.1)."""
    for box, margin, wanted in (
        ((50, 50, 150, 150), 0.3, (35, 35, 165, 165)),
        ((0, 10, 20, 50), 0.5, (-5, 0, 25, 60)),
    ):
        answer = given(function(*box, margin))
        assert np.shape(answer) == (4,), "not yet: return four numbers, x0, y0, x1, y1"
        assert not np.allclose(answer, 2 * np.array(wanted) - box), (
            "not yet: half of the growth belongs to each side"
        )
        assert np.allclose(answer, wanted), (
            f"not yet: {box} with margin {margin} should give {wanted}; is the centre "
            "where it was, and does each side grow by its own length?"
        )
    print("right")


def check_level(function: Callable[[np.ndarray, int], int]) -> None:
    """Check the common level, ``function(crops_of_videos, target)``, by hand-made cases (Section 4.1)."""
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
    for hint, (crops, target, wanted) in cases.items():
        answer = given(function(np.array(crops), target))
        assert int(answer) == wanted, f"not yet for crops {crops} and target {target}: {hint}"
    print("right")


def check_hidden_whole(
    function: Callable[[torch.Tensor, torch.Tensor], set[str]], names: Sequence[str]
) -> None:
    """Check which groups are hidden whole, ``function(mask, groups)``, on a face of four patches (Section 3.2).

    ``names``: those of the groups, in order, with ``eyes`` and ``skin`` among them.
    """
    groups = torch.zeros(len(names), 4, dtype=torch.bool)
    groups[names.index("eyes"), :2] = groups[names.index("skin"), 1:] = True
    cases = {
        "both patches of the eyes are hidden, and one of the skin is seen": (
            [True, True, True, False],
            {"eyes"},
        ),
        "a region with one visible patch is not hidden whole": ([True, False, True, True], set()),
        "groups without a patch (here brows, nose, …) are not hidden: they are not there": (
            [True] * 4,
            {"eyes", "skin"},
        ),
    }
    for hint, (mask, wanted) in cases.items():
        assert given(function(torch.tensor(mask), groups)) == wanted, f"not yet: {hint}"
    print("right")


def check_alignment(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    """Check the alignment of the second paper, ``function(features, labels)``, naming the commonest mistakes."""
    for points, labels in itertools.islice(_batches(), 3):
        features = torch.nn.functional.normalize(points, dim=1)
        answer = float(given(function(features, labels)))
        apart, same = distances(features), labels[:, None] == labels[None, :]
        pairs = same & ~torch.eye(len(labels), dtype=torch.bool)
        wanted = apart[pairs].pow(2).mean().item()
        assert not math.isclose(answer, apart[same].pow(2).mean().item(), rel_tol=1e-4), (
            "not yet: a feature is no pair with itself; its distance 0 lowers your mean"
        )
        assert not math.isclose(answer, apart[pairs].mean().item(), rel_tol=1e-4), (
            "not yet: the distance enters squared"
        )
        assert math.isclose(answer, wanted, rel_tol=1e-4), (
            f"not yet: should give {wanted:.4f}, yours gives {answer:.4f}; are pairs of a real and a fake among them?"
        )
    print("right")


def check_slerp(function: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]) -> None:
    """Check a point on the great circle, ``function(a, b, t)``: of length one, and the share t of the angle from a."""
    a, b = torch.nn.functional.normalize(torch.tensor([[1.0, 0.2, 0.0], [0.1, 0.9, 0.7]]), dim=1)
    angle = torch.acos(a @ b).item()
    for t in (0.0, 0.3, 1.0):
        point = given(function(a, b, t))
        assert math.isclose(float(point.norm()), 1, rel_tol=1e-4), (
            f"not yet at t = {t}: the point has length {point.norm():.3f} and is off the sphere, as a straight line is"
        )
        shares = [math.acos(min(1.0, float(end @ point))) / angle for end in (a, b)]
        assert np.allclose(shares, (t, 1 - t), atol=2e-3), (
            f"not yet at t = {t}: its angle from a is {shares[0]:.3f} of the whole; equal steps of t are equal angles"
        )
    print("right")


def check_interval_of_difference(
    function: Callable[[np.ndarray, np.ndarray], Sequence[float]],
) -> None:
    """Check the paired interval of a difference, ``function(first, second)``, on draws that rise and fall together."""
    rng = np.random.default_rng(0)
    second = rng.normal(80, 3, 1000)
    first = second + rng.normal(1, 0.2, 1000)
    answer = given(function(first, second))
    assert np.shape(answer) == (2,), "not yet: return two numbers, low and high"
    ends = [np.percentile(draws, LEVEL) for draws in (first, second)]
    apart = ends[0] - ends[1], ends[0] - ends[1][::-1]
    assert not any(np.allclose(answer, wrong) for wrong in apart), (
        "not yet: you subtract the ends of two intervals; the rows rise and fall together: subtract draw by draw"
    )
    assert np.allclose(answer, np.percentile(first - second, LEVEL)), (
        "not yet: take the percentiles 2.5 and 97.5 of first - second, the lower one first"
    )
    print("right")


def check_sentence(expression: str) -> None:
    """Check *FSFM + BA beats FSFM in all scenarios by AUC, on ForgeryNet by more than 0.1* on tables made for it."""
    assert expression is not ..., "no answer yet: put yours in place of the three dots"
    cells = (*GROUPS["scenarios"], "forgerynet")
    for worse in (None, *cells):
        rows = {
            row: {"auc": dict.fromkeys(cells, value)}
            for row, value in (("fsfm", 80.0), ("fsfm_ba", 81.0))
        }
        if worse:
            rows["fsfm_ba"]["auc"][worse] = 80.05 if worse == "forgerynet" else 79.0
        try:
            answer = bool(evaluate(expression, point_table(rows)))
        except ValueError as problem:
            raise AssertionError(f"not yet: {problem}") from None
        assert answer == (worse is None), (
            f"not yet: it should be false where {worse} speaks against it"
            if worse
            else "not yet: it is false on a table in which BA is one point better everywhere"
        )
    print("right")


def _batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Random batches, then one whose triplets are all easy."""
    for seed in range(3):
        points, labels = toy_batch(10, 1.0, seed)
        yield torch.as_tensor(points), torch.as_tensor(labels)
    yield torch.tensor([[0.0, 0.0], [0.1, 0.0], [9.0, 0.0], [9.1, 0.0]]), torch.tensor([0, 0, 1, 1])


def _value(function: Loss, points: torch.Tensor, labels: torch.Tensor) -> float:
    return float(given(function(points, labels, 1.0)))


def _kinds(points: torch.Tensor, labels: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Kind and raw value of each valid triplet at margin 1, by three loops."""
    distance, batch = distances(points), range(len(points))
    for i in batch:
        for j in batch:
            for k in batch:
                if i != j and labels[i] == labels[j] and labels[i] != labels[k]:
                    yield (
                        kind_of_triplet(float(distance[i, j]), float(distance[i, k]), 1.0),
                        distance[i, j] - distance[i, k] + 1.0,
                    )
