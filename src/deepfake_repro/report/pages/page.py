"""The report of a profile as one HTML page, built from the files of the report stage."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from ...project.paths import profile_paths
from .html import figure, page, render, render_markdown

SECTIONS: dict[str, dict[str, str]] = {
    "Table 3": {
        "table3.md": "Table 3 of this profile",
        "protocols.md": "Rows with a protocol of their own, under both",
        "scenarios.svg": "Average AUC of each row with its 95 % interval; the numbers are those of "
        "Table 3. A colour is a family of rows, a triangle adds Batch All.",
    },
    "Compared with the paper": {
        "comparison.md": "Published and reproduced, cell by cell",
        "differences.svg": "Reproduced minus published, whole percentage points per row and test "
        "set. In the profile paper a number is bold where the published value is outside our "
        "interval.",
    },
    "Curves": {
        "roc.svg": "ROC curves by scenario, averaged over its test sets; the area under each, in "
        "the legend, is the row's average in Table 3.",
        "history.svg": "Validation loss as a multiple of its value after the first epoch, because "
        "the rows' losses differ, and the share of active triplets.",
    },
    "Robustness": {
        "robustness.md": "AUC on perturbed test crops",
        "robustness.svg": "AUC against JPEG quality, resolution, blur and noise; the numbers "
        "are those of the table above.",
    },
    "Calibration and thresholds": {
        "calibration.md": "Balanced accuracy at three thresholds",
        "reliability.svg": "Reliability diagram: share of fakes over mean P(fake); a calibrated "
        "row is on the diagonal.",
    },
    "By manipulation and by group": {"breakdown.md": "AUC by manipulation and by group"},
    "What the papers say": {"claims.md": "Claims ledger"},
    "What the papers leave open": {"decisions.md": "Decisions ledger"},
    "Where each statement is implemented": {"paper_map.md": "Map from the paper to the code"},
    "Thirteen benchmarks": {
        "benchmarks.md": "Published figures of thirteen benchmarks",
        "years.svg": "Published video-level AUROC of several methods over the years of the "
        "benchmarks.",
    },
    "Report cards": {"cards.md": "Report card of a run"},
}
"""Title of each section -> its files -> a text that names a table or describes a figure."""


_REPORT = """\
<header><h1>deepfake-repro: report of the profile {{ profile }}</h1></header>
<nav aria-label="contents"><ul>
{%- for title in sections -%}
<li><a href="#s{{ loop.index0 }}">{{ title }}</a></li>
{%- endfor -%}
</ul></nav>
<main>
{% for title, parts in sections.items() %}
<section id="s{{ loop.index0 }}">
<h2>{{ title }}</h2>
{{ parts | join("\n") }}</section>
{% endfor %}
</main>"""


def report_page(folder: Path, profile: str) -> str:
    """Build the page of the report in ``folder``; the same files give the same bytes.

    Raises ``FileNotFoundError`` if a file of the report is missing.
    """
    sections = {
        title: [_part(folder / name, text, profile) for name, text in files.items()]
        for title, files in SECTIONS.items()
    }
    body = render(_REPORT, profile=profile, sections=sections)
    return page(f"deepfake-repro: {profile}", body)


def write_report(profile: str) -> None:
    """Write ``report.html`` beside the files that it is built from."""
    folder = profile_paths(profile).report
    (folder / "report.html").write_text(report_page(folder, profile), encoding="utf-8")


def _part(file: Path, text: str, profile: str) -> Markup:
    if not file.is_file():
        raise FileNotFoundError(
            f"{file.name} is missing in {file.parent}: run dvc repro report@{profile} first"
        )
    if file.suffix == ".svg":
        return figure(file, text)
    return Markup(render_markdown(file.read_text(encoding="utf-8"), text))
