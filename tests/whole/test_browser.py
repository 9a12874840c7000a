"""Tests of JupyterLab in headless Chromium: lesson 04 runs to its end and its sliders redraw it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from deepfake_repro.teaching.book import LIMIT
from support.browser import PATIENCE, keep_screenshot, needs_browser, new_page
from support.jupyter import wait_for_address

ROOT = Path(__file__).resolve().parents[2]
LESSON = "notebooks/04_triplets.ipynb"
TOKEN = "lesson"

pytestmark = [pytest.mark.pipeline, needs_browser]

PANEL = """Array.from(window.jupyterapp?.shell.widgets('main') ?? [])
           .find(widget => widget.context?.isReady)"""
CELLS = f"{PANEL}.content.widgets.filter(cell => cell.model.type === 'code')"
ERRORS = f"""{CELLS}.flatMap(cell => cell.model.outputs.toJSON())
             .filter(output => output.output_type === 'error').map(output => output.evalue)"""
ALTERNATIVES = f"""{CELLS}.flatMap(cell => cell.model.outputs.toJSON())
                   .filter(output => output.data?.['image/png'])
                   .map(output => output.metadata['image/png'].alt)"""
DIGEST = """async image => {
    const bytes = await (await fetch(image.src)).arrayBuffer()
    return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)).join('.')
}"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the lesson needs and no more: a student's copy, which JupyterLab may write to."""
    folder = tmp_path_factory.mktemp("lab")
    runs = Path("results", "demo", "runs")
    shutil.copytree(ROOT / runs, folder / runs)
    (folder / "notebooks").mkdir()
    for name in (LESSON, "dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder / name)
    extension = folder / "settings" / "@jupyterlab" / "notebook-extension"
    extension.mkdir(parents=True)
    settings = {"windowingMode": "none"}  # else cells out of sight are not in the page
    (extension / "tracker.jupyterlab-settings").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def lab(checkout: Path) -> Iterator[str]:
    """Address of a JupyterLab that gives its application to the page."""
    environment = {
        **os.environ,
        "JUPYTERLAB_SETTINGS_DIR": str(checkout / "settings"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_RUNTIME_DIR": str(checkout / "runtime"),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
    }
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0"]
    options += ["--expose-app-in-browser", "--LabApp.news_url=None"]
    options += [f"--IdentityProvider.token={TOKEN}"]
    with (checkout / "lab.log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, cwd=checkout, env=environment, stdout=log, stderr=log)
    try:
        yield wait_for_address(server, checkout / "runtime", checkout / "lab.log", PATIENCE / 1000)
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def page(checkout: Path, lab: str) -> Iterator[Page]:
    """The lesson opened in JupyterLab, with its kernel."""
    with new_page(checkout, viewport={"width": 1400, "height": 1800}) as opened:
        opened.goto(f"{lab}lab/tree/{LESSON}?token={TOKEN}")
        opened.wait_for_function(f"{PANEL}?.sessionContext.session?.kernel?.status === 'idle'")
        opened.evaluate(f"window.jupyterapp.shell.activateById({PANEL}.id)")
        yield opened


def test_all_cells_run_without_an_error(page: Page) -> None:
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    ended = f"{CELLS}.every(cell => cell.model.executionCount) || {ERRORS}.length"
    page.wait_for_function(ended)
    assert page.evaluate(ERRORS) == []
    page.locator(".jp-RenderedImage img").nth(2).wait_for()  # three pictures without sliders
    alternatives = page.evaluate(ALTERNATIVES)
    assert len(alternatives) >= 5 and not {"", "figure"} & set(alternatives)
    assert page.evaluate(f"JSON.stringify({PANEL}.content.model.toJSON()).length") < LIMIT
    keep_screenshot(page, "lesson-ran")


@pytest.mark.parametrize(("number", "slider"), [(0, 0), (1, 5)], ids=["negative_x", "y"])
def test_a_slider_redraws_its_picture(page: Page, number: int, slider: int) -> None:
    pictures = page.locator("img.widget-image")
    pictures.nth(1).wait_for()
    assert pictures.count() == 2
    before = pictures.nth(number).evaluate(DIGEST)
    handle = page.locator(".noUi-handle").nth(slider)
    handle.focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    end = time.monotonic() + PATIENCE / 1000
    while pictures.nth(number).evaluate(DIGEST) == before:
        assert time.monotonic() < end, "the picture is the same as before the slider moved"
        page.wait_for_timeout(300)
    keep_screenshot(page, f"lesson-slider-{number}")
    assert page.locator(".jupyter-widgets-error-widget, .jp-mod-error").count() == 0
