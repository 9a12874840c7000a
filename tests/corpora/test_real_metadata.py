"""Names and rows as the real metadata of the corpora have them, in small trees of our own."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from deepfake_repro.corpora import ADAPTERS
from deepfake_repro.dataset.counts import OFFICIAL
from deepfake_repro.dataset.leakage import leakage
from deepfake_repro.methods.lnclip.pairing import source_videos
from support.benchmark_trees import make, read

FOLDER = "African/men/id00076"
FAV_FAKE = f"FakeVideo-FakeAudio/{FOLDER}/00109_2_wavtolip.mp4"


def fakeavceleb(tmp_path, *lines: str):
    header = "source,target1,target2,method,category,type,race,gender,path,"
    real = f"id00076,-,-,real,A,RealVideo-RealAudio,African,men,00109.mp4,F/{FOLDER}"
    return make(
        tmp_path,
        f"RealVideo-RealAudio/{FOLDER}/00109.mp4",
        FAV_FAKE,
        {"meta_data.csv": "\n".join([header, real, *lines])},
    )


def line(method: str, target: str) -> str:
    kind = "FakeVideo-FakeAudio"
    return f"id00076,{target},-,{method},D,{kind},African,men,00109_2_wavtolip.mp4,F/{FOLDER}"


def test_fakeavceleb_lists_a_fake_twice_and_the_first_method_counts(tmp_path):
    root = fakeavceleb(tmp_path, line("faceswap-wav2lip", "2"), line("wav2lip", "2"))
    rows, report = read("fakeavceleb", root)
    assert rows[FAV_FAKE.removesuffix(".mp4")]["manipulation"] == "faceswap-wav2lip"
    assert "1 lines of meta_data.csv name a file again: the first method is kept" in report.notes


@pytest.mark.parametrize(
    "target, donor", [("2", ""), ("0.mp4", ""), ("10", ""), ("-", ""), ("id00476", "id00476")]
)
def test_fakeavceleb_donor_is_an_identity_or_unknown(tmp_path, target, donor):
    rows, _ = read("fakeavceleb", fakeavceleb(tmp_path, line("wav2lip", target)))
    assert rows[FAV_FAKE.removesuffix(".mp4")]["source_id"] == donor


def test_fakeavceleb_two_donors_of_one_file(tmp_path):
    root = fakeavceleb(tmp_path, line("wav2lip", "id00001"), line("wav2lip", "id00002"))
    with pytest.raises(ValueError, match="is listed twice in FakeVideo-FakeAudio"):
        read("fakeavceleb", root)


@pytest.fixture
def forgery(tmp_path):
    """Forty pairs of reals, fakes of both directions by method 1, and one fake per real by 8,
    all of which share one outer folder.
    """
    names = []
    for pair in range(40):
        first, second = f"a{pair:02d}", f"b{pair:02d}"
        names += [f"16/{name}" for name in (first, second)]
        names += [f"1/{first}/{second}", f"1/{second}/{first}"]
        names += [f"8/shared/{name}" for name in (first, second)]
    return make(
        tmp_path, *(f"Training/video/train_video_release/{name}/video.mp4" for name in names)
    )


def test_forgerynet_derived_split_separates_no_fake_from_its_reals(forgery):
    table, report = ADAPTERS["forgerynet"].index(forgery)
    assert (table.groupby("group")["split"].nunique() == 1).all()
    assert (table.groupby("group").size() == 6).all() and table["group"].nunique() == 40
    split_of = table.set_index("video_id")["split"]
    fakes = table[table["label"] == 1]
    assert (fakes["pair_key"].map(split_of) == fakes["split"]).all()
    atvg = table[table["manipulation"] == "atvg-net"]
    assert set(atvg["split"]) == {"train", "val"}
    assert any("80 fakes of methods 1 to 6 name two reals" in note for note in report.notes)


def test_forgerynet_target_is_the_inner_folder(forgery):
    rows, _ = read("forgerynet", forgery)
    release = "Training/video/train_video_release"
    real = f"forgerynet/{release}/16/b03/video"
    swapped = rows[f"{release}/1/a03/b03/video"]
    driven = rows[f"{release}/8/shared/b03/video"]
    columns = ("target_id", "source_id", "pair_key")
    assert [swapped[name] for name in columns] == ["b03", "a03", real]
    assert [driven[name] for name in columns] == ["b03", "", real]


def test_forgerynet_in_leakage_and_pairing(forgery):
    table, _ = ADAPTERS["forgerynet"].index(forgery)
    facts = leakage(table).set_index("fact")
    assert facts.loc["groups in several splits", "count"] == 0
    assert facts.loc[
        "identities (target or donor) in several splits", ["count", "of"]
    ].tolist() == [
        0,
        80,
    ]
    rows = table[["video_id"]]
    assert Counter(source_videos(rows, table)).most_common(1)[0][1] == 3


def test_forgerynet_list_of_another_shape_beside_the_official_one(forgery):
    official = "1 train_video_release/16/a00/video.mp4 0 90 0 0 0 16\n"
    make(forgery, {"Training/video_list.txt": official})
    make(forgery, {"Training/video_list_complete.txt": "train_video_release/1/a/b/video.mp4,1\n"})
    _, report = read("forgerynet", forgery)
    assert "'Training/video_list_complete.txt' left out: not of the official shape" in report.notes


def df40(tmp_path, *names: str):
    listing = "1 Celeb-real/id0_0000.mp4\n1 YouTube-real/00170.mp4"
    return make(
        tmp_path,
        "Celeb-DF-v2/Celeb-real/frames/id0_0000/000.png",
        "Celeb-DF-v2/YouTube-real/frames/00170/000.png",
        *names,
        {"Celeb-DF-v2/List_of_testing_videos.txt": listing},
    )


def test_df40_archive_in_a_folder_of_its_own_name(tmp_path):
    rows, _ = read("df40", df40(tmp_path, "DF40/blendface/blendface/cdf/frames/00170/000.png"))
    assert rows["DF40/blendface/blendface/cdf/frames/00170"]["manipulation"] == "blendface"


@pytest.mark.parametrize(
    "name, source, real",
    [
        ("id0_0000", "", "Celeb-real/frames/id0_0000"),
        ("id0_id1_0000", "id1", "Celeb-real/frames/id0_0000"),
        ("00170", "", "YouTube-real/frames/00170"),
    ],
)
def test_df40_names_of_fakes(tmp_path, name, source, real):
    rows, _ = read("df40", df40(tmp_path, f"DF40/danet/cdf/frames/{name}/000.png"))
    fake = rows[f"DF40/danet/cdf/frames/{name}"]
    assert (fake["source_id"], fake["pair_key"]) == (source, f"df40/Celeb-DF-v2/{real}")


def test_df40_says_how_many_clips_are_empty_or_absent(tmp_path):
    listed = {name: {"frames": []} for name in ("id0_0000", "id0_id1_0000", "00170")}
    root = df40(
        tmp_path,
        "DF40/danet/cdf/frames/id0_0000/000.png",
        "DF40/danet/cdf/frames/00170/notes.txt",
        {"danet_cdf.json": json.dumps({"danet_cdf": {"danet_Fake": {"test": listed}}})},
    )
    notes = read("df40", root)[1].notes
    assert "clips without images: danet 1" in notes
    assert "clips listed in <method>_cdf.json but not on disk: danet 2" in notes


@pytest.mark.parametrize(
    "real, fake",
    [
        ("original_videos/videos/1_A_001.mp4", "method_A/videos/2_1_A_001.mp4"),
        ("original_videos/frames/1_A_001/000.png", "method_A/frames/2_1_A_001/000.png"),
        ("original_videos/1/1_A_001.MP4", "method_A/1/1_A/2_1_A_001.MP4"),
    ],
)
def test_dfdc_preview_with_further_levels(tmp_path, real, fake):
    content = {
        "original_videos/1/1_A_001.mp4": {"label": "real", "set": "test"},
        "method_A/1/1_A/2_1_A_001.mp4": {"label": "fake", "set": "test"},
    }
    root = make(tmp_path, real, fake, {"dataset.json": json.dumps(content)})
    rows, report = read("dfdcp", root)
    assert sorted(row["manipulation"] for row in rows.values()) == ["method_a", "real"]
    assert report.metadata_only == report.disk_only == ()
    assert [row["pair_key"] != "" for row in rows.values() if row["label"]] == [True]


def test_celeb_df_v1_is_not_v2(tmp_path):
    listing = "\n".join(f"1 Celeb-real/id{number}_0000.mp4" for number in range(100))
    root = make(
        tmp_path, "Celeb-synthesis/id0_id1_0000.mp4", {"List_of_testing_videos.txt": listing}
    )
    with pytest.raises(ValueError, match="lists 100 videos: this is Celeb-DF v1"):
        read("celebdf2", root)


def test_dfdc_upper_case_suffix_and_a_list_without_its_s(tmp_path):
    root = make(
        tmp_path,
        "test/a.MP4",
        "test/b.mp4",
        {"test/label.csv": "filename,label\na.mp4,0\nB.mp4,1\n"},
    )
    rows, report = read("dfdc", root)
    assert {name: row["label"] for name, row in rows.items()} == {"test/a": 0, "test/b": 1}
    assert report.metadata_only == report.disk_only == ()


def test_official_counts_of_a_benchmark_are_those_of_its_test_split():
    assert OFFICIAL["faceshifter"] == {("test", "real"): 140, ("test", "fake"): 140}
    assert OFFICIAL["ffpp"][("train", "fake")] == 3_600
