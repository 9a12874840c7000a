"""Changed and annotated copies, decoded again with PyAV; and the guard around their making."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from deepfake_repro.cli import main
from deepfake_repro.scoring.clips.guarded import guarded
from deepfake_repro.scoring.clips.writing import (
    BAR,
    CHANGES,
    Seen,
    box_at,
    save_annotated,
    save_changed,
    save_changed_picture,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clip(
    tile: np.ndarray, make_clip: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Ten seconds of a face that moves to the right, two pictures a second."""
    folder = tmp_path_factory.mktemp("clips")
    return make_clip(folder / "clip.mp4", [np.roll(tile, 4 * i, axis=1) for i in range(20)], rate=2)


def decoded(path: Path) -> tuple[list[float], list[np.ndarray]]:
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(0)]
    return [time for time, _ in frames], [image for _, image in frames]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other).mean())


def test_copies_are_changed_as_named(clip: Path, tmp_path: Path) -> None:
    times, images = decoded(clip)
    copies = {}
    for change in CHANGES:
        out = tmp_path / f"{change}.mp4"
        assert save_changed(clip.parent, clip.name, out, change, 5.0) == pytest.approx(4.5)
        copy_times, copies[change] = decoded(out)
        assert copy_times == pytest.approx(times[:10], abs=2e-3)
    height, width = images[0].shape[:2]
    assert difference(copies["saved again"][3], images[3]) < 3
    assert difference(copies["mirrored"][3], images[3][:, ::-1]) < 3
    low, high = (tmp_path / f"{name}.mp4" for name in ("lower rate", "saved again"))
    assert low.stat().st_size < high.stat().st_size / 3
    small = cv2.resize(images[3], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    assert difference(copies["halved"][3], small) < 4
    bar = height // BAR
    boxed = copies["letterboxed"][3]
    assert boxed[: bar - 4].max() < 30 and boxed[bar - height :][-(bar - 4) :].max() < 30
    assert difference(boxed[bar : bar + height], images[3][: boxed.shape[0] - 2 * bar]) < 4


def test_a_photograph_is_changed_as_well(tile: np.ndarray, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), tile[..., ::-1])
    save_changed_picture(tmp_path, "photo.png", tmp_path / "out.png", "mirrored")
    assert np.array_equal(cv2.imread(str(tmp_path / "out.png"))[:, ::-1, ::-1], tile)


def test_boxes_are_interpolated_between_neighbouring_samples_only() -> None:
    boxes = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [50, 0, 60, 10]], float)
    track = Seen(np.array([0.0, 1.0, 5.0]), boxes, np.zeros(3), (0, 0, 0))
    for at, left in (
        (0.0, 0),
        (0.25, 2.5),
        (1.0, 10),
        (1.5, 10),
        (2.0, None),
        (4.6, 50),
        (6, None),
    ):
        box = box_at(track, at, interval=1.0)
        assert (None if box is None else box[0]) == (None if left is None else pytest.approx(left))


def test_boxes_are_drawn_where_the_face_is(clip: Path, tmp_path: Path) -> None:
    """On a black ground, so that only what is drawn is bright."""
    out = tmp_path / "annotated.mp4"
    black = tmp_path / "black.mp4"
    with av.open(str(black), "w") as container:
        stream = container.add_stream("libx264", rate=2)
        stream.width, stream.height, stream.pix_fmt = 400, 300, "yuv420p"
        for _ in range(8):
            frame = av.VideoFrame.from_ndarray(np.zeros((300, 400, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    boxes = np.array([[100, 100, 200, 200], [140, 100, 240, 200]], float)
    track = Seen(np.array([0.0, 1.0]), boxes, np.array([0.2, 0.8]), (0, 255, 0))
    save_annotated(black, out, [track], [[(0.0, "first"), (2.0, "second, longer")]])
    times, images = decoded(out)
    assert times == pytest.approx([i / 2 for i in range(8)], abs=2e-3)
    for number, left in ((0, 100), (1, 120), (2, 140)):
        green = images[number][..., 1].astype(int) - images[number][..., 0]
        columns = np.flatnonzero((green[120:190] > 100).mean(axis=0) > 0.8)
        assert abs(columns.min() - left) <= 3 and abs(columns.max() - left - 100) <= 3
    assert images[7][100:].max() < 40, "the face is gone"
    lengths = [np.flatnonzero(images[i][8:26].max(axis=(0, 2)) > 128).max() for i in (0, 4)]
    assert lengths[1] > 2 * lengths[0], "the line's text changes"


def test_a_guarded_function_answers_fails_and_is_ended(tmp_path: Path) -> None:
    assert guarded(60, os.path.join, "a", "b") == "a/b"
    with pytest.raises(ValueError, match="no frame can be decoded"):
        (tmp_path / "bad.mp4").write_bytes(b"no video")
        guarded(60, save_changed, tmp_path, "bad.mp4", tmp_path / "o.mp4", "mirrored", 5.0)
    with pytest.raises(ValueError, match="ended with code 7"):
        guarded(60, os._exit, 7)
    with pytest.raises(ValueError, match="took more than 1 seconds"):
        guarded(1, time.sleep, 300)


def test_the_command_writes_table_and_copy(clip: Path, tmp_path: Path) -> None:
    """The detector is the brightness of a crop, which neither mirror nor bars change."""
    bright = tmp_path / "bright"
    bright.mkdir()
    (bright / "predict.py").write_text(
        "def predict(crops):\n    return [crop.mean() / 255 for crop in crops]\n"
    )
    manifest = {"name": "bright", "network": "python", "weights": {"file": "predict.py"}}
    (bright / "detector.json").write_text(json.dumps(manifest))
    out = tmp_path / "out"
    command = ["score", str(clip), "--detector", str(bright), "--out", str(out)]
    assert main([*command, "--stress", "--video"]) == 0
    rows = {row["change"]: row for row in csv.DictReader((out / "stress.csv").open())}
    assert list(rows) == list(CHANGES) and not any(row["problem"] for row in rows.values())
    (record,) = (json.loads(file.read_text()) for file in out.glob("*.json"))
    control = float(rows["saved again"]["p_fake"])
    assert control == pytest.approx(record["p_fake"], abs=0.01)
    for row in rows.values():
        assert float(row["shift"]) == pytest.approx(float(row["p_fake"]) - control, abs=2e-4)
    assert abs(float(rows["mirrored"]["shift"])) < 0.02
    (page,) = (file.read_text() for file in out.glob("*.html"))
    (copy,) = out.glob("*.mp4")
    assert f'href="{copy.name}"' in page and "letterboxed" in page
    assert len(decoded(copy)[0]) == 20
    assert not list(out.glob(".*")), "no scratch folder is left"
    assert "encoder" in dict(map(tuple, record["signals"]))
    assert "@software{deepfakerepro" in (out / "citations.bib").read_text()
