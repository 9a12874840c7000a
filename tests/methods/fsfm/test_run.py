"""Pre-training from params.yaml."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deepfake_repro.methods.fsfm.run import scratch_path
from deepfake_repro.project import params
from deepfake_repro.project.paths import Paths
from deepfake_repro.training.devices import launch_fabric

ROOT = Path(__file__).resolve().parents[3]


def test_fp16_is_refused_in_one_line() -> None:
    """Its gradient scaler has a state that no checkpoint holds."""
    with pytest.raises(ValueError, match=r"^precision is 16-mixed: use bf16-mixed, .* or 32-true$"):
        launch_fabric("16-mixed")


def test_the_scratch_folder_is_the_same_on_any_number_of_devices(tmp_path: Path) -> None:
    paths, options = Paths("demo", tmp_path), params.load(ROOT / "params.yaml").profile("demo")
    for file in (paths.samples / "train.parquet", paths.training_index):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"rows")
    one = scratch_path(paths, options)
    assert (
        scratch_path(paths, replace(options, pretrain=replace(options.pretrain, devices=2))) == one
    )
    assert (
        scratch_path(paths, replace(options, pretrain=replace(options.pretrain, epochs=9))) != one
    )
