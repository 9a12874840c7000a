"""The book (``make book``): run the lessons that no stage runs, and give pages their results."""

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
"""Notebooks that no stage runs, with the demo's files that each reads and git does not have."""
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
"""Paths of the pipeline's executed notebooks: some in git, some in DVC's cache."""
WITHOUT_RESULTS = {
    "notebooks": (
        "*Shown without results: this book was built without them; "
        "run `make repro`, then `make book`.*"
    ),
    "solutions": "*Shown without results; the tests run this page.*",
}
"""Note on a page without results, by the folder of its notebook."""


def execute_lessons(base: Path) -> None:
    """Run each lesson whose inputs exist, once per state of code and results."""
    for name, inputs in LESSONS.items():
        missing = [path for path in inputs if not (base / path).exists()]
        target = executed_lesson(name, base)
        if missing:
            print(f"{name}: shown without results: {missing[0]} does not exist (run make repro)")
        elif not target.is_file():
            print(f"{name}: run")
            notebooks.run(base / "notebooks" / f"{name}.ipynb", target, {})


def executed_lesson(name: str, base: Path) -> Path:
    """Return the path of a lesson's executed copy; it changes with package, pipeline or lesson."""
    files = (base / "dvc.lock", base / "params.yaml", base / "notebooks" / f"{name}.ipynb")
    state = provenance.fingerprint(provenance.package_digest(), *map(provenance.file_digest, files))
    return base / BUILD / "lessons" / state / f"{name}.ipynb"


def page(source: Path, base: Path) -> nbformat.NotebookNode:
    """Return a notebook as the book shows it.

    It gets the results of a run of exactly these cells if there is one, with described pictures;
    else a note says that there are none.
    """
    notebook = nbformat.read(source, as_version=4)
    folder = source.parent.name
    executed = _executed(source.stem, base) if folder == "notebooks" else None
    if executed is not None and _take_results(notebook, executed):
        _describe_pictures(notebook)
    elif folder in WITHOUT_RESULTS:
        note = nbformat.v4.new_markdown_cell(WITHOUT_RESULTS[folder], id="without-results")
        notebook.cells.insert(1, note)
    return notebook


def _executed(name: str, base: Path) -> nbformat.NotebookNode | None:
    """Read the executed copy of a lesson or a pipeline's notebook, if there is one."""
    if name in LESSONS:
        path = executed_lesson(name, base)
    elif name in EXECUTED:
        path = base / EXECUTED[name]
    else:
        return None
    return nbformat.read(path, as_version=4) if path.is_file() else None


def _take_results(notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> bool:
    """Copy the outputs of a run into its source; return False if the run had other code."""
    cells = list(_code_cells(notebook))
    executed_cells = list(_code_cells(executed))
    if [cell.source for cell in cells] != [cell.source for cell in executed_cells]:
        return False
    for cell, result in zip(cells, executed_cells, strict=True):
        cell.outputs = result.outputs
        cell.execution_count = result.execution_count
    return True


def _code_cells(notebook: nbformat.NotebookNode) -> Iterator[nbformat.NotebookNode]:
    """Yield the code cells, except the one in which Papermill injects parameters."""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and "injected-parameters" not in tags:
            yield cell


def _describe_pictures(notebook: nbformat.NotebookNode) -> None:
    """Set the alternative text that MyST-NB shows for each cell's picture.

    It is the picture's own text, else the heading above.
    """
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = [line for line in cell.source.splitlines() if line.startswith("#")]
            heading = headings[0].lstrip("# ") if headings else heading
        for output in cell.get("outputs", []):
            if "image/png" not in output.get("data", {}):
                continue
            alt = output.metadata.get("image/png", {}).get("alt", "figure")
            if alt == "figure":
                alt = f"Figure of the section “{heading}”"
            cell.metadata["mystnb"] = {"image": {"alt": alt}}


if __name__ == "__main__":
    try:
        execute_lessons(root())
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
