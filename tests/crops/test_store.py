"""The store of crops: whole parts, random access, other readers."""

import os
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from deepfake_repro.crops import store as crop_store
from deepfake_repro.crops.store import (
    CROP_SCHEMA,
    CropStore,
    decode,
    read_skipped,
    write_listing,
    write_part,
)
from support.random_crops import random_crops


def test_random_access_equals_reading_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(crop_store, "ROWS_AT_ONCE", 3)  # several batches in a part
    parts = [random_crops(count, video) for count, video in ((7, "ffpp/a"), (0, ""), (5, "ffpp/b"))]
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
    assert store.rows_of("ffpp/b").tolist() == [7, 8, 9, 10, 11]
    assert store.rows_of("ffpp/c").tolist() == []
    assert list(store.table(["frame", "video_id"])) == ["frame", "video_id"]
    for row in (-1, 12):
        with pytest.raises(IndexError, match="0 to 11"):
            store.image(row)


def test_store_pickles_and_works_in_loader_workers(tmp_path):
    import torch

    write_part(tmp_path / "0.arrow", random_crops(9)[1])
    store = CropStore(tmp_path)
    pickled = pickle.dumps(store)
    assert len(pickled) < 1000 and pickle.loads(pickled).table().equals(store.table())

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(store)

        def __getitem__(self, row):
            return store.image(row)

    loaded = torch.cat(list(torch.utils.data.DataLoader(Images(), 4, num_workers=2)))
    assert np.array_equal(loaded.numpy(), np.stack([store.image(row) for row in range(len(store))]))


def test_store_sees_a_part_that_was_replaced(tmp_path):
    for count in (3, 4):
        images, rows = random_crops(count)
        write_part(tmp_path / "0.arrow", rows)
        os.utime(tmp_path / "0.arrow", ns=(count, count))
        assert np.array_equal(CropStore(tmp_path).image(count - 1), images[-1])


def test_store_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the crops stage first"):
        CropStore(tmp_path)
    write_part(tmp_path / "0.arrow", random_crops(3)[1])
    whole = (tmp_path / "0.arrow").read_bytes()
    (tmp_path / "0.arrow").write_bytes(whole[:-50])
    with pytest.raises(ValueError, match=r"0\.arrow: not a complete crop part"):
        CropStore(tmp_path)


def test_a_failed_part_leaves_no_part(tmp_path):
    def rows():
        yield from random_crops(2)[1]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_part(tmp_path / "0.arrow", rows())
    assert not list(tmp_path.glob("*.arrow"))


def test_part_is_a_plain_arrow_file_with_its_skipped_records(tmp_path):
    record = {"video_id": "ffpp/ü", "reason": "empty", "detail": "0 bytes"}
    write_part(tmp_path / "0.arrow", random_crops(2)[1], [record])
    assert pa.ipc.open_file(tmp_path / "0.arrow").read_all().schema.equals(CROP_SCHEMA)
    assert read_skipped(tmp_path / "0.arrow") == [record]


def test_the_listing_avoids_opening_parts_and_never_hides_a_new_one(tmp_path, monkeypatch):
    for number in range(4):
        write_part(tmp_path / f"{number}.arrow", random_crops(number, f"ffpp/v{number}")[1])
    without = CropStore(tmp_path)
    write_listing(tmp_path)
    opened = []
    table = crop_store._table

    def log_table(path, stamp):
        opened.append(path.name)
        return table(path, stamp)

    monkeypatch.setattr(crop_store, "_table", log_table)
    store = CropStore(tmp_path)
    assert len(store) == len(without) == 6 and opened == []
    assert store.rows_of("ffpp/v2").tolist() == [1, 2] and opened == ["2.arrow"]
    assert np.array_equal(store.image(5), random_crops(3)[0][-1]) and opened == [
        "2.arrow",
        "3.arrow",
    ]

    write_part(tmp_path / "1.arrow", random_crops(5, "ffpp/v9")[1])  # replaced: another size
    write_part(tmp_path / "4.arrow", random_crops(1, "ffpp/v4")[1])
    opened.clear()
    store = CropStore(tmp_path)
    assert len(store) == 11 and opened == ["1.arrow", "4.arrow"]
    assert store.rows_of("ffpp/v9").tolist() == [0, 1, 2, 3, 4]
    assert store.rows_of("ffpp/v1").tolist() == []
    before = (tmp_path / "parts.csv").read_bytes()
    write_listing(tmp_path)
    assert (tmp_path / "parts.csv").read_bytes() != before
    (tmp_path / "parts.csv").write_bytes(b"part,bytes,rows,first,last\n")
    write_listing(tmp_path)
    assert len(CropStore(tmp_path)) == 11


def test_a_table_of_more_parts_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(crop_store, "PARTS_OPEN", 3)
    for number in range(8):
        write_part(tmp_path / f"{number}.arrow", random_crops(2, f"ffpp/v{number}")[1])
    assert CropStore(tmp_path).table(["video_id"])["video_id"].tolist() == [
        f"ffpp/v{n}" for n in range(8) for _ in "ab"
    ]


def test_two_writers_of_one_part_do_not_collide(tmp_path):
    """A worker presumed lost may still be writing while another one repeats its part."""
    rows = random_crops(6)[1]
    slow = iter(rows)

    def late():
        yield next(slow)
        write_part(tmp_path / "0.arrow", rows)
        yield from slow

    write_part(tmp_path / "0.arrow", late())
    assert len(CropStore(tmp_path)) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["0.arrow"]


def test_other_programs_read_the_parts(tmp_path):
    import duckdb
    import pyarrow.dataset
    from datasets import Dataset

    for number in range(2):
        write_part(tmp_path / f"{number}.arrow", random_crops(3, f"ffpp/v{number}")[1])
    store = CropStore(tmp_path)
    crops = pyarrow.dataset.dataset(store.paths, format="arrow")
    assert crops.count_rows() == 6
    per_video = duckdb.from_arrow(crops).aggregate("video_id, count(*)", "video_id")
    assert per_video.order("video_id").fetchall() == [("ffpp/v0", 3), ("ffpp/v1", 3)]
    assert pd.read_feather(store.paths[1], ["frame"])["frame"].tolist() == [0, 1, 2]
    part = Dataset(pa.ipc.open_file(pa.memory_map(str(store.paths[0]))).read_all())
    assert np.array_equal(decode(part[2]["image"]), store.image(2))
