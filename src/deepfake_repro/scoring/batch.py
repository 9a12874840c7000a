"""Score many files from the command line: a report each, ``scores.csv`` over all, and it may be interrupted.

Exit codes for scripts: 0 every file got a score, 1 some did and some did not, 2 none did (or wrong
arguments).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..project.closure import code_digest
from ..project.files import replacing
from ..project.progress import track
from ..project.provenance import fingerprint
from .card import card
from .inputs import collect, printable, slug
from .model import Model, read_model
from .page import html
from .score import Limits, score_video

ALL, SOME, NONE = 0, 1, 2
COLUMNS = (
    "file",
    "p_fake",
    "probability",
    "highest_track",
    "faces",
    "tracks",
    "verdict",
    "skipped",
    "warnings",
    "report",
)


def score_to(
    paths: Sequence[str | Path], weights: Path | None, out: Path, limits: Limits | None = None
) -> int:
    """Score ``paths`` (files, folders, patterns) into the folder ``out``; returns the exit code.

    Per file ``<name>.html`` and ``<name>.json`` (everything), over all ``scores.csv`` and
    ``model_card.md``. A file that an earlier run with the same model and code has finished is not
    scored again. One line a file is printed.
    """
    files, known, limits = collect(paths), read_model(weights), limits or Limits()
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "model_card.md", card(known))
    code, scored = code_digest(score_to), 0
    rows, bar = [], track(files, "score")
    for file in bar:
        record = _once(file, known, limits, out, code)
        rows.append(_row(file, record))
        scored += record["p_fake"] is not None
        bar.write(f"{rows[-1]['p_fake'] or '—':>6}  {printable(file)}: {record['verdict']}")
    _write_csv(out / "scores.csv", rows)
    return ALL if scored == len(files) else SOME if scored else NONE


def _once(file: Path, known: Model, limits: Limits, out: Path, code: str) -> dict[str, Any]:
    """The record of one file: that of an earlier run if nothing has changed since, else made and written now."""
    name = slug(file)
    status = file.stat() if file.exists() else None
    state = fingerprint(
        known.digest,
        json.dumps(known.calibration, sort_keys=True),
        limits,
        code,
        str(file.absolute()),
        status and (status.st_size, status.st_mtime_ns),
    )
    target = out / f"{name}.json"
    if (kept := _kept(target)) and kept.get("state") == state:
        return kept
    scored = score_video(file, known, limits, out)
    record = {
        "file": printable(file),
        **scored.record(),
        "weights": known.digest,
        "trained_by": known.profile,
        "state": state,
    }
    _write(
        out / f"{name}.html",
        html(scored, known, {"model card": "model_card.md", "everything as JSON": target.name}),
    )
    _write(target, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return record


def _kept(target: Path) -> dict[str, Any]:
    try:
        return json.loads(target.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}


def _row(file: Path, record: dict[str, Any]) -> dict[str, str]:
    """One line of ``scores.csv``; a name that a spreadsheet would run as a formula gets an apostrophe before it."""
    numbers = {key: "" if record[key] is None else f"{record[key]:.4f}" for key in COLUMNS[1:4]}
    name = printable(file)
    return {
        "file": f"'{name}" if name.startswith(tuple("=+-@")) else name,
        **numbers,
        "faces": str(len(record["crops"])),
        "tracks": str(len(record["tracks"])),
        "verdict": record["verdict"],
        "skipped": "; ".join(f"{one['reason']}: {one['detail']}" for one in record["skipped"]),
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
