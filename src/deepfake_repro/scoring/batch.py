"""Score many files from the command line: one page per file and ``scores.csv`` over all.

An interrupted command can be rerun: finished files are not scored again. Exit codes for scripts: 0
every file has a score, 1 some have, 2 none has (or wrong arguments).
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..crops.isolation import allow_all, stop_all
from ..project.code.closure import code_digest
from ..project.files import replacing
from ..project.progress import track
from ..project.provenance import fingerprint
from ..project.vocabulary import MISSING
from .card import model_card
from .clips.annotated import annotate
from .clips.stress import stress
from .inputs import collect, left_out, printable, slug
from .model import Model, read_model
from .page import file_page
from .results import FileResults, Result
from .score import Limits, score_video
from .sources.citations import bibliography
from .sources.signals import signals

# Exit codes.
ALL = 0
SOME = 1
NONE = 2

SCORES = ("p_fake", "probability", "highest_track")
COLUMNS = (
    "file",
    "verdict",
    *SCORES,
    "detector",
    "agreement",
    "faces",
    "tracks",
    "skipped",
    "warnings",
    "report",
)
STRESS_COLUMNS = ("file", "detector", "change", "p_fake", "shift", "problem")
Record = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How files are scored: ``jobs`` at once, within ``limits``, with a stress table or a copy."""

    limits: Limits
    jobs: int = 1
    stress: bool = False
    video: bool = False


def score_to(
    paths: Sequence[str | Path],
    weights: Path | Sequence[Path] | None,
    out: Path,
    limits: Limits | None = None,
    jobs: int = 1,
    stress: bool = False,
    video: bool = False,
) -> int:
    """Score ``paths`` (files, folders, patterns) into the folder ``out``; return the exit code.

    ``weights``: a detector or several, as for ``read_model``. Writes ``<name>.html`` and
    ``<name>.json`` (everything) per file, and ``scores.csv``, ``model_card.md`` and
    ``citations.bib`` over all. A file that an earlier run with the same detectors and code has
    finished is not scored again. Prints one line per file and, of several detectors, one for each;
    on stderr what folders have besides.

    ``jobs``: files at once. Each is decoded in a process of its own; all share the networks.
    ``stress``: score changed copies as well, with ``stress.csv``; ``video``: write an annotated
    copy ``<name>.mp4``.
    """
    files = collect(paths)
    for line in left_out(paths):
        print(line, file=sys.stderr)
    chosen = [weights] if weights is None or isinstance(weights, Path) else list(weights)
    models = [read_model(one) for one in chosen]
    for model in models:
        model.to_accelerator()
    if weights is None:
        print(f"detector: {printable(models[0].recipe.name)}, the best here", file=sys.stderr)
    options = Options(limits or Limits(), jobs, stress, video)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "model_card.md", "\n".join(model_card(model) for model in models))
    _write(out / "citations.bib", bibliography(models))

    records: dict[Path, Record] = {}
    for file, record in _in_parallel(files, models, options, out):
        records[file] = record
    rows = [row for file in files for row in _csv_rows(file, records[file])]
    _write_csv(out / "scores.csv", COLUMNS, rows)
    if stress:
        moved = [row for file in files for row in _stress_rows(file, records[file])]
        _write_csv(out / "stress.csv", STRESS_COLUMNS, moved)
    scored = sum(_has_score(record) for record in records.values())
    if scored == len(files):
        return ALL
    return SOME if scored else NONE


def _in_parallel(
    files: Sequence[Path], models: Sequence[Model], options: Options, out: Path
) -> Iterator[tuple[Path, Record]]:
    """Yield (file, its record) as they are finished; print a line about each.

    Threads wait for their decoding processes. If one raises, which no content of a file can cause,
    or at Ctrl-C, the processes are ended at once. The code is hashed while they start.
    """
    with (
        _shared_cores(options.jobs),
        ThreadPoolExecutor(1) as beside,
        ThreadPoolExecutor(options.jobs) as threads,
    ):
        code = beside.submit(code_digest, score_to)
        futures = {
            threads.submit(_scored_once, file, models, options, out, code): file for file in files
        }
        is_finished = False
        try:
            progress = track(as_completed(futures), "score", len(files))
            for future in progress:
                file = futures[future]
                record = future.result()
                for line in _lines(file, record):
                    progress.write(line)
                yield file, record
            is_finished = True
        finally:
            if not is_finished:
                threads.shutdown(wait=False, cancel_futures=True)
                stop_all()
            threads.shutdown(wait=True)
            allow_all()


@contextmanager
def _shared_cores(jobs: int) -> Iterator[None]:
    """Give each of ``jobs`` threads its share of PyTorch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // jobs))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _lines(file: Path, record: Record) -> Iterator[str]:
    """Describe the results of one file; a number that is no verdict does not come first."""
    name = printable(file)
    if not record["others"]:
        yield _line(name, record)
        return
    yield f"{name}: {record['agreement']}"
    for one in (record, *record["others"]):
        yield f"  {_line(printable(one['detector']['name']), one)}"


def _line(name: str, record: Record) -> str:
    score = MISSING if record["p_fake"] is None else f"{record['p_fake']:.4f}"
    text = f"{name}: {record['verdict']}"
    return text if record["no_verdict"] else f"{score:>6}  {text}"


def _scored_once(
    file: Path, models: Sequence[Model], options: Options, out: Path, code: Future[str]
) -> Record:
    """Return the record of one file: the stored one if nothing has changed, else a new one.

    The first detector's record has those of the others under ``others``.
    """
    path = out / f"{slug(file)}.json"
    status = file.stat() if file.exists() else None
    known = (
        *(_identity(model) for model in models),
        options.limits,
        (options.stress, options.video),
        str(file.absolute()),
        status and (status.st_size, status.st_mtime_ns),
    )
    stored = _stored(path)
    if stored and stored.get("state") == fingerprint(*known, code.result()):
        return stored

    results = [Result(score_video(file, model, options.limits, out), model) for model in models]
    found = _with_extras(file, results, options, out)
    first, *others = (_record(result) for result in results)
    record = {
        "file": printable(file),
        **first,
        "others": others,
        "agreement": found.agreement,
        "signals": found.signals,
        "stress": found.stress,
        "state": fingerprint(*known, code.result()),
    }
    _write(out / f"{slug(file)}.html", file_page(found))
    _write(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return record


def _with_extras(file: Path, results: Sequence[Result], options: Options, out: Path) -> FileResults:
    """Add what the file says about itself and, if wanted, a stress table and an annotated copy.

    An extra that fails costs itself only: a warning on the page says why.
    """
    name = slug(file)
    links = {
        "model card": "model_card.md",
        "everything as JSON": f"{name}.json",
        "citations": "citations.bib",
    }
    has_score = any(result.scored.p_fake is not None for result in results)
    moved = []
    if options.stress and has_score:
        moved = stress(file, [result.model for result in results], options.limits, out)
    if options.video and has_score:
        try:
            annotate(file, results, out / f"{name}.mp4", options.limits)
            links["annotated copy"] = f"{name}.mp4"
        except ValueError as error:
            results[0].scored.warnings.append(f"--video: {printable(str(error))}")
    return FileResults(results, signals(file), moved, links)


def _identity(model: Model) -> str:
    """Return everything that a model's results depend on, as text."""
    parts = [model.digest, model.recipe.as_json(), model.calibration]
    return json.dumps(parts, sort_keys=True)


def _record(result: Result) -> Record:
    """Return what one detector found, for JSON."""
    return {
        **result.scored.record(),
        "weights": result.model.digest,
        "detector": result.model.recipe.as_json(),
        "trained_by": result.model.profile,
    }


def _stored(path: Path) -> Record:
    """Read a record; empty if there is none or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}


def _has_score(record: Record) -> bool:
    return any(one["p_fake"] is not None for one in (record, *record["others"]))


def _csv_rows(file: Path, record: Record) -> Iterator[dict[str, str]]:
    """Make the rows of ``scores.csv`` of one file, one per detector."""
    for one in (record, *record["others"]):
        scores = {key: "" if one[key] is None else f"{one[key]:.4f}" for key in SCORES}
        yield {
            "file": _cell(printable(file)),
            "detector": _cell(printable(one["detector"]["name"])),
            "verdict": one["verdict"],
            **scores,
            "agreement": _cell(record["agreement"]),
            "faces": str(len(one["crops"])),
            "tracks": str(len(one["tracks"])),
            "skipped": "; ".join(f"{skip['reason']}: {skip['detail']}" for skip in one["skipped"]),
            "warnings": " ".join(one["warnings"]),
            "report": f"{slug(file)}.html",
        }


def _stress_rows(file: Path, record: Record) -> Iterator[dict[str, str]]:
    """Make the rows of ``stress.csv`` of one file, one per change and detector."""
    for row in record["stress"]:
        for number, one in enumerate((record, *record["others"])):
            score = row["p_fake"][number]
            shift = row["shift"][number]
            yield {
                "file": _cell(printable(file)),
                "detector": _cell(printable(one["detector"]["name"])),
                "change": row["change"],
                "p_fake": "" if score is None else f"{score:.4f}",
                "shift": "" if shift is None else f"{shift:+.4f}",
                "problem": row["problem"],
            }


def _cell(text: str) -> str:
    """Put an apostrophe in front of what a spreadsheet would run as a formula."""
    return f"'{text}" if text.startswith(tuple("=+-@")) else text


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as sink:
        writer = csv.DictWriter(sink, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
