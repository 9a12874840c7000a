"""What the upload door takes: the detectors to choose from, and how large a file may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...detectors.manifest import FILE, PYTHON, DetectorManifest
from ...operations.weights import DETECTORS
from ...project.vocabulary import ROW_NAMES
from ..model import calibrated_rows

LIMIT = 200 * 2**20
"""Bytes of an uploaded file at most: browser, server and kernel each hold it in memory."""


def find_detectors(base: Path, named: Iterable[Path] = ()) -> dict[str, Path]:
    """Find the detectors that can score a video: label -> folder.

    ``named``: what the user named, as ``read_model`` takes it, first in the list. Then come the
    calibrated rows of all profiles and the released detectors below ``base``. A detector that is a
    Python file is left out unless named: reading it would run it. ``FileNotFoundError`` says what
    to do if there is none.
    """
    folders = [*map(_existing, named), *calibrated_rows(base), *_released(base)]
    if not folders:
        raise FileNotFoundError(
            f"{base}: no detector here; run dvc repro calibrate or deepfake-repro weights list"
        )
    found: dict[str, Path] = {}
    for folder in dict.fromkeys(folder.absolute() for folder in folders):
        label = _label(folder)
        found[f"{label} in {folder}" if label in found else label] = folder
    return found


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such detector; give its folder or its file")
    return path


def _released(base: Path) -> Iterator[Path]:
    """Yield the fetched detectors whose weights are here."""
    for file in sorted((base / DETECTORS).glob(f"*/{FILE}")):
        manifest = DetectorManifest.read(file.parent)
        if manifest.network != PYTHON and (file.parent / manifest.weights.file).is_file():
            yield file.parent


def _label(folder: Path) -> str:
    if (folder / FILE).is_file():
        return DetectorManifest.read(folder).name
    row = re.fullmatch(r"(\w+)-(\d+)", folder.name)
    if row is None or folder.parent.name != "weights":
        return folder.name
    profile = folder.parent.parent.name
    return f"{ROW_NAMES.get(row[1], row[1])}, seed {row[2]}, trained on {profile}"
