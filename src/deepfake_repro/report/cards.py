"""Report card of a run as Markdown: its data, parameters and results (Section 5).

Cards in git contain only what the same inputs reproduce. What differs each time (seconds, memory,
energy, machine, commit) stays in ``provenance.json`` and is printed by ``python -m deepfake_repro
card``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..evaluation.field_metrics import FIELD_NAMES
from ..project.layout import PAPER, Layout
from ..project.params import load
from ..project.paths import profile_paths
from ..project.vocabulary import METRIC_NAMES, MISSING
from .drawing.palette import row_name, row_names

LONG = 100
"""Characters from which on a block of parameters has a table of its own."""
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


def card(
    run: str,
    scores: Mapping,
    provenance: Mapping,
    measured: bool = False,
    layout: Layout = PAPER,
) -> str:
    """Format the card of one run as Markdown: a section with a table, long blocks folded below it.

    ``run``: ``<row>-<seed>``; ``scores``, ``provenance``: content of its ``scores.json`` and
    ``provenance.json``; ``measured`` adds what differs each time. A value that an older record
    lacks is a dash.
    """
    row, _, seed = run.rpartition("-")
    lines: list[tuple[str, object]] = []
    for key, name in layout.scenarios.items():
        values = [str(scores[metric].get(key, MISSING)) for metric in METRIC_NAMES]
        lines.append((f"{name}, AUC / bACC (%)", " / ".join(values)))
        lines += _further(name, key, scores.get("further", {}))
    for kind in ("scored", "unscored"):
        lines.append((f"videos {kind}", sum(scores["videos"][kind].values())))
    params = {name.replace("_", " "): value for name, value in provenance["params"].items()}
    blocks = {
        name: list(_leaves(value))
        for name, value in params.items()
        if isinstance(value, Mapping) and len(_text(value)) > LONG
    }
    lines += [(name, value) for name, value in params.items() if name not in blocks]
    digests = {"environment lock": provenance["environment_lock"], **provenance["data"]}
    lines += [(name, f"`{digest[:16]}`") for name, digest in digests.items()]
    if measured:
        lines += [(name, provenance.get(key)) for key, name in _MEASURED.items()]
    title = f"## {row_name(row)}, seed {seed}"
    parts = [_table(f"`{run}`", lines)]
    parts += [_folded(name, values) for name, values in blocks.items()]
    return "\n".join([title, "", *parts])


def _table(title: str, lines: Iterable[tuple[str, object]]) -> str:
    """Format names and values as a Markdown table of two columns."""
    table = [f"| {name} | {_text(value)} |" for name, value in lines]
    return "\n".join([f"| {title} | |", "| --- | --- |", *table, ""])


def _folded(name: str, lines: Sequence[tuple[str, object]]) -> str:
    """Format a block of parameters as a table that is folded away."""
    head = f"<details><summary>{name}: {len(lines)} values</summary>"
    return "\n".join([head, "", _table(name, lines), "</details>", ""])


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values of a nested block, each with its dotted name."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{name}.{key}" if name else key)


def run_card(profile: str, variant: str, seed: int) -> str:
    """Format the whole card of one run in git; ``FileNotFoundError`` if it has no scores."""
    folder = profile_paths(profile).runs / f"{variant}-{seed}"
    if not (folder / "scores.json").is_file():
        raise FileNotFoundError(
            f"no scores.json in {folder}: run dvc repro score@{profile}-{variant}-{seed} first"
        )
    layout = load().profile(profile).layout
    return card(folder.name, *_records(folder), measured=True, layout=layout)


def cards(runs: Path, names: Collection[str] | None = None, layout: Layout = PAPER) -> str:
    """Format the cards of the runs ``names`` below ``runs`` (default: all), by row, then seed."""
    order = list(row_names())
    folders = sorted(
        (
            path.parent
            for path in runs.glob("*/scores.json")
            if names is None or path.parent.name in names
        ),
        key=lambda path: (order.index(path.name.rpartition("-")[0]), path.name),
    )
    link = "When, where, how long: [provenance.json](../runs/{}/provenance.json).\n"
    sections = [
        f"{card(folder.name, *_records(folder), layout=layout)}\n{link.format(folder.name)}"
        for folder in folders
    ]
    return "# Report cards\n\nsha256 digests are cut to 16 digits.\n\n" + "\n".join(sections)


def _further(name: str, key: str, further: Mapping[str, Mapping]) -> list[tuple[str, object]]:
    """Format the metrics of ``FIELD_NAMES`` of one scenario; none for an older record."""
    values = {
        title: further[metric].get(key)
        for metric, title in FIELD_NAMES.items()
        if metric in further
    }
    if not values:
        return []
    return [(f"{name}, {' / '.join(values)} (%)", " / ".join(map(_text, values.values())))]


def _records(folder: Path) -> tuple[dict, dict]:
    scores = json.loads((folder / "scores.json").read_text())
    provenance = json.loads((folder / "provenance.json").read_text())
    return scores, provenance


def _text(value: object) -> str:
    """Format a value as one cell; nested keys and lists are joined by commas."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return MISSING if value is None or value == "" else str(value)
