"""Exercises: the wanted values stay in the package, and every common mistake has its hint."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from deepfake_repro.methods.fsfm.masks import GROUPS
from deepfake_repro.teaching import exercises
from deepfake_repro.teaching.checks import data as data_checks
from deepfake_repro.teaching.checks import losses as loss_checks
from deepfake_repro.teaching.checks import results as result_checks
from deepfake_repro.teaching.checks.comparing import compare
from deepfake_repro.training import losses

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
EXERCISES = sorted((NOTEBOOKS / "exercises").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def _nothing_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exercises, "_right", set())


def calls(path: Path, name: str) -> Iterator[ast.Call]:
    """Yield the calls ``exercises.<name>(…)`` of a notebook."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == f"exercises.{name}":
                    yield node


def test_each_check_belongs_to_one_exercise_of_its_lesson() -> None:
    asked = [
        (path.stem.partition("_")[0], ast.literal_eval(call.args[0]))
        for path in EXERCISES
        for call in calls(path, "check")
    ]
    assert [exercise for _, exercise in asked] == list(exercises.CHECKS)
    assert all(exercise.startswith(f"{lesson}.") for lesson, exercise in asked)


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_no_exercise_shows_a_wanted_value(path: Path) -> None:
    """A check is called with the number of its exercise and with names, never with a value."""
    for call in calls(path, "check"):
        assert not call.keywords
        assert all(re.fullmatch(r"[\w.]+", ast.unparse(value)) for value in call.args[1:])
    (tally,) = calls(path, "tally")
    assert ast.literal_eval(tally.args[0]) == path.stem.partition("_")[0]


def test_compare_accepts_the_answer_and_hints_at_everything_else() -> None:
    for answer, wanted in (
        (0.5, 0.50001),
        (np.ones(3), np.ones(3)),
        ({"a"}, {"a"}),
        (np.int64(3), 3),
    ):
        compare(answer, wanted, "a hint")
    for answer, wanted in (
        (0.5, 0.6),
        (np.ones(2), np.ones(3)),
        ({"a"}, {"b"}),
        (None, 3),
        ("3", 3),
    ):
        with pytest.raises(AssertionError, match="not yet: a hint"):
            compare(answer, wanted, "a hint")
    with pytest.raises(AssertionError, match="no answer yet"):
        compare(..., 3, "a hint")


def test_right_answers_are_counted_until_they_are_wrong_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def loss(d_ap: float, d_an: float, margin: float) -> float:
        return max(d_ap - d_an + margin, 0)

    exercises.check("04.2", loss)
    assert capsys.readouterr().out == "right: 1 of 6 exercises of 04\n"
    exercises.demand("04.2")
    with pytest.raises(exercises.NotYet, match="never below 0"):
        exercises.check("04.2", lambda d_ap, d_an, margin: d_ap - d_an + margin)
    with pytest.raises(exercises.NotYet, match=r"first solve exercise 04\.2"):
        exercises.demand("04.2")
    exercises.check("04.2", loss)
    capsys.readouterr()
    exercises.tally("04")
    expected = "1 of 6 exercises of 04; open: 04.1, 04.3, 04.4, 04.5, 04.6\n"
    assert capsys.readouterr().out == expected


def test_a_notebook_shows_one_line_instead_of_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = "from deepfake_repro.teaching import exercises; exercises.check('03.1', 7)"
    result = InteractiveShell.instance().run_cell(code)
    assert isinstance(result.error_in_exec, exercises.NotYet), "so that Papermill notices"
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["not yet: how many fake crops are wanted in all, and who shares them?"]


def test_data_of_the_student_are_the_data_of_the_check() -> None:
    index = pd.DataFrame({"split": ["train", "train", "train", "test"], "label": [0, 1, 1, 0]})
    exercises.check("01.1", 2 / 3, index)
    with pytest.raises(exercises.NotYet, match="which rows are training videos"):
        exercises.check("01.1", 0.5, index)
    with pytest.raises(exercises.NotYet, match="answer with one of ffpp, celebdf2"):
        exercises.check("01.2", "df40", index)
    differences = pd.DataFrame({"low": [0.1, -2.0, -3.0], "high": [1.0, -1.0, 2.0]})
    exercises.check("07.1", 2, differences)
    labels, scores = np.array([0, 0, 1]), np.array([0.6, 0.7, 0.8])
    exercises.check("06.3", 0.8, labels, scores)
    with pytest.raises(exercises.NotYet, match=r"yours reaches 0\.750"):
        exercises.check("06.3", 0.7, labels, scores)


def mean_over_all(embeddings: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """The most common mistake: the mean over all valid triplets."""
    share = losses.active_fraction(embeddings, labels, margin)
    return losses.batch_all(embeddings, labels, margin) * share


def semi_hard_and_hard(
    embeddings: torch.Tensor, labels: torch.Tensor, margin: float
) -> torch.Tensor:
    """Active triplets without regard to their kind."""
    return losses.batch_all(embeddings, labels, margin)


def test_mistakes_are_named() -> None:
    with pytest.raises(AssertionError, match="number of valid triplets"):
        loss_checks.check_batch_all(mean_over_all)
    with pytest.raises(AssertionError, match=r"are hard ones .* still included"):
        loss_checks.check_semi_hard(semi_hard_and_hard)
    with pytest.raises(AssertionError, match="never below 0"):
        loss_checks.check_triplet_loss(lambda d_ap, d_an, margin: d_ap - d_an + margin)
    with pytest.raises(AssertionError, match="returns nothing yet"):
        loss_checks.check_batch_all(lambda *_: ...)


def flat_level(crops_of_videos: np.ndarray, target: int) -> int:
    """Share equally, as if no video were short."""
    return max(1, target // len(crops_of_videos))


def test_mistakes_in_the_exercises_on_data_are_named() -> None:
    with pytest.raises(AssertionError, match="half of the growth"):
        data_checks.check_window(
            lambda x0, y0, x1, y1, m: (
                x0 - (x1 - x0) * m,
                y0 - (y1 - y0) * m,
                x1 + (x1 - x0) * m,
                y1 + (y1 - y0) * m,
            )
        )
    with pytest.raises(AssertionError, match="its own length"):
        data_checks.check_window(lambda x0, y0, x1, y1, m: (x0 - 15, y0 - 15, x1 + 15, y1 + 15))
    with pytest.raises(AssertionError, match="12 may not be exceeded"):
        data_checks.check_level(flat_level)
    with pytest.raises(AssertionError, match="one visible patch"):
        loss_checks.check_hidden_whole(lambda mask, groups: {"eyes"}, GROUPS)
    with pytest.raises(AssertionError, match="the face has none"):
        loss_checks.check_hidden_whole(
            lambda mask, groups: {
                name
                for name, group in zip(GROUPS, groups, strict=True)
                if mask[group].all() and (group.any() or mask.all())
            },
            GROUPS,
        )


def test_mistakes_in_the_exercises_on_results_are_named() -> None:
    ends = [2.5, 97.5]
    with pytest.raises(AssertionError, match="draw by draw"):
        data_checks.check_interval_of_difference(
            lambda a, b: np.percentile(a, ends) - np.percentile(b, ends)
        )
    with pytest.raises(AssertionError, match=r"percentiles 2\.5 and 97\.5"):
        data_checks.check_interval_of_difference(lambda a, b: np.percentile(b - a, ends))
    with pytest.raises(AssertionError, match="false where forgerynet speaks against it"):
        data_checks.check_sentence("all(auc.fsfm_ba.s > auc.fsfm.s for s in scenarios)")
    with pytest.raises(AssertionError, match="not yet: a claim may not contain"):
        data_checks.check_sentence("print(1)")
    with pytest.raises(AssertionError, match="one point better everywhere"):
        data_checks.check_sentence("auc.fsfm_ba.df40 < auc.fsfm.df40")


def test_mistakes_in_the_exercises_on_claims_and_scores_are_named() -> None:
    with pytest.raises(AssertionError, match="a loss keeps its sign"):
        data_checks.check_largest_step(
            lambda auc, steps, key: max(
                steps, key=lambda name: abs(auc[steps[name][1]][key] - auc[steps[name][0]][key])
            )
        )
    with pytest.raises(AssertionError, match="as many pairs as fakes exist"):
        data_checks.check_fall(lambda reals, fakes: 1 / (reals * fakes))
    with pytest.raises(AssertionError, match="it is the logarithm"):
        data_checks.check_scaled(lambda score, temperature: score / temperature)
    with pytest.raises(AssertionError, match="rule of thumb"):
        data_checks.check_highest_rate(lambda reals: 3 / reals)


def test_mistakes_in_the_exercises_on_self_blended_images_are_named() -> None:
    with pytest.raises(AssertionError, match="where the mask is 1 there should be the source"):
        data_checks.check_blend(
            lambda source, target, mask: mask[..., None] * target + (1 - mask[..., None]) * source
        )
    with pytest.raises(AssertionError, match="add an axis"):
        data_checks.check_blend(lambda source, target, mask: mask * source + (1 - mask) * target)
    with pytest.raises(AssertionError, match="however steep"):
        data_checks.check_uphill(lambda weights, gradient, radius: weights + radius * gradient)
    with pytest.raises(AssertionError, match="downhill"):
        data_checks.check_uphill(
            lambda weights, gradient, radius: weights - radius * gradient / np.linalg.norm(gradient)
        )


def test_mistakes_with_a_detector_of_ones_own_are_named() -> None:
    with pytest.raises(AssertionError, match="that is one channel"):
        data_checks.check_dense_inputs(lambda side: (side // 32) ** 2)
    with pytest.raises(AssertionError, match="class 0 is fake"):
        data_checks.check_p_fake(lambda logits: 1 / (1 + np.exp(logits[:, 0] - logits[:, 1])))
    with pytest.raises(AssertionError, match="still RGB"):
        data_checks.check_as_input(lambda crops: np.stack(crops).transpose(0, 3, 1, 2) / 127.5 - 1)
    with pytest.raises(AssertionError, match=r"the shape is \(2, 4, 5, 3\), not \(2, 3, 4, 5\)"):
        data_checks.check_as_input(lambda crops: np.stack(crops) / 127.5 - 1)
    with pytest.raises(AssertionError, match="6 may be called fake"):
        data_checks.check_found(
            lambda labels, scores, limit: (
                scores[labels == 1] > np.sort(scores[labels == 0])[-1 - int(limit * 10)]
            ).mean()
        )


def test_mistakes_in_the_exercises_on_generalisation_are_named() -> None:
    with pytest.raises(AssertionError, match="a fall counts as positive"):
        result_checks.check_gap(lambda home, elsewhere: (elsewhere - home).mean())
    with pytest.raises(AssertionError, match="seeds .* have to agree"):
        result_checks.check_verdict(
            lambda low, high, by_seed: (
                "holds" if low > 0 else "does not hold" if high < 0 else "cannot be decided"
            )
        )
    with pytest.raises(AssertionError, match="answer one of"):
        result_checks.check_verdict(lambda low, high, by_seed: "yes")
    with pytest.raises(AssertionError, match="then count elsewhere"):
        result_checks.check_accused(
            lambda validation, elsewhere, limit: (
                elsewhere >= np.quantile(elsewhere, 1 - limit)
            ).mean()
        )
    with pytest.raises(AssertionError, match="reals are 1 - share"):
        result_checks.check_half_of_flagged(lambda found, accused: accused / found)


def test_mistakes_on_the_sphere_are_named() -> None:
    with pytest.raises(AssertionError, match="not a pair with itself"):
        loss_checks.check_alignment(
            lambda z, y: losses.distances(z).pow(2)[y[:, None] == y[None]].mean()
        )
    with pytest.raises(AssertionError, match="are pairs of a real and a fake"):
        loss_checks.check_alignment(lambda z, y: torch.pdist(z).pow(2).mean())
    with pytest.raises(AssertionError, match="off the sphere"):
        loss_checks.check_slerp(lambda a, b, t: (1 - t) * a + t * b)
    with pytest.raises(AssertionError, match="equal steps of t"):
        loss_checks.check_slerp(
            lambda a, b, t: torch.nn.functional.normalize((1 - t) * a + t * b, dim=0)
        )
