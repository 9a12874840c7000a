"""Compare the plan with arithmetic by hand, the paper's tables and closed forms."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepfake_repro.methods.lnclip import sphere
from deepfake_repro.operations.planning import costs, plan
from deepfake_repro.operations.planning.costs import (
    CROP_BYTES,
    PREDICTION_BYTES,
    Counts,
    Network,
    Speed,
    bytes_per_crop,
    gather_counts,
    paper_counts,
    required_speed,
    scale_speeds,
    shared_rows,
)
from deepfake_repro.operations.planning.plan import builders
from deepfake_repro.project import params
from deepfake_repro.project.paths import Paths
from deepfake_repro.training.detector import Detector, build_detector

ROOT = Path(__file__).resolve().parents[2]
PARAMS = params.load(ROOT / "params.yaml")
PAPER = PARAMS.profile("paper")
COUNTS = Counts(
    videos=10,
    crops=90_000,
    train=36_000,
    validation=1_000,
    test=72_000,
    sbi=720,
    crop_bytes=1e5,
    source="by hand",
)
NETWORKS = {
    "finetune": Network("vit", 30e9, 10e9, 100, 100, 1e6),
    "sbi": Network("b4", 60e9, 20e9, 50, 50, 2e6),
    "lnclip": Network("clip", 90e9, 45e9, 1000, 10, 4e6),
}


def table(speeds: dict[str, Speed]) -> dict[tuple[str, str], float]:
    lines = costs.estimate_hours(PARAMS, PAPER, COUNTS, speeds, frames_per_second=25.0)
    return {(line.stage, line.row): line.hours for line in lines.itertuples()}


def test_speeds_of_other_networks_follow_from_their_operations() -> None:
    speeds = scale_speeds(NETWORKS, "finetune", 100.0)  # 3e12 operations per second
    assert speeds["finetune"] == Speed(100.0, pytest.approx(300.0))
    assert speeds["sbi"] == Speed(50.0, pytest.approx(150.0))
    with pytest.raises(ValueError, match="--images-per-second is -1: give a number above 0"):
        scale_speeds(NETWORKS, "finetune", -1)


def test_hours_by_hand() -> None:
    """36,000 x 30 at 100/s are 10,800 s, 1,000 x 30 in validation at 300/s 100 s; 90,000 frames at
    25/s one hour.
    """
    found = table(scale_speeds(NETWORKS, "finetune", 100.0))
    assert found["crops", "-"] == 1.0
    assert (
        found["train", "fsfm_ba"]
        == found["train", "imagenet"]
        == pytest.approx((10_800 + 100) / 3600)
    )
    assert found["predict", "fsfm_ba"] == pytest.approx(72_000 / 300 / 3600)
    assert found["train", "sbi"] == pytest.approx(
        2 * 720 * 100 * 2 / 50 / 3600
    )  # pairs, 100 epochs, SAM's two passes
    assert found["train", "lnclip"] == pytest.approx(
        (36_000 * 20 * 90 / 3e3 + 1_000 * 20 * 45 / 3e3) / 3600
    )
    assert len(found) == 1 + 2 * len(PARAMS.run.variants)


def test_at_the_required_speed_nine_rows_take_a_day() -> None:
    required = required_speed(PARAMS, PAPER, COUNTS, NETWORKS["finetune"])
    found = table(scale_speeds(NETWORKS, "finetune", required))
    rows = shared_rows(PARAMS)
    assert len(rows) == 9
    assert sum(
        found[stage, row] for stage in ("train", "predict") for row in rows
    ) == pytest.approx(24.0)


def test_disk_and_memory_by_hand() -> None:
    assert costs.estimate_disk(PARAMS, COUNTS, NETWORKS)["GB"].tolist() == pytest.approx(
        [9.0, 4 * (9 * 100 + 50 + 1000) / 1e9, 72_000 * 11 * PREDICTION_BYTES / 1e9, 1600 / 1e9]
    )
    lines = costs.estimate_memory(PARAMS, PAPER, NETWORKS).set_index("network")["GB"]
    assert lines["vit"] == pytest.approx((4 * 100 + 12 * 100 + 64 * 1e6) / 1e9)
    assert lines["clip"] == pytest.approx((4 * 1000 + 12 * 10 + 128 * 4e6) / 1e9)


def test_a_row_with_a_backbone_of_its_own_has_its_own_line() -> None:
    """Twice the operations, half the epochs and twice the batch of the other fine-tuned rows."""
    values = {"architecture": "big", "epochs": 15, "batch_size": 128}
    own_row = replace(PARAMS.variant("fsfm_ba"), backbone=values)
    chosen = replace(PARAMS, variants={**PARAMS.variants, "fsfm_ba": own_row})
    own = costs.own_options(chosen, "paper")
    assert list(own) == ["fsfm_ba"]
    big = Network("big", 60e9, 20e9, 300, 300, 2e6)
    networks = {**NETWORKS, costs.own_key("fsfm_ba"): big}
    speeds = scale_speeds(networks, "finetune", 100.0)
    lines = costs.estimate_hours(chosen, PAPER, COUNTS, speeds, own=own)
    hours = lines.set_index(["stage", "row"])["hours"]
    assert hours["train", "fsfm_ba"] == pytest.approx(hours["train", "fsfm"])
    assert hours["predict", "fsfm_ba"] == pytest.approx(2 * hours["predict", "fsfm"])
    memory = costs.estimate_memory(chosen, PAPER, networks, own).set_index("network")["GB"]
    assert memory["big"] == pytest.approx((4 * 300 + 12 * 300 + 128 * 2e6) / 1e9)
    assert shared_rows(chosen, own) == [row for row in shared_rows(PARAMS) if row != "fsfm_ba"]


def test_counts_of_the_paper() -> None:
    """591K training crops; of FF++ 720 real training videos gave 12K crops, so its 840 test videos
    give 14K.
    """
    found = paper_counts(ROOT / "results" / "published", PAPER)
    assert (found.train, found.sbi) == (591_000, 720 * 8)
    assert found.videos == 208_401 + 17_971 + 23_052 + 11_544 + 7_314 + 740 + 1_076
    per_video = {
        "ffpp": 12_000 / 720,
        "celebdf2": 9_000 / (889 * 6010 / 6528),
        "dfdc": 198_000 / (23_654 * 119_154 / 128_154),
        "fakeavceleb": 3_000 / (498 * 14_720 / 21_041),
        "forgerynet": 82_000 / (48_164 * 64_197 / 87_701),
    }
    videos = {
        "ffpp": 840,
        "celebdf2": 518 + 11_544,
        "dfdc": 5_000,
        "fakeavceleb": 3_172,
        "forgerynet": 13_522,
    }
    assert found.test == pytest.approx(
        278_000 + sum(videos[key] * per_video[key] for key in videos), abs=1
    )


def test_a_profile_without_sample_is_planned_from_the_paper(tmp_path: Path) -> None:
    published = tmp_path / "results" / "published"
    published.parent.mkdir()
    published.symlink_to(ROOT / "results" / "published")
    assert "Tables 1 and 2" in gather_counts(Paths("paper", tmp_path), PAPER).source
    assert bytes_per_crop(tmp_path / "nowhere") == CROP_BYTES


def linear_operations(tokens: int, width: int, depth: int) -> float:
    """Of a ViT's blocks, forward: 24 n w² in the four linear maps, 4 n² w in the attention."""
    return depth * (24 * tokens * width**2 + 4 * tokens**2 * width)


@pytest.mark.parametrize("tuned", [True, False])
def test_operations_of_a_vit_are_those_of_the_closed_form(tuned: bool) -> None:
    """A frozen network has no gradients of weights: its backward pass costs about as much as its
    forward one.
    """

    def build() -> Detector:
        detector = build_detector("vit_tiny_patch16_224", 2, depth=3)
        return detector if tuned else detector.requires_grad_(False)

    found = plan.count_network(
        build
        if tuned
        else lambda: sphere.build_sphere_detector(
            replace(PAPER.lnclip, architecture="vit_tiny_patch16_224", depth=3)
        ),
        "vit_tiny_patch16_224",
        224,
    )
    forward = linear_operations(197, 192, 3) + 2 * 196 * 768 * 192
    assert found.predicting == pytest.approx(forward, rel=0.01)
    assert found.training / found.predicting == pytest.approx(3.0 if tuned else 2.0, rel=0.05)
    assert (found.trained == found.parameters) is tuned


def test_bytes_for_the_backward_pass_are_those_autograd_keeps() -> None:
    """One linear map of D numbers, then its square: autograd keeps the input and the output, 4
    bytes each.
    """

    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = torch.nn.Linear(3 * 8 * 8, 10, bias=False)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            out = self.map(images.flatten(1))
            return out, out.square()

    found = plan.count_network(Two, "two", 8)
    assert found.activations == 4 * (3 * 8 * 8 + 10)
    assert (
        found.training == 2 * 2 * 192 * 10
    )  # forward, and the gradient of the weights: images need none
    assert math.isclose(found.predicting, 2 * 192 * 10)


def test_the_committed_plan_is_this_codes() -> None:
    text = (ROOT / "results" / "benchmarks" / "plan_paper.txt").read_text()
    found = paper_counts(ROOT / "results" / "published", PAPER)
    recipe, build = builders(PAPER)["finetune"]
    required = required_speed(
        PARAMS, PAPER, found, plan.count_network(build, recipe.architecture, recipe.input_size)
    )
    assert (
        f"training {found.train:,}, validation {found.validation:,}, test {found.test:,} crops"
        in text
    )
    assert f"fit into 24 hours at {required:,.0f} training images/s or more" in text
