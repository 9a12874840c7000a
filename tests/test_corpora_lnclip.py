"""Adapters of the benchmarks of LNCLIP-DF on hand-made trees: labels, splits and pairs written out, quirks, errors."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.corpora import ADAPTERS, BENCHMARKS, FACES, PAPER, index_corpora
from deepfake_repro.corpora.checks import by_stem, remark
from deepfake_repro.corpora.schema import IndexReport
from deepfake_repro.project.params import read_yaml

ROOT = Path(__file__).resolve().parents[1]
MODULES = "celebdfpp dfd faceshifter dfdcp uadfv dfdm ffiw kodf polyglotfake idforge deepspeak".split()


def make(root: Path, *files: str | Mapping[str, str]) -> Path:
    """Write files under ``root``: one byte for a name, the text for a name that comes with one."""
    texts = {name: text for file in files for name, text in ({file: "x"} if isinstance(file, str) else file).items()}
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def read(corpus: str, root: Path, **options: object) -> tuple[dict[str, dict], IndexReport]:
    """The adapter's own index by ``video_id`` without the dataset's name, and its report."""
    table, report = ADAPTERS[corpus].index(root, **options)
    assert set(table["dataset"]) == {corpus} and all(name.startswith(f"{corpus}/") for name in table["video_id"])
    return {row["video_id"].partition("/")[2]: row for row in table.to_dict("records")}, report


def cells(rows: Mapping[str, Mapping], *columns: str) -> dict[str, tuple]:
    return {name: tuple(row[column] for column in columns) for name, row in rows.items()}


# ---- what they share


def test_remark_counts_distinct_names_and_shows_the_first():
    assert remark("odd names", ["b", "a", "b"]) == ("2 odd names, such as 'a'",)
    assert remark("odd names", []) == ()


def test_by_stem_refuses_two_videos_of_one_name():
    assert by_stem("x", [Path("a/1.mp4"), Path("a/2.mp4")]) == {"1": Path("a/1.mp4"), "2": Path("a/2.mp4")}
    with pytest.raises(ValueError, match="x: 'a/1.mp4' and 'b/1.mp4' have one name"):
        by_stem("x", [Path("a/1.mp4"), Path("b/1.mp4")])


# ---- DFD

ACTORS, SWAPS = "original_sequences/actors", "manipulated_sequences/DeepFakeDetection"


@pytest.fixture
def dfd(tmp_path) -> Path:
    return make(tmp_path / "FaceForensics++", f"{ACTORS}/c23/videos/24__outside_talking_still_laughing.mp4",
                f"{ACTORS}/c23/videos/24__exit_phone_room.mp4",
                f"{SWAPS}/c23/videos/24_23__outside_talking_still_laughing__YR5OVD4S.mp4",
                f"{SWAPS}/c23/videos/23_24__exit_phone_room__0XUW13RW.mp4",
                f"{ACTORS}/c0/videos/24__exit_phone_room.mp4", "original_sequences/youtube/c23/videos/071.mp4")


def test_dfd_scenes_with_underscores_pair_with_the_targets_recording(dfd):
    rows, report = read("dfd", dfd.parent)
    fakes, reals = f"{SWAPS}/c23/videos", f"{ACTORS}/c23/videos"
    assert cells(rows, "label", "manipulation", "category", "target_id", "source_id", "pair_key", "group") == {
        f"{reals}/24__outside_talking_still_laughing": (0, "real", "REAL", "24", "", "", "24"),
        f"{reals}/24__exit_phone_room": (0, "real", "REAL", "24", "", "", "24"),
        f"{fakes}/24_23__outside_talking_still_laughing__YR5OVD4S": (
            1, "dfd", "FS", "24", "23", f"dfd/{reals}/24__outside_talking_still_laughing", "24"),
        f"{fakes}/23_24__exit_phone_room__0XUW13RW": (1, "dfd", "FS", "23", "24", "", "23")}
    assert set(cells(rows, "split", "split_source", "compression").values()) == {("test", "derived", "c23")}
    assert report.notes == ()


def test_dfd_raw_is_also_called_c0(dfd):
    assert cells(read("dfd", dfd, compression="raw")[0], "compression") == {
        f"{ACTORS}/c0/videos/24__exit_phone_room": ("raw",)}


def test_dfd_odd_names_are_left_out_and_shown(dfd):
    make(dfd, f"{SWAPS}/c23/videos/24_23__hugging_happy.mp4", f"{ACTORS}/c23/videos/24_talking.mp4")
    rows, report = read("dfd", dfd)
    assert len(rows) == 4 and len(report.disk_only) == 2
    assert report.notes == (f"2 names not like 24_23__scene__YR5OVD4S left out, such as '{report.disk_only[0]}'",)


def test_dfd_compression_errors(dfd):
    with pytest.raises(FileNotFoundError, match="dfd: no videos at compression 'c40'"):
        read("dfd", dfd, compression="c40")
    with pytest.raises(ValueError, match="dfd: compression 'c1' is not one of raw, c23, c40"):
        read("dfd", dfd, compression="c1")


# ---- FaceShifter


@pytest.fixture
def faceshifter(tmp_path) -> Path:
    """One pair per split, FaceShifter and another method."""
    pairs = {"train": ("071", "054"), "val": ("720", "672"), "test": ("953", "974")}
    for split, (first, second) in pairs.items():
        make(tmp_path, *(f"original_sequences/youtube/c23/videos/{name}.mp4" for name in (first, second)),
             *(f"manipulated_sequences/{method}/c23/videos/{name}.mp4" for method in ("FaceShifter", "Deepfakes")
               for name in (f"{first}_{second}", f"{second}_{first}")),
             {f"splits/{split}.json": json.dumps([[first, second]])})
    return tmp_path


def test_faceshifter_is_ffpp_with_one_method_under_its_own_name(faceshifter):
    rows, report = read("faceshifter", faceshifter)
    test = {name: row for name, row in rows.items() if row["split"] == "test"}
    real, fake = "original_sequences/youtube/c23/videos", "manipulated_sequences/FaceShifter/c23/videos"
    assert cells(test, "label", "manipulation", "pair_key") == {
        f"{real}/953": (0, "real", ""), f"{real}/974": (0, "real", ""),
        f"{fake}/953_974": (1, "faceshifter", f"faceshifter/{real}/953"),
        f"{fake}/974_953": (1, "faceshifter", f"faceshifter/{real}/974")}
    assert len(rows) == 12 and report.found == 12
    assert not report.metadata_only  # the methods that are not downloaded are nobody's loss


def test_faceshifter_and_ffpp_from_one_root(faceshifter):
    index, report = index_corpora({"ffpp": faceshifter, "faceshifter": faceshifter})
    assert index["video_id"].is_unique
    assert index.groupby("dataset").size().to_dict() == {"ffpp": 18, "faceshifter": 4}
    note = report.set_index("corpus").loc["faceshifter", "notes"]
    assert note == "4 videos of split train left out: for testing only; 4 videos of split val left out: for testing only"


def test_faceshifter_absent(faceshifter):
    for place in (faceshifter / "manipulated_sequences" / "FaceShifter").rglob("*.mp4"):
        place.unlink()
    with pytest.raises(FileNotFoundError, match="faceshifter: no fakes in manipulated_sequences/FaceShifter/c23/"):
        read("faceshifter", faceshifter)


# ---- DFDC Preview

DFDCP_FILES = {
    "original_videos/643049/643049_A_001.mp4": {"label": "real", "set": "test", "target_id": 643049},
    "original_videos/1260311/1260311_C_001.mp4": {"label": "real", "set": "train", "target_id": "1260311"},
    "method_A/643049/643049_A/1255229_643049_A_001.mp4": {
        "label": "fake", "set": "test", "target_id": "643049", "swapped_id": "1255229"},
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
            1, "test", "method_a", "643049", "1255229", "dfdcp/original_videos/643049/643049_A_001"),
        "method_B/1260311/1260311_C/1255229_1260311_C_001": (
            1, "train", "method_b", "1260311", "1255229", "dfdcp/original_videos/1260311/1260311_C_001")}
    assert {row["split_source"] for row in rows.values()} == {"official"}
    assert report == IndexReport("dfdcp", 4, ("method_A/gone.mp4",), ("method_A/9/9_A/8_9_A_001.mp4",))


def test_dfdcp_notes_what_the_name_does_not_tell_or_contradicts(tmp_path):
    root = dfdcp(tmp_path, **{"method_B/odd.mp4": {"label": "fake", "set": "test", "target_id": "1"},
                              "original_videos/643049/643049_A_001.mp4": {
                                  "label": "real", "set": "test", "target_id": "7"}})
    make(root, "method_B/odd.mp4")
    rows, report = read("dfdcp", root)
    assert cells(rows, "label", "target_id", "group")["method_B/odd"] == (1, "", "dfdcp/method_B/odd")
    assert report.notes == (
        "1 names not like 1255229_1260311_C_001: identities left empty, such as 'method_B/odd.mp4'",
        "1 videos whose target_id is not that of their name, such as 'original_videos/643049/643049_A_001.mp4'")


@pytest.mark.parametrize("key, entry, message", [
    ("method_A/a.mp4", {"label": "real", "set": "test"}, "'method_A/a.mp4' has label 'real', which contradicts"),
    ("method_A/a.mp4", {"label": "maybe", "set": "test"}, "label 'maybe'"),
    ("method_A/a.mp4", {"label": "fake", "set": "dev"}, "'method_A/a.mp4' has set 'dev'"),
    ("method_A/a.mp4", "fake", "'method_A/a.mp4' has set ''"),
    ("method_C/a.mp4", {"label": "fake", "set": "test"}, "a path in original_videos, method_A, method_B"),
])
def test_dfdcp_refuses_entries(tmp_path, key, entry, message):
    with pytest.raises(ValueError, match=message):
        read("dfdcp", dfdcp(tmp_path, **{key: entry}))


def test_dfdcp_needs_its_metadata(tmp_path):
    root = dfdcp(tmp_path)
    (root / "dataset.json").write_text("[]")
    with pytest.raises(ValueError, match="is no object of videos"):
        read("dfdcp", root)
    (root / "dataset.json").unlink()
    with pytest.raises(FileNotFoundError, match="'dataset.json' is missing; it decides labels and splits"):
        read("dfdcp", root)


# ---- Celeb-DF++

CDFPP = ("Celeb-real/id0_0000.mp4", "Celeb-real/id1_0002.mp4", "YouTube-real/00170.mp4",
         "Celeb-synthesis/FaceSwap/Celeb-DF/id0_id1_0000.mp4", "Celeb-synthesis/FaceSwap/BlendFace/id0_id1_0000.mp4",
         "Celeb-synthesis/FaceReenact/LIA/id1_id0_0002.mp4", "Celeb-synthesis/TalkingFace/IP_LAP/id1_0002_test_00007.mp4")
CDFPP_LIST = ("1 YouTube-real/00170.mp4\n0 Celeb-synthesis/FaceSwap/Celeb-DF/id0_id1_0000.mp4\n"
              "1 Celeb-real/id0_0000.mp4\n0 Celeb-synthesis/TalkingFace/IP_LAP/id1_0002_test_00007.mp4\n"
              "0 Celeb-synthesis/FaceSwap/GHOST/id0_id1_0000.mp4")


def celebdfpp(root: Path, *names: str, listing: str = CDFPP_LIST) -> Path:
    return make(root / "Celeb-DF++", *(names or CDFPP), {"List_of_testing_videos.txt": listing})


def test_celebdfpp_families_splits_and_pairs(tmp_path):
    rows, report = read("celebdfpp", celebdfpp(tmp_path).parent)
    synthesis, real = "Celeb-synthesis", "celebdfpp/Celeb-real"
    assert cells(rows, "label", "split", "manipulation", "category", "target_id", "source_id", "pair_key") == {
        "Celeb-real/id0_0000": (0, "test", "real", "REAL", "id0", "", ""),
        "Celeb-real/id1_0002": (0, "train", "real", "REAL", "id1", "", ""),
        "YouTube-real/00170": (0, "test", "real", "REAL", "youtube-00170", "", ""),
        f"{synthesis}/FaceSwap/Celeb-DF/id0_id1_0000": (
            1, "test", "celeb-df", "FS", "id0", "id1", f"{real}/id0_0000"),
        f"{synthesis}/FaceSwap/BlendFace/id0_id1_0000": (
            1, "train", "blendface", "FS", "id0", "id1", f"{real}/id0_0000"),
        f"{synthesis}/FaceReenact/LIA/id1_id0_0002": (1, "train", "lia", "RE", "id1", "id0", f"{real}/id1_0002"),
        f"{synthesis}/TalkingFace/IP_LAP/id1_0002_test_00007": (
            1, "test", "ip_lap", "RE", "id1", "00007", f"{real}/id1_0002")}
    assert report == IndexReport("celebdfpp", 7, ("ghost/id0_id1_0000",))


def test_celebdfpp_old_fakes_under_their_other_name(tmp_path):
    root = celebdfpp(tmp_path, *(name.replace("/Celeb-DF/", "/Celeb-DF-v2/") for name in CDFPP))
    found = read("celebdfpp", root)[0]["Celeb-synthesis/FaceSwap/Celeb-DF-v2/id0_id1_0000"]
    assert (found["manipulation"], found["split"]) == ("celeb-df", "test")
    make(root, "Celeb-synthesis/FaceSwap/Celeb-DF/id0_id1_0000.mp4")
    with pytest.raises(ValueError, match="'Celeb-synthesis/FaceSwap/Celeb-DF/id0_id1_0000.mp4' and .* are one video"):
        read("celebdfpp", root)


def test_celebdfpp_a_list_of_the_other_polarity_is_read_and_noted(tmp_path):
    flipped = "\n".join(f"{1 - int(line[0])}{line[1:]}" for line in CDFPP_LIST.splitlines())
    rows, report = read("celebdfpp", celebdfpp(tmp_path, listing=flipped))
    assert rows["YouTube-real/00170"]["label"] == 0 and rows["YouTube-real/00170"]["split"] == "test"
    assert report.notes == ("1 means fake in 'List_of_testing_videos.txt', unlike in Celeb-DF v2",)


@pytest.mark.parametrize("line, message", [
    ("0 Celeb-real/id0_0000.mp4", "line 6 .*: flag and folder disagree"),
    ("1 Celeb-synthesis/FaceReenact/LIA/id1_id0_0002.mp4", "line 6 .*: flag and folder disagree"),
    ("Celeb-real/id0_0000.mp4", "line 6"), ("0 Celeb-synthesis/FaceSwap/Nobody/a.mp4", "line 6"),
])
def test_celebdfpp_refuses_lines(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        read("celebdfpp", celebdfpp(tmp_path, listing=f"{CDFPP_LIST}\n{line}"))


def test_celebdfpp_strangers_are_left_out_and_shown(tmp_path):
    strangers = ("Celeb-synthesis/FaceSwap/Nobody/id0_id1_0000.mp4", "Celeb-synthesis/Other/LIA/id0_id1_0000.mp4",
                 "Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/TalkingFace/LIA/id1_id0_0002.mp4")
    rows, report = read("celebdfpp", celebdfpp(tmp_path, *CDFPP, *strangers,
                                               "Celeb-synthesis/FaceSwap/UniFace/swap.mp4"))
    assert len(rows) == 8 and rows["Celeb-synthesis/FaceSwap/UniFace/swap"]["target_id"] == ""
    assert report.disk_only == ("Celeb-synthesis/FaceSwap/Nobody", "Celeb-synthesis/Other",
                                "Celeb-synthesis/TalkingFace/LIA", "Celeb-synthesis/id0_id1_0000.mp4")
    assert [note.partition(",")[0] for note in report.notes] == [
        "4 folders or videos outside the 22 methods left out",
        "1 names not like id0_id1_0000 or id0_0000_test_x: pairs left empty"]


def test_celebdfpp_is_not_celebdf2(tmp_path):
    make(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4")
    with pytest.raises(FileNotFoundError, match="without such folders, is the corpus celebdf2"):
        read("celebdfpp", tmp_path)


# ---- FFIW


def test_ffiw_equal_stems_are_two_videos_and_no_pair(tmp_path):
    root = make(tmp_path / "FFIW10K", *(f"{name}/{split}/{split}_00000000.mp4" for split in ("train", "val", "test")
                                        for name in ("source", "target", "target_mask")))
    rows, report = read("ffiw", root)
    assert cells(rows, "label", "category", "split", "split_source", "pair_key", "group") == {
        f"{name}/{split}/{split}_00000000": (label, category, split, "official", "", f"{split}/{split}_00000000")
        for split in ("train", "val", "test") for name, label, category in (("source", 0, "REAL"), ("target", 1, "FS"))}
    assert report == IndexReport("ffiw", 6)


def test_ffiw_without_test_scores_val_and_says_so(tmp_path):
    make(tmp_path / "FFIW10K-v1-release", "source/val/videos/1.mp4", "target/val/videos/1.mp4",
         "source/train/2.mp4", "target/train/2.mp4", "source/3.mp4")
    rows, report = read("ffiw", tmp_path)
    assert cells(rows, "split", "split_source") == {
        "source/val/videos/1": ("test", "paper-rule"), "target/val/videos/1": ("test", "paper-rule"),
        "source/train/2": ("train", "official"), "target/train/2": ("train", "official")}
    assert report.disk_only == ("FFIW10K-v1-release/source/3.mp4",)
    assert report.notes == (
        "1 videos outside train/, val/ and test/ left out, such as 'FFIW10K-v1-release/source/3.mp4'",
        "test/ is absent: val/ is taken for the test set")


def test_ffiw_releases_beside_each_other(tmp_path):
    make(tmp_path, "FFIW10K-v1-release/source/val/1.mp4", "FFIW10K-v1-release/target/val/1.mp4",
         "FFIW10K-v1-release-test/source/test/1.mp4", "FFIW10K-v1-release-test/target/test/1.mp4")
    assert cells(read("ffiw", tmp_path)[0], "split", "path") == {
        f"{name}/{split}/1": (split, f"FFIW10K-v1-release{more}/{name}/{split}/1.mp4")
        for name in ("source", "target") for split, more in (("val", ""), ("test", "-test"))}


def test_ffiw_one_video_in_two_releases(tmp_path):
    make(tmp_path, *(f"{release}/{name}/val/1.mp4" for release in "ab" for name in ("source", "target")))
    with pytest.raises(ValueError, match="ffiw/source/val/1: listed twice, as 'a/source/val/1.mp4' and 'b/source"):
        read("ffiw", tmp_path)


# ---- UADFV


def test_uadfv_pairs_by_number_and_odd_names(tmp_path):
    root = make(tmp_path / "fake_or_real" / "UADFV", "real/0000.mp4", "real/0001.mp4", "fake/0000_fake.mp4")
    rows, report = read("uadfv", root.parent)
    assert cells(rows, "label", "category", "split", "split_source", "pair_key", "group") == {
        "real/0000": (0, "REAL", "test", "derived", "", "0000"), "real/0001": (0, "REAL", "test", "derived", "", "0001"),
        "fake/0000_fake": (1, "FS", "test", "derived", "uadfv/real/0000", "0000")}
    assert report.notes == ()
    make(root, "fake/0001.mp4", "real/0002_fake.mp4")
    rows, report = read("uadfv", root)
    assert (rows["fake/0001"]["label"], rows["real/0002_fake"]["label"]) == (1, 0)
    assert report.notes == ("2 names at odds with their folder ('_fake' marks fakes), such as 'fake/0001.mp4'",)


def test_uadfv_needs_both_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="uadfv: .* holds no real/ and fake/"):
        read("uadfv", make(tmp_path, "real/0000.mp4"))


# ---- DFDM


@pytest.fixture
def dfdm(tmp_path) -> Path:
    return make(tmp_path, "Celeb-DF-v2/Celeb-real/id28_0008.mp4", "Celeb-DF-v2/Celeb-real/id3_0001.mp4",
                "Celeb-DF-v2/YouTube-real/00000.mp4",
                *(f"DFDM/DFDM_crf{crf}/{model}/id28_id20_0008_{tag}.mp4" for crf in (0, 10, 23)
                  for model, tag in (("Dfaker", "4dfaker"), ("DFL-H128", "5dflh"))))


def test_dfdm_one_compression_against_celeb_df(dfdm):
    rows, report = read("dfdm", dfdm)
    assert cells(rows, "label", "manipulation", "compression", "split", "target_id", "source_id", "pair_key") == {
        "Celeb-real/id28_0008": (0, "real", "", "test", "id28", "", ""),
        "Celeb-real/id3_0001": (0, "real", "", "test", "id3", "", ""),
        **{f"DFDM_crf23/{model}/id28_id20_0008_{tag}": (
            1, model.lower(), "crf23", "test", "id28", "id20", "dfdm/Celeb-real/id28_0008")
           for model, tag in (("Dfaker", "4dfaker"), ("DFL-H128", "5dflh"))}}
    assert report.notes == ("2 other compressions left out, such as 'DFDM_crf0'",)
    assert json.loads(rows["DFDM_crf23/Dfaker/id28_id20_0008_4dfaker"]["attrs"]) == {"tag": "4dfaker"}
    assert sum(row["compression"] == "crf0" for row in read("dfdm", dfdm, compression="crf0")[0].values()) == 2


def test_dfdm_model_is_not_guessed_from_the_tag(dfdm):
    make(dfdm, "DFDM/DFDM_crf23/id28_id20_0008_4dfaker.mp4", "DFDM/DFDM_crf23/iae/odd.mp4")
    rows, report = read("dfdm", dfdm)
    assert rows["DFDM_crf23/id28_id20_0008_4dfaker"]["manipulation"] == "unknown"
    assert cells(rows, "manipulation", "target_id", "pair_key")["DFDM_crf23/iae/odd"] == ("iae", "", "")
    assert [note.partition(",")[0] for note in report.notes] == [
        "1 fakes outside a folder of the five models: method unknown",
        "1 names not like id28_id20_0008_4dfaker: pairs left empty", "2 other compressions left out"]


def test_dfdm_errors(dfdm, tmp_path):
    with pytest.raises(ValueError, match="dfdm: compression 'c23' is not one of crf0, crf10, crf23"):
        read("dfdm", dfdm, compression="c23")
    with pytest.raises(FileNotFoundError, match="dfdm: 'Celeb-real/' is missing; DFDM ships no reals"):
        read("dfdm", dfdm / "DFDM")


# ---- KoDF

KODF = ("original_videos/123456/123456_001.mp4", "original_videos/0a1b2c3d4e5f60718293/0a1b2c3d4e5f60718293_002.mp4",
        *(f"synthesized_videos/{folder}/20200101/123456/123456_654321_{code}_0001.mp4" for code, folder in
          enumerate(("dfl", "dffs", "fsgan", "fo", "audio-driven"), start=1)))


def test_kodf_codes_give_methods_and_categories(tmp_path):
    rows, report = read("kodf", make(tmp_path / "kodf_release", *KODF, "adversarial/1.mp4").parent)
    fakes = {name.split("/")[1]: row for name, row in rows.items() if row["label"]}
    assert cells(fakes, "manipulation", "category", "target_id", "source_id", "group") == {
        folder: (method, category, "123456", "654321", "123456") for folder, method, category in (
            ("dfl", "dfl", "FS"), ("dffs", "dffs", "FS"), ("fsgan", "fsgan", "FS"), ("fo", "fomm", "RE"),
            ("audio-driven", "audio-driven", "RE"))}
    assert cells(rows, "label", "group")["original_videos/0a1b2c3d4e5f60718293/0a1b2c3d4e5f60718293_002"] == (
        0, "0a1b2c3d4e5f60718293")
    assert set(cells(rows, "split", "split_source", "pair_key").values()) == {("test", "derived", "")}
    assert report.notes == ("1 other folders left out, such as 'adversarial'",)


def test_kodf_unknown_code_is_left_out(tmp_path):
    root = make(tmp_path, *KODF, "synthesized_videos/dfl/a/1_2_6_1.mp4", "original_videos/1/noname.mp4")
    rows, report = read("kodf", root)
    assert len(rows) == 7 and report.disk_only == ("original_videos/1/noname.mp4", "synthesized_videos/dfl/a/1_2_6_1.mp4")
    assert report.notes[0].startswith("2 names not like <target>_<source>_<code 1 to 5>_<number> left out, such as")


def test_kodf_code_and_folder_must_agree(tmp_path):
    with pytest.raises(ValueError, match=r"kodf: 'synthesized_videos/audio_driven/1_2_4_1.mp4': code 4 .* \(5\)"):
        read("kodf", make(tmp_path, *KODF, "synthesized_videos/audio_driven/1_2_4_1.mp4"))


# ---- PolyGlotFake

POLYGLOT = ("videos/es/es_1.mp4", "videos/ja/ja_12.mp4", "videos/to_ru/es_1_to_ru_Xtts.mp4",
            "videos/to_en/ru_3_to_en_bark.mp4")


def test_polyglotfake_reals_by_list_and_dubs_by_name(tmp_path):
    listed = {"videos": [{"filename": "es_1.mp4", "source": "x"}, {"filename": "es_2.mp4"}]}
    root = make(tmp_path / "PolyGlotFake", *POLYGLOT, "intro.mp4", {"real_json_files/es.json": json.dumps(listed)})
    expected = {"es/es_1": (0, "real", "REAL", "", "es_1"), "ja/ja_12": (0, "real", "REAL", "", "ja_12"),
                "to_ru/es_1_to_ru_Xtts": (1, "lip-sync", "RE", "polyglotfake/es/es_1", "es_1"),
                "to_en/ru_3_to_en_bark": (1, "lip-sync", "RE", "", "ru_3")}
    for given in (root, tmp_path):  # ids do not depend on the folder given
        rows, report = read("polyglotfake", given)
        assert cells(rows, "label", "manipulation", "category", "pair_key", "group") == expected
    assert (report.metadata_only, report.disk_only) == (("es_2",), ("PolyGlotFake/intro.mp4",))
    assert report.notes == ("1 names of another shape left out, such as 'PolyGlotFake/intro.mp4'",
                            "1 reals not in real_json_files, such as 'ja_12'")


def test_polyglotfake_without_lists_says_so(tmp_path):
    assert read("polyglotfake", make(tmp_path, *POLYGLOT))[1].notes == (
        "real_json_files/ is absent: only names tell reals from fakes",)


@pytest.mark.parametrize("listed", ['{"videos": [{"filename": "es_1_to_ru_x.mp4"}]}', '{"videos": [{}]}', "[]"])
def test_polyglotfake_refuses_lists(tmp_path, listed):
    with pytest.raises(ValueError, match="polyglotfake: 'real_json_files/es.json' lists '.*' as a real"):
        read("polyglotfake", make(tmp_path, *POLYGLOT, {"real_json_files/es.json": listed}))


@pytest.mark.parametrize("name", ["Fake/es_7.mp4", "real/es_7_to_fr_x.mp4"])
def test_polyglotfake_folders_must_not_contradict_names(tmp_path, name):
    with pytest.raises(ValueError, match=f"polyglotfake: '{name}': folder and name disagree"):
        read("polyglotfake", make(tmp_path, *POLYGLOT, name))


# ---- IDForge

IDFORGE = {"pristine/id00/id00_03/id00_scene_0010-0.mp4": "train",
           "pristine/id53/id53_08/id53_scene_0001.mp4": "test",
           "face_tts/id53/id53_08/id53_scene_0083_0_simswap.mp4": "test",
           "face_rvc_textmismatch/id53/id53_08/id53_scene_0083_0_other.mp4": "val",
           "lip_tts_textgen/id00/id00_03/id00_scene_0011.mp4": "test",
           "rvc_textmismatch/id00/id00_03/id00_scene_0014.mp3.mp4": "test"}


def idforge(root: Path, **lists: str) -> Path:
    """Each file listed in its split, unless another text is given for a list."""
    texts = {split: "\n".join(name for name in IDFORGE if IDFORGE[name] == split) for split in ("train", "val", "test")}
    return make(root, *(f"main/{name}" for name in IDFORGE),
                {f"IDForge_v1/{split}.csv": text for split, text in (texts | lists).items()})


def test_idforge_types_splits_and_audio_only(tmp_path):
    root = idforge(tmp_path / "download")
    assert list(read("idforge", root / "main")[0]) == list(read("idforge", tmp_path)[0])
    rows, report = read("idforge", root)
    assert {f"{name}.mp4": (row["label"], row["manipulation"], row["category"], row["split"], row["target_id"],
                            row["source_id"], json.loads(row["attrs"])["audio_only"]) for name, row in rows.items()
            } == dict(zip(IDFORGE, (
                (0, "real", "REAL", "train", "id00", "", False), (0, "real", "REAL", "test", "id53", "", False),
                (1, "simswap", "FS", "test", "", "id53", False), (1, "unknown", "FS", "val", "", "id53", False),
                (1, "wav2lip", "RE", "test", "id00", "", False), (0, "real", "REAL", "test", "id00", "", True)),
                strict=True))
    assert {row["split_source"] for row in rows.values()} == {"official"}
    assert report.notes == (
        f"1 videos with fake sound and real pictures labelled real, such as '{list(IDFORGE)[-1]}'",
        f"1 fakes whose name tells no known tool, such as 'main/{list(IDFORGE)[3]}'")


def test_idforge_audio_only_dropped_on_demand(tmp_path):
    rows, report = read("idforge", idforge(tmp_path), audio_only="drop")
    assert len(rows) == 5 and not any(name.startswith("rvc") for name in rows)
    assert report.notes[0].startswith("1 videos with fake sound and real pictures left out")
    with pytest.raises(ValueError, match="idforge: audio_only 'fake' is not one of real, drop"):
        read("idforge", tmp_path, audio_only="fake")


def test_idforge_lists_from_a_clone_and_what_is_on_one_side_only(tmp_path):
    root = idforge(tmp_path / "data", train="pristine/id00/id00_00/gone.mp4")
    (root / "IDForge_v1").rename(tmp_path / "clone")
    report = read("idforge", root, splits=tmp_path / "clone")[1]
    assert report.metadata_only == ("pristine/id00/id00_00/gone.mp4",)
    assert report.disk_only == ("pristine/id00/id00_03/id00_scene_0010-0.mp4",)
    with pytest.raises(FileNotFoundError, match="idforge: 'IDForge_v1/train.csv' is missing"):
        read("idforge", root)


@pytest.mark.parametrize("train, message", [
    (list(IDFORGE)[-1], "test.csv' line 4 'rvc_.*' is in train.csv too"),
    ("path,label", "'train.csv' line 1 'path,label'; expected <type>/id00/id00_00/<name>.mp4"),
])
def test_idforge_refuses_lists(tmp_path, train, message):
    with pytest.raises(ValueError, match=message):
        read("idforge", idforge(tmp_path, train=train))


# ---- DeepSpeak

FAKE_COLUMNS = "video-file,kind,engine,identity-source,identity-target,recording-source,recording-target,gen-config"


def deepspeak(root: Path, *fakes: str, splits: str = "identity,split\n10,train\n11,test\n87,test\n") -> Path:
    """Two reals and the given rows of annotations-fake.csv."""
    videos = [line.partition(",")[0] for line in fakes]
    return make(root, "part0/87-0.mp4", "part1/11-4897.mp4", *(f"part1/{name}" for name in videos),
                {"annotations-split-def.csv": splits,
                 "annotations-real.csv": "identity,video-file\n87,87-0.mp4\n11,11-4897.mp4\n10,10-1.mp4\n",
                 "annotations-fake.csv": "\n".join((FAKE_COLUMNS, *fakes))})


def test_deepspeak1_splits_by_the_person_on_screen(tmp_path):
    root = deepspeak(tmp_path, 'facefusion--10-11--4100-4897--0.mp4,face-swap,facefusion,10,11,4100,4897,"{""a"": 1}"',
                     "wav2lip--87-87--1-0--1.mp4,lip-sync,Wav2Lip,87,87,1,0,")
    make(root, "part1/extra.mp4")
    rows, report = read("deepspeak1", root)
    assert cells(rows, "label", "manipulation", "category", "split", "target_id", "source_id", "pair_key") == {
        "part0/87-0": (0, "real", "REAL", "test", "87", "", ""),
        "part1/11-4897": (0, "real", "REAL", "test", "11", "", ""),
        "part1/facefusion--10-11--4100-4897--0": (
            1, "facefusion", "FS", "test", "11", "10", "deepspeak1/part1/11-4897"),
        "part1/wav2lip--87-87--1-0--1": (1, "wav2lip", "RE", "test", "87", "87", "deepspeak1/part0/87-0")}
    assert (report.metadata_only, report.disk_only) == (("10-1",), ("part1/extra.mp4",))
    assert report.notes == ("1 fakes whose two identities are in different splits, such as "
                            "'part1/facefusion--10-11--4100-4897--0.mp4'",)


def test_deepspeak2_unknown_engine_and_identity_are_noted(tmp_path):
    root = deepspeak(tmp_path, "diff2lip-1-0-playht.mp4,lip-sync,diff2lip,87,87,1,0,", "new.mp4,avatar,Brand New,5,5,,,")
    rows, report = read("deepspeak2", root)
    assert cells(rows, "manipulation", "category", "split", "pair_key") == {
        "part0/87-0": ("real", "REAL", "test", ""), "part1/11-4897": ("real", "REAL", "test", ""),
        "part1/diff2lip-1-0-playht": ("diff2lip", "RE", "test", "deepspeak2/part0/87-0"),
        "part1/new": ("brand_new", "UNK", "none", "")}
    assert report.notes == (
        "1 fakes of an engine that is not described: category UNK, such as 'brand_new in part1/new.mp4'",
        "1 identities not in annotations-split-def.csv: split none, such as '5'")


def test_deepspeak_roots_swapped(tmp_path):
    root = deepspeak(tmp_path, "diff2lip-1-0-playht.mp4,lip-sync,diff2lip,87,87,1,0,")
    with pytest.raises(ValueError, match="deepspeak1: .* is made by 'diff2lip', an engine of deepspeak2"):
        read("deepspeak1", root)


def test_deepspeak_refuses_annotations(tmp_path):
    for number, (splits, message) in enumerate((
            ("identity,split\n87,dev\n", "identity '87' has split 'dev'"),
            ("identity,split\n87,test\n87,train\n", "identity '87' has split 'train'; .* for each identity"),
            ("person,split\n87,test\n", "'annotations-split-def.csv' has no column 'identity'"))):
        with pytest.raises(ValueError, match=message):
            read("deepspeak1", deepspeak(tmp_path / str(number), splits=splits))
    with pytest.raises(ValueError, match="deepspeak1: '87-0' is in both annotation files"):
        read("deepspeak1", deepspeak(tmp_path / "both", "87-0.mp4,lip-sync,wav2lip,87,87,1,0,"))
    root = deepspeak(tmp_path / "missing")
    (root / "annotations-real.csv").unlink()
    with pytest.raises(FileNotFoundError, match="'annotations-real.csv' is missing"):
        read("deepspeak1", root)


# ---- in the index of all corpora


def test_benchmarks_appear_only_when_mentioned(tmp_path):
    assert list(ADAPTERS) == [*PAPER, *BENCHMARKS, *FACES]
    _, report = index_corpora({})
    assert list(report["corpus"]) == list(PAPER)
    root = make(tmp_path, "real/0000.mp4", "fake/0000_fake.mp4")
    index, report = index_corpora({"uadfv": root, "kodf": None})
    assert report["corpus"].tolist() == [*PAPER, "uadfv", "kodf"]
    assert report["notes"].tolist()[-2:] == ["", "not run: no root given"]
    assert index["video_id"].tolist() == ["uadfv/fake/0000_fake", "uadfv/real/0000"]


def test_no_benchmark_video_can_be_trained_on(tmp_path):
    """The third real is of the training split: it goes, and with it the pair of the fake that was made from it."""
    index, report = index_corpora({"celebdfpp": celebdfpp(tmp_path)})
    assert index["split"].tolist() == ["test"] * 4
    assert index["pair_key"].tolist().count("celebdfpp/Celeb-real/id0_0000") == 1
    assert set(index["pair_key"]) == {"", "celebdfpp/Celeb-real/id0_0000"}
    row = report.set_index("corpus").loc["celebdfpp"]
    assert (row["real"], row["fake"], row["notes"]) == (2, 2, "3 videos of split train left out: for testing only")


def test_benchmark_without_its_test_split(tmp_path):
    with pytest.raises(ValueError, match="celebdfpp: none of its 7 videos is of the test split"):
        index_corpora({"celebdfpp": celebdfpp(tmp_path, listing="")})


def test_rows_of_benchmarks_have_the_same_types_as_the_papers(tmp_path, faceshifter):
    index, _ = index_corpora({"uadfv": make(tmp_path / "u", "real/0.mp4", "fake/0_fake.mp4"), "ffpp": faceshifter})
    alone, _ = index_corpora({"ffpp": faceshifter})
    part = index[index["dataset"] == "ffpp"].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, alone)


# ---- the pages that a user reads


def official() -> dict[str, dict[str, tuple[int, int]]]:
    """Corpus -> split -> (real, fake), as the adapters' modules state them."""
    modules = {name: importlib.import_module(f"deepfake_repro.corpora.adapters.{name}").OFFICIAL for name in MODULES}
    return modules.pop("deepspeak") | modules


def test_official_counts_are_those_of_data_readme():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    table = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert set(official()) == set(BENCHMARKS)
    for corpus, splits in official().items():
        for real, fake in (counts for split, counts in splits.items() if split in ("test", "all")):
            assert f"{real:,} / {fake:,}" in table[corpus], corpus


def test_every_corpus_has_its_row_and_section_and_key():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert list(read_yaml(ROOT / "data" / "corpora" / "paper.yaml")["roots"]) == list(ADAPTERS)
    for corpus, adapter in ADAPTERS.items():
        assert f"\n| `{corpus}` |" in text, corpus
        assert any(f"`{corpus}`" in line for line in text.splitlines() if line.startswith("### ")), corpus
        assert adapter.access_url in text, corpus
        assert adapter.licence and adapter.citation, corpus
