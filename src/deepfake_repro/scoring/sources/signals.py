"""What a file says about its own origin: a C2PA manifest, and the names of tools.

Printed, never judged. A manifest's signature is not checked, and any of these entries can be
removed or forged; so neither their presence nor their absence says whether a clip is genuine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..inputs import printable
from .parts import (
    BYTES,
    Part,
    ebml_elements,
    jpeg_segments,
    mp4_boxes,
    png_chunks,
    read,
    riff_chunks,
)

SHOWN = 120
"""Characters of an entry that are shown."""
ENTRIES = 12
"""Entries that are shown."""
C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""User type of the MP4 box that holds a C2PA manifest store."""
C2PA_STORE = bytes.fromhex("6332706100110010800000aa00389b71")
"""Type of the JUMBF box that is a C2PA manifest store."""

_MP4_TAGS = {
    b"\xa9too": "encoder",
    b"\xa9enc": "encoder",
    b"\xa9swr": "software",
    b"\xa9mak": "make",
    b"\xa9mod": "model",
}
_APPLE_KEYS = {
    "com.apple.quicktime.make": "make",
    "com.apple.quicktime.model": "model",
    "com.apple.quicktime.software": "software",
    "com.android.version": "Android version",
    "encoder": "encoder",
}
_MATROSKA_TAGS = {b"\x4d\x80": "muxing application", b"\x57\x41": "writing application"}
_EXIF_TAGS = {271: "make", 272: "model", 305: "software"}
_PNG_TEXTS = ("Software", "parameters", "prompt", "workflow")

Entry = tuple[str, str]


def signals(path: Path) -> list[Entry]:
    """List (what, text) of a file; nothing for what is no regular file.

    The first entry says whether a C2PA manifest was found.
    """
    if not path.is_file():
        return []
    with path.open("rb") as file:
        end = path.stat().st_size
        searched, manifest, entries = _of_format(file, end)
        tools = [(what, _shown(text)) for what, text in entries if text.strip(b"\0 ")]
    if not searched:
        first = "not searched: only MP4 and its relatives, JPEG and PNG have a place for it here"
    else:
        first = manifest or "none found"
    return [("C2PA manifest", first), *list(dict.fromkeys(tools))[:ENTRIES]]


def _of_format(file: BinaryIO, end: int) -> tuple[bool, str, list[tuple[str, bytes]]]:
    """Return whether C2PA was searched, what was found of it, and the tools' entries."""
    head = read(file, 0, 12)
    if head[4:8] == b"ftyp" or head[4:8] in (b"moov", b"mdat", b"wide", b"free"):
        return True, _mp4_manifest(file, end), list(_mp4_tools(file, end))
    if head.startswith(b"\xff\xd8"):
        return True, _jpeg_manifest(file, end), list(_exif(file, end))
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return True, _png_manifest(file, end), list(_png_texts(file, end))
    if head.startswith(b"\x1aE\xdf\xa3"):
        return False, "", list(_matroska_tools(file, end))
    if head.startswith(b"RIFF"):
        return False, "", list(_riff_tools(file, end))
    return False, "", []


def _shown(text: bytes) -> str:
    """Decode an entry to one short line."""
    line = printable(text.strip(b"\0 ").decode("utf-8", "replace"))
    return line if len(line) <= SHOWN else f"{line[:SHOWN]} …"


def _mp4_manifest(file: BinaryIO, end: int) -> str:
    for box in mp4_boxes(file, 0, end):
        if box.kind == b"uuid" and read(file, box.start, box.start + 16) == C2PA_BOX:
            head = read(file, box.start + 20, min(box.start + 84, box.end))
            purpose = head.partition(b"\0")[0]  # after four bytes of version and flags
            if purpose != b"manifest":
                continue
            store = box.start + 20 + len(purpose) + 1 + 8  # the offset of a further box
            return _store(file, store, box.end, "a box of the MP4 file")
    return ""


def _jpeg_manifest(file: BinaryIO, end: int) -> str:
    for segment in jpeg_segments(file, 2, end):
        # APP11: "JP", number of the box, number of its part, then the box itself.
        if segment.kind == b"\xeb" and read(file, segment.start, segment.start + 2) == b"JP":
            found = _store(file, segment.start + 8, segment.end, "a segment of the JPEG file")
            if found:
                return found
    return ""


def _png_manifest(file: BinaryIO, end: int) -> str:
    for chunk in png_chunks(file, 8, end):
        if chunk.kind == b"caBX":
            return _store(file, chunk.start, chunk.end, "a chunk of the PNG file")
    return ""


def _store(file: BinaryIO, start: int, end: int, where: str) -> str:
    """Describe the JUMBF box at ``start`` if it is a C2PA manifest store, else return ""."""
    head = read(file, start, min(start + 32, end))
    size = int.from_bytes(head[:4])
    if head[4:8] != b"jumb" or head[12:16] != b"jumd" or head[16:32] != C2PA_STORE:
        return ""
    return f"present: {size} bytes in {where}; its signature was not checked"


def _mp4_tools(file: BinaryIO, end: int) -> Iterator[tuple[str, bytes]]:
    """Yield the entries of ``moov/udta``, ``moov/udta/meta/ilst`` and ``moov/meta`` with keys."""
    for moov in _inside(file, Part(b"", 0, end), b"moov"):
        for udta in _inside(file, moov, b"udta"):
            for box in mp4_boxes(file, udta.start, udta.end):
                if box.kind in _MP4_TAGS:  # QuickTime: length, language, text
                    yield _MP4_TAGS[box.kind], read(file, box.start + 4, box.end)
            for meta in _inside(file, udta, b"meta"):
                yield from _items(file, meta)
        for meta in _inside(file, moov, b"meta"):
            yield from _items(file, meta)


def _inside(file: BinaryIO, part: Part, kind: bytes) -> Iterator[Part]:
    return (box for box in mp4_boxes(file, part.start, part.end) if box.kind == kind)


def _items(file: BinaryIO, meta: Part) -> Iterator[tuple[str, bytes]]:
    """Yield the items of a ``meta`` box, which in MP4 begins with four bytes of version."""
    if read(file, meta.start + 4, meta.start + 8) != b"hdlr":
        meta = meta._replace(start=meta.start + 4)
    names = [name for box in _inside(file, meta, b"keys") for name in _keys(file, box)]
    for items in _inside(file, meta, b"ilst"):
        for item in mp4_boxes(file, items.start, items.end):
            number = int.from_bytes(item.kind)
            key = names[number - 1] if 0 < number <= len(names) else ""
            what = _MP4_TAGS.get(item.kind) or _APPLE_KEYS.get(key)
            for data in _inside(file, item, b"data") if what else ():
                yield str(what), read(file, data.start + 8, data.end)


def _keys(file: BinaryIO, box: Part) -> list[str]:
    """Return the names in a ``keys`` box: a version, a count, then boxes of names."""
    return [
        read(file, key.start, key.end).decode("utf-8", "replace")
        for key in mp4_boxes(file, box.start + 8, box.end)
    ]


def _matroska_tools(file: BinaryIO, end: int) -> Iterator[tuple[str, bytes]]:
    for segment in ebml_elements(file, 0, end):
        if segment.kind != b"\x18\x53\x80\x67":
            continue
        for info in ebml_elements(file, segment.start, segment.end):
            if info.kind == b"\x15\x49\xa9\x66":
                for element in ebml_elements(file, info.start, info.end):
                    if element.kind in _MATROSKA_TAGS:
                        text = read(file, element.start, element.end)
                        yield _MATROSKA_TAGS[element.kind], text
                return


def _riff_tools(file: BinaryIO, end: int) -> Iterator[tuple[str, bytes]]:
    for chunk in riff_chunks(file, 12, end):
        if chunk.kind == b"LIST" and read(file, chunk.start, chunk.start + 4) == b"INFO":
            for item in riff_chunks(file, chunk.start + 4, chunk.end):
                if item.kind == b"ISFT":
                    yield "software", read(file, item.start, item.end)


def _png_texts(file: BinaryIO, end: int) -> Iterator[tuple[str, bytes]]:
    for chunk in png_chunks(file, 8, end):
        if chunk.kind in (b"tEXt", b"iTXt"):
            key, _, text = read(file, chunk.start, chunk.end).partition(b"\0")
            name = key.decode("latin-1")
            if name in _PNG_TEXTS:
                yield name, text.lstrip(b"\0")


def _exif(file: BinaryIO, end: int) -> Iterator[tuple[str, bytes]]:
    """Yield make, model and software of the first directory of a JPEG's Exif segment."""
    for segment in jpeg_segments(file, 2, end):
        data = read(file, segment.start, segment.end) if segment.kind == b"\xe1" else b""
        if data.startswith(b"Exif\0\0"):
            yield from _directory(data[6:BYTES])
            return


def _directory(tiff: bytes) -> Iterator[tuple[str, bytes]]:
    order: str = "little" if tiff.startswith(b"II") else "big"

    def number(start: int, width: int) -> int:
        return int.from_bytes(tiff[start : start + width], order)  # type: ignore[arg-type]

    begin = number(4, 4)
    for index in range(min(number(begin, 2), 200)):
        entry = begin + 2 + 12 * index
        tag = number(entry, 2)
        count = number(entry + 4, 4)
        if tag in _EXIF_TAGS and number(entry + 2, 2) == 2:  # text
            at = entry + 8 if count <= 4 else number(entry + 8, 4)
            yield _EXIF_TAGS[tag], tiff[at : at + min(count, BYTES)]
