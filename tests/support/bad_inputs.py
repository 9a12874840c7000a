"""Generate broken and malicious inputs from a seed: damaged videos and pictures, names, links."""

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
    """Make a PNG whose header claims any size."""

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
    """Write a picture that claims up to 2^31 pixels per side, or one that unpacks to far more."""
    side = int(rng.choice([6000, 50_000, 2**31 - 1]))
    data = bytes(6000 * 3 * 6000 // 10) if side == 6000 else rng.bytes(50)
    (folder / f"{name}.png").write_bytes(png(side, side, data))


def odd_picture(folder: Path, name: str, rng: np.random.Generator) -> None:
    """Write a damaged, truncated or misnamed picture, possibly of one pixel or an extreme shape."""
    shape = [(1, 1), (1, 3000), (3000, 1), (64, 64), (7, 5)][int(rng.integers(5))]
    kind = str(rng.choice([".png", ".jpg", ".webp"]))
    pixels = rng.integers(0, 255, (*shape, 3), np.uint8)
    data = cv2.imencode(kind, pixels)[1].tobytes()
    damages = [corrupt_files.truncated, corrupt_files.bit_flips, corrupt_files.wrong_extension]
    damage = damages[int(rng.integers(3))]
    suffix = rng.choice([".png", ".jpg", ".bmp", ".webp", ".mp4"])
    (folder / f"{name}{suffix}").write_bytes(damage(data, rng))


def odd_name(folder: Path, name: str, rng: np.random.Generator) -> None:
    """Write a file whose name could do harm in a page, shell, terminal, spreadsheet or path."""
    odd = NAMES[int(rng.integers(len(NAMES)))]
    (folder / f"{odd}{name}.mp4").write_bytes(rng.bytes(int(rng.integers(0, 300))))


def undecodable_name(folder: Path, name: str, rng: np.random.Generator) -> None:
    """Write a file whose name is not valid text."""
    path = os.fsdecode(os.fsencode(folder) + b"/\xff\xfe" + name.encode() + b".mp4")
    Path(path).write_bytes(rng.bytes(40))


def no_file(folder: Path, name: str, rng: np.random.Generator) -> None:
    """Make a pipe, a folder, or a link to a device, a system file, itself or nothing."""
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


KINDS = (bomb, odd_picture, odd_picture, odd_name, odd_name, undecodable_name, no_file, no_file)


def make_all(folder: Path, count: int, seed: int) -> Path:
    """Fill ``folder / "bad"`` with ``count`` inputs of this seed, half of them damaged videos."""
    half = count // 2
    files = corrupt_files.make(folder, half, seed)
    rng = np.random.default_rng(seed)
    bad = folder / "bad"
    bad.mkdir()
    for file in files:
        path = folder / file["path"].partition("!")[0]
        path.rename(bad / path.name)
    for number in range(count - half):
        KINDS[number % len(KINDS)](bad, f"{number:04d}", rng)
    return bad
