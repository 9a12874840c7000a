"""Tests of the documents: links and module names exist, and nothing is tied to one machine."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "REPRODUCIBILITY.md", "data/README.md")
]
PAGES += sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "results").glob("*/README.md")])
PACKAGE = ROOT / "src" / "deepfake_repro"
PRIVATE = r"\b(lies|stands|mend|at hand|goes on)\b"
"""Words that these pages used in a sense of their own; plain ones are: is in, contains, fix,
available, resumes.
"""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """Text without fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub and MyST make them."""
    heads = re.findall(r"^#+ (.+)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if target.startswith("https://"):
            continue
        if not file.exists() or (anchor and anchor not in anchors(file)):
            lost.append(target)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_of_the_package_and_the_tests_exist(page: Path) -> None:
    paths = re.findall(r"`((?:src|tests|notebooks)/[\w./]+)`", page.read_text(encoding="utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_modules_of_the_glossary_exist() -> None:
    """``package.module`` or ``package.module.name`` after *See:*."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    names = {
        word
        for line in re.findall(r"\*See:\*(.+)", text)
        for word in re.findall(r"`([a-z_]+(?:\.\w+)+)`", line)
    }
    modules = {word for word in names if not word.endswith((".yaml", ".md"))}
    assert len(modules) > 20
    for dotted in sorted(modules):
        path, attributes = dotted.split("."), []
        while not (
            PACKAGE.joinpath(*path).is_dir() or PACKAGE.joinpath(*path).with_suffix(".py").is_file()
        ):
            attributes.insert(0, path.pop())
            assert path, f"the glossary names {dotted}, which the package does not have"
        thing: object = importlib.import_module(".".join(["deepfake_repro", *path]))
        for attribute in attributes:
            thing = getattr(thing, attribute)


def test_the_layout_lists_every_package() -> None:
    """With its methods and the command line."""
    table = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8").partition("## The package")[2]
    listed = re.findall(r"^\| `(\w+)` \|", table, flags=re.M)
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(listed) == packages | {"cli"}
    methods = {path.parent.name for path in (PACKAGE / "methods").glob("*/__init__.py")}
    assert methods <= set(re.findall(r"`(\w+)`", table))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_use_plain_words(page: Path) -> None:
    assert re.findall(PRIVATE, prose(page)) == []
