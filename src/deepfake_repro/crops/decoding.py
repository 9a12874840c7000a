"""Decode any file to frames in order of presentation, or to a one-line error, in bounded memory.

Header fields are trusted only for choosing the stream and for a first check of its size.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import Flags
from av.stream import Disposition
from av.video.reformatter import ColorTrc, Interpolation

# Pixels of a frame or image: 8K film. Larger claims are refused before memory is allocated.
MAX_PIXELS = 8192 * 4352
# Formats are recognised by content, whatever the file's name. Play lists and text formats are left
# out, because they could read other files.
FORMATS = (
    "mov,mp4,matroska,webm,avi,flv,asf,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,mjpeg,ogg,rm,mxf,dv,"
    "nut,gif,yuv4mpegpipe"
)
TOLERANCE = 0.05  # missing share of the stated duration above which a file counts as truncated
JITTER = 0.5  # seconds by which a decoding time may fall within one recording
_CONTAINER = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
# Without these, libswscale rounds colours differently with each processor and a level too dark.
_EXACT = (
    Interpolation.BILINEAR
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)
_HEADERS = ((4, b"ftyp"), (0, b"FLV"), (0, b"\x1aE\xdf\xa3"))  # MP4, FLV, Matroska: offset, mark
_HDR: dict[int, str] = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}
_DECODER = {"max_pixels": str(MAX_PIXELS), "threads": "1"}  # videos are decoded in parallel


class VideoError(ValueError):
    """A video or face sequence that cannot be read (to its end); one line: ``path: reason``."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def is_refused_call(error: BaseException) -> bool:
    """Tell whether OpenCV rejected the call itself: ``cv2.error`` where Python raises TypeError."""
    return "Overload resolution failed" in str(error)


@contextmanager
def _open(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file; yield the container and its main video stream."""
    if not path.is_file():
        raise VideoError(path, "no such file")
    try:
        opened = av.open(f"file:{path}", options=_CONTAINER | _DECODER, metadata_errors="ignore")
        with opened as container:
            # Generated time stamps are wrong for AVI with B-frames.
            container.flags &= ~Flags.gen_pts.value  # type: ignore[operator]  # stub: not an int
            yield container, _main_video(path, container)
    except av.FFmpegError as error:
        reason = error.strerror or "cannot be decoded"
        if isinstance(error, av.ArgumentError) and error.filename:
            reason = "its content is not in a supported video format"
        raise VideoError(path, reason) from error


def _main_video(path: Path, container: av.container.InputContainer) -> av.VideoStream:
    """Choose among streams that are not a cover picture: the default one, or else the largest."""
    streams = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        raise VideoError(path, "no video stream that can be decoded")

    def rank(stream: av.VideoStream) -> tuple[bool, int]:
        is_default = bool(stream.disposition & Disposition.default)
        return is_default, stream.width * stream.height

    stream = max(streams, key=rank)
    if stream.width * stream.height > MAX_PIXELS:
        raise VideoError(path, f"frames of {stream.width} × {stream.height} pixels are too large")
    stream.codec_context.options = _DECODER
    return stream


def _packets(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.Packet]:
    """Yield the stream's packets, the last one empty, on one clock (see ``_Clock``).

    Many containers cannot distinguish a truncated file from a short one. Therefore the end of all
    streams together is compared with the duration that the header states; raises ``VideoError`` if
    it is far too early.
    """
    reached = 0.0
    clocks: dict[int, _Clock] = {}
    for packet in container.demux():
        clocks.setdefault(packet.stream.index, _Clock()).correct(packet)
        end = (packet.pts or packet.dts or 0) + (packet.duration or 0)
        reached = max(reached, float(end * (packet.time_base or 0)))
        if packet.stream.index == stream.index:
            yield packet
    # Some formats count the duration from 0, others from a late start.
    stated = (container.duration or 0) / av.time_base
    if stated - reached > max(1.0, TOLERANCE * stated):
        raise VideoError(path, f"ends after {reached:.1f} s, its header states {stated:.1f} s")


class _Clock:
    """The time of one stream, continued where recordings were joined and the stamps start over.

    Decoding times never fall within a recording. One that falls by more than ``JITTER`` seconds
    begins another, which then follows the last packet.
    """

    def __init__(self) -> None:
        self._next: int | None = None  # decoding time at which the last packet ends, in ticks
        self._shift = 0

    def correct(self, packet: av.Packet) -> None:
        """Shift the packet's time stamps to the continued clock."""
        if packet.dts is None or not packet.time_base:
            return
        time = packet.dts + self._shift
        if self._next is not None and (self._next - time) * packet.time_base > JITTER:
            self._shift += self._next - time
            time = self._next
        if self._shift:
            if packet.pts is not None:
                packet.pts += self._shift
            packet.dts = time
        self._next = max(self._next or 0, time + (packet.duration or 0))


def _time(item: av.Packet | av.VideoFrame) -> float | None:
    """Return the presentation time in seconds, the same for a packet and the frame in it.

    AVI stores the order of decoding only. There a decoded frame's ``dts`` is its presentation time,
    a packet's is not.
    """
    ticks = item.pts
    if ticks is None and isinstance(item, av.VideoFrame):
        ticks = item.dts
    base = item.time_base
    if ticks is None or not base:
        return None
    return float(ticks) * base.numerator / base.denominator


def timed_frames(
    path: Path, can_skip: Callable[[float], bool]
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield (seconds, frame) of the main video.

    Frames for which ``can_skip(time)`` is true may be skipped undecoded. That is done only if no
    other frame is predicted from them, so that all others stay bit-identical: with any frame of
    codecs without prediction, and with frames that H.264 marks as unreferenced. (HEVC's mark is
    valid only within a temporal layer.)
    """
    last = None
    with _open(path) as (container, stream):
        decoder = stream.codec_context
        interval = 1 / float(stream.average_rate or 25)
        all_timed = True
        for packet in _packets(path, container, stream):
            time = _time(packet)
            # The position of a frame without a time is known only after decoding.
            all_timed &= time is not None
            is_intact = not (packet.is_discard or packet.is_corrupt)
            skip = all_timed and time is not None and is_intact and can_skip(time)
            if skip and decoder.codec.intra_only:
                continue
            decoder.skip_frame = "NONREF" if skip and decoder.name == "h264" else "DEFAULT"
            for frame in packet.decode():
                last = _frame_time(frame, last, interval)
                yield last, frame
    if last is None:
        raise VideoError(path, "no frame can be decoded")


def _frame_time(frame: av.VideoFrame, last: float | None, interval: float) -> float:
    """Return a frame's time; without time stamp (old AVI) it follows ``last`` at the mean rate."""
    time = _time(frame)
    if time is not None:
        return time
    return 0.0 if last is None else last + interval


def packet_times(path: Path) -> tuple[list[float | None], VideoError | None]:
    """Return the presentation times of the main video's packets, and the error that ended them."""
    times: list[float | None] = []
    try:
        with _open(path) as (container, stream):
            for packet in _packets(path, container, stream):
                if packet.size and not packet.is_discard:
                    times.append(_time(packet))
    except VideoError as error:
        return times, error
    return times, None


def frame_times(path: Path) -> list[float]:
    """Return the times of all frames by decoding, for old files whose packets have no times."""
    times: list[float] = []
    with suppress(VideoError):
        for time, _ in timed_frames(path, lambda time: False):
            times.append(time)
    return times


def upright(frame: av.VideoFrame) -> np.ndarray:
    """Convert to RGB uint8 [H, W, 3], turned and mirrored as players show it."""
    pixels = frame.to_ndarray(format="rgb24", threads=1, interpolation=_EXACT)
    return np.ascontiguousarray(_oriented(pixels, _display_matrix(frame)))


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """Return a, b, c, d of the display matrix: a pixel (x, y) is shown at (ax + cy, bx + dy)."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")  # the stubs say object
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = np.frombuffer(data, np.int32).tolist()
    return a, b, c, d


def _oriented(image: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Apply the nearest of the eight orientations to an image [H, W, 3]."""
    a, b, c, d = matrix
    if abs(a) + abs(d) < abs(b) + abs(c):
        image = image.transpose(1, 0, 2)
        a, d = c, b
    rows = slice(None, None, -1 if d < 0 else 1)
    columns = slice(None, None, -1 if a < 0 else 1)
    return image[rows, columns]


def peculiarities(path: Path) -> list[str]:
    """Name what a video's first frame has that the crops do not show as a player does.

    Raises ``VideoError`` if no frame can be decoded.
    """
    with _open(path) as (container, stream):
        frame = next(container.decode(stream), None)
        aspect = stream.sample_aspect_ratio
    if frame is None:
        raise VideoError(path, "no frame can be decoded")
    notes = []
    curve = _HDR.get(frame.color_trc)
    if curve:
        notes.append(f"high dynamic range ({curve}): shown without tone mapping, colours look pale")
    if frame.interlaced_frame:
        notes.append("interlaced: both half-frames in one picture, edges that move are combed")
    if any(component.is_alpha for component in frame.format.components):
        notes.append("alpha channel: ignored, transparent parts are shown")
    if aspect and aspect != 1:
        notes.append(
            f"pixels of {aspect.numerator}:{aspect.denominator}: not square, not stretched"
        )
    if _starts_twice(path):
        notes.append("another recording is joined to its end: only the first can be decoded")
    return notes


def _starts_twice(path: Path) -> bool:
    """Tell whether a file of a format with one header contains that header again."""
    with path.open("rb") as file:
        start = file.read(12)
        headers = [start[at : at + 8] for at, mark in _HEADERS if start[at:].startswith(mark)]
        if not headers:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(headers[0], len(start)) >= 0
