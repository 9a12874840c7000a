"""Videos that a list of another code base names, as a manifest for the adapter ``manifest``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

MODES = ("train", "val", "test")
PREFERRED = ("test", "val", "train")
"""Which mode to keep for a video listed in several, so that no test video is trained on."""
EXPORTED = "videos.csv"
"""What our own export writes beside the lists: the rows of the index by folder of frames."""
KEPT = {
    "video_id": "video_id",
    "dataset": "corpus",
    "manipulation": "manipulation",
    "category": "category",
    "split": "split",
    "compression": "compression",
    "target_id": "identity",
    "source_id": "source_id",
    "group": "group",
    "attrs": "attrs",
}
"""Columns of the index that an export keeps -> their names in a manifest."""
MANIFEST = (
    "path",
    "label",
    "manipulation",
    "category",
    "split",
    "compression",
    "listed_as",
    "video_id",
    "identity",
    "source_video",
    "corpus",
    "source_id",
    "group",
    "attrs",
)


@dataclass(frozen=True)
class Entry:
    """One listed video: its label, the parts of the path of its folder, its frames' file names."""

    label: str
    manipulation: str
    category: str
    mode: str
    compression: str = ""
    folder: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    corpus: str = ""


def manifest_of(
    entries: Iterable[Entry], defects: Counter[str], frames_root: Path, name: str, beside: Path
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the manifest (columns ``MANIFEST``) of the entries on disk, and notes.

    ``path`` is the folder of a video's frames below ``frames_root``; leading folders of the listed
    paths that do not exist there are removed. A video in several splits is kept in test, else val,
    else train. ``beside`` is the folder that may contain ``EXPORTED``.

    Raises ``ValueError`` for a folder with two labels, ``FileNotFoundError`` if nothing listed is
    below ``frames_root``; ``name`` is that of the list, for messages.
    """
    entries = list(entries)
    cut = _leading_folders(entries, frames_root, name)
    complete = [entry for entry in entries if len(entry.folder) > cut]
    defects["videos not on disk"] += len(entries) - len(complete)
    kept: dict[str, Entry] = {}
    for entry in sorted(complete, key=_preference):
        path = "/".join(entry.folder[cut:])
        first = kept.setdefault(path, entry)
        if first.manipulation != entry.manipulation:
            raise ValueError(
                f"{name}: '{path}' is listed as {first.label} and as {entry.label}: keep one"
            )
        if first is not entry:
            defects[
                "videos listed again in another split or twice, kept once "
                "(test before val before train)"
            ] += 1
    rows = [
        _row(path, entry)
        for path, entry in sorted(kept.items())
        if _on_disk(frames_root / path, entry, defects)
    ]
    manifest = pd.DataFrame(rows, columns=list(MANIFEST), dtype=str).fillna("")
    notes = tuple(f"{count} {defect}" for defect, count in sorted(defects.items()) if count)
    return _completed(manifest, beside / EXPORTED), notes


def exported(videos: pd.DataFrame) -> pd.DataFrame:
    """Return what an export keeps of the index: columns ``path`` and those of ``KEPT``.

    ``videos`` has the columns of the index and ``folder``; ``source_video`` is the folder of the
    paired real, if it is exported too.
    """
    folders = videos.set_index("video_id")["folder"]
    kept = videos[list(KEPT)].rename(columns=KEPT)
    pairs = videos["pair_key"].map(folders).fillna("")
    return kept.assign(path=videos["folder"], source_video=pairs).sort_values("path")


def parts_of(path: str) -> tuple[str, ...]:
    """Split a POSIX or Windows path into its parts, without drive, root and ``.``."""
    parts = tuple(
        part
        for part in path.replace("\\", "/").split("/")
        if part not in ("", ".") and part[1:] != ":"
    )
    if ".." in parts or len(parts) < 2:
        raise ValueError(f"frame '{path}' must have a folder and no '..': correct the file")
    return parts


def _completed(manifest: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Return the manifest with what our own export knows of its videos."""
    if not file.is_file():
        return manifest
    known = pd.read_csv(file, dtype=str, keep_default_na=False).set_index("path")
    found = manifest["path"].isin(known.index)
    for column in known.columns.intersection(manifest.columns):
        values = manifest["path"].map(known[column])
        manifest[column] = manifest[column].where(~found, values)
    real = manifest["category"] == "REAL"
    manifest["label"] = real.map({True: "real", False: "fake"})
    return manifest


def _preference(entry: Entry) -> tuple[int, tuple[str, ...], str]:
    return PREFERRED.index(entry.mode), entry.folder, entry.label


def _leading_folders(entries: Iterable[Entry], root: Path, name: str) -> int:
    """Return the fewest leading folders to remove so that a listed video is in ``root``."""
    folders = sorted({entry.folder for entry in entries})
    for cut in range(max(map(len, folders), default=0)):
        if any(len(folder) > cut and root.joinpath(*folder[cut:]).is_dir() for folder in folders):
            return cut
    raise FileNotFoundError(
        f"{name}: none of its {len(folders)} folders of frames is below '{root}'; give the folder "
        "that the paths in the file begin at"
    )


def _on_disk(folder: Path, entry: Entry, defects: Counter[str]) -> bool:
    """Return True if any frame of a video exists, and count missing frames and videos."""
    listed = set(entry.frames)
    existing = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    missing = len(listed - existing)
    if missing == len(listed):
        defects["videos not on disk"] += 1
        return False
    defects["listed frames missing on disk, of videos that are there"] += missing
    return True


def _row(path: str, entry: Entry) -> dict[str, str]:
    return {
        "path": path,
        "label": "real" if entry.category == "REAL" else "fake",
        "manipulation": entry.manipulation,
        "category": entry.category,
        "split": entry.mode,
        "compression": entry.compression,
        "listed_as": entry.label,
        "corpus": entry.corpus,
    }
