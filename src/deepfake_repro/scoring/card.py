"""The model card: what a trained model is, from what it learned, what was measured, what it is not for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..project.vocabulary import SETS
from .calibration import summary
from .model import Model


def card(known: Model) -> str:
    """The model card, Markdown: what it is, from what it learned, what was measured, what it is not for."""
    facts, rows = (
        known.facts,
        [line for part in (_inputs(known.facts), _training(known)) for line in part],
    )
    measured = (
        summary(known.calibration)
        if known.calibration
        else "No calibration is stored with these weights.\n"
    )
    demo = (
        "\n**Trained on the demo alone**: synthetic people and home-made manipulations. It knows nothing of real "
        "deepfakes.\n"
        if known.of_miniatures
        else ""
    )
    return (
        f"# Model card: {facts['architecture']}, {len(facts['classes'])} classes\n{demo}\n"
        "Scores face crops for traces of manipulation (Mylonas & Papadopoulos 2025; code: deepfake-repro, "
        "Apache-2.0; weights inherit the licences of their start and corpora).\n\n| | |\n| --- | --- |\n"
        + "".join(f"| {name} | {value} |\n" for name, value in rows)
        + f"\n## Error rates\n\n{measured}\n## Test results\n\n{_tests(known)}\n## Use\n\n"
        "For research and teaching, and as one hint among others. A score is no proof: manipulations, codecs and "
        "people unlike the training corpora give wrong scores without notice. Not for decisions about persons.\n"
    )


def _inputs(facts: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [
        (
            "input",
            f"RGB crop of a face (box + 30 %), {facts['input_size']} × {facts['input_size']} pixels, views "
            f"`{facts['views']}`",
        ),
        (
            "normalisation",
            f"mean {facts['mean']}, standard deviation {facts['std']} on a 0–1 scale",
        ),
        ("classes", f"{', '.join(facts['classes'])}; P(fake) is the sum of all but the first"),
    ]


def _training(known: Model) -> list[tuple[str, object]]:
    """What is known of the training, from manifest and provenance."""
    beside = known.folder / "provenance.json"
    card = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    return [
        ("weights, sha256", f"`{known.digest}`"),
        ("trained by profile", known.profile or "unknown"),
        ("variant", json.dumps(known.facts.get("variant", "unknown"))),
        ("seed", card.get("seed", "unknown")),
        ("commit", card.get("commit", "unknown")),
        *(
            (f"data `{name}`, sha256", f"`{digest}`")
            for name, digest in card.get("data", {}).items()
        ),
    ]


def _tests(known: Model) -> str:
    """AUC and balanced accuracy of the run in ``results/<profile>/runs``, where it is."""
    scores = known.folder.parents[1] / "runs" / known.folder.name / "scores.json"
    if not scores.is_file():
        return "None beside these weights.\n"
    row = json.loads(scores.read_text(encoding="utf-8"))
    lines = [
        f"| {name} | {row['auc'][name]} | {row['bacc'][name]} |"
        for name in SETS
        if name in row["auc"]
    ]
    return (
        "\n".join(
            [
                "| test set | AUC (%) | balanced accuracy at 0.5 (%) |",
                "| --- | ---: | ---: |",
                *lines,
            ]
        )
        + "\n"
    )
