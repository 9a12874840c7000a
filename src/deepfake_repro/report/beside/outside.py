"""Rows of outside detectors, as the stage ``evaluate`` wrote them, beside those of Table 3."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ...evaluation import statistics
from ...project.layout import PAPER, Layout
from ...project.params import read_yaml
from ...project.recipes import Scoring
from ..scores import OUTSIDE, TITLE

DETECTORS = Path("data", "detectors.yaml")
MANIFEST = "detector.json"
"""Written by ``evaluate`` beside the scores; read as it is, because checking it loads PyTorch."""
_MARKUP = r"[\s|*_`<>\[\]\\]+"
"""What a name may not bring into a cell of a table."""


def listed_detectors(base: Path) -> list[str]:
    """Read the names of the outside detectors; ``ValueError`` names a wrong line."""
    content = read_yaml(base / DETECTORS)
    entries = content.get("detectors") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ValueError(
            f"{DETECTORS}: missing key 'detectors' with lines '- {{name: …, folder: …}}'"
        )
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != {"name", "folder"}:
            raise ValueError(f"{DETECTORS}: {entry!r} must have the keys name and folder")
    return [entry["name"] for entry in entries]


def read_outside(folder: Path, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Read the rows ``names`` of ``folder``, ``results/<profile>/outside``, by ``outside/<name>``.

    Each is the content of its ``scores.json`` with the detector's ``title`` and ``manifest``. A
    detector that was not evaluated is left out.
    """
    rows = {}
    for name in names:
        scores = folder / name / "scores.json"
        if scores.is_file():
            manifest = json.loads((scores.parent / MANIFEST).read_text(encoding="utf-8"))
            rows[OUTSIDE + name] = {
                **json.loads(scores.read_text(encoding="utf-8")),
                TITLE: re.sub(_MARKUP, " ", manifest["name"]).strip() or name,
                MANIFEST: manifest,
            }
    return rows


def with_intervals(
    intervals: pd.DataFrame,
    folder: Path,
    rows: Collection[str],
    scoring: Scoring,
    layout: Layout = PAPER,
) -> pd.DataFrame:
    """Add the 95 % intervals of the outside ``rows`` to those of ours.

    Each is over the videos that the detector has scored, which need not be all.
    """
    tables = [intervals]
    for key in rows:
        videos = pd.read_csv(folder / key.removeprefix(OUTSIDE) / "videos.csv")
        draws = statistics.paired_bootstrap(
            {f"{key}-0": videos}, scoring.bootstrap, 0, scoring.threshold, layout
        )
        tables.append(statistics.intervals(draws, layout.sets))
    return pd.concat(tables, ignore_index=True) if rows else intervals


def with_comparisons(
    comparisons: pd.DataFrame, folder: Path, rows: Collection[str]
) -> pd.DataFrame:
    """Add the paired differences of the outside ``rows`` and ours, which the stage computed."""
    tables = [comparisons]
    for key in rows:
        paired = pd.read_csv(folder / key.removeprefix(OUTSIDE) / "comparisons.csv")
        paired = paired.assign(first=key, published=float("nan"))
        tables.append(paired[list(comparisons)])
    return pd.concat(tables, ignore_index=True) if rows else comparisons


def outside_notes(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say of each outside row what it is; the claims of the papers are not about it."""
    return [_note(row) for row in rows.values()]


def _note(row: Mapping[str, Any]) -> str:
    manifest = row[MANIFEST]
    facts = {
        "trained on": manifest.get("trained_on") or "unknown data",
        "licence of the weights:": manifest["weights"].get("licence") or "unknown",
        "score of a video:": manifest.get("aggregation", "mean"),
        "paper:": manifest.get("paper", ""),
    }
    words = [re.sub(_MARKUP, " ", f"{name} {text}") for name, text in facts.items() if text]
    return (
        f"*{row[TITLE]}, outside* is a detector from outside, scored on the same crops: "
        f"{'; '.join(words)}. Its paired differences from our rows are in comparisons.csv; no "
        "claim of the papers is about it."
    )
