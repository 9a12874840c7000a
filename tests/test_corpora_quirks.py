"""Every quirk of the official downloads that is known, one test each, on small trees of the official layouts."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from official_trees import (
    FFPP_METHODS,
    TREES,
    celebdf2,
    df40,
    dfdc,
    dfeval2024,
    fakeavceleb,
    ffpp,
    fill,
    forgerynet,
    itw,
    tar_bytes,
    wilddeepfake,
    write,
)

from deepfake_repro.corpora import ADAPTERS

SMALL = 0.02
SCALE = dict.fromkeys(TREES, SMALL) | {"dfdc": 0.005, "forgerynet": 0.002}
LOCATED = [corpus for corpus in TREES if corpus != "itw"]  # a manifest's paths are relative to the very root


def rows(corpus: str, root: Path, **options: object) -> dict[str, dict]:
    """The index by ``video_id`` without the dataset's name."""
    table, _ = ADAPTERS[corpus].index(root, **options)
    return {row["video_id"].partition("/")[2]: row for row in table.to_dict("records")}


def report(corpus: str, root: Path, **options: object):
    return ADAPTERS[corpus].index(root, **options)[1]


def without_path(found: dict[str, dict]) -> dict[str, dict]:
    return {name: {key: value for key, value in row.items() if key != "path"} for name, row in found.items()}


# ---- all corpora


@pytest.mark.parametrize("corpus", LOCATED)
def test_the_corpus_its_parent_and_a_doubled_folder_give_the_same_index(tmp_path, corpus):
    inner = tmp_path / "deepfake" / "all_fake" / "really_real"
    TREES[corpus](inner, SCALE[corpus])
    found = rows(corpus, inner)
    # FakeAVCeleb's tree is doubled already.
    for root in (inner.parent, inner / "FakeAVCeleb_v1.2" if corpus == "fakeavceleb" else inner.parent.parent):
        again = rows(corpus, root)
        assert without_path(again) == without_path(found)
        assert all((root / row["path"].partition("!")[0]).exists() for row in again.values())


@pytest.mark.parametrize("corpus", LOCATED)
def test_two_copies_side_by_side_are_not_chosen_between(tmp_path, corpus):
    TREES[corpus](tmp_path / "a", SCALE[corpus])
    TREES[corpus](tmp_path / "b", SCALE[corpus])
    with pytest.raises(ValueError, match=f"{corpus}: both '.*/a.*' and '.*/b.*' hold .*; give one of them"):
        rows(corpus, tmp_path)


@pytest.mark.parametrize("corpus", TREES)
def test_what_systems_and_broken_downloads_leave_behind_changes_nothing(tmp_path, corpus):
    root = TREES[corpus](tmp_path / "official", SCALE[corpus])
    before = rows(corpus, root)
    for place, _, names in list(os.walk(root)):
        write(Path(place), {".DS_Store": "x", "Thumbs.db": "x", "__MACOSX/0.mp4": "x", ".hidden/1.png": "x",
                            "empty.mp4": "", "empty.png": "", "late.mp4.part": "x", "late.mp4.aria2": "x",
                            "late.mp4": "half a video"})
        write(Path(place), {f"._{name}": "x" for name in names[:2]})
    assert rows(corpus, root) == before


@pytest.mark.parametrize("corpus", TREES)
def test_the_order_in_which_files_were_written_does_not_matter(tmp_path, corpus):
    root = TREES[corpus](tmp_path / "one", SCALE[corpus])
    files = [path for path in root.rglob("*") if path.is_file()]
    for path in reversed(files):
        copy = tmp_path / "two" / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    assert ADAPTERS[corpus].index(root)[0].equals(ADAPTERS[corpus].index(tmp_path / "two")[0])


@pytest.mark.parametrize("corpus", LOCATED)
def test_folders_linked_to_another_disk_are_followed(tmp_path, corpus):
    root = TREES[corpus](tmp_path / "official", SCALE[corpus])
    before = rows(corpus, root)
    for place in [path for path in root.iterdir() if path.is_dir()]:
        shutil.move(place, tmp_path / "disk" / place.name)
        place.symlink_to(tmp_path / "disk" / place.name)
    assert rows(corpus, root) == before


@pytest.mark.parametrize("corpus", TREES)
def test_circular_and_broken_links_end(tmp_path, corpus):
    root = TREES[corpus](tmp_path / "official", SCALE[corpus])
    before = rows(corpus, root)
    for number, place in enumerate(path for path in list(root.rglob("*")) if path.is_dir()):
        (place / f"up{number}").symlink_to("..")
        (place / f"here{number}").symlink_to(".")
        (place / f"itself{number}.mp4").symlink_to(f"itself{number}.mp4")
        (place / f"gone{number}.mp4").symlink_to("nowhere.mp4")
    assert rows(corpus, root) == before


def test_two_folders_that_hold_links_to_each_other(tmp_path):
    root = fakeavceleb(tmp_path / "official", SMALL)
    before = rows("fakeavceleb", root)
    one, two = sorted(root.glob("*/FakeVideo-RealAudio/*/*"))[:2]
    (one / "other").symlink_to(two)
    (two / "other").symlink_to(one)
    assert rows("fakeavceleb", root) == before


@pytest.mark.skipif(os.name != "posix", reason="only posix names are bytes")
def test_a_name_that_is_no_utf8_is_an_error_that_can_be_printed(tmp_path):
    root = itw(tmp_path, SMALL)
    (root / "manifest.csv").unlink()
    (root / "clips").rename(root / "real")
    os.rename(os.fsencode(root / "real" / "fake" / "0000.mp4"), os.fsencode(root / "real") + b"/\xff.mp4")
    with pytest.raises(ValueError, match=r"itw: the name 'real/\\udcff.mp4' is not UTF-8; rename the file"):
        rows("itw", root)


# ---- FaceForensics++


def test_ffpp_raw_is_also_called_c0(tmp_path):
    found = rows("ffpp", ffpp(tmp_path / "script", SMALL, ["raw"]), compression="raw")
    again = rows("ffpp", ffpp(tmp_path / "other", SMALL, ["c0"]), compression="raw")
    assert {name.replace("/c0/", "/raw/") for name in again} == set(found) and len(found) == 12 * 9
    (tmp_path / "other/original_sequences/youtube/raw").mkdir()  # an empty folder hides nothing
    assert rows("ffpp", tmp_path / "other", compression="raw") == again
    assert {row["compression"] for row in again.values()} == {"raw"}


def test_ffpp_all_levels_triple_the_counts_with_pairs_inside_a_level(tmp_path):
    root = ffpp(tmp_path, SMALL, ["c0", "c23", "c40"])
    found, one = rows("ffpp", root, compression="all"), rows("ffpp", root)
    assert len(found) == 3 * len(one) and Counter(row["compression"] for row in found.values()) == {
        level: len(one) for level in ("raw", "c23", "c40")}
    fakes = [row for row in found.values() if row["label"]]
    assert all(found[row["pair_key"].partition("/")[2]]["compression"] == row["compression"] for row in fakes)
    # The levels of one video never straddle a split.
    assert len({(row["group"], row["split"]) for row in found.values()}) == len({row["group"] for row in one.values()})
    shutil.rmtree(root / "original_sequences/youtube/c40")
    for method in FFPP_METHODS:
        shutil.rmtree(root / f"manipulated_sequences/{method}/c40")
    assert report("ffpp", root, compression="all").metadata_only == ()


def test_ffpp_masks_models_archives_and_dfd_are_no_rows(tmp_path):
    root = ffpp(tmp_path, SMALL)
    before = rows("ffpp", root)
    fill(root, [f"manipulated_sequences/{method}/masks/videos/071_054.mp4" for method in FFPP_METHODS])
    fill(root, ["manipulated_sequences/Deepfakes/models/071_054/encoder.h5", "downloaded_videos.zip",
                "original_sequences/actors/c23/videos/24__outside_talking_still_laughing.mp4",
                "manipulated_sequences/DeepFakeDetection/c23/videos/24_23__walk_down_hall__YR5OVD4S.mp4"])
    assert rows("ffpp", root) == before and report("ffpp", root).disk_only == ()


def test_ffpp_deepfakes_by_another_case_and_frames_instead_of_videos(tmp_path):
    root = ffpp(tmp_path, SMALL)
    (root / "manipulated_sequences/Deepfakes").rename(root / "manipulated_sequences/DeepFakes")
    level = root / "manipulated_sequences/Face2Face/c23"
    fill(level, [f"frames/{path.stem}/000.png" for path in (level / "videos").iterdir()])
    shutil.rmtree(level / "videos")
    found = Counter((row["manipulation"], row["kind"]) for row in rows("ffpp", root).values())
    assert found["deepfakes", "video"] == found["face2face", "frames"] == 18


def test_ffpp_preprocessed_folders_beside_the_videos_count_once(tmp_path):
    root = ffpp(tmp_path, SMALL)
    before = rows("ffpp", root)
    level = root / "original_sequences/youtube/c23"
    fill(level, ["frames/071/000.png", "landmarks/071/000.npy", "masks/071/000.png"])
    assert rows("ffpp", root) == before


@pytest.mark.parametrize("place", ["splits/conversion_dict.json", "conversion_dict.json"])
def test_ffpp_youtube_ids_only_from_the_users_own_file(tmp_path, place):
    root = ffpp(tmp_path, SMALL)
    assert {row["attrs"] for row in rows("ffpp", root).values()} == {"{}"}
    write(root, {place: json.dumps({"071": "--b1Ua-kWJE 0", "054": "--b1Ua-kWJE 1"})})
    found = rows("ffpp", root)
    fake = found["manipulated_sequences/FaceSwap/c23/videos/071_054"]
    assert json.loads(fake["attrs"]) == {"youtube_id": "--b1Ua-kWJE"}
    assert found["original_sequences/youtube/c23/videos/087"]["attrs"] == "{}"


def test_ffpp_straddling_sequences_are_named_where_both_are_indexed(tmp_path):
    root = ffpp(tmp_path)
    (root / "original_sequences/youtube/c23/videos/605.mp4").unlink()
    (note,) = report("ffpp", root).notes
    assert "605/606" not in note and note.count("/") == 6
    assert report("ffpp", ffpp(tmp_path / "small", SMALL)).notes == ()


def test_ffpp_lists_in_the_root_itself(tmp_path):
    root = ffpp(tmp_path, SMALL)
    before = rows("ffpp", root)
    for path in (root / "splits").iterdir():
        path.rename(root / path.name)
    (root / "splits").rmdir()
    assert rows("ffpp", root) == before


def test_ffpp_a_method_that_was_not_downloaded_is_reported(tmp_path):
    root = ffpp(tmp_path, SMALL)
    shutil.rmtree(root / "manipulated_sequences/FaceShifter")
    missing = report("ffpp", root).metadata_only
    assert len(missing) == 18 and all(name.startswith("faceshifter/c23/") for name in missing)


# ---- Celeb-DF


def test_celebdf_first_line_of_the_headerless_list_counts(tmp_path):
    root = celebdf2(tmp_path, SMALL)
    first = (root / "List_of_testing_videos.txt").read_text().splitlines()[0].split()[1]
    assert rows("celebdf2", root)[first.removesuffix(".mp4")]["split"] == "test"


@pytest.mark.parametrize("change", [lambda text: "\ufeff" + text.replace("\n", "\r\n"),
                                    lambda text: text.replace("/", "\\") + "\n\n",
                                    lambda text: text.replace("1 YouTube-real", "1  Youtube-Real")])
def test_celebdf_list_saved_by_other_systems(tmp_path, change):
    root = celebdf2(tmp_path, SMALL)
    before, listing = rows("celebdf2", root), root / "List_of_testing_videos.txt"
    listing.write_bytes(change(listing.read_text()).encode())
    assert rows("celebdf2", root) == before


def test_celebdf_a_second_download_of_a_test_video_is_no_training_video(tmp_path):
    root = celebdf2(tmp_path, SMALL)
    before = rows("celebdf2", root)
    fill(root, ["Celeb-real/id0_0000 (1).mp4", "YouTube-real/00299 - Copy.mp4"])
    assert rows("celebdf2", root) == before
    assert report("celebdf2", root).disk_only == ("Celeb-real/id0_0000 (1).mp4", "YouTube-real/00299 - Copy.mp4")


def test_celebdf_a_missing_training_real_is_only_a_count(tmp_path):
    root = celebdf2(tmp_path, SMALL)
    before = rows("celebdf2", root)
    real = next(name for name, row in before.items() if row["label"] == 0 and row["split"] == "train")
    (root / f"{real}.mp4").unlink()
    after = rows("celebdf2", root)
    assert before.keys() - after.keys() == {real}
    assert not any(row["pair_key"] == f"celebdf2/{real}" for row in after.values())
    assert report("celebdf2", root).metadata_only == ()


def test_celebdf_names_that_differ_in_case_only(tmp_path):
    root = celebdf2(tmp_path, SMALL)
    fill(root, ["Celeb-real/ID0_0000.mp4"])
    with pytest.raises(ValueError, match="two files of one video"):
        rows("celebdf2", root)


# ---- DFDC


def test_dfdc_parts_beside_validation_and_test_keep_their_sets_apart(tmp_path):
    root = dfdc(tmp_path, 0.005)
    before = {name.removeprefix("train/"): row["split"] for name, row in rows("dfdc", root).items()}
    for part in (root / "train").iterdir():
        part.rename(root / part.name)
    (root / "train").rmdir()
    assert {name: row["split"] for name, row in rows("dfdc", root).items()} == before


def test_dfdc_parts_unpacked_into_a_folder_of_their_zips(tmp_path):
    root = dfdc(tmp_path, 0.005)
    before = rows("dfdc", root)
    for part in list((root / "train").iterdir()):
        part.rename(root / "train" / "moved")
        part.mkdir()
        (root / "train" / "moved").rename(part / part.name)
    after = rows("dfdc", root)
    assert Counter((row["label"], row["split"]) for row in after.values()) == Counter(
        (row["label"], row["split"]) for row in before.values())
    assert sum(row["pair_key"] != "" for row in after.values()) == 500


@pytest.mark.parametrize("kept", ["labels.csv", "metadata.json"])
def test_dfdc_test_set_with_either_label_file(tmp_path, kept):
    root = dfdc(tmp_path, 0.005)
    before = rows("dfdc", root)
    (root / "test" / ({"labels.csv", "metadata.json"} - {kept}).pop()).unlink()
    assert rows("dfdc", root) == before


def test_dfdc_label_files_that_disagree(tmp_path):
    root = dfdc(tmp_path, 0.005)
    entries = json.loads((root / "test/metadata.json").read_text())
    name = next(iter(entries))
    entries[name]["is_fake"] = 1 - entries[name]["is_fake"]
    write(root, {"test/metadata.json": json.dumps(entries)})
    with pytest.raises(ValueError, match=f"dfdc: '{name}' has two labels"):
        rows("dfdc", root)
    entries[name] = {"label": "REAL", "is_fake": 1}
    write(root, {"test/metadata.json": json.dumps(entries)})
    with pytest.raises(ValueError, match="has label 'real and 1'"):
        rows("dfdc", root)


def test_dfdc_one_part_without_metadata_is_named(tmp_path):
    root = dfdc(tmp_path, 0.005)
    (root / "train/dfdc_train_part_7/metadata.json").unlink()
    with pytest.raises(FileNotFoundError, match="'dfdc_train_part_7/metadata.json or labels.csv' is missing"):
        rows("dfdc", root)


def test_dfdc_a_video_is_labelled_by_its_own_part_only(tmp_path):
    root = dfdc(tmp_path, 0.005)
    one, two = (root / f"train/dfdc_train_part_{number}/metadata.json" for number in (0, 1))
    entries = json.loads(one.read_text())
    name, entry = entries.popitem()
    one.write_text(json.dumps(entries))
    two.write_text(json.dumps(json.loads(two.read_text()) | {name: entry}))
    assert f"train/dfdc_train_part_0/{name.removesuffix('.mp4')}" not in rows("dfdc", root)
    assert report("dfdc", root).disk_only == (f"train/dfdc_train_part_0/{name}",)


def test_dfdc_kaggle_sets_are_refused_alone_and_left_out_beside(tmp_path):
    root = dfdc(tmp_path / "official", 0.005)
    before = rows("dfdc", root)
    fill(root, ["test_videos/aassnaulhq.mp4", "train_sample_videos/aagfhgtpmv.mp4"])
    write(root, {"train_sample_videos/metadata.json": '{"aagfhgtpmv.mp4": {"label": "FAKE", "original": "x.mp4"}}'})
    assert rows("dfdc", root) == before
    assert report("dfdc", root).notes == (
        "left out, as Kaggle's and no official set: train_sample_videos, test_videos",)
    for place in ("train", "validation", "test"):
        shutil.rmtree(root / place)
    with pytest.raises(FileNotFoundError, match="Kaggle's train_sample_videos and test_videos are other sets"):
        rows("dfdc", root)


def test_dfdc_one_name_in_training_and_test(tmp_path):
    root = dfdc(tmp_path, 0.005)
    name = next(path.name for path in (root / "test/0").iterdir())
    fill(root, [f"train/dfdc_train_part_0/{name}"])
    with pytest.raises(ValueError, match=f"dfdc: '{name}' lies in 'dfdc_train_part_0' and '0'"):
        rows("dfdc", root)


def test_dfdc_an_incomplete_test_set_is_reported(tmp_path):
    root = dfdc(tmp_path, 0.005)
    gone = sorted(f"test/{path.name}" for path in (root / "test/4").iterdir())
    shutil.rmtree(root / "test/4")
    assert list(report("dfdc", root).metadata_only) == gone


# ---- FakeAVCeleb


def test_fakeavceleb_file_names_repeat_over_types_and_people(tmp_path):
    root = fakeavceleb(tmp_path, 0.1)
    found = rows("fakeavceleb", root)
    stems = Counter(row["path"].rpartition("/")[2] for row in found.values())
    twice = {row["path"].rpartition("/")[2]: set() for row in found.values() if stems[row["path"].rpartition("/")[2]] > 1}
    for row in found.values():
        if row["path"].rpartition("/")[2] in twice:
            twice[row["path"].rpartition("/")[2]].add(row["manipulation"])
    assert any({"wav2lip", "fsgan-wav2lip"} <= methods for methods in twice.values())


def test_fakeavceleb_races_with_brackets_and_odd_names(tmp_path):
    found = rows("fakeavceleb", fakeavceleb(tmp_path, 0.2))
    odd = [row for name, row in found.items() if "-12)" in name]
    assert odd and all(row["label"] == 1 and row["pair_key"] and row["manipulation"] != "unknown" for row in odd)
    assert any("/Caucasian (European)/women/" in name for name in found)


def test_fakeavceleb_columns_by_position_because_path_is_the_file_name(tmp_path):
    root = fakeavceleb(tmp_path, SMALL)
    before, path = rows("fakeavceleb", root), root / "FakeAVCeleb_v1.2/meta_data.csv"
    lines = path.read_text().splitlines()
    assert lines[0].endswith(",path,") and lines[1].count(",") == 9
    path.write_text("\ufeff" + "\r\n".join(lines).replace(",path,\r\n", ",path,Unnamed: 9\r\n"))
    assert rows("fakeavceleb", root) == before


def test_fakeavceleb_one_video_with_two_methods(tmp_path):
    root = fakeavceleb(tmp_path, SMALL)
    path = root / "FakeAVCeleb_v1.2/meta_data.csv"
    line = next(line for line in path.read_text().splitlines() if ",fsgan," in line)
    path.write_text(path.read_text() + line + "\n")
    rows("fakeavceleb", root)  # the same line twice says nothing new
    path.write_text(path.read_text() + line.replace(",fsgan,", ",faceswap,") + "\n")
    with pytest.raises(ValueError, match="is listed twice in FakeVideo-RealAudio, with different methods"):
        rows("fakeavceleb", root)


# ---- ForgeryNet


def test_forgerynet_lists_of_reversed_polarity_are_counted_not_believed(tmp_path):
    root = forgerynet(tmp_path, SMALL)
    before = without_path(rows("forgerynet", root))
    listing = root / "Validation/video_list.txt"
    turned = [cells[:-3] + [str(1 - int(cells[-3]))] + cells[-2:] for cells in map(
        str.split, listing.read_text().splitlines())]
    listing.write_text("\n".join(map(" ".join, turned)))
    assert without_path(rows("forgerynet", root)) == before
    assert f"{len(turned)} lines of video_list.txt contradict their folder" in report("forgerynet", root).notes


def test_forgerynet_test_image_track_and_other_folders_are_no_rows(tmp_path):
    root = forgerynet(tmp_path, SMALL)
    before = rows("forgerynet", root)
    fill(root, ["Test/video/test_video_release/1/a/b/video.mp4", "Training/image/train_release/9/a/b.png",
                "Training/video/train_video_release/9/a/b/video.mp4",
                "Training/video/train_video_release/²/a/b/video.mp4",
                "Training/video/train_video_release/20/a/video.mp4"])
    assert rows("forgerynet", root) == before


def test_forgerynet_complete_list_adds_the_folders_that_the_official_one_omits(tmp_path):
    root = forgerynet(tmp_path, SMALL)
    omitted = report("forgerynet", root).disk_only
    folders = {name.split("/")[1] for name in omitted}
    assert folders == {"2", "8"}
    write(root, {"Training/video_list_complete.txt": "\n".join(f"0 {name} 1 2 2" for name in omitted)})
    assert report("forgerynet", root).disk_only == ()


def test_forgerynet_releases_unpacked_without_their_outer_folders(tmp_path):
    root = forgerynet(tmp_path / "official", SMALL)
    before = Counter((row["label"], row["manipulation"], row["split"], row["attrs"])
                     for row in rows("forgerynet", root).values())
    flat = tmp_path / "flat" / "Training"
    flat.mkdir(parents=True)
    (root / "Training/video/train_video_release").rename(flat / "train_video_release")
    (root / "Training/video_list.txt").rename(flat / "video_list.txt")
    (root / "Validation/video/val_video_release").rename(flat.parent / "val_video_release")
    (root / "Validation/video_list.txt").rename(flat.parent / "video_list.txt")
    after = Counter((row["label"], row["manipulation"], row["split"], row["attrs"])
                    for row in rows("forgerynet", flat.parent).values())
    assert after == before
    assert report("forgerynet", flat.parent).metadata_only == ()


def test_forgerynet_segments_are_frames_with_a_forged_flag(tmp_path):
    root = forgerynet(tmp_path, SMALL)
    fake = next(row for name, row in rows("forgerynet", root).items() if "val_video_release/4/" in name)
    assert json.loads(fake["attrs"]) == {"folder": 4, "segments": [[0, 10, 0], [10, 35, 1], [45, 30, 0]]}


# ---- DF40


@pytest.mark.parametrize("spelling, method", [
    ("inswapper", "inswap"), ("MobileFaceSwap", "mobileswap"), ("FS_vid2vid", "facevid2vid"),
    ("face_vid2vid", "facevid2vid"), ("OneShot", "one_shot_free"), ("DaGAN", "danet"), ("mraa", "mraa")])
def test_df40_methods_by_their_other_names(tmp_path, spelling, method):
    root = df40(tmp_path, SMALL)
    before = Counter(row["manipulation"] for row in rows("df40", root).values())
    folder = next(path for path in (root / "DF40").iterdir() if path.name.lower() == method)
    folder.rename(root / "DF40" / spelling)
    assert Counter(row["manipulation"] for row in rows("df40", root).values()) == before
    fill(root, [f"DF40/{method.title() if spelling == method else method}/cdf/frames/00000/000.png"])
    with pytest.raises(ValueError, match=f"are both {method}; remove one"):
        rows("df40", root)


def test_df40_reals_from_its_own_json_where_the_list_is_absent(tmp_path):
    root = df40(tmp_path, SMALL)
    listed = {name for name, row in rows("df40", root).items() if row["label"] == 0}
    (root / "Celeb-DF-v2/List_of_testing_videos.txt").unlink()
    names = [name.rpartition("/")[2] for name in listed]
    content = {"simswap_cdf": {"simswap_Fake": {"train": {}, "test": {"id0_id1_0000": {"label": "simswap_Fake"}}},
                               "simswap_Real": {"train": {}, "val": None, "test": {
                                   name: {"label": "simswap_Real", "frames": []} for name in [*names, "id99_0000"]}},
                               "": None}, "empty": None}
    write(root, {"dataset_json/simswap_cdf.json": json.dumps(content)})
    assert {name for name, row in rows("df40", root).items() if row["label"] == 0} == listed
    told = report("df40", root)
    assert told.metadata_only == ("celeb-real/id99_0000",) and "are those of 'simswap_cdf.json'" in told.notes[0]


def test_df40_reals_as_the_original_videos(tmp_path):
    root = df40(tmp_path, SMALL)
    before = rows("df40", root)
    for folder in ("Celeb-real", "YouTube-real"):
        for place in list((root / "Celeb-DF-v2" / folder / "frames").iterdir()):
            fill(root, [f"Celeb-DF-v2/{folder}/{place.name}.mp4"])
        shutil.rmtree(root / "Celeb-DF-v2" / folder / "frames")
    after = rows("df40", root)
    assert Counter((row["label"], row["manipulation"], row["target_id"]) for row in after.values()) == Counter(
        (row["label"], row["manipulation"], row["target_id"]) for row in before.values())
    assert {row["kind"] for row in after.values() if row["label"] == 0} == {"video"}
    assert report("df40", root).notes[0].startswith("reals are videos but fakes are DF40's aligned crops")


def test_df40_only_the_celebdf_domain_of_the_papers_methods(tmp_path):
    root = df40(tmp_path, SMALL)
    fill(root, ["DF40/deepfacelab/fake/x/000.png", "DF40/deepfacelab/real/x/000.png", "DF40/e4s/ff/frames/a/0.png"])
    shutil.rmtree(root / "DF40/lia/cdf")
    found = rows("df40", root)
    assert not any("/ff/" in name or "/landmarks/" in name or "deepfacelab" in name for name in found)
    assert report("df40", root).notes == (
        "methods outside the paper's 21 left out: StyleGAN2, deepfacelab, heygen", "no cdf/frames/ of: lia")


# ---- WildDeepfake


def test_wilddeepfake_archives_unpacked_into_folders_of_their_own(tmp_path):
    found = rows("wilddeepfake", wilddeepfake(tmp_path / "tars", 0.1))
    root = wilddeepfake(tmp_path / "extracted", 0.1, extracted=True)
    for shard in list(root.glob("*/*")):
        shard.rename(shard.with_name("moved"))
        shard.mkdir()
        shard.with_name("moved").rename(shard / shard.name)
    assert without_path(rows("wilddeepfake", root)) == without_path(found)


def test_wilddeepfake_a_true_gzip_is_read_too(tmp_path):
    root = wilddeepfake(tmp_path, SMALL)
    before = rows("wilddeepfake", root)
    for path in root.glob("*/*.tar.gz"):
        path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    assert rows("wilddeepfake", root) == before


@pytest.mark.parametrize("content", [
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", b"<html>sign in</html>",
    tar_bytes(["./0/real/0/3.png"])[:700], gzip.compress(tar_bytes(["./0/real/0/3.png"]))[:60]])
def test_wilddeepfake_what_is_no_whole_archive(tmp_path, content):
    root = write(wilddeepfake(tmp_path, SMALL), {"real_train/9.tar.gz": content})
    with pytest.raises(ValueError, match="'9.tar.gz' in 'real_train' is no readable tar .*download it again"):
        rows("wilddeepfake", root)


@pytest.mark.parametrize("member", ["0/real/../3.png", "../0/real/7/3.png", "/0/real/7/3.png", "0/real/7/../../../3.png"])
def test_wilddeepfake_members_cannot_lead_out(tmp_path, member):
    root = write(wilddeepfake(tmp_path, SMALL), {"real_train/9.tar.gz": tar_bytes([member])})
    with pytest.raises(ValueError, match="'9.tar.gz' in 'real_train' holds '.*', which leads out of the archive"):
        rows("wilddeepfake", root)


def test_wilddeepfake_extracted_folder_of_the_other_label(tmp_path):
    root = fill(wilddeepfake(tmp_path, SMALL, extracted=True), ["real_train/9/fake/0/3.png"])
    with pytest.raises(ValueError, match="'real_train/9/fake/0': expected '<shard>/real/<sequence>'"):
        rows("wilddeepfake", root)


# ---- Deepfake-Eval-2024


def test_dfeval_newer_edition_with_links_and_columns_by_name(tmp_path):
    root = dfeval2024(tmp_path, 0.1)
    before, path = rows("dfeval2024", root), root / "video-metadata-publish.csv"
    header, _, rest = path.read_text(encoding="utf-8-sig").partition("\n")
    path.write_text("broken")  # the older edition beside it is not read
    write(root, {"video-metadata-publish-with-links.csv": header.replace(
        "Video Ground Truth", " VIDEO  ground truth").replace("Filename", "filename") + ",Link\n" + rest})
    assert rows("dfeval2024", root) == before


def test_dfeval_one_name_in_two_folders(tmp_path):
    root = dfeval2024(tmp_path, 0.1)
    name = next(path.name for path in (root / "video-data").iterdir())
    fill(root, [f"video-data/again/{name}"])
    with pytest.raises(ValueError, match=f"dfeval2024: '{name}' lies in 'video-data' and 'again'"):
        rows("dfeval2024", root)


# ---- a private collection


def test_manifest_paths_of_windows_and_names_with_spaces_and_letters(tmp_path):
    names = ["clips/a b.mp4", "clips/été 日本.mp4", "clips/100%,'x'.mp4"]
    fill(tmp_path, names)
    written = "\ufeffpath,label\r\nclips\\a b.mp4,real\r\n.\\clips\\été 日本.mp4,fake\r\n\"clips/100%,'x'.mp4\",1\r\n"
    write(tmp_path, {"manifest.csv": written})
    found = {row["path"]: row["label"] for row in rows("itw", tmp_path).values()}
    assert found == dict(zip(names, (0, 1, 1), strict=True))


def test_manifest_links_out_of_the_root_are_refused_but_inside_it_they_work(tmp_path):
    fill(tmp_path, ["outside/a.mp4", "root/clips/b.mp4"])
    root = tmp_path / "root"
    (root / "inside").symlink_to("clips")
    write(root, {"manifest.csv": "path,label\ninside/b.mp4,fake\n"})
    assert [row["label"] for row in rows("itw", root).values()] == [1]
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "file.mp4").symlink_to(tmp_path / "outside/a.mp4")
    for path in ("folder/a.mp4", "file.mp4"):
        write(root, {"manifest.csv": f"path,label\n{path},fake\n"})
        with pytest.raises(ValueError, match=f"entry 1: path '{path}' must lie inside the root but is a link out"):
            rows("itw", root)


def test_manifest_under_a_root_that_is_itself_a_link(tmp_path):
    itw(tmp_path / "disk", SMALL)
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    assert rows("itw", tmp_path / "link") == rows("itw", tmp_path / "disk")


def test_manifest_two_entries_with_one_id(tmp_path):
    fill(tmp_path, ["a.mp4", "b.mp4"])
    write(tmp_path, {"manifest.csv": "path,label,video_id\na.mp4,real,x\nb.mp4,real,x\n"})
    with pytest.raises(ValueError, match="itw/x: listed twice, as 'a.mp4' and 'b.mp4'"):
        rows("itw", tmp_path)
    write(tmp_path, {"manifest.csv": "path,label\na.mp4,real\n.\\a.mp4,fake\n"})
    with pytest.raises(ValueError, match="two labels"):
        rows("itw", tmp_path)
