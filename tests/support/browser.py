"""Chromium as installed on this machine, driven by Playwright, for the tests of pages.

Set BROWSER_LOG to a folder to keep screenshots of each test, for a person to look at.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import PIL.Image
import pytest
from playwright.sync_api import Error, Page, Route, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 240_000
"""Milliseconds for a start or a whole run on a slow, busy machine: a limit, not a measure."""
TRIES = 5
"""Screenshots until a browser's failure to take one counts."""

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser installed: none of {', '.join(NAMES)} is in the path"
)


@dataclass
class Seen:
    """What a page said and asked for."""

    messages: list[str] = field(default_factory=list)
    """Console messages and uncaught errors."""
    requests: list[str] = field(default_factory=list)
    """Addresses of what the page asked the network for, by http or https."""


@contextmanager
def new_page(home: Path, **context: object) -> Iterator[Page]:
    """A page of a fresh headless browser whose own files go to ``home``.

    ``context``: options of Playwright's ``Browser.new_context``, such as ``viewport``.
    """
    environment = {**os.environ, "HOME": str(home)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS, env=environment)
        try:
            page = browser.new_context(**context).new_page()
            page.set_default_timeout(PATIENCE)
            yield page
        finally:
            browser.close()


def watch_offline(page: Page) -> Seen:
    """Record what ``page`` says and asks for from now on; nothing it asks for is fetched."""
    seen = Seen()

    def refuse(route: Route) -> None:
        seen.requests.append(route.request.url)
        route.abort()

    page.on("console", lambda message: seen.messages.append(message.text))
    page.on("pageerror", lambda error: seen.messages.append(str(error)))
    page.route(lambda address: address.startswith("http"), refuse)
    return seen


def take_picture(page: Page, **options: object) -> PIL.Image.Image:
    """Take a screenshot in RGB; a busy machine's browser may need several tries.

    ``options``: those of Playwright's ``Page.screenshot``, such as ``full_page``.
    """
    for _ in range(TRIES - 1):
        try:
            return _picture(page, options)
        except Error:
            page.wait_for_timeout(1000)
    return _picture(page, options)


def _picture(page: Page, options: dict[str, object]) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(page.screenshot(**options))).convert("RGB")


def keep_screenshot(page: Page, name: str) -> None:
    """Write a screenshot to the folder BROWSER_LOG, if one is named."""
    if folder := os.environ.get("BROWSER_LOG"):
        take_picture(page).save(Path(folder) / f"{name}.png")


def outside(page: Page, main: str) -> list[str]:
    """Parts of ``main`` (a selector) that leave the screen without a box that scrolls."""
    return page.evaluate(_OUTSIDE, main)


def faint(page: Page, main: str) -> list[str]:
    """Parts whose words have less contrast to what is behind them than WCAG asks of text."""
    return page.evaluate(_FAINT, main)


_OUTSIDE = """main => [...document.querySelectorAll(`${main} *`)].filter(part => {
    if (part.getBoundingClientRect().right <= document.documentElement.clientWidth + 1) return false
    for (let box = part.parentElement; box.tagName !== 'BODY'; box = box.parentElement)
        if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(box).overflowX)) return false
    return true
}).map(part => part.outerHTML.slice(0, 80))"""
_FAINT = """main => {
    const brightness = colour => {
        const [red, green, blue] = colour.match(/[\\d.]+/g).map(value => {
            const share = value / 255
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
        })
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
    const behind = part => {
        for (; part; part = part.parentElement) {
            const colour = getComputedStyle(part).backgroundColor
            if (!colour.endsWith(', 0)')) return brightness(colour)
        }
        return 1
    }
    const text = part => [...part.childNodes].some(node => node.nodeType === 3 && node.data.trim())
    return [...document.querySelectorAll(`${main} *:not(.headerlink)`)].filter(part => {
        if (!text(part) || !part.getClientRects().length) return false
        const both = [brightness(getComputedStyle(part).color), behind(part)]
        return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05) < 4.5
    }).map(part => part.outerHTML.slice(0, 80))
}"""
