"""Headless Chromium, driven through the Chrome DevTools protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
PATIENCE = 240
"""Seconds for a start or a whole run on a slow, busy machine: a limit, not a measure."""


class Page:
    """One page of the browser; ``evaluate`` runs JavaScript in it and waits for what it promises."""

    def __init__(self, address: str, log: Path) -> None:
        self.socket = websocket.create_connection(address, timeout=PATIENCE, suppress_origin=True)
        self.number, self.log = 0, log

    def command(self, method: str, **parameters: object) -> dict:
        """Send a DevTools command and return its result; events that come in between go to the log."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != self.number:
            with self.log.open("a") as file:
                print(json.dumps(answer)[:500], file=file)
        assert "error" not in answer, answer
        return answer["result"]

    def evaluate(self, expression: str) -> object:
        result = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, expression: str, what: str) -> None:
        """Until ``expression`` is true in the page."""
        end = time.monotonic() + PATIENCE
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
            time.sleep(0.3)

    def press(self, key: str, code: int) -> None:
        """A key as from the keyboard."""
        for kind in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


def appears(read: Callable[[], str], what: str, process: subprocess.Popen) -> str:
    """What ``read`` gives once it gives something."""
    end = time.monotonic() + PATIENCE
    while not (found := read()):
        assert process.poll() is None and time.monotonic() < end, f"{what} did not start"
        time.sleep(0.2)
    return found
