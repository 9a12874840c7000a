"""Tests of README.md: its numbers come from results/, and it begins with purpose and commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from deepfake_repro.operations.committed import extract_committed
from deepfake_repro.project.provenance import has_history
from deepfake_repro.report.pages.readme import readme_with_results

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_committed_results_table_is_the_one_in_committed_results(tmp_path: Path) -> None:
    """The numbers of one's own run are compared with these by `deepfake-repro verify`."""
    if not has_history(ROOT):
        pytest.skip("an archive without git history has no committed state beside its files")
    extract_committed(ROOT, "HEAD", tmp_path, "README.md", "params.yaml", "dvc.yaml", "results")
    committed = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert readme_with_results(tmp_path) == committed, "run `python -m deepfake_repro readme`"


def test_the_first_screen_has_picture_results_and_both_commands() -> None:
    """The table ends before the first heading: what it is, two commands, one picture, the
    results.
    """
    first = TEXT[: TEXT.index("\n## ")]
    shown = re.sub(r"</summary>.*?</details>", "</summary></details>", first, flags=re.DOTALL)
    assert len(shown.splitlines()) < 50  # a folded table is one line until it is opened
    assert re.findall(r"^make (\w+)", first, flags=re.M) == ["repro", "test"]
    (picture,) = re.findall(r'<img src="([^"]+)" alt="[^"]{20,}"', first)
    assert (ROOT / picture).is_file()
    assert "<!-- /results -->" in first


def test_pipeline_picture_names_the_stages_of_dvc_yaml() -> None:
    stages = set(YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"])
    page = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")
    picture = re.search(r"```\n(code .*?)```", page, flags=re.S)[1]
    assert stages <= set(re.findall(r"[a-z_]+", picture))
