"""Fixtures that several files of this folder use."""

import pytest

from deepfake_repro.crops.store import CropStore
from support.toy_training import toy_store


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> CropStore:
    return toy_store(tmp_path_factory.mktemp("toy"))
