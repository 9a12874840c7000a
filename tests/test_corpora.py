"""Adapters on hand-made miniatures of the official layouts, one per corpus, with each corpus's quirks."""

import csv
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from deepfake_repro.corpora import ADAPTERS, PAPER, index_corpora
from deepfake_repro.corpora.adapters import fakeavceleb, forgerynet
from deepfake_repro.corpora.adapters.df40 import METHODS as df40_methods
from deepfake_repro.corpora.files import descend, hash_split, read_csv, videos_below
from deepfake_repro.corpora.schema import COLUMNS, Video, index_table


def make(root: Path, files: Mapping[str, str | bytes] | list[str]) -> Path:
    """Write the files under ``root``; a bare list of names gives one byte each."""
    for name, content in (files if isinstance(files, Mapping) else dict.fromkeys(files, b"x")).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def rows(corpus: str, root: Path, **options: object) -> dict[str, dict]:
    """The index by ``video_id`` without the dataset's name."""
    table, _ = ADAPTERS[corpus].index(root, **options)
    return {row["video_id"].partition("/")[2]: row for row in table.to_dict("records")}


def video(**changes: object) -> Video:
    """A valid real row with some fields changed."""
    return Video(**{**dict(video_id="x/a", path="a.mp4", kind="video", label=0, manipulation="real", category="REAL",
                           dataset="x", split="test", split_source="user"), **changes})


# ---- schema and files


def test_index_table_sorts_and_clears_pairs_that_are_absent():
    fake = dict(label=1, manipulation="deepfakes", category="FS")
    table = index_table([video(video_id="x/c", path="c", pair_key="x/gone", **fake),
                         video(video_id="x/b", path="b", pair_key="x/a", **fake), video()])
    assert list(table.columns) == list(COLUMNS)
    assert table["video_id"].tolist() == ["x/a", "x/b", "x/c"]
    assert table["pair_key"].tolist() == ["", "x/a", ""]
    assert table["label"].dtype == "int64"


@pytest.mark.parametrize("second, message", [
    (dict(video_id="x/a", path="b.mp4"), "listed twice"),
    (dict(video_id="x/a", path="b.mp4", label=1, category="FS"), "two labels"),
    (dict(video_id="x/b", label=1, category="FS"), "two labels"),
    (dict(video_id="x/b", path="b", label=1), "contradicts category REAL"),
    (dict(video_id="x/b", path="b", label=2), "label '2'"),
    (dict(video_id="x/b", path="b", split="dev"), "split 'dev'"),
])
def test_index_table_refuses(second, message):
    with pytest.raises(ValueError, match=message):
        index_table([video(), video(**second)])


def test_scan_skips_what_is_no_video(tmp_path):
    make(tmp_path, ["a/x.mp4", "a/._x.mp4", "a/.DS_Store", "a/y.mp4.part", "a/z.txt", "__MACOSX/q.mp4", "b/Y.MOV"])
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
    assert read_csv(tmp_path / "x.csv") == [{"path": "a", "label": "real\nreally"}, {"path": "c", "label": ""}]
    make(tmp_path, {"y.csv": "path\na,b\n"})
    with pytest.raises(ValueError, match="'y.csv' line 2: 2 cells for 1 columns"):
        read_csv(tmp_path / "y.csv")


# ---- FaceForensics++

FFPP_METHODS = {"Deepfakes": ("deepfakes", "FS"), "Face2Face": ("face2face", "RE"), "FaceSwap": ("faceswap", "FS"),
                "NeuralTextures": ("neuraltextures", "RE"), "FaceShifter": ("faceshifter", "FS")}
FFPP_PAIRS = {"train": ("071", "054"), "val": ("720", "672"), "test": ("953", "974")}


@pytest.fixture
def ffpp(tmp_path) -> Path:
    """One pair a split, in a root whose name says fake twice, as a label by substring would have it."""
    root = tmp_path / "deepfake" / "fake_looking"
    for split, (a, b) in FFPP_PAIRS.items():
        make(root, [f"original_sequences/youtube/c23/videos/{name}.mp4" for name in (a, b)])
        make(root, [f"manipulated_sequences/{method}/c23/videos/{name}.mp4" for method in FFPP_METHODS
                    for name in (f"{a}_{b}", f"{b}_{a}")])
        make(root, {f"splits/{split}.json": json.dumps([[a, b]])})
    return root


def test_ffpp_counts_labels_and_pairs(ffpp):
    found = rows("ffpp", ffpp)
    assert len(found) == 36  # 12 per pair: 2 reals, 5 methods in both directions
    fake = found["manipulated_sequences/NeuralTextures/c23/videos/071_054"]
    assert (fake["label"], fake["manipulation"], fake["category"]) == (1, "neuraltextures", "RE")
    assert (fake["target_id"], fake["source_id"], fake["split"]) == ("071", "054", "train")
    real = found[fake["pair_key"].removeprefix("ffpp/")]
    assert real["video_id"] == "ffpp/original_sequences/youtube/c23/videos/071"
    assert (real["label"], real["manipulation"], real["group"]) == (0, "real", fake["group"])
    for split, pair in FFPP_PAIRS.items():
        assert {row["target_id"] for row in found.values() if row["split"] == split} == set(pair)
    for folder, expected in FFPP_METHODS.items():
        these = [row for name, row in found.items() if f"/{folder}/" in name]
        assert {(row["manipulation"], row["category"]) for row in these} == {expected} and len(these) == 6


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
    assert report.found == 35
    assert report.metadata_only == ("faceswap/c23/071_054",)
    assert report.disk_only == ("original_sequences/youtube/c23/videos/999.mp4",)


def test_ffpp_splits_elsewhere_missing_or_contradictory(ffpp, tmp_path):
    (ffpp / "splits").rename(tmp_path / "clone")
    with pytest.raises(FileNotFoundError, match="'splits/train.json' is missing"):
        rows("ffpp", ffpp)
    assert len(rows("ffpp", ffpp, splits=tmp_path / "clone")) == 36
    make(tmp_path, {"clone/val.json": '[["071", "672"]]'})
    with pytest.raises(ValueError, match="sequence 071 is in two pairs, the second in val.json"):
        rows("ffpp", ffpp, splits=tmp_path / "clone")


def test_ffpp_stem_collision_is_an_error(ffpp):
    make(ffpp, ["original_sequences/youtube/c23/videos/071.avi"])
    with pytest.raises(ValueError, match="071.avi' and '071.mp4' are two files of one video"):
        rows("ffpp", ffpp)


# ---- Celeb-DF


@pytest.fixture
def celeb(tmp_path) -> Path:
    """A test pair, a training pair and a YouTube real; the list is inverted and ends without a line break."""
    return make(tmp_path / "Celeb-DF-v2", {
        **dict.fromkeys(("Celeb-real/id0_0000.mp4", "Celeb-real/id1_0002.mp4", "YouTube-real/00170.mp4",
                         "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id1_id0_0002.mp4"), b"x"),
        "List_of_testing_videos.txt": "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"
                                      "1 Celeb-real/id0_0000.mp4"})


def test_celebdf_labels_splits_and_pairs(celeb):
    found = rows("celebdf2", celeb)
    assert {name: (row["label"], row["split"]) for name, row in found.items()} == {
        "Celeb-real/id0_0000": (0, "test"), "Celeb-real/id1_0002": (0, "train"), "YouTube-real/00170": (0, "test"),
        "Celeb-synthesis/id0_id1_0000": (1, "test"), "Celeb-synthesis/id1_id0_0002": (1, "train")}
    fake = found["Celeb-synthesis/id1_id0_0002"]
    assert (fake["target_id"], fake["source_id"]) == ("id1", "id0")
    assert fake["pair_key"] == "celebdf2/Celeb-real/id1_0002"


def test_celebdf_with_videos_level_and_other_case(celeb):
    (celeb / "Youtube-real").mkdir()
    (celeb / "YouTube-real").rename(celeb / "Youtube-real" / "videos")
    found = rows("celebdf2", celeb)
    assert found["Youtube-real/videos/00170"]["split"] == "test" and len(found) == 5


@pytest.mark.parametrize("line, message", [
    ("0 YouTube-real/00170.mp4", "flag and folder disagree"), ("1 Celeb-synthesis/id0_id1_0000.mp4", "disagree"),
    ("YouTube-real/00170.mp4", "line 1"), ("1 Other/00170.mp4", "line 1"),
])
def test_celebdf_list_that_contradicts_the_folders(celeb, line, message):
    make(celeb, {"List_of_testing_videos.txt": line})
    with pytest.raises(ValueError, match=message):
        rows("celebdf2", celeb)


def test_celebdf_without_its_list(celeb):
    (celeb / "List_of_testing_videos.txt").unlink()
    with pytest.raises(FileNotFoundError, match="'List_of_testing_videos.txt' is missing; it decides the test split"):
        rows("celebdf2", celeb)


# ---- DFDC


@pytest.fixture
def dfdc(tmp_path) -> Path:
    """A training part, validation with labels.csv, and a test set in sub-folders with metadata.json."""
    return make(tmp_path / "DFDC", {
        **dict.fromkeys(("train/dfdc_train_part_0/awnfpubqmo.mp4", "train/dfdc_train_part_0/lnhkjhyhvw.mp4",
                         "validation/aaaaaaaaaa.mp4", "validation/bbbbbbbbbb.mp4",
                         "test/0/cccccccccc.mp4", "test/1/dddddddddd.mp4"), b"x"),
        "train/dfdc_train_part_0/metadata.json": json.dumps({
            "awnfpubqmo.mp4": {"label": "FAKE", "split": "train", "original": "lnhkjhyhvw.mp4"},
            "lnhkjhyhvw.mp4": {"label": "REAL", "split": "train", "original": None},
            "gonegonego.mp4": {"label": "FAKE", "split": "train", "original": "lnhkjhyhvw.mp4"}}),
        "validation/labels.csv": "filename,label\naaaaaaaaaa.mp4,0\nbbbbbbbbbb.mp4,1\n",
        "test/metadata.json": json.dumps({"cccccccccc.mp4": {"is_fake": 1}, "dddddddddd.mp4": {"is_fake": 0}})})


def test_dfdc_labels_splits_and_originals(dfdc):
    found = rows("dfdc", dfdc)
    real, fake = (0, "real", "REAL"), (1, "dfdc_unknown", "FS")
    assert {name: (row["split"], (row["label"], row["manipulation"], row["category"]))
            for name, row in found.items()} == {
        "train/dfdc_train_part_0/awnfpubqmo": ("train", fake), "train/dfdc_train_part_0/lnhkjhyhvw": ("train", real),
        "validation/aaaaaaaaaa": ("val", real), "validation/bbbbbbbbbb": ("val", fake),
        "test/0/cccccccccc": ("test", fake), "test/1/dddddddddd": ("test", real)}
    fake, real = (found[f"train/dfdc_train_part_0/{name}"] for name in ("awnfpubqmo", "lnhkjhyhvw"))
    assert (fake["pair_key"], fake["group"]) == (real["video_id"], real["group"])
    assert ADAPTERS["dfdc"].index(dfdc)[1].metadata_only == ("dfdc_train_part_0/gonegonego.mp4",)


def test_dfdc_other_layouts(dfdc, tmp_path):
    assert {row["split"] for row in rows("dfdc", dfdc / "train").values()} == {"train"}
    alone = make(tmp_path / "sbi", {"videos/x.mp4": b"x", "labels.csv": "filename,label\nx.mp4,1\n"})
    assert [(row["split"], row["label"]) for row in rows("dfdc", alone).values()] == [("test", 1)]


def test_dfdc_missing_contradictory_or_broken_metadata(dfdc):
    make(dfdc, {"test/labels.csv": "filename,label\ncccccccccc.mp4,0\n"})
    with pytest.raises(ValueError, match="'cccccccccc.mp4' has two labels"):
        rows("dfdc", dfdc)
    make(dfdc, {"test/labels.csv": "filename,label\ncccccccccc.mp4,yes\n"})
    with pytest.raises(ValueError, match="has label 'yes'"):
        rows("dfdc", dfdc)
    (dfdc / "test/labels.csv").unlink()
    make(dfdc, {"train/dfdc_train_part_1/eeeeeeeeee.mp4": b"x"})
    with pytest.raises(FileNotFoundError, match="dfdc_train_part_1/metadata.json"):
        rows("dfdc", dfdc)
    make(dfdc, {"train/dfdc_train_part_1/metadata.json": "{"})
    with pytest.raises(ValueError, match="'dfdc_train_part_1/metadata.json' is broken"):
        rows("dfdc", dfdc)


def test_dfdc_stem_in_two_parts(dfdc):
    make(dfdc, {"train/dfdc_train_part_1/awnfpubqmo.mp4": b"x", "train/dfdc_train_part_1/metadata.json": "{}"})
    with pytest.raises(ValueError, match="'awnfpubqmo.mp4' lies in 'dfdc_train_part_0' and 'dfdc_train_part_1'"):
        rows("dfdc", dfdc)


# ---- FakeAVCeleb

FAV_HEADER = "source,target1,target2,method,category,type,race,gender,path,\n"


def fav_row(kind: str, method: str, letter: str, name: str, donor: str = "-", identity: str = "id00076") -> str:
    folder = f"FakeAVCeleb/{kind}/African/men/{identity}"
    return f"{identity},{donor},-,{method},{letter},{kind},African,men,{name},{folder}\n"


@pytest.fixture
def fav(tmp_path) -> Path:
    """A doubled folder, the malformed header, one file name under two types."""
    entries = [("RealVideo-RealAudio", "real", "A", "00109.mp4"),
               ("RealVideo-FakeAudio", "rtvc", "B", "00109_fake.mp4"),
               ("FakeVideo-RealAudio", "wav2lip", "C", "00109_1_id00476_wavtolip.mp4", "id00476"),
               ("FakeVideo-FakeAudio", "fsgan-wav2lip", "D", "00109_1_id00476_wavtolip.mp4", "id00476")]
    inner = tmp_path / "FakeAVCeleb_v1.2" / "FakeAVCeleb_v1.2"
    make(inner, [f"{kind}/African/men/id00076/{name}" for kind, _, _, name, *_ in entries])
    make(inner, {"meta_data.csv": FAV_HEADER + "".join(fav_row(*entry) for entry in entries)})
    return inner.parent


def test_fakeavceleb_methods_pairs_and_the_dropped_type(fav):
    found = rows("fakeavceleb", fav)
    place = "African/men/id00076"
    assert {name: (row["label"], row["manipulation"], row["category"]) for name, row in found.items()} == {
        f"RealVideo-RealAudio/{place}/00109": (0, "real", "REAL"),
        f"FakeVideo-RealAudio/{place}/00109_1_id00476_wavtolip": (1, "wav2lip", "RE"),
        f"FakeVideo-FakeAudio/{place}/00109_1_id00476_wavtolip": (1, "fsgan-wav2lip", "FS")}
    fake = found[f"FakeVideo-FakeAudio/{place}/00109_1_id00476_wavtolip"]
    assert fake["pair_key"] == f"fakeavceleb/RealVideo-RealAudio/{place}/00109"
    assert (fake["target_id"], fake["source_id"], fake["group"]) == ("id00076", "id00476", "id00076")
    assert (fav / fake["path"]).is_file()
    other = rows("fakeavceleb", fav, composite_category="RE")
    assert other[f"FakeVideo-FakeAudio/{place}/00109_1_id00476_wavtolip"]["category"] == "RE"
    assert "1 RealVideo-FakeAudio videos left out" in ADAPTERS["fakeavceleb"].index(fav)[1].notes[0]


def test_fakeavceleb_identity_stays_in_one_split(fav):
    inner = fav / "FakeAVCeleb_v1.2"
    text = FAV_HEADER
    for number in range(60):
        identity = f"id{number:05d}"
        for kind, method, letter, name in (("RealVideo-RealAudio", "real", "A", "1.mp4"),
                                           ("FakeVideo-RealAudio", "fsgan", "C", "1_fsgan.mp4")):
            make(inner, [f"{kind}/African/men/{identity}/{name}"])
            text += fav_row(kind, method, letter, name, identity=identity)
    make(inner, {"meta_data.csv": text})
    table, report = ADAPTERS["fakeavceleb"].index(fav)
    assert table.groupby("group")["split"].nunique().eq(1).all() and set(table["split"]) == {"train", "val", "test"}
    assert len(report.disk_only) == 3  # id00076's, now unlisted
    moved = ADAPTERS["fakeavceleb"].index(fav, seed=1)[0]
    assert (moved["split"] != table["split"]).any()


def test_fakeavceleb_refuses_wrong_metadata(fav):
    path = fav / "FakeAVCeleb_v1.2" / "meta_data.csv"
    path.write_text(FAV_HEADER + fav_row("RealVideo-RealAudio", "wav2lip", "A", "00109.mp4"))
    with pytest.raises(ValueError, match="line 2: method 'wav2lip' does not belong in RealVideo-RealAudio"):
        rows("fakeavceleb", fav)
    path.write_text(FAV_HEADER + "id00076,-,real\n")
    with pytest.raises(ValueError, match="line 2 has 3 cells; expected 10"):
        rows("fakeavceleb", fav)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="'meta_data.csv' is missing"):
        rows("fakeavceleb", fav)


# ---- ForgeryNet


@pytest.fixture
def forgery(tmp_path) -> Path:
    """Training with folders 2 and 16 and 6, of which the list omits 2; validation with a partly forged video."""
    return make(tmp_path / "ForgeryNet", {
        **dict.fromkeys(("Training/video/train_video_release/2/o2/i2/video.mp4",
                         "Training/video/train_video_release/6/o6/i6/video.mp4",
                         "Training/video/train_video_release/16/r1/video.mp4",
                         "Validation/video/val_video_release/4/7f89/718e/video.mp4",
                         "Validation/video/val_video_release/19/r2/video.mp4"), b"x"),
        "Training/video_list.txt": "1 train_video_release/6/o6/i6/video.mp4 0 90 1 1 2 6\n"
                                   "1 train_video_release/16/r1/video.mp4 0 90 0 1 0 16\n",
        "Validation/video_list.txt": "3 val_video_release/4/7f89/718e/video.mp4 0 10 0 10 35 1 45 30 0 1 2 4\n"
                                     "1 val_video_release/19/gone/video.mp4 0 5 0 0 0 19\n"})


def test_forgerynet_labels_from_folders(forgery):
    table, report = ADAPTERS["forgerynet"].index(forgery)
    found = {row["attrs"]: row for row in table.to_dict("records")}
    by_folder = {json.loads(attrs)["folder"]: row for attrs, row in found.items()}
    assert {n: (row["label"], row["manipulation"], row["category"]) for n, row in by_folder.items()} == {
        2: (1, "fs-gan", "FS"), 6: (1, "deepfakes-stargan-stack", "RE"), 16: (0, "real", "REAL"),
        4: (1, "blendface", "FS"), 19: (0, "real", "REAL")}
    assert by_folder[4]["split"] == by_folder[19]["split"] == "test"
    assert by_folder[2]["split"] == forgerynet.split_of("o2") and by_folder[16]["split"] == forgerynet.split_of("r1")
    assert json.loads(by_folder[4]["attrs"])["segments"] == [[0, 10, 0], [10, 35, 1], [45, 30, 0]]
    assert report.metadata_only == ("val_video_release/19/gone/video.mp4",)
    assert set(report.disk_only) == {"train_video_release/2/o2/i2/video.mp4", "val_video_release/19/r2/video.mp4"}
    assert "1 lines of video_list.txt contradict their folder" in report.notes  # r1 is listed as fake


def test_forgerynet_choices_and_a_broken_line(forgery):
    triple = ADAPTERS["forgerynet"].index(forgery, categories="triple")[0]
    assert set(triple["category"]) == {"FS", "REAL"}
    everything = ADAPTERS["forgerynet"].index(forgery, validation=1.0)[0]
    assert set(everything["split"]) == {"val", "test"}
    make(forgery, {"Training/video_list.txt": "2 train_video_release/6/o6/i6/video.mp4 0 90 1 1 2 6\n"})
    with pytest.raises(ValueError, match="'Training/video_list.txt' line 1: expected"):
        rows("forgerynet", forgery)


# ---- DF40


@pytest.fixture
def df40(tmp_path) -> Path:
    """Two methods under their own and another name, one outside the paper, three reals of which two are test."""
    return make(tmp_path / "download", {
        **dict.fromkeys(("DF40/simswap/cdf/frames/id0_id1_0000/000.png", "DF40/MRAA/cdf/frames/00170/000.png",
                         "DF40/inswapper/cdf/frames/id0_id2_0000/000.png", "DF40/simswap/ff/frames/071_054/000.png",
                         "DF40/heygen/fake/x/000.png", "DF40/simswap/cdf/frames/id9_id1_0000/notes.txt",
                         "Celeb-DF-v2/Celeb-real/frames/id0_0000/000.png",
                         "Celeb-DF-v2/Celeb-real/frames/id5_0000/000.png",
                         "Celeb-DF-v2/YouTube-real/frames/00170/000.png"), b"x"),
        "Celeb-DF-v2/List_of_testing_videos.txt": "1 Celeb-real/id0_0000.mp4\n1 YouTube-real/00170.mp4\n"
                                                  "0 Celeb-synthesis/id0_id1_0000.mp4"})


def test_df40_methods_reals_and_pairs(df40):
    found = rows("df40", df40)
    assert {name: (row["manipulation"], row["category"], row["label"], row["pair_key"].rpartition("/")[2])
            for name, row in found.items()} == {
        "Celeb-DF-v2/Celeb-real/frames/id0_0000": ("real", "REAL", 0, ""),
        "Celeb-DF-v2/YouTube-real/frames/00170": ("real", "REAL", 0, ""),
        "DF40/simswap/cdf/frames/id0_id1_0000": ("simswap", "FS", 1, "id0_0000"),
        "DF40/inswapper/cdf/frames/id0_id2_0000": ("inswap", "FS", 1, "id0_0000"),
        "DF40/MRAA/cdf/frames/00170": ("mraa", "RE", 1, "00170")}
    assert {(row["kind"], row["split"]) for row in found.values()} == {("frames", "test")}
    assert "heygen" in ADAPTERS["df40"].index(df40)[1].notes[0]


def test_df40_without_list_or_without_reals(df40):
    (df40 / "Celeb-DF-v2/List_of_testing_videos.txt").unlink()
    table, report = ADAPTERS["df40"].index(df40)
    assert (table["label"] == 0).sum() == 3 and "all 3 reals are taken for test reals" in report.notes[0]
    make(df40, {"Celeb-DF-v2/List_of_testing_videos.txt": "1 Celeb-real/id77_0000.mp4"})
    with pytest.raises(FileNotFoundError, match="df40: no real under"):
        rows("df40", df40)


def test_df40_counts_of_methods():
    assert [list(df40_methods.values()).count(category) for category in ("FS", "RE")] == [9, 12]


# ---- WildDeepfake


def tar_bytes(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    return buffer.getvalue()


@pytest.mark.parametrize("between", ["_", " ", "-"])
def test_wilddeepfake_archives_and_folder_names(tmp_path, between):
    root = make(tmp_path / "deepfake_in_the_wild", {
        f"real{between}train/1.tar.gz": tar_bytes(["./1/real/131/3.png", "./1/real/131/17.png", "./1/real/7/0.png"]),
        f"fake{between}test/1.tar.gz": tar_bytes(["./1/fake/131/3.png", "./1/fake/131/._3.png"])})
    found = rows("wilddeepfake", tmp_path)
    assert {name: (row["label"], row["category"]) for name, row in found.items()} == {
        "real_train/1/131": (0, "REAL"), "real_train/1/7": (0, "REAL"), "fake_test/1/131": (1, "UNK")}
    row = found["real_train/1/131"]
    assert row["path"] == f"{root.name}/real{between}train/1.tar.gz!1/real/131" and row["split"] == "test"
    assert json.loads(row["attrs"]) == {"every": 10, "fold": "train"}


def test_wilddeepfake_extracted_has_the_same_ids_and_both_at_once_is_an_error(tmp_path):
    make(tmp_path, ["real_train/1/real/131/3.png"])
    assert list(rows("wilddeepfake", tmp_path)) == ["real_train/1/131"]
    make(tmp_path, {"real_train/1.tar.gz": tar_bytes(["./1/real/131/3.png"])})
    with pytest.raises(ValueError, match="real_train/1/131: listed twice"):
        rows("wilddeepfake", tmp_path)


def test_wilddeepfake_inner_folder_must_agree(tmp_path):
    make(tmp_path, {"real_train/1.tar.gz": tar_bytes(["./1/fake/131/3.png"])})
    with pytest.raises(ValueError, match="expected '<shard>/real/<sequence>'"):
        rows("wilddeepfake", tmp_path)
    make(tmp_path, {"real_train/1.tar.gz": b"this is no archive"})
    with pytest.raises(ValueError, match="'1.tar.gz' in 'real_train' is no readable tar"):
        rows("wilddeepfake", tmp_path)


# ---- Deepfake-Eval-2024


def dfeval_csv(entries: list[tuple[str, str]], header: str = "Filename,Date,Video Ground Truth,Audio Ground Truth,"
               "Public Comments,Finetuning Set") -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([name, "2024-02-03", truth, "Fake", "two\nlines, a comma", "train"]
                                 for name, truth in entries)
    return f"\ufeff{header}\n{buffer.getvalue()}"


def test_dfeval_drops_unknown_and_ignores_audio(tmp_path):
    make(tmp_path, ["video-data/a.mp4", "video-data/b.webm", "video-data/c.mp4", "video-data/unlisted.mp4"])
    make(tmp_path, {"video-metadata-publish.csv": dfeval_csv(
        [("a.mp4", "Real"), ("b.webm", "Fake"), ("c.mp4", "Unknown"), ("gone.mp4", "Fake")])})
    table, report = ADAPTERS["dfeval2024"].index(tmp_path)
    assert table[["path", "label", "category", "split"]].to_numpy().tolist() == [
        ["video-data/a.mp4", 0, "REAL", "test"], ["video-data/b.webm", 1, "UNK", "test"]]
    assert (report.metadata_only, report.disk_only) == (("gone.mp4",), ("unlisted.mp4",))
    assert report.notes == ("1 videos with ground truth Unknown left out",)
    assert json.loads(table["attrs"][0])["fold"] == "train"


@pytest.mark.parametrize("text, message", [
    (dfeval_csv([("a.mp4", "Perhaps")]), "'a.mp4' has ground truth 'perhaps'"),
    (dfeval_csv([("a.mp4", "Real"), ("a.mp4", "Fake")]), "'a.mp4' has two labels"),
    (dfeval_csv([("a.mp4", "Real")], "Filename,Date,Label,x,y,z"), "no column 'video ground truth'"),
])
def test_dfeval_refuses_wrong_metadata(tmp_path, text, message):
    make(tmp_path, {"video-data/a.mp4": b"x", "video-metadata-publish.csv": text})
    with pytest.raises(ValueError, match=message):
        rows("dfeval2024", tmp_path)


# ---- a private collection


def test_manifest_fields_and_unknown_columns(tmp_path):
    make(tmp_path, {"clips/a.mp4": b"x", "clips/b.mp4": b"x", "crops/c/0.png": b"x", "loose.mp4": b"x",
                    "manifest.csv": "path,label,category,identity,source_video,place\nclips/a.mp4,Real,,p1,,\n"
                                    "clips/b.mp4,1,fs,p1,clips/a.mp4,Rome\ncrops/c,manipulated,,,,\ngone.mp4,0,,,,\n"})
    table, report = ADAPTERS["itw"].index(tmp_path)
    found = {row["path"]: row for row in table.to_dict("records")}
    assert {path: (row["label"], row["category"], row["kind"]) for path, row in found.items()} == {
        "clips/a.mp4": (0, "REAL", "video"), "clips/b.mp4": (1, "FS", "video"), "crops/c": (1, "UNK", "frames")}
    assert found["clips/b.mp4"]["pair_key"] == "itw/clips/a" and found["clips/b.mp4"]["group"] == "p1"
    assert json.loads(found["clips/b.mp4"]["attrs"]) == {"place": "Rome"}
    assert (report.metadata_only, report.disk_only) == (("gone.mp4",), ("loose.mp4",))


@pytest.mark.parametrize("path", ["../a.mp4", "clips/../../a.mp4", "/etc/a.mp4", "C:\\a.mp4", "..\\a.mp4", ""])
def test_manifest_paths_stay_inside(tmp_path, path):
    make(tmp_path, {"manifest.csv": f"path,label\n{path},real\n"})
    with pytest.raises(ValueError, match="entry 1: path .* must lie inside the root"):
        rows("itw", tmp_path)


def test_manifest_two_labels_and_wrong_label(tmp_path):
    make(tmp_path, {"a.mp4": b"x", "manifest.csv": "path,label\na.mp4,real\na.mp4,fake\n"})
    with pytest.raises(ValueError, match="two labels"):
        rows("itw", tmp_path)
    make(tmp_path, {"manifest.csv": "path,label\na.mp4,genuine\n"})
    with pytest.raises(ValueError, match="entry 1: label 'genuine' is not one of real, 0"):
        rows("itw", tmp_path)


def test_manifest_folders_decide_by_their_exact_name_only(tmp_path):
    root = make(tmp_path / "fake_collection", ["real/fake_looking/a.mp4", "fake/a.mp4", "unsorted/b.mp4"])
    assert {name: row["label"] for name, row in rows("itw", root).items()} == {
        "real/fake_looking/a": 0, "fake/a": 1}


# ---- all of them


@pytest.mark.parametrize("corpus", list(ADAPTERS))
def test_empty_and_missing_roots(tmp_path, corpus):
    with pytest.raises(FileNotFoundError, match=f"{corpus}: "):
        ADAPTERS[corpus].index(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        ADAPTERS[corpus].index(tmp_path / "absent")
    with pytest.raises(ValueError, match="unknown option 'nonsense'"):
        ADAPTERS[corpus].index(tmp_path, nonsense=1)


def test_index_corpora_joins_and_reports_what_was_not_run(ffpp, celeb):
    index, report = index_corpora({"ffpp": ffpp, "celebdf2": str(celeb), "dfdc": None, "itw": ""})
    assert len(index) == 36 + 5 and index["video_id"].is_monotonic_increasing
    found = {(row["corpus"], row["split"]): row for row in report.to_dict("records")}
    assert (found["ffpp", "val"]["real"], found["ffpp", "val"]["fake"]) == (2, 10)
    assert (found["celebdf2", "test"]["real"], found["celebdf2", "test"]["fake"]) == (2, 1)
    assert {corpus for (corpus, _), row in found.items() if row["notes"].startswith("not run")} == (
        set(PAPER) - {"ffpp", "celebdf2"})
    with pytest.raises(ValueError, match="unknown corpus 'ffp'"):
        index_corpora({"ffp": ffpp})


# ---- real faces alone


def test_photographs_of_people_belong_to_no_split_and_are_cropped_by_the_detector(tmp_path: Path) -> None:
    for place in ("train/n000002/0001_01.jpg", "train/n000002/0002_01.jpg", "test/n000001/0001_01.jpg"):
        (tmp_path / "VGGFace2" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "VGGFace2" / place).write_bytes(b"x")
    index, report = index_corpora({"vggface2": tmp_path})
    rows = index[index["dataset"] == "vggface2"]
    assert rows[["video_id", "path", "kind", "label", "split"]].values.tolist() == [
        ["vggface2/test/n000001", "VGGFace2/test/n000001", "photos", 0, "none"],
        ["vggface2/train/n000002", "VGGFace2/train/n000002", "photos", 0, "none"]]
    assert report.set_index("corpus").loc["vggface2", "real"] == 2
    flat, _ = ADAPTERS["vggface2"].index(tmp_path / "VGGFace2" / "train")
    assert flat["video_id"].tolist() == ["vggface2/n000002"]
