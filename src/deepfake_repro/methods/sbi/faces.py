"""The faces that SBI learns from: real crops of the training sample, with landmarks and hulls.

The stage ``landmarks`` finds the landmarks once and stores them; no epoch computes them again.
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
from ...project.paths import ASSETS, Paths, profile_paths
from ...project.progress import track
from ...project.recipes import Blend, Sbi
from ...training.loading import CROP_KEY, SizedDataset, positions

SPLITS = {"train": "train", "validation": "val"}
"""Table of the sample -> split of its videos."""


def real_faces(sample: pd.DataFrame, index: pd.DataFrame, split: str, recipe: Sbi) -> pd.DataFrame:
    """Select SBI's real crops from a table of the sample: those of ``recipe.faces``, spread evenly.

    ``sample``: ``video_id, frame, face, label, dataset``; ``index``: ``video_id, split``. At most
    ``crops_per_video`` are kept per video. Raises ``ValueError`` naming a video that is not in
    ``split``, or if no real crop is left.
    """
    splits = sample["video_id"].map(index.set_index("video_id")["split"])
    if (splits != split).any():
        video = sample["video_id"][splits != split].iloc[0]
        raise ValueError(
            f"video {video} is in the sample but not in split {split}: rerun the sample stage"
        )
    real = sample[sample["label"] == 0]
    if recipe.faces != "sample":
        real = real[real["dataset"] == recipe.faces]
    if real.empty:
        raise ValueError(
            f"sbi.faces is {recipe.faces!r}, but split {split} has no real crop of it in the "
            "sample: use 'sample', or a corpus that you have"
        )
    crops = real.groupby("video_id")["video_id"]
    number = crops.cumcount()
    size = crops.transform("size")
    kept = recipe.crops_per_video
    spread = number * kept // size != (number - 1) * kept // size
    return real[spread].reset_index(drop=True)


def sampled_faces(paths: Paths, index: pd.DataFrame, table: str, recipe: Sbi) -> pd.DataFrame:
    """Select SBI's real crops from the ``table`` of the sample: ``train`` or ``validation``."""
    sample = pd.read_parquet(paths.samples / f"{table}.parquet")
    return real_faces(sample, index, SPLITS[table], recipe)


def crop_points(
    store: CropStore, rows: pd.DataFrame, mesh: FaceMesh, margin: float, workers: int = 0
) -> pd.DataFrame:
    """Find the 81 points of each crop: ``rows`` with a column ``points``, x and y in turn.

    Points are float32, in pixels of the crop. ``margin``: how much the crops' boxes were enlarged,
    which tells where the face is.
    """
    batches = DataLoader(_Meshes(store, rows, mesh, margin), batch_size=32, num_workers=workers)
    points = np.concatenate([batch.numpy() for batch in track(batches, "landmarks")])
    return rows[CROP_KEY].assign(points=list(points.reshape(len(rows), -1)))


def landmarks(profile: str) -> None:
    """Write the landmarks of SBI's real crops, found by ``workers()`` processes."""
    options = load().profile(profile)
    paths = profile_paths(profile)
    index = pd.read_parquet(paths.training_index, columns=["video_id", "split"])
    tables = [sampled_faces(paths, index, table, options.sbi) for table in SPLITS]
    rows = pd.concat(tables, ignore_index=True)
    mesh = FaceMesh(paths.base / ASSETS / "face_landmarks.tflite")
    points = crop_points(
        CropStore(paths.training_crops), rows, mesh, options.crops.margin, workers()
    )
    paths.landmarks.parent.mkdir(parents=True, exist_ok=True)
    points.to_parquet(paths.landmarks, index=False)
    print(f"landmarks of {len(points)} real crops of {rows['video_id'].nunique()} videos")


class _Meshes(Dataset):
    """Item *i* -> the 81 points float32 ``[81, 2]`` of crop *i*."""

    def __init__(self, store: CropStore, rows: pd.DataFrame, mesh: FaceMesh, margin: float) -> None:
        self.store = store
        self.positions = positions(store, rows)
        self.mesh = mesh
        self.margin = margin

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> np.ndarray:
        crop = self.store.image(int(self.positions[item]))
        return self.mesh(crop, inner_box(crop.shape[0], self.margin))[list(POINTS)]


class RealCrops(SizedDataset):
    """Item *i* -> (image uint8 ``[3, S, S]``, hull uint8 ``[S, S]`` of a drawn kind, *i*).

    ``rows``: as :func:`real_faces` selects them; ``points``: as :func:`crop_points` finds them.
    Raises ``ValueError`` for a fake crop and for one whose landmarks are not stored.
    """

    def __init__(
        self, store: CropStore, rows: pd.DataFrame, points: pd.DataFrame, blend: Blend
    ) -> None:
        fakes = rows[rows["label"] != 0]
        if len(fakes):
            raise ValueError(
                f"crop of {fakes['video_id'].iloc[0]} is fake: SBI makes its own fakes"
            )
        stored = rows[CROP_KEY].merge(points, on=CROP_KEY, how="left")["points"]
        missing = stored.isna().to_numpy()
        if missing.any():
            raise ValueError(
                f"no landmarks of a crop of {rows['video_id'][missing].iloc[0]}: "
                "rerun the landmarks stage"
            )
        self.store = store
        self.positions = positions(store, rows)
        self.blend = blend
        self.points = np.stack(stored.to_list()).reshape(len(rows), -1, 2).astype(np.float32)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        image = self.store.image(int(self.positions[item]))
        kind = self.blend.hulls[int(torch.randint(len(self.blend.hulls), ()))]
        with_forehead = float(torch.rand(())) >= self.blend.without_forehead
        points = self.points[item] if with_forehead else self.points[item][:WITHOUT_FOREHEAD]
        mask = hull(points, kind, image.shape[0])
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask), item
