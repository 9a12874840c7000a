"""Tests of the package's structure: import direction, short modules and functions, docstrings."""

from __future__ import annotations

import ast
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "deepfake_repro"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MACHINE_FOLDERS = tuple(f"/{name}/" for name in ("home", "root", "tmp", "work", "mnt", "data"))
LEFT_UNDONE = ("TODO", "FIXME", "XXX", "raise NotImplementedError")
"""Words that no module of the package may contain."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> list[Function]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, Function)]


def length(function: Function) -> int:
    """Lines of a function without its docstring."""
    prose = function.body[0] if ast.get_docstring(function) else None
    documented = prose.end_lineno - prose.lineno + 1 if prose else 0
    return function.end_lineno - function.lineno + 1 - documented


def import_contracts(source: Path) -> subprocess.CompletedProcess:
    """Check the contracts of pyproject.toml on the package in ``source``."""
    code = (
        "import sys; from importlinter.cli import lint_imports; "
        "sys.exit(lint_imports(config_filename=sys.argv[1]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "pyproject.toml")],
        cwd=source,
        check=False,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
    )


def test_packages_import_one_way() -> None:
    result = import_contracts(ROOT / "src")
    assert result.returncode == 0, result.stdout


def test_an_arrow_upwards_is_seen_even_inside_a_function(tmp_path: Path) -> None:
    shutil.copytree(
        PACKAGE, tmp_path / "deepfake_repro", ignore=shutil.ignore_patterns("__pycache__")
    )
    with (tmp_path / "deepfake_repro" / "project" / "files.py").open("a") as file:
        file.write(
            "\n\ndef upwards() -> None:\n    from ..report import tables\n    print(tables)\n"
        )
    result = import_contracts(tmp_path)
    assert result.returncode == 1
    assert "deepfake_repro.project is not allowed to import deepfake_repro.report" in result.stdout


def test_no_module_is_named_by_a_string() -> None:
    """Then neither a reader nor the check of imports would see who uses whom."""
    for name, path in MODULES.items():
        code = path.read_text(encoding="utf-8")
        assert "import_module" not in code and "__import__" not in code, name


def test_the_package_imports_itself_relatively() -> None:
    for name, path in MODULES.items():
        for node in ast.walk(tree(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += (
                [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            )
            assert not any(one.startswith("deepfake_repro") for one in names), name


def test_folders_are_small() -> None:
    for folder in {path.parent for path in MODULES.values()} - {PACKAGE / "corpora" / "adapters"}:
        assert len(list(folder.glob("*.py"))) <= 12, folder.name


def test_half_of_the_modules_have_at_most_150_lines() -> None:
    assert statistics.median(len(path.read_text().splitlines()) for path in MODULES.values()) <= 150


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_modules_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert not [
        f"{path.name}: {f.name} has {length(f)} lines" for f in functions(path) if length(f) > 40
    ]


def test_half_of_the_functions_have_at_most_a_dozen_lines() -> None:
    assert statistics.median(length(f) for path in MODULES.values() for f in functions(path)) <= 12


def undocumented(body: list[ast.stmt], where: str) -> Iterator[str]:
    """Public functions, classes and methods without a docstring; methods of private classes are
    private.
    """
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
    untyped = [
        f"{f.name}({a.arg})"
        for f in functions(path)
        for a in (*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs)
        if a.annotation is None and a.arg not in ("self", "cls")
    ]
    assert not untyped + [f.name for f in functions(path) if f.returns is None]


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_no_error_is_swallowed_wholesale(path: Path) -> None:
    caught = [
        ast.unparse(node.type) if node.type else ""
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
    ]
    assert not {"", "Exception", "BaseException"} & set(caught)


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_nobody_edits_the_import_path_or_the_working_directory(path: Path) -> None:
    reads = {ast.unparse(node) for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
    assert not {"sys.path", "os.chdir"} & reads


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_no_machine_paths_and_nothing_left_undone(path: Path) -> None:
    texts = [
        node.value
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [text for text in texts if text.startswith(MACHINE_FOLDERS)]
    assert not [word for word in LEFT_UNDONE if word in path.read_text()]


def test_lint_is_clean() -> None:
    lint = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "src", "tests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert lint.returncode == 0, lint.stdout
