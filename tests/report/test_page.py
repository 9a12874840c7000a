"""The report as one page: the content of its files, escaped; a phone's browser shows all of it."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.report.cards import cards
from deepfake_repro.report.pages.html import data_uri, figure, page, render_markdown
from deepfake_repro.report.pages.page import SECTIONS, report_page
from deepfake_repro.report.scores import read_published, read_scores
from deepfake_repro.report.tables import (
    comparison,
    comparison_markdown,
    table3,
)
from support.browser import faint, keep_screenshot, needs_browser, new_page, watch_offline
from support.reports import RUNS

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "results" / "demo" / "report"
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="300">'
    '<rect width="900" height="300"/></svg>'
)
MARKDOWN = "# Top\n\nA sentence.\n\n| a | b |\n| - | -: |\n| c | 1 |\n"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report's own tables and cards, and a simple drawing in place of each figure."""
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
    assert re.findall(r"<h2>([^<]+)</h2>\n", text) == list(SECTIONS) and text.count("<h1>") == 1
    files = [name for names in SECTIONS.values() for name in names]
    assert text.count("<img ") == sum(name.endswith(".svg") for name in files)
    assert not re.search(
        r'(src|href)="(?!data:|#)(?!\.\./)(?!https://doi|https://arxiv)[a-z]+:', text
    )
    assert "<script" not in text and "@import" not in text and "url(" not in text
    assert all(
        f'href="#s{number}"' in text and f'id="s{number}"' in text
        for number in range(len(SECTIONS))
    )
    assert not re.search(r'<img (?![^>]*alt="[^"]{20,}")', text)


def test_numbers_of_table_3_arrive_in_their_cells(text: str, report: Path) -> None:
    line = next(
        line
        for line in (report / "table3.md").read_text().splitlines()
        if line.startswith("| FSFM + BA |")
    )
    table = text[text.index("<table>") : text.index("</table>")]
    cells = re.search(r"<tr>\n<td>FSFM \+ BA</td>\n(.*?)</tr>", table, flags=re.S)[1]
    assert re.findall(r">([^<>\n]+)</td>", cells) == line.strip("| ").split(" | ")[1:]


def test_the_same_files_give_the_same_page_and_a_missing_one_is_named(
    text: str, report: Path, tmp_path: Path
) -> None:
    assert report_page(report, "demo") == text
    with pytest.raises(
        FileNotFoundError, match=r"table3\.md is missing in .*: run dvc repro report@smoke first"
    ):
        report_page(tmp_path, "smoke")


def test_html_in_markdown_is_text_except_line_breaks() -> None:
    table = "| a | b |\n| --- | ---: |\n| 1<br>2 | <i>x</i> |\n"
    html = render_markdown(f'<script>alert("x")</script> & [a](javascript:b)\n\n{table}', '"q"')
    assert "<script" not in html and "&lt;script&gt;" in html and 'href="javascript' not in html
    assert "<td>1<br>2</td>" in html
    assert "&lt;i&gt;x" in html
    assert 'aria-label="&quot;q&quot;"' in html
    tree = ElementTree.fromstring(f"<div>{html.replace('<br>', '<br/>')}</div>")
    assert tree.findall(".//table/tbody/tr")


def test_a_folded_part_folds_and_other_html_does_not() -> None:
    fold = "<details><summary>What was checked</summary>\n\n* a < b\n\n</details>\n"
    html = render_markdown(fold, "t")
    assert html.startswith("<details><summary>What was checked</summary>")
    assert html.rstrip().endswith("</details>") and "<li>a &lt; b</li>" in html
    assert "<summary>" not in render_markdown("see <summary>a</summary>", "t")


def test_the_alternative_text_is_the_drawings_own_finding(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text(
        SVG.replace("<rect", "<title>Averages</title><desc>A &lt; B.</desc><rect")
    )
    assert 'alt="Averages. A &lt; B."><figcaption>Words' in figure(tmp_path / "a.svg", "Words")
    (tmp_path / "b.svg").write_text(SVG)
    assert 'alt="Words"' in figure(tmp_path / "b.svg", "Words")


def test_links_to_files_beside_the_page_are_plain_text() -> None:
    paper = "https://doi.org/10.1145/3746275.3762208"
    html = render_markdown(f"[the file](../runs/a.json) and [the paper]({paper})", "words")
    assert html == f'<p>the file and <a href="{paper}">the paper</a></p>\n'


def test_headings_go_below_the_sections_and_long_cells_get_room() -> None:
    html = render_markdown(f"# Top\n\n## Part\n\n| a |\n| - |\n| {'word ' * 20}|\n| short |\n", "t")
    assert "Top" not in html and "<h3>Part</h3>" in html and html.count('<td class="long">') == 1


def test_a_heading_spans_the_empty_ones_after_it_and_the_corner_stays_empty() -> None:
    html = render_markdown(
        "|  | in |  |  | out |\n| --- | ---: | ---: | ---: | --- |\n| a | 1 |  | 3 | 4 |\n", "t"
    )
    table = ElementTree.fromstring(html).find(".//table")
    heads = [(cell.text or "", cell.get("colspan")) for cell in table.findall("thead/tr/th")]
    assert heads == [("", None), ("in", "3"), ("out", None)]
    assert [cell.text or "" for cell in table.findall("tbody/tr/td")] == ["a", "1", "", "3", "4"]


def test_title_is_escaped_and_pictures_are_whole(tmp_path: Path) -> None:
    assert "<title>a &lt;b&gt;</title>" in page("a <b>", "")
    assert "<style>p { color: red; }</style>" in page("a", "", "p { color: red; }")
    (tmp_path / "x.png").write_bytes(bytes(range(256)))
    head, _, content = data_uri(tmp_path / "x.png").partition(",")
    assert head == "data:image/png;base64" and base64.b64decode(content) == bytes(range(256))
    with pytest.raises(ValueError, match=r"^x\.pdf is not an image"):
        data_uri(tmp_path / "x.pdf")


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_have_contrast_in_the_colours_of_the_screen(
    text: str, tmp_path: Path, scheme: str
) -> None:
    (tmp_path / "report.html").write_text(text)
    with new_page(tmp_path, color_scheme=scheme) as opened:
        opened.goto((tmp_path / "report.html").as_uri())
        background = opened.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 26)"}[scheme]
        assert faint(opened, "body") == []


@needs_browser
def test_a_phone_shows_the_page_without_an_error(text: str, tmp_path: Path) -> None:
    """No message, all images drawn, and only tables, which scroll, are wider than the screen."""
    (tmp_path / "report.html").write_text(text)
    phone = {"viewport": {"width": 390, "height": 800}, "device_scale_factor": 2, "is_mobile": True}
    with new_page(tmp_path, **phone) as page:
        seen = watch_offline(page)
        page.goto((tmp_path / "report.html").as_uri())
        keep_screenshot(page, "report-phone")
        assert page.evaluate("document.images.length > 0")
        assert page.evaluate(
            "Array.from(document.images).every(i => i.complete && i.naturalWidth > 100)"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        table = page.locator(".table").first
        assert table.evaluate("table => table.scrollWidth > table.clientWidth")
        cell = page.locator("td")
        assert cell.first.evaluate("cell => parseFloat(getComputedStyle(cell).fontSize)") >= 12
        cut = cell.evaluate_all(
            "cells => cells.filter(c => c.scrollWidth > c.clientWidth + 1).length"
        )
        assert cut == 0
    assert seen.messages == []
    assert seen.requests == []


@needs_browser
def test_a_laptop_shows_the_whole_width_of_table_3_and_of_the_comparison(tmp_path: Path) -> None:
    published = read_published(ROOT / "results" / "published" / "scores")
    rows = read_scores(RUNS)
    cells = comparison(published, rows, pd.read_csv(REPORT / "intervals.csv"))
    parts = [table3(rows), comparison_markdown(cells, rows)]
    body = "".join(render_markdown(part, "table") for part in parts)
    (tmp_path / "tables.html").write_text(page("tables", body))
    cut = "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth).length"
    for width, allowed in ((1280, 0), (390, 9)):  # on a phone a table scrolls in its own box
        with new_page(tmp_path, viewport={"width": width, "height": 900}) as opened:
            opened.goto((tmp_path / "tables.html").as_uri())
            assert opened.locator(".table").count() == 9
            assert opened.locator(".table").evaluate_all(cut) <= allowed
            assert opened.evaluate("document.documentElement.scrollWidth") <= width


@needs_browser
def test_printed_pages_show_the_whole_width_of_the_tables(text: str, tmp_path: Path) -> None:
    (tmp_path / "print.html").write_text(text)
    paper = {"width": 1032, "height": 700}  # CSS pixels: A4 landscape less its margins
    with new_page(tmp_path, viewport=paper) as page:
        page.emulate_media(media="print")
        page.goto((tmp_path / "print.html").as_uri())
        keep_screenshot(page, "report-print")
        wide = "tables => tables.filter(t => t.scrollWidth > innerWidth).length"
        assert page.locator("table").count() > 5
        assert page.locator("table").evaluate_all(wide) == 0
        assert not page.locator("nav").is_visible()
