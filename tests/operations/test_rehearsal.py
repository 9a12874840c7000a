"""Tests of the rehearsal: replaced values, and random weights that it reports and can load."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deepfake_repro.operations import clones
from deepfake_repro.operations.planning import rehearsal
from deepfake_repro.project import params
from deepfake_repro.project.paths import Paths
from deepfake_repro.training import checkpoints
from deepfake_repro.training.detector import build_detector

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "params.yaml").read_text()
PARAMS = params.load(ROOT / "params.yaml")
TINY = {
    "paper.train.architecture": "vit_tiny_patch16_224",
    "paper.train.depth": 1,
    "paper.lnclip.architecture": "vit_tiny_patch16_224",
    "paper.lnclip.depth": 1,
    "paper.sbi.architecture": "tf_efficientnet_b0",
}


def derived(folder: Path, values: dict[str, object]) -> params.Params:
    (folder / "params.yaml").write_text(clones.with_values(TEXT, values))
    return params.load(folder / "params.yaml")


@pytest.mark.parametrize("gpu", [True, False])
def test_the_rehearsal_is_the_paper_profile_but_for_its_documented_keys(
    tmp_path: Path, gpu: bool
) -> None:
    found = derived(tmp_path, rehearsal.rehearsal_values(PARAMS, (), gpu))
    paper, run = PARAMS.profile("paper"), found.run
    assert run.variants == PARAMS.run.variants and run.finetune == PARAMS.run.finetune
    assert (run.profiles, run.pretrain, run.seeds) == (("paper",), (), (0,))
    rehearsed = found.profile("paper")
    for block in ("train", "sbi", "lnclip"):
        for key in ("architecture", "depth", "input_size", "augmentation", "precision"):
            assert getattr(getattr(rehearsed, block), key) == getattr(getattr(paper, block), key)
    assert (rehearsed.train.batch_size == paper.train.batch_size) is gpu
    assert rehearsed.train.epochs == rehearsed.sbi.epochs == rehearsed.lnclip.epochs == 1
    assert rehearsed.index == paper.index and rehearsed.sampling == paper.sampling


def test_some_rows_only() -> None:
    values = rehearsal.rehearsal_values(PARAMS, ("sbi", "fsfm_ba"), gpu=True)
    assert (values["run.variants"], values["run.finetune"]) == (["sbi", "fsfm_ba"], ["fsfm_ba"])
    assert (values["run.sbi"], values["run.lnclip"]) == (["sbi"], [])
    with pytest.raises(
        ValueError, match=r"^rehearse: unknown row 'fsfm_xy'; run\.variants has sbi, imagenet"
    ):
        rehearsal.rehearsal_values(PARAMS, ("fsfm_xy",), gpu=True)


def test_missing_weights_are_told_and_their_random_files_load(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(rehearsal, "try_to_load_from_cache", lambda repository, file: None)
    loaded = derived(tmp_path, TINY)
    options = loaded.profile("paper")
    values = rehearsal.start_weights(loaded, tmp_path, tmp_path)
    printed = capsys.readouterr().out.splitlines()
    assert set(values) == {
        "paper.start.imagenet",
        "paper.start.fsfm",
        "paper.start.sbi",
        "paper.lnclip.start",
    }
    assert len(printed) == 4 and all("STARTS FROM RANDOM WEIGHTS" in line for line in printed)
    for key, recipe in (
        ("start.fsfm", options.train),
        ("start.sbi", options.sbi),
        ("lnclip.start", options.lnclip),
    ):
        detector = build_detector(
            recipe.architecture,
            6,
            depth=recipe.depth,
            input_size=recipe.input_size,
            sphere=key.startswith("lnclip"),
        )
        assert (
            checkpoints.load_start(detector, str(tmp_path / values[f"paper.{key}"])).mean
            == (0.5,) * 3
        )


def test_a_rows_own_start_is_replaced_under_its_own_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "try_to_load_from_cache", lambda repository, file: None)
    own = {"start": "own.safetensors", "architecture": "vit_tiny_patch16_224", "depth": 2}
    row = replace(PARAMS.variant("fsfm_ba"), backbone=own)
    loaded = derived(tmp_path, TINY)
    loaded = replace(loaded, variants={**loaded.variants, "fsfm_ba": row})
    values = rehearsal.start_weights(loaded, tmp_path, tmp_path)
    file = tmp_path / values["variants.fsfm_ba.backbone.start"]
    detector = build_detector(str(own["architecture"]), 2, depth=2)
    assert checkpoints.load_start(detector, str(file)).mean == (0.5,) * 3


def test_weights_at_hand_are_taken(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(rehearsal, "try_to_load_from_cache", lambda repository, file: "here")
    base, clone = tmp_path / "base", tmp_path / "clone"
    folder = base / "data" / "pretrained" / "paper"
    folder.mkdir(parents=True)
    for name in ("checkpoint-400.pth", "pretrain_ds_mean_std.txt"):
        (folder / name).write_text(name)
    assert rehearsal.start_weights(PARAMS, base, clone) == {}
    assert (clone / "data" / "pretrained" / "paper" / "pretrain_ds_mean_std.txt").is_file()
    assert "RANDOM" not in capsys.readouterr().out


def test_the_summary_counts_test_sets_and_no_averages(tmp_path: Path) -> None:
    folder = Paths("paper", tmp_path).runs / "fsfm_ba-0"
    folder.mkdir(parents=True)
    run = {"seconds": 9.5, "peak_memory_mib": 3000, "speed": {"crops_per_second": 0.8}}
    scores = {
        "auc": {"ffpp": 50.0, "dfdc": 50.0, "in_distribution": 50.0},
        "videos": {"scored": {"ffpp": 4, "dfdc": 2}},
    }
    (folder / "provenance.json").write_text(json.dumps(run))
    (folder / "scores.json").write_text(json.dumps(scores))
    assert rehearsal.summary(Paths("paper", tmp_path)).to_dict("records") == [
        {
            "row": "fsfm_ba",
            "seconds": 9.5,
            "peak_memory_mib": 3000,
            "crops_per_second": 0.8,
            "test_sets": 2,
        }
    ]
