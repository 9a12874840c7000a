"""Generated bad inputs: each gives a score or a message, and only the reports are written.

The suite takes a few of each kind; ``make bench`` more than a thousand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from deepfake_repro.scoring.batch import NONE, SOME, score_to
from deepfake_repro.scoring.score import Limits
from support import bad_inputs, scoring_model
from support.corrupt_files import peak_memory

pytestmark = pytest.mark.usefixtures("assets", "one_thread")


def tree(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if not path.is_dir()}


def check(
    tmp_path: Path, count: int, seed: int, capfd: pytest.CaptureFixture[str]
) -> dict[str, int]:
    """Score ``count`` bad inputs; count those with a score, and the others by reason."""
    weights = scoring_model.make(tmp_path / "weights" / "tiny-0")
    bad = bad_inputs.make_all(tmp_path / "made", count, seed)
    paths = [path for path in sorted(bad.iterdir()) if not path.is_dir()]
    before = tree(tmp_path)
    out = tmp_path / "out"
    code = score_to(paths, weights, out, Limits(seconds=60, silence=20))
    assert code in (SOME, NONE)
    written = tree(tmp_path) - before
    assert all(Path(file).parent == out for file in written), "only results are written"
    records = [json.loads(file.read_text()) for file in out.glob("*.json")]
    assert len(records) == len(paths)
    assert len(list(out.glob("*.html"))) == len(paths)
    for record in records:
        assert record["p_fake"] is not None or record["skipped"], record
        assert all(skip["detail"].isprintable() for skip in record["skipped"])
    for page in out.glob("*.html"):
        assert not re.search(
            r"<script|<img(?! alt=\"face\" src=\"data:| src=\"data:image/svg)", page.read_text()
        ), page.name
    printed = capfd.readouterr().out
    assert "\x1b]" not in printed
    assert printed.count("\n") == len(paths)
    reasons = [
        record["skipped"][0]["reason"] if record["p_fake"] is None else "scored"
        for record in records
    ]
    return {reason: reasons.count(reason) for reason in sorted(set(reasons))}


def test_a_few_of_each_kind(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    counts = check(tmp_path, 64, 0, capfd)
    assert counts["undecodable"] > 10
    assert counts["unreadable"] >= 2


@pytest.mark.bench
def test_more_than_a_thousand(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    counts = check(tmp_path, 1100, 1, capfd)
    with capfd.disabled():
        print(
            f"\n1100 bad inputs: {counts}, peak memory of the scoring process {peak_memory()} MiB"
        )
    assert peak_memory() < 2500
