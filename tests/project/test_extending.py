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
import onnx
import pandas as pd
import pytest
import timm
import torch
from ruamel.yaml import YAML

from deepfake_repro.cli import functions
from deepfake_repro.corpora import adapter_of
from deepfake_repro.crops.preprocess import detector_factory, plan_parts
from deepfake_repro.faces import detection
from deepfake_repro.methods.finetune.run import start_detector, train_row
from deepfake_repro.operations.stage_code import stage_codes
from deepfake_repro.project import params, paths
from deepfake_repro.project.code.closure import Closure, Code
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


def test_an_outside_detector_as_a_row_is_a_line() -> None:
    """The pipeline's variable of this name has such lines, and a stage runs the named folder."""
    ((listed, (detector,)),) = SAFE.load(block("An outside detector as a row", "yaml")).items()
    pipeline = params.read_yaml(ROOT / "dvc.yaml")
    assert listed in params.read_yaml(ROOT / "data" / "detectors.yaml")
    assert "data/detectors.yaml" in pipeline["vars"]
    stage = pipeline["stages"]["evaluate"]
    assert stage["matrix"]["detector"] == f"${{{listed}}}"
    assert stage["deps"][0] == "${item.detector.folder}"
    named = set(re.findall(r"\$\{item\.detector\.(\w+)\}", json.dumps(stage)))
    assert named == set(detector)
    report = pipeline["stages"]["report"]["do"]
    assert "results/${item}/outside" in report["deps"]
    assert {"data/detectors.yaml": [listed]} in report["params"]
    outputs = [path for output in stage["outs"] for path in output]
    folder = "results/${item.profile}/outside/${item.detector.name}"
    assert all(path.startswith(folder) for path in outputs)
    for profile in params.PROFILES:  # DVC wants a dependency to exist, though nobody lists any
        assert (ROOT / "results" / profile / "outside" / ".gitkeep").is_file()


@pytest.fixture
def own_detector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[params.CropOptions, Path]:
    """The crop options of the demo with the guide's entry, and the file that it names."""
    content = json.loads(json.dumps(CONTENT))
    content["demo"]["crops"] |= SAFE.load(block("A face detector", "yaml"))["crops"]
    file = tmp_path / "params.yaml"
    file.write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    options = params.load(file).profile("demo").crops
    (tmp_path / options.detector_weights).parent.mkdir(parents=True)
    return options, tmp_path / options.detector_weights


def test_a_retinaface_in_another_file_is_a_file_and_an_entry(
    own_detector: tuple[params.CropOptions, Path], assets: Path, tile: np.ndarray
) -> None:
    """A network that calls every face twice as far from its anchor as the demo's does."""
    options, file = own_detector
    model = onnx.load(assets / "retinaface_mobilenet025.onnx")
    (boxes,) = (value for value in model.graph.output if value.name == "loc")
    boxes.name = "moved"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([2, 2, 1, 1]), "twice"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["loc", "twice"], ["moved"]))
    onnx.save(model, file)
    (moved,) = detector_factory(options)()([tile])
    (usual,) = detection.detector("retinaface", weights=assets / "retinaface_mobilenet025.onnx")(
        [tile]
    )
    size = moved.boxes[0, 2:] - moved.boxes[0, :2]
    assert size == pytest.approx(usual.boxes[0, 2:] - usual.boxes[0, :2], rel=0.05)
    assert not np.allclose(moved.boxes[0], usual.boxes[0], atol=1)


def test_crops_depend_on_the_content_of_a_detectors_file(
    own_detector: tuple[params.CropOptions, Path], tmp_path: Path
) -> None:
    options, file = own_detector
    (tmp_path / "a.mp4").write_bytes(b"any bytes")
    video = {"video_id": "mine/a", "dataset": "mine", "path": "a.mp4", "kind": "video"}

    def name(options: params.CropOptions) -> str:
        (part,) = plan_parts(pd.DataFrame([video]), {"mine": tmp_path}, tmp_path, options)
        return part.path.name

    with pytest.raises(FileNotFoundError, match=r"crops\.detector_weights = .*: there is no such"):
        name(options)
    names = {name(replace(options, detector_weights=""))}
    for content in (b"one network", b"another"):
        file.write_bytes(content)
        names.add(name(options))
    assert len(names) == 3
    with pytest.raises(ValueError, match="the detector mtcnn takes no file; leave the key empty"):
        name(replace(options, detector="mtcnn"))
    with pytest.raises(ValueError, match="put the file into data/detectors, on which the stage"):
        name(replace(options, detector_weights="data/detectors/../a.mp4"))


def test_the_stages_that_crop_depend_on_detectors_of_ones_own() -> None:
    stages = params.read_yaml(ROOT / "dvc.yaml")["stages"]
    of_crops = {name for name, stage in stages.items() if "02_crops" in json.dumps(stage)}
    assert of_crops == {"crops", "crops_own"}
    assert all(paths.OWN_DETECTORS in stages[name]["deps"] for name in of_crops)


@pytest.mark.parametrize(("name", "kept"), [("retinaface", "RetinaFace"), ("mtcnn", "MTCNN")])
def test_the_code_of_crops_has_the_named_detector_alone(name: str, kept: str) -> None:
    code = Closure(chosen={name}).of_function(detector_factory).definitions
    module = "deepfake_repro.faces.detection"
    assert {f"{module}:{each}" for each in ("RetinaFace", "MTCNN")} & set(code) == {
        f"{module}:{kept}"
    }


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


def student_codes(base: Path, package: Path, text: str) -> dict[str, Code]:
    """The code of every stage, of a changed package and with ``text`` as ``params.yaml``."""
    base.mkdir()
    for name in ("notebooks", "requirements.lock"):
        (base / name).symlink_to(ROOT / name)
    (base / "params.yaml").write_text(text, encoding="utf-8")
    return stage_codes(base, functions(), package)


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
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    before = student_codes(tmp_path / "before", package, text)
    key = match[1].partition(":")[0]
    for head, line in (
        (r"\nvariants:.*\n", f"  {match[1]}\n"),
        (r"\n    finetune: +#.*\n", f"      - {key}\n"),
        (r"\n    variants: +#.*\n", f"      - {key}\n"),
    ):
        text, times = re.subn(head, lambda found, line=line: found[0] + line, text)
        assert times == 1
    add_loss(package, function.replace("losses.", ""))
    after = student_codes(tmp_path / "after", package, text)
    assert set(after) - set(before) == {f"train/{key}"}
    assert {stage: after[stage] for stage in before} == before  # no other row is trained again
    loaded = params.load(tmp_path / "after" / "params.yaml")
    assert loaded.row_names[key] == "FSFM + SH" and key in loaded.rows_of_run
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
