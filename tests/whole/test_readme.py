"""README.md: its numbers come from results/, its links lead somewhere, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML

from deepfake_repro.report.readme import readme_with_results

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_results_table_is_the_one_in_results() -> None:
    assert readme_with_results(ROOT) == TEXT, "run `python -m deepfake_repro readme`"


def test_relative_links_exist() -> None:
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", TEXT) if not target.startswith("http")]
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert targets and not missing


def test_make_targets_exist() -> None:
    rules = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M)
    assert set(re.findall(r"make ([a-z]+) ", TEXT)) <= set(rules)


def test_pipeline_picture_names_the_stages_of_dvc_yaml() -> None:
    stages = set(YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"])
    picture = re.search(r"## The pipeline\n\n```\n(.*?)```", TEXT, flags=re.S)[1]
    assert stages <= set(re.findall(r"[a-z_]+", picture))
