"""A Jupyter server of a test, once it answers."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path


def wait_for_address(server: subprocess.Popen, runtime: Path, log: Path, seconds: float) -> str:
    """Return the address of a Jupyter server that answers requests.

    The server writes its address to ``runtime`` before it listens. ``AssertionError`` shows the end
    of its ``log`` if it ends or does not answer within ``seconds``.
    """
    end = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < end:
        address = _written_address(runtime)
        if address and _answers(f"{address}api"):
            return address
        time.sleep(0.2)
    raise AssertionError(f"the Jupyter server does not answer: {log.read_text()[-3000:]}")


def wait_until(address: str, server: subprocess.Popen, log: Path, seconds: float) -> None:
    """Return once ``address`` answers; ``AssertionError`` as for :func:`wait_for_address`."""
    end = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < end:
        if _answers(address):
            return
        time.sleep(0.2)
    raise AssertionError(f"the server does not answer: {log.read_text()[-3000:]}")


def _written_address(runtime: Path) -> str:
    for file in runtime.glob("jpserver-*.json"):
        if text := file.read_text():
            return json.loads(text)["url"]
    return ""


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status == 200
    except (urllib.error.URLError, TimeoutError):
        return False
