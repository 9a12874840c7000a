"""Face sequences in folders and archives, checked by numbers in the pictures."""

import io
import struct
import tarfile
import zlib

import cv2
import numpy as np
import pytest

from deepfake_repro.crops.decoding import VideoError
from deepfake_repro.crops.frames import face_sequence


def png(image):
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def add(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def sequence(tmp_path, picture):
    """A folder with faces 1..12, wrongly sorted as text; the same in a plain tar named .tar.gz."""
    folder = tmp_path / "real" / "7"
    folder.mkdir(parents=True)
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "1.tar.gz", "w") as tar:
        for number in range(1, 13):
            (folder / f"{number}.png").write_bytes(png(picture(number)))
            add(tar, f"./1/real/7/{number}.png", png(picture(number)))
            add(tar, f"./1/real/8/{number}.png", png(picture(100 + number)))
        add(tar, "./1/real/7/._1.png", b"mac")
    (folder / "notes.txt").write_text("not a face")
    return tmp_path


@pytest.mark.parametrize("path", ["real/7", "shards/1.tar.gz!1/real/7"])
def test_sequence_in_numerical_order(sequence, read_number, picture, path):
    images = list(face_sequence(sequence, path))
    assert [number for number, _ in images] == list(range(1, 13))
    assert [read_number(image) for _, image in images] == list(range(1, 13))
    assert all(np.array_equal(image, picture(number)) for number, image in images)
    assert [number for number, _ in face_sequence(sequence, path, every=5)] == [1, 6, 11]


def test_archive_is_never_unpacked_and_read_again_after_a_change(sequence, picture, read_number):
    path = "shards/1.tar.gz!1/real/8"
    before = sorted(sequence.rglob("*"))
    images = [image for _, image in face_sequence(sequence, path)]
    assert read_number(images[0]) == 101
    assert sorted(sequence.rglob("*")) == before
    with tarfile.open(sequence / "shards" / "1.tar.gz", "w:gz") as tar:
        add(tar, "1/real/8/3.png", png(picture(55)))
    assert [read_number(image) for _, image in face_sequence(sequence, path)] == [55]


@pytest.mark.parametrize("name", ["../evil/1.png", "/etc/1.png", "1/../../1.png"])
def test_members_that_leave_the_archive_are_refused(tmp_path, picture, name):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "1/1.png", png(picture(1)))
        add(tar, name, png(picture(2)))
    with pytest.raises(VideoError, match="refused"):
        list(face_sequence(tmp_path, "a.tar!1"))


@pytest.mark.parametrize(
    "path, reason",
    [
        ("nowhere", "no such folder"),
        ("real/7/12", "no such folder"),
        ("none.tar!x", "no such archive"),
        ("shards/1.tar.gz!x", "no face image"),
    ],
)
def test_missing_sequences(sequence, path, reason):
    with pytest.raises(VideoError, match=reason):
        list(face_sequence(sequence, path))


def test_bad_archive_and_bad_names(tmp_path, picture):
    (tmp_path / "a.tar.gz").write_text("no archive")
    with pytest.raises(VideoError, match="not a readable tar"):
        list(face_sequence(tmp_path, "a.tar.gz!1"))
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "portrait.png").write_bytes(png(picture(1)))
    with pytest.raises(VideoError, match=r"portrait\.png has no frame number"):
        list(face_sequence(tmp_path, "faces"))
    (tmp_path / "faces" / "portrait.png").rename(tmp_path / "faces" / "01.png")
    (tmp_path / "faces" / "1.png").write_bytes(png(picture(2)))
    with pytest.raises(VideoError, match=r"1\.png and 01\.png have the same frame number"):
        list(face_sequence(tmp_path, "faces"))


def test_broken_images_do_not_cost_the_others(sequence):
    (sequence / "real" / "7" / "5.png").write_bytes(b"broken")
    (sequence / "real" / "7" / "6.png").write_bytes(b"")
    seen = []
    with pytest.raises(VideoError, match=r"2 images cannot be decoded, first 5\.png"):
        for number, _ in face_sequence(sequence, "real/7"):
            seen.append(number)
    assert seen == [1, 2, 3, 4, 7, 8, 9, 10, 11, 12]


def test_a_call_that_opencv_rejects_is_not_a_broken_image(sequence, monkeypatch):
    plain = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda data, flags: plain(data, mode=flags))
    with pytest.raises(cv2.error, match="Overload resolution failed"):
        list(face_sequence(sequence, "real/7"))


def test_absurd_images_are_refused_by_their_header(sequence):
    data = bytearray((sequence / "real" / "7" / "5.png").read_bytes())
    data[16:24] = struct.pack(">II", 30000, 30000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (sequence / "real" / "7" / "5.png").write_bytes(data)
    with pytest.raises(VideoError, match=r"1 images cannot be decoded, first 5\.png"):
        list(face_sequence(sequence, "real/7"))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_truncated_archives_give_a_one_line_error(tmp_path, mode):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    with tarfile.open(tmp_path / "a.tar", mode) as tar:
        for number in range(4):
            add(tar, f"1/{number}.png", png(noise + number))
    whole = (tmp_path / "a.tar").read_bytes()
    for part in (0.001, 0.3, 0.6):
        (tmp_path / "a.tar").write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(VideoError) as raised:
            list(face_sequence(tmp_path, "a.tar!1"))
        assert "\n" not in str(raised.value)


def test_a_negative_size_in_an_archive_is_an_error(tmp_path, picture):
    header = bytearray(512)
    header[:7] = b"1/1.png"
    header[100:107] = b"0000644"
    header[156:157] = b"0"
    header[257:265] = b"ustar\x0000"
    header[124:136] = (-1024).to_bytes(12, "big", signed=True)  # GNU's binary form of a number
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(header + bytes(1024))
    with pytest.raises(VideoError, match="negative size"):
        list(face_sequence(tmp_path, "a.tar!1"))
