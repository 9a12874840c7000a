"""A row per crop: probabilities against a crop-by-crop loop, columns of the three label schemes."""

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, TensorDataset

from deepfake_repro.attribution import classes
from deepfake_repro.model import build
from deepfake_repro.prediction import class_probabilities, prediction_table

VIEWS = 4


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
    return class_probabilities(detector, loader(crops, batch_size), Fabric(accelerator="cpu", devices=1))


@pytest.mark.parametrize("views", [1, VIEWS])
def test_probabilities_equal_a_loop_over_single_views(detector, crops, views):
    found = predict(detector, crops[:, :views])
    assert found.shape == (9, 3) and found.dtype == np.float32
    detector.eval()
    for row, crop in zip(found, crops[:, :views], strict=True):
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
    turned = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(predict(detector, crops[turned], 4), whole[turned.numpy()], atol=1e-6)


def test_a_network_left_in_training_mode_predicts_without_drop_path(detector, crops):
    expected = predict(detector.eval(), crops)
    assert np.array_equal(predict(detector.train(), crops), expected)


@pytest.mark.parametrize("scheme, columns", [
    ("binary", ["p_real", "p_fake"]),
    ("category", ["p_real", "p_fs", "p_re", "p_fake"]),
    ("dataset", ["p_real", "p_ffpp", "p_celebdf2", "p_dfdc", "p_fakeavceleb", "p_forgerynet", "p_fake"]),
])
def test_columns_of_each_scheme(scheme, columns):
    names = classes(scheme)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(names)), 5).astype(np.float32)
    rows = pd.DataFrame({"video_id": list("abcde"), "label": [0, 1, 0, 1, 1]}, index=[7, 3, 9, 1, 4])
    table = prediction_table(rows, probabilities, names)
    assert sorted(table.columns) == sorted(["video_id", "label", *columns])
    pd.testing.assert_frame_equal(table[rows.columns], rows)
    np.testing.assert_allclose(table["p_fake"], [sum(row[1:]) for row in probabilities.tolist()], atol=1e-6)
    np.testing.assert_allclose(table["p_fake"] + table["p_real"], 1, atol=2e-6)
    for number, name in enumerate(names):
        np.testing.assert_allclose(table[f"p_{name.lower()}"], probabilities[:, number], atol=6e-7)


def test_a_hand_made_row():
    table = prediction_table(pd.DataFrame({"video_id": ["v"]}), np.array([[0.4, 0.35, 0.25]]), ("REAL", "FS", "RE"))
    assert table.iloc[0].to_dict() == {"video_id": "v", "p_real": 0.4, "p_fs": 0.35, "p_re": 0.25, "p_fake": 0.6}
