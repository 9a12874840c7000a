"""Fine-tuning on a toy store: it learns, keeps the best epoch, and may be cut off anywhere."""

import inspect
import itertools
import math
import multiprocessing
import os
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from sklearn.metrics import roc_auc_score

from deepfake_repro.evaluation.prediction import class_probabilities
from deepfake_repro.methods.finetune import recipe as training
from deepfake_repro.methods.finetune.recipe import build_objective, fine_tune
from deepfake_repro.project import files
from deepfake_repro.project.progress import LINES
from deepfake_repro.training.detector import build_detector as build
from deepfake_repro.training.detector import over_views
from deepfake_repro.training.loading import CropDataset, evaluation_loader
from deepfake_repro.training.transforms import evaluation_transform
from support.toy_training import (
    BATCH_ALL,
    CROPS,
    FRESH,
    LABELS,
    NORM,
    RECIPE,
    TRAIN,
    VALIDATION,
    data,
    run,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def fresh_scores(store, result, rows=FRESH):
    """P(fake) of crops that ``fit`` never saw, by the weights it kept."""
    model = build(RECIPE.architecture, 2, depth=RECIPE.depth, input_size=32)
    model.load_state_dict(result.best_state)
    loader = evaluation_loader(data(store, rows, evaluation_transform("windows", 32, NORM)), 32, 0)
    return class_probabilities(model, loader, Fabric(accelerator="cpu", devices=1))[:, 1]


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """The model (last state) and outcome of an uninterrupted run."""
    return run(store, tmp_path_factory.mktemp("whole"))


def same_state(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_fit_has_no_door_for_test_crops():
    parameters = inspect.signature(fine_tune).parameters
    assert list(parameters) == [
        "model",
        "train",
        "validation",
        "objective",
        "recipe",
        "seed",
        "scratch",
        "fabric",
        "report",
    ]


def test_the_loss_falls_and_fresh_crops_are_told_apart(store, whole):
    history = whole[1].history
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["train_loss"].iloc[-1] < 0.7 * history["train_loss"].iloc[0]
    assert history["learning_rate"].iloc[0] == pytest.approx(
        RECIPE.learning_rate * 5 / 6
    )  # the last of six steps
    assert roc_auc_score(LABELS[FRESH], fresh_scores(store, whole[1])) > 0.95


def test_shuffled_labels_teach_nothing_about_fresh_crops(store, tmp_path):
    """Labels drawn without a look at the crops: the AUC stays among those of permuted labels.

    The fresh crops stand in the order of their labels, so that a leak by position would show as
    well.
    """
    rng = np.random.default_rng(0)
    shuffled = np.concatenate(
        [rng.permutation(LABELS[part]) for part in (TRAIN, VALIDATION, FRESH)]
    )
    fresh = np.arange(CROPS)[FRESH]
    fresh = fresh[np.argsort(shuffled[fresh], kind="stable")]
    scores = fresh_scores(store, run(store, tmp_path, labels=shuffled)[1], fresh)
    chance = [roc_auc_score(rng.permutation(shuffled[fresh]), scores) for _ in range(1000)]
    low, high = np.quantile(chance, [0.005, 0.995])
    assert low <= roc_auc_score(shuffled[fresh], scores) <= high and high < 0.75


@pytest.mark.parametrize("selection", ["total", "cross_entropy"])
def test_the_epoch_with_the_lowest_validation_loss_is_kept(store, tmp_path, monkeypatch, selection):
    """A made-up validation curve with its minimum at epoch 2 of 4 and a tie at epoch 4."""
    curve, states = iter([0.9, 0.3, 0.8, 0.3]), []

    def validate(model, *_):
        states.append({key: value.clone() for key, value in model.state_dict().items()})
        return next(curve)

    monkeypatch.setattr(training, "_validate", validate)
    _, result = run(store, tmp_path, recipe=replace(RECIPE, epochs=4, selection=selection))
    assert result.history["validation_loss"].tolist() == [0.9, 0.3, 0.8, 0.3]
    assert result.best_epoch == 2
    assert same_state(result.best_state, states[1]) and not same_state(states[1], states[3])


@pytest.mark.parametrize("selection, key", [("total", "total"), ("cross_entropy", "cross_entropy")])
def test_the_validation_loss_is_that_of_the_kept_weights(store, tmp_path, selection, key):
    _, result = run(store, tmp_path, recipe=replace(RECIPE, epochs=2, selection=selection))
    assert result.best_epoch == int(result.history["validation_loss"].argmin()) + 1
    model = build(RECIPE.architecture, 2, depth=1, input_size=32)
    model.load_state_dict(result.best_state)
    loss, total = build_objective(BATCH_ALL, RECIPE), 0.0
    loader = evaluation_loader(
        data(store, VALIDATION, evaluation_transform("windows", 32, NORM)), 16, 0
    )
    with torch.no_grad():
        for images, labels, triplet_labels, _ in loader:
            total += float(
                loss(*over_views(model.eval(), images), labels, triplet_labels)[key]
            ) * len(images)
    assert result.history["validation_loss"].min() == pytest.approx(total / 32, rel=1e-5)


class Interrupted(Exception):
    """The machine goes away."""


def after_report(number):
    """Keyword for ``run``: stop in the ``number``-th line of the report, just after an epoch was
    saved.
    """
    lines = itertools.count(1)

    def report(line):
        if next(lines) == number:
            raise Interrupted

    return {"report": report}


def in_crop(number):
    """Keyword for ``run``: stop in the ``number``-th training crop, in the midst of an epoch."""
    seen = itertools.count(1)

    def change(image):
        if next(seen) == number:
            raise Interrupted
        return image

    return {"change": change}


@pytest.mark.parametrize(
    "interruption",
    [after_report(1), after_report(2), in_crop(40), in_crop(130)],
    ids=["after-1", "after-2", "within-1", "within-2"],
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    store, tmp_path, whole, interruption
):
    with pytest.raises(Interrupted):
        run(store, tmp_path, **interruption)
    torch.rand(7)  # the state of the generators is not what it was
    model, result = run(store, tmp_path)
    pd.testing.assert_frame_equal(result.history, whole[1].history, check_exact=True)
    assert result.best_epoch == whole[1].best_epoch
    assert same_state(result.best_state, whole[1].best_state)
    assert same_state(model.state_dict(), whole[0].state_dict())


def killed(store, scratch, *, crop=None, write=None):
    """A child process that trains until SIGKILL strikes it, in a training crop or before a
    checkpoint is renamed.
    """

    def strike(counter, number, passed):
        if next(counter) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return passed

    crops, writes, rename = itertools.count(1), itertools.count(1), os.replace

    def child():
        files.os.replace = lambda old, new: rename(*strike(writes, write, (old, new)))
        run(store, scratch, change=lambda image: strike(crops, crop, image))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    return process.exitcode


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(store, tmp_path, whole):
    lines, rng = [], np.random.default_rng(3)
    strikes = [{"crop": int(number)} for number in rng.integers(20, 100, 4)] + [
        {"write": 1},
        {"write": 2},
        {"crop": 90},
    ]
    assert [killed(store, tmp_path, **strike) for strike in strikes] == [-signal.SIGKILL] * len(
        strikes
    )
    model, result = run(store, tmp_path, report=lines.append)
    step = int(lines[0].split()[3].split("/")[0])
    assert 0 < step < 18 and step % 6, f"{lines[0]}: not in the midst of an epoch"
    pd.testing.assert_frame_equal(result.history, whole[1].history, check_exact=True)
    assert same_state(result.best_state, whole[1].best_state) and same_state(
        model.state_dict(), whole[0].state_dict()
    )


def test_worker_processes_change_nothing(store, tmp_path, whole):
    _, result = run(store, tmp_path, workers=2)
    pd.testing.assert_frame_equal(result.history, whole[1].history, check_exact=True)
    assert same_state(result.best_state, whole[1].best_state)


@pytest.mark.parametrize("change", [{"fused": False}, {"channels_last": True}])
def test_faster_kernels_compute_the_same(store, tmp_path, whole, change):
    _, result = run(store, tmp_path, recipe=replace(RECIPE, **change))
    pd.testing.assert_frame_equal(result.history, whole[1].history, rtol=1e-4)


def test_compile_trains_the_network_that_is_kept(store, tmp_path, monkeypatch, whole):
    """With the compiler's optimising part left out, the graph that it captures computes the
    same.
    """
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **_: compiled(model, backend="eager"))
    _, result = run(store, tmp_path, recipe=replace(RECIPE, compile=True, drop_path=0.0, epochs=2))
    _, expected = run(store, tmp_path / "plain", recipe=replace(RECIPE, drop_path=0.0, epochs=2))
    pd.testing.assert_frame_equal(result.history, expected.history, rtol=1e-4)
    assert result.best_state.keys() == whole[1].best_state.keys()


def test_speed_and_waiting_are_told(store, tmp_path):
    _, result = run(store, tmp_path, recipe=replace(RECIPE, epochs=2))
    assert set(result.speed) == {"crops_per_second", "waiting_share", "training_seconds"}
    assert result.speed["crops_per_second"] > 0 and 0 < result.speed["waiting_share"] < 1
    assert "seconds" not in " ".join(result.history)


@pytest.mark.parametrize(
    "room, advice", [(5, "4 would fit, set train.batch_size"), (0, "not even one does")]
)
def test_a_batch_too_large_for_the_memory_is_told_what_would_fit(
    store, tmp_path, monkeypatch, room, advice
):
    def greedy(model, images):
        if len(images) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate …")
        return over_views(model, images)

    monkeypatch.setattr(training, "over_views", greedy)
    with pytest.raises(
        ValueError, match=f"^a batch of 16 crops does not fit into the memory of cpu: {advice}$"
    ):
        run(store, tmp_path)


def test_the_weight_of_the_triplet_loss_can_be_balanced_by_the_first_epoch(store, tmp_path):
    recipe = replace(RECIPE, balance="first_epoch")
    with pytest.raises(Interrupted):
        run(
            store, tmp_path, recipe=recipe, **in_crop(180)
        )  # in epoch 2, after a checkpoint within it
    _, result = run(store, tmp_path, recipe=recipe)
    first = result.history.iloc[0]
    assert first["train_loss"] == pytest.approx(
        first["cross_entropy"] + 0.2 * first["triplet_loss"]
    )
    weight = first["cross_entropy"] / first["triplet_loss"]
    assert weight != pytest.approx(0.2) and result.triplet_weight == weight
    assert result.history["triplet_weight"].tolist() == [weight] * 3
    later = result.history.iloc[1:]
    assert later["train_loss"].tolist() == pytest.approx(
        (later["cross_entropy"] + weight * later["triplet_loss"]).tolist()
    )


def test_a_finished_run_started_again_trains_no_more(store, tmp_path, whole):
    lines = []
    run(store, tmp_path)
    _, result = run(store, tmp_path, report=lines.append, **in_crop(1))
    assert lines == [f"resumed after step 18/18 from {tmp_path.name}"]
    pd.testing.assert_frame_equal(result.history, whole[1].history, check_exact=True)
    assert same_state(result.best_state, whole[1].best_state)


def test_same_seed_same_weights_other_seed_others(store, tmp_path, whole):
    again, other = (run(store, tmp_path / str(seed), seed=seed)[1] for seed in (0, 1))
    assert same_state(again.best_state, whole[1].best_state)
    assert not same_state(other.best_state, whole[1].best_state)
    assert again.history.equals(whole[1].history) and not other.history.equals(whole[1].history)


def test_the_way_progress_is_shown_changes_nothing(store, tmp_path, whole, monkeypatch):
    """tqdm.auto starts its iterable twice, which makes a DataLoader draw another order."""
    monkeypatch.setenv(LINES, "1")
    _, result = run(store, tmp_path)
    pd.testing.assert_frame_equal(result.history, whole[1].history, check_exact=True)
    assert same_state(result.best_state, whole[1].best_state)


def test_a_loss_that_is_no_number_names_the_crops(store, tmp_path, monkeypatch):
    read, fetch = [], CropDataset.__getitem__

    def recorded(dataset, item):
        read.append(item)
        return fetch(dataset, item)

    def spoil(image):
        return image * math.nan if len(read) == 20 else image  # the fourth crop of the second batch

    monkeypatch.setattr(CropDataset, "__getitem__", recorded)
    with pytest.raises(ValueError, match="loss is nan on the batch of crops") as info:
        run(store, tmp_path, change=spoil)
    message = str(info.value)
    assert (
        str(read[16:32]) in message
        and "lower train.learning_rate" in message
        and "\n" not in message
    )
