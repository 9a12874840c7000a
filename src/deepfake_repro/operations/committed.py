"""The committed state of files, beside the working copy that a run of the pipeline rewrites."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from ..project.provenance import has_history


def extract_committed(base: Path, revision: str, folder: Path, *paths: str) -> None:
    """Write the files below ``paths`` as of a git revision into ``folder``.

    A path that the revision lacks is left out. Raises ``ValueError`` without git history, or for a
    revision that git does not know.
    """
    if not has_history(base):
        raise ValueError(
            "this folder has no git history (an unpacked archive), so there is nothing to compare "
            "with: its results were overwritten by yours; unpack the archive once more and run "
            "verify --run with the folder of your results there"
        )
    git = ["git", "-C", str(base)]
    listing = subprocess.run(
        [*git, "ls-tree", "-r", "--name-only", "-z", revision, "--", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        raise ValueError(f"git does not know the revision {revision!r}: git log lists them")
    files = [name for name in listing.stdout.split("\0") if name]
    if not files:
        return
    command = [*git, "archive", "--format=tar", revision, "--", *files]
    archive = subprocess.run(command, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
