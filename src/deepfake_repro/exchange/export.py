"""Exchange with other code bases: index and crops out, DeepfakeBench's file lists in."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ..project.params import load
from ..project.paths import profile_paths
from . import deepfakebench, gend

PNG = b"\x89PNG"


def export(
    profile: str, to: str, out: Path, split: str = "test", corpora: Iterable[str] = ()
) -> None:
    """Index (``csv``) or crops of one split (``deepfakebench``, ``gend``) of a profile -> a new folder ``out``.

    ``csv``: the whole index as CSV and Parquet. The others: a file ``NNN.png`` per crop (in the order of
    frames, then of faces), bytes as in the crop store, and the lists that name them relative to ``out``.
    ``corpora`` limits the export. Prints what was left out. Raises ``ValueError`` for an ``out`` that is not
    empty, an unknown corpus, a split without videos, a video id that gives no safe file name.
    """
    load().profile(profile)
    paths = profile_paths(profile)
    index = _chosen(pd.read_parquet(paths.index), corpora)
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"'{out}' is not empty: give a new folder")
    if to == "csv":
        out.mkdir(parents=True, exist_ok=True)
        index.to_csv(out / "index.csv", index=False, lineterminator="\n")
        index.to_parquet(out / "index.parquet", index=False)
        return
    if not (index["split"] == split).any():
        raise ValueError(
            f"no video of split '{split}' to export; the index has {', '.join(sorted(set(index['split'])))}"
        )
    layout = {"deepfakebench": _deepfakebench_layout, "gend": _gend_layout}[to]
    write = {"deepfakebench": _write_deepfakebench, "gend": _write_gend}[to]
    videos = layout(_named(index[index["split"] == split]))
    frames = write_frames(
        paths.crops, dict(zip(videos["video_id"], videos["folder"], strict=True)), out
    )
    held = videos.assign(frames=videos["video_id"].map(frames)).dropna(subset=["frames"])
    write(held, out)
    print(
        f"{len(held)} videos of split {split} written to {out}; {len(videos) - len(held)} without a crop left out"
    )


def import_deepfakebench(file: Path, frames_root: Path, out: Path) -> None:
    """DeepfakeBench's ``dataset_json`` -> ``out``, a manifest that the corpus ``itw`` reads from ``frames_root``.

    Prints the defects met. Errors as :func:`.exchange.deepfakebench.read_dataset`.
    """
    if not file.is_file():
        raise FileNotFoundError(f"'{file}' is not there; give DeepfakeBench's <dataset>.json")
    manifest, notes = deepfakebench.read_dataset(file, frames_root)
    manifest.to_csv(out, index=False, lineterminator="\n")
    print("\n".join([f"{len(manifest)} videos written to {out}", *notes]))


def safe(name: str) -> str:
    """``name`` as one component of a path: what is not an ASCII letter, digit or ``. _ + -`` becomes ``_``.

    Raises ``ValueError`` where nothing but dots is left.
    """
    cleaned = re.sub(r"[^A-Za-z0-9._+-]", "_", name).lstrip(".")
    if not cleaned:
        raise ValueError(f"'{name}' gives no file name: rename it in the index")
    return cleaned


def write_frames(crops: Path, folders: Mapping[str, str], out: Path) -> dict[str, list[str]]:
    """Crops of the videos in ``folders`` (video id -> folder below ``out``) as numbered image files.

    Streams through the store: one crop is in memory at a time. Returns the paths written,
    relative to ``out``, by video id. Raises ``FileNotFoundError`` for a store without parts.
    """
    written: dict[str, list[str]] = {}
    for video_id, data in _images(crops, folders):
        paths = written.setdefault(video_id, [])
        paths.append(
            f"{folders[video_id]}/{len(paths):03d}{'.png' if data.startswith(PNG) else '.jpg'}"
        )
        (out / paths[-1]).parent.mkdir(parents=True, exist_ok=True)
        (out / paths[-1]).write_bytes(data)
    return written


def _images(crops: Path, wanted: Container[str]) -> Iterator[tuple[str, bytes]]:
    parts = sorted(crops.glob("*.arrow"))
    if not parts:
        raise FileNotFoundError(f"{crops}: no crops here; run the crops stage first")
    for part in parts:
        with pa.memory_map(str(part)) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                for row, video_id in enumerate(batch["video_id"].to_pylist()):
                    if video_id in wanted:
                        yield video_id, batch["image"][row].as_py()


def _chosen(index: pd.DataFrame, corpora: Iterable[str]) -> pd.DataFrame:
    known = sorted(set(index["dataset"]))
    if unknown := sorted(set(corpora) - set(known)):
        raise ValueError(f"corpus '{unknown[0]}' is not in the index; it has {', '.join(known)}")
    return index[index["dataset"].isin(list(corpora) or known)]


def _named(videos: pd.DataFrame) -> pd.DataFrame:
    """With a column ``name``: the official stem, or the whole id where a corpus uses a stem twice in a method."""
    rest = videos["video_id"].str.partition("/")[2]
    stem = rest.str.rpartition("/")[2]
    twice = pd.concat([videos[["dataset", "manipulation"]], stem], axis=1).duplicated(keep=False)
    return videos.assign(name=stem.where(~twice, rest.str.replace("/", "__")).map(safe))


def _deepfakebench_layout(videos: pd.DataFrame) -> pd.DataFrame:
    keys = [
        safe(deepfakebench.label_key(*row))
        for row in zip(videos["dataset"], videos["manipulation"], strict=True)
    ]
    corpora = videos["dataset"].map(lambda key: safe(deepfakebench.NAMES.get(key, key)))
    return _unique(
        videos.assign(label_key=keys, folder=corpora + "/" + keys + "/frames/" + videos["name"])
    )


def _gend_layout(videos: pd.DataFrame) -> pd.DataFrame:
    rows = zip(videos["dataset"], videos["video_id"], videos["manipulation"], strict=True)
    lists = videos.assign(
        corpus=videos["dataset"].map(lambda key: safe(gend.NAMES.get(key, key))),
        source=[safe(gend.source(*row)) for row in rows],
    )
    return _unique(
        lists.assign(
            folder="datasets/" + lists["corpus"] + "/" + lists["source"] + "/" + lists["name"]
        )
    )


def _unique(videos: pd.DataFrame) -> pd.DataFrame:
    twice = videos[videos["folder"].str.lower().duplicated(keep=False)]
    if len(twice):
        raise ValueError(
            f"{twice['video_id'].iloc[0]} and {twice['video_id'].iloc[1]} would share the folder "
            f"'{twice['folder'].iloc[0]}': rename one in the index"
        )
    return videos


def _write_deepfakebench(videos: pd.DataFrame, out: Path) -> None:
    """A JSON per corpus, and the label_dict of all labels: the stock one lacks those of corpora it does not know."""
    videos = videos.assign(
        frames=[[f"./{frame}" for frame in frames] for frames in videos["frames"]]
    )
    for dataset, part in videos.groupby("dataset"):
        content = deepfakebench.document(dataset, part)
        _write_json(out / f"{safe(next(iter(content)))}.json", content)
    labels = videos.drop_duplicates("label_key").sort_values("label_key")
    _write_json(
        out / "label_dict.json",
        dict(zip(labels["label_key"], labels["label"].tolist(), strict=True)),
    )


def _write_gend(videos: pd.DataFrame, out: Path) -> None:
    for (corpus, split, source), part in videos.groupby(["corpus", "split", "source"]):
        path = out / "config" / "datasets" / corpus / split / f"{source}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            gend.file_list(frame for frames in part["frames"] for frame in frames), encoding="utf-8"
        )


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
