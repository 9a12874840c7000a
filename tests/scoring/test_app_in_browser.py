"""The application in headless Chromium: a clip is scored, and nothing leaves this machine."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, Response

from deepfake_repro.scoring.app.choice import LIMIT
from support import scoring_model
from support.application import application
from support.browser import Seen, faint, keep_screenshot, needs_browser, new_page, outside

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.pipeline, needs_browser]


@pytest.fixture(scope="module")
def checkout(
    tmp_path_factory: pytest.TempPathFactory,
    assets: Path,
    tile: np.ndarray,
    make_clip: Callable[..., Path],
) -> Path:
    """A repository with one calibrated row, and files to upload."""
    folder = tmp_path_factory.mktemp("app")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "data").mkdir()
    (folder / "data" / "assets").symlink_to(assets)
    scoring_model.make(folder / "results" / "demo" / "weights" / "fsfm_ba-0")
    make_clip(folder / "clip.mp4", [tile] * 15)
    (folder / "broken.mp4").write_bytes(b"nothing")
    with (folder / "large.mp4").open("wb") as file:
        file.truncate(LIMIT + 2**20)
    return folder


@pytest.fixture(scope="module")
def server(checkout: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """The application's address and process; at its end no temporary file is left."""
    with application(checkout, ROOT / "src") as started:
        yield started
    assert list((checkout / ".scratch").iterdir()) == []


def watch(page: Page) -> Seen:
    """Record what ``page`` complains about and asks for; it may fetch."""
    seen = Seen()

    def complain(message: ConsoleMessage) -> None:
        if message.type == "error":
            seen.messages.append(message.text)

    def check(response: Response) -> None:
        if response.status >= 400:
            seen.messages.append(f"{response.status} {response.url}")

    def remember(request: Request) -> None:
        if request.url.startswith("http"):
            seen.requests.append(request.url)

    page.on("console", complain)
    page.on("pageerror", lambda error: seen.messages.append(str(error)))
    page.on("requestfailed", lambda request: seen.messages.append(f"failed: {request.url}"))
    page.on("response", check)
    page.on("request", remember)
    page.on("websocket", lambda socket: seen.requests.append(socket.url))
    return seen


def upload(page: Page, file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload").click()
    chooser.value.set_files(file)


def test_a_clip_is_uploaded_and_its_page_shown(
    checkout: Path, server: tuple[str, subprocess.Popen]
) -> None:
    address, _ = server
    with new_page(checkout, viewport={"width": 390, "height": 844}) as page:
        seen = watch(page)
        page.goto(address)
        upload(page, checkout / "clip.mp4")
        shown = page.frame_locator("iframe")
        shown.get_by_text("score: mean over all faces").wait_for()
        assert "No verdict" in shown.locator("body").inner_text()
        keep_screenshot(page, "app-narrow")
        page.set_viewport_size({"width": 1280, "height": 1000})
        keep_screenshot(page, "app-wide")
        assert outside(page, "body") == [] and faint(page, "body") == []

        upload(page, checkout / "broken.mp4")
        page.get_by_text("broken.mp4: No score: undecodable").wait_for()
        assert page.locator("iframe").count() == 0
        keep_screenshot(page, "app-broken")
        upload(page, checkout / "large.mp4")
        page.get_by_text("large.mp4: has 201 MB, more than the 200 MB allowed").wait_for()
        assert seen.messages == []
        assert {urlsplit(url).hostname for url in seen.requests} == {"127.0.0.1"}
        assert any(url.startswith("ws:") for url in seen.requests)


def test_only_who_has_the_address_on_this_machine_gets_in(
    server: tuple[str, subprocess.Popen],
) -> None:
    address, process = server
    with urllib.request.urlopen(address.partition("?")[0], timeout=60) as answer:
        assert urlsplit(answer.url).path == "/login"
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    application = psutil.Process(process.pid)
    listening = [
        connection.laddr.ip
        for one in (application, *application.children(recursive=True))
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}
