"""Export index and crops in formats of other code bases, and import DeepfakeBench's file lists."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from ..crops.store import CropStore
from ..project.params import load
from ..project.paths import profile_paths
from . import deepfakebench, gend
from .listed import EXPORTED, exported

PNG = b"\x89PNG"


class _Format(NamedTuple):
    """How to name the folders of videos and how to write the lists of their frames."""

    layout: Callable[[pd.DataFrame], pd.DataFrame]
    write: Callable[[pd.DataFrame, Path], None]


def export(
    profile: str, to: str, out: Path, split: str = "test", corpora: Iterable[str] = ()
) -> None:
    """Export the index (``csv``) or one split's crops (``deepfakebench``, ``gend``) to ``out``.

    ``csv`` is the whole index as CSV and Parquet. The others are a file ``NNN.png`` per crop (in
    the order of frames, then of faces) with the bytes of the crop store, and lists that name them
    relative to ``out``; ``videos.csv`` keeps the rows of the index, so that an import loses
    nothing. ``corpora`` limits the export. Prints how many videos have no crops and are
    left out.

    Raises ``ValueError`` for an ``out`` that is not empty, an unknown corpus, a split without
    videos, or a video id that gives no safe file name.
    """
    load().profile(profile)  # reports an unknown profile
    paths = profile_paths(profile)
    index = _select(pd.read_parquet(paths.index), corpora)
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"'{out}' is not empty: give a new folder")
    if to == "csv":
        out.mkdir(parents=True, exist_ok=True)
        index.to_csv(out / "index.csv", index=False, lineterminator="\n")
        index.to_parquet(out / "index.parquet", index=False)
        return
    chosen = index[index["split"] == split]
    if chosen.empty:
        splits = ", ".join(sorted(set(index["split"])))
        raise ValueError(f"no video of split '{split}' to export; the index has {splits}")
    videos = FORMATS[to].layout(_named(chosen))
    folders = dict(zip(videos["video_id"], videos["folder"], strict=True))
    frames = write_frames(paths.crops, folders, out)
    written = videos.assign(frames=videos["video_id"].map(frames)).dropna(subset=["frames"])
    FORMATS[to].write(written, out)
    exported(written).to_csv(out / EXPORTED, index=False, lineterminator="\n")
    print(
        f"{len(written)} videos of split {split} written to {out}; "
        f"{len(videos) - len(written)} without a crop left out"
    )


def import_deepfakebench(file: Path, frames_root: Path, out: Path) -> None:
    """Convert a ``dataset_json`` to a manifest ``out`` for the corpus ``itw`` in ``frames_root``.

    Prints the defects. Raises the errors of :func:`.exchange.deepfakebench.read_dataset`.
    """
    if not file.is_file():
        raise FileNotFoundError(f"'{file}' does not exist; give DeepfakeBench's <dataset>.json")
    _write_manifest(*deepfakebench.read_dataset(file, frames_root), out)


def import_gend(lists: Path, frames_root: Path, out: Path) -> None:
    """Convert GenD's lists below ``lists`` to a manifest ``out`` for a corpus in ``frames_root``.

    Prints the defects. Raises the errors of :func:`.exchange.gend.read_lists`.
    """
    if not lists.is_dir():
        raise FileNotFoundError(f"'{lists}' is not a folder; give GenD's config/datasets")
    _write_manifest(*gend.read_lists(lists, frames_root), out)


def _write_manifest(manifest: pd.DataFrame, notes: Iterable[str], out: Path) -> None:
    """Write a manifest and print its size and the defects of its source."""
    manifest.to_csv(out, index=False, lineterminator="\n")
    print(f"{len(manifest)} videos written to {out}", *notes, sep="\n")


def safe(name: str) -> str:
    """Return ``name`` as a file name of ASCII letters, digits and ``. _ + -``, the rest as ``_``.

    Raises ``ValueError`` if only dots are left.
    """
    cleaned = re.sub(r"[^A-Za-z0-9._+-]", "_", name).lstrip(".")
    if not cleaned:
        raise ValueError(f"'{name}' gives no file name: rename it in the index")
    return cleaned


def write_frames(crops: Path, folders: Mapping[str, str], out: Path) -> dict[str, list[str]]:
    """Write the crops of the videos in ``folders`` (video id -> folder below ``out``) to files.

    Returns video id -> paths relative to ``out``. One crop is in memory at a time. Raises
    ``FileNotFoundError`` for a store without parts.
    """
    written: dict[str, list[str]] = {}
    for video_id, data in _images(crops, folders):
        names = written.setdefault(video_id, [])
        suffix = ".png" if data.startswith(PNG) else ".jpg"
        name = f"{folders[video_id]}/{len(names):03d}{suffix}"
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        names.append(name)
    return written


def _images(crops: Path, video_ids: Container[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (video id, image bytes) of the crops of some videos, in the order of the store."""
    parts = CropStore(crops).paths
    if not parts:
        raise FileNotFoundError(f"{crops}: no crops here; run the crops stage first")
    for part in parts:
        with pa.memory_map(str(part)) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                for row, video_id in enumerate(batch["video_id"].to_pylist()):
                    if video_id in video_ids:
                        yield video_id, batch["image"][row].as_py()


def _select(index: pd.DataFrame, corpora: Iterable[str]) -> pd.DataFrame:
    indexed = sorted(set(index["dataset"]))
    unknown = sorted(set(corpora) - set(indexed))
    if unknown:
        raise ValueError(f"corpus '{unknown[0]}' is not in the index; it has {', '.join(indexed)}")
    return index[index["dataset"].isin(list(corpora) or indexed)]


def _named(videos: pd.DataFrame) -> pd.DataFrame:
    """Add a column ``name``: the official stem, or the whole id if a method has the stem twice."""
    path = videos["video_id"].str.partition("/")[2]
    stem = path.str.rpartition("/")[2]
    keys = pd.concat([videos[["dataset", "manipulation"]], stem], axis=1)
    repeated = keys.duplicated(keep=False)
    return videos.assign(name=stem.where(~repeated, path.str.replace("/", "__")).map(safe))


def _deepfakebench_layout(videos: pd.DataFrame) -> pd.DataFrame:
    keys = [
        safe(deepfakebench.label_key(dataset, manipulation))
        for dataset, manipulation in zip(videos["dataset"], videos["manipulation"], strict=True)
    ]
    corpora = _corpus_names(videos, deepfakebench.NAMES)
    folders = corpora + "/" + keys + "/frames/" + videos["name"]
    return _unique(videos.assign(label_key=keys, folder=folders))


def _gend_layout(videos: pd.DataFrame) -> pd.DataFrame:
    corpora = _corpus_names(videos, gend.NAMES)
    rows = zip(videos["dataset"], videos["video_id"], videos["manipulation"], strict=True)
    sources = [safe(gend.source(*row)) for row in rows]
    folders = "datasets/" + corpora + "/" + sources + "/" + videos["name"]
    return _unique(videos.assign(corpus=corpora, source=sources, folder=folders))


def _corpus_names(videos: pd.DataFrame, names: Mapping[str, str]) -> pd.Series:
    return videos["dataset"].map({key: safe(names.get(key, key)) for key in set(videos["dataset"])})


def _unique(videos: pd.DataFrame) -> pd.DataFrame:
    """Return ``videos``; ``ValueError`` if two share a folder, even in different case."""
    repeated = videos[videos["folder"].str.lower().duplicated(keep=False)]
    if len(repeated):
        first, second = repeated["video_id"].iloc[:2]
        raise ValueError(
            f"{first} and {second} would share the folder '{repeated['folder'].iloc[0]}': "
            "rename one in the index"
        )
    return videos


def _write_deepfakebench(videos: pd.DataFrame, out: Path) -> None:
    """Write a JSON per corpus, and a label_dict of all labels, which the stock one may lack."""
    for dataset, part in videos.groupby("dataset"):
        rows = [
            deepfakebench.ExportedVideo(
                label_key=row["label_key"],
                split=row["split"],
                compression=row["compression"],
                name=row["name"],
                frames=[f"./{frame}" for frame in row["frames"]],
            )
            for row in part.to_dict("records")
        ]
        content = deepfakebench.document(dataset, rows)
        (name,) = content
        _write_json(out / f"{safe(name)}.json", content)
    labels = videos.drop_duplicates("label_key").sort_values("label_key")
    label_dict = dict(zip(labels["label_key"], labels["label"].tolist(), strict=True))
    _write_json(out / "label_dict.json", label_dict)


def _write_gend(videos: pd.DataFrame, out: Path) -> None:
    for (corpus, split, source), part in videos.groupby(["corpus", "split", "source"]):
        path = out / "config" / "datasets" / corpus / split / f"{source}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = [frame for frames in part["frames"] for frame in frames]
        path.write_text(gend.file_list(frames), encoding="utf-8")


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


FORMATS = {
    "deepfakebench": _Format(_deepfakebench_layout, _write_deepfakebench),
    "gend": _Format(_gend_layout, _write_gend),
}
