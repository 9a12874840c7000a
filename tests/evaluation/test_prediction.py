"""Predictions: probabilities against a crop-by-crop loop, columns of the three label schemes."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, TensorDataset

from deepfake_repro.crops.store import encode, write_part
from deepfake_repro.evaluation import prediction
from deepfake_repro.evaluation.prediction import (
    class_probabilities,
    predict_row,
    prediction_table,
    write_predictions,
)
from deepfake_repro.project.paths import profile_paths
from deepfake_repro.training import checkpoints
from deepfake_repro.training.detector import build_detector as build
from deepfake_repro.training.labels import class_names as classes
from deepfake_repro.training.manifest import Manifest

VIEWS = 4

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return build("vit_tiny_patch16_224", 3, depth=1, input_size=32, head_std=0.5, drop_path=0.3)


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    """Nine crops of four views."""
    return torch.randn(9, VIEWS, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def loader(crops, batch_size=4):
    return DataLoader(TensorDataset(crops, torch.zeros(len(crops))), batch_size)


def predict(detector, crops, batch_size=4):
    return class_probabilities(
        detector, loader(crops, batch_size), Fabric(accelerator="cpu", devices=1)
    )


@pytest.mark.parametrize("views", [1, VIEWS])
def test_probabilities_equal_a_loop_over_single_views(detector, crops, views):
    probabilities = predict(detector, crops[:, :views])
    assert probabilities.shape == (9, 3) and probabilities.dtype == np.float32
    detector.eval()
    for row, crop in zip(probabilities, crops[:, :views], strict=True):
        total = np.zeros(3)
        with torch.no_grad():
            for view in crop:
                logits = detector(view[None])[1][0].double().numpy()
                total += np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(row, total / views, atol=1e-5)


def test_views_are_averaged_in_probability_and_not_in_logits(detector, crops):
    with torch.no_grad():
        logits = detector.eval()(crops.flatten(0, 1))[1].unflatten(0, (9, VIEWS))
    assert np.abs(predict(detector, crops) - logits.mean(1).softmax(-1).numpy()).max() > 1e-3


def test_batch_size_and_order_do_not_matter(detector, crops):
    whole = predict(detector, crops, 9)
    np.testing.assert_allclose(predict(detector, crops, 1), whole, atol=1e-6)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    shuffled = predict(detector, crops[order], 4)
    np.testing.assert_allclose(shuffled, whole[order.numpy()], atol=1e-6)


def test_a_network_left_in_training_mode_predicts_without_drop_path(detector, crops):
    expected = predict(detector.eval(), crops)
    assert np.array_equal(predict(detector.train(), crops), expected)


@pytest.mark.parametrize(
    "scheme, columns",
    [
        ("binary", ["p_real", "p_fake"]),
        ("category", ["p_real", "p_fs", "p_re", "p_fake"]),
        (
            "dataset",
            ["p_real", "p_ffpp", "p_celebdf2", "p_dfdc", "p_fakeavceleb", "p_forgerynet", "p_fake"],
        ),
    ],
)
def test_columns_of_each_scheme(scheme, columns):
    names = classes(scheme)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(names)), 5).astype(np.float32)
    rows = pd.DataFrame(
        {"video_id": list("abcde"), "label": [0, 1, 0, 1, 1]}, index=[7, 3, 9, 1, 4]
    )
    table = prediction_table(rows, probabilities, names)
    assert sorted(table.columns) == sorted(["video_id", "label", *columns])
    pd.testing.assert_frame_equal(table[rows.columns], rows)
    np.testing.assert_allclose(
        table["p_fake"], [sum(row[1:]) for row in probabilities.tolist()], atol=1e-6
    )
    np.testing.assert_allclose(table["p_fake"] + table["p_real"], 1, atol=2e-6)
    for number, name in enumerate(names):
        np.testing.assert_allclose(table[f"p_{name.lower()}"], probabilities[:, number], atol=6e-7)


def test_a_hand_made_row():
    table = prediction_table(
        pd.DataFrame({"video_id": ["v"]}), np.array([[0.4, 0.35, 0.25]]), ("REAL", "FS", "RE")
    )
    assert table.iloc[0].to_dict() == {
        "video_id": "v",
        "p_real": 0.4,
        "p_fs": 0.35,
        "p_re": 0.25,
        "p_fake": 0.6,
    }


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_the_file_streams_and_does_not_depend_on_the_batches(tmp_path, monkeypatch, batch_size):
    monkeypatch.setattr(prediction, "ROWS_AT_ONCE", 10)
    names = classes("category")
    probabilities = np.random.default_rng(1).dirichlet(np.ones(3), 34).astype(np.float32)
    rows = pd.DataFrame(
        {"video_id": [f"v{n}" for n in range(34)], "manipulation": [None] * 12 + ["swap"] * 22}
    )

    def batches(size):
        for first in range(0, 34, size):
            assert not (tmp_path / "set.parquet").exists(), "the file appears once complete"
            yield probabilities[first : first + size]

    write_predictions(tmp_path / "one.parquet", rows, [probabilities], names)
    write_predictions(tmp_path / "set.parquet", rows, batches(batch_size), names)
    assert (tmp_path / "set.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "set.parquet"), prediction_table(rows, probabilities, names)
    )
    meta = pq.read_metadata(tmp_path / "set.parquet")
    assert [meta.row_group(group).num_rows for group in range(meta.num_row_groups)] == [
        10,
        10,
        10,
        4,
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.parquet", "set.parquet"]


@pytest.fixture
def checkout(tmp_path, monkeypatch, detector) -> Path:
    """A folder with weights, an index, and crops of two test sets (5 and 4) and other splits."""
    shutil.copyfile(Path(__file__).resolve().parents[2] / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    videos = {
        "a/one": ("itw", "test", 3),
        "a/two": ("itw", "test", 2),
        "b/one": ("dfdc", "test", 4),
        "b/two": ("dfdc", "train", 3),
        "b/three": ("dfdc", "val", 2),
        "c/one": ("ffpp", "val", 1),
    }
    noise = np.random.default_rng(0)
    rows = [
        {
            "video_id": video,
            "frame": frame,
            "seconds": 0.0,
            "face": 0,
            "x0": 0.0,
            "y0": 0.0,
            "x1": 1.0,
            "y1": 1.0,
            "score": 1.0,
            "landmarks": [0.0] * 10,
            "width": 40,
            "height": 40,
            "image": encode(noise.integers(0, 256, (40, 40, 3), dtype=np.uint8), "png"),
        }
        for video, (_, _, count) in videos.items()
        for frame in range(count)
    ]
    paths = profile_paths("smoke")
    write_part(paths.crops / "toy.arrow", rows)
    paths.index.parent.mkdir(parents=True)
    index = pd.DataFrame(
        [[video, dataset, split, "m", "FS", 1] for video, (dataset, split, _) in videos.items()],
        columns=["video_id", "dataset", "split", "manipulation", "category", "label"],
    )
    index.to_parquet(paths.index)
    checkpoints.save(
        detector,
        paths.weights("fsfm", 0),
        Manifest(
            "vit_tiny_patch16_224",
            depth=1,
            input_size=32,
            views="windows",
            classes=("REAL", "FS", "RE"),
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
    )
    return tmp_path


def test_a_row_predicts_every_crop_of_the_test_splits_and_the_validation_apart(checkout):
    files = predict_row("smoke", "fsfm", 0)
    tables = {name: pd.read_parquet(file) for name, file in files.items()}
    assert {
        name: list(zip(table["video_id"], table["frame"], strict=True))
        for name, table in tables.items()
    } == {
        "itw": [("a/one", 0), ("a/one", 1), ("a/one", 2), ("a/two", 0), ("a/two", 1)],
        "dfdc": [("b/one", frame) for frame in range(4)],
        "validation": [("b/three", 0), ("b/three", 1), ("c/one", 0)],
    }


def test_a_finished_test_set_is_not_predicted_again(checkout, monkeypatch):
    """Interrupt the second set: the first set's file is kept as it is, the second has none."""
    stream = prediction.probability_batches
    seen = []

    def interrupted(detector, loader, fabric, what):
        seen.append(what)
        for batch in stream(detector, loader, fabric, what):
            if what == "predict itw" and len(seen) == 2:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(prediction, "probability_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_row("smoke", "fsfm", 0)
    (finished,) = (checkout / ".scratch").rglob("dfdc.parquet")
    before = finished.read_bytes(), finished.stat().st_mtime_ns
    assert not list((checkout / ".scratch").rglob("itw.parquet"))
    files = predict_row("smoke", "fsfm", 0)
    assert seen == ["predict dfdc", "predict itw", "predict itw", "predict validation"]
    assert (finished.read_bytes(), finished.stat().st_mtime_ns) == before and files[
        "dfdc"
    ] == finished


def test_other_weights_are_predicted_again(checkout):
    one = predict_row("smoke", "fsfm", 0)["itw"]
    weights = profile_paths("smoke").weights("fsfm", 0)
    _, manifest = checkpoints.load(weights)
    checkpoints.save(
        build("vit_tiny_patch16_224", 3, depth=1, input_size=32, head_std=0.5), weights, manifest
    )
    again = predict_row("smoke", "fsfm", 0)["itw"]
    assert again.parent != one.parent and again.read_bytes() != one.read_bytes()
