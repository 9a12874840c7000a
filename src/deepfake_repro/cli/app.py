"""The command that serves the upload door."""

from __future__ import annotations

import argparse
from pathlib import Path

from .commands import Commands


def add(commands: Commands) -> None:
    """Add the command with its arguments."""
    app = commands.add("app", _app, "score videos in the browser, on this machine only")
    app.add_argument(
        "detectors",
        nargs="*",
        type=Path,
        metavar="DETECTOR",
        help="offered besides those found: folders or files as for score --weights; a Python file "
        "in such a folder is run",
    )
    app.add_argument("--port", type=int, default=0, help="default: a free one")
    app.add_argument("--no-browser", action="store_true", help="only print the address")


def _app(chosen: argparse.Namespace) -> None:
    from ..scoring.app.server import serve

    serve(chosen.detectors, chosen.port, not chosen.no_browser)
