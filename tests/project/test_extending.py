"""The recipes of ``docs/extending.md`` and part 7 of exercise 04, followed as a reader would."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import timm
import torch
from ruamel.yaml import YAML

from deepfake_repro.corpora import adapter_of
from deepfake_repro.faces import detection
from deepfake_repro.methods.finetune.run import start_detector, train_row
from deepfake_repro.project import params, paths
from deepfake_repro.project.code.closure import Closure
from deepfake_repro.training import losses
from deepfake_repro.training.checkpoints import save_start
from deepfake_repro.training.transforms import Normalisation
from support import toy_training

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
CONTENT = params.read_yaml(ROOT / "params.yaml")
SAFE = YAML(typ="safe", pure=True)


def block(title: str, language: str) -> str:
    """The first code block of a section."""
    section = GUIDE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    match = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert match, title
    return match[1]


def with_row(entry: str, folder: Path) -> tuple[str, params.Params]:
    """Add an entry of ``variants`` to the run, as the guide says."""
    ((key, row),) = SAFE.load(entry).items()
    content = json.loads(json.dumps(CONTENT))
    content["variants"][key] = row
    for name in ("variants", "finetune"):
        content["run"][name].append(key)
    file = folder / "params.yaml"
    file.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return key, params.load(file)


def test_a_row_with_a_published_loss_is_trained(tmp_path: Path) -> None:
    key, loaded = with_row(block("A row with a published loss", "yaml"), tmp_path)
    row = loaded.variant(key)
    assert key in loaded.rows_of_run and key not in loaded.paper_rows
    store = toy_training.toy_store(tmp_path)
    short = replace(toy_training.RECIPE, epochs=1, warmup_epochs=0)
    _, result = toy_training.run(store, tmp_path / "run", variant=row, recipe=short)
    history = result.history
    assert history["triplet_loss"][0] > 0 and history["active_fraction"].isna().all()
    total = history["cross_entropy"] + row.loss.weight * history["triplet_loss"]
    assert history["train_loss"].tolist() == pytest.approx(total.tolist())


@pytest.mark.parametrize("profile", ["demo", "paper"])
def test_a_row_with_another_backbone_starts(
    tmp_path: Path, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, loaded = with_row(block("A row with another backbone", "yaml"), tmp_path)
    row, options = loaded.variant(key), loaded.profile(profile, key)
    tag = options.start.imagenet.removeprefix("timm:")
    assert timm.get_pretrained_cfg(tag) is not None
    assert tag.partition(".")[0] == options.train.architecture
    # The published weights are not downloaded: random ones of one block stand for them.
    small = replace(options.train, depth=1)
    file = tmp_path / "start.safetensors"
    published = timm.create_model(small.architecture, num_classes=0, depth=1)
    save_start(published, file, Normalisation((0.5,) * 3, (0.5,) * 3))
    start = replace(options.start, imagenet=str(file))
    detector, _ = start_detector(row, replace(options, train=small, start=start), seed=0)
    side = options.train.input_size
    embeddings, logits = detector(torch.zeros(1, 3, side, side))
    assert embeddings.shape == (1, published.num_features) and logits.shape == (1, 2)


def test_a_test_corpus_is_a_line(tmp_path: Path) -> None:
    file = tmp_path / paths.OWN_CORPORA
    file.parent.mkdir(parents=True)
    file.write_text(block("A test corpus of your own", "yaml"), encoding="utf-8")
    ((name, folder),) = paths.own_corpora(tmp_path).items()
    for video in ("real/a.mp4", "fake/b.mp4"):
        (folder / video).parent.mkdir(parents=True)
        (folder / video).write_bytes(b"any bytes")
    videos, _ = adapter_of(name).read(folder)
    assert sorted((video.label, video.split) for video in videos) == [(0, "test"), (1, "test")]


def test_a_face_detector_is_a_class_and_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module: dict[str, Any] = dict(vars(detection))
    exec(block("A face detector", "python"), module)
    monkeypatch.setitem(detection.DETECTORS, "whole", module["WholeImage"])
    find = detection.detector("whole", threshold=0.5, max_side=640)
    (faces,) = find([np.zeros((40, 30, 3), np.uint8)])
    assert faces.boxes.tolist() == [[0, 0, 30, 40]] and faces.points.shape == (1, 5, 2)
    left, right = faces.points[0, :2]
    assert left[0] < right[0] < 30


def naive_semi_hard(points: torch.Tensor, labels: torch.Tensor, margin: float) -> float:
    """Mean over semi-hard triplets, by three loops."""
    values = []
    for i in range(len(points)):
        for j in range(len(points)):
            for k in range(len(points)):
                if i != j and labels[i] == labels[j] != labels[k]:
                    positive = float((points[i] - points[j]).norm())
                    negative = float((points[i] - points[k]).norm())
                    if losses.kind_of_triplet(positive, negative, margin) == "semi-hard":
                        values.append(positive - negative + margin)
    return sum(values) / max(len(values), 1)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, to be changed."""
    source = ROOT / "src" / "deepfake_repro"
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(source, tmp_path / "src" / "deepfake_repro", ignore=ignored))


def add_loss(package: Path, function: str) -> None:
    """Add a loss to ``training/losses.py`` and its name to ``TRIPLET_LOSSES``."""
    file = package / "training" / "losses.py"
    text = file.read_text(encoding="utf-8")
    head = "TRIPLET_LOSSES: "
    last = '"easy_positive_hard_negative": easy_positive_hard_negative,\n'
    assert text.count(head) == text.count(last) == 1
    text = text.replace(head, f"{function}\n\n{head}")
    text = text.replace(last, f'{last}        "semi_hard": semi_hard,\n')
    file.write_text(text, encoding="utf-8")


def reached(package: Path, *chosen: str) -> str:
    """What the training of a row can reach that chooses these names."""
    return Closure(package, chosen=set(chosen)).of_function(train_row).as_json()


def test_a_loss_of_ones_own_leaves_the_other_rows_alone(package: Path) -> None:
    before = reached(package, "batch_all")
    function = block("A loss of your own", "python")
    add_loss(package, function)
    assert reached(package, "batch_all") == before
    assert "losses:semi_hard" in reached(package, "semi_hard")
    module: dict[str, Any] = dict(vars(losses))
    exec(function, module)
    points, labels = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), torch.arange(9)
    value: Callable[..., torch.Tensor] = module["semi_hard"]
    expected = naive_semi_hard(points, labels % 2, 1.0)
    assert value(points, labels % 2, 1.0).item() == pytest.approx(expected, rel=1e-5)


def test_part_7_of_exercise_04_makes_a_row(package: Path, tmp_path: Path) -> None:
    path = ROOT / "notebooks" / "solutions" / "04_triplets.ipynb"
    cells = [cell["source"] for cell in nbformat.read(path, as_version=4).cells]
    (function,) = (cell for cell in cells if "def semi_hard" in cell)
    (part,) = (cell for cell in cells if cell.startswith("## 7 "))
    match = re.search(r"`(fsfm_sh: \{.*\})`", part)
    assert match and "`src/deepfake_repro/training/losses.py`" in part and "`losses.`" in part
    key, loaded = with_row(match[1], tmp_path)
    assert loaded.row_names[key] == "FSFM + SH" and key in loaded.rows_of_run
    add_loss(package, function.replace("losses.", ""))
    spec = spec_from_file_location(
        f"{losses.__name__}_of_a_student", package / "training/losses.py"
    )
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.5, 0.0], [9.0, 9.0]])
    labels = torch.tensor([0, 0, 1, 1])
    value = module.build_loss(loaded.variant(key).loss)(points, labels)
    assert value.item() == pytest.approx(naive_semi_hard(points, labels, 1.0), rel=1e-5)
