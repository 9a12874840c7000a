"""Any file at all -> its frames in order of presentation, or one line that says why not; in bounded memory.

Nothing in a file's header is trusted with more than the choice of the stream and a first check of
its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import numpy as np
from av.container import Flags
from av.stream import Disposition

MAX_PIXELS = (
    8192 * 4352
)  # of a frame or image, 8K film; what claims more is refused before memory is taken for it
# By content, whatever the name says. A play list or a text read as video could reach other files:
# not listed.
FORMATS = (
    "mov,mp4,matroska,webm,avi,flv,asf,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,mjpeg,ogg,rm,mxf,dv,"
    "nut,gif,yuv4mpegpipe"
)
TOLERANCE = 0.05  # share of the stated duration that may be missing before a file counts as cut off
_CONTAINER = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
# Many videos are read side by side; one thread each wastes nothing.
_DECODER = {"max_pixels": str(MAX_PIXELS), "threads": "1"}


class VideoError(ValueError):
    """A video or face sequence that cannot be read (to its end); one line: ``path: reason``."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def is_refused_call(error: BaseException) -> bool:
    """True if OpenCV refuses the call, whatever the data: it raises ``cv2.error`` where Python raises TypeError."""
    return "Overload resolution failed" in str(error)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container and its main video: of those that are no cover picture the default one, else the largest."""
    if not path.is_file():
        raise VideoError(path, "no such file")
    try:
        opened = av.open(f"file:{path}", options=_CONTAINER | _DECODER, metadata_errors="ignore")
        with opened as container:
            container.flags &= ~Flags.gen_pts.value  # guesses wrongly for AVI with B-frames
            yield container, _main_video(path, container)
    except av.FFmpegError as error:
        foreign = isinstance(error, av.ArgumentError) and error.filename
        reason = (
            "its content is of none of the video formats read here" if foreign else error.strerror
        )
        raise VideoError(path, reason or "cannot be decoded") from error


def _main_video(path: Path, container: av.container.InputContainer) -> av.VideoStream:
    videos = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic
    ]
    if not videos:
        raise VideoError(path, "no video stream that can be decoded")
    stream = max(
        videos,
        key=lambda stream: (
            bool(stream.disposition & Disposition.default),
            stream.width * stream.height,
        ),
    )
    if stream.width * stream.height > MAX_PIXELS:
        raise VideoError(path, f"frames of {stream.width} × {stream.height} pixels are refused")
    stream.codec_context.options = _DECODER
    return stream


def _packets(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.Packet]:
    """The stream's packets, the last one empty; raises ``VideoError`` where the file stops far too early.

    Many containers cannot tell a cut file from a short one, so what all streams together reach is
    held against the duration that the header states.
    """
    reached = 0.0
    for packet in container.demux():
        end = (packet.pts or packet.dts or 0) + (packet.duration or 0)
        reached = max(reached, float(end * (packet.time_base or 0)))
        if packet.stream.index == stream.index:
            yield packet
    stated = (
        container.duration or 0
    ) / av.time_base  # some formats count it from 0, others from a late start
    if stated - reached > max(1.0, TOLERANCE * stated):
        raise VideoError(path, f"ends after {reached:.1f} s, {stated:.1f} s are stated")


def _time(item: av.Packet | av.VideoFrame) -> float | None:
    """Presentation time in seconds, of a packet and of the frame in it the same number.

    AVI stores the order of decoding only: there a decoded frame's ``dts`` says when it is shown, a
    packet's not.
    """
    ticks = item.dts if item.pts is None and isinstance(item, av.VideoFrame) else item.pts
    base = item.time_base
    return None if ticks is None or not base else float(ticks) * base.numerator / base.denominator


def timed_frames(
    path: Path, spares: Callable[[float], bool]
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Frames of the main video with their times; such that ``spares`` calls unneeded may be left out.

    Left out is only what no other frame is predicted from, so that all others come out bit for bit:
    every frame of codecs without prediction, of H.264 what the stream marks as unreferenced.
    (HEVC's mark holds within a temporal layer only.)
    """
    last = None
    with _opened(path) as (container, stream):
        decoder, gap = stream.codec_context, 1 / float(stream.average_rate or 25)
        intra, marks, timed = decoder.codec.intra_only, decoder.name == "h264", True
        for packet in _packets(path, container, stream):
            time = _time(packet)
            timed &= (
                time is not None
            )  # of a frame without a time it shows only after decoding where it belongs
            spare = timed and not (packet.is_discard or packet.is_corrupt) and spares(time)
            if spare and intra:
                continue
            decoder.skip_frame = "NONREF" if spare and marks else "DEFAULT"
            for frame in packet.decode():
                # Some old AVI files carry no time stamp on some frames: those follow the last one
                # at the mean rate.
                time = _time(frame)
                last = time if time is not None else 0.0 if last is None else last + gap
                yield last, frame
    if last is None:
        raise VideoError(path, "no frame could be decoded")


def packet_times(path: Path) -> tuple[list[float | None], VideoError | None]:
    """Presentation times of the main video's packets, and what is wrong if the file breaks off after them."""
    times: list[float | None] = []
    try:
        with _opened(path) as (container, stream):
            for packet in _packets(path, container, stream):
                times += [_time(packet)] if packet.size and not packet.is_discard else []
    except VideoError as error:
        return times, error
    return times, None


def frame_times(path: Path) -> list[float]:
    """The same by decoding, for the few old files whose packets carry no times."""
    times: list[float] = []
    with suppress(VideoError):
        times += (time for time, _ in timed_frames(path, lambda time: False))
    return times


def upright(frame: av.VideoFrame) -> np.ndarray:
    """RGB uint8 [H, W, 3] turned as a player would show it (phones store portrait video lying down)."""
    turned = np.rot90(frame.to_ndarray(format="rgb24", threads=1), k=round(frame.rotation / 90))
    return np.ascontiguousarray(turned)
