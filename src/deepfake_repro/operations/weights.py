"""Released weights: FSFM's start (Section 3.2) and detectors, fetched and checked by sha256.

Their authors publish no checksums. The first download records them (commit the record), in the
format of ``sha256sum --check``; every later download, on any machine, must give the same bytes.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from ..detectors.catalogue import RELEASED, Released
from ..project.files import replacing
from ..project.provenance import file_digest

REPOSITORY = "Wolowolo/fsfm-3c"
FOLDER = "pretrained_models/VF2_ViT-B"
FILES = ("checkpoint-400.pth", "pretrain_ds_mean_std.txt")
DETECTORS = Path("data", "pretrained", "detectors")
RECORD = Path("data", "released.sha256")
SECONDS = 60  # without an answer of the server
LICENCE = "CC BY-NC 4.0: non-commercial use only, do not redistribute"


def fetch(out: Path, record: Path) -> None:
    """Download ``FILES`` into ``out`` and check their sha256 against ``record``.

    Raises ``ValueError`` without a connection or for a file with another sha256; ``out`` then stays
    as it was.
    """
    print(f"FSFM weights of {REPOSITORY} ({LICENCE})")
    for name in FILES:
        try:
            downloaded = Path(hf_hub_download(REPOSITORY, f"{FOLDER}/{name}"))
        except (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError) as error:
            raise ValueError(
                f"{name} of hub repository {REPOSITORY} cannot be downloaded "
                f"({str(error).splitlines()[0]}); download it elsewhere and put it into {out}"
            ) from None
        check(downloaded, name, record)
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(downloaded, out / name)
        print(f"{out / name}: as recorded in {record.name}")


def check(file: Path, name: str, record: Path) -> None:
    """Compare the sha256 of ``file`` with the line of ``name`` in ``record``, or add that line.

    Raises ``ValueError`` if they differ.
    """
    digests: dict[str, str] = {}
    for line in record.read_text().splitlines() if record.exists() else []:
        digest, recorded_name = line.split("  ", 1)
        digests[recorded_name] = digest
    digest = file_digest(file)
    if digests.setdefault(name, digest) != digest:
        raise ValueError(
            f"{name} has sha256 {digest}, but {record.name} records {digests[name]}: the file "
            "changed at its source or in transit; download it again, or delete the line if you "
            "trust the new one"
        )
    record.write_text("".join(f"{value}  {key}\n" for key, value in sorted(digests.items())))


def list_released(base: Path) -> str:
    """Tabulate the released detectors: name, what it is, size, licence, whether it is here."""
    head = ("name", "detector", "trained on", "paper", "MB", "licence", "here")
    rows = [
        (
            name,
            released.manifest.name,
            released.manifest.trained_on,
            released.manifest.paper,
            str(released.size),
            released.licence.split(":")[0].split(" (")[0],
            "yes" if _file(base, name, released).is_file() else "no",
        )
        for name, released in RELEASED.items()
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]
    return "\n".join(lines) + "\n"


def fetch_released(name: str, base: Path, accepted: bool = False) -> Path:
    """Fetch a released detector below ``base``, record its sha256, write its ``detector.json``.

    A file that is there already is kept. ``accepted``: the user accepts a licence that does not
    permit any use. Raises ``ValueError`` for an unknown name, a licence not accepted, a file that
    cannot be downloaded (saying what to put where) and one with another sha256 than recorded.
    Returns the detector's folder.
    """
    if name not in RELEASED:
        raise ValueError(f"unknown detector {name!r}; known: {', '.join(RELEASED)}")
    released = RELEASED[name]
    print(f"{released.manifest.name}: licence of the weights: {released.licence}")
    if not released.is_free and not accepted:
        raise ValueError(
            f"{name}: read the licence at {released.manifest.weights.source} and, if you accept "
            "it, repeat the command with --accept-licence"
        )
    file = _file(base, name, released)
    if not file.is_file():
        _download(released, file)
    check(file, f"{name}/{file.name}", base / RECORD)
    weights = replace(released.manifest.weights, sha256=file_digest(file))
    replace(released.manifest, weights=weights).write(file.parent)
    print(f"{file}: sha256 as recorded in {RECORD}; score with --weights {file.parent}")
    return file.parent


def _file(base: Path, name: str, released: Released) -> Path:
    return base / DETECTORS / name / released.manifest.weights.file


def _download(released: Released, file: Path) -> None:
    """Download the weights to ``file``; ``ValueError`` says what to put where if that fails."""
    source = released.manifest.weights.source
    by_hand = f"download {file.name} from {source} yourself, put it into {file.parent}"
    if not released.hub and not released.url:
        raise ValueError(f"{by_hand} and repeat the command: it cannot be fetched by a program")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        if released.hub:
            shutil.copyfile(hf_hub_download(*released.hub), file)
        else:
            with (
                urlopen(released.url, timeout=SECONDS) as answer,
                replacing(file) as temporary,
                temporary.open("wb") as sink,
            ):
                shutil.copyfileobj(answer, sink)
    except (HfHubHTTPError, LocalEntryNotFoundError, URLError, ConnectionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"no connection to the source ({reason}): {by_hand} and repeat the command"
        ) from None
