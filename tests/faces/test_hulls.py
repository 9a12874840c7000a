"""Hulls of a hand-made face."""

from __future__ import annotations

import re

import numpy as np
import pytest

from deepfake_repro.faces import hulls
from deepfake_repro.project import params
from support.toy_sbi import PARAMS

pytestmark = pytest.mark.usefixtures("one_thread")


def test_hulls_of_a_hand_made_face():
    """81 points on a circle: the hull of all has its area, without a forehead it is smaller."""
    turn = np.linspace(0, 2 * np.pi, 81, endpoint=False)
    points = (100 + 60 * np.stack([np.cos(turn), np.sin(turn)], 1)).astype(np.float32)
    assert hulls.hull(points, "face", 200).sum() == pytest.approx(np.pi * 60**2, rel=0.03)
    assert hulls.hull(points[:68], "face", 200).sum() < 0.99 * np.pi * 60**2
    message = "sbi.blend.hulls lists 'oval'; choose from face, full, components, extended"
    with pytest.raises(ValueError, match=re.escape(message)):
        hulls.hull(points, "oval", 200)
    for name in params.PROFILES:
        assert set(PARAMS.profile(name).sbi.blend.hulls) <= set(hulls.HULLS)
