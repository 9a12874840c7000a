"""Tests that a clone with ``core.autocrlf=true``, as on Windows, has the same bytes."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from support.clones import REPOSITORY as ROOT
from support.clones import dvc

UP_TO_DATE = "Data and pipelines are up to date."


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def clone(target: Path, autocrlf: str) -> Path:
    """A clone of what is committed, written to disk with the given ``core.autocrlf``."""
    command = ["git", "clone", "--quiet", "-c", f"core.autocrlf={autocrlf}", str(ROOT), str(target)]
    subprocess.run(command, check=True)
    return target


def digests(checkout: Path) -> dict[str, str]:
    """Return the MD5 of each tracked file in the working tree, the hash that DVC uses."""
    names = git(checkout, "ls-files", "-z").split("\0")
    return {name: hashlib.md5((checkout / name).read_bytes()).hexdigest() for name in names if name}


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("windows") / "clone", autocrlf="true")


def test_a_clone_with_autocrlf_has_the_same_bytes_and_is_clean(
    windows: Path, tmp_path: Path
) -> None:
    usual = digests(clone(tmp_path / "clone", autocrlf="false"))
    different = [name for name, digest in digests(windows).items() if usual[name] != digest]
    assert len(usual) > 300
    assert different == []
    assert git(windows, "status", "--porcelain") == ""


def test_every_tracked_file_is_binary_or_written_with_line_feeds() -> None:
    """Also those that are not committed yet: ``git add`` has to find their kind."""
    names = git(ROOT, "ls-files")
    command = ["git", "-C", str(ROOT), "check-attr", "--stdin", "text", "eol"]
    told = subprocess.run(command, input=names, check=True, capture_output=True, text=True).stdout
    attributes: dict[str, dict[str, str]] = {}
    for line in told.splitlines():
        name, attribute, value = line.rsplit(": ", 2)
        attributes.setdefault(name, {})[attribute] = value
    unclear = [
        name
        for name, found in attributes.items()
        if found["text"] != "unset" and found["eol"] != "lf"
    ]
    assert attributes
    assert unclear == []


@pytest.mark.pipeline
def test_the_results_of_a_clone_with_autocrlf_are_up_to_date(windows: Path) -> None:
    result = dvc(windows, "repro", "--dry", "--allow-missing")
    assert result.stdout.strip().splitlines()[-1] == UP_TO_DATE, result.stdout[-2000:]
