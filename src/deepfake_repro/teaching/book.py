"""Lessons with their results for git (``make lessons``), and the pages of the book (``make book``).

Only the demo's synthetic people are shown: profile and videos do not come from the notebook.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat

from ..project import notebooks, provenance
from ..project.params import read_yaml, root

FOLDER = "results/demo/lessons"
"""Lessons with results, in git; those of ``EXECUTED`` are in git already."""
LIMIT = 1_000_000
"""Bytes of one of them at most."""
LESSONS = {
    "00_start_here": ("results/demo/runs",),
    "01_corpora": ("data/index/demo", "data/crops/demo"),
    "04_triplets": ("results/demo/runs",),
    "08_embeddings": (
        "data/crops/demo",
        "data/pretrained/demo",
        "results/demo/weights",
        "results/demo/predictions",
    ),
    "11_what_generalises": (
        "results/open/labels",
        "results/open/report",
        "results/open/runs",
        "results/studies/other_processor",
    ),
    "12_your_detector": (
        "data/crops/demo",
        "data/index/demo",
        "data/samples/demo",
        "results/demo/runs",
    ),
    "10_score_your_video": (
        "data/assets",
        "data/corpora/demo",
        "data/index/demo",
        "results/demo/weights",
        "results/demo/predictions",
    ),
}
"""Notebooks that no stage runs, with the files that each reads."""
SYNTHETIC: dict[str, dict[str, object]] = {name: {"profile": "demo"} for name in LESSONS}
SYNTHETIC["10_score_your_video"]["videos"] = []
SYNTHETIC["11_what_generalises"]["profile"] = "open"
"""Parameters of each, whatever its notebook says: no video but the demo's; `open` shows no face."""
CACHED = {
    "02_crops": "data/crops/demo/training/notebook.ipynb",
    "03_sampling": "data/samples/demo/notebook.ipynb",
    "03b_pretrain": "data/pretrained/demo/notebook.ipynb",
    "06_predict": "results/demo/predictions/fsfm_ba-0/notebook.ipynb",
}
"""Paths of the pipeline's executed notebooks that only DVC's cache has."""
EXECUTED = {
    "05_finetune": "results/demo/runs/fsfm_ba-0/finetune.ipynb",
    "05b_sbi": "results/demo/runs/sbi-0/finetune.ipynb",
    "07_results": "results/demo/report/results.ipynb",
    "09_layernorm_clip": "results/demo/runs/lnclip-0/finetune.ipynb",
}
"""Paths of those that git has."""
WITHOUT_RESULTS = {
    "notebooks": "*Shown without results: no run of this code is here (`make repro` and "
    "`make lessons`).*",
    "solutions": "*Shown without results; the tests run this page.*",
}
"""Note on a page without results, by the folder of its notebook."""
_WIDGET = "application/vnd.jupyter.widget-view+json"


def write_lessons(base: Path) -> None:
    """Write every lesson of ``LESSONS`` and ``CACHED`` with its results to ``FOLDER``.

    The first are run; the others take the results of their stage. What lacks its inputs is named
    and stays as it is. Raises ``ValueError`` for results of other code, or too large ones.
    """
    for name, inputs in LESSONS.items():
        if _complete(name, inputs, base):
            print(f"{name}: run", flush=True)
            with TemporaryDirectory() as scratch:
                executed = Path(scratch) / f"{name}.ipynb"
                notebooks.run(_source(name, base), executed, SYNTHETIC[name])
                _write_lesson(name, executed, base)
    for name, path in CACHED.items():
        if _complete(name, [path], base):
            _write_lesson(name, base / path, base)


def results_state(name: str, base: Path) -> str:
    """Return a fingerprint of what ``dvc.lock`` records of the results that a lesson shows."""
    inputs = LESSONS[name] if name in LESSONS else (str(Path(CACHED[name]).parent),)
    stages = read_yaml(base / "dvc.lock")["stages"].values()
    outs = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", ())}
    read = {path: md5 for path, md5 in outs.items() if f"{path}/".startswith(_folders(inputs))}
    return provenance.fingerprint(read)


def _folders(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{path}/" for path in paths)


def _complete(name: str, inputs: Sequence[str], base: Path) -> bool:
    missing = [path for path in inputs if not (base / path).exists()]
    if missing:
        print(f"{name}: left as it is: {missing[0]} does not exist (run make repro)")
    return not missing


def _source(name: str, base: Path) -> Path:
    return base / "notebooks" / f"{name}.ipynb"


def _write_lesson(name: str, executed: Path, base: Path) -> None:
    """Write the lesson with the results of ``executed``, links for its folder, and their state."""
    source = _source(name, base)
    target = base / FOLDER / source.name
    notebook = nbformat.read(source, as_version=4)
    if not _take_results(notebook, nbformat.read(executed, as_version=4)):
        raise ValueError(f"{executed} was run from another {source.name}: run dvc repro first")
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = notebooks.relinked(cell.source, source.parent, target.parent)
    notebooks.shrink_pictures(notebook)
    notebook.metadata["results"] = results_state(name, base)
    text = nbformat.writes(notebook) + "\n"
    size = len(text.encode())
    if size > LIMIT:
        raise ValueError(f"{name} has {size:,} bytes with its results, more than {LIMIT:,}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


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
    path = base / EXECUTED.get(name, f"{FOLDER}/{name}.ipynb")
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
        for output in cell.outputs:
            output.get("data", {}).pop(_WIDGET, None)  # its picture remains
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
        write_lessons(root())
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
