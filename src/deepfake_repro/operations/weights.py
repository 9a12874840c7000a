"""FSFM's released start weights (Section 3.2): fetched from the hub, their sha256 recorded at first use.

The authors publish no checksums. The first fetch writes them to ``data/pretrained.sha256`` (commit
it), in the format of ``sha256sum --check``; every later fetch, here or by someone else, must give
the same bytes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from ..project.provenance import file_digest

REPOSITORY, FOLDER = "Wolowolo/fsfm-3c", "pretrained_models/VF2_ViT-B"
FILES = ("checkpoint-400.pth", "pretrain_ds_mean_std.txt")
LICENCE = "CC BY-NC 4.0: non-commercial use only, do not redistribute"


def fetch(out: Path, record: Path) -> None:
    """Download ``FILES`` into ``out`` and check or begin their ``record``.

    Raises ``ValueError`` without a connection, or if a file is not the one recorded; what was in
    ``out`` stays then.
    """
    print(f"FSFM weights of {REPOSITORY} ({LICENCE})")
    for name in FILES:
        try:
            fetched = Path(hf_hub_download(REPOSITORY, f"{FOLDER}/{name}"))
        except (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError) as error:
            raise ValueError(
                f"{name} of hub repository {REPOSITORY} cannot be fetched "
                f"({str(error).splitlines()[0]}); download it elsewhere and put it into {out}"
            ) from None
        check(fetched, name, record)
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fetched, out / name)
        print(f"{out / name}: as recorded in {record.name}")


def check(file: Path, name: str, record: Path) -> None:
    """Compare ``file`` with the line of ``name`` in ``record``, or write that line if there is none.

    Raises ``ValueError`` for other contents.
    """
    known = (
        dict(reversed(line.split("  ", 1)) for line in record.read_text().splitlines())
        if record.exists()
        else {}
    )
    digest = file_digest(file)
    if known.setdefault(name, digest) != digest:
        raise ValueError(
            f"{name} has sha256 {digest}, but {record.name} records {known[name]}: the file changed at "
            "its source or on the way; fetch it again, or delete the line if you trust the new one"
        )
    record.write_text("".join(f"{value}  {key}\n" for key, value in sorted(known.items())))
