"""Fixtures that several files of this folder use."""

import pytest

from deepfake_repro.methods.sbi.faces import RealCrops
from support.toy_sbi import toy_faces


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> RealCrops:
    """Real faces of a toy store."""
    return toy_faces(tmp_path_factory.mktemp("toy"))
