"""The report of the crops, counted by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from deepfake_repro.crops.report import COLUMNS, crop_counts, examples, faces_of_corpora
from deepfake_repro.crops.store import CropStore
from support.squares import OPTIONS, index_row

HERE = Path(__file__).parent


def test_report_counts_by_hand(corpus, made):
    _, index = corpus
    without_crops = pd.DataFrame([index_row("x.mp4", dataset="dfdc")])
    index = pd.concat([index, without_crops])
    crops = CropStore(made).table(COLUMNS)
    skipped = pd.read_csv(made / "skipped.csv")
    table = crop_counts(crops, index, skipped, OPTIONS)
    broken = int((crops["video_id"] == "ffpp/broken").sum())
    # Five videos of 3 frames, one of 2 with two faces each, one of 3 with one face, 3 without any.
    expected = {
        "videos": 12,
        "frames": 15 + 2 + 3 + 3 + broken,
        "without_face": 2 + 3,
        "several_faces": 2,
        "faces": 15 + 4 + 1 + broken,
        "seconds": 15 + 2 + 3 + 3 + broken,
        "missing": 1,
        "empty": 1,
        "undecodable": 1,
        "crashed": 0,
        "timeout": 0,
        "no_face": 1,
        "broken_off": 1,
        "frame_without_face": 1,
    }
    assert table.loc["ffpp"].to_dict() == expected
    assert table.loc["dfdc"].sum() == table.loc["dfdc", "videos"] == 1
    assert table.loc["all", "videos"] == 13
    halves = crop_counts(crops, index, skipped, replace(OPTIONS, frames_per_second=0.5))
    assert halves.loc["ffpp", "seconds"] == 2 * expected["seconds"]
    spread = crop_counts(crops, index, skipped, replace(OPTIONS, frames_per_clip=32))
    assert spread.loc["ffpp", "seconds"] == 0 and spread.loc["ffpp", "frames"] == expected["frames"]


def test_frames_without_face_of_a_video_that_broke_off():
    index = pd.DataFrame([index_row("a.mp4"), index_row("b", "frames")])
    crops = pd.DataFrame(
        [("ffpp/a", frame, 0, 0, 9, 9, 1.0) for frame in (0, 0, 3)], columns=COLUMNS
    )
    skipped = pd.DataFrame(
        [
            ("ffpp/a", "crashed", "SIGSEGV after 8 sampled frames"),
            ("ffpp/b", "broken_off", "1 images cannot be decoded (after 4 sampled frames)"),
        ],
        columns=["video_id", "reason", "detail"],
    )
    row = crop_counts(crops, index, skipped, OPTIONS).loc["ffpp"]
    columns = ["frames", "without_face", "several_faces", "faces", "seconds"]
    assert row[columns].tolist() == [12, 10, 1, 3, 8]
    assert row["crashed"] == row["broken_off"] == 1


def test_sizes_and_scores_of_detected_faces_only():
    index = pd.DataFrame([index_row("a.mp4"), index_row("b", "frames")])
    crops = pd.DataFrame(
        [("ffpp/a", 0, 10, 20, 40, 60, 0.9), ("ffpp/b", 0, 0, 0, 99, 99, 1.0)], columns=COLUMNS
    )
    assert faces_of_corpora(crops, index).to_numpy().tolist() == [["ffpp", 40, 0.9]]


def test_examples_are_spread_over_the_videos_of_each_manipulation(corpus, made):
    _, index = corpus
    kinds = index.assign(
        manipulation=np.where(index["path"].str.startswith("v"), "deepfakes", "real")
    )
    store = CropStore(made)
    sheets = examples(store, kinds, each=3)
    assert {name: len(images) for name, images in sheets.items()} == {
        "ffpp: deepfakes": 3,
        "ffpp: real": 3,
    }
    for image, name in zip(sheets["ffpp: deepfakes"], ("v0", "v2", "v4"), strict=True):
        assert np.array_equal(image, store.image(int(store.rows_of(f"ffpp/{name}")[0])))
