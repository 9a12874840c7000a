"""Shortcut audit: properties outside the face must not distinguish fakes from reals.

A benchmark whose fakes are shorter, smaller or darker teaches a network to read file properties.
For every corpus and every such property the audit reports ``max(AUC, 1 - AUC)``: 0.5 means no
information. Of single pictures it also measures the resolution and the JPEG quantisation. The line
``sbi`` is for the pairs that SBI learns from: self-blended crops and the real ones they were made
from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import av
import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image

from ..crops.extraction import enlarge
from ..crops.frames import face_sequence, frames, picture
from ..crops.store import CropStore
from ..evaluation.metrics import auc
from ..methods.sbi.blending import Draws, self_blend
from ..methods.sbi.faces import RealCrops, real_faces
from ..project.params import load
from ..project.paths import Paths, corpus_roots, profile_paths
from ..project.progress import track
from ..project.recipes import Sbi
from .details import FEATURE_NAMES, SELF_BLENDED
from .figures import crop_sheet, save

FEATURES = tuple(FEATURE_NAMES)
OF_PICTURES = ("pixels", "jpeg_quality")
"""Those of ``FEATURES`` that only single pictures have."""
COLUMNS = ("video_id", "frame", "x0", "y0", "x1", "y1", "width", "height")
"""Columns of the store that the audit reads."""
OUTSIDE = 0.47
"""Semi-axis of the ellipse around the face in a published face crop, as a share of its side."""


class IndexRow(Protocol):
    """The columns of an index row that :func:`features` reads."""

    video_id: str
    kind: str
    path: str


def audit(profile: str) -> None:
    """Write ``shortcuts.csv``, ``windows.csv`` and example crops to ``results/<profile>/audit``.

    For a profile that ``run.audit`` does not list it writes a ``shortcuts.csv`` without a corpus:
    the audit reads every video.
    """
    paths = profile_paths(profile)
    out = paths.base / "results" / profile / "audit"
    if profile not in load().run.audit:
        _write(pd.DataFrame(columns=["dataset"]), out / "shortcuts.csv")
        return
    index = pd.read_parquet(paths.index)
    roots = corpus_roots(paths.roots)
    store = CropStore(paths.crops)
    options = load().profile(profile)
    crops = store.table(COLUMNS)
    boxes = dict(tuple(crops.groupby("video_id")))
    rows: list[dict[str, object]] = []
    for video in track(list(index.itertuples()), "audit", len(index)):
        if video.video_id in boxes:
            values = features(video, roots[video.dataset], boxes)
            rows.append({"dataset": video.dataset, "label": video.label, **values})
    rows += pair_features(_blended_faces(paths, store, index, options.sbi))
    _write(shortcuts(pd.DataFrame(rows)), out / "shortcuts.csv")
    _write(windows_outside(crops, index, options.crops.margin), out / "windows.csv")
    if options.report.faces:
        save(crop_sheet(_example_crops(index, store), columns=8), out / "crops.png")


def shortcuts(table: pd.DataFrame) -> pd.DataFrame:
    """Compute the AUC (never below 0.5) of each property alone, per corpus.

    ``table``: ``dataset, label`` and ``FEATURES``, one row per video; a property that was not
    measured is NaN or has no column. Columns ``dataset`` and those of ``FEATURES`` that a corpus
    has; empty cells where one has them not, or measured only one of the classes.
    """
    measured = [name for name in FEATURES if name in table]
    rows = [
        {"dataset": dataset, **{name: _separation(group, name) for name in measured}}
        for dataset, group in table.groupby("dataset")
    ]
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def _separation(group: pd.DataFrame, name: str) -> float | None:
    """Return the AUC of one property, never below 0.5; None without it in both classes."""
    known = group.dropna(subset=name)
    if known["label"].nunique() < 2:
        return None
    score = auc(known["label"].to_numpy(), known[name].to_numpy())
    return round(max(score, 1 - score), 3)


def _write(table: pd.DataFrame, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(file, index=False, lineterminator="\n")


def windows_outside(crops: pd.DataFrame, index: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Return the share of crops whose window leaves the frame, by corpus, label and method.

    There the border is repeated, which tells fakes from reals if only one kind was cut before.
    ``crops``: ``COLUMNS``. Face sequences have no window. Columns: ``dataset``, ``label``,
    ``manipulation``, ``crops`` and ``outside`` (0 to 1).
    """
    videos = index[~index["kind"].isin(("frames", "face"))]
    table = crops.merge(videos[["video_id", "dataset", "label", "manipulation"]], on="video_id")
    windows = np.rint(enlarge(table[["x0", "y0", "x1", "y1"]].to_numpy(), margin))
    sizes = table[["width", "height"]].to_numpy()
    table["outside"] = (windows[:, :2] < 0).any(axis=1) | (windows[:, 2:] > sizes).any(axis=1)
    groups = table.groupby(["dataset", "label", "manipulation"])["outside"]
    return groups.agg(crops="size", outside="mean").round(3).reset_index()


def features(video: IndexRow, root: Path, boxes: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Measure one video outside the face: bytes, bits per second, seconds, count and grey levels.

    A single picture also has ``OF_PICTURES``. ``boxes``: crops of each video, ``frame, x0, y0, x1,
    y1``. Raises ``ValueError`` for a video stream without a frame rate.
    """
    if video.kind == "image":
        return _picture_features(root, video.path, boxes[video.video_id])
    if video.kind != "video":
        return _sequence_features([image for _, image in face_sequence(root, video.path)])
    path = root / video.path
    with av.open(str(path)) as container:
        count = sum(packet.size > 0 for packet in container.demux(video=0))
        rate = container.streams.video[0].average_rate
    if not rate:
        raise ValueError(f"{path} has no frame rate: encode it again")
    seconds = count / float(rate)
    images = _outside_boxes(path, boxes[video.video_id])
    return _named(path.stat().st_size, seconds, count, images)


def _picture_features(root: Path, path: str, boxes: pd.DataFrame) -> dict[str, float]:
    """Measure a single picture: a video of one frame and one second, and its ``OF_PICTURES``."""
    image = picture(root, path)
    outside = _outside(image, boxes)
    masked = (image, outside if outside.any() else _outside_ellipse(image))
    values = _named((root / path).stat().st_size, 1.0, 1, [masked])
    return values | file_features(root / path)


def file_features(file: Path) -> dict[str, float]:
    """Measure what a picture's file says: pixels, and the mean of its luminance quantisation table.

    A coarser JPEG has a higher mean; any other kind of file has 0.
    """
    with Image.open(file) as header:
        width, height = header.size
        tables: Mapping[int, Sequence[int]] = getattr(header, "quantization", None) or {}
        luminance = tables.get(0, (0,))
    return dict(zip(OF_PICTURES, (width * height, float(np.mean(luminance))), strict=True))


def _sequence_features(images: list[np.ndarray]) -> dict[str, float]:
    """Measure a face sequence: one second per face, bytes as PNG."""
    size = sum(cv2.imencode(".png", image)[1].size for image in images)
    masked = ((image, _outside_ellipse(image)) for image in images)
    return _named(size, float(len(images)), len(images), masked)


def _named(
    size: int, seconds: float, count: int, images: Iterable[tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    looks = np.mean([_look(image, outside) for image, outside in images], axis=0)
    names = [name for name in FEATURES if name not in OF_PICTURES]
    return dict(zip(names, (size, size * 8 / seconds, seconds, count, *looks), strict=True))


def pair_features(faces: RealCrops) -> list[dict[str, object]]:
    """Measure self-blended pairs of ``faces``, each image a face sequence of one.

    Returns rows for :func:`shortcuts`.
    """
    torch.manual_seed(0)  # which hulls are drawn
    rows: list[dict[str, object]] = []
    for number in track(range(len(faces)), "self-blended pairs"):
        image, hull, _ = faces[number]
        draws = Draws(torch.Generator().manual_seed(number), 1)
        pair = self_blend(image[None], hull[None], faces.blend, draws)
        for label, images in enumerate((pair.real, pair.fake)):
            pixels = np.ascontiguousarray(images[0].permute(1, 2, 0).numpy())
            values = _sequence_features([pixels])
            rows.append({"dataset": SELF_BLENDED, "label": label, **values})
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
    """Yield each sampled frame and a mask of the pixels outside all crops taken from it."""
    for number, (_, image) in enumerate(frames(path)):
        outside = _outside(image, boxes[boxes["frame"] == number])
        if outside.any():
            yield image, outside


def _outside(image: np.ndarray, boxes: pd.DataFrame) -> np.ndarray:
    """Return the mask of the pixels ``[H, W]`` outside all boxes."""
    outside = np.ones(image.shape[:2], bool)
    corners = boxes[["x0", "y0", "x1", "y1"]].to_numpy()
    for x0, y0, x1, y1 in corners.round().astype(int):
        outside[max(y0, 0) : y1, max(x0, 0) : x1] = False
    return outside


def _outside_ellipse(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    ys, xs = np.ogrid[0:height, 0:width]
    return ((xs / width - 0.5) / OUTSIDE) ** 2 + ((ys / height - 0.5) / OUTSIDE) ** 2 > 1


def _look(image: np.ndarray, outside: np.ndarray) -> tuple[float, float, float]:
    """Measure brightness, colour (red minus blue) and sharpness (variance of the Laplacian)."""
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
    """Pick ``each`` real and ``each`` fake crops per corpus, from videos spread over the corpus."""
    examples = {}
    for dataset, videos in index.groupby("dataset"):
        names = [
            name
            for label in (0, 1)
            for name in _evenly_spaced(videos.loc[videos["label"] == label, "video_id"], each)
        ]
        crops = [store.image(int(store.rows_of(name)[0])) for name in names]
        examples[f"{dataset}: real, then fake"] = crops
    return examples


def _evenly_spaced(names: pd.Series, count: int) -> list[str]:
    return names.iloc[np.linspace(0, len(names) - 1, count).round().astype(int)].tolist()
