"""Write a model card: inputs, training, error rates, test results and intended use of a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..project.layout import SET_NAMES, Layout
from ..project.params import current
from ..project.vocabulary import MISSING
from ..training.manifest import Manifest
from .calibration import operating_points_table
from .model import Model

CHANCE = 50.0
"""AUC of a coin, in percent."""
MINIATURES = "miniatures"
"""Scenario of a profile of real faces that is tested on the demo's corpora, too."""

_DEMO_ONLY = """
**Trained on the demo alone**: synthetic people and home-made manipulations. It knows nothing of \
real deepfakes.
"""
_CARD = """# Model card: {architecture}, {classes} classes
{demo_only}
Scores face crops for traces of manipulation (Mylonas & Papadopoulos 2025; code: deepfake-repro, \
Apache-2.0; weights inherit the licences of their initial weights and corpora).

| | |
| --- | --- |
{rows}
## Error rates

{error_rates}
## Test results

{test_results}
## Use

For research and teaching, and as one indication among others. A score is not a proof: \
manipulations, codecs and people unlike those of the training corpora give wrong scores without \
notice. Not for decisions about persons.
"""


def model_card(model: Model) -> str:
    """Write the model card as Markdown."""
    manifest = model.manifest
    if manifest is None:
        return _card_of_others(model)
    rows = [*_input_rows(manifest), *_training_rows(model)]
    if model.calibration:
        error_rates = operating_points_table(model.calibration)
    else:
        error_rates = "No calibration is stored with these weights.\n"
    return _CARD.format(
        architecture=manifest.architecture,
        classes=len(manifest.classes),
        demo_only=_DEMO_ONLY if model.of_miniatures else "",
        rows="".join(f"| {name} | {value} |\n" for name, value in rows),
        error_rates=error_rates,
        test_results=_test_results(model),
    )


def _card_of_others(model: Model) -> str:
    """Describe a detector that this pipeline did not train: its manifest, word for word."""
    recipe = json.dumps(model.recipe.as_json(), indent=2)
    return (
        f"# Model card: {model.recipe.name}\n\nWeights, sha256: `{model.digest}`\n\n"
        f"```json\n{recipe}\n```\n"
    )


def _input_rows(manifest: Manifest) -> list[tuple[str, str]]:
    size = manifest.input_size
    crop = f"RGB crop of a face (box + 30 %), {size} × {size} pixels, views `{manifest.views}`"
    mean = list(manifest.mean)
    std = list(manifest.std)
    return [
        ("input", crop),
        ("normalisation", f"mean {mean}, standard deviation {std} on a 0–1 scale"),
        ("classes", f"{', '.join(manifest.classes)}; P(fake) is the sum of all but the first"),
    ]


def _training_rows(model: Model) -> list[tuple[str, object]]:
    """Describe the training, from manifest and provenance."""
    assert model.manifest is not None
    path = model.folder / "provenance.json"
    provenance = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    data = provenance.get("data", {})
    return [
        ("weights, sha256", f"`{model.digest}`"),
        ("trained by profile", model.profile or "unknown"),
        ("variant", json.dumps(model.manifest.variant or "unknown")),
        ("seed", provenance.get("seed", "unknown")),
        ("commit", provenance.get("commit", "unknown")),
        *((f"data `{name}`, sha256", f"`{digest}`") for name, digest in data.items()),
    ]


def _test_results(model: Model) -> str:
    """Tabulate AUC and balanced accuracy of the run in ``results/<profile>/runs``, if any."""
    scores = _scores(model)
    if not scores:
        return "None stored with these weights.\n"
    lines = [
        "| test set | AUC (%) | balanced accuracy at 0.5 (%) |",
        "| --- | ---: | ---: |",
    ]
    for name, area in scores["auc"].items():
        lines.append(f"| {name} | {area} | {scores['bacc'][name]} |")
    return "\n".join(lines) + "\n"


def _scores(model: Model) -> Mapping[str, Any]:
    """Read ``scores.json`` of a row of the pipeline; empty if there is none."""
    folder = model.folder.absolute()
    path = folder.parents[1] / "runs" / folder.name / "scores.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def describe_tests(model: Model) -> list[tuple[str, str]]:
    """Say how a row of the pipeline did on its test sets: (scenario, numbers), none if unknown.

    The first scenario is what it was trained for; the others say how it does elsewhere. A scenario
    whose interval reaches 50 % is named as chance.
    """
    scores = _scores(model)
    if not scores or model.profile not in current().profiles:
        return []
    layout = current().profile(model.profile).layout
    scenarios = [key for key in layout.table if key in scores["auc"]]
    return [(layout.scenarios[key], _numbers(model, scores, layout, key)) for key in scenarios]


def _numbers(model: Model, scores: Mapping[str, Any], layout: Layout, key: str) -> str:
    """Write the AUC of one scenario with its interval, and what it was measured on."""
    sets = layout.table[key]
    names = ", ".join(SET_NAMES.get(name, name) for name in sets)
    made = "miniatures of " if model.of_miniatures or key == MINIATURES else ""
    files = sum(scores["videos"]["scored"].get(name, 0) for name in sets)
    area = scores["auc"][key]
    low, high = _interval(model, key) or (area, area)
    if not low <= area <= high:  # of the mean over seeds, and this seed is far from it
        low = high = area
    within = f" [{low:.0f}–{high:.0f}]" if low < high else ""
    chance = "; that is no better than chance" if low <= CHANCE else ""
    return (
        f"{made}{names}, {files} files: AUC {area:.1f} %{within}, balanced accuracy "
        f"{scores['bacc'][key]:.1f} % at 0.5{chance}"
    )


def _interval(model: Model, key: str) -> tuple[float, float] | None:
    """Read the 95 % interval of a row's AUC from its profile's report; None if it is not there."""
    path = model.folder.absolute().parents[1] / "report" / "intervals.csv"
    if not path.is_file():
        return None
    table = pd.read_csv(path, na_values=MISSING)
    cell = table[
        (table["row"] == model.folder.name.rpartition("-")[0])
        & (table["metric"] == "auc")
        & (table["set"] == key)
    ]
    return (cell["low"].item(), cell["high"].item()) if len(cell) == 1 else None
