"""The upload door: which detectors it offers, what it says of an upload, what it leaves behind."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import ipywidgets
import numpy as np
import pytest

from deepfake_repro.detectors.manifest import DetectorManifest, View, Weights
from deepfake_repro.scoring.app.choice import LIMIT, find_detectors
from deepfake_repro.scoring.app.server import MESSAGE
from deepfake_repro.scoring.app.widgets import Door, safe_name
from deepfake_repro.scoring.score import score_videos
from support import scoring_model

ROOT = Path(__file__).resolve().parents[2]
EPOCH = datetime.fromtimestamp(0, UTC)
ROW = "results/demo/weights/fsfm_ba-0"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one calibrated row."""
    folder = tmp_path_factory.mktemp("door")
    scoring_model.make(folder / ROW)
    return folder


@pytest.fixture
def door(checkout: Path, tmp_path: Path) -> Door:
    """A door that puts uploads into ``tmp_path``."""
    return Door(find_detectors(checkout), tmp_path)


def upload(door: Door, name: str, content: bytes, size: int | None = None) -> str:
    """Upload as a browser does; return the words of the status line."""
    (button,) = (part for part in door.children if isinstance(part, ipywidgets.FileUpload))
    file = {"name": name, "type": "", "size": len(content) if size is None else size}
    button.value = ({**file, "content": memoryview(content), "last_modified": EPOCH},)
    assert button.value == () and not button.disabled
    return unescape(re.sub(r"<[^>]*>", "", door.children[-2].value)).strip()


def describe(folder: Path, network: str, file: str) -> None:
    folder.mkdir(parents=True)
    view = View(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    DetectorManifest(folder.name, network, Weights(file), view=view).write(folder)


def test_detectors_are_those_named_calibrated_and_fetched(tmp_path: Path) -> None:
    fetched = tmp_path / "data" / "pretrained" / "detectors"
    for name, network in (("whole", "onnx"), ("without_weights", "onnx"), ("program", "python")):
        describe(fetched / name, network, "weights")
        if name != "without_weights":
            (fetched / name / "weights").touch()
    described_by_user = tmp_path / "mine"
    describe(described_by_user, "python", "predict.py")
    for row, calibrated in (("fsfm_ba-0", True), ("sbi-1", False), ("lnclip-2", True)):
        weights = tmp_path / "results" / "paper" / "weights" / row
        weights.mkdir(parents=True)
        (weights / "model.safetensors").touch()
        if calibrated:
            file = tmp_path / "results" / "paper" / "calibration" / f"{row}.json"
            file.parent.mkdir(exist_ok=True)
            file.touch()
    found = find_detectors(tmp_path, [described_by_user])
    assert {label: path.name for label, path in found.items()} == {
        "mine": "mine",
        "FSFM + BA, seed 0, trained on paper": "fsfm_ba-0",
        "LNCLIP-DF, seed 2, trained on paper": "lnclip-2",
        "whole": "whole",
    }
    assert next(iter(found)) == "mine"


def test_no_detector_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no detector here; run dvc repro calibrate"):
        find_detectors(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such detector"):
        find_detectors(tmp_path, [tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("clip.mp4", "clip.mp4"),
        ("../../etc/clip.mp4", "clip.mp4"),
        ("C:\\videos\\clip.mp4", "clip.mp4"),
        ("..", "video"),
        ("", "video"),
        ("a\0\n.mp4", "a\\x00\\n.mp4"),
        ("é" * 300 + ".mp4", "é" * 96 + ".mp4"),
    ],
)
def test_an_uploaded_name_stays_in_its_folder(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_an_upload_is_scored_as_by_the_command_and_deleted(
    door: Door,
    checkout: Path,
    tmp_path: Path,
    tile: np.ndarray,
    make_clip: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    clip = make_clip(tmp_path_factory.mktemp("clips") / "a&b.mp4", [tile] * 15)
    (scored,) = score_videos([clip], checkout / ROW)
    said = upload(door, clip.name, clip.read_bytes())
    assert said.startswith("a&b.mp4 is scored, the upload is deleted")
    page = unescape(door.children[-1].value)
    assert f"{scored.p_fake:.3f}" in page and "<h1>a&amp;b.mp4</h1>" in page
    assert 'sandbox="allow-same-origin"' in page and "default-src 'none'" in page
    assert list(tmp_path.iterdir()) == []
    upload(door, "broken.mp4", b"nothing")
    assert door.children[-1].value == "", "the page of the last upload is gone"


@pytest.mark.parametrize(
    ("content", "size", "reason"),
    [
        (b"nothing", None, r"<b>\.mp4: No score: undecodable: [^\n]+"),
        (b"", LIMIT + 2**20, r"<b>\.mp4: has 201 MB, more than the 200 MB allowed here; [^\n]+"),
    ],
    ids=["broken", "too large"],
)
def test_what_cannot_be_scored_gives_one_line(
    door: Door, tmp_path: Path, assets: Path, content: bytes, size: int | None, reason: str
) -> None:
    assert re.fullmatch(reason, upload(door, "<b>.mp4", content, size))
    assert "<b>" not in door.children[-2].value and list(tmp_path.iterdir()) == []


def test_a_detector_that_cannot_be_read_gives_one_line(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights" / "fsfm_ba-0"
    shutil.copytree(checkout / ROW, folder)
    (folder / "model.safetensors").write_bytes(b"damaged")
    (tmp_path / "scratch").mkdir()
    said = upload(Door({"damaged": folder}, tmp_path / "scratch"), "a.mp4", b"nothing")
    assert "model.safetensors" in said and "\n" not in said


def test_without_a_kernel_the_door_names_no_path(door: Door, checkout: Path) -> None:
    """The book and git keep what a lesson shows."""
    shown = json.dumps(door._repr_mimebundle_())
    assert str(checkout) not in shown and "while a kernel runs" in shown


def test_make_lab_lets_an_upload_pass() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (limit,) = re.findall(r"websocket_max_message_size': (\d+)", makefile)
    assert int(limit) >= MESSAGE
