"""Regions of patches and CRFR-P masks: shares by counting, and the faces that are pre-trained
on.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_repro.crops.store import CropStore, encode, write_part
from deepfake_repro.faces import landmarks
from deepfake_repro.faces.regions import region_map
from deepfake_repro.methods.fsfm.masks import (
    GROUPS,
    LandmarkParser,
    RealFaces,
    crfr_p,
    measure_normalisation,
    patch_regions,
    real_faces_of,
    real_training_faces,
)
from deepfake_repro.training.transforms import Normalisation
from support.round_face import round_face

PLAIN = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def groups_of(**regions: list[int]) -> torch.Tensor:
    """One image of 100 patches; each group holds the given patches."""
    result = torch.zeros(1, 8, 100, dtype=torch.bool)
    for name, patches in regions.items():
        result[0, GROUPS.index(name), patches] = True
    return result


def drawn_by(seed: int) -> int:
    """The region that a generator of this seed draws, told from one patch for each of the first
    six.
    """
    one_each = groups_of(**{name: [number] for number, name in enumerate(GROUPS[:6])})
    return int(crfr_p(one_each, 0.5, generator(seed))[1].nonzero()[0, 1])


def seed_for(region: str) -> int:
    return next(seed for seed in range(200) if drawn_by(seed) == GROUPS.index(region))


def test_landmark_parser_looks_into_the_central_face_box(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = []

    def mesh(image: np.ndarray, box: np.ndarray) -> np.ndarray:
        boxes.append(box)
        return round_face(130)

    regions = LandmarkParser(mesh, 0.3)(np.zeros((130, 130, 3), np.uint8))
    np.testing.assert_allclose(
        boxes, [[15, 15, 115, 115]], rtol=1e-6
    )  # 130 / 1.3 = 100 in the middle
    np.testing.assert_array_equal(regions, region_map(round_face(130), 130))


def test_landmark_parser_finds_the_regions_of_a_portrait(assets: Path, tile: np.ndarray) -> None:
    crop = cv2.resize(tile[20:340, 60:380], (224, 224))
    regions = LandmarkParser(landmarks.FaceMesh(assets / "face_landmarks.tflite"), 0.3)(crop)
    assert set(range(8)) | {9, 10} <= set(np.unique(regions))
    height = {number: np.nonzero(regions == number)[0].mean() for number in (10, 2, 4, 6, 7)}
    assert list(height.values()) == sorted(height.values()), "hair above brows, eyes, nose, mouth"
    left = {number: np.nonzero(regions == number)[1].mean() for number in (2, 3, 4, 5)}
    assert left[2] < left[3] and left[4] < left[5], "the person's right is at the left of the image"


def test_a_patch_belongs_to_every_region_of_which_it_has_a_pixel() -> None:
    regions = np.zeros((6, 6), np.int8)
    regions[:2, :2] = 1  # patch 0: skin only
    regions[1, 3] = 2  # patch 1: one pixel of a brow, background
    regions[0, 4], regions[1, 5] = 1, 10  # patch 2: skin and hair, background
    regions[2:4, 0], regions[2:4, 1] = 4, 6  # patch 3: eye and nose
    regions[2:4, 2:4] = 8  # patch 4: inner mouth
    regions[3, 5] = 1  # patch 5: skin and background
    expected = {
        "brows": [1],
        "eyes": [3],
        "nose": [3],
        "mouth": [4],
        "boundary": [2, 5],
        "hair": [2],
        "skin": [0, 2, 5],
        "background": [1, 2, 5, 6, 7, 8],
    }
    actual = patch_regions(regions, 2)
    assert actual.shape == (8, 9) and actual.dtype == bool
    assert {
        name: list(np.flatnonzero(row)) for name, row in zip(GROUPS, actual, strict=True)
    } == expected


def test_map_without_whole_patches_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"224 pixels cannot be divided into patches of 15: correct train.input_size",
    ):
        patch_regions(np.zeros((224, 224), np.int8), 15)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 5),
    side=st.integers(3, 9),
    ratio=st.sampled_from([0.3, 0.5, 0.75, 0.9]),
    density=st.floats(0.0, 1.0),
)
def test_every_image_loses_exactly_the_same_number_of_patches(
    seed, batch, side, ratio, density
) -> None:
    """Whatever the regions: empty, overlapping, or larger than what may be hidden."""
    patches = side * side
    groups = torch.rand(batch, 8, patches, generator=generator(seed)) < density
    hidden, facial = crfr_p(groups, ratio, generator(seed))
    total = int(ratio * patches)
    assert hidden.dtype == facial.dtype == torch.bool and hidden.shape == facial.shape == (
        batch,
        patches,
    )
    assert (hidden.sum(1) == total).all()
    assert not (facial & ~hidden).any()
    region = groups[:, drawn_by(seed)]
    assert not (facial & ~region).any()
    assert torch.equal(facial.sum(1), region.sum(1).clamp(max=total)), (
        "whole, as far as there is room"
    )


def test_the_six_regions_are_drawn_equally_often() -> None:
    draws = np.bincount([drawn_by(seed) for seed in range(3000)], minlength=8)
    assert draws[6:].sum() == 0, "skin and background are never hidden whole"
    chi_square = ((draws[:6] - 500) ** 2 / 500).sum()
    assert chi_square < 20.5, "5 degrees of freedom: 0.1 % of fair draws are above this"


def test_one_region_is_drawn_for_the_whole_batch() -> None:
    one_each = groups_of(**{name: [number] for number, name in enumerate(GROUPS[:6])}).expand(
        16, -1, -1
    )
    assert (
        len(
            {tuple(row.nonzero().ravel().tolist()) for row in crfr_p(one_each, 0.5, generator())[1]}
        )
        == 1
    )


def test_the_other_regions_lose_the_same_share() -> None:
    """100 patches, 75 to hide, 10 of them the eyes: rho = 65 / 90; of 18, 36 and 36 others 13, 26,
    26 are hidden.
    """
    parts = {
        "eyes": range(10),
        "nose": range(10, 28),
        "skin": range(28, 64),
        "background": range(64, 100),
    }
    groups = groups_of(**{name: list(patches) for name, patches in parts.items()})
    masks = []
    for seed in [seed for seed in range(120) if drawn_by(seed) == GROUPS.index("eyes")]:
        hidden, facial = crfr_p(groups, 0.75, generator(seed))
        counts = {name: int(hidden[0, list(patches)].sum()) for name, patches in parts.items()}
        assert counts == {"eyes": 10, "nose": 13, "skin": 26, "background": 26}
        assert facial[0].nonzero().ravel().tolist() == list(range(10))
        masks.append(hidden)
    assert len(masks) > 5
    share = torch.cat(masks)[:, 10:].double().mean(0)
    assert share.min() > 0.2 and share.max() > share.min(), "which patches is left to chance"


def test_a_patch_of_two_regions_counts_for_the_first_of_them() -> None:
    """Mouth hidden whole (20): rho = 30 / 80. Nose: 16 new patches, 6 hidden; skin: the 64 left, 24
    hidden.
    """
    groups = groups_of(mouth=list(range(20)), nose=list(range(10, 36)), skin=list(range(100)))
    hidden, _ = crfr_p(groups, 0.5, generator(seed_for("mouth")))
    assert (
        int(hidden[0, :20].sum()) == 20
        and int(hidden[0, 20:36].sum()) == 6
        and int(hidden[0, 36:].sum()) == 24
    )


def test_rounding_is_made_good_outside_the_region() -> None:
    """Hair whole (1): rho = 49 / 99; seven groups of one patch round to 0 each, 92 to 46: three are
    added.
    """
    small = {name: [number] for number, name in enumerate(GROUPS[:7]) if name != "hair"}
    groups = groups_of(**small, hair=[7], background=list(range(8, 100)))
    hidden, facial = crfr_p(groups, 0.5, generator(seed_for("hair")))
    assert int(hidden.sum()) == 50 and hidden[0, 7] and facial[0].nonzero().ravel().tolist() == [7]


def test_same_generator_state_same_masks_and_another_state_others() -> None:
    groups = torch.rand(4, 8, 64, generator=generator(1)) < 0.3
    once, again, other = (crfr_p(groups, 0.75, generator(seed))[0] for seed in (3, 3, 4))
    assert torch.equal(once, again) and not torch.equal(once, other)


@pytest.mark.parametrize("ratio", [0.0, 1.0, 1.5])
def test_ratio_that_hides_nothing_or_all_is_refused(ratio: float) -> None:
    with pytest.raises(
        ValueError, match=f"^pretrain.mask_ratio is {ratio}: give a share between 0 and 1"
    ):
        crfr_p(torch.zeros(1, 8, 4, dtype=torch.bool), ratio, generator())


def tables(splits: dict[str, str], labels: dict[str, int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    sample = pd.DataFrame(
        {"video_id": list(labels), "frame": 0, "face": 0, "label": list(labels.values())}
    )
    return sample, pd.DataFrame({"video_id": list(splits), "split": list(splits.values())})


def test_only_real_crops_of_the_training_split_remain() -> None:
    sample, index = tables({"a": "train", "b": "train", "c": "test"}, {"b": 0, "a": 1})
    assert real_training_faces(sample, index)["video_id"].tolist() == ["b"]


@pytest.mark.parametrize("split", ["test", "val", None])
def test_a_crop_outside_the_training_split_is_an_error(split: str | None) -> None:
    sample, index = tables({"a": "train"} | ({"x/7": split} if split else {}), {"a": 0, "x/7": 0})
    with pytest.raises(
        ValueError, match=r"^video x/7 is in the training sample but not in split train"
    ):
        real_training_faces(sample, index)


def test_a_sample_of_fakes_only_is_an_error() -> None:
    with pytest.raises(ValueError, match="no real crop"):
        real_training_faces(*tables({"a": "train"}, {"a": 1}))


@pytest.fixture
def store(tmp_path: Path) -> CropStore:
    """Two crops [20, 20] whose red is 10 times the row, green 10 times the column."""
    image = np.zeros((20, 20, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(20)[:, None] * 10, np.arange(20) * 10
    row = {
        "frame": 0,
        "seconds": 0.0,
        "face": 0,
        "x0": 0.0,
        "y0": 0.0,
        "x1": 1.0,
        "y1": 1.0,
        "score": 1.0,
        "landmarks": [0.0] * 10,
        "width": 20,
        "height": 20,
        "image": encode(image, "png"),
    }
    write_part(tmp_path / "x.arrow", [{**row, "video_id": name} for name in ("a", "b")])
    return CropStore(tmp_path)


def parse(image: np.ndarray) -> np.ndarray:
    """Left of column 10 skin, right of it hair: a rule by pixel that the test can repeat on a
    window.
    """
    return np.where(image[..., 1] < 100, 1, 10).astype(np.int8)


def rows(label: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"video_id": ["b", "a"], "frame": 0, "face": 0, "label": label})


def test_window_and_regions_are_cut_at_the_same_place(store: CropStore) -> None:
    faces = RealFaces(store, rows(), parse, "windows", 8, 2, PLAIN)
    corners = set()
    torch.manual_seed(0)
    for _ in range(60):
        image, groups, item = faces[1]
        pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        assert item == 1 and image.dtype == torch.float32 and image.shape == (3, 8, 8)
        np.testing.assert_array_equal(groups.numpy(), patch_regions(parse(pixels), 2))
        corners.add((int(pixels[0, 0, 0]) // 10, int(pixels[0, 0, 1]) // 10))
    assert (
        len(corners) > 30
        and {y for y, _ in corners} <= set(range(13))
        and {x for _, x in corners} <= set(range(13))
    )


def test_whole_crop_is_resized_with_its_regions_and_normalised(store: CropStore) -> None:
    norm = Normalisation((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
    image, groups, _ = RealFaces(store, rows(), parse, "fsfm", 10, 5, norm)[0]
    green = (np.arange(10) * 20 + 5) / 255  # mean of two columns
    np.testing.assert_allclose(image[1], np.tile((green - 0.4) / 0.25, (10, 1)), atol=0.01)
    np.testing.assert_allclose(image[2], np.full((10, 10), -0.6), rtol=1e-5)
    assert groups[GROUPS.index("skin")].tolist() == [True, False, True, False]
    assert groups[GROUPS.index("hair")].tolist() == [False, True, False, True]


def test_fake_crop_and_unknown_view_are_refused(store: CropStore) -> None:
    with pytest.raises(ValueError, match=r"^crop of b is fake: pre-train on real faces$"):
        RealFaces(store, rows(label=1), parse, "windows", 8, 2, PLAIN)
    with pytest.raises(ValueError, match=r"train.augmentation is 'tiles'; known: fsfm, windows"):
        RealFaces(store, rows(), parse, "tiles", 8, 2, PLAIN)


def test_regions_by_worker_processes_are_the_same(store: CropStore) -> None:
    one, two = (
        RealFaces(store, rows(), parse, "fsfm", 10, 5, PLAIN, workers=workers) for workers in (0, 2)
    )
    np.testing.assert_array_equal(one.regions, two.regions)
    assert one.regions.shape == (2, 4) and one.regions.dtype == np.uint8


def test_measured_normalisation_is_that_of_all_pixels(store: CropStore) -> None:
    norm = measure_normalisation(store, rows())
    ramp = np.arange(20) * 10 / 255
    np.testing.assert_allclose(norm.mean, [ramp.mean(), ramp.mean(), 0.0])
    np.testing.assert_allclose(norm.std, [ramp.std(), ramp.std(), 0.0], atol=1e-12)


def test_faces_of_a_corpus_are_its_real_training_crops() -> None:
    index = pd.DataFrame(
        {
            "video_id": list("abcde"),
            "dataset": ["faces", "faces", "faces", "other", "faces"],
            "label": [0, 1, 0, 0, 0],
            "split": ["train", "train", "test", "train", "none"],
        }
    )
    crops = pd.DataFrame(
        {"video_id": ["a", "a", "b", "c", "d", "e"], "frame": [0, 1, 0, 0, 0, 0], "face": 0}
    )
    actual = real_faces_of("faces", crops, index)
    assert actual[["video_id", "frame", "label"]].values.tolist() == [
        ["a", 0, 0],
        ["a", 1, 0],
        ["e", 0, 0],
    ]
    with pytest.raises(
        ValueError,
        match=r"^pretrain.faces is 'none', but the store has no real training crop of it",
    ):
        real_faces_of("none", crops, index)
