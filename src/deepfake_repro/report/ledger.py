"""The ledgers as Markdown: claims, decisions, and the map from the paper to the code.

Their content is typed once, in ``results/published/*.yaml``; every number beside it is computed
from ``results/``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ..corpora.adapters import df40, fakeavceleb, ffpp, forgerynet
from ..evaluation.statistics import Replicates
from ..project.layout import PAPER, SET_NAMES, SHORT_TITLES, Layout
from ..project.params import load
from ..project.vocabulary import (
    METRIC_NAMES,
    METRICS,
    MISSING,
    ROW_NAMES,
    SETS,
    SHORT_SCENARIOS,
)
from .claims import (
    FAILS,
    MOST_TIMES,
    ROUNDED,
    UNDECIDED,
    Claim,
    Verdict,
    counts_of,
    draws_table,
    judge,
    point_table,
    triplet_table,
)
from .expressions.language import ROUNDING, Table, cells_of
from .scores import read_scores, read_seeds
from .tables import NO_REPRODUCTION

# Distances of a 3-4-5 triangle: anchor i, positive j, negative k. Any triplet without equal sides
# distinguishes the formulas.
TRIPLET = {"ij": 3.0, "ik": 4.0, "jk": 5.0}
NOT_RUN = "not run"
DEFAULT_OPTION = "default"  # the option of a study that changes nothing
SEED_STUDY = "start_over_seeds"  # how much seeds alone change
SEED_ROW = "fsfm"
OTHER_CELLS = {
    "d.i.j": "D_ij",
    "d.j.k": "D_jk",
    "d.i.k": "D_ik",
    "names.df40.trained": "manipulations of DF40 whose name a training corpus has",
}


@dataclass(frozen=True)
class Decision:
    """A choice that the paper leaves open: what it says, the options and our default.

    ``key`` and ``value``: the key of ``params.yaml`` and its value for ``default``; empty if the
    choice is made in the code, by the function ``where``. ``study``: the side study that compared
    the options.
    """

    question: str
    evidence: str
    options: tuple[str, ...]
    default: str
    key: str = ""
    value: Any = None
    where: str = ""
    study: str = ""


@dataclass(frozen=True)
class Statement:
    """A statement about the method in the paper, and where this repository implements it."""

    statement: str
    section: str
    code: tuple[str, ...]
    notebook: str
    tests: tuple[str, ...]
    keys: tuple[str, ...] = ()


def study_rows(base: Path, study: str) -> dict[str, dict[str, dict]]:
    """Read a side study: option -> row -> means over seeds; empty if it was not run."""
    folders = (base / "results" / "studies" / study).glob("*")
    return {folder.name: read_scores(folder) for folder in sorted(folders) if folder.is_dir()}


def verdicts(
    claims: Iterable[Claim],
    rows: Mapping[str, Mapping],
    base: Path,
    replicates: Replicates | None = None,
    layout: Layout = PAPER,
) -> dict[str, Verdict]:
    """Judge each claim on the rows of a table; without ``replicates`` on printed numbers.

    Printed numbers are exact but for the rounding of their last decimal. A claim about a study is
    judged on the study's results below ``base``, without intervals, but each seed must say the
    same. A claim about a formula, a table of counts or names concerns only the printed text: it is
    checked without ``replicates`` and is a dash with them.
    """
    return {claim.id: _verdict(claim, rows, base, replicates, layout) for claim in claims}


def _verdict(
    claim: Claim,
    rows: Mapping[str, Mapping],
    base: Path,
    replicates: Replicates | None,
    layout: Layout,
) -> Verdict:
    kind, _, study = claim.table.partition(" ")
    if kind in PRINTED:
        return judge(claim, PRINTED[kind](base)) if replicates is None else Verdict(MISSING)
    if kind == "study":
        if replicates is None:
            return Verdict(MISSING)
        options = _only_rows(study_rows(base, study))
        of_seeds = map(_only_rows, read_seeds(base / "results" / "studies" / study))
        return judge(claim, point_table(options), seeds=[*map(point_table, of_seeds)])
    if replicates is None:
        return judge(claim, point_table(rows), half=ROUNDING)
    if kind == "printed":
        return Verdict(MISSING)
    seeds = [point_table(of_seed) for of_seed in replicates.seeds.values()]
    verdict = judge(claim, point_table(rows), draws_table(replicates), seeds)
    return replace(verdict, sources=_sources(claim, replicates, layout))


def _sources(claim: Claim, replicates: Replicates, layout: Layout) -> int:
    """Count the people or source videos of all test sets that a claim asks about, each set once."""
    keys = {key for check in claim.checks for _, _, key in cells_of(check)}
    for name, members in layout.averages.items():
        if name in keys:
            keys = keys - {name} | set(members)
    if "df40" in keys:
        keys -= {"df40_fs", "df40_re"}
    return sum(replicates.sizes[key][-1] for key in keys if key in replicates.sizes)


def shared_names() -> list[str]:
    """List DF40's manipulations whose names a training corpus has too, in their own spelling.

    Names are compared without case, hyphens and spaces; equal names need not be equal methods.
    """
    trained = (*ffpp.METHODS, *fakeavceleb.METHODS, *forgerynet.METHODS.values())
    known = {_letters(name) for name in trained}
    return [name for name in df40.METHODS if _letters(name) in known]


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _counts(base: Path) -> Table:
    """Return cells ``table1.<corpus>.<column>`` of the paper's Table 1."""
    table = pd.read_csv(base / "results" / "published" / "table1.csv", index_col="dataset")
    return lambda name, corpus, column: float(table.at[corpus, column])


def _names(base: Path) -> Table:
    """Return the one cell ``names.df40.trained``: how many names are shared."""
    return lambda kind, corpus, what: float(len(shared_names()))


PRINTED: Mapping[str, Callable[[Path], Table]]
PRINTED = {"distances": lambda base: triplet_table(TRIPLET), "table1": _counts, "names": _names}
"""Tables of the printed text alone, for claims about something else than results."""


def _only_rows(options: Mapping[str, Mapping[str, Mapping]]) -> dict[str, Mapping]:
    """Return option -> scores of the only row of a study; the options stand in for rows."""
    return {option: next(iter(rows.values())) for option, rows in options.items()}


def claims_markdown(
    claims: Sequence[Claim],
    printed: Mapping[str, Verdict],
    ours: Mapping[str, Verdict],
    profile: str,
) -> str:
    """Format the claims ledger: differences in print, then both verdicts, then the expressions."""
    different = [claim for claim in claims if printed[claim.id].word == FAILS]
    lines = [
        "# Claims ledger",
        "",
        f"{len(claims)} sentences, each as expressions over the tables. *Printed*: evaluated on "
        f"the paper's own numbers; {counts_of(printed)}. *{profile}*: on the rows of this profile; "
        f"{counts_of(ours)}.",
        "",
        f"* *{ROUNDED}*: the printed cells contradict the sentence, but not the numbers before "
        "they were rounded.",
        f"* *{UNDECIDED}*: the 95 % interval over people and source videos leaves both open, or "
        "seeds disagree. The number says with how many the interval would exclude one of them, if "
        "all values stayed as they are.",
        "",
        *_caveat(profile),
        *_differences(different, printed),
        "## Every sentence",
        "",
        f"| section | sentence | printed | {profile} |",
        "| --- | --- | --- | --- |",
    ]
    for claim in claims:
        reading = f" *Read as: {claim.reading}.*" if claim.reading else ""
        verdict = _with_number(ours[claim.id])
        sentence = f"{claim.sentence}{reading}"
        lines.append(_row(claim.section, sentence, printed[claim.id].word, verdict))
    return "\n".join([*lines, "", *_expressions(claims)]) + "\n"


def _expressions(claims: Iterable[Claim]) -> Iterator[str]:
    """Yield the lines of a folded list of every claim's checks."""
    yield "<details><summary>What was checked, as expressions</summary>"
    yield ""
    for claim in claims:
        checks = "; ".join(f"`{check}`" for check in claim.checks)
        yield f"* **{claim.id}** ({claim.table}): {checks}"
    yield from ("", "</details>")


def _differences(claims: Sequence[Claim], printed: Mapping[str, Verdict]) -> Iterator[str]:
    """Yield a section with one numbered line per claim that the printed table contradicts."""
    if not claims:
        return
    plural = "s" if len(claims) > 1 else ""
    yield f"## {len(claims)} difference{plural} found while re-typing the table"
    yield ""
    yield "Where a sentence and the printed table differ, both are kept as printed."
    yield ""
    for number, claim in enumerate(claims, start=1):
        reasons = "; ".join(_in_words(reason) for reason in printed[claim.id].reasons)
        note = f" {claim.note}" if claim.note else ""
        sentence = f"“{claim.sentence}”" if claim.quoted else claim.sentence
        yield f"{number}. Section {claim.section}: {sentence} — {reasons}.{note}"
    yield ""


def _in_words(reason: str) -> str:
    """Replace the cells in a reason by the names of metric, row and test set."""

    def named(cell: re.Match) -> str:
        metric, row, key = cell.groups()
        name = f"{METRIC_NAMES[metric].removesuffix(' (%)')} of {ROW_NAMES.get(row, row)}"
        where = SHORT_TITLES.get(key, SET_NAMES.get(key, ""))
        return f"{name} on {where}" if where else name

    for cell, name in OTHER_CELLS.items():
        reason = reason.replace(cell, name)
    return re.sub(rf"\b({'|'.join(METRICS)})\.(\w+)\.(\w+)", named, reason)


def _with_number(verdict: Verdict) -> str:
    """Write our verdict: what is missing, or how many sources would decide."""
    if verdict.word == MISSING and verdict.reasons:
        return f"{MISSING} ({'; '.join(verdict.reasons)})"
    if verdict.word != UNDECIDED:
        return verdict.word
    if verdict.divided:
        return f"{UNDECIDED}: the seeds disagree"
    if verdict.times is None:
        return f"{UNDECIDED}: not with {MOST_TIMES:,} times as many videos"
    if not verdict.sources:
        return f"{UNDECIDED}: it would take {verdict.times:.1f} times as many videos"
    needed = float(f"{verdict.times * verdict.sources:.2g}")
    return (
        f"{UNDECIDED}: it would take about {needed:,.0f} people or source videos "
        f"(here {verdict.sources})"
    )


def effects(base: Path, study: str) -> list[str]:
    """List the effect of each option of a side study by row: option minus default, in points."""
    options = study_rows(base, study)
    default = options.pop(DEFAULT_OPTION, {})
    lines = [
        f"{option}, {ROW_NAMES[row]}: {_change(scores, default[row])}"
        for option, rows in options.items()
        for row, scores in rows.items()
        if row in default
    ]
    return lines or [NOT_RUN]


def spread_over_seeds(base: Path) -> str:
    """Write a sentence on how much seeds alone change one row; empty without two seeds."""
    folder = base / "results" / "studies" / SEED_STUDY / DEFAULT_OPTION
    files = sorted(folder.glob(f"{SEED_ROW}-*/scores.json"))
    runs = [json.loads(file.read_text()) for file in files]
    if len(runs) < 2:
        return ""
    ranges = []
    for key, name in SHORT_SCENARIOS.items():
        by_metric = [[run[metric][key] for run in runs] for metric in METRICS]
        widths = " / ".join(f"{max(values) - min(values):.1f}" for values in by_metric)
        ranges.append(f"{name} {widths}")
    return (
        f"Each was run with one seed. Over {len(runs)} seeds of the same options, the row "
        f"{ROW_NAMES[SEED_ROW]} alone varies by {', '.join(ranges)}: an effect that is not well "
        "above that may be chance."
    )


def decisions_markdown(decisions: Sequence[Decision], base: Path) -> str:
    """Format the decisions ledger: question, options, our default, its key and measured effects."""
    introduction = (
        "What the paper leaves open, and what we chose. The measured effects come from side "
        "studies on the demo (`make studies`): AUC / bACC of the option minus those of the "
        "default, in percentage points. "
    )
    lines = [
        "# Decisions ledger",
        "",
        (introduction + spread_over_seeds(base)).rstrip(),
        "",
        *_caveat("demo"),
        "| question | what the paper and its sources say | options | our default | key or function "
        "| measured effect |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for decision in decisions:
        measured = "<br>".join(effects(base, decision.study)) if decision.study else MISSING
        lines.append(
            _row(
                decision.question,
                decision.evidence,
                "; ".join(decision.options),
                decision.default,
                f"`{decision.key or decision.where}`",
                measured,
            )
        )
    return "\n".join(lines) + "\n"


def paper_map_markdown(statements: Sequence[Statement]) -> str:
    """Format the paper map: each statement with its code, notebook, tests and keys."""
    lines = [
        "# Paper map",
        "",
        "Where this repository implements each statement of the paper about its method. "
        "`tests/report/test_ledger.py` checks that every function, notebook heading, test and key "
        "named here exists.",
        "",
        "| section | statement | code | notebook | test | params.yaml |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for entry in statements:
        lines.append(
            _row(
                entry.section,
                entry.statement,
                _code_names(entry.code),
                entry.notebook or MISSING,
                _code_names(entry.tests),
                _code_names(entry.keys),
            )
        )
    return "\n".join(lines) + "\n"


def _code_names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or MISSING


def _caveat(profile: str) -> list[str]:
    caveat = load().profile(profile).report.caveat
    return [NO_REPRODUCTION.format(profile, caveat), ""] if caveat else []


def _change(scores: Mapping[str, Any], default: Mapping[str, Any]) -> str:
    changes = []
    for key in (key for key in SETS if key in SHORT_SCENARIOS):
        by_metric = [
            f"{scores[metric][key] - default[metric][key]:+.1f}"
            for metric in METRICS
            if key in scores[metric] and key in default[metric]
        ]
        changes.append(f"{SHORT_SCENARIOS[key]} {' / '.join(by_metric) or MISSING}")
    return ", ".join(changes)


def _row(*cells: str) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"
