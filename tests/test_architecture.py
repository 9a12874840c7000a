"""The shape of the package: one direction of imports, short modules and functions, nothing swallowed."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "deepfake_repro"
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
ADAPTERS = "celebdf2 df40 dfdc dfeval2024 fakeavceleb ffpp forgerynet manifest wilddeepfake".split()
BENCHMARKS = "celebdfpp deepspeak dfd dfdcp dfdm faceshifter ffiw idforge kodf polyglotfake uadfv vggface2".split()
MACHINE_FOLDERS = tuple(f"/{name}/" for name in ("home", "root", "tmp", "work", "mnt", "data"))
LEFT_UNDONE = ("TO" "DO", "FIX" "ME", "XX" "X", "raise NotImplemented" "Error")  # in halves: this file is searched too
FLOW = [
    "__init__", "baselines", "side_runs", "params", "progress", "provenance", "places", "html", "assets", "weights",
    "corpora.files", "corpora.schema", "corpora.checks", *(f"corpora.{name}" for name in ADAPTERS + BENCHMARKS),
    "corpora.__init__", "corpora.counts", "corpora.leakage", "corpora.deepfakebench", "corpora.gend",
    "decoding", "video", "faces", "landmarks", "crop_store", "interchange", "crops", "guard", "preprocess", "crop_report",
    "sampling", "augment", "dataset", "pairing", "attribution", "model", "losses", "loop", "training", "finetune",
    "masking", "fsfm", "pretraining", "pretrain_faces", "metrics", "prediction", "statistics", "calibration", "breakdown",
    "robustness", "sbi_colour", "sbi", "sbi_faces", "sbi_training", "lnclip", "lnclip_training", "tables", "claims",
    "ledger", "benchmarks", "cards", "html_report", "corpus_tables", "figures", "method_figures", "lesson_figures",
    "lessons", "lesson_networks", "exercises", "result_exercises", "notebooks", "book", "lesson_times",
    "demo.__init__", "demo.warps", "demo.people", "demo.manipulations", "demo.clips", "demo.plan", "demo.layouts",
    "demo.build", "demo.audit", "studies", "rehearsal", "stages", "plan", "measuring",
    "inputs", "tracks", "operating_points", "trained", "saliency", "score", "score_report", "export", "score_batch",
    "__main__",
]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(module: str) -> Iterator[str]:
    """Modules of the package that ``module`` imports, at its head or inside its functions."""
    for node in ast.walk(tree(MODULES[module])):
        if isinstance(node, ast.ImportFrom) and node.level:
            package = module.split(".")[:-1][:None if node.level == 1 else 1 - node.level]
            base = [*package, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                names = [".".join([*base, alias.name]), ".".join([*base, alias.name, "__init__"]),
                         ".".join(base), ".".join([*base, "__init__"])]
                yield next(name for name in names if name in MODULES)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            assert not any(name.startswith("deepfake_repro") for name in names), f"{module}: import relatively"


def functions(path: Path) -> list[Function]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, Function)]


def length(function: Function) -> int:
    return function.end_lineno - function.lineno + 1


def test_the_flow_names_every_module_once() -> None:
    assert sorted(FLOW) == sorted(MODULES)


@pytest.mark.parametrize("module", FLOW)
def test_imports_run_with_the_flow_only(module: str) -> None:
    later = [name for name in imported(module) if FLOW.index(name) >= FLOW.index(module)]
    assert not later, f"{module} imports {later[0]}, which comes after it"


def test_the_reader_of_imports_sees_those_inside_functions_and_packages() -> None:
    assert {"demo.build", "stages", "params"} <= set(imported("__main__"))
    assert {"corpora.forgerynet", "corpora.celebdf2", "demo.plan"} <= set(imported("demo.layouts"))
    assert "corpora.__init__" in set(imported("stages")) and "corpora.manifest" in set(imported("corpora.__init__"))


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
