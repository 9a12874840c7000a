"""Tests of cleaning, executing and weaving notebooks."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import PIL.Image
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from deepfake_repro.project import notebooks
from deepfake_repro.project.progress import LINES
from support.notebooks import every_book

ROOT = Path(__file__).resolve().parents[2]
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def write(path: Path, *cells: nbformat.NotebookNode) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells), metadata={"kernelspec": KERNEL}), path)
    return path


def parameters(source: str) -> nbformat.NotebookNode:
    return new_code_cell(source, metadata={"tags": ["parameters"]})


def test_clean_keeps_code_and_tags_only(tmp_path: Path) -> None:
    ran = new_code_cell(
        "print(profile)",
        execution_count=3,
        metadata={"collapsed": True},
        outputs=[nbformat.v4.new_output("stream", text="demo")],
    )
    book = write(
        tmp_path / "book.ipynb", new_markdown_cell("# Title"), parameters('profile = "demo"'), ran
    )
    notebooks.clean(book, tmp_path / "new" / "clean.ipynb")
    result = nbformat.read(tmp_path / "new" / "clean.ipynb", as_version=4)
    nbformat.validate(result)
    assert [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in result.cells] == [
        ("code", 'profile = "demo"', {"tags": ["parameters"]}),
        ("code", "print(profile)", {}),
    ]
    assert not [cell for cell in result.cells if cell.outputs or cell.execution_count is not None]


def cleaned(tmp_path: Path, *cells: nbformat.NotebookNode) -> bytes:
    notebooks.clean(write(tmp_path / "book.ipynb", *cells), tmp_path / "clean.ipynb")
    return (tmp_path / "clean.ipynb").read_bytes()


def test_clean_follows_code_and_never_prose(tmp_path: Path) -> None:
    code = "x = 1\nx"
    before = cleaned(tmp_path, new_markdown_cell("# One"), new_code_cell(code))
    assert before == cleaned(
        tmp_path, new_code_cell(code, execution_count=9), new_markdown_cell("after")
    )
    assert before != cleaned(tmp_path, new_markdown_cell("# One"), new_code_cell("x = 2\nx"))
    assert before != cleaned(tmp_path, parameters(code))


@every_book
def test_clean_is_stable_under_itself(path: Path, tmp_path: Path) -> None:
    notebooks.clean(path, tmp_path / "once.ipynb")
    notebooks.clean(tmp_path / "once.ipynb", tmp_path / "twice.ipynb")
    assert (tmp_path / "once.ipynb").read_bytes() == (tmp_path / "twice.ipynb").read_bytes()


@pytest.fixture
def in_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv(LINES, "")  # set by the runner: restored after the test


@pytest.mark.usefixtures("in_checkout")
def test_unknown_parameter_is_an_error_naming_it_and_nothing_is_written(tmp_path: Path) -> None:
    book = write(tmp_path / "book.ipynb", parameters('profile = "demo"\nseed = 0'))
    with pytest.raises(ValueError) as error:
        notebooks.run(book, tmp_path / "out" / "book.ipynb", {"profile": "demo", "sede": 1})
    assert (
        str(error.value)
        == "book.ipynb: unknown parameter 'sede'; its parameters cell has profile, seed"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("in_checkout")
def test_two_runs_are_the_same_bytes_whatever_they_print_to_stderr(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    noise = (
        "import sys, time\n"
        "print('took', time.perf_counter(), file=sys.stderr)\n"
        "print('seed', seed)\n"
        "seed + 1"
    )
    book = write(tmp_path / "book.ipynb", parameters("seed = 0"), new_code_cell(noise))
    targets = [tmp_path / name / "deep" / "book.ipynb" for name in ("first", "second")]
    for target in targets:
        notebooks.run(book, target, {"seed": 7})
    assert targets[0].read_bytes() == targets[1].read_bytes()
    cell = nbformat.read(targets[0], as_version=4).cells[-1]
    assert [output.get("text") or output["data"]["text/plain"] for output in cell.outputs] == [
        "seed 7\n",
        "8",
    ]
    printed = capfd.readouterr().out
    assert printed.count("seed 7") == 2 and printed.count("took") == 2, (
        "cell output is streamed live"
    )
    assert "Executing" not in printed and "\x1b" not in printed


def test_two_runs_at_once_from_one_folder_do_not_hear_each_other(tmp_path: Path) -> None:
    """Both kernels live at the same time: each waits until the other has run this cell too."""
    meet = (
        "import pathlib, time\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "end = time.monotonic() + 60\n"
        "(here / f'{seed}.here').touch()\n"
        "while len(list(here.glob('*.here'))) < 2 and time.monotonic() < end:\n"
        "    time.sleep(0.05)\n"
        "seed"
    )
    book = write(tmp_path / "book.ipynb", parameters("seed = 0"), new_code_cell(meet))
    code = (
        "import sys; from pathlib import Path; from deepfake_repro.project import notebooks; "
        "notebooks.run(Path(sys.argv[1]), Path(sys.argv[2]), {'seed': int(sys.argv[3])})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, book, tmp_path / f"{seed}.ipynb", str(seed)],
            cwd=ROOT,
            env=environment,
        )
        for seed in (1, 2)
    ]
    assert [process.wait(120) for process in runs] == [0, 0]
    for seed in (1, 2):
        last = nbformat.read(tmp_path / f"{seed}.ipynb", as_version=4).cells[-1]
        assert last.outputs[0]["data"]["text/plain"] == str(seed)


@pytest.mark.usefixtures("in_checkout")
def test_failing_cell_ends_the_run_with_its_number_and_a_plain_traceback(tmp_path: Path) -> None:
    book = write(
        tmp_path / "book.ipynb",
        parameters("seed = 0"),
        new_code_cell("print('before')"),
        new_code_cell("1 / seed"),
        new_code_cell("print('after')"),
    )
    target = tmp_path / "out" / "book.ipynb"
    with pytest.raises(SystemExit) as error:
        notebooks.run(book, target, {})
    message = str(error.value)
    assert message.startswith("book.ipynb failed in cell 2:\n") and message.rstrip().endswith(
        "ZeroDivisionError: division by zero"
    )
    assert "1 / seed" in message and "\x1b" not in message
    kept = "".join(
        str(cell) for cell in nbformat.read(target, as_version=4).cells if cell.get("outputs")
    )
    assert "before" in kept and "after\\n" not in kept


@pytest.mark.usefixtures("in_checkout")
def test_a_kernel_that_the_system_kills_ends_the_run_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    book = write(
        tmp_path / "book.ipynb",
        parameters("seed = 0"),
        new_code_cell("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"),
        new_code_cell("print('after')"),
    )
    with pytest.raises(SystemExit) as error:
        notebooks.run(book, tmp_path / "out.ipynb", {})
    message = str(error.value)
    assert message.startswith("book.ipynb: the system ended its kernel in cell 1; out of memory?")
    assert "\n" not in message
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err


@pytest.mark.usefixtures("in_checkout")
def test_a_long_temporary_folder_does_not_break_the_kernels_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path of a socket has 108 bytes at most; clusters have such folders of their own."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    notebooks.run(write(tmp_path / "book.ipynb", parameters("1 + 1")), tmp_path / "out.ipynb", {})
    (cell,) = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    assert cell.outputs[0]["data"]["text/plain"] == "2"


def test_without_any_short_folder_kernels_talk_by_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notebooks._socket_base() is not None
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    assert notebooks._socket_base() is None


def test_another_checkouts_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    book = write(tmp_path / "book.ipynb", parameters("seed = 0"))
    with pytest.raises(SystemExit, match="another checkout: set PYTHONPATH=src"):
        notebooks.run(book, tmp_path / "out.ipynb", {})
    assert not (tmp_path / "out.ipynb").exists()


def executed(tmp_path: Path, *codes: str) -> Path:
    injected = new_code_cell("seed = 7", metadata={"tags": ["injected-parameters"]})
    results = [
        new_code_cell(code, outputs=[nbformat.v4.new_output("stream", text=f"ran {code}")])
        for code in codes
    ]
    return write(tmp_path / "executed.ipynb", parameters("seed = 0"), injected, *results)


def test_weave_puts_prose_and_results_in_the_sources_order(tmp_path: Path) -> None:
    source = write(
        tmp_path / "book.ipynb",
        new_markdown_cell("# Title"),
        parameters("seed = 0"),
        new_markdown_cell("why"),
        new_code_cell("a"),
        new_code_cell("b"),
        new_markdown_cell("end"),
    )
    for name in ("once", "again"):
        notebooks.weave(executed(tmp_path, "a", "b"), source, tmp_path / f"{name}.ipynb")
    cells = nbformat.read(tmp_path / "once.ipynb", as_version=4).cells
    assert [cell.source for cell in cells] == [
        "# Title",
        "seed = 0",
        "why",
        "seed = 7",
        "a",
        "b",
        "end",
    ]
    assert [cell.outputs[0].text for cell in cells if cell.get("outputs")] == ["ran a", "ran b"]
    assert (tmp_path / "once.ipynb").read_bytes() == (tmp_path / "again.ipynb").read_bytes()


def test_weave_reduces_large_photographs_to_a_palette_always_to_the_same_bytes(
    tmp_path: Path,
) -> None:
    """A drawing that has a palette, and a small picture, keep their bytes."""
    noise = np.random.default_rng(0).integers(90, 160, (300, 300, 3), np.uint8)
    photograph = PIL.Image.fromarray(noise)
    small = photograph.crop((0, 0, 20, 20))
    pictures = [as_png(picture) for picture in (photograph, photograph.quantize(256), small)]
    shown = [
        new_code_cell(
            f"show({number})",
            outputs=[nbformat.v4.new_output("display_data", data={"image/png": picture})],
        )
        for number, picture in enumerate(pictures)
    ]
    write(tmp_path / "executed.ipynb", *shown)
    source = write(tmp_path / "book.ipynb", *(new_code_cell(cell.source) for cell in shown))
    for name in ("once", "again"):
        notebooks.weave(tmp_path / "executed.ipynb", source, tmp_path / f"{name}.ipynb")
    assert (tmp_path / "once.ipynb").read_bytes() == (tmp_path / "again.ipynb").read_bytes()
    cells = nbformat.read(tmp_path / "once.ipynb", as_version=4).cells
    smaller, *others = [cell.outputs[0].data["image/png"] for cell in cells]
    assert others == pictures[1:]
    assert len(pictures[0]) > notebooks.LARGE_PICTURE > len(smaller)
    reduced = PIL.Image.open(io.BytesIO(base64.b64decode(smaller))).convert("RGB")
    assert reduced.size == photograph.size
    assert np.abs(np.asarray(reduced, int) - noise).mean() < 10


def as_png(picture: PIL.Image.Image) -> str:
    memory = io.BytesIO()
    picture.save(memory, format="png")
    return base64.b64encode(memory.getvalue()).decode()


def test_links_of_moved_prose_lead_to_the_same_files() -> None:
    old, new = Path("notebooks"), Path("results/demo/report")
    text = "[a](exercises/a.ipynb#part) [b](../docs/b.md) [c](https://c.org/d) [e](#e)"
    moved = "[a](../../../notebooks/exercises/a.ipynb#part) [b](../../../docs/b.md)"
    assert notebooks.relinked(text, old, new) == f"{moved} [c](https://c.org/d) [e](#e)"


@pytest.mark.parametrize(
    "codes", [("a", "changed"), ("a",), ("a", "b", "c")], ids=["changed", "fewer", "more"]
)
def test_weave_refuses_a_stale_run(tmp_path: Path, codes: tuple[str, ...]) -> None:
    source = write(
        tmp_path / "book.ipynb", parameters("seed = 0"), new_code_cell("a"), new_code_cell("b")
    )
    with pytest.raises(
        ValueError,
        match=r"^executed\.ipynb was not executed from the current book\.ipynb: rerun its stage",
    ):
        notebooks.weave(executed(tmp_path, *codes), source, tmp_path / "woven.ipynb")


def test_parameters_on_the_command_line() -> None:
    assert notebooks.parse(
        ["profile=demo", "seed=3", "shift=-1", "note=a=b", "empty=", "rate=1e-4"]
    ) == {"profile": "demo", "seed": 3, "shift": -1, "note": "a=b", "empty": "", "rate": "1e-4"}
    with pytest.raises(ValueError, match="'demo' must be name=value"):
        notebooks.parse(["demo"])
