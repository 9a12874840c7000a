"""What ``make test`` runs on every supported Python: each pinned package does its part once, in two
minutes.

The stages run on a dozen clips in an unpacked archive whose folder has an odd name. What comes out
must be what came out on the other Pythons of this machine, and the demo's report must be the
committed one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import psutil
import pyarrow.dataset
import pytest
import torch
import websocket
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from deepfake_repro.cli import main
from deepfake_repro.corpora.schema import Video, index_table
from deepfake_repro.crops import isolation
from deepfake_repro.crops.extraction import enlarge
from deepfake_repro.crops.preprocess import detector_factory, make_crops
from deepfake_repro.crops.store import CropStore
from deepfake_repro.dataset import sampling
from deepfake_repro.demo.warps import warp
from deepfake_repro.evaluation import prediction, rows
from deepfake_repro.faces.detection import detector
from deepfake_repro.faces.landmarks import LEFT_EYE, RIGHT_EYE, FaceMesh
from deepfake_repro.methods.sbi.faces import landmarks
from deepfake_repro.operations.clones import with_values
from deepfake_repro.project import params
from deepfake_repro.project.paths import Paths, profile_paths
from deepfake_repro.project.provenance import NO_HISTORY, file_digest, fingerprint, package_digest
from deepfake_repro.scoring import calibration as operating_points
from deepfake_repro.training import losses
from deepfake_repro.training.loading import CROP_KEY
from support import archives
from support.application import application
from support.jupyter import wait_for_address

pytestmark = [pytest.mark.everywhere, pytest.mark.usefixtures("assets", "one_thread")]

ROOT = archives.ROOT
PROFILE = "smoke"
ROW = ("imagenet", 0)
SPLITS = {"train": "ffpp", "val": "ffpp", "test": "celebdf2"}
IN_OTHER_PROCESSES = {
    "dvc",
    "import-linter",
    "ipywidgets",
    "jupyterlab",
    "matplotlib",
    "mypy",
    "myst-nb",
    "nbclient",
    "papermill",
    "pre-commit",
    "pyzmq",
    "ruff",
    "seaborn",
    "sphinx",
    "sphinx-book-theme",
    "voila",
}
"""Direct dependencies that this file's tests run as programs or in kernels; all others are imported
in this process.
"""
PATIENCE = 120
"""Seconds for the start of a server on a slow, busy machine: a limit, not a measure."""


@pytest.fixture(scope="module")
def archive(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An unpacked archive as the working directory; the row ``imagenet`` has a triplet loss
    there.
    """
    folder = archives.unpack(tmp_path_factory.mktemp("everywhere"))
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "assets").symlink_to(assets)
    file = folder / "params.yaml"
    loss = {
        "variants.imagenet.loss.name": "batch_all",
        "variants.imagenet.loss.margin": 1.0,
        "variants.imagenet.loss.weight": 0.2,
    }
    file.write_text(with_values(file.read_text(encoding="utf-8"), loss), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def run(archive: Path) -> Callable[..., str]:
    """``run(module, argument …)``: ``python -m`` in the archive; returns what it prints."""

    def of_module(*command: str) -> str:
        environment = {**os.environ, "PYTHONPATH": "src", "OMP_NUM_THREADS": "1"}
        environment["PATH"] = os.pathsep.join(
            [str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        result = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=archive,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result.stdout

    return of_module


@pytest.fixture(scope="module")
def paths(archive: Path, tile: np.ndarray, make_clip: Callable[..., Path]) -> Paths:
    """Index and clips of two seconds: two reals and two fakes (smoothed faces) of each split."""
    found = profile_paths(PROFILE)
    videos = []
    for split, dataset in SPLITS.items():
        for number in range(4):
            label = number % 2
            name = f"{split}{number}.mp4"
            picture = np.roll(tile, 5 * number, axis=1)
            if label:
                picture = warp(
                    picture,
                    np.float32([[0, 0], [439, 0], [0, 359], [439, 359], [220, 180]]),
                    np.float32([[0, 0], [439, 0], [0, 359], [439, 359], [226, 186]]),
                    picture.shape[:2],
                )
            make_clip(
                archive / "clips" / name, [np.roll(picture, 2 * i, axis=0) for i in range(11)]
            )
            videos.append(
                Video(
                    f"{dataset}/{split}{number}",
                    name,
                    "video",
                    label,
                    "warp" if label else "real",
                    "FS" if label else "REAL",
                    dataset,
                    split,
                    "derived",
                )
            )
    found.training_index.parent.mkdir(parents=True)
    index_table(videos).to_parquet(found.training_index, index=False)
    return found


@pytest.fixture(scope="module")
def store(paths: Paths) -> CropStore:
    """The crops of all clips, made by two guarded processes behind Dask, whose dashboard is looked
    at.
    """
    pages = []

    def look(line: str) -> None:
        if address := re.search(r"http://\S+", line):
            with urllib.request.urlopen(address[0], timeout=PATIENCE) as page:
                pages.append(page.read().decode())

    options = params.load().profile(PROFILE).crops
    roots = dict.fromkeys(SPLITS.values(), paths.base / "clips")
    make_crops(
        pd.read_parquet(paths.index),
        roots,
        paths.training_crops,
        detector_factory(options),
        options,
        workers=2,
        videos_per_part=4,
        progress=look,
    )
    assert pages and "Bokeh" in pages[0]
    return CropStore(paths.crops)


@pytest.fixture(scope="module")
def weights(paths: Paths, store: CropStore, run: Callable[..., str]) -> Path:
    """Two steps of training by the pipeline's own notebook, executed by Papermill."""
    index = pd.read_parquet(paths.index)
    facts = index[["video_id", "label", "category", "dataset", "split"]]
    crops = store.table(CROP_KEY).merge(facts, on="video_id")
    paths.samples.mkdir(parents=True)
    for split, name in (("train", "train"), ("val", "validation")):
        sample = sampling.balanced_sample(crops[crops["split"] == split], seed=0)
        sample.to_parquet(paths.samples / f"{name}.parquet", index=False)
    (paths.base / ".dvc" / "config.local").write_text("[core]\nno_scm = true\n")
    run("dvc", "repro", "--quiet", "code")
    target = paths.weights(*ROW)
    run(
        "deepfake_repro",
        "notebook",
        "05_finetune",
        str(target / "notebook.ipynb"),
        f"profile={PROFILE}",
        f"variant={ROW[0]}",
        f"seed={ROW[1]}",
    )
    return target


@pytest.fixture(scope="module")
def scored(paths: Paths, weights: Path) -> Path:
    """Predictions of the row as its line of Table 3, and its operating points."""
    out = paths.predictions(*ROW)
    out.mkdir(parents=True)
    for name, file in prediction.predict_row(PROFILE, *ROW).items():
        file.rename(out / f"{name}.parquet")
    rows.score(PROFILE, *ROW)
    operating_points.calibrate(PROFILE, *ROW)
    return paths.runs / f"{ROW[0]}-{ROW[1]}"


def test_clips_are_decoded_and_their_faces_cropped(store: CropStore, paths: Paths) -> None:
    found = store.table()
    assert found.groupby("video_id").size().tolist() == [2] * 12
    assert pd.read_csv(paths.training_crops / "skipped.csv").empty
    commands = [" ".join(child.cmdline()) for child in psutil.Process().children()]
    assert not [line for line in commands if isolation.__name__ in line], "no guarded process left"


def test_other_programs_read_the_crops(store: CropStore) -> None:
    import duckdb
    from datasets import Dataset

    parts = pyarrow.dataset.dataset(store.paths, format="arrow")
    assert duckdb.from_arrow(parts).aggregate("count(*)").fetchall() == [(24,)]
    assert len(Dataset(parts.to_table())) == 24


def test_two_detectors_and_the_landmarks_find_the_same_eyes(assets: Path, tile: np.ndarray) -> None:
    (first,) = detector("retinaface", weights=assets / "retinaface_mobilenet025.onnx")([tile])
    (second,) = detector("mtcnn")([tile])
    points = FaceMesh(assets / "face_landmarks.tflite")(tile, first.boxes[0])
    eyes = np.stack([points[list(eye)].mean(axis=0) for eye in (RIGHT_EYE, LEFT_EYE)])
    near = 0.1 * (first.boxes[0, 2] - first.boxes[0, 0])
    for found in (first, second):
        assert np.linalg.norm(found.points[0, :2] - eyes, axis=1).max() < near


def test_landmarks_of_stored_crops_are_found_by_loader_processes(
    store: CropStore, weights: Path, paths: Paths
) -> None:
    landmarks(PROFILE)
    assert len(pd.read_parquet(paths.landmarks)) == 4  # of the reals of train and val


def test_training_says_from_where_it_ran(weights: Path) -> None:
    facts = json.loads((weights / "provenance.json").read_text(encoding="utf-8"))
    assert (facts["commit"], facts["dirty"]) == (NO_HISTORY, None)
    assert facts["versions"]["python"].startswith("{}.{}.".format(*sys.version_info))
    history = pd.read_csv(weights / "history.csv")
    assert len(history) == 2 and history["active_fraction"].max() > 0


def test_a_row_of_table_3(scored: Path) -> None:
    row = json.loads((scored / "scores.json").read_text(encoding="utf-8"))
    assert row["videos"]["scored"] == {"celebdf2": 4} and 0 <= row["auc"]["celebdf2"] <= 100


def test_the_report_is_the_committed_one(
    run: Callable[..., str], weights: Path, archive: Path
) -> None:
    """By notebook and commands of the stage ``report``, from the demo's rows in git."""
    report = archive / "results" / "demo" / "report"
    before = {
        file.name: file.read_bytes()
        for file in report.iterdir()
        if file.suffix in (".md", ".csv", ".html")
    }
    assert len(before) > 10
    for name in before:
        (report / name).unlink()
    run("deepfake_repro", "notebook", "07_results", str(report / "results.ipynb"), "profile=demo")
    run("deepfake_repro", "weave", "07_results", str(report / "results.ipynb"))
    assert main(["html", "--profile", "demo"]) == 0
    assert [
        name for name, content in before.items() if (report / name).read_bytes() != content
    ] == []


def test_a_clip_is_scored_with_its_page(
    run: Callable[..., str], scored: Path, archive: Path, weights: Path
) -> None:
    run("deepfake_repro", "score", "clips/test0.mp4", "--weights", str(weights), "--out", "scores")
    (record,) = (
        json.loads(file.read_text(encoding="utf-8")) for file in (archive / "scores").glob("*.json")
    )
    (page,) = (file.read_text(encoding="utf-8") for file in (archive / "scores").glob("*.html"))
    stored = pd.read_csv(scored / "videos.csv").set_index("video_id")["p_fake"]["celebdf2/test0"]
    assert record["p_fake"] == pytest.approx(stored, abs=1e-4)
    assert f"{record['p_fake']:.2f}" in page and record["probability"] is not None


def test_the_application_shows_its_button(scored: Path, archive: Path) -> None:
    with (
        application(archive, archive / "src") as (address, _),
        urllib.request.urlopen(address, timeout=PATIENCE) as answer,
    ):
        assert "application/vnd.jupyter.widget-view+json" in answer.read().decode()


def test_the_model_leaves_as_onnx(scored: Path, weights: Path, archive: Path) -> None:
    assert main(["export-model", "--weights", str(weights), "--out", "model"]) == 0
    onnx.checker.check_model(onnx.load(archive / "model" / "model.onnx"))


def test_a_second_library_agrees_on_the_triplet_loss() -> None:
    from pytorch_metric_learning import distances, reducers
    from pytorch_metric_learning.losses import TripletMarginLoss

    torch.manual_seed(0)
    embeddings, labels = torch.randn(12, 5), torch.arange(12) % 3
    other = TripletMarginLoss(
        margin=1.0,
        distance=distances.LpDistance(normalize_embeddings=False),
        reducer=reducers.AvgNonZeroReducer(),
    )
    assert float(losses.batch_all(embeddings, labels, 1.0)) == pytest.approx(
        float(other(embeddings, labels)), rel=1e-5
    )


@given(st.floats(1, 1e4), st.floats(0, 2))
def test_a_box_grows_about_its_centre(side: float, margin: float) -> None:
    (grown,) = enlarge(np.array([[0, 0, side, side]]), margin)
    assert grown.mean() == pytest.approx(side / 2) and grown[2] - grown[0] == pytest.approx(
        side * (1 + margin)
    )


def test_no_weights_are_taken_to_be_at_hand(tmp_path: Path) -> None:
    from huggingface_hub import try_to_load_from_cache

    assert try_to_load_from_cache("timm/none", "model.safetensors", cache_dir=tmp_path) is None


def test_a_page_of_the_book_is_built(run: Callable[..., str], archive: Path) -> None:
    source = archive / "page"
    source.mkdir()
    settings = (
        'extensions = ["myst_nb"]',
        'nb_execution_mode = "off"',
        'html_theme = "sphinx_book_theme"',
    )
    (source / "conf.py").write_text("\n".join(settings))
    (source / "index.ipynb").write_bytes((ROOT / "notebooks" / "00_start_here.ipynb").read_bytes())
    run("sphinx", "-q", "page", "page/html")
    assert "bd-main" in (source / "html" / "index.html").read_text(encoding="utf-8")


def test_the_code_is_one_that_the_checkers_read(run: Callable[..., str]) -> None:
    run("ruff", "check", "--no-cache", "src")
    run("mypy", "--follow-imports=skip", "src/deepfake_repro/project/vocabulary.py")
    run("pre_commit", "--version")


def test_playwright_starts_its_driver() -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as browsers:
        assert browsers.chromium.name == "chromium"


@pytest.fixture
def lab(archive: Path) -> Iterator[str]:
    """Address of JupyterLab on the archive."""
    environment = {
        **os.environ,
        "PYTHONPATH": "src",
        "JUPYTER_RUNTIME_DIR": str(archive / "runtime"),
    }
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--port=0",
        "--LabApp.news_url=None",
        "--IdentityProvider.token=lesson",
    ]
    with (archive / "lab.log").open("w") as log:
        server = subprocess.Popen(command, cwd=archive, env=environment, stdout=log, stderr=log)
    try:
        yield wait_for_address(server, archive / "runtime", archive / "lab.log", PATIENCE)
    finally:
        server.terminate()
        server.wait()


def test_a_kernel_of_jupyterlab_draws_a_slider(lab: str) -> None:
    start = urllib.request.Request(
        f"{lab}api/kernels?token=lesson", b'{"name": "python3"}', method="POST"
    )
    with urllib.request.urlopen(start, timeout=PATIENCE) as answer:
        kernel = json.load(answer)["id"]
    address = f"{lab.replace('http', 'ws', 1)}api/kernels/{kernel}/channels?token=lesson"
    socket = websocket.create_connection(address, timeout=PATIENCE)
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "username": "",
        "session": "s",
        "version": "5.3",
    }
    content = {"code": "import ipywidgets; ipywidgets.IntSlider(7)", "silent": False}
    request = {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
    }
    socket.send(json.dumps(request))
    messages = iter(partial(socket.recv), None)
    results = (
        message
        for message in map(json.loads, messages)
        if message["msg_type"] in ("execute_result", "error")
    )
    result = next(results)
    socket.close()
    assert result["msg_type"] == "execute_result", result["content"]
    assert "application/vnd.jupyter.widget-view+json" in result["content"]["data"]


def digests(paths: Paths, scored: Path) -> dict[str, str]:
    """sha256 of what each step gave."""
    store = CropStore(paths.crops)
    files = sorted((paths.base / "clips").iterdir())
    clips = hashlib.sha256(b"".join(path.read_bytes() for path in files))
    crops = hashlib.sha256(b"".join(store.image(number).tobytes() for number in range(len(store))))
    boxes = store.table(["x0", "y0", "x1", "y1", "score"]).to_numpy()
    calibration = json.loads(
        (paths.base / "results" / PROFILE / "calibration" / "imagenet-0.json").read_text()
    )
    return {
        "clips": clips.hexdigest(),
        "crops": crops.hexdigest(),
        "boxes": hashlib.sha256(boxes.tobytes()).hexdigest(),
        "weights": file_digest(paths.weights(*ROW) / "model.safetensors"),
        "history": file_digest(scored / "history.csv"),
        "videos": file_digest(scored / "videos.csv"),
        "temperature": repr(calibration["temperature"]),
    }


def test_the_numbers_are_those_of_the_other_pythons(
    paths: Paths, scored: Path, request: pytest.FixtureRequest
) -> None:
    """Kept in pytest's cache by code and lock; on another machine the last bits may be others."""
    folder = request.config.cache.mkdir("everywhere")
    state = fingerprint(
        package_digest(), file_digest(ROOT / "requirements.lock"), file_digest(Path(__file__))
    )
    record = folder / f"{state}.json"
    known = json.loads(record.read_text()) if record.is_file() else {}
    known["{}.{}".format(*sys.version_info)] = digests(paths, scored)
    record.write_text(json.dumps(known, indent=1))
    assert len({json.dumps(found) for found in known.values()}) == 1, known


def test_every_direct_dependency_has_done_its_part(request: pytest.FixtureRequest) -> None:
    """The others' import names are found in the distributions' own records."""
    from importlib.metadata import packages_distributions

    ran = {item.originalname for item in request.session.items if item.module is request.module}
    if ran != {name for name in vars(request.module) if name.startswith("test_")}:
        pytest.skip("needs the whole file")
    content = YAML(typ="safe", pure=True).load(
        (ROOT / "environment.yml").read_text(encoding="utf-8")
    )
    (listed,) = (entry["pip"][1:] for entry in content["dependencies"] if isinstance(entry, dict))
    direct = {re.split("==", pin)[0] for pin in listed}
    providers = packages_distributions()
    found = {
        provider
        for name in list(sys.modules)
        for provider in providers.get(name.partition(".")[0], ())
    }
    imported = set(map(canonicalize_name, found))
    assert {
        name for name in direct - IN_OTHER_PROCESSES if canonicalize_name(name) not in imported
    } == set()
