"""What all methods share: rates of any form, the best epoch, means, the stopwatch."""

import itertools

import pytest
import torch

from deepfake_repro.training import loop
from deepfake_repro.training.detector import build_detector as build
from deepfake_repro.training.detector import over_views
from deepfake_repro.training.loop import BestEpoch, Sums
from deepfake_repro.training.schedules import StepSchedule
from support.toy_training import RECIPE

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_rate_of_any_form_reaches_every_group_by_its_scale():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD(
        [{"params": [weights[0]], "lr_scale": 0.5}, {"params": [weights[1]]}], lr=9.0
    )
    schedule = StepSchedule(optimizer, lambda step: 0.1 * step)
    for step in (3, 0, 10):
        schedule.step_update(step)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
            [0.05 * step, 0.1 * step]
        )


def test_the_best_epoch_is_the_first_of_equals_and_a_copy():
    best, weights = BestEpoch(), {"w": torch.zeros(2)}
    for epoch, value in enumerate((-0.5, -0.4, -0.4, -0.6), start=1):
        weights["w"] += 1
        best.offer(value, epoch, weights)
    assert (best.value, best.epoch, best.weights["w"].tolist()) == (-0.4, 2, [2.0, 2.0])
    again = BestEpoch()
    again.load_state_dict(best.state_dict())
    assert vars(again) == vars(best)


def test_views_are_averaged_and_count_once():
    model = build(RECIPE.architecture, 2, depth=1, input_size=32, head_std=0.5).eval()
    images = torch.randn(3, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        actual = over_views(model, images)
        for number, expected in itertools.product(range(3), range(2)):
            views = [model(view[None])[expected][0] for view in images[number]]
            torch.testing.assert_close(
                actual[expected][number], sum(views) / 4, rtol=1e-4, atol=1e-5
            )
        assert torch.equal(over_views(model, images[:, 0])[1], model(images[:, 0])[1])


def test_means_weigh_batches_by_their_crops():
    sums = Sums()
    sums.add({"total": torch.tensor(1.0)}, 3)
    sums.add({"total": torch.tensor(5.0)}, 1)
    assert sums.means() == {"total": 2.0}


def test_stopwatch_by_hand(monkeypatch):
    """Batches take 3 s, steps 1 s: 2 batches of 5 crops on each of two devices in 8 s, 6 of them
    lost.
    """
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])

    def loader():
        for _ in range(2):
            now[0] += 3
            yield list(range(5))

    watch = loop.Stopwatch()
    for _ in watch.timed(loader(), lambda batch: 2 * len(batch)):
        now[0] += 1
    assert watch.summary() == {
        "crops_per_second": 2.5,
        "waiting_share": 0.75,
        "training_seconds": 8.0,
    }
