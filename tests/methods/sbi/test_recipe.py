"""SBI's recipe: rate, sharpness-aware steps, a run that is cut off, the published values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepfake_repro.methods.sbi.recipe import Sam, build_optimizer, learning_rate
from deepfake_repro.project import params
from deepfake_repro.training.detector import build_detector
from support.toy_sbi import PARAMS, TOY, trained

pytestmark = pytest.mark.usefixtures("one_thread")


def test_rate_is_constant_and_then_linear_to_zero():
    rates = [learning_rate(PARAMS.profile("paper").sbi, epoch) for epoch in range(100)]
    assert rates[:76] == [1e-3] * 76 and rates[99] == pytest.approx(1e-3 / 25)
    assert np.allclose(np.diff(rates[75:]), -1e-3 / 25)
    warm = replace(PARAMS.profile("paper").sbi, warmup_epochs=2)
    assert [learning_rate(warm, *at) for at in ((0, 0.5), (1, 0.0), (1, 1.0), (2, 0.0))] == [
        0.25e-3,
        0.5e-3,
        1e-3,
        1e-3,
    ]


def test_adamw_scales_its_rates_by_layer_and_unknown_optimisers_are_refused():
    network = build_detector(TOY.architecture, 2, depth=2, input_size=64)
    actual = build_optimizer(network, replace(TOY, optimiser="adamw", layer_decay=0.5))
    assert {group["lr_scale"] for group in actual.param_groups} == {
        0.5**power for power in range(4)
    }
    with pytest.raises(ValueError, match=r"sbi.optimiser is 'lion'; known: sgd, adamw"):
        build_optimizer(network, replace(TOY, optimiser="lion"))


def test_sam_steps_by_the_gradient_found_uphill():
    """f(w) = w1^2 + 3 w2^2 at (1, 2): gradient (2, 12), uphill point w + r g / |g|, step by the
    gradient there.
    """
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    curve = torch.tensor([1.0, 3.0])
    sam = Sam(torch.optim.SGD([weight], lr=0.1), 0.05)
    (curve * weight**2).sum().backward()
    sam.climb()
    gradient = torch.tensor([2.0, 12.0])
    uphill = torch.tensor([1.0, 2.0]) + 0.05 * gradient / gradient.norm()
    assert torch.allclose(weight, uphill)
    (curve * weight**2).sum().backward()
    sam.step()
    assert torch.allclose(weight, torch.tensor([1.0, 2.0]) - 0.1 * 2 * curve * uphill)


def test_a_run_cut_off_at_any_step_is_the_whole_run_and_no_fake_crop_is_read(
    toy, tmp_path, cut_off
):
    whole, result = trained(toy, tmp_path / "whole")
    assert result.history["epoch"].tolist() == [1, 2] and result.history[
        "learning_rate"
    ].tolist() == [0.05, 0.05]
    assert {"train_loss", "validation_loss", "validation_auc", "active_fraction"} <= set(
        result.history
    )

    recipe = replace(TOY, checkpoint_steps=1)
    for saves in (1, 5, 7):  # in the first epoch, after it, in the second
        folder = tmp_path / f"cut{saves}"
        cut_off(lambda folder=folder: trained(toy, folder, recipe), saves)
        said = []
        resumed, again = trained(toy, folder, recipe, report=said.append)
        assert said[0] == f"resumed after step {saves}/8 from cut{saves}"
        pd.testing.assert_frame_equal(again.history, result.history)
        assert all(
            torch.equal(one, other)
            for one, other in zip(whole.parameters(), resumed.parameters(), strict=True)
        )


def test_published_weights_are_judged_and_not_trained(toy, tmp_path):
    network, result = trained(toy, tmp_path, replace(TOY, weights="FFraw.tar"))
    torch.manual_seed(0)
    fresh = build_detector(TOY.architecture, 2, depth=1, input_size=64, head_std=0.02)
    assert (
        result.history["epoch"].tolist() == [0] and result.history["validation_loss"].notna().all()
    )
    assert all(
        torch.equal(one, other)
        for one, other in zip(network.parameters(), fresh.parameters(), strict=True)
    )


def test_paper_profile_is_sbis_published_recipe():
    recipe = PARAMS.profile("paper").sbi
    assert (
        recipe.epochs,
        recipe.constant_epochs,
        recipe.pairs,
        recipe.input_size,
        recipe.crops_per_video,
    ) == (100, 75, 16, 380, 8)
    assert (recipe.learning_rate, recipe.momentum, recipe.sam_radius, recipe.faces) == (
        1e-3,
        0.9,
        0.05,
        "ffpp",
    )
    assert all(PARAMS.profile(name).sbi.blend == recipe.blend for name in params.PROFILES)
