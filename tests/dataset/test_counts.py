"""Tests of the counts and of Tables 1 and 2, on tables with sums computed by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.crops.store import write_part
from deepfake_repro.dataset.counts import KNOWN, OFFICIAL, Cells, compare, load_published, with_sums
from deepfake_repro.dataset.tables import markdown, methods, sampled_frames, stacked, table1, table2

PAPER = Path(__file__).parents[2] / "results" / "published"


def index_of(**corpora: Cells) -> pd.DataFrame:
    """Return an index with the given number of videos per corpus, split and class."""
    rows = [
        {"dataset": corpus, "split": split, "label": int(name == "fake")}
        for corpus, cells in corpora.items()
        for (split, name), count in cells.items()
        for _ in range(count)
    ]
    return pd.DataFrame(rows, columns=["dataset", "split", "label"])


def report_of(**notes: str) -> pd.DataFrame:
    rows = [
        (corpus, "none" if note else "test", 0, 0, 2 if not note else 0, 3 if not note else 0, note)
        for corpus, note in notes.items()
    ]
    return pd.DataFrame(
        rows, columns=["corpus", "split", "real", "fake", "metadata_only", "disk_only", "notes"]
    )


def cells_of(table: pd.DataFrame, corpus: str) -> dict[tuple[str, str], dict]:
    part = table[table["corpus"] == corpus]
    return {(row["split"], row["class"]): row for row in part.to_dict("records")}


def test_the_typed_official_counts_are_the_papers_wherever_no_reason_is_known() -> None:
    """Two sources typed apart, the releases and the paper, agree in every sum but the ones
    explained.
    """
    paper, compared = load_published(PAPER), set()
    for corpus in OFFICIAL.keys() & paper.keys():
        official, stated = with_sums(OFFICIAL[corpus]), with_sums(paper[corpus])
        for cell in official.keys() & stated.keys():
            if cell not in KNOWN.get(corpus, {}):
                assert official[cell] == stated[cell], (corpus, cell)
                compared.add(corpus)
    assert compared == {"ffpp", "celebdf2", "dfdc", "df40", "wilddeepfake", "dfeval2024"}
    gaps = {
        corpus: with_sums(OFFICIAL[corpus])["all", "all"] - with_sums(paper[corpus])["all", "all"]
        for corpus in ("celebdf2", "fakeavceleb")
    }
    assert gaps == {"celebdf2": 1, "fakeavceleb": 3}


def test_sums_follow_from_what_is_given_only() -> None:
    assert with_sums({("train", "real"): 2, ("train", "fake"): 3, ("test", "real"): 5}) == {
        ("train", "real"): 2,
        ("train", "fake"): 3,
        ("test", "real"): 5,
        ("train", "all"): 5,
        ("all", "real"): 7,
        ("all", "fake"): 3,
        ("all", "all"): 10,
    }
    # As Table 1 prints them: sums over classes and sums over splits, no cell of both.
    assert with_sums(
        {("train", "all"): 4, ("test", "all"): 2, ("all", "real"): 1, ("all", "fake"): 5}
    ) == {
        ("train", "all"): 4,
        ("test", "all"): 2,
        ("all", "real"): 1,
        ("all", "fake"): 5,
        ("all", "all"): 6,
    }


def test_a_complete_celeb_df_differs_from_the_paper_by_one_explained_real() -> None:
    table = compare(
        index_of(celebdf2=OFFICIAL["celebdf2"]), report_of(celebdf2=""), load_published(PAPER)
    )
    cells = cells_of(table, "celebdf2")
    assert list(cells) == [
        ("train", "real"),
        ("train", "fake"),
        ("train", "all"),
        ("test", "real"),
        ("test", "fake"),
        ("test", "all"),
        ("all", "real"),
        ("all", "fake"),
        ("all", "all"),
    ]
    train = cells["train", "all"]
    assert (train["found"], train["official"], train["paper"], train["difference"]) == (
        6011,
        6011,
        6010,
        1,
    )
    assert "one training real fewer than the 890" in train["explanation"]
    assert cells["test", "all"]["difference"] == 0 and cells["test", "all"]["explanation"] == ""
    assert pd.isna(cells["train", "real"]["paper"]) and pd.isna(
        cells["train", "real"]["difference"]
    )
    sides = table.dropna(subset=["metadata_only"])
    assert sides[["split", "class", "metadata_only", "disk_only"]].values.tolist() == [
        ["all", "all", 2, 3]
    ]


def test_an_incomplete_download_says_how_many_are_missing() -> None:
    short = OFFICIAL["dfdc"] | {("train", "fake"): 99_990}
    table = compare(index_of(dfdc=short), report_of(dfdc=""), load_published(PAPER))
    row = cells_of(table, "dfdc")["train", "all"]
    assert row["difference"] == -10 and row["explanation"] == "10 fewer than the official release"
    assert set(table.loc[table["difference"].isna(), "split"]) == {"train", "val", "test"}


def test_a_corpus_without_root_keeps_its_rows_and_its_reason() -> None:
    table = compare(
        index_of(), report_of(dfeval2024="not run: no root given"), load_published(PAPER)
    )
    assert table[["split", "class"]].values.tolist() == [
        ["test", "real"],
        ["test", "fake"],
        ["test", "all"],
    ]
    assert table["found"].isna().all() and table["difference"].isna().all()
    assert table["paper"].tolist() == [112, 964, 1076]
    assert set(table["explanation"]) == {"not run: no root given"}
    assert ",—,—,—,112,112,—,not run" in table.to_csv(na_rep="—")


def test_a_corpus_that_the_paper_does_not_have() -> None:
    table = compare(
        index_of(dfd={("test", "fake"): 4}),
        report_of(dfd="", kodf="not run: no root given"),
        load_published(PAPER),
    )
    assert cells_of(table, "dfd")["test", "real"]["found"] == 0
    assert cells_of(table, "dfd")["test", "real"]["official"] == 363
    assert cells_of(table, "dfd")["test", "all"]["found"] == 4
    assert cells_of(table, "kodf")["test", "real"]["explanation"] == "not run: no root given"
    assert table["paper"].isna().all()


def test_nothing_is_subtracted_for_a_miniature() -> None:
    table = compare(
        index_of(ffpp={("test", "real"): 2}),
        report_of(ffpp=""),
        load_published(PAPER),
        miniature=True,
    )
    assert table["difference"].isna().all()
    assert set(table["explanation"]) == {"size of the miniature, not of the paper's corpus"}
    assert cells_of(table, "ffpp")["train", "all"]["found"] == 0


# ---- Tables 1 and 2


def training_videos() -> pd.DataFrame:
    rows = [
        ("fakeavceleb", "train", 0, "real", "REAL"),
        ("fakeavceleb", "train", 1, "faceswap", "FS"),
        ("fakeavceleb", "val", 1, "fsgan", "FS"),
        ("fakeavceleb", "test", 1, "wav2lip", "RE"),
        ("fakeavceleb", "test", 1, "faceswap-wav2lip", "FS"),
        ("forgerynet", "train", 0, "real", "REAL"),
        ("forgerynet", "test", 1, "fs-gan", "FS"),
        ("df40", "test", 1, "fomm", "RE"),
    ]
    return pd.DataFrame(rows, columns=["dataset", "split", "label", "manipulation", "category"])


def test_table_1_counted_by_hand() -> None:
    samples = pd.DataFrame(
        [("fakeavceleb", 1, 1, 7, 6), ("forgerynet", 1, 0, 5, 0), ("total", 2, 1, 12, 6)],
        columns=["dataset", "real_videos", "fake_videos", "real_crops", "fake_crops"],
    )
    table = table1(training_videos(), samples)
    assert table.loc["fakeavceleb"].tolist() == [2, 1, 2, 1, 2, 1, 4, 7, 6]
    assert table.loc["forgerynet"].tolist() == [1, 0, 1, 0, 1, 1, 1, 5, 0]
    assert table.loc["total"].tolist() == [3, 1, 3, 1, 3, 2, 5, 12, 6]
    assert "df40" not in table.index


def test_composites_of_a_corpus_s_own_methods_are_no_methods() -> None:
    videos = training_videos()
    assert methods(videos[videos["dataset"] == "fakeavceleb"], "FS") == ["faceswap", "fsgan"]
    assert methods(videos[videos["dataset"] == "forgerynet"], "FS") == ["fs-gan"]


def test_markdown_sets_found_beside_the_paper_and_a_dash_where_there_is_nothing() -> None:
    paper = pd.read_csv(PAPER / "table2.csv").set_index("dataset")
    index = pd.DataFrame({"dataset": ["itw"] * 3, "label": [0, 1, 1]})
    found = table2(index, {"itw": {0: 4, 1: 1500}})
    lines = markdown("table2", found, paper, ["WDF: — (not run)."]).splitlines()
    assert "WDF: — (not run)." in lines
    assert (
        lines[-2]
        == "| ITW | 1 / 402 | 4 / 60,000 | 2 / 338 | 1,500 / 24,000 | 3 / 740 | 1,504 / 84,000 |"
    )
    assert lines[-1].startswith("| DF-Eval-2024 | — / 112 | — / 14,000 |")
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    both = stacked(found, paper)
    assert both["who"].tolist() == ["found", "paper"] * 3 and list(both.columns[2:]) == list(
        paper.columns
    )
    assert both.loc[2, "frames_total"] == 1504 and both.loc[3, "frames_total"] == 84_000
    assert pd.isna(both.loc[0, "videos_real"])


def test_a_frame_with_two_faces_is_one_sampled_frame(tmp_path: Path) -> None:
    blank = {
        "seconds": 0.0,
        "x0": 0.0,
        "y0": 0.0,
        "x1": 1.0,
        "y1": 1.0,
        "score": 1.0,
        "landmarks": [0.0] * 10,
        "width": 2,
        "height": 2,
        "image": b"x",
    }
    keys = [("itw/a", 0, 0), ("itw/a", 0, 1), ("itw/a", 3, 0), ("itw/b", 0, 0)]
    write_part(
        tmp_path / "itw-00000-x.arrow",
        [{"video_id": video, "frame": frame, "face": face, **blank} for video, frame, face in keys],
    )
    index = pd.DataFrame({"video_id": ["itw/a", "itw/b"], "dataset": "itw", "label": [0, 1]})
    assert sampled_frames(index, tmp_path) == {"itw": {0: 2, 1: 1}}
    with pytest.raises(FileNotFoundError, match="no crops"):
        sampled_frames(index.assign(dataset="wilddeepfake"), tmp_path)
