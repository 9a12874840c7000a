"""FSFM's released start weights (Section 3.2): downloaded from the hub and checked by sha256.

The authors publish no checksums. The first download records them in ``data/pretrained.sha256``
(commit it), in the format of ``sha256sum --check``; every later download, on any machine, must give
the same bytes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from ..project.provenance import file_digest

REPOSITORY = "Wolowolo/fsfm-3c"
FOLDER = "pretrained_models/VF2_ViT-B"
FILES = ("checkpoint-400.pth", "pretrain_ds_mean_std.txt")
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
