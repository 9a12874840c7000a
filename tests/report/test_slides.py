"""Slides of executed notebooks: one slide per tag, formulas, and nothing from the network."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from deepfake_repro.cli import main
from deepfake_repro.report.pages.slides import slides, write_slides
from support.browser import keep_screenshot, needs_browser, new_page, outside, watch_offline

ROOT = Path(__file__).resolve().parents[2]
LESSONS = ROOT / "results" / "demo" / "lessons"
SLIDE = {"slideshow": {"slide_type": "slide"}}
PNG = "iVBORw0KGgo="  # what every PNG begins with


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    picture = new_output(
        "display_data",
        data={"image/png": PNG},
        metadata={"image/png": {"alt": "one dot", "width": 80}},
    )
    return new_notebook(
        cells=[
            new_markdown_cell(
                "# Title\n\n[paper](https://doi.org/1) [01](01.ipynb)", metadata=SLIDE
            ),
            new_code_cell("secret = 1"),
            new_markdown_cell("## Margin\n\n$m > 0$ and\n\n$$\\frac{a}{b}$$", metadata=SLIDE),
            new_code_cell("draw()", outputs=[picture]),
        ]
    )


def test_each_tagged_cell_begins_a_slide_and_code_is_hidden(
    notebook: nbformat.NotebookNode,
) -> None:
    text = slides(notebook, "lesson")
    assert "<title>lesson</title>" in text
    parts = re.findall(r"<h[12][^>]*>(\w+)", text)
    assert parts == ["Title", "Margin"]
    assert re.sub(r"\s", "", text).count("<section><section>") == 2
    assert "secret" not in text and "secret" in slides(notebook, "lesson", code=True)
    assert f"data:image/png;base64,{PNG}" in text
    assert 'alt="one dot"' in text and 'width="80"' in text


def test_formulas_are_mathml_and_local_links_text(notebook: nbformat.NotebookNode) -> None:
    text = slides(notebook, "lesson")
    assert text.count("<math") == 2 and "<mfrac>" in text and "$m" not in text
    assert re.findall(r'<a [^>]*href="([^"]+)"', text) == ["https://doi.org/1"]
    assert "01.ipynb" not in text


def test_a_notebook_without_slides_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Title")]), path)
    with pytest.raises(ValueError, match="plain has no slides"):
        write_slides([path], tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"no notebook .*none\.ipynb"):
        write_slides([tmp_path / "none.ipynb"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    assert main(["slides", str(LESSONS / "04_triplets.ipynb"), "--out", str(folder)]) == 0
    (page,) = folder.iterdir()
    return page


def test_a_lessons_slides_load_nothing_and_run_nothing(lesson: Path) -> None:
    text = lesson.read_text(encoding="utf-8")
    assert lesson.name == "04_triplets.slides.html"
    assert "<script" not in text and "@import" not in text
    assert not re.search(r"""url\(["']?(https?:)?//""", text)
    assert not re.findall(r'<(?:link|img|iframe)[^>]*(?:src|href)="(?!data:)', text)
    assert text.count("<math") >= 4


@needs_browser
def test_the_keyboard_leads_to_every_slide(lesson: Path, tmp_path: Path) -> None:
    with new_page(tmp_path, viewport={"width": 1280, "height": 800}) as page:
        seen = watch_offline(page)
        page.goto(lesson.as_uri())
        parts = page.locator("main > section")
        assert parts.count() == 9
        assert outside(page, "main") == []
        page.keyboard.press("PageDown")
        top = "() => document.querySelectorAll('main > section')[1].getBoundingClientRect().top"
        page.wait_for_function(f"() => Math.abs(({top})()) < 2")
        keep_screenshot(page, "slides")
        page.keyboard.press("End")
        page.wait_for_function("() => scrollY + innerHeight >= document.body.scrollHeight - 2")
        assert parts.last.evaluate("part => part.getBoundingClientRect().top < innerHeight")
    assert seen.messages == [] and seen.requests == []
