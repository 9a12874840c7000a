"""What preprocessing gave, corpus by corpus: the table and the pictures by which a reviewer judges it (Section 4.1)."""

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
COLUMNS = [
    "video_id",
    "frame",
    "x0",
    "y0",
    "x1",
    "y1",
    "score",
]  # of the store; what the report is made from


def crop_counts(
    crops: pd.DataFrame, index: pd.DataFrame, skipped: pd.DataFrame, options: CropOptions
) -> pd.DataFrame:
    """A row per corpus and a row ``all``: what was sampled, what was found, what was skipped and why.

    ``crops``: ``COLUMNS`` of the store; ``index``, ``skipped``: those tables. Columns: ``videos``, sampled
    ``frames``, of these ``without_face`` and with ``several_faces``; ``faces``; ``seconds`` of video (not
    known of face sequences and with ``frames_per_clip``: 0); then the number of videos recorded for each of ``REASONS``.
    """
    frames = crops.groupby(["video_id", "frame"]).size().rename("faces").reset_index()
    videos = index.set_index("video_id")[["dataset", "kind"]].assign(videos=1)
    videos["faces"] = crops.groupby("video_id").size()
    videos["with_face"] = frames.groupby("video_id").size()
    videos["several_faces"] = frames[frames["faces"] > 1].groupby("video_id").size()
    videos = videos.fillna(0)
    videos["without_face"] = _without_face(skipped, videos["with_face"]).reindex(
        videos.index, fill_value=0
    )
    videos["frames"] = videos["with_face"] + videos["without_face"]
    by_the_second = (videos["kind"] == "video") & (options.frames_per_clip == 0)
    videos["seconds"] = videos["frames"].where(by_the_second, 0) / options.frames_per_second
    videos = videos.join(_recorded(skipped))
    columns = ["videos", "frames", "without_face", "several_faces", "faces", "seconds", *REASONS]
    table = videos.groupby("dataset")[columns].sum()
    table.loc["all"] = table.sum()
    return table.round().astype("int64")


def _recorded(skipped: pd.DataFrame) -> pd.DataFrame:
    """A column of zeros and ones for each reason, by video."""
    table = pd.crosstab(skipped["video_id"], skipped["reason"]).reindex(
        columns=list(REASONS), fill_value=0
    )
    return table.astype("int64")


def _without_face(skipped: pd.DataFrame, with_face: pd.Series) -> pd.Series:
    """Sampled frames without a face of each skipped video, from the counts that its record states."""
    of_all = skipped["detail"].str.extract(r"^(\d+) of \d+ frames$")[0]
    sampled = skipped["detail"].str.extract(r"after (\d+) sampled frames\)?$")[0]
    known = skipped["video_id"].map(with_face).astype("float")
    counts = of_all.astype("float").fillna(sampled.astype("float") - known).fillna(0)
    return counts.groupby(skipped["video_id"]).sum()


def faces_of_corpora(crops: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """``dataset``, ``side`` (the box's longer side in pixels, before the margin) and ``score`` of every detected face.

    Face sequences are left out: others cut them out, nothing was detected in them.
    """
    dataset = crops["video_id"].map(
        index[index["kind"] == "video"].set_index("video_id")["dataset"]
    )
    sides = np.maximum(crops["x1"] - crops["x0"], crops["y1"] - crops["y0"])
    return pd.DataFrame({"dataset": dataset, "side": sides, "score": crops["score"]}).dropna(
        subset=["dataset"]
    )


def examples(store: CropStore, index: pd.DataFrame, each: int = 8) -> dict[str, list[np.ndarray]]:
    """For every manipulation of every corpus the first crop of up to ``each`` videos spread over it, RGB uint8."""
    first = store.table(["video_id"]).drop_duplicates("video_id")
    cropped = index.merge(first.assign(row=first.index), on="video_id").sort_values("video_id")
    return {
        f"{dataset}: {name}": [store.image(row) for row in _spread(group["row"].tolist(), each)]
        for (dataset, name), group in cropped.groupby(["dataset", "manipulation"])
    }


def _spread(rows: list[int], count: int) -> list[int]:
    places = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
    return [rows[place] for place in places]
