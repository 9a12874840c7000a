"""Checks of the exercises that need no PyTorch (00-03, 05-08, 10, 12; 11: :mod:`.results`).

Each raises ``AssertionError`` with a hint; :mod:`..exercises` calls them by the exercise's number.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...dataset.sampling import balanced_sample
from ...evaluation import metrics
from ...evaluation.bounds import share_bounds
from ...evaluation.field_metrics import tpr_at_fpr
from ...evaluation.statistics import LEVEL
from ...project.recipes import Train
from ...project.vocabulary import IN_DISTRIBUTION
from ...report.claims import point_table
from ...report.expressions.language import GROUPS, evaluate
from ..lessons import pair_distances, seen_share
from .comparing import answered, compare, returned

Scores = tuple[np.ndarray, np.ndarray]  # labels and scores, one of each per video


def check_gain(answer: Any, auc: Mapping[str, Mapping[str, float]]) -> None:
    """Check what FSFM's start gains on DF40, in points of AUC (Section 5.1)."""
    compare(answer, auc["fsfm"]["df40"] - auc["imagenet"]["df40"], "the later row minus the former")


def check_largest_step(function: Callable[..., str]) -> None:
    """Check ``function(auc, steps, key)``, the name of the step that gains most."""
    auc = {"a": {"x": 50.0, "y": 90.0}, "b": {"x": 60.0, "y": 80.0}, "c": {"x": 75.0, "y": 79.0}}
    steps = {"first": ("a", "b"), "second": ("b", "c")}
    hints = {
        "x": ("second", "from 60 to 75 is more than from 50 to 60"),
        "y": ("second", "both steps lose here: -1 is more than -10, and a loss keeps its sign"),
    }
    for key, (expected, hint) in hints.items():
        compare(returned(function(auc, steps, key)), expected, hint)


def check_fall(function: Callable[[int, int], float]) -> None:
    """Check ``function(reals, fakes)``, by how much one real lowers the AUC at most."""
    for reals, fakes in ((8, 63), (4, 4)):
        answer = returned(function(reals, fakes))
        assert answer != 1 / (reals * fakes), "not yet: one real is in as many pairs as fakes exist"
        scores = np.arange(reals + fakes, dtype=float)
        labels = np.arange(reals + fakes) >= reals
        before = metrics.auc(labels, scores)
        scores[0] = reals + fakes
        compare(answer, before - metrics.auc(labels, scores), "count the pairs that are lost")


def check_share_of_fakes(answer: Any, index: pd.DataFrame) -> None:
    """Check the share of fakes among the training videos (Section 4.1)."""
    wanted = (index.loc[index["split"] == "train", "label"] == 1).mean()
    compare(answer, wanted, "which rows are training videos, and which label has a fake?")


def check_most_useful(answer: Any, index: pd.DataFrame) -> None:
    """Check without which training corpus the fewest manipulations are seen (Section 3.1)."""
    answered(answer)
    keys = ", ".join(IN_DISTRIBUTION)
    assert answer in IN_DISTRIBUTION, f"not yet: answer with one of {keys}"
    shares = {
        corpus: seen_share(index, [name for name in IN_DISTRIBUTION if name != corpus])
        for corpus in IN_DISTRIBUTION
    }
    assert shares[answer] == min(shares.values()), (
        "not yet: compute the share of the four others for each corpus; which one is missed most?"
    )


def check_crossing(function: Callable[[pd.DataFrame], int]) -> None:
    """Check ``function(videos)``, the test fakes whose target occurs in the training split."""
    example = pd.DataFrame(
        {
            "split": ["train", "train", "test", "test", "test"],
            "label": [0, 1, 1, 1, 0],
            "target_id": ["a", "b", "b", "c", "a"],
            "source_id": ["", "c", "e", "d", ""],
        }
    )
    answer = returned(function(example))
    assert answer != 3, "not yet: reals do not count"
    compare(answer, 2, "people of the training split are its targets *and* its sources")


def check_wide_margin(answer: Any) -> None:
    """Check at which margin the window has four times the area of the box (Section 4.1)."""
    compare(answer, 1.0, "how long is a side of the window, and a side of the box?")


def check_cut_out(answer: Any, index: pd.DataFrame) -> None:
    """Check which corpora come as face sequences."""
    wanted = set(index.loc[index["kind"] == "frames", "dataset"])
    compare(answer, wanted, "a video has kind video; a set is written {'one', 'two'}")


def check_window(function: Callable[[float, float, float, float, float], Sequence[float]]) -> None:
    """Check ``function(x0, y0, x1, y1, margin)``, the window of a box (Section 4.1)."""
    for box, margin, expected in (
        ((50, 50, 150, 150), 0.3, (35, 35, 165, 165)),
        ((0, 10, 20, 50), 0.5, (-5, 0, 25, 60)),
    ):
        answer = returned(function(*box, margin))
        assert np.shape(answer) == (4,), "not yet: return four numbers, x0, y0, x1, y1"
        doubled = 2 * np.array(expected) - box
        assert not np.allclose(answer, doubled), "not yet: half of the growth belongs to each side"
        assert np.allclose(answer, expected), (
            f"not yet: {box} with margin {margin} should give {expected}; is the centre where it "
            "was, and does each side grow by its own length?"
        )


def check_over_the_edge(function: Callable[..., float]) -> None:
    """Check ``function(boxes, sizes, margin)``, the share of windows that leave their frame."""
    boxes = np.array([[40.0, 40, 60, 60], [5, 40, 35, 70], [60, 10, 96, 40]])
    sizes = np.full((3, 2), 100)
    for margin, wanted, hint in (
        (0.3, 1 / 3, "of three boxes only the third leaves its frame, on the right: at x = 101.4"),
        (0.4, 2 / 3, "at this margin the second one leaves it on the left, at x = -1"),
    ):
        compare(returned(function(boxes, sizes, margin)), wanted, hint)


def check_per_video(answer: Any) -> None:
    """Check how many crops of each of 400 fake videos balance 1,200 real crops (Section 4.1)."""
    compare(answer, 3, "how many fake crops are wanted in all, and who shares them?")


def check_level(function: Callable[[np.ndarray, int], int]) -> None:
    """Check ``function(crops_of_videos, target)``, the common level (Section 4.1)."""
    cases = {
        "levels 1 to 5 give 4, 7, 9, 11 and 13 crops; 12 may not be exceeded": (
            [1, 2, 10, 10],
            12,
            4,
        ),
        "each video keeps at least one crop, even if that is more than the target": (
            [5, 5, 5],
            2,
            1,
        ),
        "a level that meets the target exactly is allowed": ([4, 4], 6, 3),
        "no level is above the longest video": ([2, 3], 100, 3),
    }
    for hint, (crops, target, expected) in cases.items():
        answer = returned(function(np.array(crops), target))
        assert int(answer) == expected, f"not yet for crops {crops} and target {target}: {hint}"


def check_two_reals_per_fake(answer: Any, crops: pd.DataFrame, seed: int) -> None:
    """Check how many fake crops remain with two reals per fake."""
    wanted = int(balanced_sample(crops, 2.0, seed=seed)["label"].sum())
    compare(answer, wanted, "which argument is the ratio? No video may lose its last crop")


def check_deciding(answer: Any, validation: pd.DataFrame) -> None:
    """Check which corpora have validation crops."""
    compare(answer, set(validation["dataset"]), "the validation sample has a column dataset")


def check_real_leads_and_fakes_win(answer: Any) -> None:
    """Check three probabilities: *real* is the largest, and both fakes sum to 0.5 or more."""
    answered(answer)
    hint = "real must be below one half and yet above each of the other two; the three sum to 1"
    assert np.shape(answer) == (3,), "not yet: give three probabilities: real, FS, RE"
    real, *fakes = answer
    is_distribution = np.isclose(real + sum(fakes), 1) and min(real, *fakes) >= 0
    assert is_distribution and real > max(fakes) and sum(fakes) >= 0.5, f"not yet: {hint}"


def check_auc(
    function: Callable[[np.ndarray, np.ndarray], float], labels: np.ndarray, scores: np.ndarray
) -> None:
    """Check ``function(labels, scores)``, the AUC by counting pairs (Section 4.3)."""
    tie = returned(function(np.array([0, 0, 1, 1]), np.array([0.1, 0.5, 0.5, 0.9])))
    compare(tie, 0.875, "at scores 0.1 0.5 | 0.5 0.9 three pairs are right and one is a tie")
    compare(
        function(labels, scores), metrics.auc(labels, scores), "compare every fake with every real"
    )


def check_best_threshold(answer: Any, labels: np.ndarray, scores: np.ndarray) -> None:
    """Check that a threshold has the highest balanced accuracy among the scores."""
    answered(answer)
    highest = max(metrics.balanced_accuracy(labels, scores, threshold) for threshold in scores)
    reached = metrics.balanced_accuracy(labels, scores, answer)
    hint = f"yours reaches {reached:.3f}, another score reaches more: try each as the threshold"
    compare(reached, highest, hint)


def check_count_of_differences(answer: Any, differences: pd.DataFrame) -> None:
    """Check how many differences have an interval that excludes zero."""
    wanted = int(((differences["low"] > 0) | (differences["high"] < 0)).sum())
    compare(answer, wanted, "an interval excludes zero when both ends have the same sign")


def check_interval_of_difference(
    function: Callable[[np.ndarray, np.ndarray], Sequence[float]],
) -> None:
    """Check ``function(first, second)``, the paired interval of a difference.

    It is called with draws that rise and fall together.
    """
    rng = np.random.default_rng(0)
    second = rng.normal(80, 3, 1000)
    first = second + rng.normal(1, 0.2, 1000)
    answer = returned(function(first, second))
    assert np.shape(answer) == (2,), "not yet: return two numbers, low and high"
    ends_of_first = np.percentile(first, LEVEL)
    ends_of_second = np.percentile(second, LEVEL)
    unpaired = (ends_of_first - ends_of_second, ends_of_first - ends_of_second[::-1])
    assert not any(np.allclose(answer, wrong) for wrong in unpaired), (
        "not yet: you subtract the ends of two intervals; the rows rise and fall together: "
        "subtract draw by draw"
    )
    assert np.allclose(answer, np.percentile(first - second, LEVEL)), (
        "not yet: take the percentiles 2.5 and 97.5 of first - second, the lower one first"
    )


def check_sentence(expression: str) -> None:
    """Check an expression on made-up tables.

    It should say: *by AUC, FSFM + BA beats FSFM in all scenarios, on ForgeryNet by more than 0.1*.
    """
    answered(expression)
    cells = (*GROUPS["scenarios"], "forgerynet")
    for worse in (None, *cells):
        baseline = dict.fromkeys(cells, 80.0)
        with_ba = dict.fromkeys(cells, 81.0)
        if worse:
            with_ba[worse] = 80.05 if worse == "forgerynet" else 79.0
        rows = {"fsfm": {"auc": baseline}, "fsfm_ba": {"auc": with_ba}}
        try:
            answer = bool(evaluate(expression, point_table(rows)))
        except ValueError as error:
            raise AssertionError(f"not yet: {error}") from None
        if worse:
            assert not answer, f"not yet: it should be false where {worse} speaks against it"
        else:
            assert answer, (
                "not yet: it is false on a table in which BA is one point better everywhere"
            )


def check_purity(function: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> None:
    """Check ``function(embedded, labels, videos)``, how often the nearest stranger is alike."""
    line = np.array([[0.0], [1.0], [1.5], [4.0], [6.1]])
    labels = np.array([0, 1, 1, 0, 0])
    videos = np.array(["a", "a", "b", "c", "d"])
    hint = "a crop of the same video is not a stranger: it may not be chosen"
    compare(returned(function(line, labels, videos)), 0.8, hint)


def check_scale(answer: Any) -> None:
    """Check what changes when all embeddings are multiplied by ten (Section 3.3)."""
    hint = "who is nearer stays the same; what happens to a difference compared with the margin?"
    compare(answer, {"b", "c"}, hint)


def check_ratio(answer: Any, embedded: np.ndarray, labels: np.ndarray, videos: np.ndarray) -> None:
    """Check the mean distance between the classes divided by that within a class."""
    within, between = pair_distances(embedded, labels, videos)
    compare(answer, between.mean() / within.mean(), "which distance is divided by which?")


def check_rare_fakes(answer: Any) -> None:
    """Check the probability of a score of 0.9 if one of 1,000 videos is fake."""
    wanted = 0.9 * 0.001 / (0.9 * 0.001 + 0.1 * 0.999)
    hint = "Bayes' rule: the odds of the score times the odds of a fake, then back from odds"
    compare(answer, wanted, hint)


def check_scaled(function: Callable[[float, float], float]) -> None:
    """Check ``function(score, temperature)``, temperature scaling."""
    for score, temperature, expected in ((0.9, 2.0, 0.75), (0.3, 1.0, 0.3), (0.2, 0.5, 1 / 17)):
        hint = (
            f"{score} at temperature {temperature} should give {expected:.4f}; it is the logarithm "
            "of score / (1 - score) that is divided"
        )
        compare(returned(function(score, temperature)), expected, hint)


def check_highest_rate(function: Callable[[int], float]) -> None:
    """Check ``function(reals)``, the upper bound of a rate without a false alarm."""
    for reals in (10, 100):
        expected = float(share_bounds(np.array(0.0), np.array(reals))[1])
        answer = returned(function(reals))
        assert answer != 3 / reals, "not yet: 3 / n is a rule of thumb for a one-sided bound"
        hint = "at a rate r, no alarm among n reals has the probability (1 - r) ** n"
        compare(answer, expected, hint)


def check_rates(answer: Any, recipe: Train) -> None:
    """Check the learning rates of head, last block, … first block (Section 4.3)."""
    decay = recipe.layer_decay ** np.arange(recipe.depth + 1)
    compare(
        answer, recipe.learning_rate * decay, "the head has k = 0 and the first block k = depth"
    )


def check_weight(answer: Any, history: pd.DataFrame) -> None:
    """Check the weight that makes both terms equal in the first epoch (Section 4.3)."""
    wanted = history["cross_entropy"].iloc[0] / history["triplet_loss"].iloc[0]
    hint = (
        "the columns of both terms in the first line; the triplet loss is listed before weighting"
    )
    compare(answer, wanted, hint)


def check_kept_epoch(answer: Any, history: pd.DataFrame) -> None:
    """Check which epoch of a history is kept."""
    wanted = int(history.loc[history["validation_loss"].idxmin(), "epoch"])
    compare(answer, wanted, "which column may decide, and is its best value low or high?")


def check_blended_pixel(answer: Any) -> None:
    """Check a pixel of 200 over one of 100 where the mask is 0.25."""
    compare(answer, 125, "the mask is the share of the source, and one minus the mask the target's")


def check_blend(function: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> None:
    """Check ``function(source, target, mask)``, a self-blended image (SBI, Section 3)."""
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, 256, (2, 3, 3, 3)).astype(float)
    mask = rng.random((3, 3))
    answer = returned(function(source, target, mask))
    by_pixel = np.empty_like(source)
    for y, x in itertools.product(range(3), repeat=2):
        by_pixel[y, x] = mask[y, x] * source[y, x] + (1 - mask[y, x]) * target[y, x]
    assert not np.allclose(answer, source + target - by_pixel), (
        "not yet: where the mask is 1 there should be the source"
    )
    compare(answer, by_pixel, "one number of the mask belongs to three colours: add an axis to it")


def check_uphill(function: Callable[[np.ndarray, np.ndarray, float], np.ndarray]) -> None:
    """Check ``function(weights, gradient, radius)``, the first half of a sharpness-aware step."""
    weights, gradient = np.array([1.0, 2.0]), np.array([3.0, -4.0])
    answer = returned(function(weights, gradient, 0.5))
    assert not np.allclose(answer, weights + 0.5 * gradient), (
        "not yet: the step has the length radius, however steep it is"
    )
    assert not np.allclose(answer, weights - 0.5 * gradient / 5), "not yet: this is downhill"
    compare(answer, np.array([1.3, 1.6]), "the gradient divided by its length, times radius")


def check_dense_inputs(function: Callable[[int], int]) -> None:
    """Check ``function(side)``, the inputs of the first dense layer of MesoNet-4."""
    for side, expected in ((256, 1024), (224, 784), (96, 144)):
        answer = returned(function(side))
        assert answer != expected / 16, "not yet: that is one channel, and there are 16"
        compare(answer, expected, f"{side} pixels become {side // 32}, in both directions")


def check_p_fake(function: Callable[[np.ndarray], np.ndarray]) -> None:
    """Check ``function(logits)``, P(fake) where the classes are fake and real."""
    logits = np.array([[0.0, 0.0], [2.0, 0.0], [-1.0, 3.0], [800.0, 799.0]])
    expected = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
    answer = returned(function(logits.copy()))
    assert not np.allclose(answer, 1 - expected), "not yet: in this network class 0 is fake"
    assert np.isfinite(answer).all(), "not yet: the exponential overflows; subtract the larger one"
    compare(answer, expected, "softmax over the two logits of a crop, then that of fake")


def check_as_input(function: Callable[[list[np.ndarray]], np.ndarray]) -> None:
    """Check ``function(crops)``, a batch of BGR images in [-1, 1], channels first."""
    crops = list(np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8))
    expected = np.empty((2, 3, 4, 5))
    for number, crop in enumerate(crops):
        for channel in range(3):
            expected[number, channel] = crop[:, :, 2 - channel] / 127.5 - 1
    answer = returned(function(crops))
    shape = np.shape(answer)
    assert shape == expected.shape, f"not yet: the shape is {shape}, not {expected.shape}"
    assert not np.allclose(answer, expected[:, ::-1]), "not yet: these channels are still RGB"
    compare(answer, expected, "0 becomes -1 and 255 becomes 1; divide after you convert to float")


def check_found(function: Callable[[np.ndarray, np.ndarray, float], float]) -> None:
    """Check ``function(labels, scores, limit)``, the fakes found at a false positive rate."""
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], [20, 12])
    scores = (rng.random(32) * 0.7 + 0.3 * labels).round(1)
    for limit in (0.01, 0.05, 0.3):
        expected = tpr_at_fpr(labels, scores, limit)
        hint = (
            f"with a limit of {limit} and 20 reals, {int(limit * 20)} may be called fake; "
            "videos with equal scores are called fake together"
        )
        compare(returned(function(labels, scores, limit)), expected, hint)
