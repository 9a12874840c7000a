"""What files say about themselves: against what PyAV, Pillow and the formats' definitions write."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from deepfake_repro.scoring.sources.parts import BYTES
from deepfake_repro.scoring.sources.signals import C2PA_BOX, C2PA_STORE, SHOWN, signals


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4) + kind + content


STORE = box(b"jumb", box(b"jumd", C2PA_STORE + b"\x03c2pa\0") + box(b"cbor", b"\xa0"))


def encoded(path: Path) -> bytes:
    """A clip of two frames as FFmpeg writes it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_the_tool_is_the_one_that_ffmpeg_names(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    encoded(path)
    with av.open(str(path)) as container:
        metadata = {key.lower(): value for key, value in container.metadata.items()}
    expected = metadata.get("encoder") or metadata["software"]
    found = signals(path)
    assert expected in [text for _, text in found]
    assert found[0][1].startswith("none" if suffix in (".mp4", ".mov") else "not searched")


def test_a_manifest_in_an_mp4_is_found_by_its_boxes(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    clip = encoded(path)
    purpose = b"\0\0\0\0manifest\0" + bytes(8)
    path.write_bytes(clip + box(b"uuid", C2PA_BOX + purpose + STORE))
    assert signals(path)[0][1].startswith(f"present: {len(STORE)} bytes in a box of the MP4 file")
    for lookalike in (
        box(b"uuid", bytes(16) + purpose + STORE),
        box(b"uuid", C2PA_BOX + b"\0\0\0\0merkle\0" + bytes(8) + STORE),
        box(b"free", C2PA_BOX + purpose + STORE),
        box(b"uuid", C2PA_BOX + purpose + box(b"jumb", box(b"jumd", bytes(16)))),
    ):
        path.write_bytes(clip + lookalike)
        assert signals(path)[0] == ("C2PA manifest", "none found")


def test_a_manifest_in_a_jpeg_is_found_by_its_segment(tmp_path: Path) -> None:
    memory = io.BytesIO()
    exif = Image.Exif()
    exif[271], exif[272], exif[305] = "Maker", "X\x1b[31m<b>", "y" * 500
    Image.new("RGB", (8, 8)).save(memory, "JPEG", exif=exif)
    jpeg = memory.getvalue()
    content = b"JP\0\1\0\0\0\1" + STORE
    segment = b"\xff\xeb" + (len(content) + 2).to_bytes(2) + content
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg)
    plain = dict(signals(path))
    assert plain["C2PA manifest"] == "none found" and plain["make"] == "Maker"
    assert plain["model"] == r"X\x1b[31m<b>"
    assert plain["software"] == "y" * SHOWN + " …"
    path.write_bytes(jpeg[:2] + segment + jpeg[2:])
    assert signals(path)[0][1].startswith(f"present: {len(STORE)} bytes in a segment of the JPEG")


def test_what_image_generators_leave_in_a_png(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a face, steps: 20")
    texts.add_text("Comment", "not a tool")
    path = tmp_path / "x.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=texts)
    assert signals(path) == [
        ("C2PA manifest", "none found"),
        ("parameters", "a face, steps: 20"),
    ]
    png = path.read_bytes()
    path.write_bytes(png[:33] + len(STORE).to_bytes(4) + b"caBX" + STORE + bytes(4) + png[33:])
    assert signals(path)[0][1].startswith("present")


def test_apples_keys_name_the_phone(tmp_path: Path) -> None:
    names = [b"com.apple.quicktime.make", b"com.apple.quicktime.location.ISO6709"]
    keys = bytes(4) + len(names).to_bytes(4) + b"".join(box(b"mdta", name) for name in names)
    items = b"".join(
        box(number.to_bytes(4), box(b"data", bytes(8) + text))
        for number, text in ((1, b"Apple"), (2, b"+47.0+008.5/"))
    )
    meta = box(b"meta", box(b"hdlr", bytes(24)) + box(b"keys", keys) + box(b"ilst", items))
    path = tmp_path / "clip.mov"
    path.write_bytes(box(b"ftyp", b"qt  " + bytes(4)) + box(b"moov", meta))
    assert signals(path) == [("C2PA manifest", "none found"), ("make", "Apple")]


HEADS = (
    b"\0\0\0\x10ftypisom\0\0\0\0",
    b"\xff\xd8",
    b"\x89PNG\r\n\x1a\n",
    b"\x1aE\xdf\xa3",
    b"RIFF",
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(HEADS), st.binary(max_size=300))
@example(b"\x1aE\xdf\xa3", b"\x02\x10" + bytes(6))  # a size of 16 TiB: further than ext4 seeks
def test_any_content_gives_short_lines(tmp_path: Path, head: bytes, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(head + content)
    for what, text in signals(path):
        assert what.isprintable() and text.isprintable() and len(text) <= SHOWN + 2


def test_reads_are_bounded(tmp_path: Path) -> None:
    """A tag that claims four gigabytes, in a sparse file that has them."""
    path = tmp_path / "huge.mp4"
    tag = (2**32 - 1).to_bytes(4) + b"\xa9swr" + bytes(4) + b"A" * 500
    udta = (2**32 - 1).to_bytes(4) + b"udta" + tag
    with path.open("wb") as file:
        file.write(box(b"ftyp", b"isom") + (2**32 - 1).to_bytes(4) + b"moov" + udta)
        file.truncate(2**32)
    tracemalloc.start()
    ((_, c2pa), (what, text)) = signals(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (c2pa, what) == ("none found", "software") and text == "A" * SHOWN + " …"
    assert peak < 50 * BYTES
