"""Shortcut audit: what a manipulation does not touch must not tell real from fake.

A benchmark whose fakes are shorter, smaller or darker teaches a network to read file properties.
For every corpus and every such property the audit reports ``max(AUC, 1 - AUC)``: 0.5 is no
information. The last line, ``sbi``, is the pairs that SBI learns from: self-blended crops against
the real ones they were made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import torch

from ..crops.frames import face_sequence, frames
from ..crops.store import CropStore
from ..evaluation.metrics import auc
from ..methods.sbi.blending import Draws, self_blend
from ..methods.sbi.faces import RealCrops, real_faces
from ..project.params import load
from ..project.paths import Paths, corpus_roots, profile_paths
from ..project.progress import track
from ..project.recipes import Sbi
from .figures import crop_sheet, save

FEATURES = ("file_bytes", "bit_rate", "seconds", "frames", "brightness", "colour", "sharpness")
LIMIT = 0.65
OUTSIDE = 0.47
"""Semi-axis of the ellipse that holds the face in a published face crop, as a share of its side."""


def audit(profile: str) -> None:
    """Write ``results/<profile>/audit``: ``shortcuts.csv`` and pages of example frames and crops."""
    paths = profile_paths(profile)
    index, roots = pd.read_parquet(paths.index), corpus_roots(paths.roots)
    store = CropStore(paths.crops)
    boxes = dict(
        tuple(store.table(["video_id", "frame", "x0", "y0", "x1", "y1"]).groupby("video_id"))
    )
    rows = [
        {
            "dataset": video.dataset,
            "label": video.label,
            **features(video, roots[video.dataset], boxes),
        }
        for video in track(list(index.itertuples()), "audit", len(index))
        if video.video_id in boxes
    ]
    rows += pair_features(_blended_faces(paths, store, index, load().profile(profile).sbi))
    out = paths.base / "results" / profile / "audit"
    out.mkdir(parents=True, exist_ok=True)
    shortcuts(pd.DataFrame(rows)).to_csv(out / "shortcuts.csv", index=False, lineterminator="\n")
    save(crop_sheet(_example_crops(index, store), columns=8), out / "crops.png")


def shortcuts(table: pd.DataFrame) -> pd.DataFrame:
    """AUC (never below 0.5) of each property alone, per corpus: columns dataset and ``FEATURES``."""

    def separability(group: pd.DataFrame) -> pd.Series:
        scores = {name: auc(group["label"].to_numpy(), group[name].to_numpy()) for name in FEATURES}
        return pd.Series({name: round(max(score, 1 - score), 3) for name, score in scores.items()})

    return pd.DataFrame(
        [{"dataset": name, **separability(group)} for name, group in table.groupby("dataset")]
    )


def features(video: object, root: Path, boxes: dict[str, pd.DataFrame]) -> dict[str, float]:
    """Properties of one video outside the face; bytes, bits/s, seconds, count, and grey levels."""
    if video.kind == "video":
        path = root / video.path
        size = path.stat().st_size
        with av.open(str(path)) as container:
            count = sum(packet.size > 0 for packet in container.demux(video=0))
            seconds = count / float(container.streams.video[0].average_rate)
        return _named(size, seconds, count, _outside_boxes(path, boxes[video.video_id]))
    return _sequence_features([image for _, image in face_sequence(root, video.path)])


def _sequence_features(images: list[np.ndarray]) -> dict[str, float]:
    size = sum(cv2.imencode(".png", image)[1].size for image in images)
    return _named(
        size,
        float(len(images)),
        len(images),
        ((image, _outside_ellipse(image)) for image in images),
    )


def _named(
    size: int,
    seconds: float,
    count: int,
    pictures: Iterable[tuple[np.ndarray, np.ndarray]],
) -> dict[str, float]:
    looks = np.mean([_look(image, outside) for image, outside in pictures], axis=0)
    return dict(zip(FEATURES, (size, size * 8 / seconds, seconds, count, *looks), strict=True))


def pair_features(faces: RealCrops) -> list[dict[str, float]]:
    """Properties of self-blended pairs of ``faces``, each image a face sequence of one: rows of ``shortcuts``."""
    torch.manual_seed(0)  # which hulls are drawn
    rows = []
    for number in track(range(len(faces)), "self-blended pairs"):
        image, hull, _ = faces[number]
        pair = self_blend(
            image[None], hull[None], faces.blend, Draws(torch.Generator().manual_seed(number), 1)
        )
        for label, picture in enumerate((pair.real, pair.fake)):
            values = _sequence_features([np.ascontiguousarray(picture[0].permute(1, 2, 0).numpy())])
            rows.append({"dataset": "sbi", "label": label, **values})
    return rows


def _blended_faces(paths: Paths, store: CropStore, index: pd.DataFrame, recipe: Sbi) -> RealCrops:
    sample = pd.read_parquet(paths.samples / "train.parquet")
    return RealCrops(
        store,
        real_faces(sample, index, "train", recipe),
        pd.read_parquet(paths.landmarks),
        recipe.blend,
    )


def _outside_boxes(path: Path, boxes: pd.DataFrame) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sampled frames and the pixels outside every crop taken from them."""
    for number, (_, image) in enumerate(frames(path)):
        outside = np.ones(image.shape[:2], bool)
        for box in (
            boxes.loc[boxes["frame"] == number, ["x0", "y0", "x1", "y1"]]
            .to_numpy()
            .round()
            .astype(int)
        ):
            outside[max(box[1], 0) : box[3], max(box[0], 0) : box[2]] = False
        if outside.any():
            yield image, outside


def _outside_ellipse(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    ys, xs = np.ogrid[0:height, 0:width]
    return ((xs / width - 0.5) / OUTSIDE) ** 2 + ((ys / height - 0.5) / OUTSIDE) ** 2 > 1


def _look(image: np.ndarray, outside: np.ndarray) -> tuple[float, float, float]:
    """Brightness, colour (red minus blue) and sharpness (variance of the Laplacian) of the pixels outside."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    pixels = image[outside].astype(np.float32)
    return (
        float(grey[outside].mean()),
        float((pixels[:, 0] - pixels[:, 2]).mean()),
        float(cv2.Laplacian(grey, cv2.CV_64F)[outside].var()),
    )


def _example_crops(
    index: pd.DataFrame, store: CropStore, each: int = 4
) -> dict[str, list[np.ndarray]]:
    """For every corpus ``each`` real crops, then ``each`` fake ones, from videos spread over the corpus."""
    examples = {}
    for dataset, videos in index.groupby("dataset"):
        picked = [
            name
            for label in (0, 1)
            for name in _spread(videos.loc[videos["label"] == label, "video_id"], each)
        ]
        examples[f"{dataset}: real, then fake"] = [
            store.image(int(store.rows_of(name)[0])) for name in picked
        ]
    return examples


def _spread(names: pd.Series, count: int) -> list[str]:
    return names.iloc[np.linspace(0, len(names) - 1, count).round().astype(int)].tolist()
