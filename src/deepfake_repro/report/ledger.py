"""The ledgers that a reviewer reads: claims, decisions, and the map from the paper to the code, as Markdown.

Their content is typed once in ``results/published/*.yaml``; every number beside it comes out of
``results/``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..evaluation.statistics import Replicates
from ..project.vocabulary import METRICS, MISSING, ROW_NAMES, SETS, SHORT_SCENARIOS
from .claims import FAILS, Claim, Verdict, draws_table, judge, point_table, triplet_table
from .tables import NO_REPRODUCTION, read_scores

# Distances of a 3-4-5 triangle: anchor i, positive j, negative k. Any triplet without equal sides
# tells formulas apart.
TRIPLET = {"ij": 3.0, "ik": 4.0, "jk": 5.0}
NOT_RUN = "not run"
PLAIN = "default"  # the option of a study that changes nothing
SEEDS = ("start_over_seeds", "fsfm")  # the study and its row that say how much seeds alone change


@dataclass(frozen=True)
class Decision:
    """A choice that the paper leaves open: what it says, the options, what we take and where to change it.

    ``key`` and ``value``: the key of ``params.yaml`` and the value that means ``default`` (empty
    where the choice is in the code at ``where``); ``study``: the side study that ran the options
    against each other.
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
    """A statement of method in the paper, and where it stands here."""

    statement: str
    section: str
    code: tuple[str, ...]
    notebook: str
    tests: tuple[str, ...]
    keys: tuple[str, ...] = ()


def study_rows(base: Path, study: str) -> dict[str, dict[str, dict]]:
    """Option -> row -> scores (means over seeds) of a side study; empty where it has not been run."""
    options = sorted(
        path for path in (base / "results" / "studies" / study).glob("*") if path.is_dir()
    )
    return {option.name: read_scores(option) for option in options}


def verdicts(
    claims: Iterable[Claim],
    rows: Mapping[str, Mapping],
    base: Path,
    replicates: Replicates | None = None,
) -> dict[str, Verdict]:
    """What the rows of a table say to each claim, by its id; without ``replicates`` numbers are taken as they stand.

    A claim about a study is judged on the study's results below ``base``, without interval; one
    about a formula is the printed text's alone: without ``replicates`` it is checked, with them it
    has a dash.
    """
    found = {}
    for claim in claims:
        kind, _, name = claim.table.partition(" ")
        if kind == "distances":
            found[claim.id] = (
                judge(claim, triplet_table(TRIPLET)) if replicates is None else Verdict(MISSING)
            )
        elif kind == "study":
            found[claim.id] = _of_study(claim, {} if replicates is None else study_rows(base, name))
        else:
            draws = None if replicates is None else draws_table(replicates)
            found[claim.id] = judge(claim, point_table(rows), draws)
    return found


def claims_markdown(
    claims: Sequence[Claim],
    printed: Mapping[str, Verdict],
    ours: Mapping[str, Verdict],
    profile: str,
) -> str:
    """The claims ledger: what differs in print, then each sentence with both verdicts, then the expressions."""
    different = [claim for claim in claims if printed[claim.id].word == FAILS]
    lines = [
        "# Claims ledger",
        "",
        f"{len(claims)} sentences, each as expressions over Table 3. *Printed*: evaluated on "
        f"the paper's own numbers. *{profile}*: on the rows of this profile; *within the interval* means that its "
        "videos do not suffice to say so (paired bootstrap).",
        "",
        *_caveat(profile),
        f"## {len(different)} differences found while re-typing the table",
        "",
        "Where a sentence and the printed table differ, both kept as printed; none changes the paper's conclusions.",
        "",
    ]
    for number, claim in enumerate(different, start=1):
        lines.append(
            f"{number}. Section {claim.section}: “{claim.sentence}” — {'; '.join(printed[claim.id].reasons)}."
            f"{' ' + claim.note if claim.note else ''}"
        )
    lines += [
        "",
        "## Every sentence",
        "",
        f"| section | sentence | printed | {profile} |",
        "| --- | --- | --- | --- |",
    ]
    for claim in claims:
        reading = f" *Read as: {claim.reading}.*" if claim.reading else ""
        lines.append(
            _row(
                claim.section,
                f"{claim.sentence}{reading}",
                printed[claim.id].word,
                _ours(ours[claim.id], profile),
            )
        )
    lines += ["", "## What was checked", ""]
    lines += [
        f"* **{claim.id}** ({claim.table}): {'; '.join(f'`{check}`' for check in claim.checks)}"
        for claim in claims
    ]
    return "\n".join(lines) + "\n"


def effects(base: Path, study: str) -> list[str]:
    """A line per option of a side study: what it changes against the default, by row, in percentage points."""
    options = study_rows(base, study)
    if PLAIN not in options:
        return [NOT_RUN]
    return [
        f"{option}, {ROW_NAMES[row]}: {_change(scores, options[PLAIN][row])}"
        for option, rows in options.items()
        if option != PLAIN
        for row, scores in rows.items()
        if row in options[PLAIN]
    ] or [NOT_RUN]


def spread_over_seeds(base: Path) -> str:
    """A sentence: by how much the seeds of one row differ, against which effects are to be seen; empty without two."""
    study, row = SEEDS
    files = sorted((base / "results" / "studies" / study / PLAIN).glob(f"{row}-*/scores.json"))
    runs = [json.loads(file.read_text()) for file in files]
    if len(runs) < 2:
        return ""
    values = {
        key: [[run[metric][key] for run in runs] for metric in METRICS] for key in SHORT_SCENARIOS
    }
    widths = ", ".join(
        f"{name} {' / '.join(f'{max(found) - min(found):.1f}' for found in values[key])}"
        for key, name in SHORT_SCENARIOS.items()
    )
    return (
        f"Each was run with one seed. The row {ROW_NAMES[row]} alone, over {len(runs)} seeds of the same options, "
        f"differs by {widths}: an effect that is not well above that may be chance."
    )


def decisions_markdown(decisions: Sequence[Decision], base: Path) -> str:
    """The decisions ledger: question, options, our default, its key, and the measured effect where both were run."""
    told = (
        "What the paper leaves open, and what we take. The measured effects are of side studies on the demo (`make "
        "studies`): AUC / bACC of the option minus those of the default, in percentage points. "
    )
    lines = [
        "# Decisions ledger",
        "",
        (told + spread_over_seeds(base)).rstrip(),
        "",
        *_caveat("demo"),
        "| question | what the paper and its sources say | options | our default | key or place | measured effect |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for decision in decisions:
        measured = "<br>".join(effects(base, decision.study)) if decision.study else MISSING
        place = f"`{decision.key or decision.where}`"
        lines.append(
            _row(
                decision.question,
                decision.evidence,
                "; ".join(decision.options),
                decision.default,
                place,
                measured,
            )
        )
    return "\n".join(lines) + "\n"


def paper_map_markdown(statements: Sequence[Statement]) -> str:
    """The paper map: each statement of method, its code, notebook, tests and keys; tests check that all of them exist."""
    lines = [
        "# Paper map",
        "",
        "Where each statement of method of the paper stands. `tests/report/test_ledger.py` "
        "checks that every function, notebook heading, test and key named here exists.",
        "",
        "| section | statement | code | notebook | test | params.yaml |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for entry in statements:
        code, tests, keys = (
            ", ".join(f"`{name}`" for name in names) or MISSING
            for names in (entry.code, entry.tests, entry.keys)
        )
        lines.append(
            _row(entry.section, entry.statement, code, entry.notebook or MISSING, tests, keys)
        )
    return "\n".join(lines) + "\n"


def _of_study(claim: Claim, options: Mapping[str, Mapping[str, Mapping]]) -> Verdict:
    """Judge on the only row of a study; the options take the place of the rows."""
    return judge(
        claim, point_table({option: next(iter(rows.values())) for option, rows in options.items()})
    )


def _ours(verdict: Verdict, profile: str) -> str:
    if verdict.word == MISSING:
        return f"{MISSING} ({'; '.join(verdict.reasons)})" if verdict.reasons else MISSING
    return f"{profile}: {verdict.word}"


def _caveat(profile: str) -> list[str]:
    return [] if profile == "paper" else [NO_REPRODUCTION.format(profile), ""]


def _change(scores: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    parts = []
    for key in (key for key in SETS if key in SHORT_SCENARIOS):
        both = [
            f"{scores[metric][key] - plain[metric][key]:+.1f}"
            for metric in METRICS
            if key in scores[metric] and key in plain[metric]
        ]
        parts.append(f"{SHORT_SCENARIOS[key]} {' / '.join(both) or MISSING}")
    return ", ".join(parts)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
