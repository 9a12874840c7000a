"""Write H.264 copies of a clip, changed or annotated; run inside ``guarded``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

from ...crops.decoding import VideoError, timed_frames, upright
from ...crops.frames import picture

FAITHFUL = 10
"""Constant rate factor at which H.264 is nearly free of loss."""
LOWER_RATE = 35
JPEG_LOWER = 30
ANNOTATED = 20
BAR = 8
"""A letterbox's bar takes the height divided by this, above and below."""
LONGEST = 1280
"""Pixels of an annotated copy's longer side at most."""
WHITE = (255, 255, 255)
BLACK = (0, 0, 0)

Image = np.ndarray


class Change(NamedTuple):
    """A change of a clip: of its pictures, RGB uint8 ``[H, W, 3]``, and of its rate."""

    words: str
    of_picture: Callable[[Image], Image]
    rate: int = FAITHFUL


class Seen(NamedTuple):
    """A track for an annotated copy: times ``[N]``, boxes ``[N, 4]``, scores ``[N]``, colour."""

    times: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    colour: tuple[int, int, int]


def same(image: Image) -> Image:
    """Return the picture as it is."""
    return image


def halve(image: Image) -> Image:
    """Halve both sides."""
    height, width = image.shape[:2]
    return cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def letterbox(image: Image) -> Image:
    """Add black bars above and below."""
    bar = image.shape[0] // BAR
    return np.pad(image, ((bar, bar), (0, 0), (0, 0)))


def mirror(image: Image) -> Image:
    """Swap left and right."""
    return image[:, ::-1]


CHANGES: Mapping[str, Change] = {
    "saved again": Change("almost without loss: what the others are compared with", same),
    "lower rate": Change(
        "H.264 at a low rate; a photograph as JPEG of quality 30", same, LOWER_RATE
    ),
    "halved": Change("half the width and height", halve),
    "letterboxed": Change("black bars above and below", letterbox),
    "mirrored": Change("left and right swapped", mirror),
}


def save_changed(root: Path, name: str, out: Path, change: str, seconds: float) -> float:
    """Write a changed copy of the first ``seconds`` of the video ``root/name``.

    Returns the seconds that it has. A damaged end is left out. Raises ``ValueError`` if nothing can
    be decoded.
    """
    chosen = CHANGES[change]
    with _writer(out, chosen.rate) as write:
        last = -1.0
        for time, image in _pictures(root / name):
            if time >= seconds:
                break
            write(time, chosen.of_picture(image))
            last = time
    if last < 0:
        raise ValueError("no frame can be decoded")
    return last


def save_changed_picture(root: Path, name: str, out: Path, change: str) -> None:
    """Write a changed copy of the photograph ``root/name``, as PNG or, at a lower rate, JPEG."""
    chosen = CHANGES[change]
    image = chosen.of_picture(picture(root, name))
    options = (cv2.IMWRITE_JPEG_QUALITY, JPEG_LOWER) if out.suffix == ".jpg" else ()
    if not cv2.imwrite(str(out), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options):
        raise ValueError("the changed picture cannot be written")


def save_annotated(
    path: Path, out: Path, tracks: Sequence[Seen], captions: Sequence[list[tuple[float, str]]]
) -> None:
    """Write a copy of a video with the faces' boxes and scores, and lines of text.

    ``captions``: for each line, from which second on it says what.
    """
    interval = _interval(tracks)
    with _writer(out, ANNOTATED) as write:
        for time, image in _pictures(path):
            scale = min(1.0, LONGEST / max(image.shape[:2]))
            drawn = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            for track in tracks:
                _draw_face(drawn, track, time, interval, scale)
            lines = [[text for begin, text in line if begin <= time][-1:] for line in captions]
            _draw_lines(drawn, [text for line in lines for text in line])
            write(time, drawn)


def box_at(track: Seen, time: float, interval: float) -> np.ndarray | None:
    """Return the box ``[4]`` of a track at ``time``, None where it was not seen.

    Between two samples it is interpolated, unless one sample or more lies between them; beyond the
    ends it is shown for half an ``interval``.
    """
    after = int(np.searchsorted(track.times, time, side="right"))
    if 0 < after < len(track.times):
        gap = track.times[after] - track.times[after - 1]
        if gap <= 1.5 * interval:
            share = (time - track.times[after - 1]) / gap
            return (1 - share) * track.boxes[after - 1] + share * track.boxes[after]
    nearest = int(np.argmin(np.abs(track.times - time)))
    is_near = abs(track.times[nearest] - time) <= interval / 2
    return track.boxes[nearest] if is_near else None


def _interval(tracks: Sequence[Seen]) -> float:
    """Return the seconds between sampled frames, 1 where there are too few."""
    times = np.unique(np.concatenate([track.times for track in tracks])) if tracks else np.empty(0)
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0


def _draw_face(image: Image, track: Seen, time: float, interval: float, scale: float) -> None:
    box = box_at(track, time, interval)
    if box is None:
        return
    left, top, right, bottom = (box * scale).round().astype(int).tolist()
    cv2.rectangle(image, (left, top), (right, bottom), track.colour, 2)
    score = track.scores[int(np.argmin(np.abs(track.times - time)))]
    _draw_text(image, f"{score:.2f}", left, max(top - 6, 14))


def _draw_lines(image: Image, lines: Sequence[str]) -> None:
    for number, line in enumerate(lines):
        _draw_text(image, line, 8, 22 + 22 * number)


def _draw_text(image: Image, text: str, left: int, base: int) -> None:
    """Draw white text on black; OpenCV's letters are ASCII."""
    plain = text.encode("ascii", "replace").decode()
    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, height), _ = cv2.getTextSize(plain, font, 0.5, 1)
    cv2.rectangle(image, (left - 2, base - height - 4), (left + width + 2, base + 4), BLACK, -1)
    cv2.putText(image, plain, (left, base), font, 0.5, WHITE, 1, cv2.LINE_AA)


def _pictures(path: Path) -> Iterator[tuple[float, Image]]:
    """Yield (seconds since the first frame, picture) up to where the file is damaged."""
    start = None
    with suppress(VideoError):
        for time, frame in timed_frames(path, _none_skipped):
            start = time if start is None else start
            yield time - start, upright(frame)


def _none_skipped(time: float) -> bool:
    return False


@contextmanager
def _writer(out: Path, rate: int) -> Iterator[Callable[[float, Image], None]]:
    """Yield a function that appends (seconds, picture) to an MP4 of even width and height."""
    with av.open(str(out), "w", format="mp4") as container:
        stream: Any = container.add_stream(
            "libx264", rate=30, options={"crf": str(rate), "preset": "veryfast", "threads": "1"}
        )
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        last = -1

        def write(seconds: float, image: Image) -> None:
            nonlocal last
            height, width = (side // 2 * 2 for side in image.shape[:2])
            if min(height, width) < 2:
                raise ValueError("its pictures are too small for H.264")
            if last < 0:
                stream.height, stream.width = height, width
            pixels = np.ascontiguousarray(image[: stream.height, : stream.width])
            if pixels.shape[:2] != (stream.height, stream.width):
                pixels = cv2.resize(pixels, (stream.width, stream.height))
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            last = max(last + 1, round(1000 * seconds))
            frame.pts, frame.time_base = last, Fraction(1, 1000)
            container.mux(stream.encode(frame))

        yield write
        if last >= 0:
            container.mux(stream.encode())
