"""Cross-entropy and the three triplet losses (Section 3.3 of Mylonas & Papadopoulos 2025).

All triplet losses work on one matrix of Euclidean distances between the embeddings of a batch. An
anchor i, a positive j (same class, another sample) and a negative k (another class) make a *valid*
triplet; its loss is ``max(D[i, j] - D[i, k] + m, 0)``, and it is *active* when that is above zero.

The printed Batch All formula has ``D[j, k]`` where the definition of a triplet has ``D[i, k]``. The
valid set is symmetric in i and j, so both readings give the same loss if the expression that is
summed also decides which triplets are active. Summing the printed expression over the triplets that
the definition calls active gives a different loss; lesson 04 computes all three variants. This
module follows the definition.

No triplet is ever enumerated. With the distances of each anchor sorted, two binary searches count
the active triplets that contain each pair, and the sum over triplets becomes a sum over pairs:
O(B² log B) time, O(B²) memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..project.recipes import Loss
from ..project.registry import Registry

TripletLoss = Callable[[Tensor, Tensor, float], Tensor]
EmbeddingLoss = Callable[[Tensor, Tensor], Tensor]
"""Embeddings ``[B, D]`` and labels ``[B]`` -> scalar."""
PUBLISHED = "pml:"
"""Prefix of the classes of pytorch-metric-learning in ``params.yaml``."""
DIFFERENCES_AT_ONCE = 2**26
"""Most coordinate differences per block, 256 MiB in fp32: CUDA's gradient keeps them in memory."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute softmax cross-entropy, averaged over the batch (Section 3.3).

    ``logits`` ``[B, C]``, any float type, converted to at least fp32; ``labels`` int64 ``[B]`` in
    ``0 .. C - 1``.
    """
    return F.cross_entropy(_lift(logits), labels)


def distances(embeddings: Tensor) -> Tensor:
    """Compute Euclidean distances between all pairs of embeddings, ``D`` of Section 3.3.

    ``embeddings`` ``[B, D]`` -> ``[B, B]``, fp32 even for bf16 input or under autocast (fp64 stays
    fp64). Differences are computed element by element: the usual matrix-product shortcut gives
    0.016 for a true 0.003 and would choose wrong nearest positives among near-duplicate frames. The
    gradient at distance zero is zero. Raises ``ValueError`` unless ``embeddings`` is a matrix.
    """
    if embeddings.ndim != 2:
        raise ValueError(
            f"embeddings have shape {tuple(embeddings.shape)}: give one row per sample, [B, D]"
        )
    with torch.autocast(embeddings.device.type, enabled=False):
        lifted = _lift(embeddings)
        rows = max(1, DIFFERENCES_AT_ONCE // max(1, lifted.numel()))
        return torch.cat(
            [
                torch.cdist(block, lifted, compute_mode="donot_use_mm_for_euclid_dist")
                for block in lifted.split(rows)
            ]
        )


def batch_all(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Compute Batch All: mean loss over *active* triplets (Section 3.3.1, Hermans et al.).

    ``embeddings`` ``[B, D]``, ``labels`` ``[B]``, ``margin`` in units of distance -> scalar. A
    batch without an active triplet gives 0 with a zero gradient. The result is exact: the sum of
    ``D[i, j] - D[i, k] + m`` over the active triplets is the sum of ``D``, each pair weighted by
    how often it is a positive minus how often it is a negative.
    """
    distance, positive, negative = _pairs(embeddings, labels)
    as_positive, as_negative = _active_triplets(distance.detach(), positive, negative, margin)
    active = as_positive.sum()
    weight = (as_positive - as_negative).to(distance.dtype) / active.clamp(min=1)
    return (weight * distance).sum() + margin * (active > 0).to(distance.dtype)


def hard_positive_hard_negative(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Compute HP-HN: farthest positive, nearest negative; mean over anchors (Section 3.3.1).

    Shapes as in :func:`batch_all`. An anchor without a positive or without a negative counts as 0.
    """
    distance, positive, negative = _pairs(embeddings, labels)
    farthest = distance.masked_fill(~positive, -torch.inf).amax(1)
    return _mean_over_anchors(farthest, distance, positive, negative, margin)


def easy_positive_hard_negative(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Compute EP-HN: nearest positive, nearest negative; mean over anchors (Section 3.3.1).

    Shapes as in :func:`batch_all`. An anchor without a positive or without a negative counts as 0.
    """
    distance, positive, negative = _pairs(embeddings, labels)
    nearest = distance.masked_fill(~positive, torch.inf).amin(1)
    return _mean_over_anchors(nearest, distance, positive, negative, margin)


TRIPLET_LOSSES: Registry[TripletLoss] = Registry(
    "triplet loss",
    {
        "batch_all": batch_all,
        "hard_positive_hard_negative": hard_positive_hard_negative,
        "easy_positive_hard_negative": easy_positive_hard_negative,
    },
)


def build_loss(loss: Loss) -> EmbeddingLoss:
    """Build the loss on embeddings that a row names; ``ValueError`` for an unknown one."""
    if loss.name.startswith(PUBLISHED):
        return _published_loss(loss)
    if loss.miner or loss.options or loss.miner_options:
        raise ValueError(
            f"params.yaml: loss {loss.name!r} has neither miner nor options: "
            f"remove them, or name a loss {PUBLISHED}<class>"
        )
    function = TRIPLET_LOSSES[loss.name]
    return lambda embeddings, labels: function(embeddings, labels, loss.margin)


def _published_loss(loss: Loss) -> EmbeddingLoss:
    """Build a loss of pytorch-metric-learning and its miner.

    These may give 0 for embeddings that are not finite, so such a batch gives NaN, which the
    training loop reports.
    """
    from pytorch_metric_learning import losses, miners

    compute = _member(losses, loss.name, loss.options)
    mine = _member(miners, loss.miner, loss.miner_options) if loss.miner else None
    if any(True for _ in compute.parameters()):
        raise ValueError(
            f"params.yaml: loss {loss.name!r} has weights of its own, which are not trained here: "
            "choose one without, such as pml:MultiSimilarityLoss"
        )

    def value(embeddings: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            lifted = _lift(embeddings)
            pairs = mine(lifted, labels) if mine else None
            result = compute(lifted, labels, pairs)
        return torch.where(lifted.isfinite().all(), result, torch.nan)

    return value


def _member(module: ModuleType, name: str, options: Mapping[str, Any]) -> Any:
    """Build the object ``pml:<class>`` of a module of pytorch-metric-learning."""
    kind = getattr(module, name.removeprefix(PUBLISHED), None)
    if not name.startswith(PUBLISHED) or not isinstance(kind, type):
        raise ValueError(
            f"params.yaml: {name!r} is not {PUBLISHED}<class> of {module.__name__}: see its docs"
        )
    try:
        return kind(**options)
    except TypeError as error:
        raise ValueError(f"params.yaml: options of {name!r}: {error}; correct them") from None


@torch.no_grad()
def active_fraction(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Compute the share of valid triplets that are active, in [0, 1]; 0 without a valid triplet.

    Section 3.3.1: it falls as training progresses; if it stays at 1 with a loss near the margin,
    the embeddings have collapsed. Shapes as in :func:`batch_all`; carries no gradient.
    """
    distance, positive, negative = _pairs(embeddings, labels)
    active = _active_triplets(distance, positive, negative, margin)[0].sum()
    return active / (positive.sum(1) * negative.sum(1)).sum().clamp(min=1)


def kind_of_triplet(d_ap: float, d_an: float, margin: float) -> str:
    """Classify a triplet as ``easy``, ``semi-hard`` or ``hard``, as in Fig. 2 (Section 3.3.1).

    ``d_ap``, ``d_an``: distances from the anchor to the positive and to the negative. Easy: zero
    loss. Hard: the negative is nearer than the positive. Semi-hard: farther, but within the margin.
    """
    if d_an < d_ap:
        return "hard"
    return "easy" if d_ap - d_an + margin <= 0 else "semi-hard"


def _lift(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _pairs(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute distances and the masks of each anchor's positives and negatives, all ``[B, B]``.

    Row i belongs to anchor i.
    """
    if labels.shape != embeddings.shape[:1]:
        raise ValueError(
            f"labels {tuple(labels.shape)} for embeddings {tuple(embeddings.shape)}: "
            "give one label per row"
        )
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return distances(embeddings), same & ~itself, ~same


def _active_triplets(
    distance: Tensor, positive: Tensor, negative: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Count the active triplets in which each pair is the positive or the negative one.

    Returns two int64 ``[B, B]``. Both counts compare the same rounded numbers,
    ``D[i, k] < D[i, j] + m``, so ties count alike.
    """
    reach = distance + margin
    nearest_negatives = distance.masked_fill(~negative, torch.inf).sort(1).values
    farthest_positives = reach.masked_fill(~positive, -torch.inf).sort(1).values
    as_positive = torch.searchsorted(nearest_negatives, reach)
    as_negative = len(distance) - torch.searchsorted(farthest_positives, distance, right=True)
    return as_positive * positive, as_negative * negative


def _mean_over_anchors(
    chosen_positive: Tensor, distance: Tensor, positive: Tensor, negative: Tensor, margin: float
) -> Tensor:
    """Average the loss against the nearest negative over all B anchors.

    An anchor without a positive or without a negative counts as 0.
    """
    hardest_negative = distance.masked_fill(~negative, torch.inf).amin(1)
    complete = positive.any(1) & negative.any(1)
    violation = torch.where(complete, chosen_positive - hardest_negative + margin, 0.0)
    return F.relu(violation).mean()
