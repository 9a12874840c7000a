"""Which patches the pre-training hides: face regions and FSFM's CRFR-P masks (Section 3.2).

CRFR-P ("covering a random facial region, proportional masking") hides one whole region of the face
and the same share of every other one. Neither the rest of the hidden region nor any single other
region is enough to reconstruct it: the network must learn how the parts of a real face fit
together.
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
from ...training.loading import SizedDataset, positions
from ...training.transforms import AUGMENTATIONS, Normalisation, channels

GROUPS = ("brows", "eyes", "nose", "mouth", "boundary", "hair", "skin", "background")
"""Order of the region groups."""
DRAWN = 6
"""The first so many groups may be drawn and hidden whole."""


class LandmarkParser:
    """A ``RegionParser`` of square face crops that needs the landmark model only.

    ``margin``: how much the crops' boxes were enlarged, which tells where the face is.
    """

    def __init__(self, mesh: FaceMesh, margin: float) -> None:
        self.mesh = mesh
        self.margin = margin

    def __call__(self, crop: np.ndarray) -> np.ndarray:
        """Parse a crop, RGB uint8 ``[S, S, 3]``, into region ids int8 ``[S, S]``."""
        size = crop.shape[0]
        return region_map(self.mesh(crop, inner_box(size, self.margin)), size)


def patch_regions(regions: np.ndarray, patch: int) -> np.ndarray:
    """Find the region groups of each patch: ids ``[S, S]`` -> bool ``[8, N]``, N = (S / patch)².

    Patches are numbered row by row. A patch belongs to every group that any of its pixels belongs
    to; ``boundary`` are the patches with skin *and* hair or background. Raises ``ValueError`` if S
    is not a multiple of ``patch``.
    """
    side = regions.shape[0]
    if side % patch:
        raise ValueError(
            f"a region map of {side} pixels cannot be divided into patches of {patch}: "
            "correct train.input_size"
        )
    blocks = regions.reshape(side // patch, patch, -1, patch)

    def contains(*ids: int) -> np.ndarray:
        return np.isin(blocks, ids).any((1, 3)).ravel()

    skin = contains(SKIN)
    hair = contains(HAIR)
    background = contains(BACKGROUND)
    return np.stack(
        [
            contains(*BROWS),
            contains(*EYES),
            contains(NOSE_REGION),
            contains(*MOUTH),
            skin & (hair | background),
            hair,
            skin,
            background,
        ]
    )


def crfr_p(
    groups: torch.Tensor, ratio: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw CRFR-P masks for a batch: the hidden patches, and the facial region among them.

    ``groups`` bool ``[B, 8, N]`` -> two bool ``[B, N]``. One of the first six groups is drawn for
    the whole batch and hidden whole in each image; the same share of each other group is hidden at
    random, so that exactly ``int(ratio * N)`` patches of every image are hidden. A region larger
    than that is hidden in part; if an image lacks the region, its facial mask is empty. Raises
    ``ValueError`` for a ratio outside (0, 1).
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
    hidden = facial.clone()
    assigned = facial.clone()
    for group in groups.unbind(1)[:drawn] + groups.unbind(1)[drawn + 1 :]:
        unassigned = group & ~assigned
        hidden |= _choose(unassigned, (unassigned.sum(1) * share).round().long(), generator)
        assigned |= group
    # Rounding leaves a patch or two too many or too few: prefer the facial region, then hidden
    # patches, then any others.
    wanted = torch.full((batch,), total)
    priority = hidden.double() + facial
    return _choose(torch.ones_like(hidden), wanted, generator, priority), facial


def _choose(
    candidates: torch.Tensor,
    counts: torch.Tensor,
    generator: torch.Generator,
    priority: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """Choose ``counts`` ``[B]`` of each row's ``candidates`` ``[B, N]`` at random.

    Candidates of a higher whole-number ``priority`` come first.
    """
    order = torch.rand(candidates.shape, dtype=torch.float64, generator=generator) + priority
    rank = order.masked_fill(~candidates, -1).argsort(1, descending=True).argsort(1)
    return rank < counts[:, None]


def real_training_faces(sample: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Select the real crops of the training sample: FSFM sees no fake and no test face.

    ``sample``: ``video_id, frame, face, label``; ``index``: ``video_id, split`` (Section 3.2).
    Raises ``ValueError`` naming a video of the sample whose split is not ``train``, or if no real
    crop is left.
    """
    split = sample["video_id"].map(index.set_index("video_id")["split"])
    if (split != "train").any():
        video = sample["video_id"][split != "train"].iloc[0]
        raise ValueError(
            f"video {video} is in the training sample but not in split train: "
            "rerun the sample stage"
        )
    real = sample[sample["label"] == 0].reset_index(drop=True)
    if real.empty:
        raise ValueError("the training sample has no real crop: FSFM pre-training needs real faces")
    return real


def real_faces_of(corpus: str, crops: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Select all real crops of one corpus except validation and test (Section 3.2; FSFM: VGGFace2).

    ``crops``: the store's ``video_id, frame, face``; ``index``: ``video_id, dataset, label,
    split``. Raises ``ValueError`` if there are none.
    """
    chosen = index[
        (index["dataset"] == corpus)
        & (index["label"] == 0)
        & index["split"].isin(["train", "none"])
    ]
    rows = crops[crops["video_id"].isin(chosen["video_id"])]
    if rows.empty:
        raise ValueError(
            f"pretrain.faces is {corpus!r}, but the store has no real training crop of it: "
            "give its root in data/corpora/<profile>.yaml, or use 'sample'"
        )
    return rows.assign(label=0).reset_index(drop=True)


def measure_normalisation(store: CropStore, rows: pd.DataFrame, crops: int = 2000) -> Normalisation:
    """Measure mean and deviation per channel over evenly spaced ``crops`` of ``rows``, as FSFM."""
    chosen = np.linspace(0, len(rows) - 1, min(crops, len(rows))).astype(int)
    sampled = positions(store, rows.iloc[chosen])
    moments = np.zeros((2, 3))
    for position in track(sampled, "channel means"):
        pixels = store.image(int(position)).reshape(-1, 3) / 255
        moments += [pixels.mean(0), np.square(pixels).mean(0)]
    mean, square = moments / len(sampled)
    deviation = np.sqrt(square - mean**2)
    return Normalisation(channels(mean.tolist()), channels(deviation.tolist()))


class RealFaces(SizedDataset):
    """Item *i* -> (image float32 ``[3, S, S]``, region groups bool ``[8, N]``, *i*).

    All faces are real. ``kind`` ``windows``: a random window at native resolution, and the same
    window of the region map; ``fsfm``: the whole crop resized. There is no other augmentation, as
    in FSFM. ``workers`` processes find the regions once; they are kept in memory: as maps for
    ``windows``, 50 kB each; as one byte per patch for ``fsfm``, 0.6 GB for FSFM's 3 million faces.
    Raises ``ValueError`` for a fake crop or another kind.
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
        fakes = rows[rows["label"] != 0]
        if len(fakes):
            raise ValueError(
                f"crop of {fakes['video_id'].iloc[0]} is fake: pre-train on real faces"
            )
        if kind not in AUGMENTATIONS:
            raise ValueError(f"train.augmentation is {kind!r}; known: {', '.join(AUGMENTATIONS)}")
        self.store = store
        self.positions = positions(store, rows)
        self.kind = kind
        self.size = size
        self.patch = patch
        self.mean = np.array(norm.mean, np.float32)
        self.std = np.array(norm.std, np.float32)
        regions = DataLoader(_Regions(self, parser), batch_size=32, num_workers=workers)
        self.regions = np.concatenate([batch.numpy() for batch in track(regions, "regions")])

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        image = self.store.image(int(self.positions[item]))
        if self.kind == "windows":
            window = self._draw_window(image.shape[0])
            image = image[window]
            groups = patch_regions(self.regions[item][window], self.patch)
        else:
            # Bicubic alone would alias when shrinking.
            shrinks = self.size < len(image)
            method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
            image = cv2.resize(image, (self.size, self.size), interpolation=method)
            groups = np.unpackbits(self.regions[item][None], axis=0).astype(bool)
        pixels = (image.astype(np.float32) / 255 - self.mean) / self.std
        return torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(groups), item

    def _draw_window(self, side: int) -> tuple[slice, slice]:
        y, x = (int(torch.randint(side - self.size + 1, ())) for _ in range(2))
        return slice(y, y + self.size), slice(x, x + self.size)


class _Regions(Dataset):
    """Item *i* -> what ``RealFaces`` keeps of crop *i*'s regions, uint8 ``[S, S]`` or ``[N]``."""

    def __init__(self, faces: RealFaces, parser: RegionParser) -> None:
        self.faces = faces
        self.parser = parser

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, item: int) -> np.ndarray:
        faces = self.faces
        regions = self.parser(faces.store.image(int(faces.positions[item]))).astype(np.uint8)
        if faces.kind == "windows":
            return regions
        size = (faces.size, faces.size)
        resized = cv2.resize(regions, size, interpolation=cv2.INTER_NEAREST)
        return np.packbits(patch_regions(resized, faces.patch), axis=0)[0]
