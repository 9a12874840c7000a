"""Score many files from the command line: one page per file and ``scores.csv`` over all.

An interrupted command can be rerun: finished files are not scored again. Exit codes for scripts: 0
every file has a score, 1 some have, 2 none has (or wrong arguments).
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..project.code.closure import code_digest
from ..project.files import replacing
from ..project.progress import track
from ..project.provenance import fingerprint
from ..project.vocabulary import MISSING
from .card import model_card
from .inputs import collect, left_out, printable, slug
from .model import Model, read_model
from .page import video_page
from .score import Limits, score_video

# Exit codes.
ALL = 0
SOME = 1
NONE = 2

SCORES = ("p_fake", "probability", "highest_track")
COLUMNS = ("file", "verdict", *SCORES, "faces", "tracks", "skipped", "warnings", "report")


def score_to(
    paths: Sequence[str | Path], weights: Path | None, out: Path, limits: Limits | None = None
) -> int:
    """Score ``paths`` (files, folders, patterns) into the folder ``out``; return the exit code.

    Writes ``<name>.html`` and ``<name>.json`` (everything) per file, and ``scores.csv`` and
    ``model_card.md`` over all. A file that an earlier run with the same model and code has finished
    is not scored again. Prints one line per file, and on stderr what folders have besides.
    """
    files = collect(paths)
    for line in left_out(paths):
        print(line, file=sys.stderr)
    model = read_model(weights)
    limits = limits or Limits()
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "model_card.md", model_card(model))

    code = code_digest(score_to)
    rows = []
    progress = track(files, "score")
    for file in progress:
        record = _scored_once(file, model, limits, out, code)
        row = _csv_row(file, record)
        rows.append(row)
        progress.write(_line(file, row, record))
    _write_csv(out / "scores.csv", rows)

    scored = sum(bool(row["p_fake"]) for row in rows)
    if scored == len(files):
        return ALL
    return SOME if scored else NONE


def _line(file: Path, row: dict[str, str], record: dict[str, Any]) -> str:
    """Describe one result; a number that is no verdict does not come first."""
    text = f"{printable(file)}: {record['verdict']}"
    return text if record["no_verdict"] else f"{row['p_fake'] or MISSING:>6}  {text}"


def _scored_once(file: Path, model: Model, limits: Limits, out: Path, code: str) -> dict[str, Any]:
    """Return the record of one file: the stored one if nothing has changed, else a new one."""
    name = slug(file)
    path = out / f"{name}.json"
    status = file.stat() if file.exists() else None
    state = fingerprint(
        model.digest,
        json.dumps(model.recipe.as_json()),
        json.dumps(model.calibration, sort_keys=True),
        limits,
        code,
        str(file.absolute()),
        status and (status.st_size, status.st_mtime_ns),
    )
    stored = _stored(path)
    if stored.get("state") == state:
        return stored

    scored = score_video(file, model, limits, out)
    record = {
        "file": printable(file),
        **scored.record(),
        "weights": model.digest,
        "detector": model.recipe.as_json(),
        "trained_by": model.profile,
        "state": state,
    }
    links = {"model card": "model_card.md", "everything as JSON": path.name}
    _write(out / f"{name}.html", video_page(scored, model, links))
    _write(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return record


def _stored(path: Path) -> dict[str, Any]:
    """Read a record; empty if there is none or it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}


def _csv_row(file: Path, record: dict[str, Any]) -> dict[str, str]:
    """Make one row of ``scores.csv``.

    A name that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    name = printable(file)
    scores = {key: "" if record[key] is None else f"{record[key]:.4f}" for key in SCORES}
    return {
        "file": f"'{name}" if name.startswith(tuple("=+-@")) else name,
        "verdict": record["verdict"],
        **scores,
        "faces": str(len(record["crops"])),
        "tracks": str(len(record["tracks"])),
        "skipped": "; ".join(f"{skip['reason']}: {skip['detail']}" for skip in record["skipped"]),
        "warnings": " ".join(record["warnings"]),
        "report": f"{slug(file)}.html",
    }


def _write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as sink:
        writer = csv.DictWriter(sink, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
