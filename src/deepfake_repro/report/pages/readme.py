"""The numbers of README.md, its picture and the paper's Table 3, written from ``results/``."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from ...project.params import load
from ...project.vocabulary import MISSING
from ..claims import FAILS, HOLDS, ROUNDED, Claim, in_number, read_entries
from ..details import audit_notes
from ..drawing.palette import row_name
from ..drawing.table_figures import averages_figure
from ..figures import description, save
from ..ledger import verdicts
from ..scores import read_audit, read_controls, read_published, read_scores
from ..tables import NO_BREAK, table3

README_MARKS = (
    "<!-- results: written by `python -m deepfake_repro readme` -->\n",
    "<!-- /results -->",
)
PICTURE = Path("docs", "averages.svg")
TABLE_3 = Path("results", "published", "table3.md")
_SECOND_PAPER = "LNCLIP"
_SUMMARIES = {
    "demo": "The demo's averages: not the paper's experiment",
    "open": "Photographs of real people (profile `open`): not the paper's experiment either",
}
"""Titles of the folded tables, by profile."""


def write_readme(base: Path) -> None:
    """Write the results of README.md, its picture and the paper's Table 3 as a page."""
    published = read_published(base / "results" / "published" / "scores")
    save(averages_figure(published), base / PICTURE)
    (base / TABLE_3).write_text(published_page(published), encoding="utf-8")
    (base / "README.md").write_text(readme_with_results(base), encoding="utf-8")


def readme_with_results(base: Path) -> str:
    """Return README.md with its results generated from ``results/``."""
    begin, end = README_MARKS
    published = read_published(base / "results" / "published" / "scores")
    alternative = html.escape(description(averages_figure(published)))
    parts = [
        _sentences(base, published),
        f'<img src="{PICTURE.as_posix()}" alt="The paper\'s printed averages. {alternative}" '
        'width="600">',
        *filter(None, ("\n".join(_averages(base, name)) for name in _SUMMARIES)),
    ]
    readme = (base / "README.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition(begin)
    _, _, after = rest.partition(end)
    return before + "\n\n".join([begin.rstrip(), *parts, end]) + after


def published_page(published: Mapping[str, Mapping]) -> str:
    """Format the paper's Table 3 as a page of Markdown."""
    source = (
        "Typed from Table 3 of Mylonas & Papadopoulos 2025 "
        "([doi:10.1145/3746275.3762208](https://doi.org/10.1145/3746275.3762208)); tests compare "
        "its averages with its cells. Written from the files in [scores](scores) by "
        "`deepfake-repro readme`."
    )
    return f"# Table 3 as printed\n\n{source}\n\n{table3(published)}"


def _sentences(base: Path, published: Mapping[str, Mapping]) -> str:
    """Say how many sentences of the first paper hold on its own printed numbers."""
    claims = read_entries(base / "results" / "published" / "claims.yaml", Claim, "claims")
    own = [claim for claim in claims if not claim.section.startswith(_SECOND_PAPER)]
    words = Counter(verdict.word for verdict in verdicts(own, published, base).values())
    tested = sum(words[word] for word in (HOLDS, FAILS, ROUNDED))
    rounded = f", {words[ROUNDED]} within rounding" if words[ROUNDED] else ""
    return (
        f"**What holds on the paper's own numbers.** Of {tested} sentences that these can "
        f"test, {words[HOLDS]} {in_number(HOLDS, words[HOLDS])} and {words[FAILS]} "
        f"{in_number(FAILS, words[FAILS]).removesuffix(' hold')}{rounded}: "
        "[claims ledger](results/demo/report/claims.md)."
    )


def _averages(base: Path, name: str) -> Iterator[str]:
    """Yield the lines of a run's averages, folded: AUC with its interval, then bACC.

    ``name``: a profile and its block of ``runs``. Nothing where it has no results.
    """
    results = base / "results" / name
    if not (results / "report" / "intervals.csv").is_file():
        return
    params = load(base / "params.yaml")
    columns = params.profile(name).layout.short_scenarios
    runs = params.runs_of(params.known_runs[name])
    rows = read_scores(results / "runs", [run for run in runs if (results / "runs" / run).is_dir()])
    intervals = pd.read_csv(results / "report" / "intervals.csv")
    yield f"<details><summary>{_SUMMARIES[name]}</summary>"
    yield ""
    yield f"| AUC [95 % interval], bACC; % | {' | '.join(columns.values())} |"
    yield f"| --- |{' ---: |' * len(columns)}"
    for row, scores in rows.items():
        cells = [_cell(scores, intervals[intervals["row"] == row], key) for key in columns]
        yield f"| {row_name(row)} | {' | '.join(cells)} |"
    for control, scores in read_controls(results / "controls").items():
        cells = [_cell(scores, intervals[:0], key) for key in columns]
        yield f"| *{control}, untrained* | {' | '.join(cells)} |"
    yield ""
    seeds = max(len(scores["seeds"]) for scores in rows.values())
    yield f"{_sizes(intervals, columns)} Seeds per row: {seeds}."
    for note in audit_notes(read_audit(results / "audit")):
        yield f"\n{note}"
    yield "</details>"


def _cell(scores: Mapping[str, Mapping], intervals: pd.DataFrame, key: str) -> str:
    if key not in scores.get("auc", {}):
        return MISSING
    words = [f"{scores['auc'][key]:.0f}"]
    known = intervals[(intervals["metric"] == "auc") & (intervals["set"] == key)]
    for interval in known.itertuples():
        if interval.low < interval.high:
            words.append(f"[{interval.low:.0f}–{interval.high:.0f}],")
    words.append(f"{scores['bacc'][key]:.0f}")
    return NO_BREAK.join(words if len(words) > 2 else [f"{words[0]},", words[1]])


def _sizes(intervals: pd.DataFrame, columns: Mapping[str, str]) -> str:
    """Say how many videos and independent people or sources are behind each column."""
    if "sources" not in intervals:
        return "Few videos per test set."
    parts = []
    for key, name in columns.items():
        known = intervals[intervals["set"] == key]
        if len(known):
            size = known.iloc[0]
            parts.append(
                f"{name}: {size['n_real']} reals and {size['n_fake']} fakes of "
                f"{size['sources']} people or source videos"
            )
    return f"{'; '.join(parts)}."
