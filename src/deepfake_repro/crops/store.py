"""The store of face crops: folders of Arrow files ("parts"), memory-mapped for random access.

A part is written whole or not at all, and its bytes depend on its rows only. It also contains the
records of what could not be cropped, so that a finished part needs no other file. ``parts.csv``
lists the number of rows and the first and last video of each part, so that a store opens at once
however many parts it has.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..project.files import replacing

# Lossless. Of levels 1, 3 and 6 and all strategies, level 1 with run lengths was both fast and
# small on faces.
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
_JPEG = (
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
)
ENCODINGS = {"png": (".png", _PNG), "jpeg": (".jpg", _JPEG)}
"""Name -> suffix and settings of ``cv2.imencode``."""

# Boxes, landmarks, width and height are in pixels of the source frame.
CROP_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        ("frame", pa.int32()),  # index of the sampled frame; in face sequences, the file's number
        ("seconds", pa.float32()),  # since the first frame; NaN in face sequences
        ("face", pa.int16()),  # 0 is the face with the highest score in its frame
        ("x0", pa.float32()),  # the box before margin
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("score", pa.float32()),
        ("landmarks", pa.list_(pa.float32(), 10)),  # five points (x, y); NaN in face sequences
        ("width", pa.int32()),  # of the source frame
        ("height", pa.int32()),
        ("image", pa.binary()),
    ]
)
ROWS_AT_ONCE = 256
PARTS_OPEN = 500  # each open part holds a file descriptor, of which a process may have 1024
LISTING = {"part": "str", "bytes": "int64", "rows": "int64", "first": "str", "last": "str"}
"""Columns of ``parts.csv`` and their types."""

Row = dict[str, Any]


def encode(image: np.ndarray, encoding: str) -> bytes:
    """Encode RGB uint8 [H, W, 3] as ``png`` or ``jpeg`` (quality 95, full colour resolution)."""
    suffix, settings = ENCODINGS[encoding]
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)[1].tobytes()


def decode(data: bytes | pa.Buffer) -> np.ndarray:
    """Decode PNG or JPEG bytes to RGB uint8 [H, W, 3]."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("crop image cannot be decoded; delete its part and rerun the crops stage")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def write_part(path: Path, rows: Iterable[Row], skipped: Iterable[Row] = ()) -> int:
    """Write ``rows`` of ``CROP_SCHEMA`` to an Arrow file, atomically; return their number.

    The same rows give the same bytes. ``skipped`` (records video_id/reason/detail) is read after
    the rows, so that a generator of rows may fill it on the way. Only ``ROWS_AT_ONCE`` rows are in
    memory at a time.
    """
    # A worker presumed lost may still be writing the same part as its replacement.
    with replacing(path, several_writers=True) as temporary:
        return _write(temporary, rows, skipped)


def _write(path: Path, rows: Iterable[Row], skipped: Iterable[Row]) -> int:
    remaining = iter(rows)
    written = 0
    with path.open("wb") as sink, pa.ipc.new_file(sink, CROP_SCHEMA) as writer:
        while batch := list(islice(remaining, ROWS_AT_ONCE)):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, CROP_SCHEMA))
            written += len(batch)
        # Metadata of the whole file would be needed before its first row.
        writer.write_batch(
            pa.RecordBatch.from_pylist([], CROP_SCHEMA),
            custom_metadata={"skipped": json.dumps(list(skipped))},
        )
    return written


@contextmanager
def _open(path: Path) -> Iterator[pa.ipc.RecordBatchFileReader]:
    try:
        with pa.memory_map(str(path)) as source:
            yield pa.ipc.open_file(source)
    except pa.ArrowInvalid as error:
        raise ValueError(
            f"{path}: not a complete crop part; delete it and rerun the crops stage"
        ) from error


def read_skipped(path: Path) -> list[Row]:
    """Read the records video_id/reason/detail of a part. Raises ``ValueError`` for other files."""
    with _open(path) as reader:
        last = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
        return json.loads(last.custom_metadata[b"skipped"])


@lru_cache(maxsize=PARTS_OPEN)
def _table(path: Path, stamp: int) -> pa.Table:
    """Memory-map a part; ``stamp`` tells it from an older one of the same name."""
    with _open(path) as reader:
        return reader.read_all()


def list_parts(folder: Path, pattern: str = "*.arrow") -> pd.DataFrame:
    """List the parts in a folder and its subfolders: ``part, bytes, rows, first, last, stamp``.

    In order of their names, which are relative to ``folder``; ``first`` and ``last`` are videos. A
    part with the size that ``parts.csv`` in its folder states is not opened.
    """
    with os.scandir(folder) as entries:
        subfolders = sorted(Path(entry.path) for entry in entries if entry.is_dir())
    tables = [_list_folder(part, pattern) for part in (folder, *subfolders)]
    for table, part in zip(tables[1:], subfolders, strict=True):
        table["part"] = f"{part.name}/" + table["part"]
    return pd.concat(tables, ignore_index=True)


def _list_folder(folder: Path, pattern: str) -> pd.DataFrame:
    with os.scandir(folder) as files:
        entries = sorted(
            (file.name, file.stat().st_size, file.stat().st_mtime_ns)
            for file in files
            if fnmatch(file.name, pattern)
        )
    parts = pd.DataFrame(entries, columns=["part", "bytes", "stamp"])
    parts = parts.astype({"part": "str", "bytes": "int64", "stamp": "int64"})
    parts = parts.merge(_read_listing(folder / "parts.csv"), "left", ["part", "bytes"])
    new = parts["rows"].isna()
    if new.any():
        parts.loc[new, ["rows", "first", "last"]] = [
            _summarise(folder / part, stamp)
            for part, stamp in parts.loc[new, ["part", "stamp"]].to_numpy()
        ]
    return parts.astype(LISTING)


def write_listing(folder: Path) -> None:
    """Write ``parts.csv`` of the parts in ``folder``."""
    parts = _list_folder(folder, "*.arrow")
    parts[list(LISTING)].to_csv(folder / "parts.csv", index=False, lineterminator="\n")


def _read_listing(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame(columns=list(LISTING)).astype(LISTING)
    return pd.read_csv(path, dtype=LISTING, keep_default_na=False)


def _summarise(path: Path, stamp: int) -> tuple[int, str, str]:
    """Count a part's rows and find its first and last video in alphabetical order ('' if empty)."""
    videos = _table(path, stamp)["video_id"]
    ends = pc.min_max(videos).as_py()
    return len(videos), ends["min"] or "", ends["max"] or ""


class CropStore:
    """All parts of a folder and its subfolders as one table, its rows in order of the parts' names.

    Reads only what is asked for. Unpickling opens the folder again (``DataLoader`` workers). Raises
    ``FileNotFoundError`` if the folder has no part that matches ``pattern``.
    """

    def __init__(self, folder: Path, pattern: str = "*.arrow") -> None:
        self.folder = Path(folder)
        self.pattern = pattern
        parts = list_parts(self.folder, pattern) if self.folder.is_dir() else pd.DataFrame()
        if parts.empty:
            raise FileNotFoundError(
                f"{folder}: no crops ({pattern}) here; run the crops stage first"
            )
        self._names: list[str] = parts["part"].tolist()
        self._stamps: list[int] = parts["stamp"].tolist()
        self._first = parts["first"].to_numpy(object)
        self._last = parts["last"].to_numpy(object)
        self._ends = np.cumsum(parts["rows"].to_numpy())

    def __reduce__(self) -> tuple[type[CropStore], tuple[Path, str]]:
        return CropStore, (self.folder, self.pattern)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def paths(self) -> list[Path]:
        """The parts' files, for other readers of Arrow: pandas, pyarrow, DuckDB, ``datasets``."""
        return [self.folder / name for name in self._names]

    def _part(self, number: int) -> pa.Table:
        return _table(self.folder / self._names[number], self._stamps[number])

    def table(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return ``columns`` of all crops in row order, by default all but the image."""
        if columns is None:
            columns = [name for name in CROP_SCHEMA.names if name != "image"]
        # Copied in groups: a process may map only some ten thousand files.
        groups = []
        for start in range(0, len(self._names), PARTS_OPEN):
            numbers = range(len(self._names))[start : start + PARTS_OPEN]
            parts = (self._part(number).select(list(columns)) for number in numbers)
            groups.append(pa.concat_tables(parts).combine_chunks())
        return pa.concat_tables(groups).to_pandas()

    def image(self, row: int) -> np.ndarray:
        """Return the crop at ``row`` as RGB uint8 [H, W, 3]. Raises ``IndexError``."""
        if not 0 <= row < len(self):
            raise IndexError(f"crop {row} of {self.folder}: rows range from 0 to {len(self) - 1}")
        part = int(np.searchsorted(self._ends, row, side="right"))
        table = self._part(part)
        row_in_part = row - int(self._ends[part]) + table.num_rows
        return decode(table["image"][row_in_part].as_buffer())

    def rows_of(self, video_id: str) -> np.ndarray:
        """Return the row numbers int64 [N] of a video's crops, empty if it has none.

        Reads only the parts whose range of videos includes it.
        """
        rows = [np.empty(0, np.int64)]
        for part in np.flatnonzero((self._first <= video_id) & (video_id <= self._last)).tolist():
            matches = pc.equal(self._part(part)["video_id"], video_id).to_numpy()
            rows.append(np.flatnonzero(matches) + self._ends[part] - len(matches))
        return np.concatenate(rows)
