"""The parts of media files by their structure: boxes, segments, chunks and elements.

Everything is read in plain Python from files that are not trusted: a walk takes at most ``PARTS``
steps, a read at most ``BYTES`` bytes, and sizes beyond the end are cut to it. No function raises
for any content.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

PARTS = 20_000
BYTES = 65_536
_EBML_UNKNOWN = {2 ** (7 * width) - 1 for width in range(1, 9)}


class Part(NamedTuple):
    """A part's kind and where its content begins and ends in the file."""

    kind: bytes
    start: int
    end: int


def read(file: BinaryIO, start: int, end: int) -> bytes:
    """Read bytes from ``start`` to ``end``, at most ``BYTES``; fewer at the end of the file."""
    if start >= end:  # where a wrong size points, which may be further than files can be
        return b""
    file.seek(start)
    return file.read(min(end - start, BYTES))


def mp4_boxes(file: BinaryIO, start: int, end: int) -> Iterator[Part]:
    """Yield the boxes of MP4, MOV, HEIC, AVIF, and of JUMBF."""
    for _ in range(PARTS):
        header = read(file, start, min(start + 16, end))
        if len(header) < 8:
            return
        size = int.from_bytes(header[:4])
        length = 8
        if size == 1:  # a 64-bit size follows
            size = int.from_bytes(header[8:16])
            length = 16
        elif size == 0:  # to the end
            size = end - start
        if size < length:
            return
        yield Part(header[4:8], start + length, min(start + size, end))
        start += size


def riff_chunks(file: BinaryIO, start: int, end: int) -> Iterator[Part]:
    """Yield the chunks of AVI and WebP."""
    for _ in range(PARTS):
        header = read(file, start, min(start + 8, end))
        if len(header) < 8:
            return
        size = int.from_bytes(header[4:], "little")
        yield Part(header[:4], start + 8, min(start + 8 + size, end))
        start += 8 + size + size % 2


def png_chunks(file: BinaryIO, start: int, end: int) -> Iterator[Part]:
    """Yield the chunks after a PNG's signature."""
    for _ in range(PARTS):
        header = read(file, start, min(start + 8, end))
        if len(header) < 8:
            return
        size = int.from_bytes(header[:4])
        yield Part(header[4:], start + 8, min(start + 8 + size, end))
        start += 12 + size


def jpeg_segments(file: BinaryIO, start: int, end: int) -> Iterator[Part]:
    """Yield the segments of a JPEG before its first scan; the kind is the marker's second byte."""
    for _ in range(PARTS):
        header = read(file, start, min(start + 4, end))
        size = int.from_bytes(header[2:])
        if len(header) < 4 or header[0] != 0xFF or header[1] == 0xDA or size < 2:
            return
        yield Part(header[1:2], start + 4, min(start + 2 + size, end))
        start += 2 + size


def ebml_elements(file: BinaryIO, start: int, end: int) -> Iterator[Part]:
    """Yield the elements of Matroska and WebM."""
    for _ in range(PARTS):
        header = read(file, start, min(start + 12, end))
        name = _vint_width(header)
        size = _vint_width(header[name:])
        if not name or not size or len(header) < name + size:
            return
        value = int.from_bytes(header[name : name + size]) & (2 ** (7 * size) - 1)
        begin = start + name + size
        stop = end if value in _EBML_UNKNOWN else begin + value
        yield Part(header[:name], begin, min(stop, end))
        start = stop


def _vint_width(data: bytes) -> int:
    """Return the bytes of a number of variable length; 0 if there is none."""
    return 9 - data[0].bit_length() if data and data[0] else 0
