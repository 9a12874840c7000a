"""Views of a crop: normalisation and windows by hand, FSFM's settings read off timm's transform."""

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.auto_augment import RandAugment
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import RandomResizedCropAndInterpolation
from torchvision.transforms import InterpolationMode

from deepfake_repro.training.transforms import (
    AUGMENTATIONS,
    Normalisation,
    evaluation_transform,
    training_transform,
)

NORM = Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
HALF = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SIZE = 112


def crop(size=224, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def by_hand(image):
    """float32 ``[3, H, W]``: scaled to 0-1, less the mean, over the standard deviation."""
    return torch.from_numpy((image / 255 - NORM.mean) / NORM.std).permute(2, 0, 1).float()


def coordinates(size=224):
    """An image that holds its own row and column in red and green."""
    ys, xs = np.mgrid[0:size, 0:size].astype(np.uint8)
    return np.stack([ys, xs, np.zeros_like(xs)], -1)


def corners(views):
    """Row and column of the first pixel of each view of ``coordinates()``."""
    back = views * torch.tensor(NORM.std)[:, None, None] + torch.tensor(NORM.mean)[:, None, None]
    return [tuple(int(v) for v in (view[:2, 0, 0] * 255).round()) for view in back]


def test_a_window_is_the_crops_own_pixels_normalised():
    image = crop()
    views = evaluation_transform("windows", SIZE, NORM)(image)
    for view, (y, x) in zip(
        views, corners(evaluation_transform("windows", SIZE, NORM)(coordinates())), strict=True
    ):
        torch.testing.assert_close(
            view, by_hand(image[y : y + SIZE, x : x + SIZE]), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("size", [64, 112, 200])
def test_four_windows_inside_the_crop_symmetric_about_its_centre(size):
    views = evaluation_transform("windows", size, NORM)(coordinates())
    actual = corners(views)
    assert views.shape == (4, 3, size, size) and len(set(actual)) == 4
    assert all(0 <= y <= 224 - size and 0 <= x <= 224 - size for y, x in actual)
    mirrored = {(224 - size - y, 224 - size - x) for y, x in actual}
    assert mirrored == set(actual) == {(224 - size - y, x) for y, x in actual}


def test_the_demos_windows_cover_the_face_without_a_gap():
    seen = np.zeros((224, 224), bool)
    for y, x in corners(evaluation_transform("windows", SIZE, NORM)(coordinates())):
        seen[y : y + SIZE, x : x + SIZE] = True
    border = round(224 * 0.15 / 1.3)  # what the enlargement by 30 % added on each side of the box
    assert seen[border:-border, border:-border].all()


def test_windows_of_training_are_native_pixels_anywhere_and_mirrored_half_the_time():
    torch.manual_seed(0)
    transform, image = training_transform("windows", SIZE, NORM), by_hand(crop())
    mirrored, seen = 0, set()
    for _ in range(60):
        view = transform(crop())
        assert view.shape == (3, SIZE, SIZE) and view.dtype == torch.float32
        actual = [
            (flip, position)
            for flip, whole in ((False, image), (True, image.flip(2)))
            for position in find(whole, view)
        ]
        assert len(actual) == 1
        mirrored += actual[0][0]
        seen.add(actual[0][1])
    assert 15 <= mirrored <= 45 and len(seen) > 50


def find(whole, view):
    """Find ``view`` in ``whole``: compare windows whose first pixel fits."""
    limit = whole.shape[1] - view.shape[1] + 1
    near = ((whole[:, :limit, :limit] - view[:, :1, :1]).abs() < 1e-4).all(0).nonzero().tolist()
    return [
        (y, x)
        for y, x in near
        if torch.allclose(whole[:, y : y + SIZE, x : x + SIZE], view, atol=1e-4)
    ]


def test_training_follows_fsfms_settings():
    _, transform = training_transform("fsfm", 224, NORM).transforms
    steps = {type(step): step for step in transform.transforms}
    cropping = steps[RandomResizedCropAndInterpolation]
    assert cropping.interpolation == InterpolationMode.BILINEAR and tuple(cropping.size) == (
        224,
        224,
    )
    assert tuple(cropping.scale) == (0.08, 1.0)
    assert steps[RandAugment].num_layers == 2
    assert {(op.magnitude, op.magnitude_std) for op in steps[RandAugment].ops} == {(9, 0.5)}
    erasing = steps[RandomErasing]
    assert (erasing.probability, erasing.mode, erasing.min_count, erasing.max_count) == (
        0.25,
        "pixel",
        1,
        1,
    )
    assert "ColorJitter" not in str(transform)


def test_posterize_at_full_magnitude_blackens_as_the_pillow_of_fsfms_time_did():
    _, transform = training_transform("fsfm", 224, NORM).transforms
    operations = next(step for step in transform.transforms if isinstance(step, RandAugment)).ops
    operation = next(
        operation for operation in operations if operation.name == "PosterizeIncreasing"
    )
    image = Image.fromarray(crop())
    for magnitude, bits in ((10, 0), (9, 1), (5, 2)):
        actual = np.asarray(
            operation.aug_fn(image, *operation.level_fn(magnitude, {}), **operation.kwargs)
        )
        assert np.array_equal(actual, np.asarray(image) & (0xFF00 >> bits & 0xFF)), magnitude


def test_fsfm_training_gives_normalised_images_that_differ():
    torch.manual_seed(0)
    transform = training_transform("fsfm", 64, NORM)
    one, two = transform(crop()), transform(crop())
    assert one.shape == (3, 64, 64) and one.dtype == torch.float32
    assert not torch.equal(one, two)


def test_fsfm_training_normalises_by_the_given_constants():
    steps = training_transform("fsfm", 32, NORM).transforms[1].transforms
    normalise = next(step for step in steps if type(step).__name__ == "Normalize")
    grey = torch.full((3, 4, 4), 0.5)
    assert torch.equal(
        normalise(grey),
        (grey - torch.tensor(NORM.mean)[:, None, None]) / torch.tensor(NORM.std)[:, None, None],
    )


def test_evaluation_is_resize_to_256_and_the_centre_224():
    """The reference is Pillow's own bicubic, which torchvision follows up to rounding."""
    smooth = np.array(Image.fromarray(crop(16)).resize((224, 224), Image.Resampling.BICUBIC))
    view = evaluation_transform("fsfm", 224, NORM)(smooth)
    assert view.shape == (1, 3, 224, 224)
    large = np.array(Image.fromarray(smooth).resize((256, 256), Image.Resampling.BICUBIC))
    assert (view[0] - by_hand(large[16:240, 16:240])).abs().max() < 1.5 / 255 / min(NORM.std)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_evaluation_is_always_the_same(kind):
    transform = evaluation_transform(kind, SIZE, NORM)
    assert torch.equal(transform(crop()), transform(crop()))


@pytest.mark.parametrize("make", [training_transform, evaluation_transform])
def test_an_unknown_name_is_an_error_naming_the_key(make):
    with pytest.raises(ValueError, match=r"train.augmentation is 'heavy'; known: fsfm, windows"):
        make("heavy", SIZE, NORM)


def test_the_augmentation_is_the_published_list():
    flip, affine, rare, jitter, jpeg = training_transform("lnclip", 224, HALF).transforms[1:6]
    assert (flip.p, affine.degrees, affine.translate, affine.scale) == (
        0.5,
        [-10, 10],
        (0.1, 0.1),
        (0.9, 1.1),
    )
    (blur,) = rare.transforms
    assert (rare.p, blur.kernel_size, blur.sigma) == (0.1, (7, 7), [0.1, 2.0])
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == (
        (0.9, 1.1),
        (0.9, 1.1),
        None,
        None,
    )
    assert tuple(jpeg.quality) == (40, 100)


def test_augmented_and_evaluated_crops_are_whole_and_normalised():
    grey = np.full((256, 256, 3), 204, np.uint8)  # 0.8 on the unit scale, 0.6 normalised
    torch.manual_seed(0)
    trained = training_transform("lnclip", 224, HALF)(grey)
    (seen,) = evaluation_transform("lnclip", 224, HALF)(grey)
    assert trained.shape == seen.shape == (3, 224, 224) and trained.dtype == torch.float32
    torch.testing.assert_close(seen, torch.full_like(seen, 0.6))
    assert abs(float(trained[:, 80:140, 80:140].mean()) - 0.6) < 0.3
