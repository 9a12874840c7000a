"""The faces that SBI learns from: real crops of the training sample only, their landmarks, their hulls.

Landmarks are found once and stored (stage ``landmarks``), not anew in every epoch.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from ...crops.extraction import inner_box
from ...crops.preprocess import workers
from ...crops.store import CropStore
from ...faces.hulls import POINTS, WITHOUT_FOREHEAD, hull
from ...faces.landmarks import FaceMesh
from ...project.params import load
from ...project.paths import ASSETS, profile_paths
from ...project.progress import track
from ...project.recipes import Blend, Sbi
from ...training.loading import CROP_KEY, positions


def real_faces(sample: pd.DataFrame, index: pd.DataFrame, split: str, recipe: Sbi) -> pd.DataFrame:
    """The real crops SBI sees of a table of the sample: of ``recipe.faces``, at most ``crops_per_video``, spread evenly.

    ``sample``: ``video_id, frame, face, label, dataset``; ``index``: ``video_id, split``. Raises ``ValueError`` naming
    a video that is not in ``split``, or if no real crop is left.
    """
    found = sample["video_id"].map(index.set_index("video_id")["split"])
    if (found != split).any():
        video = sample["video_id"][found != split].iloc[0]
        raise ValueError(
            f"video {video} is in the sample but not in split {split}: run the sample stage again"
        )
    real = sample[sample["label"] == 0]
    if recipe.faces != "sample":
        real = real[real["dataset"] == recipe.faces]
    if real.empty:
        raise ValueError(
            f"sbi.faces is {recipe.faces!r}, of which split {split} has no real crop in the sample: "
            "take 'sample', or a corpus that you have"
        )
    crops = real.groupby("video_id")["video_id"]
    number, of = crops.cumcount(), crops.transform("size")
    kept = recipe.crops_per_video
    return real[number * kept // of != (number - 1) * kept // of].reset_index(drop=True)


def crop_points(
    store: CropStore, rows: pd.DataFrame, mesh: FaceMesh, margin: float, workers: int = 0
) -> pd.DataFrame:
    """``rows`` with the column ``points``: the 81 points of each crop, x and y in turn, float32, in its pixels.

    ``margin``: by how much the crops' boxes were enlarged, so that the face is where it should be looked for.
    """
    found = DataLoader(_Meshes(store, rows, mesh, margin), batch_size=32, num_workers=workers)
    points = np.concatenate([batch.numpy() for batch in track(found, "landmarks")])
    return rows[CROP_KEY].assign(points=list(points.reshape(len(rows), -1)))


def landmarks(profile: str) -> None:
    """Landmarks of the real crops that SBI learns from -> ``points.parquet``; found once, in ``workers()`` processes."""
    options, paths = load().profile(profile), profile_paths(profile)
    index = pd.read_parquet(paths.index, columns=["video_id", "split"])
    rows = pd.concat(
        [
            real_faces(
                pd.read_parquet(paths.samples / f"{table}.parquet"), index, split, options.sbi
            )
            for table, split in (("train", "train"), ("validation", "val"))
        ],
        ignore_index=True,
    )
    mesh = FaceMesh(paths.base / ASSETS / "face_landmarks.tflite")
    points = crop_points(CropStore(paths.crops), rows, mesh, options.crops.margin, workers())
    paths.landmarks.parent.mkdir(parents=True, exist_ok=True)
    points.to_parquet(paths.landmarks, index=False)
    print(f"landmarks of {len(points)} real crops of {rows['video_id'].nunique()} videos")


class _Meshes(Dataset):
    """Item *i* -> the 81 points float32 ``[81, 2]`` of crop *i*."""

    def __init__(self, store: CropStore, rows: pd.DataFrame, mesh: FaceMesh, margin: float) -> None:
        self.store, self.place, self.mesh, self.margin = store, positions(store, rows), mesh, margin

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, item: int) -> np.ndarray:
        crop = self.store.image(int(self.place[item]))
        return self.mesh(crop, inner_box(crop.shape[0], self.margin))[list(POINTS)]


class RealCrops(Dataset):
    """Item *i* -> (image uint8 ``[3, S, S]``, hull uint8 ``[S, S]`` of a drawn kind, *i*), of real crops only.

    ``rows`` as of :func:`real_faces`; ``points`` as of :func:`crop_points`. Raises ``ValueError``
    for a fake crop and for one whose landmarks are not stored.
    """

    def __init__(
        self, store: CropStore, rows: pd.DataFrame, points: pd.DataFrame, blend: Blend
    ) -> None:
        if (rows["label"] != 0).any():
            raise ValueError(
                f"crop of {rows[rows['label'] != 0]['video_id'].iloc[0]} is fake: SBI makes its own fakes"
            )
        stored = rows[CROP_KEY].merge(points, on=CROP_KEY, how="left")["points"]
        if stored.isna().any():
            raise ValueError(
                f"no landmarks of a crop of {rows['video_id'][stored.isna().to_numpy()].iloc[0]}: run the "
                "landmarks stage again"
            )
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
