"""The face mesh on pictures of synthetic people: position, order, and how it follows the image."""

import cv2
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from deepfake_repro.crops.store import CropStore, write_part
from deepfake_repro.faces import landmarks
from deepfake_repro.faces.detection import RetinaFace
from deepfake_repro.faces.landmarks import FaceMesh
from deepfake_repro.methods.sbi.faces import crop_points
from deepfake_repro.training.loading import CROP_KEY
from support.random_crops import random_crops

POLYGONS = (
    "OVAL",
    "LIPS",
    "INNER_LIPS",
    "LEFT_EYE",
    "RIGHT_EYE",
    "LEFT_BROW",
    "RIGHT_BROW",
    "NOSE",
)


@pytest.fixture(scope="module")
def mesh(assets):
    return FaceMesh(assets / "face_landmarks.tflite")


@pytest.fixture(scope="module")
def faces(assets, sheet):
    return RetinaFace(assets / "retinaface_mobilenet025.onnx", max_side=1600)([sheet])[0]


@pytest.fixture(scope="module")
def meshes(mesh, faces, sheet):
    return [mesh(sheet, box) for box in faces.boxes]


def polygon(points, name):
    return points[list(getattr(landmarks, name))]


def inside(outline, point):
    return cv2.pointPolygonTest(outline.reshape(-1, 1, 2), tuple(map(float, point)), False) > 0


def test_agrees_with_the_detectors_own_points(meshes, faces):
    for points, five, box in zip(meshes, faces.points, faces.boxes, strict=True):
        eyes = [polygon(points, name).mean(axis=0) for name in ("RIGHT_EYE", "LEFT_EYE")]
        nose_tip, *mouth_corners = points[[4, 61, 291]]
        from_mesh = np.array([*eyes, nose_tip, *mouth_corners])
        assert np.linalg.norm(from_mesh - five, axis=1).max() < 0.16 * (box[2] - box[0])


def test_left_is_the_persons_own(meshes):
    for points in meshes:
        for kind in ("EYE", "BROW"):
            assert (
                polygon(points, f"RIGHT_{kind}")[:, 0].max()
                < polygon(points, f"LEFT_{kind}")[:, 0].min()
            )


def test_features_are_in_the_oval_and_in_order(meshes):
    for points in meshes:
        oval = polygon(points, "OVAL")
        middles = {name: polygon(points, name).mean(axis=0) for name in POLYGONS}
        assert all(inside(oval, middle) for middle in middles.values())
        assert (
            middles["LEFT_BROW"][1]
            < middles["LEFT_EYE"][1]
            < middles["NOSE"][1]
            < middles["LIPS"][1]
        )
        assert inside(polygon(points, "LIPS"), middles["INNER_LIPS"])


@pytest.mark.parametrize("name", POLYGONS)
def test_polygons_are_ordered(meshes, name):
    """On the face whose mouth is widest open, no edge of a polygon crosses another."""
    index = list(getattr(landmarks, name))
    assert len(set(index)) == len(index)
    open_mouth = max(meshes, key=lambda points: np.ptp(polygon(points, "INNER_LIPS")[:, 1]))
    corners = open_mouth[index].astype(float)
    edges = list(zip(corners, np.roll(corners, -1, axis=0), strict=True))

    def side(a, b, c):
        return np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    for first in range(len(edges)):
        for second in range(first + 2, len(edges) - (first == 0)):
            (a, b), (c, d) = edges[first], edges[second]
            assert side(a, b, c) * side(a, b, d) > 0 or side(c, d, a) * side(c, d, b) > 0


def test_moves_with_the_image(mesh, meshes, faces, sheet):
    shifted = np.roll(sheet, (11, 7), axis=(0, 1))
    points = mesh(shifted, faces.boxes[0] + np.array([7, 11, 7, 11]))
    assert np.abs(points - meshes[0] - [7, 11]).max() < 0.1


def test_turns_with_the_image_and_forgives_a_loose_box(mesh, meshes, faces, sheet):
    box = faces.boxes[0]
    width = box[2] - box[0]
    turn = cv2.getRotationMatrix2D(tuple(map(float, (box[:2] + box[2:]) / 2)), 25, 1)
    turned = mesh(cv2.warpAffine(sheet, turn, sheet.shape[1::-1]), box)
    expected = meshes[0] @ turn[:, :2].T + turn[:, 2]
    assert np.linalg.norm(turned - expected, axis=1).mean() < 0.02 * width
    loose = mesh(sheet, box + width * np.array([-0.1, -0.1, 0.1, 0.1]))
    assert np.linalg.norm(loose - meshes[0], axis=1).mean() < 0.02 * width


def test_missing_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the assets stage"):
        FaceMesh(tmp_path / "none.tflite")


def test_another_model_is_named(mesh, sheet, monkeypatch):
    monkeypatch.setattr(landmarks, "POINTS", 68)
    with pytest.raises(
        ValueError, match=r"face_landmarks\.tflite: not a landmark model, no output has 68 points"
    ):
        FaceMesh(mesh.model)(sheet, np.array([0, 0, 99, 99]))


class DroppedArgument(FaceMesh):
    """A face mesh whose runtime no longer has an argument."""

    @property
    def _network(self):
        return Interpreter(str(self.model), threads=self.threads)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_argument_dropped_by_the_runtime_stops_the_landmarks_with_its_message(
    mesh, tmp_path, workers
):
    """Also in the loader's processes: no crop is skipped silently."""
    write_part(tmp_path / "a.arrow", random_crops(3)[1])
    store = CropStore(tmp_path)
    with pytest.raises(TypeError, match="unexpected keyword argument 'threads'"):
        crop_points(store, store.table(CROP_KEY), DroppedArgument(mesh.model), 0.3, workers)
