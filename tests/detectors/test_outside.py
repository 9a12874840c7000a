"""A detector from outside, or its predictions, beside our rows: same crops, same sets, paired."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from deepfake_repro.crops.store import CropStore, encode, write_part
from deepfake_repro.detectors import outside
from deepfake_repro.detectors.manifest import DetectorManifest
from deepfake_repro.evaluation.field_metrics import FIELD_NAMES
from deepfake_repro.evaluation.metrics import auc
from deepfake_repro.project.paths import Paths
from deepfake_repro.project.vocabulary import SCENARIOS
from deepfake_repro.scoring.export import TOLERANCE, export_model, export_onnx
from deepfake_repro.scoring.model import read_model
from deepfake_repro.scoring.score import score_videos
from support import scoring_model

PERSON = [f"ffpp/{n:03d}" for n in range(24)]


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """24 videos of two faces in two frames; fakes are a little brighter; one row of ours."""
    made = Paths("demo", tmp_path)
    monkeypatch.setattr(outside, "profile_paths", lambda profile: made)
    rng = np.random.default_rng(0)
    videos, crops = [], []
    for number, video in enumerate(PERSON):
        fake = number % 2
        split = "val" if number < 6 else "test"
        videos.append(
            {
                "video_id": video,
                "path": f"{'fakes' if fake else 'reals'}/{number:03d}.mp4",
                "dataset": "celebdf2" if number % 4 < 2 else "ffpp",
                "manipulation": "swap" if fake else "REAL",
                "category": "FS" if fake else "REAL",
                "label": fake,
                "split": split,
                "target_id": "",
                "group": "",
                "pair_key": "",
            }
        )
        for frame in (0, 1):
            for face in (0, 1):
                level = 90 + 40 * fake + rng.normal(0, 25)
                image = np.full((8, 8, 3), np.clip(level, 0, 255), np.uint8)
                side = 20.0 if face == 0 else 60.0
                crops.append(
                    {
                        "video_id": video, "frame": frame, "seconds": 1.0 * frame, "face": face,
                        "x0": 0.0, "y0": 0.0, "x1": side, "y1": side, "score": 0.9,
                        "landmarks": [0.0] * 10, "width": 99, "height": 99,
                        "image": encode(image, "png"),
                    }
                )  # fmt: skip
    made.index.parent.mkdir(parents=True)
    if made.index.suffix:
        pd.DataFrame(videos).to_parquet(made.index)
    else:
        made.index.mkdir()
        pd.DataFrame(videos).to_parquet(made.index / "part.parquet")
    made.crops.mkdir(parents=True)
    write_part(made.crops / "part.arrow", crops)
    ours = pd.DataFrame(videos).query("split == 'test'").drop(columns=["path", "split"])
    ours = ours.assign(p_fake=rng.random(len(ours)).round(4), crops=4, source=ours["video_id"])
    ours = ours.drop(columns=["target_id", "group", "pair_key"])
    (made.runs / "fsfm_ba-0").mkdir(parents=True)
    ours.to_csv(made.runs / "fsfm_ba-0" / "videos.csv", index=False)
    return made


def brightness(folder: Path, sign: str = "", **manifest) -> Path:
    folder.mkdir()
    code = f"def predict(crops):\n    return [{sign}crop.mean() / 255 for crop in crops]\n"
    (folder / "predict.py").write_text(code)
    content = {"name": "brightness", "network": "python", "weights": {"file": "predict.py"}}
    (folder / "detector.json").write_text(json.dumps(content | manifest))
    return folder


def expected_scores(paths: Paths, faces: list[int], reduce: str) -> pd.Series:
    """Mean brightness of a video's crops, read from the store without the code under test."""
    store = CropStore(paths.crops)
    table = store.table(["video_id", "frame", "face"])
    table["p"] = [store.image(row).mean() / 255 for row in range(len(store))]
    table = table[table["face"].isin(faces)]
    if reduce == "max":
        return table.groupby(["video_id", "frame"])["p"].max().groupby("video_id").mean()
    return table.groupby("video_id")["p"].mean()


def test_a_detector_gets_a_row_with_intervals_and_paired_differences(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    out = outside.evaluate_detector(brightness(paths.base / "My detector"), "demo")
    assert out == paths.base / "results" / "demo" / "outside" / "my_detector"
    videos = pd.read_csv(out / "videos.csv").set_index("video_id")
    expected = expected_scores(paths, [0, 1], "mean")[videos.index]
    assert len(videos) == 18
    assert videos["p_fake"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-4)
    scores = json.loads((out / "scores.json").read_text())
    for dataset, part in videos.groupby("dataset"):
        area = round(100 * auc(part["label"], part["p_fake"]), 2)
        assert scores["auc"][dataset] == pytest.approx(area, abs=0.01)
    part = videos[videos["dataset"] == "ffpp"]
    precision = average_precision_score(part["label"], part["p_fake"])
    further = scores["further"]
    assert further["average_precision"]["ffpp"] == pytest.approx(100 * precision, abs=0.01)
    assert list(further) == list(FIELD_NAMES)
    ours = pd.read_csv(paths.runs / "fsfm_ba-0" / "videos.csv").set_index("video_id")
    paired = pd.read_csv(out / "comparisons.csv")
    assert set(paired["first"]) == {"my_detector"} and set(paired["second"]) == {"fsfm_ba"}
    for cell in paired[paired["metric"] == "auc"].itertuples():
        part = ours[ours["dataset"] == cell.set]
        theirs = scores["auc"][cell.set] - round(100 * auc(part["label"], part["p_fake"]), 2)
        assert cell.reproduced == pytest.approx(theirs, abs=0.02)
        assert cell.low <= cell.reproduced <= cell.high
    assert set(pd.read_csv(out / "intervals.csv")["row"]) == {"my_detector"}
    printed = capsys.readouterr().out
    assert "on 18 videos that all rows have scored" in printed and "warning" not in printed


def test_a_row_has_its_own_name_and_folder(paths: Paths) -> None:
    folder = brightness(paths.base / "bright")
    out = outside.evaluate_detector(folder, "demo", name="Light", parent=paths.base / "elsewhere")
    assert out == paths.base / "elsewhere" / "light"
    scores = json.loads((out / "scores.json").read_text())
    assert json.loads((out / "summary.json").read_text()) == {
        metric: {key: scores[metric][key] for key in SCENARIOS if key in scores[metric]}
        for metric in ("auc", "bacc")
    }
    with pytest.raises(ValueError, match="fsfm_ba is the name of one of our rows: give another"):
        outside.evaluate_detector(folder, "demo", name="fsfm_ba")


def test_faces_and_aggregation_of_the_manifest_are_obeyed(paths: Paths) -> None:
    folder = brightness(paths.base / "max", aggregation="frame_max")
    videos = pd.read_csv(outside.evaluate_detector(folder, "demo") / "videos.csv")
    expected = expected_scores(paths, [0, 1], "max")[videos["video_id"]]
    assert videos["p_fake"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-4)
    crop = {"margin": 0.3, "size": 224, "faces": "largest"}
    folder = brightness(paths.base / "largest", crop=crop)
    videos = pd.read_csv(outside.evaluate_detector(folder, "demo") / "videos.csv")
    expected = expected_scores(paths, [1], "mean")[videos["video_id"]]
    assert videos["p_fake"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-4)


def stretched(folder: Path) -> DetectorManifest:
    """Let an exported detector take crops of any size, as the store has them."""
    manifest = DetectorManifest.read(folder)
    assert manifest.view
    manifest = replace(manifest, crop=None, view=replace(manifest.view, fit="stretch"))
    manifest.write(folder)
    return manifest


def test_a_row_of_ours_is_a_detector_whose_manifest_is_obeyed(paths: Paths) -> None:
    """Exported weights: the mean of the faces, or the mean over frames of the highest one."""
    weights = scoring_model.make(paths.base / "weights" / "tiny-0")
    export_model(weights, paths.base / "tiny")
    manifest = stretched(paths.base / "tiny")
    store = CropStore(paths.crops)
    table = store.table(["video_id", "frame", "face"])
    images = [store.image(row) for row in range(len(store))]
    table["p"] = read_model(paths.base / "tiny").scorer(images).p_fake
    frames = table.groupby(["video_id", "frame"])["p"]
    for rule, per_frame in (("mean", frames.mean()), ("frame_max", frames.max())):
        replace(manifest, aggregation=rule).write(paths.base / "tiny")
        out = outside.evaluate_detector(paths.base / "tiny", "demo", name=f"tiny {rule}")
        videos = pd.read_csv(out / "videos.csv").set_index("video_id")["p_fake"]
        expected = per_frame.groupby("video_id").mean()[videos.index]
        assert videos.to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-4)
    assert (frames.max() - frames.mean()).max() > 1e-3


def test_onnx_gets_the_row_of_its_weights(paths: Paths) -> None:
    weights = scoring_model.make(paths.base / "weights" / "tiny-0")
    export_model(weights, paths.base / "tiny")
    export_onnx(weights, paths.base / "onnx")
    for name in ("tiny", "onnx"):
        stretched(paths.base / name)
    rows = [
        pd.read_csv(outside.evaluate_detector(paths.base / name, "demo", True) / "videos.csv")
        for name in ("tiny", "onnx")
    ]
    first, second = (row["p_fake"].to_numpy() for row in rows)
    assert first.std() > 1e-3
    assert np.abs(first - second).max() <= TOLERANCE + 1e-4  # four decimals


def test_swapped_classes_and_other_crops_are_noticed(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    outside.evaluate_detector(brightness(paths.base / "swapped", "1 - "), "demo")
    assert "warning: AUC" in capsys.readouterr().out
    crop = {"margin": 0.3, "size": 0, "shape": "square", "border": "clip"}
    folder = brightness(paths.base / "square", crop=crop)
    with pytest.raises(ValueError, match=r"wants square crops .* size as in the frame, the store"):
        outside.evaluate_detector(folder, "demo")
    assert outside.evaluate_detector(folder, "demo", as_stored=True).is_dir()


def test_videos_are_cut_anew_by_the_recipe_as_score_cuts_them(
    paths: Paths, tile: np.ndarray, make_clip: Callable[..., Path]
) -> None:
    """Square crops at the frame's own size, which no store has; interrupted work is kept."""
    crop = {"margin": 0.8, "size": 0, "shape": "square", "border": "clip", "faces": "largest"}
    folder = brightness(paths.base / "square", crop=crop)
    index = pd.read_parquet(paths.index)
    few = index[index["video_id"].isin([f"ffpp/{n:03d}" for n in (8, 9, 10, 11, 1)])]
    few = few.assign(kind="video", attrs="")
    for file in paths.index.rglob("*.parquet"):
        file.unlink()
    few.to_parquet(paths.index / "part.parquet")
    videos = paths.base / "videos"
    for number, path in enumerate(few["path"]):
        (videos / path).parent.mkdir(parents=True, exist_ok=True)
        make_clip(videos / path, [np.roll(tile // (number + 1), 9, axis=1)] * 15)
    paths.roots.parent.mkdir(parents=True)
    paths.roots.write_text(f"roots:\n  ffpp: {videos}\n")
    with pytest.raises(ValueError, match="brightness: the videos of celebdf2 are not here"):
        outside.evaluate_detector(folder, "demo", anew=True)
    paths.roots.write_text(f"roots:\n  ffpp: {videos}\n  celebdf2: {videos}\n")
    out = outside.evaluate_detector(folder, "demo", anew=True)
    scored = pd.read_csv(out / "videos.csv").set_index("video_id")["p_fake"]
    tested = few[few["split"] == "test"].set_index("video_id")["path"]
    assert set(scored.index) == set(tested.index)
    for video, path in tested.items():
        (expected,) = score_videos([videos / path], folder)
        assert scored[video] == pytest.approx(expected.p_fake, abs=1e-4)
    (store,) = (paths.base / ".scratch").glob("recrop-demo-*")
    parts = {part: part.stat().st_mtime_ns for part in store.glob("*.arrow")}
    outside.evaluate_detector(folder, "demo", anew=True)
    assert {part: part.stat().st_mtime_ns for part in store.glob("*.arrow")} == parts
    with pytest.raises(ValueError, match="has no 'crop' in its manifest"):
        outside.evaluate_detector(brightness(paths.base / "plain"), "demo", anew=True)


def test_predictions_of_anybodys_code_are_matched_and_the_rest_is_listed(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [
        "ffpp/006",
        "/data/x/fakes/007.mp4",
        "C:\\v\\reals\\008.mp4",
        *(f"{'fakes' if n % 2 else 'reals'}/{n:03d}" for n in range(9, 24)),
        "fakes/007.mp4",
        "elsewhere/fake.mp4",
        "ffpp/000",
    ]
    table = pd.DataFrame({"file": names, "p_fake": np.linspace(0, 1, len(names)).round(3)})
    file = paths.base / "Their scores.csv"
    table.to_csv(file, index=False)
    out = outside.evaluate_scores(file, "demo")
    assert out.name == "their_scores"
    videos = pd.read_csv(out / "videos.csv").set_index("video_id")["p_fake"]
    assert videos.to_dict() == {f"ffpp/{n:03d}": table["p_fake"][n - 6] for n in range(6, 24)}
    unmatched = pd.read_csv(out / "unmatched.csv").set_index("name")["reason"]
    assert unmatched.to_dict() == {
        "fakes/007.mp4": "names a video of an earlier line",
        "elsewhere/fake.mp4": "no test video of this name",
        "ffpp/000": "no test video of this name",
    }
    assert "18 of 21 lines matched" in capsys.readouterr().out
    assert (out / "comparisons.csv").is_file()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,p_fake\na,0.5\n", "it needs 'video' or 'file', and 'p_fake'"),
        ("video,p_fake\nffpp/006,1.5\n", "line 2: p_fake is '1.5', not in [0, 1]"),
        ("video,p_fake\nffpp/006,0.1\nffpp/007,high\n", "line 3: p_fake is 'high', not in"),
        ("video,p_fake\nother,0.5\n", "none of its 1 lines names a test video of profile demo"),
    ],
)
def test_a_wrong_file_of_scores_is_named(paths: Paths, text: str, words: str) -> None:
    file = paths.base / "scores.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"^scores\.csv") as refused:
        outside.evaluate_scores(file, "demo")
    assert words in str(refused.value)
