"""No verdict where none is due: by the detector's domain and by the distance of the faces."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_repro.cli import main
from deepfake_repro.crops.extraction import extract
from deepfake_repro.crops.preprocess import detector_factory
from deepfake_repro.crops.store import decode
from deepfake_repro.project.params import load
from deepfake_repro.scoring import domain, score
from deepfake_repro.scoring.calibration import distance, fit_gaussian
from deepfake_repro.scoring.model import Model, read_model
from support import scoring_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clips(
    tile: np.ndarray, make_clip: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Three clips of one face: as trained on, again with another crop of it, and far from it."""
    folder = tmp_path_factory.mktemp("domain")
    make_clip(folder / "trained.mp4", [np.roll(tile, 2 * i, axis=1) for i in range(60)])
    make_clip(folder / "same.mp4", [np.roll(tile, 40 + 3 * i, axis=1) for i in range(30)])
    far = cv2.applyColorMap(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), cv2.COLORMAP_OCEAN)
    make_clip(folder / "far.mp4", [far] * 30)
    return folder


@pytest.fixture(scope="module")
def weights(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of a real profile, calibrated on the faces of ``trained.mp4`` alone."""
    folder = scoring_model.make(tmp_path_factory.mktemp("weights") / "tiny-0")
    provenance = {"data": {"data/samples/paper/train.parquet": "0"}, "seed": 0}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    options = load().profile("demo").crops
    options = replace(options, frames_per_second=10.0)
    row = {"video_id": "v", "path": "trained.mp4", "kind": "video", "attrs": ""}
    rows, _ = extract(row, clips, detector_factory(options)(), options)
    crops = [decode(each["image"]) for each in rows]
    embeddings = read_model(folder).scorer(crops).embedding
    assert embeddings is not None
    gaussian = fit_gaussian(embeddings[::2])
    quantile = float(np.quantile(distance(embeddings[1::2], gaussian), 0.99))
    file = folder / "calibration.json"
    content = json.loads(file.read_text())
    content["embedding"] = {**gaussian, "crops": 9, "quantiles": {"0.99": 2 * quantile}}
    file.write_text(json.dumps(content))
    return folder


def test_clips_of_the_domain_get_a_verdict_and_others_none(
    clips: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The headline, the printed line and the CSV say so first; the number stays."""
    out = tmp_path / "out"
    command = ["score", str(clips), "--weights", str(weights), "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out.splitlines()
    with (out / "scores.csv").open() as file:
        rows = {Path(row["file"]).stem: row for row in csv.DictReader(file)}
    for name in ("trained", "same"):
        assert rows[name]["verdict"].startswith(("More like", "Undecided")), name
    far = rows["far"]
    words = "No verdict: these faces are unlike those that the detector was trained"
    assert far["verdict"].startswith(words)
    assert float(far["p_fake"]) == pytest.approx(float(f"{float(far['p_fake']):.4f}"))
    assert f"The score is {float(far['p_fake']):.2f} on a scale" in far["verdict"]
    assert list(far)[:3] == ["file", "verdict", "p_fake"]
    (line,) = [line for line in printed if "far.mp4" in line]
    assert line.startswith(f"{clips / 'far.mp4'}: {words}")
    page = (out / far["report"]).read_text()
    headline, _, below = page.partition(words)
    assert headline.rstrip().endswith('<p class="verdict none">')
    assert f"{float(far['p_fake']):.3f}" in below
    assert '<p class="verdict">More' in (out / rows["same"]["report"]).read_text() or (
        '<p class="verdict">Undecided' in (out / rows["same"]["report"]).read_text()
    )


def near(value: float | None) -> list[dict]:
    return [{"distance": value}] * 3


def test_a_detector_of_miniatures_has_a_verdict_on_miniatures_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_model(scoring_model.make(tmp_path / "weights" / "tiny-0"))
    assert model.of_miniatures
    monkeypatch.setattr(domain, "root", lambda: tmp_path)
    corpus = tmp_path / "data" / "corpora" / "demo" / "FaceForensics++"
    corpus.mkdir(parents=True)
    (tmp_path / "link.mp4").symlink_to(corpus / "000.mp4")
    assert domain.why_no_verdict(corpus / "000.mp4", near(1.0), model) == ""
    assert domain.why_no_verdict(tmp_path / "link.mp4", near(1.0), model) == ""
    for path in (tmp_path / "000.mp4", corpus / ".." / ".." / "own.mp4"):
        assert "trained on the demo alone" in domain.why_no_verdict(path, near(1.0), model)
    assert "unlike those" in domain.why_no_verdict(corpus / "000.mp4", near(9.0), model)


def test_distance_decides_for_real_detectors_and_error_rates_are_needed(tmp_path: Path) -> None:
    small = read_model(scoring_model.make(tmp_path / "weights" / "tiny-0"))
    model = replace(small, profile="paper")
    limit = small.calibration["embedding"]["quantiles"]["0.99"]
    assert domain.why_no_verdict(tmp_path / "a.mp4", near(limit), model) == ""
    assert "99 % of its validation" in domain.why_no_verdict(tmp_path, near(limit + 1), model)
    assert domain.why_no_verdict(tmp_path, near(None), model) == ""
    bare = Model(small.detector, small.manifest, small.folder, small.digest)
    assert "no error rates are stored" in domain.why_no_verdict(tmp_path, near(0.0), bare)
    assert score.Scored(tmp_path).no_verdict == ""
