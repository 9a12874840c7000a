"""The generated parts of README.md and the paper's Table 3 as a page."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.report.pages import html
from deepfake_repro.report.pages.readme import (
    PICTURE,
    README_MARKS,
    TABLE_3,
    published_page,
    readme_with_results,
)
from deepfake_repro.report.scores import read_published
from deepfake_repro.report.tables import NO_BREAK

ROOT = Path(__file__).resolve().parents[2]
SCORES = ROOT / "results" / "published" / "scores"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A repository with the published numbers, one run of the demo and an empty README."""
    shutil.copytree(ROOT / "results" / "published", tmp_path / "results" / "published")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    run = tmp_path / "results" / "demo" / "runs" / "fsfm-0"
    run.mkdir(parents=True)
    scores = {"auc": {"df40": 87.9}, "bacc": {"df40": 59.3}, "videos": {}}
    (run / "scores.json").write_text(json.dumps(scores))
    cell = {"row": "fsfm", "metric": "auc", "set": "df40", "low": 80.8, "high": 93.5}
    counts = {"n_real": 8, "n_fake": 63, "sources": 11}
    (tmp_path / "results" / "demo" / "report").mkdir()
    intervals = tmp_path / "results" / "demo" / "report" / "intervals.csv"
    pd.DataFrame([cell | counts]).to_csv(intervals, index=False)
    (tmp_path / "README.md").write_text(
        f"before\n\n{README_MARKS[0]}stale\n{README_MARKS[1]}\n\nafter\n"
    )
    return tmp_path


def test_the_demo_has_intervals_and_numbers_of_people(base: Path) -> None:
    text = readme_with_results(base)
    assert text.startswith("before\n\n<!-- results") and text.endswith("/results -->\n\nafter\n")
    assert "stale" not in text
    assert f"| FSFM | — | 88{NO_BREAK}[81–94],{NO_BREAK}59 | — |" in text
    assert "8 reals and 63 fakes of 11 people or source videos" in text
    assert "untrained" not in text
    (base / "README.md").write_text(text)
    assert readme_with_results(base) == text


def test_features_without_training_are_below_the_demo(base: Path) -> None:
    folder = base / "results" / "demo" / "controls"
    folder.mkdir()
    controls = {"sharpness": {"auc": {"df40": 55.0}, "bacc": {"df40": 50.0}}}
    (folder / "scores.json").write_text(json.dumps(controls))
    assert f"| *sharpness, untrained* | — | 55,{NO_BREAK}50 | — |" in readme_with_results(base)


def test_the_count_of_sentences_adds_up(base: Path) -> None:
    found = re.search(
        r"Of (\d+) sentences .*?, (\d+) hold and (\d+) do not", readme_with_results(base)
    )
    tested, hold, fail = map(int, found.groups())
    assert hold + fail <= tested and hold > fail > 0


def test_the_papers_table_and_picture_are_the_ones_of_its_numbers() -> None:
    page = published_page(read_published(SCORES))
    written = (ROOT / TABLE_3).read_text(encoding="utf-8")
    assert written == page, "run `python -m deepfake_repro readme`"
    assert html.description(ROOT / PICTURE) in readme_with_results(ROOT).replace("&#x27;", "'")
