"""The faces that SBI learns from: real crops of the training sample only, their landmarks, their hulls.

SBI finds 81 points with dlib (68 and 13 of the forehead). Here each is taken from the face mesh of 478, whose oval
reaches up to the hairline. They are found once and stored (stage ``landmarks``), not anew in every epoch.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from ...crops.preprocess import workers
from ...crops.store import CropStore
from ...faces.landmarks import FaceMesh
from ...project.params import load
from ...project.paths import ASSETS, places
from ...project.progress import track
from ...project.recipes import Blend, Sbi
from ...training.loading import CROP_KEY, positions

POINTS = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,  # 0 jaw, right ear to left
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301,  # 17 right brow, 22 left brow
    168, 197, 5, 4, 75, 97, 2, 326, 305,  # 27 ridge of the nose, 31 its base
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # 36 right eye, 42 left eye
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,  # 48 mouth
    127, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 356)  # 68 forehead, right temple to left
"""Index in the face mesh of each of the 81 points, in dlib's order; right is the person's own."""
WITHOUT_FOREHEAD = 68
_JAW, _BROWS, _NOSE, _EYES, _MOUTH = range(17), range(17, 27), range(27, 36), range(36, 48), range(48, 68)
_CHIN, _TIP = 8, 33
PARTS: dict[str, Sequence[Sequence[int]]] = {
    "full": ((*_JAW, *_MOUTH), (*_BROWS, *_EYES, 0, 16, _TIP), _NOSE),
    "components": ((*range(9), 17), (*range(8, 17), 26), (*range(17, 20), _CHIN), (*range(24, 27), _CHIN),
                   (*range(17, 22), *range(36, 42), _TIP, _CHIN), (*range(22, 27), *range(42, 48), _TIP, _CHIN),
                   (21, 22, _TIP), _NOSE),
}
"""Kind of hull -> groups of points; the mask is the union of the groups' convex hulls, mirror images of each other.

``extended`` is ``components`` with the brows raised by half their distance to the eyes; ``face`` is the hull of all
points. The four kinds follow those that SBI names; which points make up each is our own choice.
"""
HULLS = ("face", "full", "components", "extended")


def hull(points: np.ndarray, kind: str, size: int) -> np.ndarray:
    """Mask uint8 ``[S, S]``, 1 inside the hull of ``kind`` around 68 or 81 ``points`` ``[N, 2]`` in pixels.

    Raises ``ValueError`` for a kind that is not in ``HULLS``.
    """
    if kind not in HULLS:
        raise ValueError(f"sbi.blend.hulls lists {kind!r}; known: {', '.join(HULLS)}")
    if kind == "extended":
        points, kind = points.copy(), "components"
        for brow, eye in ((range(17, 22), range(36, 42)), (range(22, 27), range(42, 48))):
            points[brow] += (points[brow].mean(0) - points[eye].mean(0)) / 2
    mask = np.zeros((size, size), np.uint8)
    for part in PARTS.get(kind, [range(len(points))]):
        cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points[list(part)]).astype(np.int32)), 1)
    return mask


def real_faces(sample: pd.DataFrame, index: pd.DataFrame, split: str, recipe: Sbi) -> pd.DataFrame:
    """The real crops SBI sees of a table of the sample: of ``recipe.faces``, at most ``crops_per_video``, spread evenly.

    ``sample``: ``video_id, frame, face, label, dataset``; ``index``: ``video_id, split``. Raises ``ValueError`` naming
    a video that is not in ``split``, or if no real crop is left.
    """
    found = sample["video_id"].map(index.set_index("video_id")["split"])
    if (found != split).any():
        video = sample["video_id"][found != split].iloc[0]
        raise ValueError(f"video {video} is in the sample but not in split {split}: run the sample stage again")
    real = sample[sample["label"] == 0]
    if recipe.faces != "sample":
        real = real[real["dataset"] == recipe.faces]
    if real.empty:
        raise ValueError(f"sbi.faces is {recipe.faces!r}, of which split {split} has no real crop in the sample: "
                         "take 'sample', or a corpus that you have")
    crops = real.groupby("video_id")["video_id"]
    number, of = crops.cumcount(), crops.transform("size")
    kept = recipe.crops_per_video
    return real[number * kept // of != (number - 1) * kept // of].reset_index(drop=True)


def crop_points(store: CropStore, rows: pd.DataFrame, mesh: FaceMesh, margin: float, workers: int = 0) -> pd.DataFrame:
    """``rows`` with the column ``points``: the 81 points of each crop, x and y in turn, float32, in its pixels.

    ``margin``: by how much the crops' boxes were enlarged, so that the face is where it should be looked for.
    """
    found = DataLoader(_Meshes(store, rows, mesh, margin), batch_size=32, num_workers=workers)
    points = np.concatenate([batch.numpy() for batch in track(found, "landmarks")])
    return rows[CROP_KEY].assign(points=list(points.reshape(len(rows), -1)))


def landmarks(profile: str) -> None:
    """Landmarks of the real crops that SBI learns from -> ``points.parquet``; found once, in ``workers()`` processes."""
    options, place = load().profile(profile), places(profile)
    index = pd.read_parquet(place.index, columns=["video_id", "split"])
    rows = pd.concat([real_faces(pd.read_parquet(place.samples / f"{table}.parquet"), index, split, options.sbi)
                      for table, split in (("train", "train"), ("validation", "val"))], ignore_index=True)
    mesh = FaceMesh(place.base / ASSETS / "face_landmarks.tflite")
    points = crop_points(CropStore(place.crops), rows, mesh, options.crops.margin, workers())
    place.landmarks.parent.mkdir(parents=True, exist_ok=True)
    points.to_parquet(place.landmarks, index=False)
    print(f"landmarks of {len(points)} real crops of {rows['video_id'].nunique()} videos")


class _Meshes(Dataset):
    """Item *i* -> the 81 points float32 ``[81, 2]`` of crop *i*."""

    def __init__(self, store: CropStore, rows: pd.DataFrame, mesh: FaceMesh, margin: float) -> None:
        self.store, self.place, self.mesh, self.margin = store, positions(store, rows), mesh, margin

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, item: int) -> np.ndarray:
        crop = self.store.image(int(self.place[item]))
        side = crop.shape[0]
        border = side * (1 - 1 / (1 + self.margin)) / 2
        return self.mesh(crop, np.array([border, border, side - border, side - border]))[list(POINTS)]


class RealCrops(Dataset):
    """Item *i* -> (image uint8 ``[3, S, S]``, hull uint8 ``[S, S]`` of a drawn kind, *i*), of real crops only.

    ``rows`` as of :func:`real_faces`; ``points`` as of :func:`crop_points`. Raises ``ValueError`` for a fake crop and
    for one whose landmarks are not stored.
    """

    def __init__(self, store: CropStore, rows: pd.DataFrame, points: pd.DataFrame, blend: Blend) -> None:
        if (rows["label"] != 0).any():
            raise ValueError(f"crop of {rows[rows['label'] != 0]['video_id'].iloc[0]} is fake: SBI makes its own fakes")
        stored = rows[CROP_KEY].merge(points, on=CROP_KEY, how="left")["points"]
        if stored.isna().any():
            raise ValueError(f"no landmarks of a crop of {rows['video_id'][stored.isna().to_numpy()].iloc[0]}: run the "
                             "landmarks stage again")
        self.store, self.place, self.blend = store, positions(store, rows), blend
        self.points = np.stack(stored.to_list()).reshape(len(rows), -1, 2).astype(np.float32)

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        image = self.store.image(int(self.place[item]))
        kind = self.blend.hulls[int(torch.randint(len(self.blend.hulls), ()))]
        whole = float(torch.rand(())) >= self.blend.without_forehead
        points = self.points[item] if whole else self.points[item][:WITHOUT_FOREHEAD]
        mask = hull(points, kind, image.shape[0])
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask), item
