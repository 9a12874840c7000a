"""The recipe of Section 4.3: rates in closed form, exact resumption, the epoch kept, and what a toy set can teach."""

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

from deepfake_repro.crops.store import CropStore, encode, write_part
from deepfake_repro.evaluation.prediction import class_probabilities
from deepfake_repro.methods.finetune import recipe as training
from deepfake_repro.methods.finetune.recipe import Objective, balanced, fit, objective, optimiser, schedule
from deepfake_repro.project.params import Variant
from deepfake_repro.project.progress import LINES
from deepfake_repro.project.recipes import Train
from deepfake_repro.training import loop
from deepfake_repro.training.detector import build_detector as build
from deepfake_repro.training.detector import over_views
from deepfake_repro.training.loading import CropDataset, evaluation_loader, training_loader
from deepfake_repro.training.loop import Best, Rate, Sums
from deepfake_repro.training.losses import TRIPLET_LOSSES, cross_entropy
from deepfake_repro.training.transforms import Normalisation, evaluation_transform, training_transform

RECIPE = Train(
    architecture="vit_tiny_patch16_224", depth=1, input_size=32, augmentation="windows", epochs=3, warmup_epochs=1,
    batch_size=16, learning_rate=1e-3, min_learning_rate=1e-5, weight_decay=0.05, layer_decay=0.75, drop_path=0.2,
    head_std=0.02, triplet_labels="attribution", selection="total", balance="none", precision="32-true",
    compile=False, fused=True, channels_last=False, devices=1, workers=0, checkpoint_steps=4)
BATCH_ALL = Variant(init="imagenet", labels="binary", triplet="batch_all", margin=1.0, weight=0.2)
PLAIN = replace(BATCH_ALL, triplet="none", weight=0.0)
NORM = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CROPS, TRAIN, VALIDATION, FRESH = 224, slice(0, 96), slice(96, 128), slice(128, 224)
LABELS = np.arange(CROPS) % 2


pytestmark = pytest.mark.usefixtures("one_thread")


def toy_store(folder) -> CropStore:
    """224 crops of noise; the odd ones (fake) are redder. All are 40 × 40, so that windows differ."""
    rows, rng = [], np.random.default_rng(0)
    for number in range(CROPS):
        image = rng.integers(60, 180, (40, 40, 3), dtype=np.uint8)
        image[..., 0] += np.uint8(40 * LABELS[number])
        rows.append({"video_id": f"toy/{number:03d}", "frame": 0, "seconds": 0.0, "face": 0, "x0": 0.0, "y0": 0.0,
                     "x1": 40.0, "y1": 40.0, "score": 1.0, "landmarks": [0.0] * 10, "width": 40, "height": 40,
                     "image": encode(image, "png")})
    write_part(folder / "toy.arrow", rows)
    return CropStore(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> CropStore:
    return toy_store(tmp_path_factory.mktemp("toy"))


def data(store, part, transform, labels=LABELS):
    return CropDataset(store, np.arange(CROPS)[part], transform, labels[part])


def run(store, scratch, *, seed=0, recipe=RECIPE, variant=BATCH_ALL, labels=LABELS, report=lambda line: None,
        change=lambda image: image, fabric=None, workers=0):
    """One run of ``fit`` on the toy crops; ``change`` is applied to each augmented training crop."""
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    part = fabric.global_rank, fabric.world_size
    augment = training_transform("windows", 32, NORM)
    crops = data(store, TRAIN, lambda image: change(augment(image)), labels)
    train = training_loader(crops, recipe.batch_size, workers, seed, *part)
    held_out = data(store, VALIDATION, evaluation_transform("windows", 32, NORM), labels)
    validation = evaluation_loader(held_out, 16, workers, *part)
    torch.manual_seed(seed)
    model = build(recipe.architecture, 2, depth=recipe.depth, input_size=32, drop_path=recipe.drop_path,
                  head_std=recipe.head_std)
    return model, fit(model, train, validation, objective(variant, recipe), recipe, seed=seed, scratch=scratch,
                      fabric=fabric, report=report)


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


# --- learning rates -----------------------------------------------------------------------------------------------

def test_a_rate_of_any_form_reaches_every_group_by_its_scale():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [weights[0]], "lr_scale": 0.5}, {"params": [weights[1]]}], lr=9.0)
    clock = Rate(optimizer, lambda step: 0.1 * step)
    for step in (3, 0, 10):
        clock.step_update(step)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05 * step, 0.1 * step])


def test_the_best_epoch_is_the_first_of_equals_and_a_copy():
    best, weights = Best(), {"w": torch.zeros(2)}
    for epoch, value in enumerate((-0.5, -0.4, -0.4, -0.6), start=1):
        weights["w"] += 1
        best.offer(value, epoch, weights)
    assert (best.value, best.epoch, best.weights["w"].tolist()) == (-0.4, 2, [2.0, 2.0])
    again = Best()
    again.load_state_dict(best.state_dict())
    assert vars(again) == vars(best)


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
    recipe = replace(RECIPE, epochs=epochs, warmup_epochs=warmup, learning_rate=1e-4, min_learning_rate=1e-6, depth=2)
    optimizer = optimiser(build(recipe.architecture, 2, depth=2, input_size=32), recipe)
    clock = schedule(optimizer, recipe, steps)
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
    optimizer = optimiser(build(recipe.architecture, 2, depth=1, input_size=32), recipe)
    clock, top = schedule(optimizer, recipe, 1), []
    for step in (0, 4, 5, 29):
        clock.step_update(step)
        top.append(max(group["lr"] for group in optimizer.param_groups))
    last = 1e-6 + 99e-6 * (1 - math.cos(math.pi / 25)) / 2
    assert top == pytest.approx([0.0, 0.8e-4, 1e-4, last])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_layer_decay_and_weight_decay_of_every_parameter(depth):
    model = build(RECIPE.architecture, 2, depth=depth, input_size=32)
    groups = {id(p): group for group in optimiser(model, RECIPE).param_groups for p in group["params"]}
    named = dict(model.encoder.named_parameters())
    assert len(groups) == len(named)
    for name, parameter in named.items():
        layer = {"blocks": lambda n: int(n.split(".")[1]) + 1, "head": lambda n: depth + 1,
                 "fc_norm": lambda n: depth + 1}.get(name.split(".")[0], lambda n: 0)(name)
        group = groups[id(parameter)]
        assert group["lr_scale"] == pytest.approx(0.75 ** (depth + 1 - layer)), name
        bare = parameter.ndim == 1 or name in ("pos_embed", "cls_token")
        assert group["weight_decay"] == (0.0 if bare else 0.05), name
        if name.startswith(("patch_embed", "pos_embed", "cls_token")):
            assert group["lr_scale"] == pytest.approx(0.75 ** (depth + 1)), name


@pytest.mark.parametrize("warmup", [3, 4])
def test_a_warm_up_that_leaves_no_epoch_is_an_error(warmup):
    recipe = replace(RECIPE, warmup_epochs=warmup)
    optimizer = optimiser(build(recipe.architecture, 2, depth=1, input_size=32), recipe)
    with pytest.raises(ValueError, match=f"train.warmup_epochs is {warmup}: keep it below train.epochs, 3"):
        schedule(optimizer, recipe, 4)


# --- objective ----------------------------------------------------------------------------------------------------

@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    embeddings, logits = torch.randn(12, 8, generator=generator), torch.randn(12, 3, generator=generator)
    return embeddings, logits, torch.randint(3, (12,), generator=generator), torch.arange(12) % 2


@pytest.mark.parametrize("name, weight", itertools.product(TRIPLET_LOSSES, (0.05, 2.0)))
def test_total_is_cross_entropy_plus_weighted_triplet(batch, name, weight):
    embeddings, logits, labels, triplet_labels = batch
    terms = objective(replace(BATCH_ALL, triplet=name, weight=weight, margin=0.7), RECIPE)(*batch)
    naive = -sum(logits[i].log_softmax(0)[labels[i]] for i in range(12)) / 12
    triplet = TRIPLET_LOSSES[name](embeddings, triplet_labels, 0.7)
    torch.testing.assert_close(terms["cross_entropy"], naive)
    torch.testing.assert_close(terms["triplet"], triplet)
    torch.testing.assert_close(terms["total"], naive + weight * triplet)
    assert triplet > 0 and 0 < terms["active"] <= 1


def test_without_a_triplet_loss_only_cross_entropy_is_left(batch):
    terms = objective(PLAIN, RECIPE)(*batch)
    assert terms["total"] == terms["cross_entropy"] == cross_entropy(batch[1], batch[2])
    assert terms["triplet"] == terms["active"] == 0


@pytest.mark.parametrize("variant, recipe, message", [
    (replace(PLAIN, triplet="batch_hard"), RECIPE, "triplet loss 'batch_hard' is unknown; known: none, batch_all"),
    (PLAIN, replace(RECIPE, balance="always"), "train.balance is 'always'; known: none, first_epoch"),
    (PLAIN, replace(RECIPE, selection="auc"), "train.selection is 'auc'; known: total, cross_entropy"),
])
def test_unknown_names_in_the_parameters(variant, recipe, message):
    with pytest.raises(ValueError, match=message):
        objective(variant, recipe)


def test_views_are_averaged_and_count_once():
    model = build(RECIPE.architecture, 2, depth=1, input_size=32, head_std=0.5).eval()
    images = torch.randn(3, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = over_views(model, images)
        for number, expected in itertools.product(range(3), range(2)):
            views = [model(view[None])[expected][0] for view in images[number]]
            torch.testing.assert_close(found[expected][number], sum(views) / 4, rtol=1e-4, atol=1e-5)
        assert torch.equal(over_views(model, images[:, 0])[1], model(images[:, 0])[1])


def test_means_weigh_batches_by_their_crops():
    sums = Sums()
    sums.add({"total": torch.tensor(1.0)}, 3)
    sums.add({"total": torch.tensor(5.0)}, 1)
    assert sums.means() == {"total": 2.0}


# --- fit ----------------------------------------------------------------------------------------------------------

def test_fit_has_no_door_for_test_crops():
    parameters = inspect.signature(fit).parameters
    assert list(parameters) == ["model", "train", "validation", "loss", "recipe", "seed", "scratch", "fabric", "report"]


def test_the_loss_falls_and_fresh_crops_are_told_apart(store, whole):
    history = whole[1].history
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["train_loss"].iloc[-1] < 0.7 * history["train_loss"].iloc[0]
    assert history["learning_rate"].iloc[0] == pytest.approx(RECIPE.learning_rate * 5 / 6)  # the last of six steps
    assert roc_auc_score(LABELS[FRESH], fresh_scores(store, whole[1])) > 0.95


def test_shuffled_labels_teach_nothing_about_fresh_crops(store, tmp_path):
    """Labels drawn without a look at the crops: the AUC stays among those of permuted labels.

    The fresh crops stand in the order of their labels, so that a leak by position would show as well.
    """
    rng = np.random.default_rng(0)
    shuffled = np.concatenate([rng.permutation(LABELS[part]) for part in (TRAIN, VALIDATION, FRESH)])
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
    loss, total = objective(BATCH_ALL, RECIPE), 0.0
    loader = evaluation_loader(data(store, VALIDATION, evaluation_transform("windows", 32, NORM)), 16, 0)
    with torch.no_grad():
        for images, labels, triplet_labels, _ in loader:
            total += float(loss(*over_views(model.eval(), images), labels, triplet_labels)[key]) * len(images)
    assert result.history["validation_loss"].min() == pytest.approx(total / 32, rel=1e-5)


class Interrupted(Exception):
    """The machine goes away."""


def after_report(number):
    """Keyword for ``run``: stop in the ``number``-th line of the report, just after an epoch was saved."""
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


@pytest.mark.parametrize("interruption", [after_report(1), after_report(2), in_crop(40), in_crop(130)],
                         ids=["after-1", "after-2", "within-1", "within-2"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(store, tmp_path, whole, interruption):
    with pytest.raises(Interrupted):
        run(store, tmp_path, **interruption)
    torch.rand(7)  # the state of the generators is not what it was
    model, result = run(store, tmp_path)
    pd.testing.assert_frame_equal(result.history, whole[1].history, check_exact=True)
    assert result.best_epoch == whole[1].best_epoch
    assert same_state(result.best_state, whole[1].best_state)
    assert same_state(model.state_dict(), whole[0].state_dict())


def killed(store, scratch, *, crop=None, write=None):
    """A child process that trains until SIGKILL strikes it, in a training crop or before a checkpoint is renamed."""
    def strike(counter, number, passed):
        if next(counter) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return passed

    crops, writes, rename = itertools.count(1), itertools.count(1), os.replace

    def child():
        loop.os.replace = lambda old, new: rename(*strike(writes, write, (old, new)))
        run(store, scratch, change=lambda image: strike(crops, crop, image))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    return process.exitcode


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(store, tmp_path, whole):
    lines, rng = [], np.random.default_rng(3)
    strikes = [{"crop": int(number)} for number in rng.integers(20, 100, 4)] + [{"write": 1}, {"write": 2}, {"crop": 90}]
    assert [killed(store, tmp_path, **strike) for strike in strikes] == [-signal.SIGKILL] * len(strikes)
    model, result = run(store, tmp_path, report=lines.append)
    step = int(lines[0].split()[3].split("/")[0])
    assert 0 < step < 18 and step % 6, f"{lines[0]}: not in the midst of an epoch"
    pd.testing.assert_frame_equal(result.history, whole[1].history, check_exact=True)
    assert same_state(result.best_state, whole[1].best_state) and same_state(model.state_dict(), whole[0].state_dict())


def test_worker_processes_change_nothing(store, tmp_path, whole):
    _, result = run(store, tmp_path, workers=2)
    pd.testing.assert_frame_equal(result.history, whole[1].history, check_exact=True)
    assert same_state(result.best_state, whole[1].best_state)


@pytest.mark.parametrize("change", [{"fused": False}, {"channels_last": True}])
def test_faster_kernels_compute_the_same(store, tmp_path, whole, change):
    _, result = run(store, tmp_path, recipe=replace(RECIPE, **change))
    pd.testing.assert_frame_equal(result.history, whole[1].history, rtol=1e-4)


def test_compile_trains_the_network_that_is_kept(store, tmp_path, monkeypatch, whole):
    """With the compiler's optimising part left out, the graph that it captures computes the same."""
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


def test_stopwatch_by_hand(monkeypatch):
    """Batches take 3 s, steps 1 s: 2 batches of 5 crops on each of two devices in 8 s, 6 of them lost."""
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])

    def loader():
        for _ in range(2):
            now[0] += 3
            yield list(range(5))

    watch = loop.Stopwatch()
    for _ in watch.timed(loader(), lambda batch: 2 * len(batch)):
        now[0] += 1
    assert watch.summary() == {"crops_per_second": 2.5, "waiting_share": 0.75, "training_seconds": 8.0}


@pytest.mark.parametrize("room, told", [(5, "4 would fit, set train.batch_size"), (0, "not even one does")])
def test_a_batch_too_large_for_the_memory_is_told_what_would_fit(store, tmp_path, monkeypatch, room, told):
    def greedy(model, images):
        if len(images) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate …")
        return over_views(model, images)

    monkeypatch.setattr(training, "over_views", greedy)
    with pytest.raises(ValueError, match=f"^a batch of 16 crops does not fit into the memory of cpu: {told}$"):
        run(store, tmp_path)


def test_the_weight_of_the_triplet_loss_can_be_balanced_by_the_first_epoch(store, tmp_path):
    recipe = replace(RECIPE, balance="first_epoch")
    with pytest.raises(Interrupted):
        run(store, tmp_path, recipe=recipe, **in_crop(180))  # in epoch 2, after a checkpoint within it
    _, result = run(store, tmp_path, recipe=recipe)
    first = result.history.iloc[0]
    assert first["train_loss"] == pytest.approx(first["cross_entropy"] + 0.2 * first["triplet_loss"])
    weight = first["cross_entropy"] / first["triplet_loss"]
    assert weight != pytest.approx(0.2) and result.triplet_weight == weight
    assert result.history["triplet_weight"].tolist() == [weight] * 3
    later = result.history.iloc[1:]
    assert later["train_loss"].tolist() == pytest.approx(
        (later["cross_entropy"] + weight * later["triplet_loss"]).tolist())


def test_nothing_is_balanced_where_there_is_no_triplet_loss():
    plain = objective(PLAIN, RECIPE)
    assert balanced(plain, {"cross_entropy": 0.7, "triplet": 0.0}) == plain


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
    assert str(read[16:32]) in message and "lower train.learning_rate" in message and "\n" not in message


def test_objective_is_a_value():
    assert objective(BATCH_ALL, RECIPE) == Objective("batch_all", 1.0, 0.2, "total")


def test_the_manifest_tells_how_to_use_the_weights():
    found = training.manifest(RECIPE, BATCH_ALL, ("REAL", "FAKE"), NORM.mean, NORM.std, 2)
    assert {key: found[key] for key in ("architecture", "depth", "input_size", "views", "classes", "best_epoch")} == {
        "architecture": RECIPE.architecture, "depth": 1, "input_size": 32, "views": "windows",
        "classes": ["REAL", "FAKE"], "best_epoch": 2}
    assert (found["mean"], found["variant"]["triplet"], found["train"]["epochs"]) == ([0.5] * 3, "batch_all", 3)
