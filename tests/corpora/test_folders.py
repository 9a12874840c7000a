"""A test corpus of the user's own, and corpora that cannot be read beside those that can."""

from __future__ import annotations

from collections import Counter

import pytest

from deepfake_repro.corpora import ADAPTERS, adapter_of, broken, index_corpora
from support.benchmark_trees import make

TREE = (
    "real/a.mp4",
    "real/more/b.MOV",
    "fake/a.mp4",
    "fake/FS/c.mkv",
    "fake/re/liveportrait/videos/d.mp4",
    "fake/simswap/e.webm",
    "fake/FS/clip/000.png",
    "fake/notes.txt",
)


def test_label_category_and_method_from_the_folders(tmp_path):
    index, report = index_corpora({"my_test": make(tmp_path, *TREE)})
    found = {
        row["path"]: (row["label"], row["category"], row["manipulation"], row["kind"])
        for row in index.to_dict("records")
    }
    assert found == {
        "real/a.mp4": (0, "REAL", "real", "video"),
        "real/more/b.MOV": (0, "REAL", "real", "video"),
        "fake/a.mp4": (1, "UNK", "unknown", "video"),
        "fake/FS/c.mkv": (1, "FS", "unknown", "video"),
        "fake/re/liveportrait/videos/d.mp4": (1, "RE", "liveportrait", "video"),
        "fake/simswap/e.webm": (1, "UNK", "simswap", "video"),
        "fake/FS/clip": (1, "FS", "unknown", "frames"),
    }
    assert set(index["split"]) == {"test"} and set(index["dataset"]) == {"my_test"}
    assert index["video_id"].str.startswith("my_test/").all() and index["video_id"].is_unique
    row = report.set_index("corpus").loc["my_test"]
    assert (row["real"], row["fake"]) == (2, 5)
    assert "1 folders of images taken as face crops" in row["notes"]


def test_a_path_with_fake_in_it_and_a_doubled_folder(tmp_path):
    root = make(tmp_path / "deepfakes" / "fake_looking" / "download", *TREE)
    index, _ = index_corpora({"my_test": root.parent})
    assert Counter(index["label"]) == {0: 2, 1: 5}
    assert all((root.parent / path).exists() for path in index["path"])


def test_one_label_only_and_images_without_a_folder(tmp_path):
    _, report = index_corpora({"mine": make(tmp_path / "a", "fake/x.mp4")})
    assert "no real videos" in report.set_index("corpus").loc["mine", "notes"]
    _, report = index_corpora({"mine": make(tmp_path / "b", "fake/000.png", "real/x.mp4")})
    assert broken(report) == [
        "mine: 'fake/' contains images; put those of each video into a folder"
    ]


def test_a_circle_of_links_ends(tmp_path):
    root = make(tmp_path, "real/a.mp4", "fake/clip/000.png")
    (root / "fake" / "again").symlink_to(root / "fake")
    assert len(index_corpora({"mine": root})[0]) == 2


@pytest.mark.parametrize(
    "name, meant",
    [
        ("celebdf", "celebdf2"),
        ("Celeb-DF-v2", "celebdf2"),
        ("ffp", "ffpp"),
        ("DFDC", "dfdc"),
        ("fakeav", "fakeavceleb"),
        ("wild_deepfake", "wilddeepfake"),
    ],
)
def test_a_misspelt_corpus_is_no_corpus_of_ones_own(tmp_path, name, meant):
    with pytest.raises(ValueError, match=f"unknown corpus '{name}': write '{meant}'"):
        adapter_of(name)
    _, report = index_corpora({name: make(tmp_path, *TREE)})
    assert len(broken(report)) == 1


@pytest.mark.parametrize("name", ["my_test", "my_dfdc", "wild", "news-2025", "celebdf2_h264"])
def test_other_names_are_free(name):
    assert adapter_of(name).name == name
    assert adapter_of("ffpp") is ADAPTERS["ffpp"]


@pytest.mark.parametrize("name", ["a/b", "..", "my test"])
def test_a_name_that_is_no_file_name(name):
    with pytest.raises(ValueError, match="use letters, digits"):
        adapter_of(name)


def test_a_broken_corpus_does_not_stop_the_others(tmp_path, celeb):
    """Today's ``index`` ended at the first: with nothing written for the corpora after it."""
    empty = tmp_path / "empty"
    empty.mkdir()
    roots = {"ffpp": empty, "celebdf2": celeb, "dfdc": tmp_path / "absent", "mine": empty}
    index, report = index_corpora(roots)
    assert set(index["dataset"]) == {"celebdf2"} and len(index) == 5
    lines = broken(report)
    assert [line.partition(":")[0] for line in lines] == ["ffpp", "dfdc", "mine"]
    assert all(str(tmp_path) in line and "\n" not in line for line in lines)


def test_options_of_an_unknown_corpus():
    with pytest.raises(ValueError, match="options of unknown corpus 'ffp'"):
        index_corpora({}, {"ffp": {}})
