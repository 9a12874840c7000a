"""Scoring own videos: the pipeline's scores, tracks, any input, and no work done twice."""

from __future__ import annotations

import csv
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lightning_fabric import Fabric

from deepfake_repro.cli import main
from deepfake_repro.crops import preprocess
from deepfake_repro.crops.extraction import extract
from deepfake_repro.crops.store import CropStore, write_part
from deepfake_repro.evaluation import metrics, prediction
from deepfake_repro.faces.detection import detector
from deepfake_repro.project import params
from deepfake_repro.scoring import batch, inputs, score
from deepfake_repro.scoring.batch import ALL, NONE, SOME
from deepfake_repro.scoring.model import Model, read_model
from deepfake_repro.scoring.results import Result, agreement
from deepfake_repro.scoring.score import Limits, score_videos
from deepfake_repro.training import checkpoints
from support import scoring_model, squares

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "results" / "demo" / "weights" / "fsfm_ba-0"
CORPORA = ROOT / "data" / "corpora" / "demo"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scoring_model.make(tmp_path_factory.mktemp("weights") / "tiny-0")


@pytest.fixture(scope="module")
def model(weights: Path) -> Model:
    return read_model(weights)


@pytest.fixture(scope="module")
def clips(
    tile: np.ndarray, make_clip: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Make a clip of one person, one of two side by side, and a file that is not a video."""
    folder = tmp_path_factory.mktemp("clips")
    make_clip(folder / "one.mp4", [np.roll(tile, 3 * i, axis=1) for i in range(30)])
    side_by_side = np.concatenate([tile, tile[:, ::-1] // 2], axis=1)
    make_clip(folder / "two.mp4", [side_by_side] * 30)
    (folder / "broken <b>.mp4").write_bytes(b"no video at all")
    return folder


@pytest.fixture(scope="module")
def two(clips: Path, model: Model) -> score.Scored:
    (scored,) = score_videos([clips / "two.mp4"], model)
    return scored


def test_scores_are_those_of_the_pipeline(
    clips: Path, weights: Path, two: score.Scored, tmp_path: Path
) -> None:
    options = params.load().profile("demo")
    row = {"video_id": "v", "path": "two.mp4", "kind": "video", "attrs": ""}
    detect = preprocess.detector_factory(options.crops)()
    crops, _ = extract(row, clips, detect, options.crops)
    write_part(tmp_path / "part.arrow", crops)
    store = CropStore(tmp_path)
    rows = store.table(prediction.CROP_KEY).assign(
        dataset="x", manipulation="x", category="FS", label=1
    )
    detector, manifest = checkpoints.load(weights)
    file = prediction.predict_set(
        detector,
        store,
        rows,
        manifest,
        options.predict,
        Fabric(accelerator="cpu", devices=1),
        tmp_path / "set.parquet",
    )
    expected = metrics.video_scores(pd.read_parquet(file)).loc[0]
    assert two.p_fake == pytest.approx(expected["p_fake"], abs=1e-6)
    assert len(two.crops) == expected["crops"] == 6


@pytest.mark.skipif(
    not (WEIGHTS.is_dir() and CORPORA.is_dir()), reason="needs the demo: dvc repro predict"
)
def test_scores_of_demo_test_videos_are_the_stored_predictions() -> None:
    stored = WEIGHTS.parents[1] / "predictions" / WEIGHTS.name / "celebdf2.parquet"
    videos = metrics.video_scores(pd.read_parquet(stored)).set_index("video_id")
    expected = videos["p_fake"].iloc[[0, -1]]
    files = [
        CORPORA / "Celeb-DF-v2" / f"{name.removeprefix('celebdf2/')}.mp4" for name in expected.index
    ]
    detector, manifest = checkpoints.load(WEIGHTS)
    model = Model(detector, manifest, WEIGHTS, "", "demo")
    scores = [scored.p_fake for scored in score_videos(files, model)]
    assert scores == pytest.approx(expected.tolist(), abs=1e-6)


def test_people_have_tracks_of_their_own(two: score.Scored) -> None:
    assert [track["faces"] for track in two.tracks] == [3, 3]
    means = [
        np.mean([crop["p_fake"] for crop in two.crops if crop["track"] == track])
        for track in (0, 1)
    ]
    assert two.highest_track == pytest.approx(max(means))
    assert two.p_fake == pytest.approx(np.mean(means))
    sides = {crop["track"]: crop["box"][0] < 440 for crop in two.crops}
    assert sorted(sides.values()) == [False, True]
    assert set(two.portraits) == {0, 1}


def test_a_demo_model_gives_no_verdict_on_a_video_of_the_user(two: score.Scored) -> None:
    assert two.verdict.startswith("No verdict: this detector was trained on the demo alone")


def test_quality_warnings_name_what_is_wrong(clips: Path) -> None:
    crop = {
        "frame": 0,
        "seconds": 999.0,
        "track": 0,
        "p_fake": 0.5,
        "distance": 9.0,
        "box": [0, 0, 30, 40],
        "size": [1280, 720],
    }
    poor = score.Scored(clips / "one.mp4", crops=[crop])
    warnings = score._warnings(poor, 0.5, 0.9)
    assert [text.split(":")[0] for text in warnings] == [
        "Only 1 face(s) were scored",
        "The people differ",
        "Small faces",
        "Heavy compression",
    ]


def test_a_limit_ends_a_video_and_is_reported(clips: Path, model: Model) -> None:
    (scored,) = score_videos([clips / "one.mp4"], model, Limits(frames=2))
    assert len(scored.crops) == 2
    assert scored.skipped == [
        {"reason": "limit", "detail": "only the first 2 sampled frames: more than 2 frames"}
    ]


def test_the_number_of_kept_pictures_is_bounded() -> None:
    image = np.empty(0)
    moments = [score.Moment({"p_fake": i % 97 / 97, "track": i % 5}, image) for i in range(500)]
    kept = score._highest(moments)
    assert len(kept) == score.MOMENTS
    per_track = np.bincount([moment.crop["track"] for moment in kept])
    assert max(per_track) <= score.MOMENTS_PER_TRACK
    assert kept[0].crop["p_fake"] == 96 / 97


def test_command_line_scores_reports_and_resumes(
    clips: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    loads = []
    load = checkpoints.load
    monkeypatch.setattr(checkpoints, "load", lambda folder: loads.append(folder) or load(folder))
    command = ["score", str(clips), "--weights", str(weights), "--out", str(out)]
    assert main(command) == SOME
    assert len(loads) == 1
    table = {Path(line["file"]).name: line for line in csv.DictReader((out / "scores.csv").open())}
    assert set(table) == {"one.mp4", "two.mp4", "broken <b>.mp4"}
    broken = table["broken <b>.mp4"]
    assert broken["p_fake"] == ""
    assert broken["verdict"].startswith("No score: undecod")
    record = json.loads((out / table["two.mp4"]["report"]).with_suffix(".json").read_text())
    assert record["p_fake"] == pytest.approx(float(table["two.mp4"]["p_fake"]), abs=1e-4)
    assert len(record["tracks"]) == 2
    assert {file.suffix for file in out.iterdir()} == {".html", ".json", ".csv", ".md", ".bib"}
    assert len(list(out.iterdir())) == 9
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with monkeypatch.context() as patch:  # a second run has nothing to do
        patch.setattr(batch, "score_video", None)
        assert main(command) == SOME
    assert before == {file.name: file.read_bytes() for file in out.iterdir()}
    assert main(["score", str(clips / "broken <b>.mp4"), *command[2:]]) == NONE
    (clips / "one.mp4").touch()
    with pytest.raises(TypeError), monkeypatch.context() as patch:  # a changed file is scored again
        patch.setattr(batch, "score_video", None)
        main(["score", str(clips / "one.mp4"), *command[2:]])
    assert main(["score", str(clips / "one.mp4"), *command[2:]]) == ALL


def test_two_detectors_and_two_jobs(
    clips: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores are those of each detector alone and one file at a time; a broken file stops none."""
    other = tmp_path / "bright"
    other.mkdir()
    (other / "predict.py").write_text(
        "def predict(crops):\n    return [crop.mean() / 255 for crop in crops]\n"
    )
    manifest = {"name": "=bright", "network": "python", "weights": {"file": "predict.py"}}
    (other / "detector.json").write_text(json.dumps(manifest))
    alone = {}
    for name, folder in (("first", weights), ("second", other)):
        for scored in score_videos([clips], folder):
            alone[scored.path.name, name] = scored.p_fake
    out = tmp_path / "out"
    both = ["--detector", str(weights), "--detector", str(other)]
    capsys.readouterr()
    assert main(["score", str(clips), *both, "--jobs", "2", "--out", str(out)]) == SOME
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3 * 3 and sum(line.startswith("  ") for line in printed) == 6
    rows = list(csv.DictReader((out / "scores.csv").open()))
    assert [Path(row["file"]).name for row in rows] == [
        name for name in ("broken <b>.mp4", "one.mp4", "two.mp4") for _ in range(2)
    ]
    assert {row["detector"] for row in rows[1::2]} == {"'=bright"}
    for row, name in zip(rows, ("first", "second") * 3, strict=True):
        expected = alone[Path(row["file"]).name, name]
        assert row["p_fake"] == ("" if expected is None else f"{expected:.4f}")
        assert row["agreement"].startswith("No agreement can be stated: none of the 2 detectors")
    record = json.loads((out / rows[-1]["report"]).with_suffix(".json").read_text())
    assert record["others"][0]["detector"]["name"] == "=bright"


def test_agreement_compares_sides_and_not_scores(model: Model) -> None:
    """Of the second detector every score is above the threshold."""
    assert model.calibration
    low = {
        name: {**point, "threshold": 0.01} for name, point in model.calibration["points"].items()
    }
    eager = replace(model, calibration={**model.calibration, "points": low})
    bare = replace(model, calibration=None)
    scored = score.Scored(Path("x"), p_fake=0.1)
    assert agreement([Result(scored, model)]) == ""
    same = agreement([Result(scored, model), Result(scored, model), Result(scored, bare)])
    assert same.startswith("The 2 detectors with a verdict agree: more like the reals")
    assert same.endswith("1 of 3 detectors give no verdict.")
    words = agreement([Result(scored, model), Result(scored, eager)])
    assert words.startswith("The detectors disagree.") and "more like the fakes" in words
    refused = replace(scored, no_verdict="too far")
    assert agreement([Result(refused, model)] * 2).startswith("No agreement can be stated")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.mp4"], "nowhere.mp4: no file here to score; give a video"),
        (["a\x1b[31m\nb"], r"a\x1b[31m\nb: no file here"),
        (
            [str(ROOT / "README.md"), "--weights", "nowhere"],
            "nowhere: no model.safetensors here; run dvc repro train",
        ),
    ],
)
def test_wrong_arguments_end_with_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["score", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {words}")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_call_that_a_library_has_dropped_is_not_blamed_on_the_video(
    clips: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 3: neither the 1 of some scored files nor the 2 of none."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")]))
    monkeypatch.setattr(score, "detector_factory", lambda options: squares.dropped_by_the_decoder)
    out = tmp_path / "out"
    command = ["score", str(clips / "one.mp4"), "--weights", str(weights), "--out", str(out)]
    assert main(command) == 3
    error = capsys.readouterr().err.splitlines()[-1]  # below the progress bar
    assert error.startswith("error: TypeError: ")
    assert "unexpected keyword argument 'metadata_errors'" in error
    assert "make environment" in error
    assert not list(out.glob("*.html"))


def test_a_missing_detector_is_reported_once_and_not_per_video(
    clips: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    factory = functools.partial(detector, "retinaface", weights=tmp_path / "none.onnx")
    monkeypatch.setattr(score, "detector_factory", lambda options: factory)
    out = tmp_path / "out"
    assert main(["score", str(clips), "--weights", str(weights), "--out", str(out)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "none.onnx: RetinaFace weights not found; run the assets stage first" in error


def test_calibration_of_other_weights_is_refused(weights: Path, tmp_path: Path) -> None:
    for file in weights.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = json.loads((tmp_path / "calibration.json").read_text())
    (tmp_path / "calibration.json").write_text(json.dumps(content | {"weights": "0"}))
    with pytest.raises(ValueError, match="made for other weights than"):
        read_model(tmp_path)


def test_inputs_are_collected_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.PNG", "notes.txt", ".hidden.mp4", "sub/c.webm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    names = [
        file.relative_to(tmp_path).as_posix()
        for file in inputs.collect([tmp_path, tmp_path / "b.mp4"])
    ]
    assert names == ["a.PNG", "b.mp4", "sub/c.webm"]
    assert [file.name for file in inputs.collect([f"{tmp_path}/*.mp4"])] == ["b.mp4"]
    notes = tmp_path / "notes.txt"
    assert inputs.collect([notes]) == [notes], "a file that is named is tried"


def test_names_are_harmless(tmp_path: Path) -> None:
    bad = Path("../x/<script>\n\x1b]0;\udcff;rm -rf.mp4")
    assert inputs.printable(bad).isprintable()
    assert "\\udcff" in inputs.printable(bad)
    assert inputs.slug(bad).startswith("script_0_rm_-rf-")
    assert inputs.slug(bad) != inputs.slug(Path("x") / bad.name)
    assert inputs.slug(Path("....")).startswith("file-")


def test_pipes_and_devices_are_refused(tmp_path: Path, model: Model) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nothing")
    for scored in score_videos([tmp_path], model):
        assert scored.p_fake is None
        assert scored.skipped[0]["detail"] in ("not a regular file", "no such file")


def test_the_decoding_process_gets_no_more_than_its_memory() -> None:
    code = (
        "import numpy\nfrom deepfake_repro.scoring import inputs\n"
        "inputs.confined(lambda: numpy.zeros(10))\nnumpy.ones(inputs.MEMORY // 8)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert run.returncode == 1
    assert "MemoryError" in run.stderr
