"""Rows of ``params.yaml``: defaults, own values, and errors that name the key and the cure."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepfake_repro.project import params
from deepfake_repro.project.recipes import BLOCKS

FILE = Path(__file__).resolve().parents[2] / "params.yaml"
PLAIN = params.load(FILE)
CONTENT = params.read_yaml(FILE)
NEW: dict[str, Any] = {"name": "New", "init": "imagenet"}
Load = Callable[..., params.Params]


@pytest.fixture
def with_row(tmp_path: Path) -> Load:
    """``with_row(row, …)``: the file with a row ``new`` that ``run`` trains and scores."""

    def load(row: dict[str, Any], *lists: str) -> params.Params:
        content = deepcopy(CONTENT)
        content["variants"]["new"] = row
        for name in lists or ("variants", row.get("method", "finetune")):
            content["run"][name] = [*content["run"][name], "new"]
        file = tmp_path / "params.yaml"
        file.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
        return params.load(file)

    return load


def test_a_row_needs_a_name_and_a_start_and_changes_no_other(with_row: Load) -> None:
    loaded = with_row(NEW)
    row = loaded.variant("new")
    assert (row.in_paper, row.method, row.labels, row.loss.name) == (
        False,
        "finetune",
        "binary",
        "none",
    )
    assert list(loaded.row_names) == [*PLAIN.row_names, "new"]
    assert loaded.paper_rows == PLAIN.paper_rows
    assert {key: loaded.variant(key) for key in PLAIN.variants} == PLAIN.variants
    for profile in params.PROFILES:
        assert loaded.profile(profile, "new") == PLAIN.profile(profile)


def test_rows_and_runs_of_the_run_are_in_the_order_of_the_rows(with_row: Load) -> None:
    loaded = with_row(NEW)
    run = replace(loaded.run, variants=("new", "sbi"), seeds=(0, 2))
    chosen = replace(loaded, run=run)
    assert chosen.rows_of_run == ("sbi", "new")
    assert chosen.runs == ("sbi-0", "sbi-2", "new-0", "new-2")


@pytest.mark.parametrize("method", BLOCKS)
def test_own_values_replace_those_of_the_methods_block_alone(with_row: Load, method: str) -> None:
    row = {
        **NEW,
        "method": method,
        "backbone": {"architecture": "vit_x", "start": "timm:x", "learning_rate": 1},
        "profiles": {"demo": {"learning_rate": 2.0e-3}},
    }
    loaded = with_row(row)
    for profile, rate in (("demo", 2.0e-3), ("paper", 1.0)):
        plain = PLAIN.profile(profile)
        recipe = replace(getattr(plain, BLOCKS[method]), architecture="vit_x", learning_rate=rate)
        if method == "lnclip":
            expected = replace(plain, lnclip=replace(recipe, start="timm:x"))
        else:
            start = replace(plain.start, imagenet="timm:x")
            expected = replace(plain, start=start, **{BLOCKS[method]: recipe})
        assert loaded.profile(profile, "new") == expected
        assert loaded.profile(profile) == loaded.profile(profile, "fsfm") == plain


@pytest.mark.parametrize(
    ("row", "lists", "message"),
    [
        ({"init": "imagenet"}, (), "params.yaml: missing key variants.new.name"),
        ({**NEW, "margin": 1.0}, (), "params.yaml: unknown key variants.new.margin; valid keys"),
        ({**NEW, "loss": {"names": 1}}, (), "params.yaml: unknown key variants.new.loss.names"),
        ({"name": "N"}, (), "variants.new.init is ''; known: imagenet, fsfm, sbi"),
        (
            {**NEW, "method": "gan"},
            ("variants", "finetune"),
            "variants.new.method is 'gan'; known: finetune, sbi, lnclip",
        ),
        (NEW, ("variants",), "lists 'new', which nothing trains: add it to run.finetune"),
        (
            NEW,
            ("variants", "sbi"),
            "run.sbi lists 'new', whose method is finetune: move it to run.finetune",
        ),
        (
            {**NEW, "backbone": {"pairs": 3}},
            (),
            "unknown key pairs in variants.new.backbone or .profiles.demo; valid keys: start, arch",
        ),
        ({**NEW, "backbone": {"epochs": 1.5}}, (), "epochs must be int, not 1.5"),
        ({**NEW, "profiles": {"dmeo": {}}}, (), "unknown profile 'dmeo'"),
    ],
)
def test_a_wrong_row_is_one_line_that_names_the_key(
    with_row: Load, row: dict[str, Any], lists: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match="params.yaml") as error:
        with_row(row, *lists)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("stage", ["calibrate", "robustness"])
def test_a_row_that_is_not_scored_has_no_operating_points_and_no_perturbed_crops(
    tmp_path: Path, stage: str
) -> None:
    content = deepcopy(CONTENT)
    content["run"] |= {"calibrate": [], "robustness": [], "variants": ["fsfm"], stage: ["sbi"]}
    file = tmp_path / "params.yaml"
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError) as error:
        params.load(file)
    assert str(error.value) == (
        f"params.yaml: run.{stage} lists 'sbi', which run.variants does not: "
        f"add it there or remove it from run.{stage}"
    )


def test_the_current_file_is_read_again_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dvc.yaml").touch()
    file = tmp_path / "params.yaml"
    text = FILE.read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert params.current() is params.current()
    first = next(iter(PLAIN.variants.values())).name
    file.write_text(text.replace(f"name: {first}\n", "name: Renamed\n", 1), encoding="utf-8")
    assert "Renamed" in params.current().row_names.values()
