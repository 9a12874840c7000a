"""The store of face crops: a folder of Arrow files ("parts"), read by memory map at any row.

A part is written whole or not at all, and its bytes depend on its rows only. What could not be
cropped travels in the part too, so that a finished part knows all there is to know about its
videos. ``parts.csv`` lists rows and first and last video of each part, so that a store of any
number of parts opens at once.
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

ENCODINGS = {
    # Lossless; of levels 1, 3 and 6 and the strategies, level 1 with run lengths was both fast and
    # small on faces.
    "png": (
        ".png",
        (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    ),
    "jpeg": (
        ".jpg",
        (
            cv2.IMWRITE_JPEG_QUALITY,
            95,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ),
    ),
}
CROP_SCHEMA = pa.schema(
    [
        ("video_id", pa.string()),
        (
            "frame",
            pa.int32(),
        ),  # index of the sampled frame; of a face sequence the number in the file name
        ("seconds", pa.float32()),  # since the first frame; NaN for a face sequence
        ("face", pa.int16()),  # 0 is the face with the highest score in its frame
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),  # before margin
        ("score", pa.float32()),
        (
            "landmarks",
            pa.list_(pa.float32(), 10),
        ),  # x, y of the five points; NaN for a face sequence
        ("width", pa.int32()),
        ("height", pa.int32()),  # of the source frame, whose pixels all lengths are in
        ("image", pa.binary()),
    ]
)
ROWS_AT_ONCE, PARTS_OPEN = 256, 500
LISTING = {
    "part": "str",
    "bytes": "int64",
    "rows": "int64",
    "first": "str",
    "last": "str",
}  # of parts.csv

Row = dict[str, Any]


def encode(image: np.ndarray, encoding: str) -> bytes:
    """RGB uint8 [H, W, 3] -> bytes of encoding ``png`` or ``jpeg`` (quality 95, full colour resolution)."""
    suffix, settings = ENCODINGS[encoding]
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)[1].tobytes()


def decode(data: bytes | pa.Buffer) -> np.ndarray:
    """PNG or JPEG bytes -> RGB uint8 [H, W, 3]."""
    return cv2.cvtColor(
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
    )


def write_part(path: Path, rows: Iterable[Row], skipped: Iterable[Row] = ()) -> int:
    """Write ``rows`` of ``CROP_SCHEMA`` to an Arrow file, atomically; the same rows give the same bytes.

    ``skipped`` (records video_id/reason/detail) is read after the rows, so a generator of rows may
    fill it on its way, and only ``ROWS_AT_ONCE`` rows are ever in memory. Returns the number of
    rows.
    """
    # Several writers: a worker given up for lost may still be writing what another one writes
    # again.
    with replacing(path, several_writers=True) as temporary:
        return _write(temporary, rows, skipped)


def _write(path: Path, rows: Iterable[Row], skipped: Iterable[Row]) -> int:
    remaining, written = iter(rows), 0
    with path.open("wb") as sink, pa.ipc.new_file(sink, CROP_SCHEMA) as writer:
        while some := list(islice(remaining, ROWS_AT_ONCE)):
            writer.write_batch(pa.RecordBatch.from_pylist(some, CROP_SCHEMA))
            written += len(some)
        # Metadata of the file itself would have to be known before its first row.
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
            f"{path}: not a whole crop part; delete it and run the crops stage again"
        ) from error


def read_skipped(path: Path) -> list[Row]:
    """The records video_id/reason/detail in the part at ``path``. Raises ``ValueError`` for other files."""
    with _open(path) as reader:
        last = reader.get_batch_with_custom_metadata(reader.num_record_batches - 1)
        return json.loads(last.custom_metadata[b"skipped"])


@lru_cache(
    maxsize=PARTS_OPEN
)  # each open part holds a file descriptor, of which a process may have 1024
def _table(path: Path, stamp: int) -> pa.Table:
    """The memory-mapped table of a part; ``stamp`` tells a part from an older one of the same name."""
    with _open(path) as reader:
        return reader.read_all()


def list_parts(folder: Path, pattern: str = "*.arrow") -> pd.DataFrame:
    """The parts of a folder in order of their names: ``part, bytes, rows, first, last`` video and ``stamp``.

    What ``parts.csv`` says of a part of the same size is believed, so that only new parts are
    opened.
    """
    with os.scandir(folder) as files:
        found = sorted(
            (file.name, file.stat().st_size, file.stat().st_mtime_ns)
            for file in files
            if fnmatch(file.name, pattern)
        )
    parts = pd.DataFrame(found, columns=["part", "bytes", "stamp"]).astype({"part": "str"})
    parts = parts.merge(_read_listing(folder / "parts.csv"), "left", ["part", "bytes"])
    new = parts["rows"].isna()
    if new.any():
        facts = [
            _facts(folder / part, stamp)
            for part, stamp in parts.loc[new, ["part", "stamp"]].to_numpy()
        ]
        parts.loc[new, ["rows", "first", "last"]] = facts
    return parts.astype(LISTING)


def write_listing(folder: Path) -> None:
    """Write ``parts.csv`` of the parts in ``folder``."""
    parts = list_parts(folder)
    parts[list(LISTING)].to_csv(folder / "parts.csv", index=False, lineterminator="\n")


def _read_listing(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame(columns=list(LISTING)).astype(LISTING)
    return pd.read_csv(path, dtype=LISTING, keep_default_na=False)


def _facts(path: Path, stamp: int) -> tuple[int, str, str]:
    """Rows of a part, its first and its last video in alphabetical order (none: empty strings)."""
    videos = _table(path, stamp)["video_id"]
    ends = pc.min_max(videos).as_py()
    return len(videos), ends["min"] or "", ends["max"] or ""


class CropStore:
    """All parts of a folder as one table, its rows numbered through the parts in order of their names.

    Only what is asked for is read. Pickled, it opens the folder anew (``DataLoader`` workers).
    Raises ``FileNotFoundError`` if the folder holds no part matching ``pattern``.
    """

    def __init__(self, folder: Path, pattern: str = "*.arrow") -> None:
        self.folder, self.pattern = Path(folder), pattern
        parts = list_parts(self.folder, pattern) if self.folder.is_dir() else ()
        if not len(parts):
            raise FileNotFoundError(
                f"{folder}: no crops ({pattern}) here; run the crops stage first"
            )
        self._names, self._stamps = parts["part"].tolist(), parts["stamp"].tolist()
        self._first, self._last = (parts[end].to_numpy(object) for end in ("first", "last"))
        self._ends = np.cumsum(parts["rows"].to_numpy())

    def __reduce__(self) -> tuple[type[CropStore], tuple[Path, str]]:
        return CropStore, (self.folder, self.pattern)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def paths(self) -> list[Path]:
        """The parts' files, for other readers of Arrow: pandas, pyarrow, DuckDB, Hugging Face ``datasets``."""
        return [self.folder / name for name in self._names]

    def _part(self, number: int) -> pa.Table:
        return _table(self.folder / self._names[number], self._stamps[number])

    def table(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The given ``columns`` of all crops in row order, by default all but the image."""
        names = (
            [name for name in CROP_SCHEMA.names if name != "image"]
            if columns is None
            else list(columns)
        )
        # Copied by the hundred: a process may map some ten thousand files only.
        groups = [
            pa.concat_tables(
                self._part(part).select(names)
                for part in range(len(self._names))[start : start + PARTS_OPEN]
            ).combine_chunks()
            for start in range(0, len(self._names), PARTS_OPEN)
        ]
        return pa.concat_tables(groups).to_pandas()

    def image(self, row: int) -> np.ndarray:
        """The crop at ``row`` as RGB uint8 [H, W, 3]. Raises ``IndexError``."""
        if not 0 <= row < len(self):
            raise IndexError(f"crop {row} of {self.folder}: rows go from 0 to {len(self) - 1}")
        part = int(np.searchsorted(self._ends, row, side="right"))
        table = self._part(part)
        return decode(table["image"][row - int(self._ends[part]) + table.num_rows].as_buffer())

    def rows_of(self, video_id: str) -> np.ndarray:
        """Row numbers int64 [N] of a video's crops, empty if it has none; only parts that may hold it are read."""
        rows = [np.empty(0, np.int64)]
        for part in np.flatnonzero((self._first <= video_id) & (video_id <= self._last)):
            same = pc.equal(self._part(part)["video_id"], video_id).to_numpy()
            rows.append(np.flatnonzero(same) + self._ends[part] - len(same))
        return np.concatenate(rows)
