"""Quirks of the corpora that train, each reported by users or seen in the official files."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest

from support.official_trees import (
    FFPP_METHODS,
    celebdf2,
    dfdc,
    fakeavceleb,
    ffpp,
    fill,
    forgerynet,
    write,
)
from support.quirks import SMALL, report, without_path
from support.trees import rows


def test_ffpp_raw_is_also_called_c0(tmp_path):
    videos = rows("ffpp", ffpp(tmp_path / "script", SMALL, ["raw"]), compression="raw")
    again = rows("ffpp", ffpp(tmp_path / "other", SMALL, ["c0"]), compression="raw")
    assert {name.replace("/c0/", "/raw/") for name in again} == set(videos) and len(
        videos
    ) == 12 * 9
    (tmp_path / "other/original_sequences/youtube/raw").mkdir()  # an empty folder hides nothing
    assert rows("ffpp", tmp_path / "other", compression="raw") == again
    assert {row["compression"] for row in again.values()} == {"raw"}


def test_ffpp_all_levels_triple_the_counts_with_pairs_inside_a_level(tmp_path):
    root = ffpp(tmp_path, SMALL, ["c0", "c23", "c40"])
    videos = rows("ffpp", root, compression="all")
    one = rows("ffpp", root)
    assert len(videos) == 3 * len(one) and Counter(
        row["compression"] for row in videos.values()
    ) == {level: len(one) for level in ("raw", "c23", "c40")}
    fakes = [row for row in videos.values() if row["label"]]
    assert all(
        videos[row["pair_key"].partition("/")[2]]["compression"] == row["compression"]
        for row in fakes
    )
    # The levels of one video never straddle a split.
    assert len({(row["group"], row["split"]) for row in videos.values()}) == len(
        {row["group"] for row in one.values()}
    )
    shutil.rmtree(root / "original_sequences/youtube/c40")
    for method in FFPP_METHODS:
        shutil.rmtree(root / f"manipulated_sequences/{method}/c40")
    assert report("ffpp", root, compression="all").metadata_only == ()


def test_ffpp_masks_models_archives_and_dfd_are_no_rows(tmp_path):
    root = ffpp(tmp_path, SMALL)
    before = rows("ffpp", root)
    fill(
        root,
        [f"manipulated_sequences/{method}/masks/videos/071_054.mp4" for method in FFPP_METHODS],
    )
    fill(
        root,
        [
            "manipulated_sequences/Deepfakes/models/071_054/encoder.h5",
            "downloaded_videos.zip",
            "original_sequences/actors/c23/videos/24__outside_talking_still_laughing.mp4",
            "manipulated_sequences/DeepFakeDetection/c23/videos/24_23__walk_down_hall__YR5OVD4S.mp4",
        ],
    )
    assert rows("ffpp", root) == before and report("ffpp", root).disk_only == ()


def test_ffpp_deepfakes_by_another_case_and_frames_instead_of_videos(tmp_path):
    root = ffpp(tmp_path, SMALL)
    (root / "manipulated_sequences/Deepfakes").rename(root / "manipulated_sequences/DeepFakes")
    level = root / "manipulated_sequences/Face2Face/c23"
    fill(level, [f"frames/{path.stem}/000.png" for path in (level / "videos").iterdir()])
    shutil.rmtree(level / "videos")
    counts = Counter((row["manipulation"], row["kind"]) for row in rows("ffpp", root).values())
    assert counts["deepfakes", "video"] == counts["face2face", "frames"] == 18


def test_ffpp_preprocessed_folders_beside_the_videos_count_once(tmp_path):
    root = ffpp(tmp_path, SMALL)
    before = rows("ffpp", root)
    level = root / "original_sequences/youtube/c23"
    fill(level, ["frames/071/000.png", "landmarks/071/000.npy", "masks/071/000.png"])
    assert rows("ffpp", root) == before


@pytest.mark.parametrize("path", ["splits/conversion_dict.json", "conversion_dict.json"])
def test_ffpp_youtube_ids_only_from_the_users_own_file(tmp_path, path):
    root = ffpp(tmp_path, SMALL)
    assert {row["attrs"] for row in rows("ffpp", root).values()} == {"{}"}
    write(root, {path: json.dumps({"071": "--b1Ua-kWJE 0", "054": "--b1Ua-kWJE 1"})})
    videos = rows("ffpp", root)
    fake = videos["manipulated_sequences/FaceSwap/c23/videos/071_054"]
    assert json.loads(fake["attrs"]) == {"youtube_id": "--b1Ua-kWJE"}
    assert videos["original_sequences/youtube/c23/videos/087"]["attrs"] == "{}"


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


def test_celebdf_first_line_of_the_headerless_list_counts(tmp_path):
    root = celebdf2(tmp_path, SMALL)
    first = (root / "List_of_testing_videos.txt").read_text().splitlines()[0].split()[1]
    assert rows("celebdf2", root)[first.removesuffix(".mp4")]["split"] == "test"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.replace("/", "\\") + "\n\n",
        lambda text: text.replace("1 YouTube-real", "1  Youtube-Real"),
    ],
)
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
    assert report("celebdf2", root).disk_only == (
        "Celeb-real/id0_0000 (1).mp4",
        "YouTube-real/00299 - Copy.mp4",
    )


def test_celebdf_a_missing_training_real_is_only_a_count(tmp_path):
    root = celebdf2(tmp_path, SMALL)
    before = rows("celebdf2", root)
    real = next(
        name for name, row in before.items() if row["label"] == 0 and row["split"] == "train"
    )
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
        (row["label"], row["split"]) for row in before.values()
    )
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
    with pytest.raises(
        FileNotFoundError, match=r"'dfdc_train_part_7/metadata.json or labels.csv' is missing"
    ):
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
    entries = {"aagfhgtpmv.mp4": {"label": "FAKE", "original": "x.mp4"}}
    write(root, {"train_sample_videos/metadata.json": json.dumps(entries)})
    assert rows("dfdc", root) == before
    assert report("dfdc", root).notes == (
        "Kaggle's sets, which are not official, left out: train_sample_videos, test_videos",
    )
    for folder in ("train", "validation", "test"):
        shutil.rmtree(root / folder)
    with pytest.raises(
        FileNotFoundError, match="Kaggle's train_sample_videos and test_videos are other sets"
    ):
        rows("dfdc", root)


def test_dfdc_one_name_in_training_and_test(tmp_path):
    root = dfdc(tmp_path, 0.005)
    name = next(path.name for path in (root / "test/0").iterdir())
    fill(root, [f"train/dfdc_train_part_0/{name}"])
    with pytest.raises(ValueError, match=f"dfdc: '{name}' is in both 'dfdc_train_part_0' and '0'"):
        rows("dfdc", root)


def test_dfdc_an_incomplete_test_set_is_reported(tmp_path):
    root = dfdc(tmp_path, 0.005)
    gone = sorted(f"test/{path.name}" for path in (root / "test/4").iterdir())
    shutil.rmtree(root / "test/4")
    assert list(report("dfdc", root).metadata_only) == gone


def test_fakeavceleb_file_names_repeat_over_types_and_people(tmp_path):
    root = fakeavceleb(tmp_path, 0.1)
    videos = rows("fakeavceleb", root)
    stems = Counter(row["path"].rpartition("/")[2] for row in videos.values())
    twice = {
        row["path"].rpartition("/")[2]: set()
        for row in videos.values()
        if stems[row["path"].rpartition("/")[2]] > 1
    }
    for row in videos.values():
        if row["path"].rpartition("/")[2] in twice:
            twice[row["path"].rpartition("/")[2]].add(row["manipulation"])
    assert any({"wav2lip", "fsgan-wav2lip"} <= methods for methods in twice.values())


def test_fakeavceleb_races_with_brackets_and_odd_names(tmp_path):
    videos = rows("fakeavceleb", fakeavceleb(tmp_path, 0.2))
    odd = [row for name, row in videos.items() if "-12)" in name]
    assert odd and all(
        row["label"] == 1 and row["pair_key"] and row["manipulation"] != "unknown" for row in odd
    )
    assert any("/Caucasian (European)/women/" in name for name in videos)


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
    with pytest.raises(
        ValueError, match="is listed twice in FakeVideo-RealAudio, with different methods"
    ):
        rows("fakeavceleb", root)


def test_forgerynet_lists_of_reversed_polarity_are_counted_not_believed(tmp_path):
    root = forgerynet(tmp_path, SMALL)
    before = without_path(rows("forgerynet", root))
    listing = root / "Validation/video_list.txt"
    turned = [
        [*cells[:-3], str(1 - int(cells[-3])), *cells[-2:]]
        for cells in map(str.split, listing.read_text().splitlines())
    ]
    listing.write_text("\n".join(map(" ".join, turned)))
    assert without_path(rows("forgerynet", root)) == before
    assert (
        f"{len(turned)} lines of video_list.txt contradict their folder"
        in report("forgerynet", root).notes
    )


def test_forgerynet_test_image_track_and_other_folders_are_no_rows(tmp_path):
    root = forgerynet(tmp_path, SMALL)
    before = rows("forgerynet", root)
    fill(
        root,
        [
            "Test/video/test_video_release/1/a/b/video.mp4",
            "Training/image/train_release/9/a/b.png",
            "Training/video/train_video_release/9/a/b/video.mp4",
            "Training/video/train_video_release/²/a/b/video.mp4",
            "Training/video/train_video_release/20/a/video.mp4",
        ],
    )
    assert rows("forgerynet", root) == before


def test_forgerynet_complete_list_adds_the_folders_that_the_official_one_omits(tmp_path):
    root = forgerynet(tmp_path, SMALL)
    omitted = report("forgerynet", root).disk_only
    folders = {name.split("/")[1] for name in omitted}
    assert folders == {"2", "8"}
    write(
        root, {"Training/video_list_complete.txt": "\n".join(f"0 {name} 1 2 2" for name in omitted)}
    )
    assert report("forgerynet", root).disk_only == ()


def test_forgerynet_releases_unpacked_without_their_outer_folders(tmp_path):
    root = forgerynet(tmp_path / "official", SMALL)
    before = Counter(
        (row["label"], row["manipulation"], row["split"], row["attrs"])
        for row in rows("forgerynet", root).values()
    )
    flat = tmp_path / "flat" / "Training"
    flat.mkdir(parents=True)
    (root / "Training/video/train_video_release").rename(flat / "train_video_release")
    (root / "Training/video_list.txt").rename(flat / "video_list.txt")
    (root / "Validation/video/val_video_release").rename(flat.parent / "val_video_release")
    (root / "Validation/video_list.txt").rename(flat.parent / "video_list.txt")
    after = Counter(
        (row["label"], row["manipulation"], row["split"], row["attrs"])
        for row in rows("forgerynet", flat.parent).values()
    )
    assert after == before
    assert report("forgerynet", flat.parent).metadata_only == ()


def test_forgerynet_segments_are_frames_with_a_forged_flag(tmp_path):
    root = forgerynet(tmp_path, SMALL)
    fake = next(
        row for name, row in rows("forgerynet", root).items() if "val_video_release/4/" in name
    )
    assert json.loads(fake["attrs"]) == {
        "folder": 4,
        "segments": [[0, 10, 0], [10, 35, 1], [45, 30, 0]],
    }
