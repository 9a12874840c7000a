"""Rows of outside detectors in the report: marked, below ours, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from deepfake_repro.detectors import outside as evaluation
from deepfake_repro.detectors.manifest import DetectorManifest, Weights
from deepfake_repro.project import params
from deepfake_repro.project.paths import Paths
from deepfake_repro.report.beside.outside import (
    listed_detectors,
    outside_notes,
    read_outside,
    with_comparisons,
    with_intervals,
)
from deepfake_repro.report.pages.page import report_page
from deepfake_repro.report.tables import NO_BREAK
from support.reports import FEW, RUNS, execute_results, make_root

KEY = "outside/meso"
TITLE = "Meso b Net-4"
UNSEEN = 3
"""Videos of DFDC that the detector has no score of."""
TABLES = ("table3.md", "table3.csv", "comparison.md", "comparison.csv", "comparisons.csv")


def index_of(videos: pd.DataFrame) -> pd.DataFrame:
    facts = videos.drop(columns=["p_fake", "crops", "source"])
    source = {"target_id": videos["source"], "group": "", "pair_key": ""}
    return facts.assign(split="test", path=videos["video_id"] + ".mp4", **source)


def write_row(root: Path, videos: pd.DataFrame) -> pd.DataFrame:
    """The row of a detector that is SBI with every second score moved towards 0.5."""
    index = root / "data" / "index" / "demo" / "part.parquet"
    index.parent.mkdir(parents=True)
    index_of(videos).to_parquet(index)
    left_out = videos[videos["dataset"] == "dfdc"].index[:UNSEEN]
    scored = videos.drop(index=left_out)
    every_second = scored.index % 2 == 0
    scored = scored.assign(p_fake=scored["p_fake"].where(every_second, 0.25 + scored["p_fake"] / 2))
    table = scored.rename(columns={"video_id": "video"})[["video", "p_fake"]].round(4)
    table.to_csv(root / "meso.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "profile_paths", lambda profile: Paths(profile, root))
        patch.chdir(root)
        out = evaluation.evaluate_scores(root / "meso.csv", "demo")
    weights = Weights("predict.py", licence="MIT")
    DetectorManifest(
        "Meso|<b>\nNet-4", "python", weights, aggregation="frame_max", trained_on="20 crops"
    ).write(out)
    return pd.read_csv(out / "videos.csv")


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """The report with an outside row, and what it was scored on."""
    root = tmp_path_factory.mktemp("beside")
    make_root(root, detectors="[{name: meso, folder: detectors/meso}]")
    videos = write_row(root, pd.read_csv(RUNS / "sbi-0" / "videos.csv"))
    return execute_results(root), videos


def test_all_that_is_ours_stays_byte_for_byte(
    few_rows: Path, beside: tuple[Path, pd.DataFrame]
) -> None:
    """In the five tables that show the row, what is left without its lines."""
    report, _ = beside
    folder = few_rows / "results" / "demo" / "report"
    without = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {file.name for file in report.iterdir()} == set(without)
    for name, content in without.items():
        if name not in TABLES:
            assert (report / name).read_bytes() == content, name
            continue
        lines = (report / name).read_text().splitlines(keepends=True)
        kept = [line for line in lines if TITLE not in line and KEY not in line]
        assert len(kept) < len(lines), name
        # The note is a paragraph: two empty lines are left of it.
        assert "".join(kept).replace("\n\n\n", "\n\n").strip() == content.decode().strip(), name


def test_the_row_has_its_values_its_interval_and_its_own_numbers_of_videos(
    beside: tuple[Path, pd.DataFrame],
) -> None:
    report, videos = beside
    cells = pd.read_csv(report / "comparison.csv", na_values="—").set_index(
        ["row", "metric", "set"]
    )
    table = pd.read_csv(report / "table3.csv", na_values="—").set_index(["row", "metric"])
    for name, part in videos.groupby("dataset"):
        if name == "df40":
            continue
        expected = {
            "auc": roc_auc_score(part["label"], part["p_fake"]),
            "bacc": balanced_accuracy_score(part["label"], part["p_fake"] >= 0.5),
        }
        for metric, value in expected.items():
            cell = cells.loc[(KEY, metric, name)]
            assert cell["reproduced"] == pytest.approx(100 * value, abs=0.01)
            assert table.loc[(KEY, metric), name] == cell["reproduced"]
            assert cell["low"] <= cell["reproduced"] <= cell["high"]
            assert pd.isna(cell["published"]) and pd.isna(cell["difference"])
    assert list(table.index.get_level_values("row").unique()) == [*FEW, KEY]
    text = (report / "comparison.md").read_text().replace(NO_BREAK, " ")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| *{TITLE}, outside* |")][:1]
    cell = cells.loc[(KEY, "auc", "ffpp")]
    assert f"— → {cell['reproduced']:.1f} [{cell['low']:.0f}–{cell['high']:.0f}]" in row
    for name in ("table3.md", "comparison.md"):
        lines = (report / name).read_text().splitlines()
        heads = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
        assert heads.index(f"*{TITLE}, outside*") > heads.index("FSFM + Att_dataset")
        (ours,) = {line for line in lines if line.startswith("| *videos scored* | 24 | 16 |")}
        (theirs,) = {line for line in lines if line.startswith(f"| *videos scored, {TITLE}* | 24")}
        counts = [[int(cell) for cell in line.split("|")[4:5]] for line in (ours, theirs)]
        assert counts[0][0] - counts[1][0] == UNSEEN


def test_its_paired_differences_and_what_it_is_are_on_the_page(
    beside: tuple[Path, pd.DataFrame],
) -> None:
    report, _ = beside
    paired = pd.read_csv(report / "comparisons.csv", na_values="—").query("first == @KEY")
    assert set(paired["second"]) == {path.name.rpartition("-")[0] for path in RUNS.iterdir()}
    assert paired["published"].isna().all() and paired["differs"].isin(["yes", "no"]).all()
    page = report_page(report, "demo")
    assert f"<em>{TITLE}, outside</em>" in page
    assert "trained on 20 crops; licence of the weights: MIT; score of a video: frame max" in page
    assert "no claim of the papers is about it" in page


def test_without_a_row_every_table_is_the_one_that_came_in(tmp_path: Path) -> None:
    table = pd.DataFrame({"row": ["fsfm"]})
    scoring = params.load().profile("demo").scoring
    assert read_outside(tmp_path, ["meso"]) == {} and outside_notes({}) == []
    assert with_intervals(table, tmp_path, {}, scoring) is table
    assert with_comparisons(table, tmp_path, {}) is table


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rows: []", "missing key 'detectors'"),
        ("detectors: [{name: meso}]", "must have the keys name and folder"),
    ],
)
def test_a_wrong_list_is_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "detectors.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        listed_detectors(tmp_path)
    (tmp_path / "data" / "detectors.yaml").write_text("detectors: [{name: a, folder: b}]")
    assert listed_detectors(tmp_path) == ["a"]
