"""The book (``make book``): which results stand on the page of a notebook; lessons without any in git are run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat

from ..project import notebooks, provenance
from ..project.params import root

BUILD = "docs/_build"
LESSONS = {
    "00_start_here": (),
    "01_corpora": ("data/index/demo", "data/crops/demo"),
    "04_triplets": (),
    "08_embeddings": (
        "data/crops/demo",
        "data/pretrained/demo",
        "results/demo/weights",
        "results/demo/predictions",
    ),
    "10_score_your_video": (
        "data/assets",
        "data/corpora/demo",
        "data/index/demo",
        "results/demo/weights",
        "results/demo/predictions",
    ),
}
"""Notebooks that are no stage, and what of the demo each reads beside what lies in git."""
EXECUTED = {
    "02_crops": "data/crops/demo/notebook.ipynb",
    "03_sampling": "data/samples/demo/notebook.ipynb",
    "03b_pretrain": "data/pretrained/demo/notebook.ipynb",
    "05_finetune": "results/demo/runs/fsfm_ba-0/finetune.ipynb",
    "05b_sbi": "results/demo/runs/sbi-0/finetune.ipynb",
    "06_predict": "results/demo/predictions/fsfm_ba-0/notebook.ipynb",
    "07_results": "results/demo/report/results.ipynb",
    "09_layernorm_clip": "results/demo/runs/lnclip-0/finetune.ipynb",
}
"""Where the pipeline leaves its executed notebooks: some in git, some in DVC's cache."""
WITHOUT = {
    "notebooks": "*Shown without results: this book was built without them; `make repro`, then `make book` shows them.*",
    "solutions": "*Shown without results; the tests run this page.*",
}


def execute_lessons(base: Path) -> None:
    """Run each lesson whose inputs are there, once for a state of code and results; say which are left out."""
    for name, inputs in LESSONS.items():
        target = executed_lesson(name, base)
        if absent := [place for place in inputs if not (base / place).exists()]:
            print(
                f"{name}: shown without results, for {absent[0]} is not there (make repro makes it)"
            )
        elif not target.is_file():
            print(f"{name}: run")
            notebooks.run(base / "notebooks" / f"{name}.ipynb", target, {})


def executed_lesson(name: str, base: Path) -> Path:
    """Where the executed copy of a lesson lies: another place when package, pipeline or lesson change."""
    files = (base / "dvc.lock", base / "params.yaml", base / "notebooks" / f"{name}.ipynb")
    state = provenance.fingerprint(provenance.package_digest(), *map(provenance.file_digest, files))
    return base / BUILD / "lessons" / state / f"{name}.ipynb"


def page(source: Path, base: Path) -> nbformat.NotebookNode:
    """A notebook as the book shows it: with its results if a run of just these cells is there, and described pictures."""
    notebook = nbformat.read(source, as_version=4)
    lesson = source.parent.name == "notebooks"
    name = source.stem
    executed = executed_lesson(name, base) if name in LESSONS else base / EXECUTED.get(name, "none")
    if (
        lesson
        and executed.is_file()
        and _take_results(notebook, nbformat.read(executed, as_version=4))
    ):
        _describe_pictures(notebook)
    elif source.parent.name in WITHOUT:
        notebook.cells.insert(
            1, nbformat.v4.new_markdown_cell(WITHOUT[source.parent.name], id="without-results")
        )
    return notebook


def _take_results(notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> bool:
    """Put the outputs of a run into its source; False, and nothing done, if the run had other code."""
    pairs = list(zip(_code(notebook), _code(executed), strict=False))
    same = len(pairs) == len(list(_code(notebook))) == len(list(_code(executed)))
    if not same or any(cell.source != ran.source for cell, ran in pairs):
        return False
    for cell, ran in pairs:
        cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
    return True


def _code(notebook: nbformat.NotebookNode) -> Iterator[nbformat.NotebookNode]:
    """The code cells, without the one in which Papermill injects parameters."""
    return (
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    )


def _describe_pictures(notebook: nbformat.NotebookNode) -> None:
    """Give each cell with a picture the words that MyST-NB shows in its place: its own, else those of its heading."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = next(
                (line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")),
                heading,
            )
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                words = output.metadata.get("image/png", {}).get("alt", "figure")
                words = f"Figure of the section “{heading}”" if words == "figure" else words
                cell.metadata["mystnb"] = {"image": {"alt": words}}


if __name__ == "__main__":
    try:
        execute_lessons(root())
    except (ValueError, FileNotFoundError) as problem:
        sys.exit(f"error: {problem}")
