"""The commands of the README from where people put the repository, and with what they have on their
machines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import archives, interpreters

ROOT = archives.ROOT
BIN = str(Path(sys.executable).parent)
READY = ("--old-file=.venv/.ready",)
"""For make: the environment that ``.venv`` leads to is there, whatever it was made from."""
INSTALLED = "tqdm"
"""A small package of the lock with a command of its own."""


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make in ``folder`` with this environment's tools behind those of ``folder``."""
    plain = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    plain |= {"PATH": os.pathsep.join([BIN, plain["PATH"]])} | environment
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        env=plain,
        capture_output=True,
        text=True,
        check=False,
    )


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def fake_python(path: Path, version: str) -> Path:
    """Answers what is asked of a Python of ``version``."""
    return script(path, f"echo {version}")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return archives.unpack(tmp_path)


@pytest.fixture
def no_home(tmp_path: Path) -> str:
    """A home folder that nobody can write to; for root, who may write everywhere, one that cannot
    be there.
    """
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    if not os.access(home, os.W_OK):
        return str(home)
    (tmp_path / "file").touch()
    return str(tmp_path / "file" / "home")


# --- which Python ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.7", "3.10", "3.15", "4.0"])
def test_another_python_is_refused_in_one_line_before_anything_is_installed(
    archive: Path, version: str
) -> None:
    (archive / ".venv").unlink()
    python = fake_python(archive.parent / "bin" / "python", version)
    result = make(archive, "repro", f"PYTHON={python}")
    assert result.returncode == 2 and result.stdout == "" and result.stderr.count("\n") == 1
    supported = " ".join(interpreters.supported())
    words = f"{python} is Python {version}; needed is one of Python {supported}: make repro PYTHON="
    assert words in result.stderr
    assert not (archive / ".venv").exists()


def test_a_name_that_does_not_run_is_refused_too(archive: Path) -> None:
    """pyenv has such names for versions that are not switched on."""
    (archive / ".venv").unlink()
    shim = script(
        archive.parent / "python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127"
    )
    for python in (str(shim), "python3.nowhere"):
        result = make(archive, "environment", f"PYTHON={python}")
        assert (
            f"{python} does not run; needed is one of Python" in result.stderr
            and result.stderr.count("\n") == 1
        )


def test_an_environment_of_another_python_is_named(archive: Path) -> None:
    """Such as an editor makes, which takes the same folder."""
    (archive / ".venv").unlink()
    fake_python(archive / ".venv" / "bin" / "python", "3.10")
    result = make(archive, "environment")
    assert (
        ".venv/bin/python is Python 3.10" in result.stderr
        and "(and remove .venv first)" in result.stderr
    )
    assert result.stderr.count("\n") == 1


def test_interpreters_are_found_behind_names_that_do_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "shims" / "python3.12", "exit 127")
    other = fake_python(tmp_path / "other" / "python3.12", "3.9")
    for version in ("3.12.1", "3.12.9", "3.12.10"):
        fake_python(tmp_path / "pyenv" / "versions" / version / "bin" / "python3.12", "3.12")
    uv = fake_python(tmp_path / "uv" / "cpython-3.14.0-linux" / "bin" / "python3.14", "3.14")
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}{os.pathsep}{other.parent}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(uv.parents[2]))
    found = {version: interpreters.find(version) for version in interpreters.supported()}
    newest = tmp_path / "pyenv" / "versions" / "3.12.10" / "bin" / "python3.12"
    assert found == {"3.11": None, "3.12": newest, "3.13": None, "3.14": uv}


def test_make_test_says_which_interpreters_it_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = "{}.{}".format(*sys.version_info)
    versions = [version for version in interpreters.supported() if version != mine]
    there, ran = {version: Path(f"python{version}") for version in versions[:2]}, []
    monkeypatch.setattr(interpreters, "find", there.get)
    monkeypatch.setattr(
        interpreters,
        "run",
        lambda version, python: ran.append(version) or int(version == versions[1]),
    )
    assert interpreters.main() == 1 and ran == versions[:2]
    out, err = capsys.readouterr()
    assert (
        f"all tests ran on Python {mine}; the subset runs on {versions[0]} (python{versions[0]}), "
        in out
    )
    assert (
        f"not found: {versions[2]}" in out
        and err == f"error: the subset failed on Python {versions[1]}, see above\n"
    )


def test_ci_runs_what_the_readme_says_and_that_runs_the_others() -> None:
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == "make test"
    recipe = re.search(
        r"^test:.*\n((\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M
    )[1]
    assert "python tests/support/interpreters.py" in recipe


# --- from where -----------------------------------------------------------------------------------


def test_an_environment_is_made_in_a_folder_with_any_name(archive: Path) -> None:
    """With one small package of the lock; its command runs, though the path does not fit into a
    first line ``#!``.
    """
    (archive / ".venv").unlink()
    lock = archive / "requirements.lock"
    pins = [
        line
        for line in lock.read_text(encoding="utf-8").splitlines()
        if line.startswith((f"{INSTALLED}==", "setuptools=="))  # which installs the package itself
    ]
    lock.write_text("\n".join(pins) + "\n", encoding="utf-8")
    result = make(
        archive,
        "environment",
        f"--eval=after: ; @command -v {INSTALLED} && {INSTALLED} --version",
        "after",
        f"PYTHON={sys.executable}",
    )
    assert result.returncode == 0, result.stderr
    version = next(pin for pin in pins if pin.startswith(INSTALLED)).partition("==")[2]
    commands = archive / ".venv" / "bin"
    assert result.stdout.splitlines()[-2:] == [str(commands / INSTALLED), version]
    assert (commands / "deepfake-repro").is_file()


def test_an_archive_without_git_history_runs_stages(archive: Path) -> None:
    """DVC runs without SCM there; with a history it runs with it again."""
    stage = "--eval=stage: environment ; @dvc repro --quiet code"
    result = make(archive, *READY, stage, "stage")
    assert result.returncode == 0, result.stderr
    assert (archive / "results" / ".clean" / "06_predict.ipynb").is_file()
    assert "no_scm = true" in (archive / ".dvc" / "config.local").read_text(encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], cwd=archive, check=True)
    assert make(archive, *READY, "environment").returncode == 0
    assert "no_scm" not in (archive / ".dvc" / "config.local").read_text(encoding="utf-8")


def test_an_archive_inside_another_repository_leaves_that_alone(archive: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=archive.parent, check=True)
    stage = "--eval=stage: environment ; @dvc repro --quiet code"
    assert make(archive, *READY, stage, "stage").returncode == 0
    staged = subprocess.run(
        ["git", "ls-files"], cwd=archive.parent, capture_output=True, text=True, check=True
    )
    assert staged.stdout == ""


# --- for whom -------------------------------------------------------------------------------------


def test_a_user_without_a_git_identity_runs_stages(archive: Path, tmp_path: Path) -> None:
    """In a clone, with git: stages, and the commit that provenance records."""
    committer = {
        f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    for command in ("init --quiet", "add --all", "commit --quiet --message all"):
        subprocess.run(
            ["git", *command.split()], cwd=archive, env=os.environ | committer, check=True
        )
    nobody = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "HOME": str(tmp_path),
    }
    ask = (
        "import pathlib; from deepfake_repro.project import provenance; "
        'print(provenance._git(pathlib.Path(), "rev-parse", "HEAD"))'
    )
    stage = f"--eval=stage: environment ; @dvc repro --quiet code && python -c '{ask}'"
    result = make(archive, *READY, stage, "stage", **nobody)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"[0-9a-f]{40}", result.stdout.strip())
    assert (archive / "results" / ".clean" / "06_predict.ipynb").is_file()


def test_where_the_home_folder_cannot_be_written_to_another_takes_its_place(
    archive: Path, no_home: str
) -> None:
    """What JupyterLab, Matplotlib and DVC do first; JupyterLab would end with an error, and so
    would uv.
    """
    start = (
        "import matplotlib, jupyter_core.application as j, os; "
        "print(os.access(j.JupyterApp().runtime_dir, os.W_OK), matplotlib.get_cachedir())"
    )
    commands = f"@dvc repro --quiet code && python -c '{start}' && uv cache dir"
    stage = f"--eval=stage: environment ; {commands}"
    result = make(archive, *READY, stage, "stage", HOME=no_home)
    assert result.returncode == 0, result.stderr
    runtime, cache, *uv = result.stdout.replace(str(archive), "here").split()
    assert runtime == "True" and cache.startswith("here/.scratch/home/")
    assert not uv or uv[0].startswith("here/.scratch/home/")


def test_a_home_folder_that_can_be_written_to_stays(archive: Path, tmp_path: Path) -> None:
    result = make(archive, *READY, '--eval=home: ; @echo "$$HOME"', "home", HOME=str(tmp_path))
    assert result.stdout == f"{tmp_path}\n" and not (archive / ".scratch").exists()
