"""Tests of every notebook: no outputs in git, short cells, nothing tied to one machine."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from ruamel.yaml import YAML

from deepfake_repro.operations.stage_code import executed_notebooks
from deepfake_repro.teaching import path as course
from support.notebooks import NAMES, every_book

ROOT = Path(__file__).resolve().parents[2]


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def tagged(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]


def passed_by_the_pipeline() -> dict[str, set[str]]:
    """Notebook -> names of the parameters that ``dvc.yaml`` passes to it."""
    stages = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
    commands = [stage.get("do", stage)["cmd"] for stage in stages.values()]
    lines = [
        line
        for command in commands
        for line in (command if isinstance(command, list) else [command])
    ]
    matches = [re.search(r" notebook (\S+) \S+(.*)", " ".join(line.split())) for line in lines]
    return {match[1]: set(re.findall(r"(\w+)=", match[2])) for match in matches if match}


@every_book
def test_git_holds_no_outputs_and_no_counts(path: Path) -> None:
    assert not [
        cell.source for cell in code_cells(path) if cell.outputs or cell.execution_count is not None
    ]


@every_book
def test_first_cell_has_a_title_and_names_the_section_of_the_paper(path: Path) -> None:
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    assert re.search(r"Sections? \d", first.source)


@pytest.mark.parametrize("lesson", course.LESSONS, ids=lambda lesson: lesson.notebook)
def test_a_lesson_begins_with_its_links_and_its_place(lesson: course.Lesson) -> None:
    book = nbformat.read(ROOT / "notebooks" / f"{lesson.notebook}.ipynb", as_version=4)
    paragraphs = book.cells[0].source.split("\n\n")
    assert paragraphs[1] == course.links(lesson.notebook)
    assert course.you_are_here(lesson.notebook) in paragraphs


def test_the_course_has_every_lesson_and_the_first_one_links_them_all() -> None:
    names = [lesson.notebook for lesson in course.LESSONS]
    assert names == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    start = (ROOT / "notebooks" / f"{names[0]}.ipynb").read_text(encoding="utf-8")
    assert [name for name in names[1:] if f"({name}.ipynb)" not in start] == []
    assert set(course.SHORT_PATH) <= set(names)


@every_book
def test_links_of_the_prose_lead_to_files(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", cell.source):
                assert (path.parent / link).is_file(), link


@every_book
def test_devices_and_precision_come_from_the_shared_loop(path: Path) -> None:
    """``launch_fabric`` rejects fp16 and supports ``torchrun``; another Fabric does neither."""
    assert not [cell.source for cell in code_cells(path) if re.search(r"\bFabric\(", cell.source)]


@every_book
def test_nothing_ties_a_notebook_to_one_machine(path: Path) -> None:
    for cell in code_cells(path):
        assert not re.search(r"""["'](/|~|[A-Z]:\\)""", cell.source), (
            f"absolute path in: {cell.source}"
        )
        assert not re.search(r"chdir|sys\.path|^\s*[!%]", cell.source, flags=re.M), cell.source


@every_book
def test_cells_and_local_functions_are_short_and_valid(path: Path) -> None:
    for cell in code_cells(path):
        lines = [
            line
            for line in cell.source.splitlines()
            if line.strip() and not line.startswith(("from ", "import "))
        ]
        assert len(lines) <= 25, cell.source
        defined = [
            node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.FunctionDef)
        ]
        assert not [node.name for node in defined if node.end_lineno - node.lineno >= 20]


@every_book
def test_prose_comes_between_the_code(path: Path) -> None:
    assert (
        sum(cell.cell_type == "markdown" for cell in nbformat.read(path, as_version=4).cells) >= 3
    )


@pytest.mark.parametrize(("name", "parameters"), passed_by_the_pipeline().items())
def test_parameters_cell_has_exactly_what_the_pipeline_passes(
    name: str, parameters: set[str]
) -> None:
    (cell,) = tagged(ROOT / "notebooks" / f"{name}.ipynb")
    assert {
        target.id for node in ast.parse(cell.source).body for target in node.targets
    } == parameters


def test_the_pipeline_cleans_the_notebooks_that_it_runs() -> None:
    assert set(executed_notebooks()) == set(passed_by_the_pipeline()) <= set(NAMES)
