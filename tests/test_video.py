"""Frames by presentation time, face sequences in folders and tars: checked by numbers in the pictures."""

import io
import pickle
import struct
import tarfile

import cv2
import numpy as np
import pytest

from deepfake_repro.video import VideoError, face_sequence, frames


def png(image):
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def add(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def test_one_frame_a_second(tmp_path, make_clip, picture, read_number):
    path = make_clip(tmp_path / "clip.mp4", map(picture, range(30)), rate=10)
    found = [(seconds, read_number(image)) for seconds, image in frames(path)]
    assert found == [(0.0, 0), (1.0, 10), (2.0, 20)]


def test_frames_are_rgb_uint8(tmp_path, make_clip, picture):
    _, image = next(frames(make_clip(tmp_path / "clip.mp4", [picture(0)] * 3)))
    assert image.dtype == np.uint8 and image.shape == (96, 128, 3)
    assert image[70, 30, 0] > 180 > 60 > image[70, 30, 2] and image[70, 100, 2] > 180 > 60 > image[70, 100, 0]


@pytest.mark.parametrize("per_second, expected", [
    (2.0, [0, 5, 10, 15, 20, 25]), (3.0, [0, 4, 7, 10, 14, 17, 20, 24, 27]), (0.5, [0, 20]),
    (100.0, list(range(30)))])
def test_other_rates(tmp_path, make_clip, picture, read_number, per_second, expected):
    path = make_clip(tmp_path / "clip.mp4", map(picture, range(30)), rate=10)
    assert [read_number(image) for _, image in frames(path, per_second)] == expected


def test_variable_frame_rate_and_late_start(tmp_path, make_clip, picture, read_number):
    times = [5.0, 5.2, 5.9, 6.05, 6.5, 6.9, 9.3, 9.9, 10.0]  # relative: 0 .2 .9 1.05 1.5 1.9 4.3 4.9 5
    path = make_clip(tmp_path / "clip.mkv", map(picture, range(9)), times=times)
    found = list(frames(path))
    # Seconds 2, 3 and 4 share the first frame after the gap: it comes once.
    assert [read_number(image) for _, image in found] == [0, 3, 6, 8]
    assert [seconds for seconds, _ in found] == pytest.approx([0, 1.05, 4.3, 5.0], abs=2e-3)


def test_display_rotation_is_applied(tmp_path, make_clip, picture, read_number):
    path = make_clip(tmp_path / "clip.mp4", [picture(0b1011)] * 3)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # the track's display matrix follows 40 bytes of tkhd version 0
    data[matrix:matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 96 << 16, 0, 1 << 30)
    path.write_bytes(data)
    _, image = next(frames(path))
    # ISO 14496-12: (x, y) -> (96 - y, x), a quarter turn clockwise; turning back must give the picture.
    assert image.shape == (128, 96, 3) and read_number(np.rot90(image)) == 0b1011


@pytest.mark.parametrize("content", [b"", b"this is no video\n" * 50, b"\x00\x00\x00\x20ftypisom"])
def test_what_is_no_video_is_one_line(tmp_path, content):
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"bad\.mp4: ") as raised:
        list(frames(path))
    assert "\n" not in str(raised.value)


def test_truncated_header(tmp_path, make_clip, picture):
    path = make_clip(tmp_path / "clip.mp4", map(picture, range(30)))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(VideoError):
        list(frames(path))


def test_sound_only_has_no_video_stream(tmp_path):
    import av
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(VideoError, match="no video stream"):
        list(frames(path))


def test_break_in_the_middle_gives_what_there_was_then_raises(tmp_path, make_clip):
    noise = np.random.default_rng(0).integers(0, 255, (40, 96, 128, 3), dtype=np.uint8)
    path = make_clip(tmp_path / "clip.mp4", noise)
    path.write_bytes(path.read_bytes()[:-path.stat().st_size // 3])
    seen = []
    with pytest.raises(VideoError):
        for seconds, _ in frames(path):
            seen.append(seconds)
    assert seen == [0.0, 1.0, 2.0][:len(seen)] and len(seen) >= 1


def test_rate_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="per_second = 0"):
        list(frames(tmp_path / "x.mp4", 0))


def test_error_survives_a_process_boundary():
    assert str(pickle.loads(pickle.dumps(VideoError("a.mp4", "broken")))) == "a.mp4: broken"


@pytest.fixture
def sequence(tmp_path, picture):
    """A folder with faces 1..12 whose names sort wrongly as text; the same in a plain tar named .tar.gz."""
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


@pytest.mark.parametrize("place", ["real/7", "shards/1.tar.gz!1/real/7"])
def test_sequence_in_numerical_order(sequence, read_number, picture, place):
    found = list(face_sequence(sequence, place))
    assert [number for number, _ in found] == list(range(1, 13)) == [read_number(image) for _, image in found]
    assert all(np.array_equal(image, picture(number)) for number, image in found)
    assert [number for number, _ in face_sequence(sequence, place, every=5)] == [1, 6, 11]


def test_archive_is_never_unpacked_and_read_again_after_a_change(sequence, picture, read_number):
    before = sorted(path for path in sequence.rglob("*"))
    assert [read_number(image) for _, image in face_sequence(sequence, "shards/1.tar.gz!1/real/8")][0] == 101
    assert sorted(path for path in sequence.rglob("*")) == before
    with tarfile.open(sequence / "shards" / "1.tar.gz", "w:gz") as tar:
        add(tar, "1/real/8/3.png", png(picture(55)))
    assert [read_number(image) for _, image in face_sequence(sequence, "shards/1.tar.gz!1/real/8")] == [55]


@pytest.mark.parametrize("name", ["../evil/1.png", "/etc/1.png", "1/../../1.png"])
def test_members_that_leave_the_archive_are_refused(tmp_path, picture, name):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "1/1.png", png(picture(1)))
        add(tar, name, png(picture(2)))
    with pytest.raises(VideoError, match="refused"):
        list(face_sequence(tmp_path, "a.tar!1"))


@pytest.mark.parametrize("place, reason", [
    ("nowhere", "no such folder"), ("real/7/12", "no such folder"), ("none.tar!x", "no such archive"),
    ("shards/1.tar.gz!x", "no face image")])
def test_missing_sequences(sequence, place, reason):
    with pytest.raises(VideoError, match=reason):
        list(face_sequence(sequence, place))


def test_bad_archive_and_bad_names(tmp_path, picture):
    (tmp_path / "a.tar.gz").write_text("no archive")
    with pytest.raises(VideoError, match="not a readable tar"):
        list(face_sequence(tmp_path, "a.tar.gz!1"))
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "portrait.png").write_bytes(png(picture(1)))
    with pytest.raises(VideoError, match="portrait.png has no frame number"):
        list(face_sequence(tmp_path, "faces"))
    (tmp_path / "faces" / "portrait.png").rename(tmp_path / "faces" / "01.png")
    (tmp_path / "faces" / "1.png").write_bytes(png(picture(2)))
    with pytest.raises(VideoError, match="1.png and 01.png have the same frame number"):
        list(face_sequence(tmp_path, "faces"))


def test_broken_images_do_not_cost_the_others(sequence):
    (sequence / "real" / "7" / "5.png").write_bytes(b"broken")
    (sequence / "real" / "7" / "6.png").write_bytes(b"")
    seen = []
    with pytest.raises(VideoError, match=r"2 images cannot be decoded, first 5\.png"):
        for number, _ in face_sequence(sequence, "real/7"):
            seen.append(number)
    assert seen == [1, 2, 3, 4, 7, 8, 9, 10, 11, 12]
