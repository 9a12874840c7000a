"""A seeded generator of inputs that mean harm or are broken: content (``corrupt_files``), pictures,
names, links.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from support import corrupt_files

NAMES = (
    "<script>alert(1)",
    "a\nb",
    "\x1b]0;owned\x07",
    "=cmd|' -C calc'!A0",
    "-rf",
    "..",
    "%2e%2e%2f",
    "a" * 200,
    "x!y",
    "$(touch owned)",
    "`touch owned`",
    "; touch owned",
    "\u202egpj",
    "{body}",
    "con",
    " ",
    "a\\..\\..\\b",
)


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG whose header claims any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data, 9))
        + chunk(b"IEND", b"")
    )


def bomb(folder: Path, name: str, rng: np.random.Generator) -> None:
    """A picture that claims up to 2^31 pixels a side, and one that really unpacks to far more than
    it weighs.
    """
    side = int(rng.choice([6000, 50_000, 2**31 - 1]))
    data = bytes(6000 * 3 * 6000 // 10) if side == 6000 else rng.bytes(50)
    (folder / f"{name}.png").write_bytes(png(side, side, data))


def odd_picture(folder: Path, name: str, rng: np.random.Generator) -> None:
    """A picture cut off, damaged, of one pixel, of extreme shape, or of another kind than its name
    says.
    """
    shape = [(1, 1), (1, 3000), (3000, 1), (64, 64), (7, 5)][int(rng.integers(5))]
    kind, pixels = (
        str(rng.choice([".png", ".jpg", ".webp"])),
        rng.integers(0, 255, (*shape, 3), np.uint8),
    )
    data = cv2.imencode(kind, pixels)[1].tobytes()
    damage = [corrupt_files.truncated, corrupt_files.bit_flips, corrupt_files.wrong_extension][
        int(rng.integers(3))
    ]
    (folder / f"{name}{rng.choice(['.png', '.jpg', '.bmp', '.webp', '.mp4'])}").write_bytes(
        damage(data, rng)
    )


def odd_name(folder: Path, name: str, rng: np.random.Generator) -> None:
    """A name that would do harm in a page, a shell, a terminal, a spreadsheet or a path."""
    odd = NAMES[int(rng.integers(len(NAMES)))]
    (folder / f"{odd}{name}.mp4").write_bytes(rng.bytes(int(rng.integers(0, 300))))


def undecodable_name(folder: Path, name: str, rng: np.random.Generator) -> None:
    """Bytes that are no text."""
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe" + name.encode() + b".mp4")).write_bytes(
        rng.bytes(40)
    )


def no_file(folder: Path, name: str, rng: np.random.Generator) -> None:
    """A pipe, a device, a link into the void or onto itself, a link to a system file, a folder with
    a video's name.
    """
    path = folder / f"{name}.mp4"
    make: list[Callable[[], object]] = [
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to("/nowhere/at/all"),
        lambda: path.symlink_to(path),
        lambda: path.symlink_to("/etc/passwd"),
        lambda: path.mkdir(),
    ]
    make[int(rng.integers(len(make)))]()


OWN = (bomb, odd_picture, odd_picture, odd_name, odd_name, undecodable_name, no_file, no_file)


def make_all(folder: Path, count: int, seed: int) -> Path:
    """Fill ``folder / "bad"`` with ``count`` inputs, half of them damaged videos; the same seed,
    the same inputs.
    """
    half = count // 2
    files = corrupt_files.make(folder, half, seed)
    bad, rng = folder / "bad", np.random.default_rng(seed)
    bad.mkdir()
    for file in files:
        (folder / file["path"].partition("!")[0]).rename(
            bad / Path(file["path"].partition("!")[0]).name
        )
    for number in range(count - half):
        OWN[number % len(OWN)](bad, f"{number:04d}", rng)
    return bad
