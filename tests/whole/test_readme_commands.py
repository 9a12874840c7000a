"""Every command printed in README.md and the documents works as typed in a new shell.

The shell has the environment of ``make environment`` active. The pages are the source: a command
that no rule of ``HOW`` matches fails. Short commands run as printed, in a clone with a small model
and clips under the printed names. Long ones are checked as far as that is cheap: the make target
exists, DVC knows the stage, the command line is understood.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from torch.distributed.run import get_args_parser

from deepfake_repro.cli import main
from deepfake_repro.project.machine import AVX2_OF_INTEL
from deepfake_repro.project.params import read_yaml
from support import scoring_model
from support.clones import REPOSITORY as ROOT
from support.clones import clone

PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "REPRODUCIBILITY.md", "data/README.md")
]
PAGES += sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "results").glob("*/README.md")])
PROGRAMS = (
    "deepfake-repro",
    "docker",
    "dvc",
    "git",
    "make",
    "pip",
    "pre-commit",
    "pytest",
    "python -m",
    "ruff",
)
PROGRAMS += ("source", "sphinx-build", "torchrun")
COMMAND = re.compile(rf"({'|'.join(map(re.escape, PROGRAMS))}) ")
NEEDS_OTHER_TOOLS = {
    "git init && git add -A && git commit -m archive": "an unpacked archive",
    "docker build --tag deepfake-repro .": "docker",
    "docker run --interactive --tty deepfake-repro": "docker",
    "pip install dask-jobqueue": "a cluster with Slurm",
    "pip install -e . --no-deps": "a Binder session",
    "pre-commit install": "pre-commit",
}
"""Commands for tools that are not part of the environment: the pages say so."""


def fences(text: str) -> Iterator[tuple[str, list[str]]]:
    """(language, lines) of each fenced block; a backslash continues a line."""
    for language, body in re.findall(r"^```(\S*)\n(.*?)^```", text, flags=re.M | re.S):
        yield language, body.replace("\\\n", " ").splitlines()


def without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#\s.*", "", line).strip()


def printed(text: str) -> set[str]:
    """Commands of a page: lines of its ``sh`` blocks, and code spans that begin with a program and
    an argument.
    """
    blocks = [line for language, lines in fences(text) if language == "sh" for line in lines]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    spans = [span for span in re.findall(r"`([^`\n]+)`", prose) if COMMAND.match(span)]
    return {command for line in (*blocks, *spans) if (command := without_comment(line))}


COMMANDS = sorted(
    {command for page in PAGES for command in printed(page.read_text(encoding="utf-8"))}
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone that knows the stages of both profiles."""
    folder = clone(tmp_path_factory.mktemp("commands") / "clone")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of all stages with both profiles on."""
    folder = clone(tmp_path_factory.mktemp("stages") / "clone")
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("profiles: [demo]", "profiles: [demo, paper]"))
    return set(typed("dvc stage list --names-only", folder).stdout.split())


@pytest.fixture(scope="module")
def own_videos(
    checkout: Path, assets: Path, tile: np.ndarray, make_clip: Callable[..., Path]
) -> Path:
    """The clone with the models and clips that the pages name."""
    (checkout / "data" / "assets").symlink_to(assets)
    for name in ("clip.mp4", "folder/a.mp4", "more/b.mov"):
        make_clip(checkout / name, [tile] * 10)
    for profile in ("demo", "paper"):
        scoring_model.make(checkout / "results" / profile / "weights" / "fsfm_ba-0")
    for name in ("my_detector", "data/pretrained/detectors/gend_clip_l14"):
        scoring_model.make(checkout / name)
    return checkout


def typed(command: str, folder: Path, active: bool = True) -> subprocess.CompletedProcess:
    """A command typed in a new shell; ``active``: the environment's programs are in its path."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    programs = Path(sys.prefix) / "bin"
    path = [entry for entry in os.environ["PATH"].split(os.pathsep) if Path(entry) != programs]
    environment["PATH"] = os.pathsep.join([str(programs), *path] if active else path)
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout[-2000:]}{result.stderr[-2000:]}"
    return result


def runs(command: str, request: pytest.FixtureRequest) -> None:
    """As printed, in the clone."""
    typed(command, request.getfixturevalue("checkout"))


def activates(command: str, request: pytest.FixtureRequest) -> None:
    """The new shell then has the environment's programs."""
    if not (Path(sys.prefix) / "bin" / "activate").is_file():
        pytest.skip("not a virtual environment")
    folder = request.getfixturevalue("checkout")
    typed(f"{command} && deepfake-repro --help", folder, active=False)


def scores(command: str, request: pytest.FixtureRequest) -> None:
    """As printed, with a small model and clips; the folder it names is new."""
    folder = request.getfixturevalue("own_videos")
    typed(command, folder)
    out = folder / (re.findall(r"--out (\S+)", command) or ["report"])[0]
    assert any(out.iterdir())
    shutil.rmtree(out)


def understood(command: str, request: pytest.FixtureRequest) -> None:
    """Outside a checkout the command ends with one line instead of the usage."""
    arguments = shlex.split(re.split(r"deepfake[-_]repro", command, maxsplit=1)[1])
    stderr = request.getfixturevalue("capsys")
    request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))
    assert main(arguments) == 2
    line = stderr.readouterr().err
    causes = (
        r"no dvc\.yaml in or above",
        r"'dataset\.json' does not exist",
        r"'config/datasets' is not a folder",
    )
    assert re.match(f"error: ({'|'.join(causes)})", line), line


def distributes(command: str, request: pytest.FixtureRequest) -> None:
    """torchrun knows its options; the rest is a command of the package."""
    assert get_args_parser().parse_args(shlex.split(command)[1:]).module
    understood(command, request)


def makes(command: str, request: pytest.FixtureRequest) -> None:
    """The target exists, and the Makefile uses the variables that the command sets."""
    settings = [word for word in shlex.split(command)[1:] if "=" in word]
    targets = [word for word in shlex.split(command)[1:] if "=" not in word]
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"$({setting.partition('=')[0]})" in makefile for setting in settings)
    assert targets
    typed(shlex.join(["make", "--dry-run", *targets]), request.getfixturevalue("checkout"))


def compiles(command: str, request: pytest.FixtureRequest) -> None:
    """The library answers that the processor is Intel's."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    folder = request.getfixturevalue("tmp_path")
    typed(command, folder)
    assert ctypes.CDLL(str(folder / "as_intel.so")).mkl_serv_intel_cpu_true() == 1


def makes_with_library(command: str, request: pytest.FixtureRequest) -> None:
    """It loads the library that another command made, and pins a variable that is a pin."""
    settings, _, target = command.rpartition(" make ")
    names = [word.partition("=")[0] for word in shlex.split(settings)]
    assert names == ["LD_PRELOAD", *AVX2_OF_INTEL]
    makes(f"make {target}", request)


def merges(command: str, request: pytest.FixtureRequest) -> None:
    """As printed, with two copies of the lock."""
    folder = request.getfixturevalue("tmp_path")
    for name in shlex.split(command)[2:]:
        shutil.copy(ROOT / "dvc.lock", folder / name)
    typed(command, folder)
    assert (folder / "dvc.lock").read_bytes() == (ROOT / "dvc.lock").read_bytes()


def names_a_stage(command: str, request: pytest.FixtureRequest) -> None:
    """DVC has the stage in the profile that the command names."""
    assert shlex.split(command)[-1] in request.getfixturevalue("stages")


def adds_a_remote(command: str, request: pytest.FixtureRequest) -> None:
    """What one clone pushes, another one pulls."""
    base = request.getfixturevalue("tmp_path")
    for one in ("author", "reviewer"):
        folder = base / one
        folder.mkdir()
        (folder / "dvc.yaml").write_text("stages: {a: {cmd: echo a > a.txt, outs: [a.txt]}}\n")
        typed("git init --quiet && dvc init --quiet", folder)
        typed(command.replace(shlex.split(command)[-1], str(base / "remote")), folder)
    typed("dvc repro --quiet && dvc push --quiet a", base / "author")
    shutil.copy(base / "author" / "dvc.lock", base / "reviewer")
    typed("dvc pull --quiet a", base / "reviewer")
    assert (base / "reviewer" / "a.txt").read_text() == "a\n"


def overrides(command: str, request: pytest.FixtureRequest) -> None:
    """``params.yaml`` has the key; test_params shows that DVC's override changes it."""
    key, _, value = shlex.split(command)[-1].partition("=")
    content = read_yaml(ROOT / "params.yaml")
    for name in key.split("."):
        content = content[name]
    assert type(content)(value) != content


def selects_tests(command: str, request: pytest.FixtureRequest) -> None:
    """Paths exist, markers are declared, and a test module has the name after ``-k``."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    markers = {line.partition(":")[0] for line in settings["markers"]}
    modules = " ".join(path.stem for path in (ROOT / "tests").rglob("test_*.py"))
    words = iter(shlex.split(command)[3:])
    for word in words:
        if word == "-m":
            assert set(next(words).split()) - {"not", "and", "or"} <= markers
        elif word == "-k":
            assert next(words) in modules
        else:
            assert word == "-s" or (ROOT / word).exists(), word


def offers(command: str, request: pytest.FixtureRequest) -> None:
    """The program has the subcommand."""
    typed(f"{command} --help", request.getfixturevalue("checkout"))


def needs_another_tool(command: str, request: pytest.FixtureRequest) -> None:
    assert command in NEEDS_OTHER_TOOLS


def removes(command: str, request: pytest.FixtureRequest) -> None:
    """The folders are gone afterwards."""
    folder = request.getfixturevalue("tmp_path")
    named = [folder / name for name in shlex.split(command)[2:]]
    for one in named:
        one.mkdir(parents=True)
    typed(command, folder)
    assert not any(one.exists() for one in named)


def unpacks(command: str, request: pytest.FixtureRequest) -> None:
    """It restores an archive of that name."""
    folder = request.getfixturevalue("tmp_path")
    with tarfile.open(folder / shlex.split(command)[4], "w:gz") as archive:
        archive.add(ROOT / "params.yaml", "params.yaml")
    typed(command, folder)
    assert (folder / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


UNDERSTOOD = (
    "app|assets|audit|calibrate|certify|controls|counts|doctor|evaluate|export|html|import-deepfakebench|import-gend"
    "|index|labels|landmarks"
    "|machines|miniatures|plan|predict|pretrain|readme|rehearse|repro|robustness|rows|score-row|study|train|weights"
)
HOW: dict[str, Callable[[str, pytest.FixtureRequest], None]] = {
    r"deepfake-repro (--help|card .*|readme|slides)": runs,
    r"dvc metrics show.*|git (diff .*|checkout \.)": runs,
    r"git config merge\..*": runs,
    r"deepfake-repro merge-lock \S+ \S+": merges,
    r"dvc exp run (--queue )?-S \S+": overrides,
    r"source \.venv/bin/activate": activates,
    r"deepfake-repro (score|export-model) .*": scores,
    rf"(deepfake-repro|python -m deepfake_repro) ({UNDERSTOOD})( .*)?": understood,
    r"torchrun .* -m deepfake_repro .*": distributes,
    r"echo .* \| cc .*": compiles,
    r"LD_PRELOAD=\S+ .* make .*": makes_with_library,
    r"make .*": makes,
    r"dvc repro (--(single-item|force) \S+|code)": names_a_stage,
    r"dvc (push|pull) \S+ \S+": names_a_stage,
    r"dvc remote add --default \S+ \S+": adds_a_remote,
    r"(PYTHONPATH=src )?dvc (checkout|(exp|metrics|plots) diff|queue (start|status))": offers,
    r"rm -r .*": removes,
    r"tar --extract .*": unpacks,
    r"deepfake-repro (score|verify|export-model)": offers,
    # test_pipeline runs them
    "dvc repro|dvc repro --dry --allow-missing|dvc status|dvc exp show": offers,
    r"python -m pytest.*": selects_tests,
    r"ruff (check|format)": offers,
    "|".join(map(re.escape, NEEDS_OTHER_TOOLS)): needs_another_tool,
}
"""Pattern of a whole command -> how it is checked; the first that matches counts."""


def rule(command: str) -> Callable[[str, pytest.FixtureRequest], None] | None:
    return next((check for pattern, check in HOW.items() if re.fullmatch(pattern, command)), None)


def test_commands_are_found_and_an_unknown_one_has_no_rule() -> None:
    page = (
        "`make test` and `params.yaml`\n"
        "```sh\nmake repro   # all\ndvc repro \\\n--dry\n# only a comment\n```\n"
        "```\nmake no\n```\n"
    )
    assert printed(page) == {"make test", "make repro", "dvc repro  --dry"}
    assert {"make repro", "make test", "source .venv/bin/activate"} <= set(COMMANDS)
    assert rule("deepfake-repro conjure") is None
    assert rule("dvc destroy") is None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_in_blocks_of_their_own_kind(page: Path) -> None:
    """Else this file would not see them."""
    lines = [
        line
        for language, lines in fences(page.read_text(encoding="utf-8"))
        if language != "sh"
        for line in lines
    ]
    assert not [line for line in lines if COMMAND.match(line.strip())]


@pytest.mark.pipeline
@pytest.mark.parametrize("command", COMMANDS)
def test_a_printed_command_works_as_typed(command: str, request: pytest.FixtureRequest) -> None:
    check = rule(command)
    assert check, (
        f"{command!r}: no rule of HOW says how this command is checked; add one or correct the page"
    )
    check(command, request)
