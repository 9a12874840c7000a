"""Tests of the verdict on a run's results: identical, within the spread, or outside."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from deepfake_repro.cli import main
from deepfake_repro.evaluation.field_metrics import FIELD_NAMES, field_metrics
from deepfake_repro.operations.spread import derived_bounds, differences, tolerances
from deepfake_repro.operations.verify import IDENTICAL, OUTSIDE, WITHIN, Verdict, verify
from deepfake_repro.project.layout import PAPER

ROOT = Path(__file__).resolve().parents[2]
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")
RUNS = Path("results/demo/runs")
VIDEOS = "video_id,dataset,label,p_fake\nffpp/a,ffpp,0,0.25\nffpp/b,ffpp,1,0.75\n"


def write_run(folder: Path, auc: float, videos: str = VIDEOS) -> None:
    folder.mkdir(parents=True)
    scores = {"auc": {"ffpp": auc, "df40": auc}, "bacc": {"ffpp": 50.0, "itw": None}}
    (folder / "scores.json").write_text(json.dumps(scores))
    (folder / "videos.csv").write_text(videos)
    (folder / "validation.csv").write_text(videos)
    (folder / "provenance.json").write_text("{}")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A commit with one row, whose AUC lay up to 4 points higher on three other machines."""
    base = tmp_path / "base"
    base.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, base / name)
    write_run(base / RUNS / "fsfm-0", 90.0)
    (base / "results/demo/data").mkdir()
    (base / "results/demo/data/counts.csv").write_text("corpus,videos\nffpp,2\n")
    (base / "results/demo/report").mkdir()
    (base / "results/demo/report/table3.md").write_text("90.0\n")
    machines = [
        f"{number},fsfm,0,auc,{name},{90 + size}"
        for number, change in enumerate((4.0, 2.0, -1.0))
        for name, size in (("ffpp", change), ("df40", change / 4))
    ]
    machines.append("0,fsfm,0,p_fake,ffpp,0.1")
    header = "machine,row,seed,metric,set,value"
    (base / "results/demo/machines.csv").write_text("\n".join([header, *machines]) + "\n")
    subprocess.run([*GIT, "init", "-q"], cwd=base, check=True)
    subprocess.run([*GIT, "add", "-A"], cwd=base, check=True)
    subprocess.run([*GIT, "commit", "-qm", "first"], cwd=base, check=True)
    return base


def rewrite(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def state_of(verdict: Verdict, metric: str, name: str) -> str:
    cells = verdict.cells
    (state,) = set(cells[(cells["metric"] == metric) & (cells["set"] == name)]["state"])
    return state


def test_what_was_not_touched_is_identical_but_for_provenance(repository: Path) -> None:
    (repository / RUNS / "fsfm-0/provenance.json").write_text('{"seconds": 5}')
    (repository / RUNS / "fsfm-0/own").mkdir()
    verdict = verify(repository, "demo")
    assert (verdict.state, verdict.exit_code) == (IDENTICAL, 0)
    assert verdict.sentence() == "IDENTICAL: all 5 tracked files are the committed ones."


def test_the_same_cells_in_other_files_are_within_and_the_files_are_named(repository: Path) -> None:
    rewrite(repository / "results/demo/report/table3.md", "90.0", "90.00")
    verdict = verify(repository, "demo")
    assert (verdict.state, verdict.exit_code) == (WITHIN, 0)
    assert "other tracked files that differ: 1, such as report/table3.md" in verdict.text()
    assert "all 13 cells are the committed ones" in verdict.sentence()


def test_a_tolerance_is_the_quantile_times_the_root_mean_square() -> None:
    found = pd.DataFrame(
        {"metric": "auc", "set": ["ffpp", "itw", "df40"], "difference": [3.0, -4.0, 1.0]}
    )
    cells = pd.DataFrame({"metric": ["auc"] * 3 + ["bacc"], "set": ["ffpp", "dfdc", "df40", "itw"]})
    single = t.ppf(1 - 0.05 / 6, 2) * (25 / 2) ** 0.5
    average = t.ppf(1 - 0.05 / 6, 1)
    assert tolerances(found, cells).tolist() == pytest.approx([single, single, average, 0.0])


def test_differences_come_from_machines_and_from_seeds(repository: Path, tmp_path: Path) -> None:
    write_run(repository / RUNS / "fsfm-1", 85.0, VIDEOS.replace("0.25", "0.5"))
    write_run(tmp_path / "study/imagenet-2", 70.0)
    write_run(tmp_path / "study/imagenet-3", 72.0)
    found = differences(repository / "results/demo", [tmp_path / "study"])
    by_cell = found.groupby(["metric", "set"])["difference"].apply(sorted)
    assert by_cell["auc", "ffpp"] == [-5.0, -1.0, 2.0, 2.0, 4.0]
    assert by_cell["auc", "df40"] == [-5.0, -0.25, 0.5, 1.0, 2.0]
    assert by_cell["p_fake", "ffpp"] == [0.0, 0.0, 0.0, 0.1, 0.25]


def test_a_small_change_is_within_and_a_large_one_outside(repository: Path) -> None:
    scores = repository / RUNS / "fsfm-0/scores.json"
    rewrite(scores, '"ffpp": 90.0', '"ffpp": 91.5')
    rewrite(repository / "results/demo/report/table3.md", "90.0", "91.5")
    verdict = verify(repository, "demo")
    assert (verdict.state, verdict.exit_code) == (WITHIN, 0)
    assert state_of(verdict, "auc", "ffpp") == WITHIN
    assert verdict.changed == ["report/table3.md"]
    assert "1 of 13 cells differ" in verdict.sentence()

    tolerance = verdict.cells.query("metric == 'auc' and set == 'ffpp'")["tolerance"].item()
    rewrite(scores, '"ffpp": 91.5', f'"ffpp": {90 - tolerance - 0.1}')
    verdict = verify(repository, "demo")
    assert (verdict.state, verdict.exit_code) == (OUTSIDE, 1)
    assert state_of(verdict, "auc", "ffpp") == OUTSIDE
    assert state_of(verdict, "auc", "df40") == IDENTICAL


FURTHER = {
    "eer": {"ffpp": 0.0},
    "average_precision": {"ffpp": 100.0},
    "tpr_at_fpr_1": {"ffpp": 100.0},
    "frame_auc": {"ffpp": 80.0},
}
"""Metrics of the two videos of ``VIDEOS``: the fake has the higher score."""


@pytest.fixture
def further(repository: Path) -> Path:
    """The repository with metrics of the field in its commit."""
    file = repository / RUNS / "fsfm-0/scores.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"further": FURTHER}))
    subprocess.run([*GIT, "commit", "-qam", "further"], cwd=repository, check=True)
    return repository


def test_a_spoilt_metric_of_the_field_is_outside_with_its_cell(further: Path) -> None:
    assert verify(further, "demo").state == IDENTICAL
    for metric, before, after in (
        ("eer", '"eer": {"ffpp": 0.0}', '"eer": {"ffpp": 0.5}'),
        ("tpr_at_fpr_1", '"tpr_at_fpr_1": {"ffpp": 100.0}', '"tpr_at_fpr_1": {"ffpp": 99.0}'),
    ):
        rewrite(further / RUNS / "fsfm-0/scores.json", before, after)
        verdict = verify(further, "demo")
        assert (verdict.state, state_of(verdict, metric, "ffpp")) == (OUTSIDE, OUTSIDE)
        (line,) = [line for line in verdict.text().splitlines() if f" {metric} " in line]
        assert line.split()[:3] == ["runs/fsfm-0/scores.json", metric, "ffpp"]
        rewrite(further / RUNS / "fsfm-0/scores.json", after, before)
    assert "average_precision, tpr_at_fpr_1: no spread is on record; they must" in verdict.text()


def test_a_metric_of_the_field_is_within_if_the_videos_give_it(further: Path) -> None:
    """The real video's score rises above the fake's, within the spread: the EER is 100 then."""
    rewrite(further / RUNS / "fsfm-0/videos.csv", "ffpp/a,ffpp,0,0.25", "ffpp/a,ffpp,0,0.8")
    rewrite(further / RUNS / "fsfm-0/scores.json", '"eer": {"ffpp": 0.0}', '"eer": {"ffpp": 100.0}')
    verdict = verify(further, "demo")
    assert (verdict.state, state_of(verdict, "eer", "ffpp")) == (WITHIN, WITHIN)
    tolerance = verdict.cells.query("metric == 'eer'")["tolerance"].item()
    assert tolerance == pytest.approx(100, abs=0.02)
    rewrite(further / RUNS / "fsfm-0/scores.json", '"ffpp": 100.0}, "av', '"ffpp": 50.0}, "av')
    assert state_of(verify(further, "demo"), "eer", "ffpp") == OUTSIDE
    (further / RUNS / "fsfm-0/videos.csv").unlink()
    assert state_of(verify(further, "demo"), "eer", "ffpp") == OUTSIDE


def test_the_frame_auc_has_the_tolerance_of_the_auc(further: Path) -> None:
    tolerance = verify(further, "demo").cells.query("metric == 'auc' and set == 'ffpp'")
    tolerance = tolerance["tolerance"].item()
    for change, state in ((tolerance - 0.01, WITHIN), (tolerance + 0.01, OUTSIDE)):
        further_now = FURTHER | {"frame_auc": {"ffpp": 80.0 - change}}
        file = further / RUNS / "fsfm-0/scores.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"further": further_now}))
        assert state_of(verify(further, "demo"), "frame_auc", "ffpp") == state


def test_a_spread_on_record_comes_before_the_videos(further: Path) -> None:
    file = further / "results/demo/machines.csv"
    file.write_text(file.read_text() + "0,fsfm,0,eer,ffpp,2.0\n1,fsfm,0,eer,ffpp,1.0\n")
    subprocess.run([*GIT, "commit", "-qam", "machines"], cwd=further, check=True)
    rewrite(further / RUNS / "fsfm-0/scores.json", '"eer": {"ffpp": 0.0}', '"eer": {"ffpp": 1.5}')
    verdict = verify(further, "demo")
    assert state_of(verdict, "eer", "ffpp") == WITHIN
    assert verdict.derived == ("average_precision", "tpr_at_fpr_1")


@pytest.mark.parametrize("seed", range(20))
def test_the_metrics_of_unrounded_scores_are_within_the_bounds_of_rounded_ones(seed: int) -> None:
    """Few decimals make many ties, which any order may have broken."""
    rng = np.random.default_rng(seed)
    videos = pd.DataFrame({"dataset": "ffpp", "label": rng.integers(0, 2, 40)})
    videos["manipulation"], videos["category"] = "a", "FS"
    scores = rng.integers(0, 12, 40) / 12 + rng.uniform(-5e-5, 5e-5, 40)
    true = field_metrics(videos.assign(p_fake=scores))
    rounded = videos.assign(p_fake=scores.round(4))
    bounds = derived_bounds(rounded, PAPER).set_index(["metric", "set"])
    assert set(bounds.index) == {(metric, "ffpp") for metric in FIELD_NAMES} - {
        ("frame_auc", "ffpp")
    }
    for (metric, name), (low, high) in bounds.iterrows():
        assert low <= true[metric][name] <= high


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("runs/fsfm-0/videos.csv", "ffpp/b,ffpp,1", "ffpp/b,ffpp,0"),
        ("runs/fsfm-0/videos.csv", "ffpp/b,ffpp,1,0.75\n", ""),
        ("data/counts.csv", "ffpp,2", "ffpp,3"),
    ],
    ids=["a label", "a video", "a count"],
)
def test_what_no_machine_changes_is_outside(
    repository: Path, name: str, before: str, after: str
) -> None:
    rewrite(repository / "results/demo" / name, before, after)
    verdict = verify(repository, "demo")
    assert verdict.state == OUTSIDE
    assert name in verdict.text()


def test_a_missing_file_is_outside_and_named(repository: Path) -> None:
    (repository / "results/demo/report/table3.md").unlink()
    verdict = verify(repository, "demo")
    assert verdict.state == OUTSIDE
    assert "missing: report/table3.md" in verdict.text()


def test_without_a_spread_any_difference_counts_and_is_explained(repository: Path) -> None:
    subprocess.run([*GIT, "rm", "-q", "results/demo/machines.csv"], cwd=repository, check=True)
    subprocess.run([*GIT, "commit", "-qm", "no machines"], cwd=repository, check=True)
    rewrite(repository / RUNS / "fsfm-0/scores.json", '"ffpp": 90.0', '"ffpp": 90.1')
    verdict = verify(repository, "demo")
    assert verdict.state == OUTSIDE
    assert verdict.sentence().endswith("No spread is on record: any difference counts.")
    assert verify(repository, "demo", "HEAD~1").state == WITHIN


def test_another_folder_is_judged_with_and_without_history(
    repository: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(repository / "results/demo", theirs / "results/demo")
    rewrite(theirs / RUNS / "fsfm-0/scores.json", '"ffpp": 90.0', '"ffpp": 10.0')
    assert verify(repository, "demo").state == IDENTICAL
    assert verify(repository, "demo", run=theirs).state == OUTSIDE
    shutil.rmtree(repository / ".git")
    assert verify(repository, "demo", run=theirs / "results/demo").state == OUTSIDE
    assert verify(repository, "demo", run=repository).state == IDENTICAL


def test_the_command_prints_its_verdict_writes_the_cells_and_returns_its_code(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository)
    rewrite(repository / RUNS / "fsfm-0/scores.json", '"ffpp": 90.0', '"ffpp": 10.0')
    assert main(["verify", "--out", "cells.csv"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("OUTSIDE: ")
    states = pd.read_csv("cells.csv")["state"].value_counts()
    assert states.to_dict() == {IDENTICAL: 12, OUTSIDE: 1}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--against", "nothing"], "git does not know the revision 'nothing'"),
        (["--profile", "smoke"], "has no results/smoke/runs"),
        (["--profile", "none"], "unknown profile 'none'"),
    ],
)
def test_wrong_input_is_one_line(
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    error: str,
) -> None:
    monkeypatch.chdir(repository)
    assert main(["verify", *arguments]) == 2
    printed = capsys.readouterr().err
    assert error in printed and printed.count("\n") == 1


def test_an_archive_says_that_there_is_nothing_to_compare_with(repository: Path) -> None:
    shutil.rmtree(repository / ".git")
    with pytest.raises(ValueError, match="no git history .* verify --run"):
        verify(repository, "demo")
