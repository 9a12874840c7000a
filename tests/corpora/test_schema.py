"""What all adapters share: the schema, file names, splits by hash, CSV files."""

import pytest

from deepfake_repro.corpora.adapters import fakeavceleb
from deepfake_repro.corpora.files import descend, hash_split, read_csv, videos_below
from deepfake_repro.corpora.schema import COLUMNS, Video, index_table
from support.trees import make


def video(**changes: object) -> Video:
    """A valid real row with some fields changed."""
    row = {
        "video_id": "x/a",
        "path": "a.mp4",
        "kind": "video",
        "label": 0,
        "manipulation": "real",
        "category": "REAL",
        "dataset": "x",
        "split": "test",
        "split_source": "user",
    }
    return Video(**row | changes)


def test_index_table_sorts_and_clears_pairs_that_are_absent():
    fake = {"label": 1, "manipulation": "deepfakes", "category": "FS"}
    table = index_table(
        [
            video(video_id="x/c", path="c", pair_key="x/gone", **fake),
            video(video_id="x/b", path="b", pair_key="x/a", **fake),
            video(),
        ]
    )
    assert list(table.columns) == list(COLUMNS)
    assert table["video_id"].tolist() == ["x/a", "x/b", "x/c"]
    assert table["pair_key"].tolist() == ["", "x/a", ""]
    assert table["label"].dtype == "int64"


@pytest.mark.parametrize(
    "second, message",
    [
        ({"video_id": "x/a", "path": "b.mp4"}, "listed twice"),
        ({"video_id": "x/a", "path": "b.mp4", "label": 1, "category": "FS"}, "two labels"),
        ({"video_id": "x/b", "label": 1, "category": "FS"}, "two labels"),
        ({"video_id": "x/b", "path": "b", "label": 1}, "contradicts category REAL"),
        ({"video_id": "x/b", "path": "b", "label": 2}, "label '2'"),
        ({"video_id": "x/b", "path": "b", "split": "dev"}, "split 'dev'"),
    ],
)
def test_index_table_refuses(second, message):
    with pytest.raises(ValueError, match=message):
        index_table([video(), video(**second)])


def test_scan_skips_what_is_no_video(tmp_path):
    make(
        tmp_path,
        [
            "a/x.mp4",
            "a/._x.mp4",
            "a/.DS_Store",
            "a/y.mp4.part",
            "a/z.txt",
            "__MACOSX/q.mp4",
            "b/Y.MOV",
        ],
    )
    make(tmp_path, {"a/empty.mp4": b""})
    assert [path.name for path in videos_below(tmp_path)] == ["x.mp4", "Y.MOV"]


def test_folder_names_match_whatever_their_case(tmp_path):
    make(tmp_path, ["DeepFakes/C23/x.mp4"])
    assert descend(tmp_path, "Deepfakes", "c23").name == "C23"
    assert descend(tmp_path, "Deepfakes", "c40") is None


def test_hash_split_shares_and_independence_of_other_groups():
    groups = [f"id{number:05d}" for number in range(4000)]
    splits = [hash_split(group, 3, {"val": 0.15, "test": 0.15}) for group in groups]
    # Binomial with n = 4000: four standard deviations are 90 groups.
    assert abs(splits.count("val") - 600) < 90 and abs(splits.count("test") - 600) < 90
    assert splits != [hash_split(group, 4, {"val": 0.15, "test": 0.15}) for group in groups]
    # Pinned: a derived split must never move between versions or machines.
    assert [n for n in range(12) if fakeavceleb.split_of(f"id{n:05d}") == "val"] == [6, 8, 10]


def test_csv_with_mark_comments_and_line_breaks(tmp_path):
    make(tmp_path, {"x.csv": '\ufeff# note\nPath, Label \na,"real\nreally"\n#b,fake\n\nc\n'})
    assert read_csv(tmp_path / "x.csv") == [
        {"path": "a", "label": "real\nreally"},
        {"path": "c", "label": ""},
    ]
    make(tmp_path, {"y.csv": "path\na,b\n"})
    with pytest.raises(ValueError, match=r"'y.csv' line 2: 2 cells for 1 columns"):
        read_csv(tmp_path / "y.csv")
