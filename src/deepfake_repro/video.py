"""Videos and face sequences as RGB frames: one sequential pass, nothing trusted but the frames themselves.

The paper samples one frame a second (Section 4.1). Frame counts and frame rates in container headers are
often wrong, so a frame is chosen by its own presentation time only.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

import av
import cv2
import numpy as np

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
_ROUNDING = 1e-6  # seconds; a time stamp may lie one rounding error before the second it stands for


class VideoError(ValueError):
    """A video or face sequence that cannot be read (to its end); one line: ``path: reason``."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def frames(path: Path, per_second: float = 1.0) -> Iterator[tuple[float, np.ndarray]]:
    """Sample a video at ``per_second`` frames a second (Section 4.1).

    Yields (seconds since the first frame, RGB uint8 [H, W, 3]), for each k the first frame at or after
    k / per_second; a gap longer than that gives one frame, not copies. Display rotation is applied.
    Raises ``VideoError`` if the file cannot be decoded, or, after what could be read, if it breaks off.
    """
    if per_second <= 0:
        raise ValueError(f"per_second = {per_second}: frames a second must be greater than 0")
    wanted = 0
    try:
        with av.open(str(path)) as container:
            for seconds, frame in _timed(path, container):
                if seconds * per_second >= wanted - _ROUNDING * per_second:
                    yield seconds, _upright(frame)
                    wanted = int((seconds + _ROUNDING) * per_second) + 1
    except av.FFmpegError as error:
        raise VideoError(path, error.strerror or "cannot be decoded") from error


def _timed(path: Path, container: av.container.InputContainer) -> Iterator[tuple[float, av.VideoFrame]]:
    """Every frame of the main video stream with its seconds since the first one."""
    stream = container.streams.best("video")
    if stream is None:
        raise VideoError(path, "no video stream")
    stream.thread_count = 1  # many videos are read side by side; one thread each wastes nothing
    gap = 1 / float(stream.average_rate or 25)
    start = last = None
    for frame in container.decode(stream):
        # Some old AVI files carry no time stamp on some frames: those follow the last one at the mean rate.
        time = frame.time if frame.time is not None else (0.0 if last is None else last + gap)
        start = time if start is None else start
        last = time
        yield time - start, frame
    if last is None:
        raise VideoError(path, "no frame could be decoded")


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """RGB uint8 [H, W, 3] turned as a player would show it (phones store portrait video lying down)."""
    turned = np.rot90(frame.to_ndarray(format="rgb24"), k=round(frame.rotation / 90))
    return np.ascontiguousarray(turned)


def face_sequence(root: Path, place: str, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Read a folder of face images, or a folder inside a tar written ``archive.tar.gz!inner/folder``.

    Yields (number in the file name, RGB uint8 [H, W, 3]) of every ``every``-th image in numerical order.
    A tar is read in place, whatever its name says of its compression; nothing is written to disk.
    Raises ``VideoError`` if there is no such folder or image, if a member leaves its archive's folder, if a
    name has no number or repeats one and, after all others, if images cannot be decoded.
    """
    if every < 1:
        raise ValueError(f"every = {every}: must be 1 or more")
    broken = []
    for number, name, data in _encoded_images(root, place, every):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if image is None:
            broken.append(name)
        else:
            yield number, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    if broken:
        raise VideoError(place, f"{len(broken)} images cannot be decoded, first {broken[0]}")


def _encoded_images(root: Path, place: str, every: int) -> Iterator[tuple[int, str, bytes]]:
    """(number, name, file content) of every ``every``-th image of the sequence."""
    archive, separator, inside = place.partition("!")
    if separator:
        path = root / archive
        members = _folders(path).get(inside.strip("/"), {})
        with _open_tar(path) as tar:
            for number, name in _numbered(place, members)[::every]:
                yield number, name, tar.extractfile(members[name]).read()
    else:
        folder = root / place
        if not folder.is_dir():
            raise VideoError(place, "no such folder")
        files = {file.name: file for file in folder.iterdir() if _is_image(file)}
        for number, name in _numbered(place, files)[::every]:
            yield number, name, files[name].read_bytes()


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


def _open_tar(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:*")  # WildDeepfake's .tar.gz are plain tars
    except (tarfile.TarError, OSError) as error:
        raise VideoError(path.name, f"not a readable tar archive ({error})") from error


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
        for member in _members(path, tar):
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts:
                raise VideoError(path.name, f"member {member.name} leaves the archive's folder; refused")
            if member.isfile() and _is_image(name):
                folders.setdefault(str(name.parent), {})[name.name] = member
    return folders


def _members(path: Path, tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    try:
        return tar.getmembers()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise VideoError(path.name, f"archive breaks off ({error})") from error
