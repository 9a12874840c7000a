"""What several detectors say about one file, and whether they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..crops.store import Row
from .calibration import leaning
from .inputs import printable
from .model import Model
from .score import Scored


@dataclass(frozen=True)
class Result:
    """What one detector says about a file."""

    scored: Scored
    model: Model

    @property
    def detector(self) -> str:
        """The detector's name on one line."""
        return printable(self.model.recipe.name)

    @property
    def leaning(self) -> str:
        """On which side of the thresholds the score is; empty without a verdict."""
        scored = self.scored
        if scored.p_fake is None or scored.no_verdict or self.model.calibration is None:
            return ""
        return leaning(scored.p_fake, self.model.calibration)


@dataclass(frozen=True)
class FileResults:
    """Everything that the page of one file shows.

    ``results``: one per detector; ``signals``: (what, text) that the file says about itself;
    ``stress``: one record per change of the clip; ``links``: file beside the page by its label.
    """

    results: Sequence[Result]
    signals: Sequence[tuple[str, str]] = ()
    stress: Sequence[Row] = ()
    links: dict[str, str] = field(default_factory=dict)

    @property
    def agreement(self) -> str:
        """Say whether the detectors agree; empty if there is only one."""
        return agreement(self.results)


def agreement(results: Sequence[Result]) -> str:
    """Say whether those detectors agree that give a verdict; empty for one detector.

    Scores of different detectors are not on one scale, so only the sides of their own thresholds
    are compared.
    """
    if len(results) < 2:
        return ""
    sides = [result.leaning for result in results]
    given = [side for side in sides if side]
    silent = len(results) - len(given)
    if not given:
        return (
            f"No agreement can be stated: none of the {len(results)} detectors gives a verdict on "
            "this file, and their scores are not on one scale."
        )
    rest = f" {silent} of {len(results)} detectors give no verdict." if silent else ""
    if len(given) > 1 and len(set(given)) == 1:
        return f"The {len(given)} detectors with a verdict agree: {given[0]}.{rest}"
    head = "Only one detector gives a verdict." if len(given) == 1 else "The detectors disagree."
    each = "; ".join(
        f"{result.detector}: {side}" for result, side in zip(results, sides, strict=True) if side
    )
    return f"{head} {each}.{rest}"
