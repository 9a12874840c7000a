"""Lessons and solutions run in a clean kernel; their helpers are right."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from deepfake_repro.report.figures import picture
from deepfake_repro.teaching import book, lessons
from deepfake_repro.teaching.figures import class_sheet, manipulation_figure
from deepfake_repro.teaching.networks import balanced_crops
from deepfake_repro.teaching.triplets import train_toy_network, triplet_figure, working_triplets
from deepfake_repro.training import losses
from support.browser import BROWSER

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
IN_JUPYTERLAB = "04_triplets"
"""Where there is a browser, test_browser runs it, and the same is checked there."""
LESSONS = [name for name in book.LESSONS if name != IN_JUPYTERLAB or BROWSER is None]
SOLUTIONS = [f"solutions/{path.stem}" for path in sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))]
SMALL = {
    "08_embeddings": {"crops": 48},
    "solutions/08_embeddings": {"crops": 40},
    "solutions/04_triplets": {"crops": 24},
    "11_what_generalises": {"profile": "open"},
    "12_your_detector": {"crops": 32, "epochs": 1},
}
# The smoke pipeline has only four rows, and one or two test videos per corpus.
SMOKE_ROWS = {
    "08_embeddings": {"baseline": "imagenet", "variant": "fsfm_category_ba"},
    "10_score_your_video": {"variant": "fsfm_category_ba"},
    "12_your_detector": {"variant": "fsfm_category_ba"},
    "solutions/05_finetune": {"variant": "fsfm_category_ba"},
    "solutions/08_embeddings": {"variant": "fsfm_category_ba"},
}
SLOW_FIRST = sorted(LESSONS, key="08_embeddings".__ne__)
DEMO = (
    "data/assets",
    "data/corpora/demo",
    "data/crops/demo",
    "data/samples/demo",
    "data/pretrained/demo",
    "results/demo/weights/fsfm_ba-0",
    "results/demo/predictions/fsfm_ba-0",
)
RUN = (
    "import sys; from pathlib import Path; from deepfake_repro.project import notebooks; "
    "notebooks.run(Path(sys.argv[1]), Path(sys.argv[2]), notebooks.parse(sys.argv[3:]))"
)


@pytest.fixture(scope="session")
def made(request: pytest.FixtureRequest) -> tuple[Path, str]:
    """Return a checkout and a profile it has made: the demo here, else smoke in a clone."""
    if all((ROOT / path).exists() for path in DEMO):
        return ROOT, "demo"
    return request.getfixturevalue("smoke"), "smoke"


@pytest.fixture(scope="module")
def finished(
    request: pytest.FixtureRequest,
    made: tuple[Path, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, subprocess.CompletedProcess], dict[str, Path], dict[str, str]]:
    """Run every lesson of this session in its kernel, and beside them the solutions.

    Returns the processes of the lessons, their executed copies, and the solutions that failed.
    """
    wanted = {
        item.callspec.params["name"]
        for item in request.session.items
        if getattr(item, "originalname", "") in ("test_lesson_runs", "test_solution_runs")
    }
    names = [name for name in SLOW_FIRST if name in wanted]
    answers = [name for name in SOLUTIONS if name in wanted]
    targets = {name: tmp_path_factory.mktemp("ran") / "executed.ipynb" for name in names}
    before = results(*made)
    with ThreadPoolExecutor(2) as pool:
        solutions = pool.submit(run_solutions, *made, answers)
        runs = list(pool.map(lambda name: run(*made, name, targets[name]), names))
        failures = solutions.result()
    assert results(*made) == before, "a lesson or solution wrote into results/"
    return dict(zip(names, runs, strict=True)), targets, failures


def results(base: Path, profile: str) -> dict[Path, int]:
    """Return the files of a profile's results with their modification times."""
    return {
        file: file.stat().st_mtime_ns
        for file in (base / "results" / profile).rglob("*")
        if file.is_file()
    }


def parameters_of(name: str, profile: str) -> dict[str, object]:
    """Return what a run in the tests passes to a notebook."""
    of_rows = SMOKE_ROWS.get(name, {}) if profile == "smoke" else {}
    return {"profile": profile} | SMALL.get(name, {}) | of_rows


def run_in(folder: Path, base: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Python from a notebook's own folder with the package of ``base``, on one thread."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(base / "src"),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def run(base: Path, profile: str, name: str, target: Path) -> subprocess.CompletedProcess:
    """Execute a lesson as JupyterLab does, in a new process and kernel."""
    arguments = [f"{key}={value}" for key, value in parameters_of(name, profile).items()]
    return run_in(base / "notebooks", base, "-c", RUN, f"{name}.ipynb", str(target), *arguments)


def run_solutions(base: Path, profile: str, names: list[str]) -> dict[str, str]:
    """Run solutions one after another; return the traceback of each that fails."""
    tasks = [(f"{Path(name).name}.ipynb", parameters_of(name, profile)) for name in names]
    script = str(ROOT / "tests" / "support" / "solutions.py")
    ran = run_in(base / "notebooks" / "solutions", base, script, json.dumps(tasks))
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout)


@pytest.mark.pipeline
@pytest.mark.parametrize("name", LESSONS)
def test_lesson_runs(name: str, finished: tuple[dict, dict, dict]) -> None:
    """From a clean kernel, and it changes nothing; its copy is small enough for git."""
    runs, targets, _ = finished
    result = runs[name]
    assert result.returncode == 0, result.stderr[-3000:] + result.stdout[-1000:]
    pictures = [
        output
        for cell in nbformat.read(targets[name], as_version=4).cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert all(output.metadata["image/png"]["alt"] not in ("", "figure") for output in pictures)
    assert targets[name].stat().st_size < book.LIMIT


@pytest.mark.pipeline
@pytest.mark.parametrize("name", SOLUTIONS)
def test_solution_runs(name: str, finished: tuple[dict, dict, dict]) -> None:
    """To its end, with every check passed, and it changes nothing."""
    *_, failures = finished
    assert f"{Path(name).name}.ipynb" not in failures, failures[f"{Path(name).name}.ipynb"]


@pytest.mark.parametrize("name", SOLUTIONS)
def test_exercise_is_its_solution_without_the_answers(name: str) -> None:
    """The cells are the same, except the code of those in which the exercise has three dots."""
    solution, exercise = (
        nbformat.read(NOTEBOOKS / folder / f"{Path(name).name}.ipynb", as_version=4).cells
        for folder in ("solutions", "exercises")
    )
    pairs = [(s, e) for s, e in zip(solution, exercise, strict=True) if s.cell_type == "code"]
    assert all(
        s.source == e.source
        for s, e in pairs
        if "..." not in e.source or "exercises.check" in e.source
    )
    answers = [e for s, e in pairs if s.source != e.source]
    assert len(answers) >= 3
    assert not any("..." in s.source for s, e in pairs if s.source != e.source)


@pytest.mark.parametrize("name", SOLUTIONS)
def test_every_exercise_has_its_check_right_after_it(name: str) -> None:
    path = NOTEBOOKS / "exercises" / f"{Path(name).name}.ipynb"
    cells = [
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
    ]
    for open_question, following in itertools.pairwise(cells):
        if "..." in open_question and "exercises.check" not in open_question:
            assert "exercises.check" in following, open_question


def test_missing_input_is_one_line_that_says_what_to_run(tmp_path: Path) -> None:
    words = "weights does not exist: run `dvc repro train@demo-fsfm-0` first"
    with pytest.raises(FileNotFoundError, match=words):
        lessons.require(tmp_path / "weights", "dvc repro train@demo-fsfm-0")


def test_figure_with_sliders_redraws_and_has_a_static_picture() -> None:
    seen = []

    def draw(x: float, number: int):
        seen.append((x, number))
        return triplet_figure(x, 0.5, 1.0)

    explorer = lessons.explore(draw, "a triplet", x=(-2.0, 2.0, 1.0), number=(0, 4, 2))
    before = explorer.children[-1].value
    explorer.children[0].value = -1.5
    assert seen == [(1.0, 2), (-1.5, 2)]
    assert explorer.children[-1].value != before
    bundle, metadata = explorer._repr_mimebundle_()
    assert {"image/png", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
    assert metadata["image/png"]["alt"] == "a triplet. Semi-hard: loss 0.42."  # D_an is 1.58


@pytest.mark.parametrize("loss", list(losses.TRIPLET_LOSSES))
def test_triplets_drawn_are_those_that_make_the_loss(loss: str) -> None:
    points, labels = lessons.toy_batch(12, 1.5, seed=3)
    chosen = working_triplets(points, labels, 1.0, loss)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    total = sum(distance[i, j] - distance[i, k] + 1.0 for i, j, k in chosen)
    expected = losses.TRIPLET_LOSSES[loss](torch.as_tensor(points), torch.as_tensor(labels), 1.0)
    count = len(chosen) if loss == "batch_all" else len(points)
    assert total / count == pytest.approx(expected.item(), rel=1e-5)


def test_hardest_mining_alone_collapses_to_the_margin_and_batch_all_does_not() -> None:
    """As in lesson 04: distances go to zero, triplets stay active, the loss stays at the margin."""
    points, labels = lessons.toy_batch(24, 1.0, seed=0)
    collapsed, healthy = (
        train_toy_network(points, labels, loss, 1.0).iloc[-1]
        for loss in ("hard_positive_hard_negative", "batch_all")
    )
    assert collapsed["active"] == 1
    assert collapsed["distance"] < 0.05
    assert collapsed["loss"] == pytest.approx(1, abs=0.05)
    assert healthy["active"] < 0.6
    assert healthy["distance"] > 0.5


def test_toy_training_depends_on_its_arguments_only() -> None:
    points, labels = lessons.toy_batch(8, 1.0, seed=0)
    torch.manual_seed(1)
    first = train_toy_network(points, labels, "batch_all", 1.0, steps=5)
    torch.manual_seed(2)
    second = train_toy_network(points, labels, "batch_all", 1.0, steps=5)
    pd.testing.assert_frame_equal(first, second)


def test_pair_distances_leave_out_pairs_of_one_video() -> None:
    line, labels = np.array([[0.0], [1.0], [3.0], [7.0]], np.float32), np.array([0, 0, 1, 0])
    within, between = lessons.pair_distances(line, labels, np.array(["a", "a", "b", "c"]))
    mean = (3 + 7 + 2 + 6 + 4) / 5  # all pairs except that of video a
    np.testing.assert_allclose(sorted(within * mean), [6, 7], rtol=1e-6)
    np.testing.assert_allclose(sorted(between * mean), [2, 3, 4], rtol=1e-6)


def test_separation_is_the_share_of_pairs_and_its_interval_covers_it() -> None:
    line = np.array([[0.0], [1.0], [3.0], [7.0]], np.float32)
    labels, videos = np.array([0, 0, 1, 1]), np.array(["a", "b", "c", "d"])
    within, between = [1, 4], [3, 7, 2, 6]
    larger = np.mean([b > w for b in between for w in within])
    share, low, high = lessons.separation(line, labels, videos)
    assert share == pytest.approx(larger)
    assert low <= share <= high
    assert lessons.separation(line, labels, videos) == (share, low, high)


def test_balanced_crops_are_as_many_of_each_class_of_each_corpus() -> None:
    corpora = ["df40"] * 12 + ["itw"] * 8
    test = pd.DataFrame({"dataset": corpora, "label": [0] * 2 + [1] * 10 + [0] * 4 + [1] * 4})
    sizes = balanced_crops(test, 100).groupby(["dataset", "label"]).size()
    assert sizes.tolist() == [2, 2, 2, 2], "as many as the rarest group has"
    assert len(balanced_crops(test, 4)) == 4


def test_share_of_seen_manipulations_by_hand() -> None:
    rows = [
        ("ffpp", "train", 1, "FaceSwap"),
        ("ffpp", "test", 1, "FaceSwap"),
        ("fakeavceleb", "train", 1, "fs-gan"),
        ("df40", "test", 1, "face_swap"),
        ("df40", "test", 1, "fsgan"),
        ("dfdc", "train", 1, "dfdc_unknown"),
        ("itw", "test", 1, "unknown"),
        ("ffpp", "test", 0, "real"),
    ]
    index = pd.DataFrame(rows, columns=["dataset", "split", "label", "manipulation"])
    assert lessons.seen_share(index, ["ffpp"]) == 0.5
    assert lessons.seen_share(index, ["ffpp", "fakeavceleb", "dfdc"]) == 0.75
    shared = lessons.trained_elsewhere(index, ["ffpp", "fakeavceleb"])
    assert shared.to_numpy().tolist() == [
        ["df40", "face_swap", "ffpp"],
        ["df40", "fsgan", "fakeavceleb"],
    ]
    assert lessons.trained_elsewhere(index, []).empty


def test_a_manipulation_has_one_line_and_a_ring_where_another_corpus_trains_on_it() -> None:
    index = pd.DataFrame(
        {
            "dataset": ["ffpp", "df40", "df40"],
            "split": ["train", "test", "test"],
            "label": [1, 1, 1],
            "manipulation": ["Deepfakes", "deep-fake", "simswap"],
        }
    )
    (axes,) = manipulation_figure(index, ["ffpp", "df40"]).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["Deepfakes", "simswap"]
    sizes = {
        tuple(line.get_xydata()[0]): line.get_markersize()
        for line in axes.lines
        if not np.isnan(line.get_xydata()).any()
    }
    assert sizes == {(0, 0): 6, (1, 0): 9, (1, 1): 6}


def test_columns_of_a_sheet_say_which_crops_are_real() -> None:
    grey = np.zeros((8, 8, 3), np.uint8)
    figure = class_sheet({"ffpp": [grey] * 4, "dfdc": [grey] * 4})
    heads = [axes.get_title() for axes in figure.axes]
    assert heads == ["real", "real", "fake", "fake"] + 4 * [""]


def test_same_corpora_give_the_same_figure_bytes() -> None:
    index = pd.DataFrame(
        {
            "dataset": ["ffpp", "df40"],
            "split": ["train", "test"],
            "label": [1, 1],
            "manipulation": ["faceswap", "simswap"],
        }
    )
    first, second = (picture(manipulation_figure(index, ["ffpp", "df40"])).data for _ in range(2))
    assert first == second
