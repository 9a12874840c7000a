"""Crops, views and aggregation of other code bases against their definitions; manifests."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from deepfake_repro.crops.extraction import crop, enlarge
from deepfake_repro.crops.shapes import RecipeCrops, align, cut
from deepfake_repro.detectors.aggregation import AGGREGATIONS, select_faces
from deepfake_repro.detectors.catalogue import ARCFACE_TEMPLATE, RELEASED
from deepfake_repro.detectors.loading import NETWORKS
from deepfake_repro.detectors.manifest import Crop, DetectorManifest, View
from deepfake_repro.detectors.views import view_transform
from deepfake_repro.project.params import load
from support.published_crops import gend_align

IMAGE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
POINTS = np.array([[60, 50], [90, 52], [75, 66], [63, 80], [88, 81]], np.float32)


def recipe(**options) -> RecipeCrops:
    base = asdict(load().profile("demo").crops)
    return RecipeCrops(**{**base, "margin": 0.3, "size": 0, **options})


def test_a_square_has_the_longer_side_and_ends_at_the_frame() -> None:
    """FSFM: box of 40 × 60 about (80, 60), square of 1.3 × 60 = 78 pixels."""
    box = np.array([60.0, 30.0, 100.0, 90.0])
    square = cut(IMAGE, box, POINTS, recipe(shape="square", border="clip"))
    assert np.array_equal(square, IMAGE[21:99, 41:119])
    corner = cut(IMAGE, np.array([0.0, 0, 40, 40]), POINTS, recipe(shape="square", border="clip"))
    assert np.array_equal(corner, IMAGE[:46, :46])


def test_sbi_and_dfdc_crops_are_as_in_their_code() -> None:
    x0, y0, x1, y1 = 20, 16, 84, 96  # sides 64 and 80
    box = np.array([x0, y0, x1, y1], float)
    sbi = cut(
        IMAGE,
        box,
        POINTS,
        recipe(margin=0.25, size=380, border="clip", interpolation="bilinear"),
    )
    window = IMAGE[y0 - 10 : y1 + 10, x0 - 8 : x1 + 8]
    assert np.array_equal(sbi, cv2.resize(window, (380, 380), interpolation=cv2.INTER_LINEAR))
    box = np.array([30, 30, 90, 90], float)
    dfdc = cut(IMAGE, box, POINTS, recipe(margin=2 / 3, border="clip"))
    assert np.array_equal(dfdc, IMAGE[10:110, 10:110])


def test_the_papers_own_recipe_is_cut_as_before() -> None:
    base = load().profile("demo").crops
    assert Crop(base.margin, base.size, frames=base.frames_per_clip).options(base) == base
    box = np.array([30.0, 20.0, 171.0, 100.0])
    (window,) = enlarge(box[None], 0.3)
    ours = cut(IMAGE, box, POINTS, recipe(size=64, border="repeat"))
    theirs = crop(IMAGE, window, 64)
    assert np.abs(ours.astype(int) - theirs).max() <= 1  # bilinear in integers or not


def test_alignment_is_gends() -> None:
    options = RELEASED["gend_clip_l14"].manifest.crop.options(load().profile("demo").crops)
    ours = cut(IMAGE, np.zeros(4), POINTS, options)
    theirs = gend_align(IMAGE, POINTS)
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 2


@pytest.mark.parametrize(("angle", "scale", "shift"), [(0, 1, 0), (35, 1.4, -9), (-20, 0.8, 6.3)])
def test_alignment_undoes_any_similarity(angle: float, scale: float, shift: float) -> None:
    """Landmarks that are a turned, scaled and moved template come to the template."""
    options = recipe(shape="aligned", size=96, template=ARCFACE_TEMPLATE, interpolation="bilinear")
    wanted = ((np.array(ARCFACE_TEMPLATE) - 0.5) / 1.3 + 0.5) * 96
    turn = np.radians(angle)
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = ((wanted - 48) @ rotation.T + 80 + shift).astype(np.float32)
    spots = np.zeros((200, 200, 3), np.uint8)
    for x, y in points:
        cv2.circle(
            spots, (round(x * 16), round(y * 16)), round(4 * scale * 16), (255,) * 3, -1, shift=4
        )
    aligned = align(spots, points, options)[..., 0].astype(float)
    for x, y in wanted:
        near = aligned[int(y) - 7 : int(y) + 9, int(x) - 7 : int(x) + 9]
        rows, columns = np.mgrid[int(y) - 7 : int(y) + 9, int(x) - 7 : int(x) + 9]
        centre = ((columns * near).sum() / near.sum(), (rows * near).sum() / near.sum())
        assert np.hypot(centre[0] - x, centre[1] - y) < 1.2


def test_the_central_view_is_torchvisions_of_a_picture() -> None:
    """CLIP's processor and FSFM's evaluation: Pillow's resize of the shorter side, centre crop."""
    mean, std = (0.48, 0.45, 0.40), (0.26, 0.26, 0.27)
    for size, resize, shape in ((64, 64, (97, 140)), (56, 64, (140, 97)), (64, 64, (50, 50))):
        image = IMAGE[: shape[0], : shape[1]] if shape[0] <= 120 else IMAGE.transpose(1, 0, 2)
        theirs = v2.Compose(
            [
                v2.Resize(resize, v2.InterpolationMode.BICUBIC),
                v2.CenterCrop(size),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(mean, std),
            ]
        )(Image.fromarray(np.ascontiguousarray(image)))
        ours = view_transform(View(size, mean, std, "centre", resize))(np.ascontiguousarray(image))
        assert torch.allclose(ours[0], theirs, atol=1e-6)


def test_the_padded_view_keeps_proportions_on_black_and_flips() -> None:
    view = View(64, (0, 0, 0), (1, 1, 1), "pad", flip=True)
    both = view_transform(view)(IMAGE)
    assert both.shape == (2, 3, 64, 64)
    assert torch.equal(both[0], both[1].flip(-1))
    assert not both[0, :, :8].any() and not both[0, :, 56:].any()
    inner = (both[0, :, 8:56] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(inner, cv2.resize(IMAGE, (64, 48), interpolation=cv2.INTER_AREA))


def test_faces_and_aggregation_of_a_hand_made_video() -> None:
    areas, scores = np.array([100.0, 49.0, 50.0]), np.array([0.7, 0.9, 0.8])
    assert select_faces("all", areas, scores).tolist() == [True] * 3
    assert select_faces("half", areas, scores).tolist() == [True, False, True]
    assert select_faces("largest", areas, scores).tolist() == [True, False, False]
    assert select_faces("surest", areas, scores).tolist() == [False, True, False]
    frames, faces = np.array([0, 0, 3, 3, 3]), np.array([0.1, 0.5, 0.2, 0.3, 0.9])
    assert AGGREGATIONS["mean"](frames, faces) == pytest.approx(0.4)
    assert AGGREGATIONS["frame_max"](frames, faces) == pytest.approx(0.7)
    assert AGGREGATIONS["confident"](frames, faces) == pytest.approx(0.4)
    fakes = np.array([0.9] * 12 + [0.1] * 13)
    assert AGGREGATIONS["confident"](fakes, fakes) == pytest.approx(0.9)
    few = np.array([0.9] * 11 + [0.1] * 9)
    assert AGGREGATIONS["confident"](few, few) == pytest.approx(few.mean())
    reals = np.array([0.1] * 19 + [0.9])
    assert AGGREGATIONS["confident"](reals, reals) == pytest.approx(0.1)


@pytest.mark.parametrize("name", RELEASED)
def test_every_released_detector_has_a_manifest_that_reads_back(name: str, tmp_path: Path) -> None:
    manifest = RELEASED[name].manifest
    manifest.write(tmp_path)
    assert DetectorManifest.read(tmp_path) == manifest
    assert manifest.network in NETWORKS
    assert manifest.weights.licence and manifest.weights.source.startswith("https://")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": 1}, "key 'colour' is unknown; known: name, network"),
        ({"name": None}, "name must be str, not None"),
        ({"crop": {"margin": 0.3}}, "key 'crop.size' is missing"),
        ({"crop": {"margin": 0.3, "size": "224"}}, "crop.size must be int, not '224'"),
        ({"crop": {"margin": 0.3, "size": 9, "shape": "round"}}, "crop.shape is 'round'; known: s"),
        (
            {"crop": {"margin": 0.3, "size": 9, "shape": "aligned"}},
            "template must have five points",
        ),
        ({"view": {"size": 9, "mean": [0, 0], "std": [1, 1, 1]}}, "view.mean must be a list"),
        ({"aggregation": "median"}, "aggregation is 'median'; known: mean, frame_max, confident"),
        ({"classes": ["fake", "spoof"]}, "with 'real' among them"),
        ({"network": "onnx"}, "key 'view' is missing: only a python detector"),
        ({"weights": {"file": "../x"}}, "weights.file must be a file name"),
    ],
)
def test_a_wrong_manifest_is_refused_by_its_key(change: dict, words: str, tmp_path: Path) -> None:
    good = {"name": "mine", "network": "python", "weights": {"file": "predict.py"}}
    assert DetectorManifest.from_json(good, "f").crop is None
    (tmp_path / "detector.json").write_text(json.dumps(good | change))
    with pytest.raises(ValueError, match=r"detector\.json: ") as refused:
        DetectorManifest.read(tmp_path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
