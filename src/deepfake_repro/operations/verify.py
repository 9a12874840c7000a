"""Compare the results of a run with the committed ones, cell by cell, and say what it means.

On another processor training gives other numbers. A difference within the spread over machines and
seeds is what to expect; one outside means that something else differs: data, code or environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from ..evaluation.field_metrics import FIELD_NAMES, FRAME_AUC
from ..project.layout import Layout
from ..project.params import Params, load
from ..project.provenance import has_history
from .committed import extract_committed
from .spread import (
    EXACT,
    KEY,
    MACHINES,
    derived_bounds,
    differences,
    is_cells,
    read_cells,
    tolerances,
)

IDENTICAL, WITHIN, OUTSIDE = "identical", "within", "outside"
STATES = (IDENTICAL, WITHIN, OUTSIDE)
NOT_COMPARED = ("provenance.json", MACHINES, "machines.json")
"""Files that differ each time, or that no run of the pipeline writes."""
SHOWN = 12
"""Cells outside that are printed."""
NAMED = 3
"""Other files that are named."""


@dataclass(frozen=True)
class Verdict:
    """What a comparison found.

    ``cells``: file, metric, set, item, committed, yours, tolerance and state of each cell;
    ``files``: number of tracked files; ``changed``: other files that differ, which follow from the
    cells; ``missing``: tracked files that the run lacks; ``spread_known``: False if no other
    machine or seed is on record, so that every difference counts as outside; ``derived``: metrics
    without a spread of their own, which must follow from the run's videos.
    """

    profile: str
    revision: str
    cells: pd.DataFrame
    files: int
    changed: list[str]
    missing: list[str]
    spread_known: bool
    derived: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """The worst state of all cells and files."""
        found = set(self.cells["state"])
        if OUTSIDE in found or self.missing:
            return OUTSIDE
        return WITHIN if WITHIN in found or self.changed else IDENTICAL

    @property
    def exit_code(self) -> int:
        """1 if anything is outside, else 0."""
        return int(self.state == OUTSIDE)

    def table(self) -> pd.DataFrame:
        """Count the cells of each metric by state, with the largest difference and tolerance."""
        sizes = pd.to_numeric(self.cells["committed"], errors="coerce") - pd.to_numeric(
            self.cells["yours"], errors="coerce"
        )
        cells = self.cells.assign(size=sizes.abs())
        counts = pd.crosstab(cells["metric"], cells["state"]).reindex(columns=STATES, fill_value=0)
        largest = cells.groupby("metric")[["size", "tolerance"]].max()
        return counts.join(largest.rename(columns={"size": "largest difference"}))

    def text(self) -> str:
        """Format the table, what is outside, and one sentence that says what it means."""
        table = self.table().to_string(float_format="{:.4g}".format, na_rep="-")
        parts = [f"verify: results of {self.profile} beside those of {self.revision}", table]
        if self.derived:
            names = ", ".join(self.derived)
            parts.append(f"{names}: no spread is on record; they must follow from your videos.csv")
        outside = self.cells[self.cells["state"] == OUTSIDE]
        if len(outside):
            shown = outside.drop(columns="state").head(SHOWN)
            parts.append(f"outside (the first {len(shown)} of {len(outside)}):")
            parts.append(shown.to_string(index=False, na_rep="missing", max_colwidth=60))
        parts += [f"missing: {name}" for name in self.missing]
        if self.changed:
            names = ", ".join(self.changed[:NAMED])
            count = len(self.changed)
            parts.append(f"other tracked files that differ: {count}, such as {names}")
        return "\n".join([*parts, self.sentence()])

    def sentence(self) -> str:
        """Say the verdict in plain words."""
        number = int((self.cells["state"] != IDENTICAL).sum())
        if self.state == IDENTICAL:
            return f"IDENTICAL: all {self.files} tracked files are the committed ones."
        if self.state == WITHIN and not number:
            return (
                f"WITHIN THE SPREAD: all {len(self.cells)} cells are the committed ones; only the "
                "files above differ. The results are reproduced."
            )
        if self.state == WITHIN:
            return (
                f"WITHIN THE SPREAD: {number} of {len(self.cells)} cells differ, none by more than "
                "another machine or another seed changes them. The results are reproduced."
            )
        unknown = "" if self.spread_known else " No spread is on record: any difference counts."
        return (
            "OUTSIDE: some cells differ by more than another machine or seed explains. Look for "
            f"other data, code, parameters or packages (git status, dvc status).{unknown}"
        )


def verify(
    base: Path, profile: str, revision: str | None = None, run: Path | None = None
) -> Verdict:
    """Compare results of ``profile`` with the committed ones, cell by cell.

    The results are those in ``base``, or in the folder ``run``: a checkout, or its
    ``results/<profile>``. ``revision``: git revision with the results to compare with, by default
    HEAD; in an archive without git history ``run`` is compared with the results of the archive.
    Raises ``ValueError`` if there is nothing to compare.
    """
    params = load(base / "params.yaml")
    params.profile(profile)
    yours = _results_of(run or base, profile)
    if run and not revision and not has_history(base):
        return _compare(params, base, profile, "this archive", yours)
    with TemporaryDirectory() as folder:
        committed = Path(folder)
        chosen = revision or "HEAD"
        extract_committed(base, chosen, committed, f"results/{profile}", "results/studies")
        return _compare(params, committed, profile, chosen, yours)


def _results_of(folder: Path, profile: str) -> Path:
    for results in (folder / "results" / profile, folder):
        if (results / "runs").is_dir():
            return results
    raise ValueError(f"{folder} has no results/{profile}/runs: run dvc repro there first")


def _compare(params: Params, committed: Path, profile: str, revision: str, yours: Path) -> Verdict:
    results = committed / "results" / profile
    tracked = _tracked(results)
    if not tracked:
        raise ValueError(f"{revision} has no results/{profile} to compare with")
    missing = [name for name in tracked if not (yours / name).is_file()]
    others = [name for name in tracked if not is_cells(name) and name not in missing]
    changed = [
        name for name in others if (results / name).read_bytes() != (yours / name).read_bytes()
    ]
    unchanged = [
        committed / "results" / "studies" / name / option
        for name, study in params.studies.items()
        for option, values in study.options.items()
        if study.profile == profile and not values
    ]
    found = differences(results, unchanged)
    names = [name for name in tracked if is_cells(name)]
    cells = _with_states(read_cells(results, names), read_cells(yours, names), found)
    present = set(cells["metric"]) - {FRAME_AUC}
    spread_known = len(found) > 0
    derived = tuple(name for name in FIELD_NAMES if name in present and spread_known)
    cells = _with_derived(cells, derived, yours, params.profile(profile).layout)
    unknown = tuple(name for name in derived if name not in set(found["metric"]))
    return Verdict(profile, revision, cells, len(tracked), changed, missing, spread_known, unknown)


def _tracked(results: Path) -> list[str]:
    """List the files to compare, relative to ``results``; own test corpora are not tracked."""
    files = (path for path in results.rglob("*") if path.is_file())
    names = (path.relative_to(results).as_posix() for path in files)
    kinds = ("runs", "report", "data", "robustness", "calibration", "labels", "audit")
    return sorted(
        name
        for name in names
        if name.startswith(kinds) and Path(name).name not in NOT_COMPARED and "/own/" not in name
    )


def _with_states(committed: pd.DataFrame, yours: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    cells = committed.merge(yours, on=KEY, how="outer", suffixes=("_committed", "_yours"))
    cells = cells.rename(columns={"value_committed": "committed", "value_yours": "yours"})
    cells["tolerance"] = tolerances(found, cells)
    is_same = cells["committed"] == cells["yours"]
    sizes = pd.to_numeric(cells["committed"], errors="coerce") - pd.to_numeric(
        cells["yours"], errors="coerce"
    )
    is_within = (sizes.abs() <= cells["tolerance"]) & (cells["metric"] != EXACT)
    cells["state"] = OUTSIDE
    cells.loc[is_within, "state"] = WITHIN
    cells.loc[is_same, "state"] = IDENTICAL
    return cells


def _with_derived(
    cells: pd.DataFrame, derived: tuple[str, ...], yours: Path, layout: Layout
) -> pd.DataFrame:
    """Judge the cells of the metrics ``derived`` that are outside by the videos of their run.

    They are within if they are what these videos give; whether the videos' scores are within is
    judged cell by cell. Without the videos a difference stays outside.
    """
    cells = cells.copy()
    differs = cells["metric"].isin(derived) & (cells["state"] == OUTSIDE)
    for file, of_run in cells[differs].groupby("file"):
        videos = (yours / str(file)).with_name("videos.csv")
        if not videos.is_file():
            continue
        bounds = derived_bounds(pd.read_csv(videos), layout)
        judged = of_run.reset_index().merge(bounds, on=["metric", "set"]).set_index("index")
        committed = pd.to_numeric(judged["committed"], errors="coerce")
        value = pd.to_numeric(judged["yours"], errors="coerce")
        furthest = pd.concat([judged["high"] - committed, committed - judged["low"]], axis=1)
        is_given = value.between(judged["low"], judged["high"]) & committed.notna()
        cells.loc[judged.index, "tolerance"] = furthest.max(axis=1).clip(lower=0)
        cells.loc[judged.index, "state"] = is_given.map({True: WITHIN, False: OUTSIDE})
    return cells
