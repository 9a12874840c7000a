"""Detector arithmetic against torchvision and naive loops; both detectors on synthetic people."""

import cv2
import numpy as np
import onnx
import pytest
import torch
import torchvision

from deepfake_repro.faces.detection import (
    MEAN_BGR,
    Faces,
    RetinaFaceNetwork,
    anchor_boxes,
    decode_boxes,
    decode_points,
    detector,
    intersection_over_union,
    non_maximum_suppression,
    shrink,
)


@pytest.fixture(scope="module")
def retinaface(assets):
    return detector("retinaface", weights=assets / "retinaface_mobilenet025.onnx")


def random_boxes(count, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 100, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], axis=1).astype(
        np.float32
    )


@pytest.mark.parametrize("overlap", [0.2, 0.4, 0.7])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_suppression_equals_torchvision(count, overlap):
    boxes = random_boxes(count)
    scores = np.random.default_rng(1).permutation(count).astype(np.float32)
    expected = torchvision.ops.nms(torch.tensor(boxes), torch.tensor(scores), overlap)
    assert non_maximum_suppression(boxes, scores, overlap).tolist() == expected.tolist()


def test_overlap_by_hand():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]], np.float32)
    assert intersection_over_union(boxes[0], boxes).tolist() == pytest.approx(
        [1, 50 / 150, 0, 4 / 100]
    )


def test_anchors_equal_a_naive_loop():
    height, width = 45, 70  # not multiples of any stride: cells are rounded up
    expected = [
        ((x + 0.5) * stride, (y + 0.5) * stride, side, side)
        for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
        for y in range(int(np.ceil(height / stride)))
        for x in range(int(np.ceil(width / stride)))
        for side in sides
    ]
    assert np.array_equal(anchor_boxes(height, width), np.array(expected, np.float32))


def test_decoding_by_hand():
    anchor = np.array([[100, 50, 20, 40]], np.float32)
    # centre 100 + 1·0.1·20, 50 + 2·0.1·40; size 20·e^(0.2·5·ln 2), 40
    box = decode_boxes(np.array([[1, 2, 5 * np.log(2), 0]], np.float32), anchor)
    assert box[0].tolist() == pytest.approx([102 - 20, 58 - 20, 102 + 20, 58 + 20])
    points = decode_points(np.arange(10, dtype=np.float32)[None], anchor)
    assert points[0].ravel().tolist() == pytest.approx(
        [100, 54, 104, 62, 108, 70, 112, 78, 116, 86]
    )


def test_shrink_keeps_aspect_and_small_images():
    assert shrink(np.zeros((300, 1200, 3), np.uint8), 640).shape == (160, 640, 3)
    small = np.zeros((20, 30, 3), np.uint8)
    assert shrink(small, 640) is small


def test_unknown_detector_names_the_key():
    with pytest.raises(
        ValueError, match=r"unknown crops\.detector 'haar': choose one of retinaface, mtcnn"
    ):
        detector("haar")


def test_missing_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the assets stage"):
        detector("retinaface", weights=tmp_path / "none.onnx")


def test_all_sixteen_faces_of_a_sheet(assets, sheet):
    weights = assets / "retinaface_mobilenet025.onnx"
    (faces,) = detector("retinaface", weights=weights, max_side=1600)([sheet])
    assert len(faces) == 16 and np.all(np.diff(faces.scores) <= 0)
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    cells = {(int(x // 600), int(y // 448)) for x, y in centres}
    assert cells == {(x, y) for x in range(4) for y in range(4)}
    inside = (faces.points > faces.boxes[:, None, :2]) & (faces.points < faces.boxes[:, None, 2:])
    assert inside.all()
    eye_left, eye_right, nose, mouth_left, mouth_right = faces.points.transpose(1, 2, 0)
    assert np.all(eye_left[0] < eye_right[0]) and np.all(mouth_left[0] < mouth_right[0])
    assert np.all(eye_left[1] < nose[1]) and np.all(nose[1] < mouth_left[1])


def test_two_faces_nothing_and_other_sizes_in_one_call(retinaface, tile):
    two = np.hstack([tile, tile])
    nothing = np.full((200, 300, 3), 90, np.uint8)
    counts = [faces.boxes.shape for faces in retinaface([two, nothing, tile])]
    assert counts == [(2, 4), (0, 4), (1, 4)]
    both = retinaface([two])[0].boxes
    assert abs(both[0, 0] - both[1, 0]) == pytest.approx(tile.shape[1], abs=5)


def test_boxes_are_mapped_back_and_clipped(retinaface, tile):
    large = cv2.resize(tile, (1600, 1200))
    (small,) = retinaface([shrink(large, 640)])
    (faces,) = retinaface([large])
    assert np.allclose(faces.boxes, small.boxes * 2.5)
    assert np.allclose(faces.points, small.points * 2.5)
    x0, _, x1, _ = retinaface([tile])[0].boxes[0].astype(int)
    (cut,) = retinaface([tile[:, (x0 + x1) // 2 - 40 :]])  # the face leaves the image on the left
    assert len(cut) == 1 and cut.boxes[0, 0] == 0
    assert cut.boxes.dtype == cut.points.dtype == cut.scores.dtype == np.float32


def test_detection_is_repeatable(retinaface, tile):
    first, second = retinaface([tile, tile])
    assert np.array_equal(first.boxes, second.boxes) and np.array_equal(first.points, second.points)


def test_mtcnn_agrees_with_retinaface(retinaface, tile):
    mtcnn = detector("mtcnn")
    threads = torch.get_num_threads()
    nothing, faces = mtcnn([np.full((120, 160, 3), 90, np.uint8), tile])
    assert torch.get_num_threads() == threads
    assert isinstance(nothing, Faces)
    assert nothing.boxes.shape == (0, 4) and nothing.points.shape == (0, 5, 2)
    (expected,) = retinaface([tile])
    assert len(faces) == 1 and faces.boxes.dtype == np.float32
    assert intersection_over_union(faces.boxes[0], expected.boxes)[0] > 0.5
    width = expected.boxes[0, 2] - expected.boxes[0, 0]
    assert np.abs(faces.points - expected.points).max() < 0.15 * width


def test_mtcnn_finds_no_face_in_images_smaller_than_a_face(tile):
    strip = np.zeros((900, 9, 3), np.uint8)
    detected = detector("mtcnn")([strip, np.zeros((1, 1, 3), np.uint8), tile, strip])
    assert [len(faces) for faces in detected] == [0, 0, 1, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 640), (3, 5), (9000, 2), (31, 640)])
def test_no_size_is_too_odd(retinaface, size):
    assert [len(faces) for faces in retinaface([np.full((*size, 3), 90, np.uint8)] * 2)] == [0, 0]


@pytest.mark.parametrize("name", ["retinaface", "mtcnn"])
def test_batches_equal_single_images(assets, tile, name):
    options = {"weights": assets / "retinaface_mobilenet025.onnx"} if name == "retinaface" else {}
    detect = detector(name, **options)
    images = [
        tile,
        cv2.flip(tile, 1),
        cv2.resize(tile, (500, 300)),
        np.roll(tile, 20, axis=0),
        tile[:, :400].copy(),
    ]
    singles = [detect([image])[0] for image in images]
    if name == "retinaface":
        detect._network.batch = 8  # as on a GPU
    for single, batched in zip(singles, detect(images), strict=True):
        assert len(single) == len(batched) == 1
        assert np.allclose(single.boxes, batched.boxes, atol=0.01)
        assert np.allclose(single.points, batched.points, atol=0.01)


def test_the_network_gets_bgr_minus_the_mean(retinaface, tile, monkeypatch):
    entered = {}
    run = retinaface._network._session.run

    class Session:
        def run(self, outputs, inputs):
            entered.update(inputs)
            return run(outputs, inputs)

    monkeypatch.setattr(retinaface._network, "_session", Session())
    retinaface([tile])
    expected = (tile[..., ::-1].astype(np.float32) - MEAN_BGR).transpose(2, 0, 1)[None]
    assert np.array_equal(entered["input"], expected)


def variant(source, path, size=None, logits=False):
    """The demo's network as exported elsewhere: other names and order, logits, a fixed size."""
    model = onnx.load(source)
    graph = model.graph
    if logits:
        softmax = next(node for node in graph.node if node.output[0] == "conf")
        graph.node.remove(softmax)
        renamed = {softmax.input[0]: "conf"}
    else:
        renamed = {}
    renamed |= {"loc": "bbox", "landmarks": "ldm", "input": "input0"}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    outputs = {renamed.get(value.name, value.name): value for value in graph.output}
    for name, value in outputs.items():
        value.name = name
    ordered = [
        onnx.ValueInfoProto.FromString(outputs[name].SerializeToString())
        for name in ("ldm", "bbox", "conf")
    ]
    del graph.output[:]
    graph.output.extend(ordered)
    graph.input[0].name = "input0"
    if size:
        for dimension, value in zip(
            graph.input[0].type.tensor_type.shape.dim, (1, 3, *size), strict=True
        ):
            dimension.dim_value = value
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("logits", [False, True])
def test_other_names_order_and_logits(assets, retinaface, tile, tmp_path, logits):
    path = variant(assets / "retinaface_mobilenet025.onnx", tmp_path / "r.onnx", logits=logits)
    (expected,) = retinaface([tile])
    (faces,) = detector("retinaface", weights=path)([tile])
    assert np.allclose(faces.boxes, expected.boxes) and np.allclose(faces.points, expected.points)
    assert np.allclose(faces.scores, expected.scores, atol=1e-6)


def test_a_fixed_size_is_padded_not_stretched(assets, retinaface, tile, tmp_path):
    path = variant(assets / "retinaface_mobilenet025.onnx", tmp_path / "r.onnx", size=(320, 320))
    fixed = detector("retinaface", weights=path)
    tall = np.vstack([tile, np.full_like(tile, 90)])
    for image in (tile, cv2.resize(tile, (1100, 900)), cv2.resize(tile, (220, 180)), tall):
        (faces,) = fixed([image])
        (expected,) = retinaface([image])
        assert len(faces) == len(expected) == 1
        assert intersection_over_union(faces.boxes[0], expected.boxes)[0] > 0.85


def constant_model(path, shapes, image=(1, 3, 64, 96)):
    """An ONNX file that returns zeros of ``shapes`` for any image."""
    make = onnx.helper
    values = [
        onnx.numpy_helper.from_array(np.zeros(shape, np.float32), f"c{i}")
        for i, shape in enumerate(shapes)
    ]
    nodes = [make.make_node("Identity", [f"c{i}"], [f"o{i}"]) for i in range(len(shapes))]
    info = make.make_tensor_value_info
    graph = make.make_graph(
        nodes,
        "g",
        [info("x", 1, image)],
        [info(f"o{i}", 1, shape) for i, shape in enumerate(shapes)],
        values,
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9), path)
    return path


ANCHORS = 2 * (8 * 12 + 4 * 6 + 2 * 3)  # two per cell of 64 × 96 pixels


@pytest.mark.parametrize(
    "shapes, image, message",
    [
        (
            [(1, ANCHORS, 4), (1, ANCHORS, 2)],
            (1, 3, 64, 96),
            r"64 × 96 pixels it returns .*expected the shapes",
        ),
        ([(1, ANCHORS, 4), (1, ANCHORS, 2), (1, ANCHORS, 8)], (1, 3, 64, 96), r"\(1, 252, 8\)"),
        ([(1, 99, 4), (1, 99, 2), (1, 99, 10)], (1, 3, 64, 96), r"\(1, 99, 4\).*\(1, 252, 4\)"),
        ([(1, 99, 1)] * 9, (1, 3, 64, 96), "it returns"),
        (
            [(1, ANCHORS, 4), (1, ANCHORS, 2), (1, ANCHORS, 10)],
            (1, 64, 96, 3),
            r"input x is \[1, 64, 96, 3\]",
        ),
    ],
)
def test_other_networks_are_named_in_one_line(tmp_path, shapes, image, message):
    path = constant_model(tmp_path / "other.onnx", shapes, image)
    with pytest.raises(ValueError, match=rf"other\.onnx: not a RetinaFace.*{message}") as raised:
        RetinaFaceNetwork(path)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_a_network_is_named_in_one_line(tmp_path):
    (tmp_path / "page.onnx").write_text("<html>404</html>\n" * 9)
    with pytest.raises(ValueError, match=r"page\.onnx: cannot be run as a RetinaFace") as raised:
        RetinaFaceNetwork(tmp_path / "page.onnx")
    assert "\n" not in str(raised.value)
