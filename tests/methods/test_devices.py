"""Two processes (gloo, CPU) against one: the same curve, weights and predictions up to rounding.

This file is also the program that ``torchrun`` starts, so that both sides run the same lines.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from lightning_fabric import Fabric

from deepfake_repro.crops.store import CropStore
from deepfake_repro.evaluation import prediction
from deepfake_repro.methods.fsfm.recipe import pretrain
from deepfake_repro.methods.sbi.recipe import sync_batch_norms
from deepfake_repro.project.params import Predict
from deepfake_repro.training import devices
from deepfake_repro.training.detector import build_detector as build
from deepfake_repro.training.loading import GlobalBatches, training_loader
from deepfake_repro.training.losses import TRIPLET_LOSSES
from deepfake_repro.training.manifest import Manifest
from support import toy_lnclip, toy_sbi
from support.toy_pretraining import SMALL, Faces, small
from support.toy_training import BATCH_ALL, CROPS, FRESH, LABELS, RECIPE, run, toy_store

ROOT = Path(__file__).resolve().parents[2]
STEADY = replace(RECIPE, drop_path=0.0, batch_size=16, epochs=2)
PAIRS = replace(toy_sbi.TOY, pairs=4, sam_radius=0.05)
SPHERE = {
    "slerp": replace(toy_lnclip.RECIPE, epochs=2),
    "no_slerp": replace(toy_lnclip.RECIPE, epochs=2, slerp=0),
}
MANIFEST = Manifest(
    "vit_tiny_patch16_224",
    depth=1,
    input_size=32,
    views="windows",
    classes=("REAL", "FAKE"),
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)


def everything(folder: Path, fabric: Fabric) -> None:
    """Train by each method and predict; what came out lies in ``folder/<world size>``."""
    store, out = CropStore(folder / "store"), folder / str(fabric.world_size)
    for name in TRIPLET_LOSSES:
        model, result = run(
            store,
            out / name,
            recipe=STEADY,
            variant=replace(BATCH_ALL, loss=replace(BATCH_ALL.loss, name=name)),
            fabric=fabric,
        )
        keep(
            out / f"{name}.pt",
            fabric,
            history=result.history.to_dict("list"),
            state=model.state_dict(),
        )
    faces, online = Faces(), small()
    loader = training_loader(faces, SMALL.batch_size, 0, 5, fabric.global_rank, fabric.world_size)
    fit = pretrain(
        online,
        loader,
        SMALL,
        seed=5,
        scratch=out / "pretrain",
        fabric=fabric,
        report=lambda line: None,
    )
    keep(
        out / "pretrain.pt", fabric, history=fit.history.to_dict("list"), state=online.state_dict()
    )
    real = toy_sbi.toy_faces(out / f"faces{fabric.global_rank}")
    blended, fit = toy_sbi.trained(real, out / "sbi", PAIRS, fabric=fabric)
    keep(out / "sbi.pt", fabric, history=fit.history.to_dict("list"), state=blended.state_dict())
    noise = toy_lnclip.toy_store(out / f"noise{fabric.global_rank}")
    for name, recipe in SPHERE.items():
        tuned, _, fit, _ = toy_lnclip.run(noise, out / name, recipe, fabric)
        keep(
            out / f"{name}.pt",
            fabric,
            history=fit.history.to_dict("list"),
            state=tuned.state_dict(),
        )
    predict(store, out, fabric)


def keep(file: Path, fabric: Fabric, **content: object) -> None:
    if fabric.is_global_zero:
        torch.save(content, file)


def predict(store: CropStore, out: Path, fabric: Fabric) -> None:
    torch.manual_seed(1)
    detector = build(RECIPE.architecture, 2, depth=1, input_size=32, head_std=0.5)
    rows = (
        store.table(["video_id", "frame", "face"])
        .assign(label=LABELS)
        .iloc[FRESH][:75]
        .reset_index(drop=True)
    )
    prediction.ROWS_AT_ONCE = 20
    prediction.predict_set(
        detector, store, rows, MANIFEST, Predict(8, "32-true", 2, 0), fabric, out / "toy.parquet"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one process and of two."""
    folder = tmp_path_factory.mktemp("devices")
    toy_store(folder / "store")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        __file__,
        str(folder),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")]),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    two = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    rows = prediction.ROWS_AT_ONCE
    try:
        everything(folder, Fabric(accelerator="cpu", devices=1))
    finally:
        prediction.ROWS_AT_ONCE = rows
        output = two.communicate()[0]
    assert two.returncode == 0, output[-3000:]
    return folder


@pytest.mark.parametrize("name", [*TRIPLET_LOSSES, "pretrain", "sbi", *SPHERE])
def test_two_processes_follow_the_curve_of_one(folder: Path, name: str) -> None:
    one, two = (torch.load(folder / world / f"{name}.pt") for world in "12")
    pd.testing.assert_frame_equal(
        *(pd.DataFrame(part["history"]) for part in (one, two)), rtol=1e-5, atol=1e-5
    )
    assert one["state"].keys() == two["state"].keys()
    for key, tensor in one["state"].items():
        torch.testing.assert_close(two["state"][key], tensor, rtol=1e-3, atol=2e-4, msg=key)


def test_triplets_of_separate_halves_would_give_another_curve(folder: Path) -> None:
    """The gathering is what makes both curves one: a batch of half the size, as each process has
    it, differs.
    """
    curve = torch.load(folder / "1" / "batch_all.pt")["history"]["triplet_loss"]
    half = run(CropStore(folder / "store"), folder / "half", recipe=replace(STEADY, batch_size=8))[
        1
    ]
    assert abs(half.history["triplet_loss"][0] - curve[0]) > 1e-3


def test_two_processes_predict_what_one_does(folder: Path) -> None:
    files = [folder / world / "toy.parquet" for world in "12"]
    one, two = map(pd.read_parquet, files)
    pd.testing.assert_frame_equal(one, two, rtol=0, atol=2e-6)
    assert one["video_id"].tolist() == [f"toy/{number:03d}" for number in range(CROPS)[FRESH]][:75]
    for file in files:
        meta = pq.read_metadata(file)
        assert [meta.row_group(group).num_rows for group in range(meta.num_row_groups)] == [
            20,
            20,
            20,
            15,
        ]
    assert sorted(path.name for path in (folder / "2").glob("toy*")) == [
        "toy.parquet"
    ]  # no parts are left


def test_a_run_of_two_processes_is_taken_up_by_one(folder: Path) -> None:
    lines: list[str] = []
    _, result = run(
        CropStore(folder / "store"), folder / "2" / "batch_all", recipe=STEADY, report=lines.append
    )
    assert lines == ["resumed after step 12/12 from batch_all"]
    assert result.history.to_dict("list") == torch.load(folder / "2" / "batch_all.pt")["history"]
    assert result.speed["crops_per_second"] > 0


@pytest.mark.parametrize("world", [2, 3, 4])
def test_devices_share_each_batch_and_together_have_all_of_it(world: int) -> None:
    whole, shares = (
        GlobalBatches(50, 12, 7),
        [GlobalBatches(50, 12, 7, rank, world) for rank in range(world)],
    )
    for batches in (whole, *shares):
        batches.epoch, batches.start = 3, 1
    for batch, *parts in zip(whole, *shares, strict=True):
        stacked = torch.stack(
            [torch.tensor(part) for part in parts]
        )  # as Fabric gathers, devices first
        assert stacked.transpose(0, 1).flatten(0, 1).tolist() == [list(key) for key in batch]


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(
        ValueError, match="batch_size is 16: 3 devices share it, give a multiple of 3"
    ):
        GlobalBatches(50, 16, 0, 0, 3)


def test_batch_norms_are_refused_where_they_cannot_be_shared() -> None:
    two = SimpleNamespace(world_size=2, device=torch.device("cpu"))
    with pytest.raises(
        ValueError,
        match=r"sbi.architecture test_efficientnet has batch norms, which processes on CPUs",
    ):
        sync_batch_norms(build("test_efficientnet", 2, depth=0, input_size=64), two)


if __name__ == "__main__":
    everything(Path(sys.argv[1]), devices.launch_fabric("32-true"))
