"""Crops of one video and their store: borders by hand, every kind of bad video, random access, scale."""

import io
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from squares import OPTIONS, Squares, index_row, make_corpus, scene

from deepfake_repro.crops import store as crop_store
from deepfake_repro.crops.extraction import crop, enlarge, extract
from deepfake_repro.crops.store import CROP_SCHEMA, CropStore, decode, encode, read_skipped, write_listing, write_part


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, make_clip):
    return make_corpus(tmp_path_factory.mktemp("corpus"), make_clip)


# --- boxes and pixels -----------------------------------------------------------------------------

def test_enlarge_by_hand():
    assert enlarge(np.array([[10.0, 20, 30, 60], [0, 0, 10, 10]])).tolist() == [
        [7, 14, 33, 66], pytest.approx([-1.5, -1.5, 11.5, 11.5])]
    assert enlarge(np.zeros((0, 4))).shape == (0, 4)


def test_crop_at_native_size_copies_pixels():
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    assert np.array_equal(crop(image, np.array([10.2, 5.4, 41.6, 37.0]), 32), image[5:37, 10:42])


def test_crop_repeats_the_border():
    image = np.arange(9, dtype=np.uint8).reshape(3, 3, 1).repeat(3, axis=2)
    expected = [[0, 0, 1, 2], [0, 0, 1, 2], [3, 3, 4, 5], [6, 6, 7, 8]]
    assert crop(image, np.array([-1, -1, 3, 3]), 4)[..., 0].tolist() == expected
    assert crop(image, np.array([1, 1, 5, 5]), 4)[..., 0].tolist() == [[4, 5, 5, 5], *[[7, 8, 8, 8]] * 3]


def test_crop_shrinks_by_the_mean_and_stretches_to_a_square():
    image = np.random.default_rng(0).integers(0, 255, (40, 80, 3), dtype=np.uint8)
    mean = image.reshape(10, 4, 10, 8, 3).mean(axis=(1, 3))
    assert np.abs(crop(image, np.array([0, 0, 80, 40]), 10) - mean).max() <= 0.5 + 1e-6


def test_crop_enlarges_bilinearly_and_survives_a_box_of_no_size():
    image = np.array([[0, 100]], np.uint8)[..., None].repeat(3, axis=2)
    # Pixel centres of 4 columns over 2: -0.25, 0.25, 0.75, 1.25 (clamped)
    assert crop(image, np.array([0, 0, 2, 1]), 4)[0, :, 0].tolist() == [0, 25, 75, 100]
    assert crop(image, np.array([1, 0, 1, 0]), 8).tolist() == np.full((8, 8, 3), 100).tolist()


def test_png_is_lossless_and_jpeg_close():
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(noise, (0, 0), 3)
    assert np.array_equal(decode(encode(image, "png")), image)
    jpeg = encode(image, "jpeg")
    assert jpeg[:2] == b"\xff\xd8" and np.abs(decode(jpeg).astype(int) - image).max() < 12


# --- one video ------------------------------------------------------------------------------------

def test_extract_keeps_every_face_of_every_second(corpus):
    rows, skipped = extract(index_row("two.mp4"), corpus[0], Squares(), OPTIONS)
    assert [(row["frame"], row["face"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)] and skipped == []
    boxes = [[row[key] for key in ("x0", "y0", "x1", "y1")] for row in rows[:2]]
    assert np.abs(np.array(boxes) - [[10, 20, 50, 60], [90, 60, 130, 100]]).max() <= 1
    assert rows[0]["width"] == 160 and rows[0]["height"] == 120 and rows[2]["seconds"] == 1.0
    assert rows[1]["landmarks"][:4] == [boxes[1][0], boxes[1][1] + 1, boxes[1][0] + 2, boxes[1][1] + 3]
    # 40 + 30 % = 52 pixels: 6 of 52 on each side are background, in the crop of 32 the outer 3.7.
    image = decode(rows[0]["image"])
    assert image.shape == (32, 32, 3)
    assert image[16, 16, 1] > 180 and image[16, 6, 1] > 180 and image[16, 1, 1] < 100


def test_a_fixed_number_of_frames_a_clip(corpus):
    """Of eleven frames a tenth of a second apart the first, the last and one between: 0, 5 and 10."""
    rows, _ = extract(index_row("two.mp4"), corpus[0], Squares(), replace(OPTIONS, frames_per_clip=3))
    assert [(row["frame"], row["seconds"]) for row in rows if not row["face"]] == [(0, 0.0), (1, 0.5), (2, 1.0)]


def test_extract_leaves_out_small_and_unsure_faces(corpus):
    count = [len(extract(index_row("two.mp4"), corpus[0], Squares(), replace(OPTIONS, **change))[0])
             for change in ({"min_side": 30}, {"min_side": 50}, {"min_score": 0.7})]
    assert count == [4, 0, 2]


@pytest.mark.parametrize("name, reason, rows", [
    ("nobody", "no_face", 0), ("text", "undecodable", 0), ("zero", "empty", 0), ("gone", "missing", 0),
    ("sometimes", "frame_without_face", 1), ("broken", "broken_off", None)])
def test_what_cannot_be_used_is_recorded(corpus, name, reason, rows):
    found, (record,) = extract(index_row(f"{name}.mp4"), corpus[0], Squares(), OPTIONS)
    assert record["video_id"] == f"ffpp/{name}" and record["reason"] == reason
    assert len(found) == rows if rows is not None else len(found) >= 1
    assert "\n" not in record["detail"] and str(corpus[0]) not in record["detail"]


def test_frame_counts_are_in_the_detail(corpus):
    details = [extract(index_row(f"{name}.mp4"), corpus[0], Squares(), OPTIONS)[1][0]["detail"]
               for name in ("sometimes", "nobody")]
    assert details == ["2 of 3 frames", "3 of 3 frames"]


def test_face_sequences_bypass_the_detector(tmp_path):
    with tarfile.open(tmp_path / "1.tar.gz", "w") as tar:
        for number in range(7):
            data = encode(np.full((50, 40, 3), 10 * number, np.uint8), "png")
            member = tarfile.TarInfo(f"1/real/3/{number}.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    row = index_row("1.tar.gz!1/real/3", "frames", "wilddeepfake", '{"every": 3}')
    rows, skipped = extract(row, tmp_path, None, OPTIONS)
    assert [row["frame"] for row in rows] == [0, 3, 6] and skipped == []
    assert [decode(row["image"]).shape + (int(decode(row["image"]).mean()),) for row in rows] == [
        (32, 32, 3, 0), (32, 32, 3, 30), (32, 32, 3, 60)]
    assert rows[1]["score"] == 1 and np.isnan(rows[1]["landmarks"]).all() and np.isnan(rows[1]["seconds"])
    assert [rows[1][key] for key in ("x0", "y0", "x1", "y1", "width", "height")] == [0, 0, 40, 50, 40, 50]


def test_photographs_of_any_size_and_name_go_through_the_detector(tmp_path):
    (tmp_path / "n1").mkdir()
    for name, image in (("0001_01.png", scene((20, 30))), ("0002_01.png", scene((10, 10), (90, 60))[:100]),
                        ("0003_01.png", scene())):
        (tmp_path / "n1" / name).write_bytes(encode(image, "png"))
    (tmp_path / "n1" / "broken.jpg").write_bytes(b"no image")
    rows, skipped = extract(index_row("n1", "photos", "vggface2"), tmp_path, Squares(), OPTIONS)
    assert [(row["frame"], row["face"], row["x0"]) for row in rows] == [(0, 0, 20), (1, 0, 10), (1, 1, 90)]
    assert skipped[0]["reason"] == "broken_off" and "first broken.jpg" in skipped[0]["detail"]
    rows, skipped = extract(index_row("missing", "photos", "vggface2"), tmp_path, Squares(), OPTIONS)
    assert rows == [] and skipped[0]["reason"] == "missing"


def test_unknown_kind():
    with pytest.raises(ValueError, match="ffpp/x: kind 'audio'"):
        extract(index_row("x.wav", "audio"), Path(), None, OPTIONS)


# --- the store ------------------------------------------------------------------------------------

def store_rows(count, video="ffpp/a"):
    images = np.random.default_rng(count).integers(0, 255, (count, 8, 8, 3), dtype=np.uint8)
    box = {"x0": 1.0, "y0": 2.0, "x1": 3.0, "y1": 4.0, "score": 0.5, "landmarks": [float("nan")] * 10}
    rows = [{"video_id": video, "frame": i, "seconds": float(i), "face": 0, **box, "width": 9, "height": 9,
             "image": encode(image, "png")} for i, image in enumerate(images)]
    return images, rows


def test_random_access_equals_reading_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(crop_store, "ROWS_AT_ONCE", 3)  # several batches in a part
    parts = [store_rows(count, video) for count, video in ((7, "ffpp/a"), (0, ""), (5, "ffpp/b"))]
    for number, (_, rows) in enumerate(parts):
        assert write_part(tmp_path / f"{number}.arrow", iter(rows)) == len(rows)
    images = np.concatenate([images for images, _ in parts])
    store = CropStore(tmp_path)
    assert len(store) == 12
    for row in np.random.default_rng(0).permutation(12):
        assert np.array_equal(store.image(int(row)), images[row])
    table = store.table()
    assert list(table) == [name for name in CROP_SCHEMA.names if name != "image"]
    assert table["frame"].tolist() == [*range(7), *range(5)] and table["frame"].dtype == np.int32
    assert store.rows_of("ffpp/b").tolist() == [7, 8, 9, 10, 11] and store.rows_of("ffpp/c").tolist() == []
    assert list(store.table(["frame", "video_id"])) == ["frame", "video_id"]
    for row in (-1, 12):
        with pytest.raises(IndexError, match="0 to 11"):
            store.image(row)


def test_store_pickles_and_works_in_loader_workers(tmp_path):
    import torch
    write_part(tmp_path / "0.arrow", store_rows(9)[1])
    store = CropStore(tmp_path)
    again = pickle.loads(pickle.dumps(store))
    assert len(pickle.dumps(store)) < 1000 and again.table().equals(store.table())

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(store)

        def __getitem__(self, row):
            return store.image(row)

    loaded = torch.cat(list(torch.utils.data.DataLoader(Images(), 4, num_workers=2)))
    assert np.array_equal(loaded.numpy(), np.stack([store.image(row) for row in range(len(store))]))


def test_store_sees_a_part_that_was_replaced(tmp_path):
    for count in (3, 4):
        images, rows = store_rows(count)
        write_part(tmp_path / "0.arrow", rows)
        os.utime(tmp_path / "0.arrow", ns=(count, count))
        assert np.array_equal(CropStore(tmp_path).image(count - 1), images[-1])


def test_store_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the crops stage first"):
        CropStore(tmp_path)
    write_part(tmp_path / "0.arrow", store_rows(3)[1])
    whole = (tmp_path / "0.arrow").read_bytes()
    (tmp_path / "0.arrow").write_bytes(whole[:-50])
    with pytest.raises(ValueError, match="0.arrow: not a whole crop part"):
        CropStore(tmp_path)


def test_a_failed_part_leaves_no_part(tmp_path):
    def rows():
        yield from store_rows(2)[1]
        raise RuntimeError("power cut")
    with pytest.raises(RuntimeError):
        write_part(tmp_path / "0.arrow", rows())
    assert not list(tmp_path.glob("*.arrow"))


def test_part_is_a_plain_arrow_file_with_its_skipped_records(tmp_path):
    record = {"video_id": "ffpp/ü", "reason": "empty", "detail": "0 bytes"}
    write_part(tmp_path / "0.arrow", store_rows(2)[1], [record])
    assert pa.ipc.open_file(tmp_path / "0.arrow").read_all().schema.equals(CROP_SCHEMA)
    assert read_skipped(tmp_path / "0.arrow") == [record]


def test_listing_spares_opening_the_parts_and_never_hides_a_new_one(tmp_path, monkeypatch):
    for number in range(4):
        write_part(tmp_path / f"{number}.arrow", store_rows(number, f"ffpp/v{number}")[1])
    without = CropStore(tmp_path)
    write_listing(tmp_path)
    opened = []
    table = crop_store._table
    monkeypatch.setattr(crop_store, "_table", lambda path, stamp: opened.append(path.name) or table(path, stamp))
    store = CropStore(tmp_path)
    assert len(store) == len(without) == 6 and opened == []
    assert store.rows_of("ffpp/v2").tolist() == [1, 2] and opened == ["2.arrow"]
    assert np.array_equal(store.image(5), store_rows(3)[0][-1]) and opened == ["2.arrow", "3.arrow"]

    write_part(tmp_path / "1.arrow", store_rows(5, "ffpp/v9")[1])  # replaced: another size
    write_part(tmp_path / "4.arrow", store_rows(1, "ffpp/v4")[1])
    opened.clear()
    store = CropStore(tmp_path)
    assert len(store) == 11 and opened == ["1.arrow", "4.arrow"]
    assert store.rows_of("ffpp/v9").tolist() == [0, 1, 2, 3, 4] and store.rows_of("ffpp/v1").tolist() == []
    before = (tmp_path / "parts.csv").read_bytes()
    write_listing(tmp_path)
    assert (tmp_path / "parts.csv").read_bytes() != before
    (tmp_path / "parts.csv").write_bytes(b"part,bytes,rows,first,last\n")
    write_listing(tmp_path)
    assert len(CropStore(tmp_path)) == 11


def test_a_table_of_more_parts_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(crop_store, "PARTS_OPEN", 3)
    for number in range(8):
        write_part(tmp_path / f"{number}.arrow", store_rows(2, f"ffpp/v{number}")[1])
    assert CropStore(tmp_path).table(["video_id"])["video_id"].tolist() == [f"ffpp/v{n}" for n in range(8) for _ in "ab"]


def test_two_writers_of_one_part_do_not_meet(tmp_path):
    """A worker given up for lost may still be writing when another one makes its part again."""
    rows = store_rows(6)[1]
    slow = iter(rows)

    def late():
        yield next(slow)
        write_part(tmp_path / "0.arrow", rows)
        yield from slow
    write_part(tmp_path / "0.arrow", late())
    assert len(CropStore(tmp_path)) == 6 and [path.name for path in tmp_path.iterdir()] == ["0.arrow"]


def test_other_programs_read_the_parts(tmp_path):
    import duckdb
    import pyarrow.dataset
    from datasets import Dataset
    for number in range(2):
        write_part(tmp_path / f"{number}.arrow", store_rows(3, f"ffpp/v{number}")[1])
    store = CropStore(tmp_path)
    crops = pyarrow.dataset.dataset(store.paths, format="arrow")
    assert crops.count_rows() == 6
    assert duckdb.from_arrow(crops).aggregate("video_id, count(*)", "video_id").order("video_id").fetchall() == [
        ("ffpp/v0", 3), ("ffpp/v1", 3)]
    assert pd.read_feather(store.paths[1], ["frame"])["frame"].tolist() == [0, 1, 2]
    part = Dataset(pa.ipc.open_file(pa.memory_map(str(store.paths[0]))).read_all())
    assert np.array_equal(decode(part[2]["image"]), store.image(2))
