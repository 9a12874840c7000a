"""The book builds without a warning and works offline: links, pictures, search, results."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from base64 import b64decode, b64encode
from collections import defaultdict
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import PIL.Image
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from deepfake_repro.operations.committed import extract_committed
from deepfake_repro.project.provenance import has_history
from deepfake_repro.teaching import book, times
from deepfake_repro.teaching.times import MARKS, PAGE, RECORD, with_table
from support.browser import faint, keep_screenshot, needs_browser, new_page, outside

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
    front = (html / "README.html").read_text(encoding="utf-8")
    assert "flowchart" not in front and "FSFM pre-training → train" in front, "a graph as chains"


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


SHOWN = (
    "README",
    "CONTRIBUTING",
    "docs/operations",
    "docs/teaching",
    "notebooks/04_triplets",
    "notebooks/07_results",
    "results/demo/report/comparison",
)


@needs_browser
@pytest.mark.pipeline
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_keep_the_width_of_the_screen_and_are_readable(
    html: Path, tmp_path: Path, scheme: str
) -> None:
    with new_page(tmp_path, color_scheme=scheme) as page:
        for name in SHOWN:
            page.goto((html / f"{name}.html").as_uri())
            assert page.evaluate("document.documentElement.dataset.theme") == scheme
            assert faint(page, ".bd-article") == [], name
            for width in (1280, 390):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, name
                assert outside(page, ".bd-article") == [], name
            keep_screenshot(page, f"book-{scheme}-{name.replace('/', '-')}")


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


@pytest.fixture
def lessons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """Make a checkout without most data; return the parameters of what is run in it."""
    for name in (*book.LESSONS, *book.CACHED):
        prose = new_markdown_cell("# Title\n\n[01](01_corpora.ipynb)")
        stored(tmp_path / "notebooks" / f"{name}.ipynb", prose, new_code_cell("a"))
    runs = tmp_path / "results" / "demo" / "runs"
    runs.mkdir(parents=True)
    (tmp_path / "dvc.lock").write_text(LOCK)
    ran = {}

    def run(source: Path, target: Path, parameters: dict) -> None:
        ran[source.stem] = parameters
        data = {"image/png": "AAAA", "application/vnd.jupyter.widget-view+json": {}}
        stored(target, new_code_cell("a", outputs=[new_output("display_data", data=data)]))

    monkeypatch.setattr(book.notebooks, "run", run)
    return ran


LOCK = """
stages:
  index: {outs: [{path: data/index/demo/training, md5: old}]}
  score: {outs: [{path: results/demo/runs/fsfm-0/scores.json, md5: '1'}]}
"""


def test_lessons_are_written_with_their_results_if_their_inputs_exist(
    tmp_path: Path, lessons: dict[str, dict], capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path / book.CACHED["06_predict"], new_code_cell("a", outputs=[picture()]))
    book.write_lessons(tmp_path)
    written = {path.stem: path for path in (tmp_path / book.FOLDER).glob("*.ipynb")}
    assert set(lessons) == {"00_start_here", "04_triplets"}
    assert set(written) == {*lessons, "06_predict"}
    assert "01_corpora: left as it is: data/index/demo does not exist" in capsys.readouterr().out
    for path in written.values():
        prose, code = nbformat.read(path, as_version=4).cells
        assert "(../../../notebooks/01_corpora.ipynb)" in prose.source
        assert list(code.outputs[0].data) == ["image/png"], "the sliders' picture, not a widget"
    page = book.page(tmp_path / "notebooks" / "04_triplets.ipynb", tmp_path)
    assert page.cells[1].outputs and "(01_corpora.ipynb)" in page.cells[0].source


def test_no_video_but_the_demos_is_shown(tmp_path: Path, lessons: dict[str, dict]) -> None:
    for path in book.LESSONS["10_score_your_video"]:
        (tmp_path / path).mkdir(parents=True)
    book.write_lessons(tmp_path)
    assert lessons["10_score_your_video"] == {"profile": "demo", "videos": []}
    assert all(parameters["profile"] == "demo" for parameters in lessons.values())


def test_lessons_too_large_for_git_or_of_other_code_are_refused(
    tmp_path: Path, lessons: dict[str, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stored(tmp_path / book.CACHED["02_crops"], new_code_cell("other code"))
    with pytest.raises(ValueError, match=r"was run from another 02_crops\.ipynb"):
        book.write_lessons(tmp_path)
    run.unlink()
    monkeypatch.setattr(book, "LIMIT", 400)
    with pytest.raises(ValueError, match=r"00_start_here has .* bytes"):
        book.write_lessons(tmp_path)


def test_large_photographs_get_a_palette(tmp_path: Path, lessons: dict[str, dict]) -> None:
    noise = np.random.default_rng(0).integers(100, 200, (300, 300, 3), np.uint8)
    memory = BytesIO()
    PIL.Image.fromarray(noise).save(memory, format="png")
    content = b64encode(memory.getvalue()).decode()
    photograph = new_output("display_data", data={"image/png": content})
    stored(tmp_path / book.CACHED["02_crops"], new_code_cell("a", outputs=[photograph]))
    book.write_lessons(tmp_path)
    written = nbformat.read(tmp_path / book.FOLDER / "02_crops.ipynb", as_version=4)
    smaller = written.cells[1].outputs[0].data["image/png"]
    assert len(smaller) < 0.5 * len(content)
    shown = np.asarray(PIL.Image.open(BytesIO(b64decode(smaller))).convert("RGB"), int)
    assert shown.shape == noise.shape and np.abs(shown - noise).mean() < 10


def test_the_state_of_a_lesson_is_that_of_what_it_reads(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    states = []
    for text in (LOCK, LOCK.replace("old", "new"), LOCK.replace("'1'", "'2'")):
        lock.write_text(text)
        states.append(
            [book.results_state(name, tmp_path) for name in ("00_start_here", "01_corpora")]
        )
    assert states[0][0] == states[1][0] != states[2][0]
    assert states[0][1] == states[2][1] != states[1][1]


def test_lessons_in_git_show_the_results_in_git(tmp_path: Path) -> None:
    if not has_history(ROOT):
        pytest.skip("an archive without git history has no committed state beside its files")
    extract_committed(ROOT, "HEAD", tmp_path, "dvc.lock", "notebooks", book.FOLDER)
    written = {path.stem: path for path in (tmp_path / book.FOLDER).glob("*.ipynb")}
    if not written:
        pytest.skip("no lesson with results is in git yet: make repro, then make lessons")
    assert set(written) == {*book.LESSONS, *book.CACHED}
    for name, path in written.items():
        state = nbformat.read(path, as_version=4).metadata["results"]
        assert state == book.results_state(name, tmp_path), f"{name}: run make lessons"
        assert path.stat().st_size <= book.LIMIT
        first = book.page(tmp_path / "notebooks" / path.name, tmp_path).cells[1]
        assert first.get("id") != "without-results", f"{name}: run make lessons"


def test_the_published_book_links_its_repository_and_colab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    conf = str(ROOT / "docs" / "conf.py")
    assert "launch_buttons" not in runpy.run_path(conf)["html_theme_options"]
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/a-fork")
    options = runpy.run_path(conf)["html_theme_options"]
    assert options["repository_url"] == "https://github.com/someone/a-fork"
    assert options["launch_buttons"] == {"colab_url": "https://colab.research.google.com"}


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
