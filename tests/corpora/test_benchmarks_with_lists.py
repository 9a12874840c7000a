"""DFD, FaceShifter, DFDC Preview and Celeb-DF++, read from small trees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepfake_repro.corpora import index_corpora
from deepfake_repro.corpora.checks import by_stem, remark
from deepfake_repro.corpora.schema import IndexReport
from support.benchmark_trees import CDFPP, CDFPP_LIST, celebdfpp, cells, make, read


def test_remark_counts_distinct_names_and_shows_the_first():
    assert remark("odd names", ["b", "a", "b"]) == ("2 odd names, such as 'a'",)
    assert remark("odd names", []) == ()


def test_by_stem_refuses_two_videos_of_one_name():
    assert by_stem("x", [Path("a/1.mp4"), Path("a/2.mp4")]) == {
        "1": Path("a/1.mp4"),
        "2": Path("a/2.mp4"),
    }
    with pytest.raises(ValueError, match=r"x: 'a/1.mp4' and 'b/1.mp4' have one name"):
        by_stem("x", [Path("a/1.mp4"), Path("b/1.mp4")])


ACTORS, SWAPS = "original_sequences/actors", "manipulated_sequences/DeepFakeDetection"


@pytest.fixture
def dfd(tmp_path) -> Path:
    return make(
        tmp_path / "FaceForensics++",
        f"{ACTORS}/c23/videos/24__outside_talking_still_laughing.mp4",
        f"{ACTORS}/c23/videos/24__exit_phone_room.mp4",
        f"{SWAPS}/c23/videos/24_23__outside_talking_still_laughing__YR5OVD4S.mp4",
        f"{SWAPS}/c23/videos/23_24__exit_phone_room__0XUW13RW.mp4",
        f"{ACTORS}/c0/videos/24__exit_phone_room.mp4",
        "original_sequences/youtube/c23/videos/071.mp4",
    )


def test_dfd_scenes_with_underscores_pair_with_the_targets_recording(dfd):
    rows, report = read("dfd", dfd.parent)
    fakes, reals = f"{SWAPS}/c23/videos", f"{ACTORS}/c23/videos"
    assert cells(
        rows, "label", "manipulation", "category", "target_id", "source_id", "pair_key", "group"
    ) == {
        f"{reals}/24__outside_talking_still_laughing": (0, "real", "REAL", "24", "", "", "24"),
        f"{reals}/24__exit_phone_room": (0, "real", "REAL", "24", "", "", "24"),
        f"{fakes}/24_23__outside_talking_still_laughing__YR5OVD4S": (
            1,
            "dfd",
            "FS",
            "24",
            "23",
            f"dfd/{reals}/24__outside_talking_still_laughing",
            "24",
        ),
        f"{fakes}/23_24__exit_phone_room__0XUW13RW": (1, "dfd", "FS", "23", "24", "", "23"),
    }
    assert set(cells(rows, "split", "split_source", "compression").values()) == {
        ("test", "derived", "c23")
    }
    assert report.notes == ()


def test_dfd_raw_is_also_called_c0(dfd):
    assert cells(read("dfd", dfd, compression="raw")[0], "compression") == {
        f"{ACTORS}/c0/videos/24__exit_phone_room": ("raw",)
    }


def test_dfd_odd_names_are_left_out_and_shown(dfd):
    make(dfd, f"{SWAPS}/c23/videos/24_23__hugging_happy.mp4", f"{ACTORS}/c23/videos/24_talking.mp4")
    rows, report = read("dfd", dfd)
    assert len(rows) == 4 and len(report.disk_only) == 2
    assert report.notes == (
        f"2 names not like 24_23__scene__YR5OVD4S left out, such as '{report.disk_only[0]}'",
    )


def test_dfd_compression_errors(dfd):
    with pytest.raises(FileNotFoundError, match="dfd: no videos at compression 'c40'"):
        read("dfd", dfd, compression="c40")
    with pytest.raises(ValueError, match="dfd: compression 'c1' is not one of raw, c23, c40"):
        read("dfd", dfd, compression="c1")


def test_faceshifter_is_ffpp_with_one_method_under_its_own_name(faceshifter):
    rows, report = read("faceshifter", faceshifter)
    test = {name: row for name, row in rows.items() if row["split"] == "test"}
    real, fake = (
        "original_sequences/youtube/c23/videos",
        "manipulated_sequences/FaceShifter/c23/videos",
    )
    assert cells(test, "label", "manipulation", "pair_key") == {
        f"{real}/953": (0, "real", ""),
        f"{real}/974": (0, "real", ""),
        f"{fake}/953_974": (1, "faceshifter", f"faceshifter/{real}/953"),
        f"{fake}/974_953": (1, "faceshifter", f"faceshifter/{real}/974"),
    }
    assert len(rows) == 12 and report.indexed == 12
    assert not report.metadata_only  # methods that are not downloaded are not missing


def test_faceshifter_and_ffpp_from_one_root(faceshifter):
    index, report = index_corpora({"ffpp": faceshifter, "faceshifter": faceshifter})
    assert index["video_id"].is_unique
    assert index.groupby("dataset").size().to_dict() == {"ffpp": 18, "faceshifter": 4}
    note = report.set_index("corpus").loc["faceshifter", "notes"]
    assert note.split("; ") == [
        "4 videos of split train left out: for testing only",
        "4 videos of split val left out: for testing only",
    ]


def test_faceshifter_absent(faceshifter):
    for path in (faceshifter / "manipulated_sequences" / "FaceShifter").rglob("*.mp4"):
        path.unlink()
    with pytest.raises(
        FileNotFoundError, match="faceshifter: no fakes in manipulated_sequences/FaceShifter/c23/"
    ):
        read("faceshifter", faceshifter)


DFDCP_FILES = {
    "original_videos/643049/643049_A_001.mp4": {
        "label": "real",
        "set": "test",
        "target_id": 643049,
    },
    "original_videos/1260311/1260311_C_001.mp4": {
        "label": "real",
        "set": "train",
        "target_id": "1260311",
    },
    "method_A/643049/643049_A/1255229_643049_A_001.mp4": {
        "label": "fake",
        "set": "test",
        "target_id": "643049",
        "swapped_id": "1255229",
    },
    "method_B/1260311/1260311_C/1255229_1260311_C_001.mp4": {"label": "fake", "set": "train"},
}


def dfdcp(root: Path, **changes: dict) -> Path:
    content = DFDCP_FILES | changes
    return make(root / "dfdc_preview_set", *DFDCP_FILES, {"dataset.json": json.dumps(content)})


def test_dfdcp_labels_sets_and_pairs(tmp_path):
    dfdcp(tmp_path, **{"method_A\\gone.mp4": {"label": "fake", "set": "train"}})
    make(tmp_path / "dfdc_preview_set", "method_A/9/9_A/8_9_A_001.mp4")
    rows, report = read("dfdcp", tmp_path)
    assert cells(rows, "label", "split", "manipulation", "target_id", "source_id", "pair_key") == {
        "original_videos/643049/643049_A_001": (0, "test", "real", "643049", "", ""),
        "original_videos/1260311/1260311_C_001": (0, "train", "real", "1260311", "", ""),
        "method_A/643049/643049_A/1255229_643049_A_001": (
            1,
            "test",
            "method_a",
            "643049",
            "1255229",
            "dfdcp/original_videos/643049/643049_A_001",
        ),
        "method_B/1260311/1260311_C/1255229_1260311_C_001": (
            1,
            "train",
            "method_b",
            "1260311",
            "1255229",
            "dfdcp/original_videos/1260311/1260311_C_001",
        ),
    }
    assert {row["split_source"] for row in rows.values()} == {"official"}
    assert report == IndexReport(
        "dfdcp", 4, ("method_A/gone.mp4",), ("method_A/9/9_A/8_9_A_001.mp4",)
    )


def test_dfdcp_notes_what_the_name_does_not_tell_or_contradicts(tmp_path):
    root = dfdcp(
        tmp_path,
        **{
            "method_B/odd.mp4": {"label": "fake", "set": "test", "target_id": "1"},
            "original_videos/643049/643049_A_001.mp4": {
                "label": "real",
                "set": "test",
                "target_id": "7",
            },
        },
    )
    make(root, "method_B/odd.mp4")
    rows, report = read("dfdcp", root)
    assert cells(rows, "label", "target_id", "group")["method_B/odd"] == (
        1,
        "",
        "dfdcp/method_B/odd",
    )
    assert report.notes == (
        "1 names not like 1255229_1260311_C_001: identities left empty, such as 'method_B/odd.mp4'",
        "1 videos whose target_id is not that of their name, "
        "such as 'original_videos/643049/643049_A_001.mp4'",
    )


@pytest.mark.parametrize(
    "key, entry, message",
    [
        (
            "method_A/a.mp4",
            {"label": "real", "set": "test"},
            "'method_A/a.mp4' has label 'real', which contradicts",
        ),
        ("method_A/a.mp4", {"label": "maybe", "set": "test"}, "label 'maybe'"),
        ("method_A/a.mp4", {"label": "fake", "set": "dev"}, "'method_A/a.mp4' has set 'dev'"),
        ("method_A/a.mp4", "fake", "'method_A/a.mp4' has set ''"),
        (
            "method_C/a.mp4",
            {"label": "fake", "set": "test"},
            "a path in original_videos, method_A, method_B",
        ),
    ],
)
def test_dfdcp_refuses_entries(tmp_path, key, entry, message):
    with pytest.raises(ValueError, match=message):
        read("dfdcp", dfdcp(tmp_path, **{key: entry}))


def test_dfdcp_needs_its_metadata(tmp_path):
    root = dfdcp(tmp_path)
    (root / "dataset.json").write_text("[]")
    with pytest.raises(ValueError, match="instead of a dict"):
        read("dfdcp", root)
    (root / "dataset.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"'dataset.json' is missing; it decides labels and splits"
    ):
        read("dfdcp", root)


def test_celebdfpp_families_splits_and_pairs(tmp_path):
    rows, report = read("celebdfpp", celebdfpp(tmp_path).parent)
    synthesis, real = "Celeb-synthesis", "celebdfpp/Celeb-real"
    assert cells(
        rows, "label", "split", "manipulation", "category", "target_id", "source_id", "pair_key"
    ) == {
        "Celeb-real/id0_0000": (0, "test", "real", "REAL", "id0", "", ""),
        "Celeb-real/id1_0002": (0, "train", "real", "REAL", "id1", "", ""),
        "YouTube-real/00170": (0, "test", "real", "REAL", "youtube-00170", "", ""),
        f"{synthesis}/FaceSwap/Celeb-DF/id0_id1_0000": (
            1,
            "test",
            "celeb-df",
            "FS",
            "id0",
            "id1",
            f"{real}/id0_0000",
        ),
        f"{synthesis}/FaceSwap/BlendFace/id0_id1_0000": (
            1,
            "train",
            "blendface",
            "FS",
            "id0",
            "id1",
            f"{real}/id0_0000",
        ),
        f"{synthesis}/FaceReenact/LIA/id1_id0_0002": (
            1,
            "train",
            "lia",
            "RE",
            "id1",
            "id0",
            f"{real}/id1_0002",
        ),
        f"{synthesis}/TalkingFace/IP_LAP/id1_0002_test_00007": (
            1,
            "test",
            "ip_lap",
            "RE",
            "id1",
            "00007",
            f"{real}/id1_0002",
        ),
    }
    assert report == IndexReport("celebdfpp", 7, ("ghost/id0_id1_0000",))


def test_celebdfpp_old_fakes_under_their_other_name(tmp_path):
    root = celebdfpp(tmp_path, *(name.replace("/Celeb-DF/", "/Celeb-DF-v2/") for name in CDFPP))
    video = read("celebdfpp", root)[0]["Celeb-synthesis/FaceSwap/Celeb-DF-v2/id0_id1_0000"]
    assert (video["manipulation"], video["split"]) == ("celeb-df", "test")
    make(root, "Celeb-synthesis/FaceSwap/Celeb-DF/id0_id1_0000.mp4")
    with pytest.raises(
        ValueError,
        match=r"'Celeb-synthesis/FaceSwap/Celeb-DF/id0_id1_0000.mp4' and .* are one video",
    ):
        read("celebdfpp", root)


def test_celebdfpp_a_list_of_the_other_polarity_is_read_and_noted(tmp_path):
    flipped = "\n".join(f"{1 - int(line[0])}{line[1:]}" for line in CDFPP_LIST.splitlines())
    rows, report = read("celebdfpp", celebdfpp(tmp_path, listing=flipped))
    assert (
        rows["YouTube-real/00170"]["label"] == 0 and rows["YouTube-real/00170"]["split"] == "test"
    )
    assert report.notes == ("1 means fake in 'List_of_testing_videos.txt', unlike in Celeb-DF v2",)


@pytest.mark.parametrize(
    "line, message",
    [
        ("0 Celeb-real/id0_0000.mp4", "line 6 .*: flag and folder disagree"),
        (
            "1 Celeb-synthesis/FaceReenact/LIA/id1_id0_0002.mp4",
            "line 6 .*: flag and folder disagree",
        ),
        ("Celeb-real/id0_0000.mp4", "line 6"),
        ("0 Celeb-synthesis/FaceSwap/Nobody/a.mp4", "line 6"),
    ],
)
def test_celebdfpp_refuses_lines(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        read("celebdfpp", celebdfpp(tmp_path, listing=f"{CDFPP_LIST}\n{line}"))


def test_celebdfpp_strangers_are_left_out_and_shown(tmp_path):
    strangers = (
        "Celeb-synthesis/FaceSwap/Nobody/id0_id1_0000.mp4",
        "Celeb-synthesis/Other/LIA/id0_id1_0000.mp4",
        "Celeb-synthesis/id0_id1_0000.mp4",
        "Celeb-synthesis/TalkingFace/LIA/id1_id0_0002.mp4",
    )
    rows, report = read(
        "celebdfpp",
        celebdfpp(tmp_path, *CDFPP, *strangers, "Celeb-synthesis/FaceSwap/UniFace/swap.mp4"),
    )
    assert len(rows) == 8 and rows["Celeb-synthesis/FaceSwap/UniFace/swap"]["target_id"] == ""
    assert report.disk_only == (
        "Celeb-synthesis/FaceSwap/Nobody",
        "Celeb-synthesis/Other",
        "Celeb-synthesis/TalkingFace/LIA",
        "Celeb-synthesis/id0_id1_0000.mp4",
    )
    assert [note.partition(",")[0] for note in report.notes] == [
        "4 folders or videos outside the 22 methods left out",
        "1 names not like id0_id1_0000 or id0_0000_test_x: pairs left empty",
    ]


def test_celebdfpp_is_not_celebdf2(tmp_path):
    make(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4")
    with pytest.raises(FileNotFoundError, match="without such folders, is the corpus celebdf2"):
        read("celebdfpp", tmp_path)
