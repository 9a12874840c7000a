"""The application of the upload door, as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .jupyter import wait_until


@contextmanager
def application(folder: Path, source: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Serve the application of the checkout ``folder`` by the package in ``source``.

    Yields its address with the token, once it answers, and its process, which is ended afterwards.
    """
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "deepfake_repro", "app", "--no-browser"]
    log = folder / "app.log"
    with log.open("w") as errors:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        address = server.stdout.readline().rpartition(" ")[2].strip()
        assert address.startswith("http"), log.read_text()[-3000:]
        wait_until(f"{address.partition('?')[0]}login", server, log, seconds=120)
        yield address, server
    finally:
        server.terminate()
        server.wait(60)
        server.stdout.close()
