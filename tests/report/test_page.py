"""The report as one page: what stands in its files stands in it, escaped; a browser on a phone shows all of it."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_repro.report.cards import cards
from deepfake_repro.report.html import data_uri, page, rendered
from deepfake_repro.report.page import SECTIONS, report_page
from support.devtools import BROWSER, NAMES, Page, appears
from support.reports import RUNS

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "results" / "demo" / "report"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="300"><rect width="900" height="300"/></svg>'
MARKDOWN = "# Top\n\nA sentence.\n\n| a | b |\n| - | -: |\n| c | 1 |\n"
FLAGS = ("--headless=new --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run "
         "--disable-background-networking --disable-component-update --disable-sync --remote-debugging-port=0").split()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report's own tables and cards, and a drawing in place of each figure."""
    folder = tmp_path_factory.mktemp("report")
    for name in (name for files in SECTIONS.values() for name in files):
        (folder / name).write_text(SVG if name.endswith(".svg") else MARKDOWN)
    for name in ("table3.md", "comparison.md", "claims.md", "decisions.md", "paper_map.md"):
        (folder / name).write_bytes((REPORT / name).read_bytes())
    (folder / "cards.md").write_text(cards(RUNS))
    return folder


@pytest.fixture(scope="module")
def text(report: Path) -> str:
    return report_page(report, "demo")


def test_every_section_table_and_figure_is_there_and_nothing_comes_from_outside(text: str) -> None:
    assert re.findall(r'<h2>([^<]+)</h2>\n', text) == list(SECTIONS) and text.count("<h1>") == 1
    files = [name for names in SECTIONS.values() for name in names]
    assert text.count("<img ") == sum(name.endswith(".svg") for name in files)
    assert not re.search(r'(src|href)="(?!data:|#)(?!\.\./)(?!https://doi|https://arxiv)[a-z]+:', text)
    assert "<script" not in text and "@import" not in text and "url(" not in text
    assert all(f'href="#s{number}"' in text and f'id="s{number}"' in text for number in range(len(SECTIONS)))
    assert not re.search(r'<img (?![^>]*alt="[^"]{20,}")', text)


def test_numbers_of_table_3_arrive_in_their_cells(text: str, report: Path) -> None:
    line = next(line for line in (report / "table3.md").read_text().splitlines() if line.startswith("| FSFM + BA |"))
    table = text[text.index("<table>"):text.index("</table>")]
    cells = re.search(r"<tr>\n<td>FSFM \+ BA</td>\n(.*?)</tr>", table, flags=re.S)[1]
    assert re.findall(r">([^<>\n]+)</td>", cells) == line.strip("| ").split(" | ")[1:]


def test_the_same_files_give_the_same_page_and_a_missing_one_is_named(text: str, report: Path, tmp_path: Path) -> None:
    assert report_page(report, "demo") == text
    with pytest.raises(FileNotFoundError, match=r"table3\.md is missing in .*: run dvc repro report@smoke first"):
        report_page(tmp_path, "smoke")


def test_html_in_markdown_is_text_except_line_breaks() -> None:
    table = "| a | b |\n| --- | ---: |\n| 1<br>2 | <i>x</i> |\n"
    found = rendered(f'<script>alert("x")</script> & [a](javascript:b)\n\n{table}', '"q"')
    assert "<script" not in found and "&lt;script&gt;" in found and 'href="javascript' not in found
    assert "<td>1<br>2</td>" in found and "&lt;i&gt;x" in found and 'aria-label="&quot;q&quot;"' in found
    assert ElementTree.fromstring(f"<div>{found.replace('<br>', '<br/>')}</div>").findall(".//table/tbody/tr")


def test_links_to_files_beside_the_page_are_plain_text() -> None:
    shown = rendered("[the file](../runs/a.json) and [the paper](https://doi.org/10.1145/3746275.3762208)", "words")
    assert shown == '<p>the file and <a href="https://doi.org/10.1145/3746275.3762208">the paper</a></p>\n'


def test_headings_go_below_the_sections_and_long_cells_get_room() -> None:
    found = rendered(f"# Top\n\n## Part\n\n| a |\n| - |\n| {'word ' * 20}|\n| short |\n", "t")
    assert "Top" not in found and "<h3>Part</h3>" in found and found.count('<td class="long">') == 1


def test_a_heading_spans_the_empty_ones_after_it_and_the_corner_stays_empty() -> None:
    found = rendered("|  | in |  |  | out |\n| --- | ---: | ---: | ---: | --- |\n| a | 1 |  | 3 | 4 |\n", "t")
    table = ElementTree.fromstring(found).find(".//table")
    heads = [(cell.text or "", cell.get("colspan")) for cell in table.findall("thead/tr/th")]
    assert heads == [("", None), ("in", "3"), ("out", None)]
    assert [cell.text or "" for cell in table.findall("tbody/tr/td")] == ["a", "1", "", "3", "4"]


def test_title_is_escaped_and_pictures_are_whole(tmp_path: Path) -> None:
    assert "<title>a &lt;b&gt;</title>" in page("a <b>", "")
    assert "<style>p { color: red; }</style>" in page("a", "", "p { color: red; }")
    (tmp_path / "x.png").write_bytes(bytes(range(256)))
    head, _, content = data_uri(tmp_path / "x.png").partition(",")
    assert head == "data:image/png;base64" and base64.b64decode(content) == bytes(range(256))
    with pytest.raises(ValueError, match=r"^x\.pdf is no picture"):
        data_uri(tmp_path / "x.pdf")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Path]]:
    if BROWSER is None:
        pytest.skip(f"no browser installed: none of {', '.join(NAMES)} is in the path")
    folder = tmp_path_factory.mktemp("browser")
    command = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'home'}", "about:blank"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)})
    port = folder / "home" / "DevToolsActivePort"
    try:
        number = appears(lambda: port.read_text() if port.is_file() else "", "the browser", process).split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{number}/json/list") as answer:
            tab = next(entry for entry in json.load(answer) if entry["type"] == "page")
        yield Page(tab["webSocketDebuggerUrl"], folder / "events"), folder
    finally:
        process.terminate()
        process.wait(30)


def test_a_phone_shows_the_page_without_an_error(browser: tuple[Page, Path], text: str) -> None:
    """No console message, all pictures drawn, nothing wider than the screen but tables, which scroll by themselves."""
    opened, folder = browser
    (folder / "report.html").write_text(text)
    for domain in ("Log", "Runtime", "Page", "Network"):
        opened.command(f"{domain}.enable")
    opened.command("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=2, mobile=True)
    opened.command("Page.navigate", url=(folder / "report.html").as_uri())
    opened.wait("document.readyState === 'complete' && document.images.length", "the page")
    assert opened.evaluate("Array.from(document.images).every(i => i.complete && i.naturalWidth > 100)")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.evaluate("document.querySelector('.table').scrollWidth > document.querySelector('.table').clientWidth")
    assert opened.evaluate("parseFloat(getComputedStyle(document.querySelector('td')).fontSize)") >= 12
    cut = "Array.from(document.querySelectorAll('td')).filter(c => c.scrollWidth > c.clientWidth + 1).length"
    assert opened.evaluate(cut) == 0
    events = [json.loads(line)["method"] for line in (folder / "events").read_text().splitlines() if line.endswith("}")]
    assert not {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"} & set(events)
    asked = [line for line in (folder / "events").read_text().splitlines() if "requestWillBeSent\"" in line]
    assert [line for line in asked if "file://" in line] and not [line for line in asked if '"url": "http' in line]


def test_paper_holds_the_whole_width_of_the_tables(browser: tuple[Page, Path], text: str) -> None:
    opened, folder = browser
    opened.command("Emulation.clearDeviceMetricsOverride")
    (folder / "print.html").write_text(text)
    opened.command("Page.navigate", url=(folder / "print.html").as_uri())
    opened.command("Emulation.setEmulatedMedia", media="print")
    opened.command("Emulation.setDeviceMetricsOverride", width=1032, height=700, deviceScaleFactor=1, mobile=False)
    opened.wait("document.title && location.href.endsWith('print.html') && document.readyState === 'complete'", "it")
    wide = "Array.from(document.querySelectorAll('table')).filter(t => t.scrollWidth > innerWidth).length"
    assert opened.evaluate(wide) == 0  # 1,032 CSS pixels: A4 landscape less its margins
    assert opened.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
