"""The book builds without a warning and works offline: links, pictures, search, results."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from deepfake_repro.teaching import book, times
from deepfake_repro.teaching.times import MARKS, PAGE, RECORD, with_table

ROOT = Path(__file__).resolve().parents[2]
FETCHED = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
}


class Page(HTMLParser):
    """Collect links, anchors, fetched files and pictures of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links = []
        self.fetched = []
        self.anchors = set()
        self.pictures = []
        self.tags = defaultdict(int)
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags[tag] += 1
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag in FETCHED and values.get(FETCHED[tag]):
            self.fetched.append(values[FETCHED[tag]])
        if tag == "img":
            self.pictures.append(values)


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the book as `make book` does, without running a lesson."""
    folder = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs"]
    command += ["-d", str(folder / "doctrees"), ".", str(folder / "html")]
    built = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-3000:]
    return folder / "html"


@pytest.fixture(scope="module")
def pages(html: Path) -> dict[Path, Page]:
    """Parse the pages; the theme's static files contain templates, which are not pages."""
    return {
        path: Page(path) for path in sorted(html.rglob("*.html")) if "_static" not in path.parts
    }


@pytest.mark.pipeline
def test_every_link_inside_the_book_leads_to_a_file_and_an_anchor_in_it(
    html: Path, pages: dict[Path, Page]
) -> None:
    broken = []
    for path, page in pages.items():
        for link in (*page.links, *page.fetched):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            lacks_anchor = anchor and target in pages and anchor not in pages[target].anchors
            if not target.is_file() or lacks_anchor:
                broken.append(f"{path.relative_to(html)}: {link}")
    assert not broken


@pytest.mark.pipeline
def test_nothing_is_fetched_from_the_network(html: Path, pages: dict[Path, Page]) -> None:
    remote = [
        (path.name, link)
        for path, page in pages.items()
        for link in page.fetched
        if urlsplit(link).netloc or urlsplit(link).scheme not in ("", "data")
    ]
    assert not remote
    foreign = re.compile(r"""url\(["']?(https?:)?//""")
    assert not [
        sheet.name
        for sheet in html.rglob("*.css")
        if foreign.search(sheet.read_text(encoding="utf-8"))
    ]


@pytest.mark.pipeline
def test_every_document_is_a_page_and_the_readme_shows_its_picture(
    html: Path, pages: dict[Path, Page]
) -> None:
    documents = [*(ROOT / "docs").glob("*.md"), *(ROOT / "results").glob("*/README.md")]
    documents += [
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "REPRODUCIBILITY.md", "data/README.md")
    ]
    names = [path.relative_to(ROOT).with_suffix(".html") for path in documents]
    assert [name for name in names if html / name not in pages] == []
    sources = [picture["src"] for picture in pages[html / "README.html"].pictures]
    assert any(source.endswith("averages.svg") for source in sources)


@pytest.mark.pipeline
def test_every_notebook_is_a_page_and_every_picture_has_a_text(
    html: Path, pages: dict[Path, Page]
) -> None:
    books = [
        path.relative_to(ROOT).with_suffix(".html")
        for path in (ROOT / "notebooks").rglob("*.ipynb")
        if ".ipynb_checkpoints" not in path.parts
    ]
    assert not [path for path in books if html / path not in pages]
    silent = [
        (path.name, picture["src"])
        for path, page in pages.items()
        for picture in page.pictures
        if not (picture.get("alt") or "").strip() or picture["alt"] in ("figure", picture["src"])
    ]
    assert not silent


@pytest.mark.pipeline
def test_pages_have_results_formulas_and_a_local_search(
    html: Path, pages: dict[Path, Page]
) -> None:
    results = pages[html / "notebooks" / "07_results.html"]
    assert len(results.pictures) >= 5, "figures of the executed notebook in git"
    assert results.tags["td"] > 400, "tables in its output are tables"
    assert pages[html / "notebooks" / "04_triplets.html"].tags["math"] >= 4
    index = (html / "searchindex.js").read_text(encoding="utf-8")
    terms = json.loads(index[index.index("(") + 1 : index.rindex(")")])["terms"]
    assert any(word.startswith("triplet") for word in terms)


def stored(path: Path, *cells: nbformat.NotebookNode) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def picture(**metadata: dict) -> nbformat.NotebookNode:
    return new_output("display_data", data={"image/png": "AAAA"}, metadata=metadata)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a lesson and a run of it by Papermill: without prose, with one more cell."""
    stored(
        tmp_path / "notebooks" / "05_finetune.ipynb",
        new_markdown_cell("# Title"),
        new_code_cell("seed = 0"),
        new_markdown_cell("## Train\n\nwhy"),
        new_code_cell("a"),
        new_code_cell("b"),
    )
    stored(
        tmp_path / book.EXECUTED["05_finetune"],
        new_code_cell("seed = 0"),
        new_code_cell("seed = 7", metadata={"tags": ["injected-parameters"]}),
        new_code_cell("a", outputs=[picture(**{"image/png": {"alt": "figure"}})]),
        new_code_cell("b", outputs=[picture(**{"image/png": {"alt": "a curve"}})]),
    )
    return tmp_path


def test_a_page_takes_the_results_of_its_run_and_describes_pictures(checkout: Path) -> None:
    cells = book.page(checkout / "notebooks" / "05_finetune.ipynb", checkout).cells
    assert [cell.source for cell in cells] == ["# Title", "seed = 0", "## Train\n\nwhy", "a", "b"]
    assert [len(cell.get("outputs", [])) for cell in cells] == [0, 0, 0, 1, 1]
    texts = [cell.metadata["mystnb"]["image"]["alt"] for cell in cells[3:]]
    assert texts == ["Figure of the section “Train”", "a curve"]


@pytest.mark.parametrize("change", ["other code", "no run", "fewer cells"])
def test_a_page_without_a_run_of_its_own_code_says_so(checkout: Path, change: str) -> None:
    source = checkout / "notebooks" / "05_finetune.ipynb"
    run = checkout / book.EXECUTED["05_finetune"]
    if change == "other code":
        source.write_text(source.read_text().replace('"b"', '"c"'))
    elif change == "no run":
        run.unlink()
    else:
        stored(run, new_code_cell("seed = 0"))
    cells = book.page(source, checkout).cells
    assert cells[1].source == book.WITHOUT_RESULTS["notebooks"]
    assert not any(cell.get("outputs") for cell in cells)


def test_lessons_are_rerun_when_results_change_if_their_inputs_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in book.LESSONS:
        stored(tmp_path / "notebooks" / f"{name}.ipynb", new_code_cell("a"))
    for name in ("dvc.lock", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    ran = []
    monkeypatch.setattr(
        book.notebooks, "run", lambda source, target, _: (ran.append(source.stem), stored(target))
    )
    book.execute_lessons(tmp_path)
    book.execute_lessons(tmp_path)
    assert ran == ["00_start_here", "04_triplets"], "once; the other lessons lack their data"
    message = "01_corpora: shown without results: data/index/demo does not exist"
    assert message in capsys.readouterr().out
    (tmp_path / "dvc.lock").write_text("other results")
    book.execute_lessons(tmp_path)
    assert ran == ["00_start_here", "04_triplets"] * 2


def test_the_table_of_times_has_the_measured_seconds() -> None:
    seconds = {"02_crops": 75.4, "04_triplets": 9.6, "solutions/04_triplets": 30.2}
    rows = times.table(seconds).splitlines()[2:]
    assert rows == [
        "| [02_crops](../notebooks/02_crops.ipynb) | 1 min 15 s | – |",
        "| [04_triplets](../notebooks/04_triplets.ipynb) | 10 s | 30 s |",
    ]
    begin, end = MARKS
    page = with_table(f"before\n{begin}old\n{end}\nafter\n", seconds)
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert "old" not in page
    assert rows[0] in page
    assert with_table(page, seconds) == page


def test_the_teachers_page_has_the_measured_times() -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    record = json.loads((ROOT / RECORD).read_text())
    assert with_table(page, record["seconds"]) == page
