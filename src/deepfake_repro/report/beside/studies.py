"""The page of the side studies: what each asks, which values its options have, what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ...project.layout import Layout
from ...project.params import Study, load
from ...project.vocabulary import MISSING, ROW_NAMES
from ..scores import read_scores
from ..tables import markdown

INTRODUCTION = """# Side studies

A study runs the same pipeline with other values of `params.yaml` (block `studies`), for some rows
and seeds: `make studies`. `<study>/<option>/<row>-<seed>/` contains the scores and the history of
one run, `<study>/study.json` what it was made from. The option `default` changes nothing. The
[decisions ledger](../demo/report/decisions.md) compares the other options with it. Cells are AUC
/ balanced accuracy in percent, means over seeds; ± is the standard deviation of the AUC over
seeds. The profile `demo` is a small network on synthetic people, `open` one on photographs with
one kind of forgery: neither is the papers' experiment.
"""
CURVE = "curve.csv"


def write_studies_page(base: Path) -> Path:
    """Write ``results/studies/README.md`` from the studies' results and return its path."""
    page = base / "results" / "studies" / "README.md"
    page.write_text(studies_page(base), encoding="utf-8")
    return page


def studies_page(base: Path) -> str:
    """Write all studies of ``params.yaml`` below ``base`` as Markdown."""
    params = load(base / "params.yaml")
    sections = [
        _section(base / "results" / "studies" / name, study, params.profile(study.profile).layout)
        for name, study in params.studies.items()
    ]
    return "\n".join([INTRODUCTION, *sections])


def _section(folder: Path, study: Study, layout: Layout) -> str:
    seeds = ("seeds " if len(study.seeds) > 1 else "seed ") + ", ".join(map(str, study.seeds))
    lines = [
        f"## {study.question}",
        "",
        f"`{folder.name}`, profile `{study.profile}`, {seeds}:",
        "",
        *(f"* `{option}`: {_values(values)}" for option, values in study.options.items()),
        "",
    ]
    options = [option for option in study.options if (folder / option).is_dir()]
    if not options:
        return "\n".join([*lines, "Not run.", ""])
    read = _curves if (folder / options[0] / CURVE).is_file() else _scores
    return "\n".join([*lines, markdown(read(folder, options, layout), ROW_NAMES)])


def _values(values: Mapping[str, Any]) -> str:
    """Write the values that an option replaces, as in ``params.yaml``."""
    changed = "; ".join(f"`{key}: {json.dumps(value)}`" for key, value in values.items())
    return changed or "as in `params.yaml`"


def _scores(folder: Path, options: list[str], layout: Layout) -> pd.DataFrame:
    """Make a table with one line per option and row, one column per scenario."""
    lines = [
        {"option": option, "row": row}
        | {name: _cell(scores, key) for key, name in layout.scenarios.items()}
        for option in options
        for row, scores in read_scores(folder / option).items()
    ]
    return pd.DataFrame(lines)


def _cell(scores: Mapping[str, Any], key: str) -> str:
    """Format AUC with its spread and balanced accuracy; a dash for a scenario that did not run."""
    if key not in scores["auc"]:
        return MISSING
    auc = f"{scores['auc'][key]:.1f}"
    if "sd" in scores:
        auc += f" ± {scores['sd']['auc'][key]:.1f}"
    return f"{auc} / {scores['bacc'][key]:.1f}"


def _curves(folder: Path, options: list[str], layout: Layout) -> pd.DataFrame:
    """Make a table with one line per option and start, one column per method and number."""
    tables = [pd.read_csv(folder / option / CURVE).assign(option=option) for option in options]
    table = pd.concat(tables)
    table["method"] = table["method"] + ", " + table["pictures"].astype(str) + " pictures"
    means = table.pivot_table("auc", ["option", "start"], "method", sort=False)
    return means.reset_index().rename(columns={"start": "row"})
