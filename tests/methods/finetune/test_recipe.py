"""Rates of layers, objective and manifest of the recipe of Section 4.3."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from deepfake_repro.methods.finetune.recipe import (
    Objective,
    balance,
    build_objective,
    build_optimizer,
    build_schedule,
)
from deepfake_repro.project.recipes import Loss
from deepfake_repro.training.detector import build_detector as build
from deepfake_repro.training.losses import TRIPLET_LOSSES, cross_entropy
from support.toy_training import BATCH_ALL, RECIPE

PLAIN = replace(BATCH_ALL, loss=Loss())
pytestmark = pytest.mark.usefixtures("one_thread")


def closed_form(step, recipe, steps):
    """Rate at ``step`` (before ``lr_scale``): linear from 0, then half a cosine to the floor."""
    warm, total = recipe.warmup_epochs * steps, recipe.epochs * steps
    if step < warm:
        return recipe.learning_rate * step / warm
    share = (step - warm) / (total - warm)
    low, high = recipe.min_learning_rate, recipe.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize("epochs, warmup, steps", [(30, 5, 1), (30, 5, 7), (3, 1, 4), (2, 0, 5)])
def test_every_groups_rate_at_every_step_is_the_closed_form(epochs, warmup, steps):
    recipe = replace(
        RECIPE,
        epochs=epochs,
        warmup_epochs=warmup,
        learning_rate=1e-4,
        min_learning_rate=1e-6,
        depth=2,
    )
    optimizer = build_optimizer(build(recipe.architecture, 2, depth=2, input_size=32), recipe)
    clock = build_schedule(optimizer, recipe, steps)
    tops = []
    for step in range(epochs * steps):
        clock.step_update(step)
        for group in optimizer.param_groups:
            expected = group["lr_scale"] * closed_form(step, recipe, steps)
            assert group["lr"] == pytest.approx(expected, rel=1e-9, abs=1e-15)
        tops.append(max(group["lr"] for group in optimizer.param_groups))
    if warmup:
        assert tops[0] == 0
    assert tops[warmup * steps] == pytest.approx(1e-4) == max(tops)
    assert 1e-6 <= tops[-1] < 1e-4 * (0.6 if epochs == 2 else 0.5)


def test_the_papers_rates_by_hand():
    """Epochs 1, 5, 6 and 30 of Section 4.3's recipe at one step an epoch."""
    recipe = replace(RECIPE, epochs=30, warmup_epochs=5, learning_rate=1e-4, min_learning_rate=1e-6)
    optimizer = build_optimizer(build(recipe.architecture, 2, depth=1, input_size=32), recipe)
    clock, top = build_schedule(optimizer, recipe, 1), []
    for step in (0, 4, 5, 29):
        clock.step_update(step)
        top.append(max(group["lr"] for group in optimizer.param_groups))
    last = 1e-6 + 99e-6 * (1 - math.cos(math.pi / 25)) / 2
    assert top == pytest.approx([0.0, 0.8e-4, 1e-4, last])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_layer_decay_and_weight_decay_of_every_parameter(depth):
    model = build(RECIPE.architecture, 2, depth=depth, input_size=32)
    groups = {
        id(p): group
        for group in build_optimizer(model, RECIPE).param_groups
        for p in group["params"]
    }
    named = dict(model.encoder.named_parameters())
    assert len(groups) == len(named)
    for name, parameter in named.items():
        layer = {
            "blocks": lambda n: int(n.split(".")[1]) + 1,
            "head": lambda n: depth + 1,
            "fc_norm": lambda n: depth + 1,
        }.get(name.split(".")[0], lambda n: 0)(name)
        group = groups[id(parameter)]
        assert group["lr_scale"] == pytest.approx(0.75 ** (depth + 1 - layer)), name
        bare = parameter.ndim == 1 or name in ("pos_embed", "cls_token")
        assert group["weight_decay"] == (0.0 if bare else 0.05), name
        if name.startswith(("patch_embed", "pos_embed", "cls_token")):
            assert group["lr_scale"] == pytest.approx(0.75 ** (depth + 1)), name


@pytest.mark.parametrize("warmup", [3, 4])
def test_a_warm_up_that_leaves_no_epoch_is_an_error(warmup):
    recipe = replace(RECIPE, warmup_epochs=warmup)
    optimizer = build_optimizer(build(recipe.architecture, 2, depth=1, input_size=32), recipe)
    with pytest.raises(
        ValueError, match=f"train.warmup_epochs is {warmup}: keep it below train.epochs, 3"
    ):
        build_schedule(optimizer, recipe, 4)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    embeddings, logits = (
        torch.randn(12, 8, generator=generator),
        torch.randn(12, 3, generator=generator),
    )
    return embeddings, logits, torch.randint(3, (12,), generator=generator), torch.arange(12) % 2


@pytest.mark.parametrize("name, weight", itertools.product(TRIPLET_LOSSES, (0.05, 2.0)))
def test_total_is_cross_entropy_plus_weighted_triplet(batch, name, weight):
    embeddings, logits, labels, triplet_labels = batch
    terms = build_objective(replace(BATCH_ALL, loss=Loss(name, 0.7, weight)), RECIPE)(*batch)
    naive = -sum(logits[i].log_softmax(0)[labels[i]] for i in range(12)) / 12
    triplet = TRIPLET_LOSSES[name](embeddings, triplet_labels, 0.7)
    torch.testing.assert_close(terms["cross_entropy"], naive)
    torch.testing.assert_close(terms["triplet"], triplet)
    torch.testing.assert_close(terms["total"], naive + weight * triplet)
    assert triplet > 0 and 0 < terms["active"] <= 1


def test_without_a_triplet_loss_only_cross_entropy_is_left(batch):
    terms = build_objective(PLAIN, RECIPE)(*batch)
    assert terms["total"] == terms["cross_entropy"] == cross_entropy(batch[1], batch[2])
    assert terms["triplet"] == terms["active"] == 0


@pytest.mark.parametrize(
    "variant, recipe, message",
    [
        (
            replace(PLAIN, loss=Loss("batch_hard")),
            RECIPE,
            "unknown triplet loss 'batch_hard': choose one of batch_all, ",
        ),
        (
            PLAIN,
            replace(RECIPE, balance="always"),
            "train.balance is 'always'; known: none, first_epoch",
        ),
        (
            PLAIN,
            replace(RECIPE, selection="auc"),
            "train.selection is 'auc'; known: total, cross_entropy",
        ),
    ],
)
def test_unknown_names_in_the_parameters(variant, recipe, message):
    with pytest.raises(ValueError, match=message):
        build_objective(variant, recipe)


def test_nothing_is_balanced_where_there_is_no_triplet_loss():
    plain = build_objective(PLAIN, RECIPE)
    assert balance(plain, {"cross_entropy": 0.7, "triplet": 0.0}) == plain


def test_objective_is_a_value():
    assert build_objective(BATCH_ALL, RECIPE) == Objective(BATCH_ALL.loss, 0.2, "total")
