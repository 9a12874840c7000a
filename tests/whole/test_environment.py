"""Tests that lock file, conda file and project file declare the same environment."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
LINUX_3_11 = {
    "python_version": "3.11",
    "python_full_version": "3.11.9",
    "sys_platform": "linux",
    "os_name": "posix",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = (
    {},
    {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    {
        "sys_platform": "win32",
        "platform_system": "Windows",
        "os_name": "nt",
        "platform_machine": "AMD64",
    },
)
"""Linux, macOS and Windows, as what differs from ``LINUX_3_11``."""
LOCK = (ROOT / "requirements.lock").read_text().splitlines()
INTENT = (ROOT / "environment.yml").read_text()
DIRECT = dict(re.findall(r"^      - ([a-z0-9.-]+)==(\S+)", INTENT, flags=re.M))
LESSONS = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["lessons"]
IMPORT_NAMES = {
    "pytest-xdist": "xdist",
    "pyzmq": "zmq",
    "ai-edge-litert": "ai_edge_litert",
    "facenet-pytorch": "facenet_pytorch",
    "pillow": "PIL",
    "huggingface-hub": "huggingface_hub",
    "lightning-fabric": "lightning_fabric",
    "markdown-it-py": "markdown_it",
    "opencv-python-headless": "cv2",
    "ruamel.yaml": "ruamel",
    "pytorch-metric-learning": "pytorch_metric_learning",
    "scikit-learn": "sklearn",
    "websocket-client": "websocket",
}
COMMANDS = {
    "dvc": r"\bdvc repro\b",
    "jupyterlab": r"\bjupyter lab\b",
    "ruff": r"\bruff check\b",
    "pytest": r"-m pytest\b",
    "import-linter": r"\blint-imports\b",
    "mypy": r"@mypy\b",
    "pre-commit": r"\bpre-commit install\b",
    "sphinx": r"\bsphinx-build\b",
    "myst-nb": r"\"myst_nb\"",
    "sphinx-book-theme": r"\"sphinx_book_theme\"",
}
WITHOUT_IMPORT = {"bokeh": "distributed", "ipywidgets": "tqdm.auto"}
"""Used by another package on behalf of an import: tqdm.auto draws its bars in JupyterLab with
ipywidgets.
"""


def pins() -> Iterator[tuple[str, str, str]]:
    """(name, version, marker) of each line of the lock."""
    for line in LOCK:
        name, version, marker = re.fullmatch(
            r"([a-z0-9][a-z0-9._-]*)==([^\s;]+)(?: ; (.+))?", line
        ).groups()
        yield name, version, marker or ""


def locked() -> dict[str, str]:
    """What the lock installs with Python 3.11 on Linux."""
    return {
        name: version
        for name, version, marker in pins()
        if not marker or Marker(marker).evaluate(LINUX_3_11)
    }


def test_every_line_of_the_lock_is_a_pin_and_nothing_else() -> None:
    assert len(LOCK) > 100
    bad = [
        line for line in LOCK if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[^\s;]+( ; [^;]+)?", line)
    ]
    assert not bad, f"requirements.lock: {bad[0]!r} is no 'name==version [; marker]'"


def test_the_lock_names_no_address_and_no_option() -> None:
    assert not [
        line for line in LOCK if re.search(r"https?:|://|@|\.(com|org|net|io)\b|^\s*-", line)
    ]


def test_versions_and_markers_of_the_lock_are_valid() -> None:
    for name, version, marker in pins():
        assert str(Version(version)) and canonicalize_name(name)
        assert not marker or isinstance(Marker(marker).evaluate(LINUX_3_11), bool)


def test_the_lock_has_one_version_of_each_package() -> None:
    names = [canonicalize_name(name) for name, _, _ in pins()]
    assert len(names) == len(set(names))
    assert [line.split("==")[0] for line in LOCK] == sorted(line.split("==")[0] for line in LOCK)


def pythons_with(marker: str) -> Iterator[set[str]]:
    """Yield for each system the supported versions of Python for which ``marker`` is true."""
    for system in SYSTEMS:
        yield {
            python
            for python in SUPPORTED
            if Marker(marker).evaluate(
                LINUX_3_11
                | system
                | {"python_version": python, "python_full_version": f"{python}.9"}
            )
        }


def test_what_differs_by_python_is_listed_with_its_reason() -> None:
    """The comment at the head of environment.yml: ``name: versions  # reason``."""
    listed = {
        name: set(versions.split())
        for name, versions in re.findall(
            r"^#   ([a-z0-9-]+): (3\.[\d. ]*\d) +# .{10,}$", INTENT, flags=re.M
        )
    }
    found = {
        name: some
        for name, _, marker in pins()
        if marker
        for some in pythons_with(marker)
        if some and some != set(SUPPORTED)
    }
    assert found == listed


def test_the_range_of_python_is_the_same_wherever_it_is_said() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = SpecifierSet(project["requires-python"])
    assert tuple(f"3.{minor}" for minor in range(40) if f"3.{minor}.1" in allowed) == SUPPORTED
    makefile = (ROOT / "Makefile").read_text()
    assert f"SUPPORTED = {' '.join(SUPPORTED)}\n" in makefile
    words = f"{SUPPORTED[0]} to {SUPPORTED[-1]}"
    for file in ("README.md", "Makefile", "environment.yml"):
        assert words in (ROOT / file).read_text(), f"{file} does not say {words!r}"


def test_conda_intent_installs_the_lock() -> None:
    content = YAML(typ="safe", pure=True).load(INTENT)
    (pip,) = [entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict)]
    assert pip[0] == "-r requirements.lock" and pip[1:] == [
        f"{name}=={version}" for name, version in DIRECT.items()
    ]
    assert "python=3.11" in content["dependencies"]


def test_direct_pins_are_those_of_the_lock() -> None:
    assert {name: locked().get(canonicalize_name(name)) for name in DIRECT} == DIRECT


def test_each_direct_dependency_says_where_it_is_used() -> None:
    lines = [
        line
        for line in INTENT.splitlines()
        if re.match(r"\s*- [a-z0-9.-]+(==?[\d.]+)?\s*(#|$)", line)
    ]
    listed = [line for line in lines if line.split()[1] not in {"conda-forge", "nodefaults"}]
    assert len(listed) == len(DIRECT) + 4  # python, pip, git, make
    assert not [line for line in listed if not re.search(r"# \S.{4,}", line)]


def test_project_depends_on_exactly_the_direct_pins() -> None:
    """What runs the pipeline, and groups for teaching, documents and tests; nothing twice.

    The group ``lessons`` repeats a part of them, for an environment without the others.
    """
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [content["project"]["dependencies"], *content["dependency-groups"].values()]
    assert all(group == sorted(group) for group in groups)
    groups.remove(LESSONS)
    assert set(LESSONS) - set(DIRECT) == {"setuptools"}, "it installs the package itself"
    assert sorted(name for group in groups for name in group) == sorted(DIRECT)


def test_torch_and_torchvision_are_pinned_together() -> None:
    assert {"torch", "torchvision"} <= set(locked()) and {"torch", "torchvision"} <= set(DIRECT)


def needed(keep: Callable[[str, Requirement], bool], names: Iterable[str] = DIRECT) -> set[str]:
    """Names of all that ``names`` need here, by what the installed packages say.

    ``keep(package, requirement)``: whether a requirement of a package counts.
    """
    waiting = [(name, "") for name in names]
    seen = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in metadata.requires(name) or ():
            wanted = Requirement(text)
            applies = not wanted.marker or wanted.marker.evaluate({"extra": extra})
            if applies and keep(name, wanted):
                other = canonicalize_name(wanted.name)
                waiting += [(other, chosen) for chosen in ("", *wanted.extras)]
    return {canonicalize_name(name) for name, _ in seen}


@pytest.mark.skipif(
    sys.platform != "linux" or metadata.version("torch").endswith("+cpu"),
    reason="PyTorch has no CUDA here",
)
def test_without_cuda_exactly_its_packages_are_left_out() -> None:
    """``make environment TORCH=cpu``: the CPU build lacks what PyTorch needs on Linux only."""
    pattern = re.search(r"^OF_CUDA = (.+)$", (ROOT / "Makefile").read_text(), flags=re.M)[1]
    left_out = {line.partition("==")[0] for line in LOCK if re.search(pattern, line)}
    with_cuda = needed(lambda *_: True)
    without = needed(
        lambda name, wanted: name != "torch" or "platform_system" not in str(wanted.marker)
    )
    assert len(left_out) > 10
    assert with_cuda - without == left_out


def imports(notebook: str) -> list[str]:
    """The import statements of a notebook."""
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    statements = ast.parse(code).body
    return [
        ast.unparse(line) for line in statements if isinstance(line, ast.Import | ast.ImportFrom)
    ]


WITHOUT_TORCH = {
    "lessons": ("00_start_here", "01_corpora", "07_results"),
    "exercises": (
        "00_start_here",
        "01_corpora",
        "02_crops",
        "05_finetune",
        "05b_sbi",
        "06_predict",
        "07_results",
        "10_score_your_video",
    ),
}
"""Notebooks that load no PyTorch."""
REFUSE = """
import json, sys
from importlib.machinery import ModuleSpec
class Refuse:  # on import: a library that only asks whether another is there goes on
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name.partition(".")[0] in refused else None
    def create_module(self, spec):
        raise ImportError(f"{spec.name} is not in the group")
    def exec_module(self, module):
        pass
refused = json.loads(sys.argv[1])
sys.meta_path.insert(0, Refuse())
"""


def test_some_lessons_and_exercises_need_only_their_group() -> None:
    """They are imported where every package is refused that ``make environment TORCH=none`` lacks.

    The teacher's page lists them.
    """
    group = needed(lambda *_: True, LESSONS)
    refused = [
        module
        for module, names in metadata.packages_distributions().items()
        if not {canonicalize_name(name) for name in names} & (group | {"deepfake-repro"})
    ]
    assert {"torch", "torchvision", "timm", "dvc", "onnxruntime"} <= set(refused)
    code = [line for name in WITHOUT_TORCH["lessons"] for line in imports(name)]
    code += [line for name in WITHOUT_TORCH["exercises"] for line in imports(f"exercises/{name}")]
    code += ["assert exercises.find_check('05b.2')"]
    command = [sys.executable, "-c", REFUSE + "\n".join(code), json.dumps(refused)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-1000:]
    page = " ".join((ROOT / "docs" / "teaching.md").read_text(encoding="utf-8").split())
    lessons, exercises = (
        ", ".join(name.partition("_")[0] for name in names) for names in WITHOUT_TORCH.values()
    )
    assert f"the lessons {lessons} and the exercises {exercises} need no PyTorch" in page


IN_COLAB = ("00_start_here", "04_triplets", "07_results")
EXERCISES_IN_COLAB = ("00", "03b", "05", "05b", "06", "07", "09", "10")


def test_the_small_cell_for_colab_installs_all_that_its_notebooks_need() -> None:
    """They are imported where every direct dependency is refused that is neither installed by the
    cell, nor expected there by the page, nor needed by one of these.
    """
    page = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    (installed,) = re.findall(r"^!pip install -q (av .+) && ", page, flags=re.M)
    words = " ".join(page.split())
    (expected,) = re.findall(r"already, in any recent version: ([^:.]+)\. Colab", words)
    names = {*installed.split(), *expected.split(", ")}
    assert names <= set(DIRECT), "names as in environment.yml"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    group = needed(lambda *_: True, sorted(names))
    absent = [name for name in project["dependencies"] if canonicalize_name(name) not in group]
    refused = [IMPORT_NAMES.get(name, name) for name in absent]
    assert {"dvc", "papermill", "onnxruntime", "facenet_pytorch"} <= set(refused)
    exercises = [
        f"exercises/{path.stem}"
        for number in EXERCISES_IN_COLAB
        for path in (ROOT / "notebooks" / "exercises").glob(f"{number}_*.ipynb")
    ]
    assert len(exercises) == len(EXERCISES_IN_COLAB)
    code = [line for name in (*IN_COLAB, *exercises) for line in imports(name)]
    command = [sys.executable, "-c", REFUSE + "\n".join(code), json.dumps(refused)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-1000:]
    lessons = ", ".join(name.partition("_")[0] for name in IN_COLAB[:-1])
    assert f"Lessons {lessons} and 07 and the exercises {', '.join(EXERCISES_IN_COLAB)}" in words


def codes() -> Iterator[str]:
    """Source of the package, its tests and the notebooks' code cells."""
    for path in sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
        yield path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield from ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """Dotted names of all modules imported anywhere."""
    names = set()
    for node in (node for code in codes() for node in ast.walk(ast.parse(code))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", DIRECT)
def test_each_direct_dependency_is_imported_or_run(imported: set[str], package: str) -> None:
    files = ("Makefile", "dvc.yaml", "docs/conf.py", "CONTRIBUTING.md")
    commands = "".join((ROOT / file).read_text() for file in files)
    module = WITHOUT_IMPORT.get(package) or IMPORT_NAMES.get(package, package)
    used = any(name == module or name.startswith(f"{module}.") for name in imported)
    assert used or (package in COMMANDS and re.search(COMMANDS[package], commands)), (
        f"{package} is idle: remove it"
    )


def test_what_the_package_and_the_notebooks_import_is_pinned(imported: set[str]) -> None:
    provided = {IMPORT_NAMES.get(name, name) for name in DIRECT} | {
        "deepfake_repro",
        "IPython",
        "traitlets",
        "_typeshed",  # for type checkers only
        "mpl_toolkits",  # of matplotlib
        "packaging",
    }
    helpers = {"support", "benchmarks"}
    foreign = (
        {name.partition(".")[0] for name in imported}
        - set(sys.stdlib_module_names)
        - provided
        - helpers
    )
    assert not foreign, f"{sorted(foreign)[0]} is imported but environment.yml does not list it"
    assert {"ipython", "traitlets", "packaging"} <= set(locked())
