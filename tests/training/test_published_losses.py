"""Losses and miners of pytorch-metric-learning, named in ``params.yaml``."""

from __future__ import annotations

import math

import pytest
import torch
from pytorch_metric_learning import losses, miners

from deepfake_repro.project.recipes import Loss
from deepfake_repro.training.losses import TRIPLET_LOSSES, build_loss

GENERATOR = torch.Generator().manual_seed(0)
POINTS = torch.randn(12, 5, generator=GENERATOR)
LABELS = torch.arange(12) % 3


def multi_similarity(
    points: torch.Tensor, labels: torch.Tensor, alpha: float, beta: float
) -> float:
    """The loss of Wang et al. 2019 by loops, over all pairs, with base 0.5."""
    unit = torch.nn.functional.normalize(points, dim=1)
    total = 0.0
    for i in range(len(points)):
        similar = [float(unit[i] @ unit[j]) for j in range(len(points))]
        same = [similar[j] for j in range(len(points)) if labels[j] == labels[i] and j != i]
        other = [similar[j] for j in range(len(points)) if labels[j] != labels[i]]
        total += math.log1p(sum(math.exp(-alpha * (value - 0.5)) for value in same)) / alpha
        total += math.log1p(sum(math.exp(beta * (value - 0.5)) for value in other)) / beta
    return total / len(points)


def test_a_published_loss_is_the_formula_of_its_paper() -> None:
    loss = build_loss(Loss("pml:MultiSimilarityLoss", options={"alpha": 1.5, "beta": 4.0}))
    expected = multi_similarity(POINTS, LABELS, 1.5, 4.0)
    assert loss(POINTS, LABELS).item() == pytest.approx(expected, rel=1e-5)


def test_a_miner_chooses_the_pairs() -> None:
    options = {"epsilon": 0.05}
    loss = build_loss(
        Loss("pml:MultiSimilarityLoss", miner="pml:MultiSimilarityMiner", miner_options=options)
    )
    pairs = miners.MultiSimilarityMiner(**options)(POINTS, LABELS)
    expected = losses.MultiSimilarityLoss()(POINTS, LABELS, pairs)
    assert torch.equal(loss(POINTS, LABELS), expected)


@pytest.mark.parametrize("name", ["MultiSimilarityLoss", "ContrastiveLoss", "NTXentLoss"])
def test_embeddings_that_are_not_finite_are_noticed(name: str) -> None:
    points = POINTS.clone()
    points[3] = math.nan
    assert build_loss(Loss(f"pml:{name}"))(points, LABELS).isnan()
    assert build_loss(Loss(f"pml:{name}"))(POINTS, LABELS).isfinite()


def test_half_precision_is_computed_in_single() -> None:
    half = POINTS.to(torch.bfloat16)
    loss = build_loss(Loss("pml:ContrastiveLoss"))
    assert torch.equal(loss(half, LABELS), loss(half.float(), LABELS))


@pytest.mark.parametrize("name", TRIPLET_LOSSES)
def test_the_papers_losses_are_our_own(name: str) -> None:
    expected = TRIPLET_LOSSES[name](POINTS, LABELS, 0.7)
    assert torch.equal(build_loss(Loss(name, margin=0.7))(POINTS, LABELS), expected)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (Loss("bathc_all"), "unknown triplet loss 'bathc_all': choose one of batch_all, "),
        (Loss("pml:Multi"), "'pml:Multi' is not pml:<class> of pytorch_metric_learning.losses"),
        (
            Loss("pml:ContrastiveLoss", miner="MultiSimilarityMiner"),
            "'MultiSimilarityMiner' is not pml:<class> of pytorch_metric_learning.miners",
        ),
        (
            Loss("pml:ContrastiveLoss", options={"marign": 1.0}),
            "options of 'pml:ContrastiveLoss': .*'marign'; correct them",
        ),
        (
            Loss("pml:ProxyAnchorLoss", options={"num_classes": 2, "embedding_size": 5}),
            "has weights of its own, which are not trained here",
        ),
        (Loss("batch_all", miner="pml:MultiSimilarityMiner"), "has neither miner nor options"),
    ],
)
def test_an_impossible_loss_is_one_line_with_the_cure(loss: Loss, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        build_loss(loss)
    assert "\n" not in str(error.value)
