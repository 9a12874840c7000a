"""How far a score moves when the clip is saved at a lower rate, halved, letterboxed or mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ...crops.store import Row
from ..inputs import opened, printable
from ..model import Model
from ..score import Limits, score_video
from .guarded import guarded
from .writing import CHANGES, save_changed, save_changed_picture

SECONDS = 30.0
"""Of a clip that are changed and scored again."""
CONTROL = "saved again"


def stress(path: Path, models: Sequence[Model], limits: Limits, scratch: Path) -> list[Row]:
    """Score changed copies of a clip or photograph by each model.

    One record per change: ``change``, ``words``, ``p_fake`` and ``shift`` (each with one value per
    model, None without a face), ``problem``. The shift is from the copy saved again almost without
    loss, so that it shows the change and not the copying.
    """
    rows: list[Row] = []
    with TemporaryDirectory(prefix=".stress-", dir=scratch) as folder:
        for name, change in CHANGES.items():
            row: Row = {"change": name, "words": change.words, "problem": ""}
            try:
                copy = _copy(path, Path(folder), name, limits)
                scores = [score_video(copy, model, limits, scratch).p_fake for model in models]
            except ValueError as error:
                row["problem"] = printable(str(error))
                scores = [None] * len(models)
            control = rows[0]["p_fake"] if rows else scores
            shifts = [_difference(*pair) for pair in zip(scores, control, strict=True)]
            rows.append({**row, "p_fake": scores, "shift": shifts})
    return rows


def _copy(path: Path, folder: Path, change: str, limits: Limits) -> Path:
    """Write the changed copy of ``path`` into ``folder``."""
    stem = change.replace(" ", "_")
    with opened(path, folder) as (row, root):
        if row["kind"] == "video":
            copy = folder / f"{stem}.mp4"
            guarded(limits.seconds, save_changed, root, row["path"], copy, change, SECONDS)
        else:
            copy = folder / f"{stem}{'.jpg' if change == 'lower rate' else '.png'}"
            guarded(limits.seconds, save_changed_picture, root, row["video_id"], copy, change)
    return copy


def _difference(score: float | None, control: float | None) -> float | None:
    return None if score is None or control is None else score - control
