"""Videos, face sequences and photographs as RGB frames, read in one sequential pass.

The paper samples one frame per second (Section 4.1), LNCLIP-DF a fixed number of frames per video.
Frame counts, durations and frame rates in container headers are often wrong, so frames are chosen
by their own presentation times only. Any file yields frames or a one-line ``VideoError``, in
bounded memory.
"""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from math import floor
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image

from .decoding import (
    MAX_PIXELS,
    VideoError,
    frame_times,
    is_refused_call,
    packet_times,
    timed_frames,
    upright,
)

# fmt: off
IMAGE_SUFFIXES = frozenset([
    ".png", ".apng", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".avif",
    ".tif", ".tiff", ".jp2", ".heic", ".heif",
])
# fmt: on
UNREADABLE = {".heic": "HEIC", ".heif": "HEIF"}
"""Image formats that no installed library reads."""
MAX_IMAGE_BYTES = 2**28
_ROUNDING = 1e-6  # seconds; a time stamp may be one rounding error before its exact second


def frames(
    path: Path, per_second: float = 1.0, count: int | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """Sample a video at ``per_second`` frames per second, or at ``count`` evenly spaced frames.

    Yields (seconds since the first frame, RGB uint8 [H, W, 3]), with display rotation applied.

    By rate (Section 4.1): for each k, the first frame at or after k / per_second; a longer gap
    between frames yields one frame, not copies. With ``count`` (LNCLIP-DF: 32): of n frames in
    order of presentation, those numbered floor(i (n - 1) / (count - 1)), i = 0 … count - 1, or all
    if n <= count.

    Raises ``VideoError`` if the file cannot be decoded, or, after the readable frames, if it is
    truncated or damaged.
    """
    if per_second <= 0:
        raise ValueError(f"per_second = {per_second}: frames per second must be greater than 0")
    if count is not None and count < 1:
        raise ValueError(f"count = {count}: frames per video must be 1 or more")
    sampler: _PerSecond | _Evenly
    sampler = _PerSecond(per_second) if count is None else _Evenly(path, count)
    start = None
    for time, frame in timed_frames(path, sampler.can_skip):
        if start is None:
            start = time
        if sampler.accepts(time):
            yield time - start, upright(frame)
        if sampler.is_complete:
            break
    if sampler.error:
        raise sampler.error
    if count is not None and not sampler.is_complete:
        raise VideoError(path, "its last frames cannot be decoded")


class _PerSecond:
    """Accept the first frame of each interval of 1 / ``rate`` seconds."""

    is_complete = False  # only the end of the file shows that no further frame is wanted
    error: VideoError | None = None

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._start: float | None = None
        self._accepted = -1  # last interval with an accepted frame
        self._earliest: dict[int, float] = {}  # interval -> earliest time sent to the decoder

    def _interval(self, time: float, start: float) -> int:
        return floor((time - start + _ROUNDING) * self._rate)

    def accepts(self, time: float) -> bool:
        if self._start is None:
            self._start = self._earliest[0] = time
        last = self._accepted
        self._accepted = max(last, self._interval(time, self._start))
        return self._accepted > last

    def can_skip(self, time: float) -> bool:
        """Tell whether an earlier frame of the same interval has been sent to the decoder."""
        if self._start is None:
            return False
        interval = self._interval(time, self._start)
        earliest = self._earliest.setdefault(interval, time)
        self._earliest[interval] = min(earliest, time)
        return earliest < time


class _Evenly:
    """Accept ``count`` frames spread over all frames of a file, whose times are read beforehand."""

    def __init__(self, path: Path, count: int) -> None:
        times, self.error = packet_times(path)
        timed = [time for time in times if time is not None]
        self._all_timed = len(timed) == len(times)
        ordered = sorted(timed) if self._all_timed else frame_times(path)
        if not ordered:
            raise self.error or VideoError(path, "no frame can be decoded")
        last = len(ordered) - 1
        intervals = max(1, count - 1)
        self._wanted = sorted({ordered[i * last // intervals] for i in range(count)})
        self._accepted = 0  # number of wanted times passed

    @property
    def is_complete(self) -> bool:
        return self._accepted == len(self._wanted)

    def accepts(self, time: float) -> bool:
        """Tell whether a wanted frame is due: this one, or an earlier one that failed to decode."""
        last = self._accepted
        self._accepted = max(last, bisect_right(self._wanted, time))
        return self._accepted > last

    def can_skip(self, time: float) -> bool:
        return self._all_timed and time not in self._wanted


def face_sequence(root: Path, path: str, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Read a folder of face images, or one inside a tar, ``archive.tar.gz!inner/folder``.

    ``path`` is relative to ``root``. Yields (number in the file name, RGB uint8 [H, W, 3]) of every
    ``every``-th image in numerical order. A tar is recognised by its content and never unpacked to
    disk. Raises ``VideoError`` if the folder is missing or empty, if a member leaves its archive's
    folder, if a name has no number or repeats one and, after all others, if images cannot be
    decoded.
    """
    if every < 1:
        raise ValueError(f"every = {every}: must be 1 or more")
    yield from _decode_all(path, _encoded_images(root, path, every))


def photographs(root: Path, path: str) -> Iterator[tuple[int, np.ndarray]]:
    """Read a folder of unrelated images: (rank in order of the names, RGB uint8 [H, W, 3]).

    Raises ``VideoError`` if the folder is missing or has no image and, after all others, if images
    cannot be decoded.
    """
    folder = root / path
    files = sorted(filter(_is_image, folder.iterdir())) if folder.is_dir() else []
    if not files:
        raise VideoError(path, "no such folder, or no image in it")
    images = ((rank, file.name, _read_bytes(file)) for rank, file in enumerate(files))
    yield from _decode_all(path, images)


def picture(root: Path, path: str) -> np.ndarray:
    """Read one image, RGB uint8 [H, W, 3]; raises ``VideoError`` if it cannot be decoded."""
    file = root / path
    if not file.is_file():
        raise VideoError(path, "no such file")
    ((_, image),) = _decode_all(path, [(0, file.name, _read_bytes(file))])
    return image


def image_peculiarities(root: Path, path: str) -> list[str]:
    """Name what images of a file or folder have that crops do not show: motion, transparency."""
    notes: dict[str, None] = {}
    place = root / path
    for file in sorted(filter(_is_image, place.iterdir())) if place.is_dir() else [place]:
        with suppress(OSError, Image.DecompressionBombError), Image.open(file) as header:
            count = getattr(header, "n_frames", 1)
            if count > 1:
                notes[f"animation of {count} pictures: only the first is used"] = None
            if header.has_transparency_data:
                notes["alpha channel: ignored, transparent parts are shown"] = None
    return list(notes)


def _decode_all(
    path: str, images: Iterable[tuple[int, str, bytes]]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number, image) of the images that can be decoded, then raise for the others."""
    broken = []
    for number, name, data in images:
        image = _decode_image(data)
        if image is None:
            broken.append(name)
        else:
            yield number, image
    if broken:
        reason = f"{len(broken)} images cannot be decoded, first {broken[0]}"
        kind = UNREADABLE.get(PurePosixPath(broken[0]).suffix.lower())
        cure = f" ({kind} is not supported: convert it to JPEG or PNG)" if kind else ""
        raise VideoError(path, reason + cure)


def _decode_image(data: bytes) -> np.ndarray | None:
    """Decode an image file to RGB uint8 [H, W, 3]; None if it is broken or too large."""
    try:
        # OpenCV allocates memory before it checks the size.
        with Image.open(io.BytesIO(data)) as header:
            if header.width * header.height > MAX_PIXELS:
                return None
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, Image.DecompressionBombError, cv2.error) as error:
        if is_refused_call(error):
            raise
        return None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _read_bytes(file: Path) -> bytes:
    """Read a file; an absurdly large one as if it were empty."""
    return file.read_bytes() if file.stat().st_size <= MAX_IMAGE_BYTES else b""


def _encoded_images(root: Path, path: str, every: int) -> Iterator[tuple[int, str, bytes]]:
    """Yield (number, name, file content) of every ``every``-th image of a face sequence."""
    archive, is_in_archive, inside = path.partition("!")
    if is_in_archive:
        members = _images_by_folder(root / archive).get(inside.strip("/"), {})
        with _open_tar(root / archive) as tar:
            for number, name in _order_by_number(path, members)[::every]:
                yield number, name, _read_member(tar, members[name])
        return
    if not (root / path).is_dir():
        raise VideoError(path, "no such folder")
    files = {file.name: file for file in (root / path).iterdir() if _is_image(file)}
    for number, name in _order_by_number(path, files)[::every]:
        yield number, name, _read_bytes(files[name])


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Read a file in an archive; an absurdly large one as if it were empty."""
    if member.size > MAX_IMAGE_BYTES:
        return b""
    file = tar.extractfile(member)
    return b"" if file is None else file.read()


def _order_by_number(path: str, names: Iterable[str]) -> list[tuple[int, str]]:
    """Order names by the number that ends their stem (``frame_2.png`` before ``frame_10.png``)."""
    name_by_number: dict[int, str] = {}
    for name in sorted(names):
        digits = re.search(r"\d+$", PurePosixPath(name).stem)
        if digits is None:
            raise VideoError(path, f"{name} has no frame number at the end of its name")
        number = int(digits[0])
        if number in name_by_number:
            raise VideoError(
                path, f"{name} and {name_by_number[number]} have the same frame number"
            )
        name_by_number[number] = name
    if not name_by_number:
        raise VideoError(path, "no face image in it")
    return sorted(name_by_number.items())


def _is_image(path: Path | PurePosixPath) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("._")


@contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:*") as tar:  # WildDeepfake's .tar.gz are plain tars
            yield tar
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = str(error).partition("\n")[0]
        raise VideoError(path.name, f"not a readable tar archive ({reason})") from error


def _images_by_folder(path: Path) -> dict[str, dict[str, tarfile.TarInfo]]:
    """Index the images of an archive: folder -> file name -> member."""
    if not path.is_file():
        raise VideoError(path.name, "no such archive")
    status = path.stat()
    return _index_tar(path, (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=2)
def _index_tar(path: Path, stamp: tuple[int, int]) -> dict[str, dict[str, tarfile.TarInfo]]:
    """Index an archive once for all its sequences; ``stamp`` invalidates the cache on a change."""
    folders: dict[str, dict[str, tarfile.TarInfo]] = {}
    with _open_tar(path) as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            if member.size < 0:  # tarfile would seek backwards and read the same headers for ever
                raise VideoError(path.name, f"member {member.name} has a negative size")
            if name.is_absolute() or ".." in name.parts:
                raise VideoError(
                    path.name, f"member {member.name} leaves the archive's folder; refused"
                )
            if member.isfile() and _is_image(name):
                folders.setdefault(str(name.parent), {})[name.name] = member
    return folders
