"""Tests of ``certify`` with a toy network: losses, loops, the file, and what ``plan`` reads."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from deepfake_repro.operations.certify import certificate as certifying
from deepfake_repro.operations.certify import losses, methods, workload
from deepfake_repro.operations.certify.certificate import MARKS, certify, table, with_table, write
from deepfake_repro.operations.certify.losses import (
    REFERENCE,
    check_losses,
    first_losses,
    store_losses,
)
from deepfake_repro.operations.certify.workload import Amount, Timed, as_loader, write_crops
from deepfake_repro.operations.planning import plan
from deepfake_repro.operations.planning.costs import Network
from deepfake_repro.operations.planning.devices import (
    DEVICES,
    certificates,
    certified_speeds,
    choose,
    describe,
    is_measured,
)
from deepfake_repro.project import params

ROOT = Path(__file__).resolve().parents[2]
PARAMS = params.load(ROOT / "params.yaml")
ROW = PARAMS.variant("fsfm_ba")
DEMO = PARAMS.profile("demo")
TINY = {"architecture": "vit_tiny_patch16_224", "depth": 1, "input_size": 32}
TOY = replace(
    DEMO,
    train=replace(DEMO.train, batch_size=4, **TINY),
    sbi=replace(DEMO.sbi, pairs=2, **TINY),
    lnclip=replace(DEMO.lnclip, batch_size=4, **TINY),
)
CERTIFICATE = {
    "device": "A | B",
    "profile": "paper",
    "methods": {
        "finetune": {
            "network": "vit, 30.00 GFLOP",
            "gflop": 30.0,
            "crops_per_second": 100.0,
            "predicted_per_second": 400.0,
            "waiting_share": 0.04,
            "share_of_matrix_peak": 0.4,
        },
        "sbi": {"network": "b4, 60.00 GFLOP", "crops_per_second": 20.0},
        "lnclip": {"network": "clip, 90.00 GFLOP", "crops_per_second": 30.0},
    },
    "field": {"ours_times_faster": 2.0},
    "losses": {"passed": True},
}


@pytest.fixture(autouse=True)
def _one(one_thread: None) -> None:
    """Toys are faster in one thread."""


def test_the_first_losses_repeat_and_a_broken_kernel_changes_them(tmp_path: Path) -> None:
    """A block whose GELU became a ReLU is far outside, the same network is exactly inside."""
    reference = tmp_path / "losses.json"
    found = first_losses(TOY.train, ROW, steps=3)
    store_losses(reference, "toy", replace(TOY.train, precision="bf16-mixed"), ROW, 3)
    assert json.loads(reference.read_text())["toy"] == pytest.approx(found, abs=1e-6)

    def check(values: list[float]) -> dict:
        return check_losses(values, reference, "toy", "32-true")

    again = check(first_losses(TOY.train, ROW, steps=3))
    assert again["passed"] and again["largest_difference"] < 2e-6 and again["steps"] == 3

    def broken(detector: torch.nn.Module) -> torch.nn.Module:
        detector.encoder.blocks[0].mlp.act = torch.nn.ReLU()
        return detector

    assert not check(first_losses(TOY.train, ROW, 3, broken))["passed"]
    assert not check([math.nan] * 3)["passed"]
    assert check_losses(found, reference, "other", "32-true")["passed"] is None
    with pytest.raises(ValueError, match="no tolerance of first losses in 64-true"):
        check_losses(found, reference, "toy", "64-true")


def test_a_loader_is_timed_from_its_requests() -> None:
    """A step that sleeps counts as work, a slow loader as waiting; the first steps do not count."""

    class Slow(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 12

        def __getitem__(self, item: int) -> tuple[int, int]:
            now["seconds"] += 1.0  # one second per crop
            return item, item

    now = {"seconds": 0.0}
    timed = Timed(DataLoader(Slow(), batch_size=2))
    timed.clock = lambda: now["seconds"]
    for number, _ in enumerate(as_loader(timed)):
        now["seconds"] += 100.0 if number < 2 else 6.0
    rate, waiting = timed.rates(untimed=2)
    assert rate == pytest.approx(2 / 8)
    assert waiting == pytest.approx(2 / 8)
    assert workload.clock() is (
        time.perf_counter if torch.cuda.is_available() else time.process_time
    )


def test_synthetic_crops_have_the_size_of_faces_in_a_store(tmp_path: Path) -> None:
    chosen = Amount(crops=4, side=224, steps=1, untimed=0)
    store = write_crops(tmp_path, chosen)
    images = [store.image(number) for number in range(len(store))]
    assert {image.shape for image in images} == {(224, 224, 3)}
    assert len({image.tobytes() for image in images}) == 4
    # The miniatures' faces have 64 kB on average.
    assert 30_000 < np.mean([len(data) for data in store.table(["image"])["image"]]) < 130_000


def test_a_certificate_of_a_toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All methods, the field's loop and the parts run; the file and the table are written."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    page = tmp_path / "results" / "benchmarks" / "README.md"
    page.parent.mkdir(parents=True)
    page.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    store_losses(tmp_path / REFERENCE, "demo", TOY.train, ROW, 2)
    toy = replace(PARAMS, profiles={**PARAMS.profiles, "demo": TOY})
    monkeypatch.setattr(certifying, "load", lambda path: toy)
    monkeypatch.setattr(certifying, "amount", lambda side, gpu: Amount(6, 48, 3, 1))
    monkeypatch.setattr(certifying, "matrix_peak", lambda: ("float32", 1e12))
    monkeypatch.setattr(certifying, "first_losses", lambda *given: first_losses(*given, steps=2))
    made = certify(tmp_path, "demo")
    assert made["losses"]["passed"] and made["losses"]["steps"] == 2
    assert set(made["methods"]) == {"finetune", "sbi", "lnclip"}
    tuned = made["methods"]["finetune"]
    share = tuned["crops_per_second"] * tuned["gflop"] * 1e9 / 1e12
    assert tuned["share_of_matrix_peak"] == pytest.approx(share, abs=1e-3)
    assert made["field"]["ours_times_faster"] == pytest.approx(
        tuned["crops_per_second"] / made["field"]["crops_per_second"], abs=0.01
    )
    assert {"decode", "decode, fsfm"} <= set(made["crops_per_second_per_core"])
    assert certificates(tmp_path) == {made["device"]: made}
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert f"| {made['device']} | demo |" in text
    networks = plan.count_networks(TOY)
    assert is_measured(made, networks) and choose(tmp_path, "", networks) == made
    assert (
        certified_speeds(made, networks)["sbi"].training
        == (made["methods"]["sbi"]["crops_per_second"])
    )
    assert choose(tmp_path, "", plan.count_networks(PARAMS.profile("smoke"))) is None


def test_a_pair_of_sbi_counts_as_two_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Amount(6, 48, 3, 1)
    bench = methods.Bench(write_crops(tmp_path, chosen), chosen, TOY, ROW)
    monkeypatch.setattr(Timed, "rates", lambda self, untimed: (7.0, 0.5))
    _, build = plan.builders(TOY)["sbi"]
    assert methods.run_method(bench, "sbi", build).crops_per_second == 14.0


def test_speeds_of_networks_that_were_not_measured_follow_from_operations() -> None:
    networks = {
        "finetune": Network("vit", 30e9, 10e9, 1, 1, 1),
        "lnclip": Network("other", 60e9, 20e9, 1, 1, 1),
    }
    assert describe(networks["finetune"]) == "vit, 30.00 GFLOP"
    found = certified_speeds(CERTIFICATE, networks)
    assert (found["finetune"].training, found["finetune"].predicting) == (100.0, 400.0)
    assert (found["lnclip"].training, found["lnclip"].predicting) == (50.0, 150.0)
    assert not is_measured(CERTIFICATE, networks)


def test_the_table_has_a_line_per_device_and_no_cell_of_its_name() -> None:
    lines = table([CERTIFICATE]).splitlines()
    assert lines[2] == "| A / B | paper | 100 | 20 | 30 | 40% | 4% | 2.00 | as stored |"
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    with pytest.raises(ValueError, match="no marks"):
        with_table("a page", [])


def test_a_file_that_is_no_certificate_and_an_unknown_device_are_named(tmp_path: Path) -> None:
    folder = tmp_path / DEVICES
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps(CERTIFICATE))
    with pytest.raises(ValueError, match=r"no certificate of 'C' in .*; there are: A \| B"):
        choose(tmp_path, "C", {})
    (folder / "b.json").write_text("[1")
    with pytest.raises(ValueError, match=r"b\.json is not a certificate"):
        certificates(tmp_path)


def test_the_committed_table_is_that_of_the_committed_files(tmp_path: Path) -> None:
    page = (ROOT / DEVICES.parent / "README.md").read_text(encoding="utf-8")
    found = certificates(ROOT)
    assert page == with_table(page, found.values())
    copy = tmp_path / DEVICES.parent
    copy.mkdir(parents=True)
    (copy / "README.md").write_text(page, encoding="utf-8")
    for each in found.values():
        file = write(tmp_path, each)
        assert file.read_bytes() == (ROOT / DEVICES / file.name).read_bytes()


def test_many_of_the_fifty_stored_losses_are_well_above_the_tolerance() -> None:
    """Else a difference could not show; the paper's network soon knows its batch by heart."""
    visible = 10 * max(losses.TOLERANCE.values())
    for stored in json.loads((ROOT / REFERENCE).read_text()).values():
        assert len(stored) == losses.STEPS
        assert np.ptp(stored) > visible and (np.array(stored) > visible).sum() >= 10
