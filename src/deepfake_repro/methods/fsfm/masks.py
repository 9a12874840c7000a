"""Which patches the pre-training hides: face regions and FSFM's CRFR-P masks (Section 3.2).

CRFR-P ("covering a random facial region, proportional masking") hides one whole region of the face
and the same share of every other one, so that a hidden region can be made up from neither its rest
nor one other region: the network must know how the parts of a real face belong together.
"""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from ...crops.extraction import inner_box
from ...crops.store import CropStore
from ...faces.landmarks import FaceMesh
from ...faces.regions import (
    BACKGROUND,
    BROWS,
    EYES,
    HAIR,
    MOUTH,
    NOSE_REGION,
    SKIN,
    RegionParser,
    region_map,
)
from ...project.progress import track
from ...training.loading import positions
from ...training.transforms import AUGMENTATIONS, Normalisation

GROUPS = ("brows", "eyes", "nose", "mouth", "boundary", "hair", "skin", "background")
"""Order of the region groups; the first six may be drawn to be hidden whole."""
DRAWN = 6


class LandmarkParser:
    """A ``RegionParser`` of square face crops that needs the landmark model only.

    ``margin``: by how much the crops' boxes were enlarged, so that the face is where it should be looked for.
    """

    def __init__(self, mesh: FaceMesh, margin: float) -> None:
        self.mesh, self.margin = mesh, margin

    def __call__(self, crop: np.ndarray) -> np.ndarray:
        """Region ids int8 ``[S, S]`` of a crop, RGB uint8 ``[S, S, 3]``."""
        size = crop.shape[0]
        return region_map(self.mesh(crop, inner_box(size, self.margin)), size)


def patch_regions(regions: np.ndarray, patch: int) -> np.ndarray:
    """Which region groups each patch belongs to: ids ``[S, S]`` -> bool ``[8, N]``, N = (S / patch)², row by row.

    A patch belongs to a group if any of its pixels does, so to several groups mostly; ``boundary``
    are the patches with skin *and* hair or background. Raises ``ValueError`` if S is no multiple of
    ``patch``.
    """
    side = regions.shape[0]
    if side % patch:
        raise ValueError(
            f"a region map of {side} pixels has no whole patches of {patch}: mend train.input_size"
        )
    blocks = regions.reshape(side // patch, patch, -1, patch)

    def holds(*ids: int) -> np.ndarray:
        return np.isin(blocks, ids).any((1, 3)).ravel()

    skin, hair, background = holds(SKIN), holds(HAIR), holds(BACKGROUND)
    return np.stack(
        [
            holds(*BROWS),
            holds(*EYES),
            holds(NOSE_REGION),
            holds(*MOUTH),
            skin & (hair | background),
            hair,
            skin,
            background,
        ]
    )


def crfr_p(
    groups: torch.Tensor, ratio: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """CRFR-P masks of a batch: bool ``[B, 8, N]`` -> (hidden patches, of these the facial region), bool ``[B, N]``.

    One of the first six groups is drawn for the whole batch and hidden whole in each image; of each
    other group the same share is hidden at random, so that exactly ``int(ratio * N)`` patches of
    every image are. A region larger than that is hidden in part; one that an image lacks leaves its
    facial mask empty. Raises ``ValueError`` for a ratio outside (0, 1).
    """
    if not 0 < ratio < 1:
        raise ValueError(
            f"pretrain.mask_ratio is {ratio}: give a share between 0 and 1, such as 0.75"
        )
    batch, _, patches = groups.shape
    total = int(ratio * patches)
    drawn = int(torch.randint(DRAWN, (), generator=generator))
    region = groups[:, drawn]
    facial = _choose(region, region.sum(1).clamp(max=total), generator)
    share = (total - facial.sum(1)).double() / (patches - facial.sum(1))
    hidden, assigned = facial.clone(), facial.clone()
    for group in groups.unbind(1)[:drawn] + groups.unbind(1)[drawn + 1 :]:
        fresh = group & ~assigned
        hidden |= _choose(fresh, (fresh.sum(1) * share).round().long(), generator)
        assigned |= group
    # Rounding leaves a patch or two too many or too few: facial first, then hidden, then any
    # others.
    wanted = torch.full((batch,), total)
    return _choose(torch.ones_like(hidden), wanted, generator, hidden.double() + facial), facial


def _choose(
    candidates: torch.Tensor,
    counts: torch.Tensor,
    generator: torch.Generator,
    priority: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """Random ``counts`` ``[B]`` of each row's ``candidates`` ``[B, N]``; those of higher whole ``priority`` first."""
    order = torch.rand(candidates.shape, dtype=torch.float64, generator=generator) + priority
    rank = order.masked_fill(~candidates, -1).argsort(1, descending=True).argsort(1)
    return rank < counts[:, None]


def real_training_faces(sample: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """The real crops of the training sample: FSFM sees no fake and no test face (Section 3.2).

    ``sample``: ``video_id, frame, face, label``; ``index``: ``video_id, split``. Raises ``ValueError`` naming a video
    of the sample whose split is not ``train``, or if no real crop is left.
    """
    split = sample["video_id"].map(index.set_index("video_id")["split"])
    if (split != "train").any():
        video = sample["video_id"][split != "train"].iloc[0]
        raise ValueError(
            f"video {video} is in the training sample but not in split train: run the sample stage again"
        )
    real = sample[sample["label"] == 0].reset_index(drop=True)
    if real.empty:
        raise ValueError("the training sample has no real crop: FSFM pre-training needs real faces")
    return real


def real_faces_of(corpus: str, crops: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """All crops of the real faces of one corpus but its validation and test ones (Section 3.2; FSFM: VGGFace2).

    ``crops``: the store's ``video_id, frame, face``; ``index``: ``video_id, dataset, label, split``. Raises
    ``ValueError`` if the index has none.
    """
    chosen = index[
        (index["dataset"] == corpus)
        & (index["label"] == 0)
        & index["split"].isin(["train", "none"])
    ]
    rows = crops[crops["video_id"].isin(chosen["video_id"])]
    if rows.empty:
        raise ValueError(
            f"pretrain.faces is {corpus!r}, of which no real training crop is in the store: give its root "
            "in data/corpora/<profile>.yaml, or take 'sample'"
        )
    return rows.assign(label=0).reset_index(drop=True)


def measured_normalisation(
    store: CropStore, rows: pd.DataFrame, crops: int = 2000
) -> Normalisation:
    """Channel mean and deviation over evenly spaced ``crops`` of ``rows``: what FSFM takes from its own faces."""
    places = positions(
        store, rows.iloc[np.linspace(0, len(rows) - 1, min(crops, len(rows))).astype(int)]
    )
    moments = np.zeros((2, 3))
    for place in track(places, "channel means"):
        pixels = store.image(int(place)).reshape(-1, 3) / 255
        moments += [pixels.mean(0), np.square(pixels).mean(0)]
    mean, square = moments / len(places)
    return Normalisation(tuple(mean.tolist()), tuple(np.sqrt(square - mean**2).tolist()))


class RealFaces(Dataset):
    """Item *i* -> (image float32 ``[3, S, S]``, region groups bool ``[8, N]``, *i*), of real faces only.

    ``kind`` ``windows``: a random window at native resolution, the region map cut at the same
    place; ``fsfm``: the whole crop resized. Nothing else is augmented, as in FSFM. Regions are
    found once, by ``workers`` processes, and held in memory: for ``windows`` as maps, 50 kB each;
    for ``fsfm`` a byte a patch, 0.6 GB for FSFM's 3 million faces. Raises ``ValueError`` for a fake
    crop or another kind.
    """

    def __init__(
        self,
        store: CropStore,
        rows: pd.DataFrame,
        parser: RegionParser,
        kind: str,
        size: int,
        patch: int,
        norm: Normalisation,
        workers: int = 0,
    ) -> None:
        if (rows["label"] != 0).any():
            raise ValueError(
                f"crop of {rows[rows['label'] != 0]['video_id'].iloc[0]} is fake: pre-train on real faces"
            )
        if kind not in AUGMENTATIONS:
            raise ValueError(f"train.augmentation is {kind!r}; known: {', '.join(AUGMENTATIONS)}")
        self.store, self.place = store, positions(store, rows)
        self.kind, self.size, self.patch = kind, size, patch
        self.mean, self.std = (np.array(part, np.float32) for part in (norm.mean, norm.std))
        found = DataLoader(_Regions(self, parser), batch_size=32, num_workers=workers)
        self.regions = np.concatenate([batch.numpy() for batch in track(found, "regions")])

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        image = self.store.image(int(self.place[item]))
        if self.kind == "windows":
            place = self._window(image.shape[0])
            image, groups = image[place], patch_regions(self.regions[item][place], self.patch)
        else:
            smooth = (
                cv2.INTER_AREA if self.size < len(image) else cv2.INTER_CUBIC
            )  # bicubic alone would alias
            image = cv2.resize(image, (self.size, self.size), interpolation=smooth)
            groups = np.unpackbits(self.regions[item][None], axis=0).astype(bool)
        pixels = (image.astype(np.float32) / 255 - self.mean) / self.std
        return torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(groups), item

    def _window(self, side: int) -> tuple[slice, slice]:
        y, x = (int(torch.randint(side - self.size + 1, ())) for _ in range(2))
        return slice(y, y + self.size), slice(x, x + self.size)


class _Regions(Dataset):
    """Item *i* -> what ``RealFaces`` keeps of the regions of its crop *i*, uint8 ``[S, S]`` or ``[N]``."""

    def __init__(self, faces: RealFaces, parser: RegionParser) -> None:
        self.faces, self.parser = faces, parser

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, item: int) -> np.ndarray:
        faces = self.faces
        regions = self.parser(faces.store.image(int(faces.place[item]))).astype(np.uint8)
        if faces.kind == "windows":
            return regions
        regions = cv2.resize(regions, (faces.size, faces.size), interpolation=cv2.INTER_NEAREST)
        return np.packbits(patch_regions(regions, faces.patch), axis=0)[0]
