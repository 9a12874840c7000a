"""Tests of the files for citation, CI, container image and hooks."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read(name: str) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))


def test_citation_has_the_keys_of_cff_and_both_papers() -> None:
    """Keys that the Citation File Format 1.2.0 requires, of the file and of each reference."""
    citation = read("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["title"] and citation["message"]
    for entry in (citation, *citation["references"]):
        assert all(
            {"name"} == set(one) or {"family-names", "given-names"} == set(one)
            for one in entry["authors"]
        )
    assert all({"type", "title", "authors"} <= set(entry) for entry in citation["references"])
    preprints = [entry["identifiers"][0]["value"] for entry in citation["references"]]
    assert preprints == ["arXiv:2508.19730", "arXiv:2508.06248"]


def test_citation_agrees_with_the_project() -> None:
    citation = read("CITATION.cff")
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["title"].startswith(PROJECT["name"])


def test_workflow_runs_the_ci_script_on_every_supported_python() -> None:
    job = read(".github/workflows/ci.yml")["jobs"]["test"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert job["strategy"]["matrix"]["python"] == [
        f"3.{minor}" for minor in range(40) if f"3.{minor}.1" in allowed
    ]
    (checkout,) = [
        step["with"]
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/checkout@")
    ]
    assert checkout["fetch-depth"] == 0, "tests look up the commits of runs"


def test_the_book_is_built_published_and_added_to_a_release() -> None:
    workflow = read(".github/workflows/book.yml")
    assert set(workflow["on"]) == {"push", "release"}
    build, pages = workflow["jobs"]["build"], workflow["jobs"]["pages"]
    commands = [step["run"] for step in build["steps"] if "run" in step]
    assert commands[0] == "make book TORCH=cpu"
    assert "gh release upload" in commands[1] and build["permissions"] == {"contents": "write"}
    (artifact,) = [
        step["with"]["path"] for step in build["steps"] if "upload-pages" in step.get("uses", "")
    ]
    makefile = (ROOT / "Makefile").read_text()
    assert f" {artifact}\n" in makefile[makefile.index("\nbook:") :]
    assert pages["needs"] == "build"
    assert pages["permissions"] == {"pages": "write", "id-token": "write"}


def test_image_is_made_by_make_environment_on_a_supported_python() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    (base,) = [line for line in lines if line.startswith("FROM ")]
    version = re.fullmatch(r"FROM python:(3\.\d+)-slim", base)[1]
    assert f"{version}.1" in SpecifierSet(PROJECT["requires-python"])
    assert "RUN make environment" in lines
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ".venv" in ignored and ".git" not in ignored


def test_hooks_run_the_ruff_of_the_environment() -> None:
    (local,) = read(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    folder = re.search(r"^VENV +\?= (\S+)$", (ROOT / "Makefile").read_text(), flags=re.M)[1]
    commands = [shlex.split(hook["entry"]) for hook in local["hooks"]]
    assert [command[:2] for command in commands] == [
        [f"{folder}/bin/ruff", "check"],
        [f"{folder}/bin/ruff", "format"],
    ]
    assert all(hook["language"] == "system" for hook in local["hooks"])
