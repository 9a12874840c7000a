"""LNCLIP-DF's recipe: the cycle of rates, a run that is cut off, the epoch that is kept."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from deepfake_repro.evaluation.prediction import class_probabilities
from deepfake_repro.methods.lnclip import sphere
from deepfake_repro.methods.lnclip.recipe import SELECTIONS, learning_rate, load_tuned
from deepfake_repro.training.loop import BestEpoch
from support.toy_lnclip import CPU, CROPS, PAPER, RECIPE, TRAIN, run

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.usefixtures("one_thread")


def test_rate_without_warm_up_is_torchs_warm_restarts():
    recipe = replace(
        RECIPE, warmup_epochs=0, cycle_epochs=10, learning_rate=3e-4, min_learning_rate=1e-6
    )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=3e-4)
    oracle = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, eta_min=1e-6)
    for step in range(120):
        epoch = step / 4
        oracle.step(epoch)
        assert learning_rate(epoch, recipe) == pytest.approx(
            optimizer.param_groups[0]["lr"], rel=1e-9
        )


def test_the_papers_cycle_warms_up_for_one_epoch_and_starts_again():
    rates = [learning_rate(epoch, PAPER) for epoch in (0, 0.5, 1, 5.5, 9.999999, 10, 11)]
    assert rates == pytest.approx([1e-5, 1.55e-4, 3e-4, 1.55e-4, 1e-5, 1e-5, 3e-4], rel=1e-4)
    with pytest.raises(ValueError, match=r"^lnclip\.warmup_epochs is 10: keep it below"):
        learning_rate(0, replace(PAPER, warmup_epochs=10))


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    return run(store, tmp_path_factory.mktemp("whole"))


def test_frozen_parameters_are_bit_identical_after_training_and_all_others_have_moved(whole):
    detector, before, _, _ = whole
    for name, tensor in detector.named_parameters():
        assert torch.equal(tensor, before[name]) != tensor.requires_grad, name


def test_it_learns_and_keeps_the_epoch_that_validation_prefers(whole):
    detector, _, result, validation = whole
    history = result.history
    assert result.best_epoch == history["validation_loss"].idxmin() + 1
    assert history["validation_loss"].iloc[-1] < history["validation_loss"].iloc[0]
    load_tuned(detector, result.best_state)
    fake = class_probabilities(detector, validation, CPU)[:, 1]
    of_video = pd.DataFrame(
        {"p": fake, "video": np.arange(TRAIN, CROPS) // 4 * 2 + np.arange(CROPS - TRAIN) % 2}
    )
    scores = of_video.groupby("video")["p"].mean().sort_index()
    above = np.mean([[f > r for f in scores[1::2]] for r in scores[::2]])
    assert history["video_auc"].iloc[result.best_epoch - 1] == pytest.approx(above, abs=1e-9)
    assert above > 0.9


@pytest.mark.parametrize("saves", [1, 5, 12])
def test_a_run_cut_off_at_any_step_ends_with_the_same_bits(store, whole, tmp_path, cut_off, saves):
    recipe = replace(RECIPE, checkpoint_steps=1)
    cut_off(lambda: run(store, tmp_path, recipe), saves)
    _, _, result, _ = run(store, tmp_path, recipe)
    pd.testing.assert_frame_equal(result.history, whole[2].history)
    assert all(
        torch.equal(result.best_state[name], tensor) for name, tensor in whole[2].best_state.items()
    )


@pytest.mark.parametrize(
    "change", [{"slerp": 0}, {"paired": False}, {"alignment": 0.0, "uniformity": 0.0}]
)
def test_every_switch_changes_the_run(store, whole, tmp_path, change):
    _, _, result, _ = run(store, tmp_path, replace(RECIPE, epochs=1, **change))
    assert result.history["train_loss"].iloc[0] != whole[2].history["train_loss"].iloc[0]


def test_wrong_weights_and_selection_are_refused(store, tmp_path):
    detector = sphere.build_sphere_detector(RECIPE)
    with pytest.raises(ValueError, match="not of this network's LayerNorms"):
        load_tuned(detector, {"encoder.norm.weight": torch.ones(192)})
    with pytest.raises(
        ValueError,
        match=r"^lnclip\.selection is 'loss'; known: validation_loss, video_auc, video_map$",
    ):
        run(store, tmp_path, replace(RECIPE, selection="loss"))


def test_a_loss_that_is_no_number_stops_with_the_crops(store, tmp_path):
    with pytest.raises(ValueError, match=r"^loss is nan on the batch of crops \[\d+, "):
        run(store, tmp_path, replace(RECIPE, alignment=math.nan))


def test_selections_prefer_lower_loss_and_higher_scores():
    rows = [
        {"validation_loss": 0.5, "video_auc": 0.7, "video_map": 0.9},
        {"validation_loss": 0.6, "video_auc": 0.8, "video_map": 0.9},
        {"validation_loss": 0.4, "video_auc": 0.8, "video_map": 0.8},
    ]
    chosen = {}
    for selection, sign in SELECTIONS.items():
        best = BestEpoch()
        for epoch, row in enumerate(rows, start=1):
            best.offer(sign * row[selection], epoch, {})
        chosen[selection] = best.epoch
    assert chosen == {"validation_loss": 3, "video_auc": 2, "video_map": 1}  # the first of equals
