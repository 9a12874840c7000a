"""JupyterLab in headless Chromium: lesson 04 opens, runs to its end, and a slider moves its picture.

Driven through the Chrome DevTools protocol. Set BROWSER_LOG to a folder to keep a screenshot and the log.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.devtools import BROWSER, NAMES, PATIENCE, Page, appears

ROOT = Path(__file__).resolve().parents[2]
LESSON = "notebooks/04_triplets.ipynb"
pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(BROWSER is None, reason=f"no browser installed: none of {', '.join(NAMES)} is in the path"),
]
PANEL = "Array.from(window.jupyterapp?.shell.widgets('main') ?? []).find(widget => widget.context?.isReady)"
OUTPUTS = f"{PANEL}.content.widgets.filter(cell => cell.model.type === 'code')"
ERRORS = f"""{OUTPUTS}.flatMap(cell => cell.model.outputs.toJSON())
             .filter(output => output.output_type === 'error').map(output => output.evalue)"""
PICTURE = "document.querySelectorAll('img.widget-image')"
BYTES = f"""fetch({PICTURE}[%d].src).then(r => r.arrayBuffer()).then(b => crypto.subtle.digest('SHA-256', b))
            .then(d => Array.from(new Uint8Array(d)).join('.'))"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the lesson needs and no more: a student's copy, which JupyterLab may write to."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "results" / "demo" / "runs", folder / "results" / "demo" / "runs")
    (folder / "notebooks").mkdir()
    for name in (LESSON, "dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder / name)
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"windowingMode": "none"}))  # else cells out of sight are not in the page
    return folder


@pytest.fixture(scope="module")
def lab(checkout: Path) -> Iterator[str]:
    """Address of JupyterLab, which gives its application to the page."""
    runtime = checkout / "runtime"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "JUPYTERLAB_SETTINGS_DIR": str(checkout / "settings"),
                   "JUPYTER_RUNTIME_DIR": str(runtime), "OMP_NUM_THREADS": "1", "JUPYTER_PREFER_ENV_PATH": "1",
                   "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
               "--expose-app-in-browser", "--LabApp.news_url=None", "--IdentityProvider.token=lesson"]
    with (checkout / "lab.log").open("w") as log:
        server = subprocess.Popen(command, cwd=checkout, env=environment, stdout=log, stderr=log)

    def address() -> str:
        files = list(runtime.glob("jpserver-*.json"))
        return json.loads(files[0].read_text())["url"] if files and files[0].stat().st_size else ""

    try:
        yield appears(address, "JupyterLab", server)
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def page(checkout: Path, lab: str) -> Iterator[Page]:
    """The lesson opened in JupyterLab."""
    home = checkout / "browser"
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               "--remote-debugging-port=0", f"--user-data-dir={home}", "--window-size=1400,1800", "about:blank"]
    with (checkout / "browser.log").open("w") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(checkout)})
    place = home / "DevToolsActivePort"
    try:
        port = appears(lambda: place.read_text() if place.is_file() else "", "the browser", browser).split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            tab = next(entry for entry in json.load(answer) if entry["type"] == "page")
        opened = Page(tab["webSocketDebuggerUrl"], checkout / "page.log")
        opened.command("Runtime.enable")
        opened.command("Page.enable")
        opened.command("Page.navigate", url=f"{lab}lab/tree/{LESSON}?token=lesson")
        opened.wait(f"{PANEL}?.sessionContext.session?.kernel?.status === 'idle'", "the notebook and its kernel")
        opened.evaluate(f"window.jupyterapp.shell.activateById({PANEL}.id)")
        yield opened
    finally:
        keep(checkout)
        browser.terminate()
        browser.wait(30)


def keep(checkout: Path) -> None:
    """Logs and screenshots to the folder BROWSER_LOG, for a person to look at."""
    if target := os.environ.get("BROWSER_LOG"):
        Path(target).mkdir(parents=True, exist_ok=True)
        for file in [*checkout.glob("*.log"), *checkout.glob("*.png")]:
            shutil.copy(file, target)


def screenshot(page: Page, path: Path) -> None:
    path.write_bytes(base64.b64decode(page.command("Page.captureScreenshot")["data"]))


def test_all_cells_run_without_an_error(page: Page, checkout: Path) -> None:
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait(f"{OUTPUTS}.every(cell => cell.model.executionCount) || {ERRORS}.length", "the last cell")
    assert page.evaluate(ERRORS) == []
    page.wait("document.querySelectorAll('.jp-RenderedImage img').length >= 3", "the pictures without sliders")
    screenshot(page, checkout / "ran.png")


def test_a_slider_moves_the_picture(page: Page, checkout: Path) -> None:
    page.wait(f"{PICTURE}.length === 2", "both pictures with sliders")
    for number, slider in ((0, 0), (1, 5)):  # negative_x of the first picture, y of the second
        before = page.evaluate(BYTES % number)
        page.evaluate(f"document.querySelectorAll('.noUi-handle')[{slider}].scrollIntoView({{block: 'start'}})")
        page.evaluate(f"document.querySelectorAll('.noUi-handle')[{slider}].focus()")
        for _ in range(12):
            page.press("ArrowRight", 39)
        wait_for_change(page, number, before)
        screenshot(page, checkout / f"moved-{number}.png")
    assert page.evaluate("document.querySelectorAll('.jupyter-widgets-error-widget, .jp-mod-error').length") == 0


def wait_for_change(page: Page, number: int, before: object) -> None:
    end = time.monotonic() + PATIENCE
    while page.evaluate(BYTES % number) == before:
        assert time.monotonic() < end, f"picture {number} is the same as before the slider moved"
        time.sleep(0.3)
