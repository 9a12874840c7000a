"""Serve the upload door as an application: Voilà, for one user, on this machine only."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import nbformat
from voila.app import Voila

from ...project.params import root
from .choice import LIMIT, find_detectors

ADDRESS = "127.0.0.1"
TEMPLATES = Path(__file__).parent / "templates"
TITLE = "Score a video"
MESSAGE = LIMIT + 2**20
"""Bytes of one message from the browser at most: an upload and what is said about it."""


class Server(Voila):
    """Voilà that opens the browser at an address with its token."""

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{self.ip}:{self.port}/?token={self.token}"

    def launch_browser(self) -> None:
        """Open the page in the user's browser."""
        Thread(target=webbrowser.open, args=[self.url], daemon=True).start()


def serve(named: Sequence[Path] = (), port: int = 0, browse: bool = True) -> None:
    """Serve the application until it is interrupted, then delete its temporary files.

    ``named``: detectors as for ``find_detectors``; ``port``: 0 takes a free one; ``browse``: open
    the page in the user's browser.
    """
    base = root()
    find_detectors(base, named)  # refuse before anything starts
    scratch = base / ".scratch"
    scratch.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="app-", dir=scratch) as folder:
        notebook = Path(folder) / "app.ipynb"
        nbformat.write(_notebook(named), notebook)
        port = port or _free_port()
        app = _server(notebook, port, secrets.token_urlsafe(24))
        app.open_browser = browse
        print(f"{TITLE}: {app.url}\nCtrl+C ends it. The address is for you alone.", flush=True)
        app.start()


def _notebook(named: Sequence[Path]) -> nbformat.NotebookNode:
    """Return the notebook behind the page: its title and the door."""
    paths = [str(path.absolute()) for path in named]
    code = f"from deepfake_repro.scoring.app.widgets import application\n\napplication({paths!r})"
    cells = [nbformat.v4.new_markdown_cell(f"# {TITLE}"), nbformat.v4.new_code_cell(code)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.update(title=TITLE, upload_limit=LIMIT, kernelspec={"name": "python3"})
    return notebook


def _server(notebook: Path, port: int, token: str) -> Server:
    """Return the server, whose settings no file of the user's overrides."""
    app = Server()
    app.initialize([str(notebook), "--no-browser", "--Voila.log_level=WARN"])
    app.ip = ADDRESS
    app.port = port
    app.port_retries = 0
    app.token = token
    app.tornado_settings = {
        "headers": {"Content-Security-Policy": _policy(port)},
        "websocket_max_message_size": MESSAGE,
    }
    options = app.voila_configuration
    options.allow_template_override = "NO"
    options.allow_theme_override = "NO"
    options.file_allowlist = []
    app.template_paths.insert(0, str(TEMPLATES))
    return app


def _policy(port: int) -> str:
    """Forbid the browser to load anything from, or send anything to, another machine."""
    return "; ".join(
        [
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            f"connect-src 'self' ws://{ADDRESS}:{port}",
            "form-action 'self'",
            "frame-ancestors 'self'",
        ]
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return probe.getsockname()[1]
