"""An exported model reads back, its ONNX file gives the same numbers, its card is complete."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from deepfake_repro.cli import main
from deepfake_repro.scoring import export, score
from deepfake_repro.scoring.model import Model, read_model
from deepfake_repro.training.detector import build_detector
from support import scoring_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    folder = tmp_path_factory.mktemp("export")
    weights = scoring_model.make(folder / "tiny-0")
    assert main(["export-model", "--weights", str(weights), "--out", str(folder / "out")]) == 0
    return read_model(weights), folder / "out"


def test_the_folder_reads_back_as_the_same_model(exported: tuple[Model, Path]) -> None:
    model, out = exported
    again = read_model(out)
    assert again.profile == "demo"
    assert dict(again.calibration) == {**model.calibration, "weights": again.digest}
    images = [np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8)]
    expected = score.predict(model, images)
    for output, wanted in zip(score.predict(again, images), expected, strict=True):
        assert np.array_equal(output, wanted)


def test_a_folder_named_from_within_its_parent_is_read(
    exported: tuple[Model, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(exported[1].parent)
    assert read_model(Path(exported[1].name)).profile == "demo"


def test_onnx_scores_crops_as_the_detector_does(exported: tuple[Model, Path]) -> None:
    """Cut the windows by hand, in [0, 1] without normalisation; average after the network."""
    model, out = exported
    crops = np.random.default_rng(1).integers(0, 255, (3, 224, 224, 3), np.uint8)
    session = onnxruntime.InferenceSession(
        str(out / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    for crop, expected in zip(crops, score.predict(model, list(crops))[0], strict=True):
        windows = [crop[y : y + 112, x : x + 112] for y in (14, 98) for x in (14, 98)]
        views = np.stack(windows).transpose(0, 3, 1, 2)
        p_fake, probabilities, embedding = session.run(
            list(export.OUTPUTS), {"images": views.astype(np.float32) / 255}
        )
        assert p_fake.mean() == pytest.approx(expected, abs=1e-5)
        assert embedding.shape == (4, 384)
        assert probabilities.sum(1) == pytest.approx(1)
        assert probabilities[:, 1:].sum(1) == pytest.approx(p_fake)


def test_another_network_in_the_onnx_file_is_noticed(
    exported: tuple[Model, Path], tmp_path: Path
) -> None:
    trained, out = exported
    assert export.onnx_difference(trained, out / "model.onnx") < 1e-5
    torch.manual_seed(7)
    other = build_detector(
        "vit_small_patch14_dinov2", 3, depth=1, input_size=112, head_std=0.5
    ).eval()
    model = Model(other, trained.manifest, tmp_path, "")
    assert export.onnx_difference(model, out / "model.onnx") > export.TOLERANCE


def test_the_card_names_data_classes_and_error_rates(exported: tuple[Model, Path]) -> None:
    text = (exported[1] / "MODEL_CARD.md").read_text()
    for words in (
        "Trained on the demo alone",
        "REAL, FS, RE; P(fake) is the sum of all but the first",
        "0.485",
        "data `data/samples/demo/train.parquet`",
        "| 1 % false alarms |",
        "10 real and 20 fake held-out",
        "No",
    ):
        assert words in text


def test_nothing_is_overwritten(
    exported: tuple[Model, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = exported
    assert main(["export-model", "--weights", str(model.folder), "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"error: {out} is not empty: give a new folder\n"
