"""Checks of the exercises on masks, losses and features, which load PyTorch (03b, 04, 09).

Each raises ``AssertionError`` with a hint; :mod:`..exercises` calls them by the exercise's number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ...faces.regions import EYES
from ...project.params import Variant
from ...project.recipes import Pretrain
from ...training.losses import batch_all, distances, kind_of_triplet
from ..lessons import toy_batch
from .comparing import compare, returned

Loss = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def check_hidden_patches(answer: Any, recipe: Pretrain) -> None:
    """Check how many patches of a crop of 224 pixels are hidden (Section 3.2)."""
    patches = (224 // 16) ** 2
    hint = "14 patches per side; mask_ratio is the share of all patches that is hidden"
    compare(answer, int(recipe.mask_ratio * patches), hint)


def check_patches_with(function: Callable[..., np.ndarray], regions: np.ndarray) -> None:
    """Check ``function(regions, ids, patch)``, which patches contain a region (Section 3.2)."""
    from ...methods.fsfm import masks  # loads timm: only this exercise waits for it

    tiny = np.array([[0, 0], [0, 5]])
    compare(returned(function(tiny, [5], 1)), np.array([False, False, False, True]), "row by row")
    eyes = masks.patch_regions(regions, 16)[masks.GROUPS.index("eyes")]
    compare(function(regions, EYES, 16), eyes, "one pixel of the region is enough")


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


def check_margin(answer: Any) -> None:
    """Check from which margin on a triplet with distances 1.0 and 1.8 is active (Section 3.3)."""
    compare(answer, 0.8, "at which m does the loss of this triplet become zero?")


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


def check_valid_triplets(function: Callable[[int, int], int]) -> None:
    """Check ``function(reals, fakes)``, the number of valid triplets, against counting them."""
    hints = {
        (5, 5): "for each anchor, how many positives remain, and how many negatives?",
        (1, 3): "the only real has no positive, so it is the anchor of no triplet",
        (2, 6): "both classes have anchors, and the classes need not be of equal size",
    }
    for (reals, fakes), hint in hints.items():
        labels = [0] * reals + [1] * fakes
        triples = itertools.permutations(range(len(labels)), 3)
        count = sum(labels[i] == labels[j] != labels[k] for i, j, k in triples)
        compare(returned(function(reals, fakes)), count, f"with {reals} and {fakes}: {hint}")


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


def check_semi_hard_row(answer: Any, row: Variant) -> None:
    """Check that a row is ``row`` with semi-hard mining as its triplet loss."""
    hint = "only the name of the loss differs: it is the one under which you added it"
    compare(answer, replace(row, loss=replace(row.loss, name="semi_hard")), hint)


def check_lnclip_parameters(answer: Any) -> None:
    """Check how many parameters of CLIP ViT-L/14 learn."""
    from ...methods.lnclip.sphere import VIT_L14  # loads timm: only this exercise waits for it

    hint = "count the LayerNorms first, then two vectors for each; the head has a bias"
    compare(answer, VIT_L14[0], hint)


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


def check_collapse(answer: Any) -> None:
    """Check alignment and uniformity of a cloud that is one point."""
    from ...methods.lnclip.sphere import alignment, uniformity  # loads timm

    point = torch.ones(4, 1)
    labels = torch.tensor([0, 0, 1, 1])
    wanted = np.array([float(alignment(point, labels)), float(uniformity(point))])
    compare(answer, wanted, "all distances are 0; what is the logarithm of e to the power 0?")


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
