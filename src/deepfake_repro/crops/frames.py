"""Videos and face sequences as RGB frames: one sequential pass, nothing trusted but the frames themselves.

The paper samples one frame a second (Section 4.1), LNCLIP-DF a fixed number of frames a video. Frame counts,
durations and frame rates in container headers are often wrong, so a frame is chosen by its own presentation
time only. Any file at all gives frames or a one-line ``VideoError``, in bounded memory.
"""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import floor
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image

from .decoding import MAX_PIXELS, VideoError, frame_times, packet_times, timed_frames, upright

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
MAX_IMAGE_BYTES = 2**28
_ROUNDING = 1e-6  # seconds; a time stamp may lie one rounding error before the second it stands for


def frames(path: Path, per_second: float = 1.0, count: int | None = None) -> Iterator[tuple[float, np.ndarray]]:
    """Sample a video at ``per_second`` frames a second (Section 4.1), or at ``count`` evenly spaced frames.

    Yields (seconds since the first frame, RGB uint8 [H, W, 3]), for each k the first frame at or after
    k / per_second; a gap longer than that gives one frame, not copies. With ``count`` (LNCLIP-DF: 32), of n
    frames in order of presentation those numbered floor(i (n - 1) / (count - 1)), i = 0 … count - 1, all if
    n <= count. Display rotation is applied. Raises ``VideoError`` if the file cannot be decoded, or, after
    what could be read, if it breaks off.
    """
    if per_second <= 0:
        raise ValueError(f"per_second = {per_second}: frames a second must be greater than 0")
    if count is not None and count < 1:
        raise ValueError(f"count = {count}: frames a video must be 1 or more")
    rule = _PerSecond(per_second) if count is None else _Evenly(path, count)
    start = None
    for time, frame in timed_frames(path, rule.spares):
        start = time if start is None else start
        if rule.takes(time):
            yield time - start, upright(frame)
        if rule.satisfied:
            break
    if rule.problem or not (rule.satisfied or count is None):
        raise rule.problem or VideoError(path, "its last frames cannot be decoded")


class _PerSecond:
    """Takes the first frame of each interval of 1 / ``rate`` seconds."""

    satisfied, problem = False, None  # only the end of the file shows that no further frame is wanted

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._start: float | None = None
        self._taken = -1
        self._earliest: dict[int, float] = {}  # time of the earliest frame sent to the decoder, by interval

    def _interval(self, time: float) -> int:
        return floor((time - self._start + _ROUNDING) * self._rate)

    def takes(self, time: float) -> bool:
        if self._start is None:
            self._start = self._earliest[0] = time
        last, self._taken = self._taken, max(self._taken, self._interval(time))
        return self._taken > last

    def spares(self, time: float) -> bool:
        """Whether a frame of an earlier time in the same interval is already being decoded."""
        if self._start is None:
            return False
        earliest = self._earliest.setdefault(self._interval(time), time)
        self._earliest[self._interval(time)] = min(earliest, time)
        return earliest < time


class _Evenly:
    """Takes ``count`` frames spread over all frames of a file, whose times are read beforehand."""

    def __init__(self, path: Path, count: int) -> None:
        times, self.problem = packet_times(path)
        self._complete = None not in times
        times = sorted(times) if self._complete else frame_times(path)
        if not times:
            raise self.problem or VideoError(path, "no frame could be decoded")
        self._wanted = sorted({times[i * (len(times) - 1) // max(1, count - 1)] for i in range(count)})
        self._taken = 0

    @property
    def satisfied(self) -> bool:
        return self._taken == len(self._wanted)

    def takes(self, time: float) -> bool:
        """Whether a wanted frame is due: it, or the next if it could not be decoded."""
        last, self._taken = self._taken, max(self._taken, bisect_right(self._wanted, time))
        return self._taken > last

    def spares(self, time: float) -> bool:
        return self._complete and time not in self._wanted


def face_sequence(root: Path, place: str, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Read a folder of face images, or a folder inside a tar written ``archive.tar.gz!inner/folder``.

    Yields (number in the file name, RGB uint8 [H, W, 3]) of every ``every``-th image in numerical order.
    A tar is read in place, whatever its name says of its compression; nothing is written to disk.
    Raises ``VideoError`` if there is no such folder or image, if a member leaves its archive's folder, if a
    name has no number or repeats one and, after all others, if images cannot be decoded.
    """
    if every < 1:
        raise ValueError(f"every = {every}: must be 1 or more")
    yield from _decoded(place, _encoded_images(root, place, every))


def photographs(root: Path, place: str) -> Iterator[tuple[int, np.ndarray]]:
    """Read a folder of unrelated images with any names: (rank in order of the names, RGB uint8 [H, W, 3]).

    Raises ``VideoError`` if there is no such folder or image and, after all others, if images cannot be decoded.
    """
    files = sorted(file for file in (root / place).iterdir() if _is_image(file)) if (root / place).is_dir() else []
    if not files:
        raise VideoError(place, "no such folder, or no image in it")
    yield from _decoded(place, ((rank, file.name, _content(file)) for rank, file in enumerate(files)))


def _decoded(place: str, images: Iterable[tuple[int, str, bytes]]) -> Iterator[tuple[int, np.ndarray]]:
    broken = []
    for number, name, data in images:
        image = _image(data)
        if image is None:
            broken.append(name)
        else:
            yield number, image
    if broken:
        raise VideoError(place, f"{len(broken)} images cannot be decoded, first {broken[0]}")


def _content(file: Path) -> bytes:
    """The file's bytes; none of an absurdly large one."""
    return file.read_bytes() if file.stat().st_size <= MAX_IMAGE_BYTES else b""


def _image(data: bytes) -> np.ndarray | None:
    """RGB uint8 [H, W, 3] of an image file's content; None if it is broken or larger than ``MAX_PIXELS``."""
    try:
        with Image.open(io.BytesIO(data)) as header:  # OpenCV takes the memory first and then looks
            small = header.width * header.height <= MAX_PIXELS
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if small else None
    except (OSError, Image.DecompressionBombError, cv2.error):
        return None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _encoded_images(root: Path, place: str, every: int) -> Iterator[tuple[int, str, bytes]]:
    """(number, name, file content) of every ``every``-th image of the sequence; no content of absurd ones."""
    archive, separator, inside = place.partition("!")
    if separator:
        path = root / archive
        members = _folders(path).get(inside.strip("/"), {})
        with _open_tar(path) as tar:
            for number, name in _numbered(place, members)[::every]:
                small = members[name].size <= MAX_IMAGE_BYTES
                yield number, name, tar.extractfile(members[name]).read() if small else b""
    else:
        folder = root / place
        if not folder.is_dir():
            raise VideoError(place, "no such folder")
        files = {file.name: file for file in folder.iterdir() if _is_image(file)}
        for number, name in _numbered(place, files)[::every]:
            yield number, name, _content(files[name])


def _numbered(place: str, names: dict[str, object]) -> list[tuple[int, str]]:
    """Names ordered by the number that ends their stem (``frame_2.png`` before ``frame_10.png``)."""
    found: dict[int, str] = {}
    for name in sorted(names):
        digits = re.search(r"\d+$", PurePosixPath(name).stem)
        if digits is None:
            raise VideoError(place, f"{name} has no frame number at the end of its name")
        if int(digits[0]) in found:
            raise VideoError(place, f"{name} and {found[int(digits[0])]} have the same frame number")
        found[int(digits[0])] = name
    if not found:
        raise VideoError(place, "no face image in it")
    return sorted(found.items())


def _is_image(path: Path | PurePosixPath) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("._")


@contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:*") as tar:  # WildDeepfake's .tar.gz are plain tars
            yield tar
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise VideoError(path.name, f"not a readable tar archive ({str(error).partition(chr(10))[0]})") from error


def _folders(path: Path) -> dict[str, dict[str, tarfile.TarInfo]]:
    """The images of an archive by folder."""
    if not path.is_file():
        raise VideoError(path.name, "no such archive")
    status = path.stat()
    return _index_tar(path, (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=2)
def _index_tar(path: Path, stamp: tuple[int, int]) -> dict[str, dict[str, tarfile.TarInfo]]:
    """One walk over an archive serves all its sequences; ``stamp`` renews it when the file changes."""
    folders: dict[str, dict[str, tarfile.TarInfo]] = {}
    with _open_tar(path) as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            if member.size < 0:  # the next header would be read from before this one, for ever
                raise VideoError(path.name, f"member {member.name} has a negative size")
            if name.is_absolute() or ".." in name.parts:
                raise VideoError(path.name, f"member {member.name} leaves the archive's folder; refused")
            if member.isfile() and _is_image(name):
                folders.setdefault(str(name.parent), {})[name.name] = member
    return folders
