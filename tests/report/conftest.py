"""Fixtures shared by the tests of the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.reports import execute_results, make_root


@pytest.fixture(scope="session")
def few_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's report as a user short of time gets it: most rows removed, a corpus added."""
    root = tmp_path_factory.mktemp("root")
    make_root(root)
    execute_results(root)
    return root
