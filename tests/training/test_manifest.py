"""The manifest beside a detector's weights: what it says, what its file holds, what is refused."""

import json

import numpy as np
import pytest
import torch

from deepfake_repro.training.manifest import Manifest
from deepfake_repro.training.transforms import evaluation_transform
from support.networks import only_line
from support.toy_training import BATCH_ALL, NORM, RECIPE

MANIFEST = Manifest.of_run(RECIPE, ("REAL", "FAKE"), NORM, 2, variant=BATCH_ALL)


def test_the_manifest_tells_how_to_use_the_weights():
    values = MANIFEST.as_json()
    assert list(values) == [
        "architecture",
        "depth",
        "input_size",
        "views",
        "classes",
        "mean",
        "std",
        "best_epoch",
        "variant",
        "train",
    ]
    assert values["architecture"] == RECIPE.architecture
    assert (values["depth"], values["input_size"], values["views"]) == (1, 32, "windows")
    assert (values["classes"], values["mean"]) == (["REAL", "FAKE"], [0.5] * 3)
    assert (values["best_epoch"], values["variant"]["loss"]["name"]) == (2, "batch_all")
    assert values["train"]["epochs"] == RECIPE.epochs


def test_only_what_is_set_is_written_the_method_first():
    manifest = Manifest.of_run(RECIPE, ("REAL", "FAKE"), NORM, 2, method="lnclip")
    values = manifest.as_json()
    assert next(iter(values)) == "method" and "variant" not in values
    assert manifest.on_sphere and not MANIFEST.on_sphere


def test_the_file_comes_back_as_the_same_manifest():
    text = json.dumps(MANIFEST.as_json())
    assert Manifest.from_json(json.loads(text), "model.json") == MANIFEST


def test_inputs_are_seen_as_in_the_validation_of_the_run():
    crop = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    expected = evaluation_transform("windows", 32, NORM)(crop)
    assert MANIFEST.normalisation == NORM
    assert torch.equal(MANIFEST.transform(crop), expected)


@pytest.mark.parametrize("key", ["architecture", "classes", "std"])
def test_a_missing_key_is_named(key):
    values = {name: value for name, value in MANIFEST.as_json().items() if name != key}
    with pytest.raises(ValueError, match=f"some/model.json: key '{key}' is missing") as info:
        Manifest.from_json(values, "some/model.json")
    only_line(info)


def test_an_unknown_key_is_named():
    with pytest.raises(ValueError, match=r"some/model.json: key 'colour' is unknown") as info:
        Manifest.from_json(MANIFEST.as_json() | {"colour": "red"}, "some/model.json")
    only_line(info)
