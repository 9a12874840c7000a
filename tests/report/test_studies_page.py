"""The page of the side studies: the committed one is current, its cells are the studies' means."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.report.beside.studies import studies_page, write_studies_page
from deepfake_repro.report.scores import read_scores

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_page_is_that_of_the_committed_results() -> None:
    page = ROOT / "results" / "studies" / "README.md"
    assert page.read_text() == studies_page(ROOT), "run deepfake-repro study, which writes it"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A checkout in which no study has run."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "results" / "studies").mkdir(parents=True)
    return tmp_path


def test_cells_are_means_and_deviations_over_seeds(base: Path) -> None:
    for seed, (auc, bacc) in enumerate([(80.0, 70.0), (90.0, 75.0), (100.0, 80.0)]):
        folder = base / "results" / "studies" / "start_over_seeds" / "default" / f"fsfm-{seed}"
        folder.mkdir(parents=True)
        scores = {"auc": {"in_distribution": auc}, "bacc": {"in_distribution": bacc}}
        (folder / "scores.json").write_text(json.dumps(scores))
    page = write_studies_page(base).read_text()
    assert "| default | FSFM | 90.0 ± 10.0 / 75.0 | — | — |" in page
    assert page.count("Not run.") == page.count("\n## ") - 1


def test_a_curve_has_one_column_per_method_and_number_of_pictures(base: Path) -> None:
    folder = base / "results" / "studies" / "pretraining" / "epochs_8"
    folder.mkdir(parents=True)
    rows = [("fsfm", "linear", 1000, 0, 90.0), ("fsfm", "linear", 1000, 1, 91.0)]
    table = pd.DataFrame(rows, columns=["start", "method", "pictures", "seed", "auc"])
    table.to_csv(folder / "curve.csv", index=False)
    lines = studies_page(base).splitlines()
    head = lines.index("| option | row | linear, 1000 pictures |")
    assert lines[head + 2] == "| epochs_8 | FSFM | 90.5 |"


def test_what_docs_say_of_another_processor_is_so() -> None:
    """Of the study ``other_processor``, in docs/results.md."""
    again = read_scores(ROOT / "results" / "studies" / "other_processor" / "default")
    moved, apart = {}, {}
    for row, scores in again.items():
        seeds = [auc_at_home(ROOT / "results" / "open" / "runs" / f"{row}-{n}") for n in (0, 1, 2)]
        moved[row] = abs(scores["auc"]["openforensics"] - seeds[2])
        apart[row] = max(seeds) - min(seeds)
    assert len(moved) == 6
    assert [row for row in moved if moved[row] >= 1] == ["fsfm_ephn"]
    assert [row for row in moved if moved[row] >= apart[row]] == ["fsfm_ba"]


def auc_at_home(run: Path) -> float:
    return json.loads((run / "scores.json").read_text())["auc"]["openforensics"]


def test_what_docs_say_of_pretraining_is_so() -> None:
    """Of the study ``pretraining`` and of the label curve, in docs/results.md."""
    folder = ROOT / "results" / "studies" / "pretraining"
    probes = {path.parent.name: pd.read_csv(path) for path in folder.glob("*/curve.csv")}
    linear = {name: probe.query("method == 'linear'") for name, probe in probes.items()}
    fsfm = {name: probe.query("start == 'fsfm'")["auc"] for name, probe in linear.items()}
    general = linear["default"].query("start == 'imagenet'")["auc"].mean()
    means = {name: auc.mean() for name, auc in fsfm.items()}
    draws = fsfm["default"].max() - fsfm["default"].min()
    assert means["epochs_2"] < means["default"] < means["half_mask"] < general
    assert abs(means["epochs_8"] - means["default"]) < draws
    curve = pd.read_csv(ROOT / "results" / "open" / "labels" / "curve.csv")
    cells = curve.query("method != 'shuffled'").groupby(["method", "pictures", "start"])["auc"]
    by_start = cells.mean().unstack("start")
    assert len(by_start) == 11 and (by_start["fsfm"] < by_start["imagenet"]).all()
