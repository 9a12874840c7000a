"""Check answers by the number of their exercise: ``check("04.1", margin)``.

The wanted values stay in the package. A wrong answer is one line with a hint, never the answer and
never a traceback; right answers are counted for the lesson.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .checks import data, results

CHECKS = {
    "00.1": "data.check_gain",
    "00.2": "data.check_largest_step",
    "00.3": "data.check_fall",
    "01.1": "data.check_share_of_fakes",
    "01.2": "data.check_most_useful",
    "01.3": "data.check_crossing",
    "02.1": "data.check_wide_margin",
    "02.2": "data.check_cut_out",
    "02.3": "data.check_window",
    "02.4": "data.check_over_the_edge",
    "03.1": "data.check_per_video",
    "03.2": "data.check_level",
    "03.3": "data.check_two_reals_per_fake",
    "03.4": "data.check_deciding",
    "03b.1": "losses.check_hidden_patches",
    "03b.2": "losses.check_patches_with",
    "03b.3": "losses.check_hidden_whole",
    "04.1": "losses.check_margin",
    "04.2": "losses.check_triplet_loss",
    "04.3": "losses.check_valid_triplets",
    "04.4": "losses.check_batch_all",
    "04.5": "losses.check_semi_hard",
    "04.6": "losses.check_semi_hard_row",
    "05.1": "data.check_rates",
    "05.2": "data.check_weight",
    "05.3": "data.check_kept_epoch",
    "05b.1": "data.check_blended_pixel",
    "05b.2": "data.check_blend",
    "05b.3": "data.check_uphill",
    "06.1": "data.check_real_leads_and_fakes_win",
    "06.2": "data.check_auc",
    "06.3": "data.check_best_threshold",
    "07.1": "data.check_count_of_differences",
    "07.2": "data.check_interval_of_difference",
    "07.3": "data.check_sentence",
    "08.1": "data.check_purity",
    "08.2": "data.check_scale",
    "08.3": "data.check_ratio",
    "09.1": "losses.check_lnclip_parameters",
    "09.2": "losses.check_alignment",
    "09.3": "losses.check_slerp",
    "09.4": "losses.check_collapse",
    "10.1": "data.check_rare_fakes",
    "10.2": "data.check_scaled",
    "10.3": "data.check_highest_rate",
    "11.1": "results.check_gap",
    "11.2": "results.check_verdict",
    "11.3": "results.check_accused",
    "11.4": "results.check_half_of_flagged",
    "12.1": "data.check_dense_inputs",
    "12.2": "data.check_p_fake",
    "12.3": "data.check_as_input",
    "12.4": "data.check_found",
}
"""Exercise -> its check, called with the answer and the data that the answer is about.

A function of a module of ``checks``: ``losses`` loads PyTorch, which the others do not need.
"""

_right: set[str] = set()  # exercises solved in this session


class NotYet(AssertionError):
    """An answer that is not right yet; notebooks show its message as one line."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def check(exercise: str, answer: Any, *about: Any) -> None:
    """Print *right* and the tally of the lesson, or raise :class:`NotYet` with a hint.

    ``about``: what the answer was computed from, if the check needs it. Raises ``KeyError`` for an
    unknown exercise.
    """
    _right.discard(exercise)
    try:
        find_check(exercise)(answer, *about)
    except AssertionError as error:
        raise NotYet(str(error)) from None
    _right.add(exercise)
    print(f"right: {_count(_lesson(exercise))}")


def find_check(exercise: str) -> Callable[..., None]:
    """Return the check of an exercise; ``KeyError`` for an unknown one."""
    module, _, name = CHECKS[exercise].partition(".")
    if module == "losses":
        from .checks import losses  # loads PyTorch

        return getattr(losses, name)
    return getattr({"data": data, "results": results}[module], name)


def demand(exercise: str) -> None:
    """Raise :class:`NotYet` unless an earlier exercise is solved that the next cell needs."""
    if exercise not in _right:
        raise NotYet(f"first solve exercise {exercise}: this cell uses its answer")


def tally(lesson: str) -> None:
    """Print how many exercises of a lesson are right and which are open."""
    still_open = [name for name in _exercises(lesson) if name not in _right]
    print(_count(lesson) + (f"; open: {', '.join(still_open)}" if still_open else ""))


def _count(lesson: str) -> str:
    exercises = _exercises(lesson)
    return f"{len(_right.intersection(exercises))} of {len(exercises)} exercises of {lesson}"


def _exercises(lesson: str) -> list[str]:
    return [name for name in CHECKS if _lesson(name) == lesson]


def _lesson(exercise: str) -> str:
    return exercise.partition(".")[0]
