"""Fixtures that several files of this folder use."""

import cv2
import pytest


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the builder's worker processes do."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)
