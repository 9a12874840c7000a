"""The detector that scores if none is named, and what its page says about how it was measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepfake_repro.cli import main
from deepfake_repro.scoring.card import describe_tests
from deepfake_repro.scoring.domain import why_no_verdict
from deepfake_repro.scoring.model import default_weights, read_model
from support import scoring_model

ROOT = Path(__file__).resolve().parents[2]
OPEN = "results/open/weights"
DEMO = "results/demo/weights/fsfm_ba-0"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the demo's calibrated row alone."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "data").symlink_to(ROOT / "data")
    scoring_model.make(tmp_path / DEMO)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def add_row(checkout: Path, profile: str, run: str, gain: float = 0.0) -> Path:
    """A row of a profile; ``gain`` moves the validation fakes up."""
    folder = scoring_model.make(checkout / "results" / profile / "weights" / run)
    provenance = {"data": {f"data/samples/{profile}/train.parquet": "0"}, "seed": 0}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    content = json.loads((folder / "calibration.json").read_text())
    fakes = np.clip(np.array(content["scores"]["fake"]) + gain, 0, 1)
    content["scores"]["fake"] = sorted(fakes.round(4).tolist())
    content["embedding"]["quantiles"]["0.99"] = 0.1  # any face is far from those of its training
    (folder / "calibration.json").unlink()
    file = folder.parent.parent / "calibration" / f"{run}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))
    return folder


def test_real_faces_come_before_the_demos_and_the_best_by_validation_first(checkout: Path) -> None:
    assert default_weights() == checkout / DEMO
    scoring_model.make(checkout / "results/smoke/weights/fsfm_ba-0")
    uncalibrated = scoring_model.make(checkout / OPEN / "sbi-0")
    (uncalibrated / "calibration.json").unlink()
    assert default_weights() == checkout / DEMO
    worse = add_row(checkout, "open", "fsfm_ba-0")
    assert default_weights() == worse
    better = add_row(checkout, "open", "lnclip-0", gain=0.3)
    assert default_weights() == better
    paper = add_row(checkout, "paper", "fsfm-0", gain=-0.2)
    assert default_weights() == paper


def test_the_page_says_how_it_was_measured_and_how_it_did_elsewhere(
    checkout: Path,
    tile: np.ndarray,
    make_clip: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The numbers are those of the committed row of ``open``; the verdict keeps its reason."""
    folder = add_row(checkout, "open", "fsfm_ba-0")
    for name in ("runs", "report"):
        (checkout / "results/open" / name).symlink_to(ROOT / "results/open" / name)
    scores = json.loads((ROOT / "results/open/runs/fsfm_ba-0/scores.json").read_text())
    clip = make_clip(checkout / "clip.mp4", [tile] * 15)
    assert main(["score", str(clip), "--out", str(checkout / "out")]) == 0
    printed = capsys.readouterr()
    assert "detector: vit_small_patch14_dinov2, profile open, the best here" in printed.err
    assert f"{clip}: No verdict: these faces are unlike those" in printed.out
    (page,) = (checkout / "out").glob("*.html")
    text = page.read_text()
    area, elsewhere = (scores["auc"][key] for key in ("openforensics", "miniatures"))
    files = scores["videos"]["scored"]
    assert f"OpenForensics, {files['openforensics']} files: AUC {area:.1f} % [" in text
    others = sum(files.values()) - files["openforensics"]
    assert "miniatures of FF++, CDF, DFDC" in text
    assert f"{others} files: AUC {elsewhere:.1f} % [" in text
    assert "tested in-distribution" in text and "tested on synthetic people" in text
    own, synthetic = dict(describe_tests(read_model(folder))).values()
    assert synthetic.endswith("; that is no better than chance") and "chance" not in own
    near = [{"distance": 0.05}] * 3
    assert why_no_verdict(clip, near, read_model(folder)) == ""
    assert "synthetic people" in why_no_verdict(clip, near, read_model(checkout / DEMO))


def test_nothing_is_said_of_weights_without_results(checkout: Path) -> None:
    assert describe_tests(read_model(checkout / DEMO)) == []
