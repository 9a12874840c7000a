"""The shape of the package: one direction of imports, short modules and functions, nothing swallowed."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "deepfake_repro"
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
MACHINE_FOLDERS = tuple(f"/{name}/" for name in ("home", "root", "tmp", "work", "mnt", "data"))
LEFT_UNDONE = ("TO" "DO", "FIX" "ME", "XX" "X", "NotImplemented" "Error")  # in halves: this file is searched too
Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> list[Function]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, Function)]


def length(function: Function) -> int:
    return function.end_lineno - function.lineno + 1


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_modules_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    assert not [f"{path.name}: {f.name} has {length(f)} lines" for f in functions(path) if length(f) > 40]


def test_half_of_the_functions_have_at_most_a_dozen_lines() -> None:
    assert statistics.median(length(f) for path in MODULES.values() for f in functions(path)) <= 12


def undocumented(body: list[ast.stmt], where: str) -> Iterator[str]:
    """Public functions, classes and methods without a docstring; methods of private classes are private."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield f"{where}.{node.name}"
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node.body, f"{where}.{node.name}")


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_everything_public_has_a_docstring(path: Path) -> None:
    module = tree(path)
    assert ast.get_docstring(module), f"{path.name} says nothing about itself"
    assert not list(undocumented(module.body, path.stem))


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_functions_are_typed(path: Path) -> None:
    untyped = [f"{f.name}({a.arg})" for f in functions(path) for a in (*f.args.posonlyargs, *f.args.args,
               *f.args.kwonlyargs) if a.annotation is None and a.arg not in ("self", "cls")]
    assert not untyped + [f.name for f in functions(path) if f.returns is None]


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_no_error_is_swallowed_wholesale(path: Path) -> None:
    caught = [ast.unparse(node.type) if node.type else "" for node in ast.walk(tree(path))
              if isinstance(node, ast.ExceptHandler)]
    assert not {"", "Exception", "BaseException"} & set(caught)


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_nobody_edits_the_import_path_or_the_working_directory(path: Path) -> None:
    reads = {ast.unparse(node) for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
    assert not {"sys.path", "os.chdir"} & reads


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_no_machine_paths_and_nothing_left_undone(path: Path) -> None:
    texts = [node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant)
             and isinstance(node.value, str)]
    assert not [text for text in texts if text.startswith(MACHINE_FOLDERS)]
    assert not [word for word in LEFT_UNDONE if word in path.read_text()]


def test_lint_is_clean() -> None:
    lint = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "src", "tests"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert lint.returncode == 0, lint.stdout
