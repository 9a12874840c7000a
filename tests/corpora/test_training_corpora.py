"""The corpora that train, read from small trees in their official layouts."""

import json
from pathlib import Path

import pytest

from deepfake_repro.corpora import ADAPTERS
from deepfake_repro.corpora.adapters import forgerynet
from support.trees import FFPP_METHODS, FFPP_PAIRS, make, rows


def test_ffpp_counts_labels_and_pairs(ffpp):
    videos = rows("ffpp", ffpp)
    assert len(videos) == 36  # 12 per pair: 2 reals, 5 methods in both directions
    fake = videos["manipulated_sequences/NeuralTextures/c23/videos/071_054"]
    assert (fake["label"], fake["manipulation"], fake["category"]) == (1, "neuraltextures", "RE")
    assert (fake["target_id"], fake["source_id"], fake["split"]) == ("071", "054", "train")
    real = videos[fake["pair_key"].removeprefix("ffpp/")]
    assert real["video_id"] == "ffpp/original_sequences/youtube/c23/videos/071"
    assert (real["label"], real["manipulation"], real["group"]) == (0, "real", fake["group"])
    for split, pair in FFPP_PAIRS.items():
        assert {row["target_id"] for row in videos.values() if row["split"] == split} == set(pair)
    for folder, expected in FFPP_METHODS.items():
        these = [row for name, row in videos.items() if f"/{folder}/" in name]
        assert {(row["manipulation"], row["category"]) for row in these} == {expected} and len(
            these
        ) == 6


def test_ffpp_same_ids_from_the_parent_of_the_root(ffpp):
    from_parent = rows("ffpp", ffpp.parent)
    assert set(from_parent) == set(rows("ffpp", ffpp))
    assert all((ffpp.parent / row["path"]).is_file() for row in from_parent.values())


def test_ffpp_levels_are_not_mixed(ffpp):
    make(ffpp, ["original_sequences/youtube/c0/videos/071.mp4"])
    assert {row["compression"] for row in rows("ffpp", ffpp).values()} == {"c23"}
    assert [row["compression"] for row in rows("ffpp", ffpp, compression="raw").values()] == ["raw"]
    with pytest.raises(ValueError, match="compression 'c99' is not one of raw, c23, c40"):
        rows("ffpp", ffpp, compression="c99")


def test_ffpp_reports_both_sides(ffpp):
    (ffpp / "manipulated_sequences/FaceSwap/c23/videos/071_054.mp4").unlink()
    make(ffpp, ["original_sequences/youtube/c23/videos/999.mp4"])
    _, report = ADAPTERS["ffpp"].index(ffpp)
    assert report.indexed == 35
    assert report.metadata_only == ("faceswap/c23/071_054",)
    assert report.disk_only == ("original_sequences/youtube/c23/videos/999.mp4",)


def test_ffpp_splits_elsewhere_missing_or_contradictory(ffpp, tmp_path):
    (ffpp / "splits").rename(tmp_path / "clone")
    with pytest.raises(FileNotFoundError, match=r"'splits/train.json' is missing"):
        rows("ffpp", ffpp)
    assert len(rows("ffpp", ffpp, splits=tmp_path / "clone")) == 36
    make(tmp_path, {"clone/val.json": '[["071", "672"]]'})
    with pytest.raises(ValueError, match=r"sequence 071 is in two pairs, the second in val.json"):
        rows("ffpp", ffpp, splits=tmp_path / "clone")


def test_ffpp_stem_collision_is_an_error(ffpp):
    make(ffpp, ["original_sequences/youtube/c23/videos/071.avi"])
    with pytest.raises(ValueError, match=r"071.avi' and '071.mp4' are two files of one video"):
        rows("ffpp", ffpp)


def test_celebdf_labels_splits_and_pairs(celeb):
    videos = rows("celebdf2", celeb)
    assert {name: (row["label"], row["split"]) for name, row in videos.items()} == {
        "Celeb-real/id0_0000": (0, "test"),
        "Celeb-real/id1_0002": (0, "train"),
        "YouTube-real/00170": (0, "test"),
        "Celeb-synthesis/id0_id1_0000": (1, "test"),
        "Celeb-synthesis/id1_id0_0002": (1, "train"),
    }
    fake = videos["Celeb-synthesis/id1_id0_0002"]
    assert (fake["target_id"], fake["source_id"]) == ("id1", "id0")
    assert fake["pair_key"] == "celebdf2/Celeb-real/id1_0002"


def test_celebdf_with_videos_level_and_other_case(celeb):
    (celeb / "Youtube-real").mkdir()
    (celeb / "YouTube-real").rename(celeb / "Youtube-real" / "videos")
    videos = rows("celebdf2", celeb)
    assert videos["Youtube-real/videos/00170"]["split"] == "test" and len(videos) == 5


@pytest.mark.parametrize(
    "line, message",
    [
        ("0 YouTube-real/00170.mp4", "flag and folder disagree"),
        ("1 Celeb-synthesis/id0_id1_0000.mp4", "disagree"),
        ("YouTube-real/00170.mp4", "line 1"),
        ("1 Other/00170.mp4", "line 1"),
    ],
)
def test_celebdf_list_that_contradicts_the_folders(celeb, line, message):
    make(celeb, {"List_of_testing_videos.txt": line})
    with pytest.raises(ValueError, match=message):
        rows("celebdf2", celeb)


def test_celebdf_without_its_list(celeb):
    (celeb / "List_of_testing_videos.txt").unlink()
    with pytest.raises(
        FileNotFoundError,
        match=r"'List_of_testing_videos.txt' is missing; it decides the test split",
    ):
        rows("celebdf2", celeb)


@pytest.fixture
def dfdc(tmp_path) -> Path:
    """A training part, validation with labels.csv, and a test set in sub-folders with
    metadata.json.
    """
    return make(
        tmp_path / "DFDC",
        {
            **dict.fromkeys(
                (
                    "train/dfdc_train_part_0/awnfpubqmo.mp4",
                    "train/dfdc_train_part_0/lnhkjhyhvw.mp4",
                    "validation/aaaaaaaaaa.mp4",
                    "validation/bbbbbbbbbb.mp4",
                    "test/0/cccccccccc.mp4",
                    "test/1/dddddddddd.mp4",
                ),
                b"x",
            ),
            "train/dfdc_train_part_0/metadata.json": json.dumps(
                {
                    "awnfpubqmo.mp4": {
                        "label": "FAKE",
                        "split": "train",
                        "original": "lnhkjhyhvw.mp4",
                    },
                    "lnhkjhyhvw.mp4": {"label": "REAL", "split": "train", "original": None},
                    "gonegonego.mp4": {
                        "label": "FAKE",
                        "split": "train",
                        "original": "lnhkjhyhvw.mp4",
                    },
                }
            ),
            "validation/labels.csv": "filename,label\naaaaaaaaaa.mp4,0\nbbbbbbbbbb.mp4,1\n",
            "test/metadata.json": json.dumps(
                {"cccccccccc.mp4": {"is_fake": 1}, "dddddddddd.mp4": {"is_fake": 0}}
            ),
        },
    )


def test_dfdc_labels_splits_and_originals(dfdc):
    videos = rows("dfdc", dfdc)
    real, fake = (0, "real", "REAL"), (1, "dfdc_unknown", "FS")
    assert {
        name: (row["split"], (row["label"], row["manipulation"], row["category"]))
        for name, row in videos.items()
    } == {
        "train/dfdc_train_part_0/awnfpubqmo": ("train", fake),
        "train/dfdc_train_part_0/lnhkjhyhvw": ("train", real),
        "validation/aaaaaaaaaa": ("val", real),
        "validation/bbbbbbbbbb": ("val", fake),
        "test/0/cccccccccc": ("test", fake),
        "test/1/dddddddddd": ("test", real),
    }
    fake, real = (
        videos[f"train/dfdc_train_part_0/{name}"] for name in ("awnfpubqmo", "lnhkjhyhvw")
    )
    assert (fake["pair_key"], fake["group"]) == (real["video_id"], real["group"])
    assert ADAPTERS["dfdc"].index(dfdc)[1].metadata_only == ("dfdc_train_part_0/gonegonego.mp4",)


def test_dfdc_other_layouts(dfdc, tmp_path):
    assert {row["split"] for row in rows("dfdc", dfdc / "train").values()} == {"train"}
    alone = make(
        tmp_path / "sbi", {"videos/x.mp4": b"x", "labels.csv": "filename,label\nx.mp4,1\n"}
    )
    assert [(row["split"], row["label"]) for row in rows("dfdc", alone).values()] == [("test", 1)]


def test_dfdc_missing_contradictory_or_broken_metadata(dfdc):
    make(dfdc, {"test/labels.csv": "filename,label\ncccccccccc.mp4,0\n"})
    with pytest.raises(ValueError, match=r"'cccccccccc.mp4' has two labels"):
        rows("dfdc", dfdc)
    make(dfdc, {"test/labels.csv": "filename,label\ncccccccccc.mp4,yes\n"})
    with pytest.raises(ValueError, match="has label 'yes'"):
        rows("dfdc", dfdc)
    (dfdc / "test/labels.csv").unlink()
    make(dfdc, {"train/dfdc_train_part_1/eeeeeeeeee.mp4": b"x"})
    with pytest.raises(FileNotFoundError, match=r"dfdc_train_part_1/metadata.json"):
        rows("dfdc", dfdc)
    make(dfdc, {"train/dfdc_train_part_1/metadata.json": "{"})
    with pytest.raises(ValueError, match=r"'dfdc_train_part_1/metadata.json' is broken"):
        rows("dfdc", dfdc)


def test_dfdc_stem_in_two_parts(dfdc):
    make(
        dfdc,
        {
            "train/dfdc_train_part_1/awnfpubqmo.mp4": b"x",
            "train/dfdc_train_part_1/metadata.json": "{}",
        },
    )
    with pytest.raises(
        ValueError, match=r"'awnfpubqmo.mp4' is in both 'dfdc_train_part_0' and 'dfdc_train_part_1'"
    ):
        rows("dfdc", dfdc)


FAV_HEADER = "source,target1,target2,method,category,type,race,gender,path,\n"


def fav_row(
    kind: str, method: str, letter: str, name: str, donor: str = "-", identity: str = "id00076"
) -> str:
    folder = f"FakeAVCeleb/{kind}/African/men/{identity}"
    return f"{identity},{donor},-,{method},{letter},{kind},African,men,{name},{folder}\n"


@pytest.fixture
def fav(tmp_path) -> Path:
    """A doubled folder, the malformed header, one file name under two types."""
    entries = [
        ("RealVideo-RealAudio", "real", "A", "00109.mp4"),
        ("RealVideo-FakeAudio", "rtvc", "B", "00109_fake.mp4"),
        ("FakeVideo-RealAudio", "wav2lip", "C", "00109_1_id00476_wavtolip.mp4", "id00476"),
        ("FakeVideo-FakeAudio", "fsgan-wav2lip", "D", "00109_1_id00476_wavtolip.mp4", "id00476"),
    ]
    inner = tmp_path / "FakeAVCeleb_v1.2" / "FakeAVCeleb_v1.2"
    make(inner, [f"{kind}/African/men/id00076/{name}" for kind, _, _, name, *_ in entries])
    make(inner, {"meta_data.csv": FAV_HEADER + "".join(fav_row(*entry) for entry in entries)})
    return inner.parent


def test_fakeavceleb_methods_pairs_and_the_dropped_type(fav):
    videos = rows("fakeavceleb", fav)
    person = "African/men/id00076"
    assert {
        name: (row["label"], row["manipulation"], row["category"]) for name, row in videos.items()
    } == {
        f"RealVideo-RealAudio/{person}/00109": (0, "real", "REAL"),
        f"FakeVideo-RealAudio/{person}/00109_1_id00476_wavtolip": (1, "wav2lip", "RE"),
        f"FakeVideo-FakeAudio/{person}/00109_1_id00476_wavtolip": (1, "fsgan-wav2lip", "FS"),
    }
    fake = videos[f"FakeVideo-FakeAudio/{person}/00109_1_id00476_wavtolip"]
    assert fake["pair_key"] == f"fakeavceleb/RealVideo-RealAudio/{person}/00109"
    assert (fake["target_id"], fake["source_id"], fake["group"]) == (
        "id00076",
        "id00476",
        "id00076",
    )
    assert (fav / fake["path"]).is_file()
    other = rows("fakeavceleb", fav, composite_category="RE")
    assert other[f"FakeVideo-FakeAudio/{person}/00109_1_id00476_wavtolip"]["category"] == "RE"
    assert "1 RealVideo-FakeAudio videos left out" in ADAPTERS["fakeavceleb"].index(fav)[1].notes[0]


def test_fakeavceleb_identity_stays_in_one_split(fav):
    inner = fav / "FakeAVCeleb_v1.2"
    text = FAV_HEADER
    for number in range(60):
        identity = f"id{number:05d}"
        for kind, method, letter, name in (
            ("RealVideo-RealAudio", "real", "A", "1.mp4"),
            ("FakeVideo-RealAudio", "fsgan", "C", "1_fsgan.mp4"),
        ):
            make(inner, [f"{kind}/African/men/{identity}/{name}"])
            text += fav_row(kind, method, letter, name, identity=identity)
    make(inner, {"meta_data.csv": text})
    table, report = ADAPTERS["fakeavceleb"].index(fav)
    assert table.groupby("group")["split"].nunique().eq(1).all() and set(table["split"]) == {
        "train",
        "val",
        "test",
    }
    assert len(report.disk_only) == 3  # id00076's, now unlisted
    moved = ADAPTERS["fakeavceleb"].index(fav, seed=1)[0]
    assert (moved["split"] != table["split"]).any()


def test_fakeavceleb_refuses_wrong_metadata(fav):
    path = fav / "FakeAVCeleb_v1.2" / "meta_data.csv"
    path.write_text(FAV_HEADER + fav_row("RealVideo-RealAudio", "wav2lip", "A", "00109.mp4"))
    with pytest.raises(
        ValueError, match="line 2: method 'wav2lip' does not belong in RealVideo-RealAudio"
    ):
        rows("fakeavceleb", fav)
    path.write_text(FAV_HEADER + "id00076,-,real\n")
    with pytest.raises(ValueError, match="line 2 has 3 cells; expected 10"):
        rows("fakeavceleb", fav)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"'meta_data.csv' is missing"):
        rows("fakeavceleb", fav)


@pytest.fixture
def forgery(tmp_path) -> Path:
    """Training with folders 2 and 16 and 6, of which the list omits 2; validation with a partly
    forged video.
    """
    return make(
        tmp_path / "ForgeryNet",
        {
            **dict.fromkeys(
                (
                    "Training/video/train_video_release/2/o2/i2/video.mp4",
                    "Training/video/train_video_release/6/o6/i6/video.mp4",
                    "Training/video/train_video_release/16/r1/video.mp4",
                    "Validation/video/val_video_release/4/7f89/718e/video.mp4",
                    "Validation/video/val_video_release/19/r2/video.mp4",
                ),
                b"x",
            ),
            "Training/video_list.txt": "1 train_video_release/6/o6/i6/video.mp4 0 90 1 1 2 6\n"
            "1 train_video_release/16/r1/video.mp4 0 90 0 1 0 16\n",
            "Validation/video_list.txt": "3 val_video_release/4/7f89/718e/video.mp4 "
            "0 10 0 10 35 1 45 30 0 1 2 4\n"
            "1 val_video_release/19/gone/video.mp4 0 5 0 0 0 19\n",
        },
    )


def test_forgerynet_labels_from_folders(forgery):
    table, report = ADAPTERS["forgerynet"].index(forgery)
    videos = {row["attrs"]: row for row in table.to_dict("records")}
    by_folder = {json.loads(attrs)["folder"]: row for attrs, row in videos.items()}
    assert {
        n: (row["label"], row["manipulation"], row["category"]) for n, row in by_folder.items()
    } == {
        2: (1, "fs-gan", "FS"),
        6: (1, "deepfakes-stargan-stack", "RE"),
        16: (0, "real", "REAL"),
        4: (1, "blendface", "FS"),
        19: (0, "real", "REAL"),
    }
    assert by_folder[4]["split"] == by_folder[19]["split"] == "test"
    assert by_folder[2]["split"] == forgerynet.split_of("i2") and by_folder[16][
        "split"
    ] == forgerynet.split_of("r1")
    assert json.loads(by_folder[4]["attrs"])["segments"] == [[0, 10, 0], [10, 35, 1], [45, 30, 0]]
    assert report.metadata_only == ("val_video_release/19/gone/video.mp4",)
    assert set(report.disk_only) == {
        "train_video_release/2/o2/i2/video.mp4",
        "val_video_release/19/r2/video.mp4",
    }
    assert (
        "1 lines of video_list.txt contradict their folder" in report.notes
    )  # r1 is listed as fake


def test_forgerynet_choices_and_a_broken_line(forgery):
    triple = ADAPTERS["forgerynet"].index(forgery, categories="triple")[0]
    assert set(triple["category"]) == {"FS", "REAL"}
    everything = ADAPTERS["forgerynet"].index(forgery, validation=1.0)[0]
    assert set(everything["split"]) == {"val", "test"}
    make(
        forgery,
        {"Training/video_list.txt": "2 train_video_release/6/o6/i6/video.mp4 0 90 1 1 2 6\n"},
    )
    with pytest.raises(ValueError, match=r"'Training/video_list.txt' line 1: expected"):
        rows("forgerynet", forgery)
