"""Crops, their store, and the run over a whole index: borders by hand, resume, workers, skipped videos."""

import io
import os
import pickle
import tarfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from deepfake_repro import crop_store
from deepfake_repro.crop_store import CROP_SCHEMA, decode, encode, read_skipped, write_part
from deepfake_repro.crops import CropOptions, CropStore, crop, enlarge, extract, make_crops, plan_parts
from deepfake_repro.faces import Faces, detector

OPTIONS = CropOptions(frames_per_second=1.0, detector="squares", detector_side=640, min_score=0.5,
                      min_side=20, margin=0.3, size=32, encoding="png", max_skipped=1.0)


@dataclass(frozen=True)
class Squares:
    """A detector whose faces are the green squares of an image; it appends a line to ``log`` per image."""

    log: Path | None = None

    def __call__(self, images):
        if self.log:
            with self.log.open("a") as file:
                file.write("image\n" * len(images))
        return [self._find(image) for image in images]

    @staticmethod
    def _find(image):
        green = (image[..., 1] > 150) & (image[..., 0] < 100)
        _, _, found, _ = cv2.connectedComponentsWithStats(green.astype(np.uint8))
        boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, area in found[1:] if area > 50], np.float32)
        boxes = boxes.reshape(-1, 4)
        points = np.repeat(boxes[:, None, :2], 5, axis=1) + np.arange(10, dtype=np.float32).reshape(5, 2)
        return Faces(boxes, np.linspace(0.9, 0.6, len(boxes), dtype=np.float32), points)


def scene(*corners, side=40):
    image = np.full((120, 160, 3), 60, np.uint8)
    for x, y in corners:
        image[y:y + side, x:x + side] = (20, 220, 20)
    return image


def index_row(path, kind="video", dataset="ffpp", attrs="{}"):
    return {"video_id": f"{dataset}/{path.rsplit('.', 1)[0]}", "path": path, "kind": kind, "dataset": dataset,
            "attrs": attrs}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, make_clip):
    """(root, index): six good videos, one of them with two faces, and one of every kind of bad one."""
    root = tmp_path_factory.mktemp("corpus")
    for number in range(5):
        make_clip(root / f"v{number}.mp4", [scene((20 + 10 * number, 30))] * 21)
    make_clip(root / "two.mp4", [scene((10, 20), (90, 60))] * 11)
    make_clip(root / "sometimes.mp4", [scene((20, 30))] * 10 + [scene()] * 11)
    make_clip(root / "nobody.mp4", [scene()] * 21)
    (root / "text.mp4").write_text("this is no video\n" * 20)
    (root / "zero.mp4").write_bytes(b"")
    noise = np.random.default_rng(0).integers(0, 90, (30, 120, 160, 3), dtype=np.uint8)
    noise[:, 30:70, 30:70] = (20, 220, 20)
    whole = make_clip(root / "broken.mp4", noise)
    whole.write_bytes(whole.read_bytes()[:-whole.stat().st_size // 4])
    names = [path.name for path in root.iterdir()] + ["gone.mp4"]
    return root, pd.DataFrame([index_row(name) for name in names]).sample(frac=1, random_state=0)


def run(corpus, out, **settings):
    root, index = corpus
    defaults = {"detector_factory": Squares, "options": OPTIONS, "videos_per_part": 4, "progress": [].append}
    return make_crops(index, {"ffpp": root}, out, **defaults | settings)


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("crops")
    run(corpus, out)
    return out


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


def test_store_pickles_and_works_in_loader_workers(made):
    import torch
    store = CropStore(made)
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


# --- a whole index --------------------------------------------------------------------------------

def test_everything_usable_is_kept_and_the_rest_is_listed(corpus, made):
    faces = CropStore(made).table()["video_id"].value_counts().to_dict()
    assert faces.pop("ffpp/broken") >= 1
    assert faces == {**{f"ffpp/v{n}": 3 for n in range(5)}, "ffpp/two": 4, "ffpp/sometimes": 1}
    skipped = pd.read_csv(made / "skipped.csv").set_index("video_id")["reason"].to_dict()
    assert skipped == {"ffpp/nobody": "no_face", "ffpp/text": "undecodable", "ffpp/zero": "empty",
                       "ffpp/gone": "missing", "ffpp/sometimes": "frame_without_face",
                       "ffpp/broken": "broken_off"}


def test_bytes_do_not_depend_on_workers_or_row_order(corpus, made, tmp_path):
    root, index = corpus
    run((root, index.iloc[::-1]), tmp_path, workers=2)
    assert content(tmp_path) == content(made) and len(content(made)) == 4


def test_an_interrupted_run_is_completed_and_nothing_done_twice(corpus, made, tmp_path):
    log, out, lines = tmp_path / "log", tmp_path / "crops", []
    factory = partial(Squares, log)
    run(corpus, out, detector_factory=factory)
    everything = len(log.read_text().splitlines())
    assert everything == 5 * 3 + 2 + 3 + 3 + len(CropStore(out).rows_of("ffpp/broken"))

    log.write_text("")
    run(corpus, out, detector_factory=factory, progress=lines.append)
    assert log.read_text() == "" and lines == ["crops: 12/12 videos are done already"]

    victim = sorted(out.glob("*.arrow"))[1]
    victim.unlink()
    (out / (victim.name + ".tmp")).write_bytes(b"half")
    run(corpus, out, detector_factory=factory, progress=lines.append)
    assert 0 < len(log.read_text().splitlines()) < everything
    assert lines[1] == "crops: 8/12 videos are done already" and lines[2].startswith("crops: 12/12 videos, ")
    assert content(out) == content(made)


def test_changed_input_or_options_are_done_again_and_replace_the_old(corpus, tmp_path, make_clip):
    root, index = corpus
    mine = tmp_path / "root"
    mine.mkdir()
    for name in ("v0.mp4", "v1.mp4"):
        (mine / name).write_bytes((root / name).read_bytes())
    index = pd.DataFrame([index_row("v0.mp4"), index_row("v1.mp4")])
    run((mine, index), tmp_path / "out", videos_per_part=1)
    before = content(tmp_path / "out")
    make_clip(mine / "v1.mp4", [scene((20, 30))] * 50)
    run((mine, index), tmp_path / "out", videos_per_part=1)
    after = content(tmp_path / "out")
    assert len(after) == len(before) == 3 and len(after.keys() & before.keys()) == 2
    run((mine, index), tmp_path / "out", videos_per_part=1, options=replace(OPTIONS, margin=0.4))
    other = content(tmp_path / "out")
    assert len(other) == 3 and other.keys() & after.keys() == {"skipped.csv"}
    run((mine, index), tmp_path / "out", videos_per_part=1,
        options=replace(OPTIONS, margin=0.4, max_skipped=0.5))
    assert content(tmp_path / "out") == other  # a limit is no property of a crop


def test_other_corpora_in_the_folder_are_left_alone(corpus, tmp_path):
    root, _ = corpus
    for dataset in ("df40", "dfdc"):
        index = pd.DataFrame([index_row("v0.mp4", dataset=dataset), index_row("gone.mp4", dataset=dataset)])
        make_crops(index, {dataset: root}, tmp_path, Squares, OPTIONS, progress=[].append)
    assert CropStore(tmp_path).table()["video_id"].unique().tolist() == ["df40/v0", "dfdc/v0"]
    assert len(CropStore(tmp_path, "dfdc-*.arrow")) == 3
    assert pd.read_csv(tmp_path / "skipped.csv")["video_id"].tolist() == ["df40/gone", "dfdc/gone"]


def test_too_many_skipped_videos_end_the_run_after_everything_is_written(corpus, made, tmp_path):
    with pytest.raises(ValueError, match="4 of 12 videos .* over crops.max_skipped = 0.3") as raised:
        run(corpus, tmp_path, options=replace(OPTIONS, max_skipped=0.3))
    assert all(f"ffpp/{name} (" in str(raised.value) for name in ("gone", "nobody", "text", "zero"))
    assert "\n" not in str(raised.value) and content(tmp_path) == content(made)
    run(corpus, tmp_path, options=replace(OPTIONS, max_skipped=4 / 12))


def test_wrong_settings_are_named(corpus, tmp_path):
    with pytest.raises(ValueError, match="crops.encoding = 'bmp': choose one of png, jpeg"):
        run(corpus, tmp_path, options=replace(OPTIONS, encoding="bmp"))
    with pytest.raises(ValueError, match="corpora.ffpp: .* no root folder"):
        plan_parts(corpus[1], {}, tmp_path, OPTIONS)


def test_real_detector_on_a_video_of_two_people(assets, tile, tmp_path, make_clip):
    frame = np.hstack([tile, np.full((360, 120, 3), 128, np.uint8), tile[:, ::-1]])
    make_clip(tmp_path / "two.mp4", [frame] * 11)
    factory = partial(detector, "retinaface", weights=assets / "retinaface_mobilenet025.onnx")
    options = replace(OPTIONS, detector="retinaface", size=224)
    make_crops(pd.DataFrame([index_row("two.mp4")]), {"ffpp": tmp_path}, tmp_path / "out", factory, options,
               progress=[].append)
    store = CropStore(tmp_path / "out")
    assert store.table()[["frame", "face"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    for row in range(4):
        (face,) = factory()([store.image(row)])
        # The box fills 1 / 1.3 of the crop, about its centre.
        assert np.abs(face.boxes[0] / 224 - [0.115, 0.115, 0.885, 0.885]).max() < 0.06
