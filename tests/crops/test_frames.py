"""Frames by presentation time, checked by numbers in the pictures."""

import pickle
import re
import struct
from fractions import Fraction
from math import floor
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from deepfake_repro.crops.decoding import VideoError, upright
from deepfake_repro.crops.frames import frames


def test_one_frame_per_second(tmp_path, make_clip, picture, read_number):
    path = make_clip(tmp_path / "clip.mp4", map(picture, range(30)), rate=10)
    sampled = [(seconds, read_number(image)) for seconds, image in frames(path)]
    assert sampled == [(0.0, 0), (1.0, 10), (2.0, 20)]


def test_frames_are_rgb_uint8(tmp_path, make_clip, picture):
    _, image = next(frames(make_clip(tmp_path / "clip.mp4", [picture(0)] * 3)))
    assert image.dtype == np.uint8 and image.shape == (96, 128, 3)
    red, _, blue = image[70, 30]
    assert red > 180 > 60 > blue
    red, _, blue = image[70, 100]
    assert blue > 180 > 60 > red


@pytest.mark.parametrize(
    "per_second, expected",
    [
        (2.0, [0, 5, 10, 15, 20, 25]),
        (3.0, [0, 4, 7, 10, 14, 17, 20, 24, 27]),
        (0.5, [0, 20]),
        (100.0, list(range(30))),
    ],
)
def test_other_rates(tmp_path, make_clip, picture, read_number, per_second, expected):
    path = make_clip(tmp_path / "clip.mp4", map(picture, range(30)), rate=10)
    assert [read_number(image) for _, image in frames(path, per_second)] == expected


def test_variable_frame_rate_and_late_start(tmp_path, make_clip, picture, read_number):
    since_start = np.array([0, 0.2, 0.9, 1.05, 1.5, 1.9, 4.3, 4.9, 5])
    times = (5 + since_start).tolist()
    path = make_clip(tmp_path / "clip.mkv", map(picture, range(9)), times=times)
    sampled = list(frames(path))
    # Seconds 2, 3 and 4 share the first frame after the gap, which is yielded once.
    assert [read_number(image) for _, image in sampled] == [0, 3, 6, 8]
    assert [seconds for seconds, _ in sampled] == pytest.approx([0, 1.05, 4.3, 5.0], abs=2e-3)


def test_display_rotation_is_applied(tmp_path, make_clip, picture, read_number):
    path = make_clip(tmp_path / "clip.mp4", [picture(0b1011)] * 3)
    data = bytearray(path.read_bytes())
    # The track's display matrix follows 40 bytes of tkhd version 0.
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(
        ">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 96 << 16, 0, 1 << 30
    )
    path.write_bytes(data)
    _, image = next(frames(path))
    # ISO 14496-12: (x, y) -> (96 - y, x), a quarter turn clockwise, which np.rot90 undoes.
    assert image.shape == (128, 96, 3) and read_number(np.rot90(image)) == 0b1011


@pytest.mark.parametrize("content", [b"", b"not a video\n" * 50, b"\x00\x00\x00\x20ftypisom"])
def test_files_that_are_not_videos_give_a_one_line_error(tmp_path, content):
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


@pytest.mark.parametrize(
    "suffix, reason", [(".mka", "no video stream"), (".wav", "not in a supported video format")]
)
def test_sound_without_video_is_an_error(tmp_path, suffix, reason):
    path = tmp_path / f"sound{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), np.int16), format="s16", layout="mono"
        )
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(VideoError, match=reason):
        list(frames(path))


def test_a_truncated_file_gives_its_frames_then_raises(tmp_path, make_clip):
    noise = np.random.default_rng(0).integers(0, 255, (40, 96, 128, 3), dtype=np.uint8)
    path = make_clip(tmp_path / "clip.mp4", noise)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])
    seen = []
    with pytest.raises(VideoError):
        for seconds, _ in frames(path):
            seen.append(seconds)
    assert seen == [0.0, 1.0, 2.0][: len(seen)] and len(seen) >= 1


def test_rate_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="per_second = 0"):
        list(frames(tmp_path / "x.mp4", 0))


def test_error_survives_a_process_boundary():
    assert str(pickle.loads(pickle.dumps(VideoError("a.mp4", "broken")))) == "a.mp4: broken"


def encode(
    path,
    pictures,
    codec="libx264",
    pix_fmt="yuv420p",
    options=None,
    times=None,
    rate=10,
    muxing=None,
):
    """Encode ``pictures`` with any codec, size and container; ``times``: milliseconds of each."""
    with av.open(str(path), "w", options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for number, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def moving(count, height=96, width=128):
    """Drifting noise in RGB, hard enough to predict that encoders use all their frame types."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(
        rng.integers(0, 255, (20, 30, 3), dtype=np.uint8), (width + count, height + count)
    )
    grain = rng.integers(0, 12, (5, height, width, 3), dtype=np.uint8)
    return [ground[i : i + height, i : i + width] // 2 + grain[i % 5] for i in range(count)]


def all_frames(path):
    """Decode every frame with a plain PyAV loop, as the oracle: [(seconds, RGB)]."""
    with av.open(str(path)) as container:
        shown = [(frame.time, upright(frame)) for frame in container.decode(video=0)]
    return [(time - shown[0][0], image) for time, image in shown]


def first_of_each(shown, per_second):
    """Select by definition, in a naive loop: the first frames at or after k / per_second."""
    wanted = {}
    for k in range(int(shown[-1][0] * per_second) + 1):
        for number, (seconds, _) in enumerate(shown):
            if seconds >= k / per_second - 1e-6:
                wanted[number] = shown[number]
                break
    return list(wanted.values())


def assert_same(sampled, expected):
    times, images = zip(*sampled, strict=True)
    expected_times, expected_images = zip(*expected, strict=True)
    assert times == pytest.approx(expected_times, abs=1e-6)
    assert all(map(np.array_equal, images, expected_images))


X264 = {"threads": "1", "crf": "28"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1:bframes=3"}
FILES = {
    "pyramid.mp4": {"options": X264 | {"bf": "7", "b-pyramid": "normal", "refs": "4"}},
    "open_gop.mp4": {"options": X264 | {"x264-params": "open-gop=1", "g": "12", "bf": "3"}},
    "long_gop.mkv": {"options": X264 | {"g": "1000"}},
    "b_frames.avi": {"options": X264 | {"bf": "2"}},
    "interlaced.mp4": {"options": X264 | {"flags": "+ilme+ildct"}},
    "intra.mov": {"options": X264 | {"g": "1"}},
    "stream.ts": {"options": X264},
    "ten_bit.mp4": {"options": X264, "pix_fmt": "yuv420p10le"},
    "hevc.mp4": {"codec": "libx265", "options": X265},
    "hevc_ten_bit.mkv": {"codec": "libx265", "options": X265, "pix_fmt": "yuv420p10le"},
    "vp9.webm": {
        "codec": "libvpx-vp9",
        "options": {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1"},
    },
    "av1.mkv": {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "grey.mov": {"codec": "png", "pix_fmt": "gray"},
    "alpha.mov": {"codec": "png", "pix_fmt": "rgba"},
    "grey16.mkv": {"codec": "ffv1", "pix_fmt": "gray16le"},
}


@pytest.mark.parametrize("name", FILES)
def test_skipping_frames_changes_nothing(tmp_path, name):
    path = encode(tmp_path / name, moving(60), **FILES[name])
    shown = [(number / 10, image) for number, (_, image) in enumerate(all_frames(path))]
    assert len(shown) == 60
    for per_second in (1.0, 3.0, 7.5):
        assert_same(list(frames(path, per_second)), first_of_each(shown, per_second))
    for count in (1, 7, 32, 60, 99):
        chosen = sorted({floor(Fraction(59 * i, max(1, count - 1))) for i in range(count)})
        assert_same(list(frames(path, count=count)), [shown[number] for number in chosen])


def test_skipping_at_uneven_times_changes_nothing(tmp_path):
    times = np.cumsum(np.random.default_rng(1).integers(5, 400, 60)).tolist()
    path = encode(tmp_path / "uneven.mkv", moving(60), options=X264 | {"bf": "7"}, times=times)
    for per_second in (0.5, 1.0, 4.0):
        assert_same(list(frames(path, per_second)), first_of_each(all_frames(path), per_second))


def test_unneeded_frames_are_not_decoded(tmp_path, monkeypatch):
    from deepfake_repro.crops import decoding

    path = encode(tmp_path / "clip.mp4", moving(60), options=X264 | {"bf": "3"})
    jpeg = encode(tmp_path / "clip.avi", moving(60), codec="mjpeg", pix_fmt="yuvj420p")
    decoded = []
    time = decoding._time

    def count_decoded(item):
        decoded.append(isinstance(item, av.VideoFrame))
        return time(item)

    monkeypatch.setattr(decoding, "_time", count_decoded)
    with av.open(str(path)) as container:
        types = [frame.pict_type for frame in container.decode(video=0)]
    assert len(list(frames(path))) == 6
    assert sum(decoded) < 60 - types.count(av.video.frame.PictureType.B) // 3
    decoded.clear()
    assert len(list(frames(jpeg))) == 6 == sum(decoded)
    decoded.clear()
    assert len(list(frames(jpeg, count=3))) == 3 == sum(decoded)


def test_nothing_is_read_after_the_last_wanted_frame(tmp_path, make_clip, picture, read_number):
    path = make_clip(tmp_path / "clip.mkv", map(picture, range(30)))
    assert [read_number(image) for _, image in frames(path, count=1)] == [0]
    with pytest.raises(ValueError, match="count = 0"):
        list(frames(path, count=0))


@pytest.mark.parametrize("size", [(97, 131), (1, 1), (2, 640), (33, 16)])
def test_odd_sizes(tmp_path, size):
    pictures = moving(3, *size)
    path = encode(tmp_path / "odd.mkv", pictures, codec="ffv1", pix_fmt="bgr0")
    assert np.array_equal(next(frames(path))[1], pictures[0])


def test_the_main_video_is_neither_cover_nor_secondary(tmp_path, picture, read_number):
    with av.open(str(tmp_path / "several.mkv"), "w") as container:
        streams = []
        for number, size in enumerate((64, 96, 96)):
            stream = container.add_stream("libx264", rate=10, options={"crf": "10", "threads": "1"})
            stream.height, stream.width, stream.pix_fmt = size, 128, "yuv420p"
            streams.append((stream, np.ascontiguousarray(picture(10 + number)[:size])))
        streams[0][0].disposition = av.stream.Disposition.attached_pic
        streams[1][0].disposition = av.stream.Disposition(0)
        streams[2][0].disposition = av.stream.Disposition.default
        for _ in range(5):
            for stream, image in streams:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for stream, _ in streams:
            container.mux(stream.encode())
    assert read_number(next(frames(tmp_path / "several.mkv"))[1]) == 12


def test_live_recordings_state_no_duration(tmp_path):
    path = encode(
        tmp_path / "live.webm",
        moving(30),
        codec="libvpx-vp9",
        options={"deadline": "realtime"},
        muxing={"live": "1"},
    )
    with av.open(str(path)) as container:
        assert container.duration is None
    assert len(list(frames(path))) == 3 == len(list(frames(path, count=3)))


@pytest.mark.parametrize("count", [None, 8])
@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi", "clip.mp4"])
def test_a_cut_file_gives_its_frames_and_says_so(tmp_path, name, count):
    path = encode(
        tmp_path / name,
        moving(60),
        options=X264,
        muxing={"movflags": "faststart"} if "mp4" in name else {},
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    seen = []
    with pytest.raises(
        VideoError, match=r"ends after . s|Invalid data|End of file|states"
    ) as raised:
        seen += (seconds for seconds, _ in frames(path, count=count))
    assert "\n" not in str(raised.value)


def test_absurd_sizes_are_refused_before_they_are_decoded(tmp_path):
    path = encode(tmp_path / "large.avi", moving(3), codec="mjpeg", pix_fmt="yuvj420p")
    data = path.read_bytes()
    for header in re.finditer(rb"\xff\xc0\x00\x11", data):
        size = header.start() + 5
        data = data[:size] + struct.pack(">HH", 60000, 60000) + data[size + 4 :]
    path.write_bytes(data)
    with pytest.raises(VideoError):
        list(frames(path))


@pytest.mark.parametrize(
    "text",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:clip.mp4\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile clip.mp4\n",
    ],
)
def test_play_lists_open_no_other_file(tmp_path, make_clip, picture, text):
    make_clip(tmp_path / "clip.mp4", map(picture, range(10)))
    (tmp_path / "list.mp4").write_bytes(text)
    with pytest.raises(VideoError, match=r"not in a supported video format|Invalid data"):
        list(frames(tmp_path / "list.mp4"))


def test_the_file_name_does_not_matter(tmp_path, make_clip, picture, read_number, monkeypatch):
    clip = make_clip(tmp_path / "clip.mp4", map(picture, range(10)))
    monkeypatch.chdir(tmp_path)
    for name in ("pipe:0", "http: a.txt", "picture.png", "no suffix"):
        Path(name).write_bytes(clip.read_bytes())
        assert read_number(next(frames(Path(name)))[1]) == 0
    with pytest.raises(VideoError, match="no such file"):
        list(frames(tmp_path))
