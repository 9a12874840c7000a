"""The faces that SBI learns from, and their landmarks."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest

from deepfake_repro.crops.store import CropStore
from deepfake_repro.faces import hulls
from deepfake_repro.faces.landmarks import FaceMesh
from deepfake_repro.methods.sbi.faces import RealCrops, crop_points, real_faces
from support.toy_sbi import BLEND, RECIPE, table, write

pytestmark = pytest.mark.usefixtures("one_thread")


def test_landmarks_and_hulls_of_a_portrait(assets, tile, tmp_path):
    crop = cv2.resize(tile[:, 40:400], (224, 224), interpolation=cv2.INTER_AREA)
    write(tmp_path, [crop])
    rows = table(1)
    points = crop_points(CropStore(tmp_path), rows, FaceMesh(assets / "face_landmarks.tflite"), 0.3)
    actual = np.reshape(points["points"][0], (81, 2))
    jaw, forehead, right_eye, left_eye, mouth = (
        actual[a:b] for a, b in ((0, 17), (68, 81), (36, 42), (42, 48), (48, 68))
    )
    assert forehead[:, 1].mean() < right_eye[:, 1].mean() < mouth[:, 1].mean() < jaw[8, 1]
    assert right_eye[:, 0].max() < mouth[:, 0].mean() < left_eye[:, 0].min()
    assert (np.diff(jaw[1:-1, 0]) > 0).all() and (np.diff(forehead[2:-2, 0]) > 0).all()
    masks = {kind: hulls.hull(actual, kind, 224).astype(bool) for kind in hulls.HULLS}
    short = hulls.hull(actual[:68], "face", 224).astype(bool)
    sizes = {kind: mask.sum() for kind, mask in masks.items()}
    assert (
        sizes["components"] < sizes["extended"] < sizes["face"]
        and sizes["full"] <= short.sum() < sizes["face"]
    )
    for mask in masks.values():
        inside = [
            mask[round(float(y)), round(float(x))]
            for x, y in (right_eye.mean(0), left_eye.mean(0), mouth.mean(0))
        ]
        assert all(inside) and not mask[0].any()
        assert cv2.connectedComponents(mask.astype(np.uint8))[0] == 2  # one piece, and the rest


def sample_and_index():
    """Real a (ten crops) and b (two) of ffpp, real c of dfdc (three), fake d."""
    counts = {"a": 10, "b": 2, "c": 3, "d": 4}
    rows = [
        (name, frame, 0, int(name == "d"), "dfdc" if name == "c" else "ffpp")
        for name, count in counts.items()
        for frame in range(count)
    ]
    sample = pd.DataFrame(rows, columns=["video_id", "frame", "face", "label", "dataset"])
    return sample, pd.DataFrame({"video_id": list(counts), "split": "train"})


def test_faces_are_real_of_the_corpus_and_spread_over_each_video():
    sample, index = sample_and_index()
    every = real_faces(sample, index, "train", replace(RECIPE, crops_per_video=4))
    assert every.groupby("video_id").size().to_dict() == {"a": 4, "b": 2, "c": 3}
    frames = every.loc[every["video_id"] == "a", "frame"].tolist()
    assert frames[0] == 0 and np.ptp(np.diff(frames)) <= 1
    of_ffpp = real_faces(sample, index, "train", replace(RECIPE, faces="ffpp", crops_per_video=99))
    assert of_ffpp.groupby("video_id").size().to_dict() == {"a": 10, "b": 2}
    with pytest.raises(ValueError, match="video a is in the sample but not in split val"):
        real_faces(sample, index, "val", RECIPE)
    with pytest.raises(
        ValueError, match=r"sbi.faces is 'celebdf2', but split train has no real crop of it"
    ):
        real_faces(sample, index, "train", replace(RECIPE, faces="celebdf2"))


def test_fake_crops_and_crops_without_landmarks_are_refused(tmp_path):
    write(tmp_path, np.zeros((2, 8, 8, 3), np.uint8))
    points = table(2)[["video_id", "frame", "face"]].assign(points=[np.zeros(162, np.float32)] * 2)
    with pytest.raises(ValueError, match="crop of v0 is fake"):
        RealCrops(CropStore(tmp_path), table(2, 1), points, BLEND)
    with pytest.raises(ValueError, match="no landmarks of a crop of v1: rerun the landmarks stage"):
        RealCrops(CropStore(tmp_path), table(2), points[:1], BLEND)
