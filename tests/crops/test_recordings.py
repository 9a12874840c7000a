"""Videos as phones, cameras and editors make them: joined, mirrored, in other formats."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from deepfake_repro.crops.decoding import peculiarities
from deepfake_repro.crops.extraction import extract
from deepfake_repro.crops.frames import frames, photographs
from support.squares import OPTIONS, Squares, index_row, scene


def encode(path, pictures, codec="libx264", pix_fmt="yuv420p", rate=10, **properties):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=properties.pop("options", {}))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for name, value in properties.items():
            setattr(stream.codec_context, name, value)
        for image in pictures:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
def test_joined_recordings_have_one_clock(tmp_path, picture, read_number, suffix):
    """Two recordings of 5 s, joined by their bytes: the stamps of the second start over."""
    codec = "mpeg2video" if suffix == ".mpg" else "libx264"
    rate = 25 if suffix == ".mpg" else 10
    parts = []
    for part in (0, 1):
        shown = [picture(5 * part + number // rate) for number in range(5 * rate)]
        path = encode(tmp_path / f"{part}{suffix}", shown, codec, rate=rate)
        parts.append(path.read_bytes())
    (tmp_path / "joined").write_bytes(b"".join(parts))
    sampled = list(frames(tmp_path / "joined"))
    numbers = [read_number(image) for _, image in sampled]
    assert numbers == list(range(10))
    assert [seconds for seconds, _ in sampled] == pytest.approx(range(10), abs=0.15)
    spread = [read_number(image) for _, image in frames(tmp_path / "joined", count=4)]
    assert spread[0] == 0 and spread[-1] == 9 and 2 <= spread[1] <= 4 and 5 <= spread[2] <= 7


@pytest.mark.parametrize("suffix", [".flv", ".mp4", ".mkv"])
def test_a_joined_recording_that_cannot_be_decoded_is_noted(tmp_path, suffix):
    content = encode(tmp_path / f"a{suffix}", [scene((20, 30))] * 20).read_bytes()
    (tmp_path / "joined").write_bytes(content * 2)
    _, notes = extract(index_row("joined"), tmp_path, Squares(), OPTIONS)
    assert "another recording is joined" in notes[-1]["detail"]
    assert peculiarities(tmp_path / f"a{suffix}") == []


MATRICES = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)]
MATRICES += [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


@pytest.mark.parametrize("matrix", MATRICES)
def test_all_eight_orientations(tmp_path, matrix):
    """Each pixel (x, y) is shown at (ax + cy, bx + dy), moved into the picture."""
    a, b, c, d = matrix
    image = np.zeros((64, 96, 3), np.uint8)
    image[:32, :48], image[:32, 48:], image[32:, :48] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    path = encode(tmp_path / "clip.mp4", [image] * 3)
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # the track's display matrix
    values = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    data[start : start + 36] = struct.pack(">9i", *values)
    path.write_bytes(data)
    _, stored = next(frames(encode(tmp_path / "plain.mp4", [image] * 3)))
    y, x = np.mgrid[:64, :96]
    columns, rows = a * x + c * y, b * x + d * y
    expected = np.empty((*((64, 96) if a else (96, 64)), 3), np.uint8)
    expected[rows - rows.min(), columns - columns.min()] = stored
    _, shown = next(frames(path))
    assert np.array_equal(shown, expected)


def test_a_plain_video_has_no_peculiarities(tmp_path, make_clip):
    assert peculiarities(make_clip(tmp_path / "a.mp4", [scene((20, 30))] * 3)) == []


@pytest.mark.parametrize(
    "name, words, settings",
    [
        ("pq.mkv", "dynamic range (PQ)", {"color_trc": 16}),
        ("hlg.mkv", "dynamic range (HLG)", {"color_trc": 18}),
        ("wide.mkv", "pixels of 4:3", {"sample_aspect_ratio": Fraction(4, 3)}),
        ("alpha.mkv", "alpha channel", {"codec": "ffv1", "pix_fmt": "yuva420p"}),
        ("tv.mkv", "interlaced", {"options": {"x264-params": "interlaced=1"}}),
    ],
)
def test_what_a_player_shows_differently_is_noted(tmp_path, name, words, settings):
    encode(tmp_path / name, [scene((20, 30))] * 3, **settings)
    rows, (note,) = extract(index_row(name), tmp_path, Squares(), OPTIONS)
    assert rows and note["reason"] == "note" and words in note["detail"]


@pytest.mark.parametrize("suffix", ["tif", "jfif", "jp2", "avif", "webp", "bmp"])
def test_image_formats(tmp_path, suffix):
    image = scene((20, 30))
    Image.fromarray(image).save(
        tmp_path / f"a.{suffix}", **({"format": "JPEG"} if suffix == "jfif" else {})
    )
    ((_, shown),) = photographs(tmp_path, ".")
    assert np.abs(shown.astype(int) - image).mean() < 3


def test_heic_is_named(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    rows, (record,) = extract(index_row(".", "photos"), tmp_path, Squares(), OPTIONS)
    assert rows == [] and "HEIC is not supported: convert it to JPEG" in record["detail"]


def test_animations_and_transparent_pictures_are_noted(tmp_path):
    pictures = [Image.fromarray(scene((20, 30))), Image.fromarray(scene((60, 30)))]
    for name in ("a.webp", "b.png"):
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], lossless=True)
    alpha = pictures[0].copy()
    alpha.putalpha(128)
    alpha.save(tmp_path / "c.png")
    rows, notes = extract(index_row(".", "photos"), tmp_path, Squares(), OPTIONS)
    assert [row["frame"] for row in rows] == [0, 1, 2]
    assert [note["reason"] for note in notes] == ["note"] * 2
    assert "animation of 2 pictures" in notes[0]["detail"] and "alpha" in notes[1]["detail"]
