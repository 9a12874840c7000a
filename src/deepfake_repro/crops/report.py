"""Tables and pictures to review the preprocessing of each corpus (Section 4.1)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..project.params import CropOptions
from .store import CropStore

REASONS = (
    "missing",
    "empty",
    "undecodable",
    "crashed",
    "timeout",
    "no_face",
    "broken_off",
    "frame_without_face",
)
COLUMNS = ["video_id", "frame", "x0", "y0", "x1", "y1", "score"]
"""Columns of the store that the report needs."""


def crop_counts(
    crops: pd.DataFrame, index: pd.DataFrame, skipped: pd.DataFrame, options: CropOptions
) -> pd.DataFrame:
    """Count frames, faces and skipped videos: one row per corpus and a row ``all``.

    ``crops``: ``COLUMNS`` of the store; ``index``, ``skipped``: the tables of these names. Columns:
    ``videos``; sampled ``frames``, those ``without_face`` and those with ``several_faces``;
    ``faces``; ``seconds`` of video (0 for face sequences and with ``frames_per_clip``, where they
    are unknown); then the number of videos recorded for each of ``REASONS``.
    """
    frames = crops.groupby(["video_id", "frame"]).size().rename("faces").reset_index()
    videos = index.set_index("video_id")[["dataset", "kind"]].assign(videos=1)
    videos["faces"] = crops.groupby("video_id").size()
    videos["with_face"] = frames.groupby("video_id").size()
    videos["several_faces"] = frames[frames["faces"] > 1].groupby("video_id").size()
    videos = videos.fillna(0)
    without_face = _without_face(skipped, videos["with_face"])
    videos["without_face"] = without_face.reindex(videos.index, fill_value=0)
    videos["frames"] = videos["with_face"] + videos["without_face"]
    by_the_second = (videos["kind"] == "video") & (options.frames_per_clip == 0)
    videos["seconds"] = videos["frames"].where(by_the_second, 0) / options.frames_per_second
    videos = videos.join(_by_reason(skipped))
    columns = ["videos", "frames", "without_face", "several_faces", "faces", "seconds", *REASONS]
    table = videos.groupby("dataset")[columns].sum()
    table.loc["all"] = table.sum()
    return table.round().astype("int64")


def _by_reason(skipped: pd.DataFrame) -> pd.DataFrame:
    """Count the records of each skipped video: one column per reason."""
    table = pd.crosstab(skipped["video_id"], skipped["reason"])
    return table.reindex(columns=list(REASONS), fill_value=0).astype("int64")


def _without_face(skipped: pd.DataFrame, with_face: pd.Series) -> pd.Series:
    """Count the sampled frames without a face of each skipped video, from its record's detail."""
    stated = skipped["detail"].str.extract(r"^(\d+) of \d+ frames(?:;|$)")[0].astype("float")
    sampled = skipped["detail"].str.extract(r"after (\d+) sampled frames\)?$")[0].astype("float")
    counts = stated.fillna(sampled - skipped["video_id"].map(with_face).astype("float")).fillna(0)
    return counts.groupby(skipped["video_id"]).sum()


def faces_of_corpora(crops: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Return ``dataset``, ``side`` and ``score`` of every detected face.

    ``side`` is the longer side of the box in pixels, before the margin. Face sequences are left
    out: no detector ran on them.
    """
    videos = index[index["kind"] == "video"].set_index("video_id")
    faces = pd.DataFrame(
        {
            "dataset": crops["video_id"].map(videos["dataset"]),
            "side": np.maximum(crops["x1"] - crops["x0"], crops["y1"] - crops["y0"]),
            "score": crops["score"],
        }
    )
    return faces.dropna(subset=["dataset"])


def examples(store: CropStore, index: pd.DataFrame, each: int = 8) -> dict[str, list[np.ndarray]]:
    """Return the first crop of up to ``each`` videos per manipulation of each corpus, RGB uint8."""
    first = store.table(["video_id"]).drop_duplicates("video_id")
    cropped = index.merge(first.assign(row=first.index), on="video_id").sort_values("video_id")
    return {
        f"{dataset}: {name}": [store.image(row) for row in _spread(group["row"].tolist(), each)]
        for (dataset, name), group in cropped.groupby(["dataset", "manipulation"])
    }


def _spread(rows: list[int], count: int) -> list[int]:
    """Choose up to ``count`` evenly spaced rows."""
    indices = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
    return [rows[index] for index in indices]
