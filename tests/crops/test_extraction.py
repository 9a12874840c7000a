"""One video -> face crops: boxes, pixels, and records of what could not be used."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_repro.crops.extraction import crop, enlarge, extract
from deepfake_repro.crops.store import decode, encode
from support.squares import OPTIONS, Squares, index_row, make_corpus, scene


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, make_clip):
    return make_corpus(tmp_path_factory.mktemp("corpus"), make_clip)


def test_enlarge_by_hand():
    assert enlarge(np.array([[10.0, 20, 30, 60], [0, 0, 10, 10]])).tolist() == [
        [7, 14, 33, 66],
        pytest.approx([-1.5, -1.5, 11.5, 11.5]),
    ]
    assert enlarge(np.zeros((0, 4))).shape == (0, 4)


def test_crop_at_native_size_copies_pixels():
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    assert np.array_equal(crop(image, np.array([10.2, 5.4, 41.6, 37.0]), 32), image[5:37, 10:42])


def test_crop_repeats_the_border():
    image = np.arange(9, dtype=np.uint8).reshape(3, 3, 1).repeat(3, axis=2)
    expected = [[0, 0, 1, 2], [0, 0, 1, 2], [3, 3, 4, 5], [6, 6, 7, 8]]
    assert crop(image, np.array([-1, -1, 3, 3]), 4)[..., 0].tolist() == expected
    assert crop(image, np.array([1, 1, 5, 5]), 4)[..., 0].tolist() == [
        [4, 5, 5, 5],
        *[[7, 8, 8, 8]] * 3,
    ]


def test_crop_shrinks_by_the_mean_and_stretches_to_a_square():
    image = np.random.default_rng(0).integers(0, 255, (40, 80, 3), dtype=np.uint8)
    mean = image.reshape(10, 4, 10, 8, 3).mean(axis=(1, 3))
    assert np.abs(crop(image, np.array([0, 0, 80, 40]), 10) - mean).max() <= 0.5 + 1e-6


def test_crop_enlarges_bilinearly_and_accepts_an_empty_box():
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


def test_extract_keeps_every_face_of_every_second(corpus):
    rows, skipped = extract(index_row("two.mp4"), corpus[0], Squares(), OPTIONS)
    assert [(row["frame"], row["face"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert skipped == []
    boxes = [[row[key] for key in ("x0", "y0", "x1", "y1")] for row in rows[:2]]
    assert np.abs(np.array(boxes) - [[10, 20, 50, 60], [90, 60, 130, 100]]).max() <= 1
    assert rows[0]["width"] == 160 and rows[0]["height"] == 120 and rows[2]["seconds"] == 1.0
    x, y = boxes[1][:2]
    assert rows[1]["landmarks"][:4] == [x, y + 1, x + 2, y + 3]
    # 40 + 30 % = 52 pixels: 6 of 52 on each side are background, in the crop of 32 the outer 3.7.
    image = decode(rows[0]["image"])
    assert image.shape == (32, 32, 3)
    assert image[16, 16, 1] > 180 and image[16, 6, 1] > 180 and image[16, 1, 1] < 100


def test_a_fixed_number_of_frames_per_clip(corpus):
    """Of eleven frames, 0.1 s apart, the first, the last and the middle one: 0, 5 and 10."""
    rows, _ = extract(
        index_row("two.mp4"), corpus[0], Squares(), replace(OPTIONS, frames_per_clip=3)
    )
    assert [(row["frame"], row["seconds"]) for row in rows if not row["face"]] == [
        (0, 0.0),
        (1, 0.5),
        (2, 1.0),
    ]


def test_extract_drops_small_and_uncertain_faces(corpus):
    counts = []
    for change in ({"min_side": 30}, {"min_side": 50}, {"min_score": 0.7}):
        options = replace(OPTIONS, **change)
        rows, _ = extract(index_row("two.mp4"), corpus[0], Squares(), options)
        counts.append(len(rows))
    assert counts == [4, 0, 2]


@pytest.mark.parametrize(
    "name, reason, rows",
    [
        ("nobody", "no_face", 0),
        ("text", "undecodable", 0),
        ("zero", "empty", 0),
        ("gone", "missing", 0),
        ("sometimes", "frame_without_face", 1),
        ("broken", "broken_off", None),
    ],
)
def test_what_cannot_be_used_is_recorded(corpus, name, reason, rows):
    crops, (record,) = extract(index_row(f"{name}.mp4"), corpus[0], Squares(), OPTIONS)
    assert record["video_id"] == f"ffpp/{name}" and record["reason"] == reason
    assert len(crops) == rows if rows is not None else len(crops) >= 1
    assert "\n" not in record["detail"] and str(corpus[0]) not in record["detail"]


def test_frame_counts_are_in_the_detail(corpus):
    details = [
        extract(index_row(f"{name}.mp4"), corpus[0], Squares(), OPTIONS)[1][0]["detail"]
        for name in ("sometimes", "nobody")
    ]
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
    images = [decode(row["image"]) for row in rows]
    assert [image.shape for image in images] == [(32, 32, 3)] * 3
    assert [int(image.mean()) for image in images] == [0, 30, 60]
    row = rows[1]
    assert row["score"] == 1 and np.isnan(row["landmarks"]).all() and np.isnan(row["seconds"])
    assert [row[key] for key in ("x0", "y0", "x1", "y1")] == [0, 0, 40, 50]
    assert (row["width"], row["height"]) == (40, 50)


def test_photographs_of_any_size_and_name_go_through_the_detector(tmp_path):
    (tmp_path / "n1").mkdir()
    for name, image in (
        ("0001_01.png", scene((20, 30))),
        ("0002_01.png", scene((10, 10), (90, 60))[:100]),
        ("0003_01.png", scene()),
    ):
        (tmp_path / "n1" / name).write_bytes(encode(image, "png"))
    (tmp_path / "n1" / "broken.jpg").write_bytes(b"not an image")
    rows, skipped = extract(index_row("n1", "photos", "vggface2"), tmp_path, Squares(), OPTIONS)
    assert [(row["frame"], row["face"], row["x0"]) for row in rows] == [
        (0, 0, 20),
        (1, 0, 10),
        (1, 1, 90),
    ]
    assert skipped[0]["reason"] == "broken_off" and "first broken.jpg" in skipped[0]["detail"]
    rows, skipped = extract(
        index_row("missing", "photos", "vggface2"), tmp_path, Squares(), OPTIONS
    )
    assert rows == [] and skipped[0]["reason"] == "missing"


def test_unknown_kind():
    with pytest.raises(ValueError, match="ffpp/x: kind 'audio'"):
        extract(index_row("x.wav", "audio"), Path(), None, OPTIONS)


def squares(*corners: tuple[int, int, int]) -> np.ndarray:
    """A picture of 200 × 160 pixels with green squares at (x, y) of a side."""
    image = np.zeros((160, 200, 3), np.uint8)
    for x, y, side in corners:
        image[y : y + side, x : x + side, 1] = 255
    return image


@pytest.mark.parametrize(
    ("which", "expected"), [("central", [[80, 60]]), ("largest", [[0, 0]]), ("all", 3)]
)
def test_the_label_of_a_picture_means_one_face_or_all(tmp_path, which, expected):
    """Three faces: a large one in the corner, one in the middle, a third; one is too small."""
    image = squares((0, 0, 60), (80, 60, 40), (150, 100, 40), (120, 5, 10))
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    options = replace(OPTIONS, image_face=which)
    rows, skipped = extract(index_row("a.png", "image"), tmp_path, Squares(), options)
    found = sorted([row["x0"], row["y0"]] for row in rows)
    assert (found if which != "all" else len(found)) == expected and not skipped
    assert all(row["frame"] == 0 and np.isnan(row["seconds"]) for row in rows)


def test_an_unknown_choice_of_face_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), squares((0, 0, 60)))
    options = replace(OPTIONS, image_face="middle")
    with pytest.raises(ValueError, match=r"image_face: 'middle' is none of central, largest, all"):
        extract(index_row("a.png", "image"), tmp_path, Squares(), options)


def test_a_picture_that_is_a_face_crop_is_taken_whole(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image[..., ::-1])
    (row,), _ = extract(index_row("a.png", "face"), tmp_path, Squares(), OPTIONS)
    assert np.array_equal(decode(row["image"]), image)
    assert [row[name] for name in ("x0", "y0", "x1", "y1")] == [0, 0, 32, 32]


def test_a_picture_without_a_face_or_file_is_recorded(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), squares())
    (tmp_path / "b.png").write_bytes(b"no picture")
    for name, reason in (("a.png", "no_face"), ("b.png", "undecodable"), ("c.png", "missing")):
        rows, (record,) = extract(index_row(name, "image"), tmp_path, Squares(), OPTIONS)
        assert not rows and record["reason"] == reason
