"""Losses against naive loops, a second library, numerical gradients and hand-made batches (Section
3.3).
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import distances as pml_distances
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning import miners, reducers

from deepfake_repro.training import losses
from deepfake_repro.training.losses import (
    TRIPLET_LOSSES,
    active_fraction,
    batch_all,
    cross_entropy,
    distances,
    easy_positive_hard_negative,
    hard_positive_hard_negative,
    kind_of_triplet,
)

CASES = [
    (seed, size, classes, margin)
    for seed, (size, classes) in enumerate([(5, 2), (12, 2), (16, 3), (24, 6), (9, 6)])
    for margin in (0.2, 1.0, 8.0)
]


def batch(seed, size, classes, width=7):
    generator = torch.Generator().manual_seed(seed)
    norms = (
        torch.rand(size, 1, generator=generator, dtype=torch.float64) * 3
    )  # unequal norms: no normalising inside
    embeddings = torch.randn(size, width, generator=generator, dtype=torch.float64) * norms
    return embeddings, torch.randint(classes, (size,), generator=generator)


def naive(embeddings, labels, margin):
    """The formulas of Section 3.3.1 written as loops: the three losses and the share of active
    triplets.
    """
    points, y, size = embeddings.tolist(), labels.tolist(), len(labels)
    d = [[math.dist(p, q) for q in points] for p in points]
    valid = [
        d[i][j] - d[i][k] + margin
        for i in range(size)
        for j in range(size)
        for k in range(size)
        if i != j and y[i] == y[j] and y[i] != y[k]
    ]
    active = [value for value in valid if value > 0]
    hard = easy = 0.0
    for i in range(size):
        positives = [d[i][j] for j in range(size) if j != i and y[j] == y[i]]
        negatives = [d[i][k] for k in range(size) if y[k] != y[i]]
        if positives and negatives:
            hard += max(max(positives) - min(negatives) + margin, 0) / size
            easy += max(min(positives) - min(negatives) + margin, 0) / size
    return {
        "batch_all": sum(active) / max(1, len(active)),
        "hard_positive_hard_negative": hard,
        "easy_positive_hard_negative": easy,
        "active": len(active) / max(1, len(valid)),
    }


@pytest.mark.parametrize(("seed", "size", "classes", "margin"), CASES)
def test_losses_equal_naive_loops(seed, size, classes, margin):
    embeddings, labels = batch(seed, size, classes)
    expected = naive(embeddings, labels, margin)
    for name, loss in TRIPLET_LOSSES.items():
        assert loss(embeddings, labels, margin).item() == pytest.approx(
            expected[name], rel=1e-12
        ), name
    assert active_fraction(embeddings, labels, margin).item() == pytest.approx(
        expected["active"], rel=1e-6
    )


def over_all_triplets(embeddings, labels, margin):
    """Batch All over a mask of all B³ triplets, and the share of active ones: the definition
    written down.
    """
    distance, same = distances(embeddings), labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool)
    valid = positive[:, :, None] & ~same[:, None, :]
    violation = distance[:, :, None] - distance[:, None, :] + margin
    active = valid & (distance[:, None, :] < distance[:, :, None] + margin)
    loss = torch.where(active, violation, 0.0).sum() / active.sum().clamp(min=1)
    return loss, active.sum() / valid.sum().clamp(min=1)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=14
    ),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
)
def test_batch_all_equals_the_mask_of_all_triplets_with_ties_and_duplicates(rows, margin):
    """Points on a small grid: many distances are the same, many differ by exactly the margin, many
    are zero.
    """
    labels = torch.tensor([label for *_, label in rows])
    leaves = [
        torch.tensor([row[:2] for row in rows], dtype=torch.float64, requires_grad=True)
        for _ in range(2)
    ]
    actual, expected = (
        batch_all(leaves[0], labels, margin),
        over_all_triplets(leaves[1], labels, margin),
    )
    torch.testing.assert_close(actual, expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(active_fraction(leaves[0], labels, margin), expected[1])
    actual.backward()
    expected[0].backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [24, 64, 130])
def test_batch_all_in_fp32_equals_the_mask_of_all_triplets(size):
    embeddings, labels = (
        part.float() if part.is_floating_point() else part for part in batch(3, size, 3, width=96)
    )
    leaves = [embeddings.clone().requires_grad_() for _ in range(2)]
    actual, expected = (
        batch_all(leaves[0], labels, 1.0),
        over_all_triplets(leaves[1], labels, 1.0)[0],
    )
    torch.testing.assert_close(actual, expected, rtol=2e-6, atol=1e-6)
    grads = torch.autograd.grad(actual, leaves[0]) + torch.autograd.grad(expected, leaves[1])
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-7)


def test_a_batch_of_thousands_needs_no_cube():
    """2,048 crops have 4 thousand million triplets; a class is a point, so the loss is known in
    closed form.
    """
    labels = torch.arange(2048) % 2
    embeddings = torch.stack([labels * 0.25, torch.zeros(2048)], 1).requires_grad_()
    value = batch_all(embeddings, labels, 1.0)
    value.backward()
    assert (
        value.item() == pytest.approx(0.75) and active_fraction(embeddings, labels, 1.0).item() == 1
    )
    # Of all triplets every real (fake) stands in the same share: the pull on each is ± 1 / 1,024
    # along the first axis.
    torch.testing.assert_close(
        embeddings.grad[:, 0], (1 - 2.0 * labels) / 1024, rtol=1e-4, atol=1e-8
    )


def test_distances_in_blocks_are_the_distances_and_so_are_their_gradients(monkeypatch):
    embeddings = batch(5, 23, 2)[0].requires_grad_()
    whole = distances(embeddings)
    gradient = torch.autograd.grad(whole.square().sum() + whole.sum(), embeddings)[0]
    monkeypatch.setattr(losses, "DIFFERENCES_AT_ONCE", 23 * 7 * 4)  # four rows at once
    blocks = distances(embeddings)
    assert torch.equal(blocks, whole)
    torch.testing.assert_close(
        torch.autograd.grad(blocks.square().sum() + blocks.sum(), embeddings)[0], gradient
    )


@pytest.mark.parametrize(("seed", "size", "classes", "margin"), CASES)
def test_losses_equal_pytorch_metric_learning(seed, size, classes, margin):
    embeddings, labels = batch(100 + seed, size, classes)
    euclid = pml_distances.LpDistance(normalize_embeddings=False, p=2, power=1)
    ba = pml_losses.TripletMarginLoss(
        margin=margin, distance=euclid, reducer=reducers.AvgNonZeroReducer()
    )
    mined = pml_losses.TripletMarginLoss(
        margin=margin, distance=euclid, reducer=reducers.MeanReducer()
    )
    assert torch.allclose(batch_all(embeddings, labels, margin), ba(embeddings, labels))
    hard = miners.BatchHardMiner(distance=euclid)(embeddings, labels)
    easy = miners.BatchEasyHardMiner(pos_strategy="easy", neg_strategy="hard", distance=euclid)(
        embeddings, labels
    )
    for ours, chosen in [(hard_positive_hard_negative, hard), (easy_positive_hard_negative, easy)]:
        # The library divides by the anchors that have a positive; the paper divides by B.
        theirs = mined(embeddings, labels, chosen) * len(chosen[0]) / len(labels)
        assert torch.allclose(ours(embeddings, labels, margin), theirs)


def test_hand_computed_batch():
    # Reals at 0 and 1, fakes at 3 and 7 on a line; margin 3.
    embeddings = torch.tensor([[0.0], [1.0], [3.0], [7.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1])
    # Anchor 0: 1-3+3=1, 1-7+3<0; 1: 1-2+3=2, 1-6+3<0; 3: 4-3+3=4, 4-2+3=5; 7: 4-7+3=0, 4-6+3=1.
    assert batch_all(embeddings, labels, 3.0).item() == pytest.approx((1 + 2 + 4 + 5 + 1) / 5)
    assert active_fraction(embeddings, labels, 3.0).item() == pytest.approx(5 / 8)
    assert hard_positive_hard_negative(embeddings, labels, 3.0).item() == pytest.approx(
        (1 + 2 + 5 + 1) / 4
    )


def test_hard_and_easy_positives_differ():
    embeddings = torch.tensor([[0.0], [1.0], [5.0], [2.0]], dtype=torch.float64)
    labels = torch.tensor(
        [0, 0, 0, 1]
    )  # the fake is an anchor without a positive: 0, but counted in B
    # HP-HN: anchor 0: 5-2+1, anchor 1: 4-1+1, anchor 5: 5-3+1. EP-HN: 1-2+1, 1-1+1, 4-3+1.
    assert hard_positive_hard_negative(embeddings, labels, 1.0).item() == pytest.approx(
        (4 + 4 + 3) / 4
    )
    assert easy_positive_hard_negative(embeddings, labels, 1.0).item() == pytest.approx(
        (0 + 1 + 2) / 4
    )


@pytest.mark.parametrize("loss", TRIPLET_LOSSES.values(), ids=TRIPLET_LOSSES)
def test_gradient_equals_finite_differences(loss):
    embeddings, labels = batch(7, 8, 2, width=3)
    assert torch.autograd.gradcheck(lambda h: loss(h, labels, 1.0), embeddings.requires_grad_())


@pytest.mark.parametrize("loss", TRIPLET_LOSSES.values(), ids=TRIPLET_LOSSES)
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]], ids=["one class", "no positive"])
def test_batch_without_a_triplet_gives_zero_and_zero_gradient(loss, labels):
    embeddings = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = loss(embeddings, torch.tensor(labels), 1.0)
    value.backward()
    assert value.item() == 0
    assert torch.equal(embeddings.grad, torch.zeros(4, 5))
    assert active_fraction(embeddings, torch.tensor(labels), 1.0).item() == 0


@pytest.mark.parametrize("loss", TRIPLET_LOSSES.values(), ids=TRIPLET_LOSSES)
def test_collapsed_batch_has_loss_margin_and_finite_gradient(loss):
    embeddings = torch.ones(6, 4, requires_grad=True)
    value = loss(embeddings, torch.tensor([0, 0, 0, 1, 1, 1]), 0.7)
    value.backward()
    assert value.item() == pytest.approx(0.7)
    assert torch.equal(embeddings.grad, torch.zeros(6, 4))


@pytest.mark.parametrize("loss", TRIPLET_LOSSES.values(), ids=TRIPLET_LOSSES)
def test_duplicates_within_a_batch_keep_the_gradient_finite(loss):
    embeddings = torch.tensor([[0.0, 0], [0, 0], [1, 0], [1, 0]], requires_grad=True)
    loss(embeddings, torch.tensor([0, 0, 1, 1]), 2.0).backward()
    assert embeddings.grad.isfinite().all() and embeddings.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", TRIPLET_LOSSES.values(), ids=TRIPLET_LOSSES)
def test_nan_embedding_shows_in_the_loss(loss):
    embeddings, labels = batch(1, 12, 2)
    embeddings[3] = math.nan
    assert loss(embeddings, labels, 1.0).isnan()


def test_distances_are_exact_for_near_duplicates():
    # Above 25 rows the default torch.cdist uses a matrix product: 0.016 here, and not 0 on the
    # diagonal.
    embeddings = torch.randn(64, 768, generator=torch.Generator().manual_seed(0))
    embeddings[1] = embeddings[0] + 1e-4
    measured = distances(embeddings)
    assert measured[0, 1].item() == pytest.approx(1e-4 * math.sqrt(768), rel=1e-2)
    assert torch.equal(measured.diagonal(), torch.zeros(64))


def test_bf16_input_is_measured_in_fp32_even_under_autocast():
    embeddings = torch.randn(32, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = torch.tensor(
        [[math.dist(p, q) for q in embeddings.tolist()] for p in embeddings.tolist()]
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        measured = distances(embeddings)
    assert measured.dtype == torch.float32
    assert torch.allclose(measured, expected, atol=1e-5)
    assert distances(embeddings.double()).dtype == torch.float64


def test_cross_entropy_is_the_written_formula():
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.25], [-3.0, 1.0]])
    labels = [0, 1, 1]
    terms = [
        -math.log(math.exp(z[y]) / sum(map(math.exp, z)))
        for z, y in zip(logits.tolist(), labels, strict=True)
    ]
    assert cross_entropy(logits, torch.tensor(labels)).item() == pytest.approx(sum(terms) / 3)
    assert cross_entropy(logits.bfloat16(), torch.tensor(labels)).dtype == torch.float32


@pytest.mark.parametrize(
    ("d_an", "kind"),
    [(0.9, "hard"), (1.0, "semi-hard"), (1.4, "semi-hard"), (1.5, "easy"), (9.0, "easy")],
)
def test_kind_of_triplet_as_in_figure_2(d_an, kind):
    assert kind_of_triplet(1.0, d_an, 0.5) == kind


@pytest.mark.parametrize(("shape", "labels"), [((4, 3), 3), ((4,), 4)])
def test_wrong_shapes_are_refused(shape, labels):
    with pytest.raises(ValueError, match="give one"):
        batch_all(torch.zeros(shape), torch.zeros(labels), 1.0)
