"""Released and foreign detectors on the whole road: video, its crops by the manifest, page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from deepfake_repro.crops.extraction import round_faces
from deepfake_repro.crops.frames import frames
from deepfake_repro.crops.preprocess import detector_factory
from deepfake_repro.detectors.catalogue import RELEASED
from deepfake_repro.detectors.manifest import DetectorManifest
from deepfake_repro.detectors.views import view_transform
from deepfake_repro.project.params import load
from deepfake_repro.project.provenance import file_digest
from deepfake_repro.scoring.batch import score_to
from deepfake_repro.scoring.export import TOLERANCE, export_model, export_onnx
from deepfake_repro.scoring.model import read_model
from deepfake_repro.scoring.score import predict, score_videos
from support import published_networks as published
from support import scoring_model
from support.published_crops import gend_align

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clips(
    tile: np.ndarray, make_clip: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A clip of one person, and one of two side by side."""
    folder = tmp_path_factory.mktemp("clips")
    make_clip(folder / "one.mp4", [np.roll(tile, 3 * i, axis=1) for i in range(30)])
    pair = np.concatenate([tile, tile[:, ::-1] // 2], axis=1)
    make_clip(folder / "two.mp4", [pair] * 30)
    return folder


@pytest.fixture(scope="module")
def gend(tmp_path_factory: pytest.TempPathFactory) -> tuple[published.State, Path]:
    """GenD's folder as its page has it, the tower narrower and of two layers, for 224 pixels."""
    torch.manual_seed(3)
    state = published.gend_state(width=128, depth=2, patch=14, side=16)
    state["model.linear.weight"] *= 40
    folder = tmp_path_factory.mktemp("gend")
    save_file(state, str(folder / "model.safetensors"))
    (folder / "config.json").write_text(json.dumps({"model_type": "GenD", "head": "LinearNorm"}))
    return state, folder


def test_gend_scores_a_video_as_its_own_code_would(
    clips: Path, gend: tuple[published.State, Path], tmp_path: Path
) -> None:
    """Frames, boxes and landmarks are ours; everything after them is written again here."""
    state, folder = gend
    (scored,) = score_videos([clips / "one.mp4"], folder)
    manifest = RELEASED["gend_clip_l14"].manifest
    assert manifest.crop and manifest.view
    options = manifest.crop.options(load().profile("demo").crops)
    detect = detector_factory(options)()
    expected = []
    for _, image in frames(clips / "one.mp4", options.frames_per_second, options.frames_per_clip):
        (found,) = detect([image])
        faces = round_faces(found, image.shape[1], image.shape[0])
        crop = gend_align(image, faces.points[0])
        logits = published.gend_logits(state, view_transform(manifest.view)(crop))
        expected.append(logits.softmax(1)[0, 1].item())
    assert len(expected) == len(scored.crops) == 30
    assert np.ptp(expected) > 1e-3
    actual = [crop["p_fake"] for crop in scored.crops]
    assert actual == pytest.approx(expected, abs=2e-2)  # a rounding of the warp apart
    assert scored.p_fake == pytest.approx(np.mean(expected), abs=5e-3)
    assert scored.verdict.startswith("No verdict: no error rates are stored with this detector")


def test_the_page_names_the_detector_and_its_licence(
    clips: Path, gend: tuple[published.State, Path], tmp_path: Path
) -> None:
    assert score_to([clips / "one.mp4"], gend[1], tmp_path) == 0
    (page,) = tmp_path.glob("*.html")
    text = page.read_text()
    for words in ("GenD CLIP ViT-L/14", "FaceForensics++ (c23)", "arXiv:2508.06248", "MIT"):
        assert words in text
    assert "GenD CLIP ViT-L/14" in (tmp_path / "model_card.md").read_text()


def write(folder: Path, manifest: dict) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "detector.json").write_text(json.dumps(manifest))
    return folder


def test_a_python_file_is_a_detector_with_its_own_rule(clips: Path, tmp_path: Path) -> None:
    """P(fake) is the crop's brightness: the left person is brighter; SBI's rule takes it alone."""
    code = "def predict(crops):\n    return [crop.mean() / 255 for crop in crops]\n"
    manifest = {"name": "brightness", "network": "python", "weights": {"file": "predict.py"}}
    folder = write(tmp_path / "mine", manifest)
    (folder / "predict.py").write_text(code)
    (mean,) = score_videos([clips / "two.mp4"], folder)
    write(folder, {**manifest, "aggregation": "frame_max"})
    (highest,) = score_videos([clips / "two.mp4"], folder)
    scores = np.array([crop["p_fake"] for crop in mean.crops]).reshape(3, 2)
    assert mean.p_fake == pytest.approx(scores.mean())
    assert highest.p_fake == pytest.approx(scores.max(1).mean())
    assert highest.p_fake > 1.2 * mean.p_fake
    crop = {"margin": 0.3, "size": 0, "shape": "square", "border": "clip", "faces": "largest"}
    write(folder, {**manifest, "crop": {**crop, "frames": 2}})
    (largest,) = score_videos([clips / "two.mp4"], folder)
    assert len(largest.crops) == 2
    assert {moment.image.shape[0] for moment in largest.moments} != {224}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1", "has no function predict"),
        ("def predict(crops):\n    return [0.5]", "returned 1 scores for"),
        ("def predict(crops):\n    return [3.0] * len(crops)", "a score outside [0, 1]"),
    ],
)
def test_a_wrong_python_detector_is_named(
    code: str, words: str, clips: Path, tmp_path: Path
) -> None:
    manifest = {"name": "wrong", "network": "python", "weights": {"file": "predict.py"}}
    folder = write(tmp_path / "mine", manifest)
    (folder / "predict.py").write_text(code)
    with pytest.raises(ValueError, match=r"predict\.py") as refused:
        predict(read_model(folder), [np.zeros((9, 9, 3), np.uint8)] * 2)
    assert words in str(refused.value)


def linear_onnx(path: Path, weight: np.ndarray, output: str) -> None:
    """Mean colour -> one value per class."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], [output]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", weight.shape[1]])],
        [helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, weight.ravel())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))


def test_an_onnx_file_is_a_detector(tmp_path: Path) -> None:
    weight = np.array([[1.0, -2, 0.5], [0.3, 1, -1], [2, 0, 0.1]], np.float32)
    manifest = {
        "name": "linear",
        "network": "onnx",
        "weights": {"file": "m.onnx"},
        "classes": ["swap", "real", "synthetic"],
        "view": {"size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "flip": True},
    }
    folder = write(tmp_path / "mine", manifest)
    linear_onnx(folder / "m.onnx", weight, "logits")
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    logits = ((image / 255).mean((0, 1)) * 2 - 1) @ weight
    p = np.exp(logits) / np.exp(logits).sum()
    (score,) = predict(read_model(folder), [image]).p_fake
    assert score == pytest.approx(p[0] + p[2], abs=1e-5)
    write(folder, manifest | {"classes": ["real", "fake"]})
    with pytest.raises(ValueError, match="output logits has 3 values per image, the manifest name"):
        predict(read_model(folder), [image])


def test_a_manifest_of_another_file_is_refused(
    gend: tuple[published.State, Path], tmp_path: Path
) -> None:
    manifest = RELEASED["gend_clip_l14"].manifest.as_json()
    manifest["weights"]["sha256"] = "0" * 64
    folder = write(tmp_path / "gend", manifest)
    with pytest.raises(
        FileNotFoundError, match=r"GenD CLIP ViT-L/14 are not here; get it from htt"
    ):
        read_model(folder)
    weights = gend[1] / "model.safetensors"
    (folder / "model.safetensors").symlink_to(weights)
    digest = file_digest(weights)
    with pytest.raises(ValueError, match=f"has sha256 {digest}, the manifest says 000"):
        read_model(folder)
    write(folder, {**manifest, "network": "resnet", "weights": {"file": "model.safetensors"}})
    with pytest.raises(ValueError, match="network 'resnet' is unknown; use gend_clip, fsfm"):
        read_model(folder)


def test_a_row_says_what_was_implicit_and_scores_the_same(clips: Path, tmp_path: Path) -> None:
    """An exported row scores by its ``detector.json`` exactly as in the pipeline."""
    weights = scoring_model.make(tmp_path / "weights" / "tiny-0")
    export_model(weights, tmp_path / "out")
    manifest = DetectorManifest.read(tmp_path / "out")
    options = load().profile("demo").crops
    assert manifest.crop and manifest.view
    assert (manifest.crop.margin, manifest.crop.size) == (options.margin, options.size)
    assert (manifest.view.fit, manifest.view.size) == ("windows", 112)
    assert manifest.aggregation == "mean" and manifest.classes == ("real", "fs", "re")
    (before,) = score_videos([clips / "two.mp4"], weights)
    (after,) = score_videos([clips / "two.mp4"], tmp_path / "out")
    assert before.p_fake == after.p_fake
    assert [crop["p_fake"] for crop in before.crops] == [crop["p_fake"] for crop in after.crops]


def test_an_aggregation_in_its_manifest_changes_the_score_of_a_row(
    clips: Path, tmp_path: Path
) -> None:
    """The pipeline's own rows take the mean; the same weights with SBI's rule score higher."""
    weights = scoring_model.make(tmp_path / "weights" / "tiny-0")
    export_model(weights, tmp_path / "out")
    (mean,) = score_videos([clips / "two.mp4"], weights)
    manifest = DetectorManifest.read(tmp_path / "out")
    replace(manifest, aggregation="frame_max").write(tmp_path / "out")
    (highest,) = score_videos([clips / "two.mp4"], tmp_path / "out")
    faces = np.array([crop["p_fake"] for crop in mean.crops]).reshape(-1, 2)
    assert mean.p_fake == pytest.approx(faces.mean())
    assert highest.p_fake == pytest.approx(faces.max(1).mean())
    assert highest.p_fake > mean.p_fake
    replace(manifest, classes=("fs", "real", "re")).write(tmp_path / "out")
    with pytest.raises(ValueError, match="the first class of a row is 'real'"):
        read_model(tmp_path / "out")


def test_a_row_as_onnx_scores_like_the_row_and_keeps_its_verdict(
    clips: Path, tmp_path: Path
) -> None:
    """From the weights to a page: faces, embeddings and the reason for no verdict are the row's."""
    weights = scoring_model.make(tmp_path / "weights" / "tiny-0")
    files = export_onnx(weights, tmp_path / "onnx")
    assert {file.name for file in files} == {
        "MODEL_CARD.md",
        "calibration.json",
        "detector.json",
        "model.onnx",
        "provenance.json",
    }
    ours, theirs = read_model(weights), read_model(tmp_path / "onnx")
    crops = list(np.random.default_rng(2).integers(0, 255, (6, 224, 224, 3), np.uint8))
    expected, actual = predict(ours, crops), predict(theirs, crops)
    assert expected.p_fake.std() > 1e-4
    assert np.abs(actual.p_fake - expected.p_fake).max() < TOLERANCE
    assert np.abs(actual.embedding - expected.embedding).max() < 1e-3
    assert theirs.of_miniatures and theirs.detector is None
    (before,) = score_videos([clips / "two.mp4"], weights)
    assert score_to([clips / "two.mp4"], tmp_path / "onnx", tmp_path / "report") == 0
    record = json.loads(next((tmp_path / "report").glob("*.json")).read_text())
    assert record["p_fake"] == pytest.approx(before.p_fake, abs=TOLERANCE)
    assert record["no_verdict"] == before.no_verdict != ""
    assert record["crops"][0]["distance"] == pytest.approx(before.crops[0]["distance"], abs=0.01)
    page = next((tmp_path / "report").glob("*.html")).read_text()
    assert "No verdict: this detector was trained on the demo alone" in page


@pytest.mark.parametrize("kind", ["lightning", "four_classes"])
def test_files_without_a_manifest_go_the_whole_road(kind: str, clips: Path, tmp_path: Path) -> None:
    """A training checkpoint of GenD, and FSFM's four classes with their normalisation beside."""
    torch.manual_seed(4)
    if kind == "lightning":
        file = tmp_path / "best_mAP.ckpt"
        state = published.gend_state(width=128, depth=1, patch=14, side=16)
        torch.save(published.lightning_file(state), file)
        name = "GenD CLIP, training checkpoint"
    else:
        file = tmp_path / "checkpoint-min_train_loss.pth"
        torch.save({"model": published.fsfm_state(768, depth=1, classes=4)}, file)
        constants = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2]}
        (tmp_path / "pretrain_ds_mean_std.txt").write_text(json.dumps(constants))
        name = "FSFM ViT-B/16, four classes"
        assert read_model(file).norm.mean == (0.5, 0.4, 0.3)
    assert score_to([clips / "one.mp4"], file, tmp_path / "report") == 0
    page = next((tmp_path / "report").glob("*.html")).read_text()
    assert name in page and "No verdict: no error rates are stored with this detector" in page
