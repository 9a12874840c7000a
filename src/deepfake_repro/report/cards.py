"""Report card of a run: what was trained on what, and what came of it, as Markdown (Section 5).

Cards in git hold what the same inputs give again. What a run took (seconds, memory, energy,
machine, commit) differs each time: it stays in ``provenance.json`` and is printed by ``python -m
deepfake_repro card``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..project.paths import profile_paths
from ..project.vocabulary import METRIC_NAMES, MISSING, ROW_NAMES, SCENARIOS

_MEASURED = {
    "commit": "commit",
    "dirty": "uncommitted changes",
    "started": "started",
    "seconds": "seconds",
    "peak_memory_mib": "peak memory (MiB)",
    "speed": "speed of training",
    "energy_joules": "energy (J)",
    "hardware": "hardware",
    "versions": "versions",
}


def card(run: str, scores: Mapping, facts: Mapping, measured: bool = False) -> str:
    """Markdown of one run, a section with one table.

    ``run``: ``<row>-<seed>``; ``scores``, ``facts``: content of its ``scores.json`` and ``provenance.json``;
    ``measured`` adds what the run took. What an older record does not hold is a dash.
    """
    row, _, seed = run.rpartition("-")
    lines = [
        (
            f"{name}, AUC / bACC (%)",
            " / ".join(str(scores[metric].get(key, MISSING)) for metric in METRIC_NAMES),
        )
        for key, name in SCENARIOS.items()
    ]
    lines += [
        (f"videos {kind}", sum(scores["videos"][kind].values())) for kind in ("scored", "unscored")
    ]
    lines += [(name.replace("_", " "), value) for name, value in facts["params"].items()]
    lines += [
        (name, f"`{digest[:16]}`")
        for name, digest in {"environment lock": facts["environment_lock"], **facts["data"]}.items()
    ]
    if measured:
        lines += [(name, facts.get(key)) for key, name in _MEASURED.items()]
    table = [f"| {name} | {_text(value)} |" for name, value in lines]
    return "\n".join(
        [
            f"## {ROW_NAMES.get(row, row)}, seed {seed}",
            "",
            f"| `{run}` | |",
            "| --- | --- |",
            *table,
            "",
        ]
    )


def run_card(profile: str, variant: str, seed: int) -> str:
    """The whole card of one run in git; ``FileNotFoundError`` names a run that is not there."""
    folder = profile_paths(profile).runs / f"{variant}-{seed}"
    if not (folder / "scores.json").is_file():
        raise FileNotFoundError(
            f"no scores.json in {folder}: run dvc repro score@{profile}-{variant}-{seed} first"
        )
    return card(folder.name, *_records(folder), measured=True)


def cards(runs: Path) -> str:
    """The cards of all runs below ``runs``, in Table 3's order."""
    order = list(ROW_NAMES)
    folders = sorted(
        (path.parent for path in runs.glob("*/scores.json")),
        key=lambda path: (order.index(path.name.rpartition("-")[0]), path.name),
    )
    link = "When, where, how long: [provenance.json](../runs/{}/provenance.json).\n"
    sections = [
        f"{card(folder.name, *_records(folder))}\n{link.format(folder.name)}" for folder in folders
    ]
    return "# Report cards\n\nsha256 digests are cut to 16 digits.\n\n" + "\n".join(sections)


def _records(folder: Path) -> tuple[dict, dict]:
    return tuple(
        json.loads((folder / f"{name}.json").read_text()) for name in ("scores", "provenance")
    )


def _text(value: object) -> str:
    """A value as one cell: nested keys and lists joined by commas."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return MISSING if value is None or value == "" else str(value)
