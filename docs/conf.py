"""The book: README, documents, notebooks and the demo's report as a static site that needs no
network.

``make book`` builds it from the repository's root, so that the links of every page work in git and
in the book.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import nbformat
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from deepfake_repro.teaching import book

ROOT = Path(__file__).resolve().parents[1]
REPORT = [
    f"results/demo/report/{name}"
    for name in (
        "table3",
        "protocols",
        "comparison",
        "claims",
        "decisions",
        "paper_map",
        "robustness",
        "calibration",
        "breakdown",
        "benchmarks",
        "cards",
    )
]
REPORT += [
    "results/demo/data/table1",
    "results/demo/data/table2",
    "results/benchmarks/README",
    "results/studies/README",
]
REPORT += [f"results/open/report/{name}" for name in ("table3", "comparison", "claims", "cards")]
REPORT += ["results/published/README", "results/published/table3", "results/demo/lessons/README"]
GUIDES = [
    f"docs/{name}"
    for name in (
        "install",
        "results",
        "pipeline",
        "extending",
        "commands",
        "paper-profile",
        "operations",
        "weights",
        "scoring",
        "teaching",
        "glossary",
        "layout",
    )
]
GUIDES += [
    page
    for page in (f"docs/{path.stem}" for path in sorted((ROOT / "docs").glob("*.md")))
    if page not in GUIDES
]
DOCUMENTS = ["data/README", "REPRODUCIBILITY", "CONTRIBUTING"]
NOTEBOOKS = {
    caption: [f"{folder}/{path.stem}" for path in sorted((ROOT / folder).glob("*.ipynb"))]
    for caption, folder in (
        ("Notebooks", "notebooks"),
        ("Exercises", "notebooks/exercises"),
        ("Appendix: solutions", "notebooks/solutions"),
    )
}
PARTS = {
    "Guides": GUIDES,
    "Notebooks": NOTEBOOKS["Notebooks"],
    "Exercises": NOTEBOOKS["Exercises"],
    "Report of the demo": REPORT,
    "Documents": DOCUMENTS,
    "Appendix: solutions": NOTEBOOKS["Appendix: solutions"],
}

project = "deepfake-repro"
author = "the authors of deepfake-repro"
root_doc = "README"
extensions = ["myst_nb"]
include_patterns = ["README.md", *(f"{page}.*" for pages in PARTS.values() for page in pages)]
exclude_patterns = [".*", "src", "tests", "data/[!R]*", "docs/_build", "**.ipynb_checkpoints"]
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 3
suppress_warnings = [
    "misc.highlighting_failure"
]  # listings of kinds that have no colours, such as csv
nb_execution_mode = "off"  # `make lessons` has run what is to be run
nb_ipywidgets_js = {}  # else each page loads its widgets from a foreign server
nb_render_markdown_format = "myst"  # tables in the output of a cell
html_theme = "sphinx_book_theme"
html_title = "deepfake-repro"
html_math_renderer = "mathml"
html_static_path = ["book.css"]
html_css_files = ["book.css"]
html_copy_source = html_show_copyright = False
html_additional_pages = {"index": "index.html"}
templates_path = ["templates"]
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
    "navbar_persistent": [],
}
if repository := os.environ.get("GITHUB_REPOSITORY"):  # set where the workflow builds the book
    html_theme_options |= {
        "repository_url": f"https://github.com/{repository}",
        "repository_branch": os.environ.get("GITHUB_REF_NAME", "main"),
        "use_repository_button": True,
        "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    }


def contents() -> str:
    """The parts of the book, to stand at the end of the README and at the side of every page."""
    return "".join(
        f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n"
        + "\n".join(f"/{page}" for page in pages)
        + "\n```\n"
        for caption, pages in PARTS.items()
    )


def read(app: Sphinx, name: str, text: list[str]) -> None:
    """Notebooks come with their results, other pages with links that lead somewhere in a book."""
    if name.startswith("notebooks/"):
        text[0] = nbformat.writes(book.page(ROOT / f"{name}.ipynb", ROOT))
        return
    page = re.sub(r"^```mermaid\n(.*?)^```$", chains, text[0], flags=re.M | re.S)
    page = re.sub(r"\[([^][]+)\]\(([^()\s]+)\)", partial(in_book, (ROOT / name).parent), page)
    if not page.startswith(
        "# "
    ):  # the report's tables: without a title a page has no name at the side
        page = re.sub(r"(?<=\D)(?=\d)|_", " ", f"# {Path(name).stem.capitalize()}") + f"\n\n{page}"
    text[0] = page + contents() if name == root_doc else page


def chains(graph: re.Match) -> str:
    """A Mermaid graph as a list of its chains: drawing it would need a script."""
    lines = [re.sub(r"\w+\[([^]]+)\]", r"\1", line) for line in graph[1].splitlines()[1:]]
    return "\n".join(f"* {line.strip().replace('-->', '→')}" for line in lines)


def in_book(folder: Path, link: re.Match) -> str:
    """A link of the repository as one of the book: to a folder none, to an executed notebook that
    to its page.
    """
    target = (folder / link[2]).resolve()
    executed = book.EXECUTED | {
        path.stem: path.relative_to(ROOT) for path in (ROOT / book.FOLDER).glob("*.ipynb")
    }
    pages = {ROOT / place: f"/notebooks/{name}.ipynb" for name, place in executed.items()}
    return link[1] if target.is_dir() else f"[{link[1]}]({pages.get(target, link[2])})"


def inline_formula(page: HTML5Translator, node: nodes.math) -> None:
    """LaTeX as MathML, which every browser draws by itself: no script, no font, no picture."""
    page.body.append(str(tex2mathml(node.astext())))
    raise nodes.SkipNode


def block_formula(page: HTML5Translator, node: nodes.math_block) -> None:
    """A displayed formula as MathML, in a box that scrolls where the screen is narrow."""
    page.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx asks of an extension."""
    app.connect("source-read", read)
    app.add_html_math_renderer("mathml", (inline_formula, None), (block_formula, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
