"""Tests of ``params.yaml``: every key is used, and an unknown key is an error that names it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from deepfake_repro.corpora import PAPER
from deepfake_repro.corpora.adapters import fakeavceleb, forgerynet
from deepfake_repro.crops.store import ENCODINGS
from deepfake_repro.faces.detection import DETECTORS
from deepfake_repro.operations.clones import with_values
from deepfake_repro.project import params, recipes
from deepfake_repro.project.recipes import Blend, Sbi
from deepfake_repro.project.vocabulary import FINETUNE, LNCLIP
from deepfake_repro.training.labels import Scheme
from deepfake_repro.training.losses import build_loss
from deepfake_repro.training.transforms import AUGMENTATIONS

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "params.yaml"
SOURCES = [path for path in (ROOT / "src").rglob("*.py") if path.name != "params.py"]
REMOVED = object()


@pytest.fixture(scope="module")
def loaded() -> params.Params:
    return params.load(FILE)


def raw() -> dict[str, Any]:
    return json.loads(
        json.dumps(YAML(typ="safe", pure=True).load(FILE.read_text(encoding="utf-8")))
    )  # no aliases


def put(content: dict[str, Any], key: str, value: object) -> None:
    """Set a dotted key, or remove it if ``value`` is ``REMOVED``."""
    *path, last = key.split(".")
    for name in path:
        content = content[name]
    if value is REMOVED:
        del content[last]
    else:
        content[last] = value


def test_every_value_of_the_file_arrives_with_its_type(loaded: params.Params) -> None:
    content = raw()
    assert list(loaded.variants) == list(content["variants"]) and list(loaded.miniatures) == [
        "demo",
        "smoke",
    ]
    assert (
        loaded.profile("demo").train.learning_rate == 2e-4
        and loaded.profile("paper").train.head_std == 2e-5
    )
    for name in params.PROFILES:
        arrived = json.loads(json.dumps(asdict(loaded.profile(name))))  # tuples as lists
        assert arrived == content[name], name
    assert loaded.miniature("smoke").videos == content["miniatures"]["smoke"]["videos"]


def test_numbers_with_an_exponent_are_floats_and_whole_numbers_may_stand_for_floats(
    tmp_path: Path,
) -> None:
    text = FILE.read_text(encoding="utf-8").replace("learning_rate: 1.0e-4 ", "learning_rate: 1 ")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    rate = params.load(tmp_path / "params.yaml").profile("paper").train.learning_rate
    assert rate == 1.0 and type(rate) is float
    assert params.load(FILE).profile("paper").train.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("bogus", 1, "unknown key params.yaml.bogus"),
        ("demo.train.momentum", 0.9, "unknown key demo.train.momentum"),
        ("paper.crops.detector_size", 1, "unknown key paper.crops.detector_size"),
        ("variants.fsfm.temperature", 1.0, "unknown key variants.fsfm.temperature"),
        ("smoke", REMOVED, "missing key params.yaml.smoke"),
        ("paper.train.precision", REMOVED, "missing key paper.train.precision"),
        ("run.seeds", REMOVED, "missing key run.seeds"),
        ("miniatures.demo.seed", REMOVED, "missing key miniatures.demo.seed"),
        (
            "demo.train.learning_rate",
            "1e-4",
            "demo.train.learning_rate must be float, not '1e-4'",
        ),
        ("demo.train.epochs", 3.5, "demo.train.epochs must be int, not 3.5"),
        ("demo.train.epochs", True, "demo.train.epochs must be int, not True"),
        ("demo.train.compile", 1, "demo.train.compile must be bool, not 1"),
        ("demo.crops.detector", None, "demo.crops.detector must be str, not None"),
        ("run.variants", "fsfm", "run.variants must be a list, not 'fsfm'"),
        ("run.seeds", [0, "one"], "run.seeds must be int, not 'one'"),
        ("demo.start", [], "demo.start must have the keys fsfm, imagenet"),
        ("variants", ["fsfm"], "variants must be a mapping, not ['fsfm']"),
        ("variants.fsfm", None, "variants.fsfm must have the keys"),
        ("miniatures.demo.videos", 3, "miniatures.demo.videos must be a mapping, not 3"),
        (
            "miniatures.demo.videos.ffpp.train",
            "4",
            "miniatures.demo.videos.ffpp.train must be int, not '4'",
        ),
    ],
)
def test_wrong_file_is_one_line_naming_the_key(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    content = raw()
    put(content, key, value)
    (tmp_path / "params.yaml").write_text(json.dumps(content))  # JSON is YAML
    with pytest.raises(ValueError) as error:
        params.load(tmp_path / "params.yaml")
    assert str(error.value).startswith("params.yaml: ") and message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "line"), [("run:\n  seeds: [0\nvariants: {}\n", 3), ("run: 1\nrun: 2\n", 2)]
)
def test_broken_yaml_and_doubled_keys_are_one_line_with_the_line_number(
    tmp_path: Path, text: str, line: int
) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"^params\.yaml line {line} is not valid YAML: [^\n]+$"):
        params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("kind", ["profile", "variant", "miniature"])
def test_unknown_names_are_answered_with_the_known_ones(loaded: params.Params, kind: str) -> None:
    lookup: Callable[[str], object] = getattr(loaded, kind)
    known = {
        "profile": "demo, smoke, open, paper",
        "variant": ", ".join(loaded.variants),
        "miniature": "demo, smoke",
    }
    with pytest.raises(ValueError) as error:
        lookup("bogus")
    assert str(error.value) == f"unknown {kind} 'bogus'; params.yaml has {known[kind]}"


def test_root_is_found_from_a_folder_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "notebooks")
    assert params.root() == ROOT
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="run this inside the repository"):
        params.root()


def test_what_runs_is_defined(loaded: params.Params) -> None:
    assert set(loaded.run.finetune) <= set(loaded.variants) and set(loaded.run.profiles) <= set(
        params.PROFILES
    )
    assert set(loaded.run.variants) <= {*loaded.run.finetune, *loaded.run.sbi, *loaded.run.lnclip}
    assert set(loaded.run.miniatures) <= set(loaded.miniatures) and loaded.run.seeds


def test_every_variant_is_a_row_that_the_code_can_train(loaded: params.Params) -> None:
    starts = {each.name for each in fields(params.Start)}
    for name, row in loaded.variants.items():
        assert row.labels in set(Scheme) and (row.init in starts or row.method == LNCLIP), name
        if row.method == FINETUNE and row.loss.name != "none":
            build_loss(row.loss)
        assert (row.loss.name == "none") == (row.loss.weight == 0), (
            f"{name}: a loss and its weight go together"
        )


def test_names_of_the_papers_rows_say_what_they_do(loaded: params.Params) -> None:
    losses = {
        "ba": "batch_all",
        "hphn": "hard_positive_hard_negative",
        "ephn": "easy_positive_hard_negative",
    }
    for name in loaded.paper_rows:
        row = loaded.variant(name)
        init, *rest = name.split("_")
        labels = next((part for part in rest if part in set(Scheme)), "binary")
        loss = next((losses[part] for part in rest if part in losses), "none")
        assert (row.init, row.labels, row.loss.name) == (init, labels, loss), name


@pytest.mark.parametrize("name", params.PROFILES)
def test_choices_are_known_to_the_code(loaded: params.Params, name: str) -> None:
    profile = loaded.profile(name)
    assert profile.crops.encoding in ENCODINGS and profile.crops.detector in DETECTORS
    assert profile.train.augmentation in AUGMENTATIONS and profile.train.triplet_labels in {
        "attribution",
        "binary",
    }
    assert profile.train.selection in {"total", "cross_entropy"} and profile.train.balance in {
        "none",
        "first_epoch",
    }
    assert profile.train.input_size <= profile.crops.size


def test_values_that_the_paper_states(loaded: params.Params) -> None:
    """Sections 4.1 and 4.3: 1 frame per second, + 30 %, 224 px, 1:1, threshold 0.5."""
    for name in params.PROFILES:
        profile = loaded.profile(name)
        crops = profile.crops
        assert (crops.frames_per_second, crops.margin, crops.size) == (1.0, 0.3, 224)
        assert (profile.sampling.real_to_fake, profile.scoring.threshold) == (1.0, 0.5)


def test_miniatures_are_split_as_the_profile_that_reads_them(loaded: params.Params) -> None:
    """The planner puts people into splits by the adapters' default rule; other options would undo
    that.
    """
    for name in loaded.miniatures:
        options = loaded.profile(name).index
        assert options.split_seed == fakeavceleb.SEED == forgerynet.SEED
        assert options.forgerynet_validation == forgerynet.VALIDATION
        assert options.compression == "c23"


def test_miniatures_hold_every_corpus_of_the_paper(loaded: params.Params) -> None:
    for name, size in loaded.miniatures.items():
        assert set(size.videos) == set(PAPER), name
        assert all(videos["test"] for videos in size.videos.values()), name


def attribute_reads() -> set[tuple[str, str]]:
    """All (owner, attribute) pairs in the package and the notebooks, as ``("recipe", "depth")``."""
    notebooks = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (ROOT / "notebooks").rglob("*.ipynb")
    ]
    cells = [
        "".join(cell["source"])
        for book in notebooks
        for cell in book["cells"]
        if cell["cell_type"] == "code"
    ]
    codes = [path.read_text(encoding="utf-8") for path in SOURCES] + cells
    return {
        (ast.unparse(node.value), node.attr)
        for code in codes
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Attribute)
    }


@pytest.mark.parametrize(
    ("block", "owners"),
    [
        (recipes.Loss, {"loss", "self.loss", "variant.loss"}),
        (params.Miniature, {"size"}),
        (params.IndexOptions, {"options"}),
        (params.CropOptions, {"options"}),
        (params.Sampling, {"options"}),
        (recipes.Train, {"recipe", "self.recipe"}),
        (Sbi, {"recipe", "self.recipe", "task.recipe", "options.sbi"}),
        (Blend, {"blend", "recipe.blend", "self.blend"}),
        (params.Predict, {"options", "options.predict"}),
        (params.Scoring, {"options", "scoring"}),
    ],
)
def test_every_key_has_a_reader(block: type, owners: set[str]) -> None:
    reads = attribute_reads()
    assert not [
        f.name for f in fields(block) if not any((owner, f.name) in reads for owner in owners)
    ]


def test_every_key_of_run_is_read_by_the_pipeline() -> None:
    pipeline = (ROOT / "dvc.yaml").read_text()
    read = re.findall(r"\$\{run\.(\w+)\}|^ *- run\.(\w+)$", pipeline, re.MULTILINE)
    assert {f.name for f in fields(params.Run)} <= {name for names in read for name in names}


def leaves(content: object, path: str = "") -> Iterator[tuple[str, object]]:
    """(dotted key, value) of everything below a mapping."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from leaves(value, f"{path}.{name}" if path else name)
    else:
        yield path, content


# One value per block, also of nested blocks, because a rewrite of the file takes 0.2 seconds.
ALL_KEYS = [key for name in params.PROFILES for key, _ in leaves(raw()[name], name)]
PROFILE_KEYS = sorted({key.rpartition(".")[0]: key for key in ALL_KEYS}.values())


def other(value: object) -> object:
    """A value of the same type that differs."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}x" if isinstance(value, str) else [*value, *value, "x"]


@pytest.mark.parametrize("key", PROFILE_KEYS)
def test_a_changed_value_changes_exactly_what_it_names(key: str) -> None:
    """The blocks that profiles share are merged, not aliased: a change for one profile is one for
    that profile only.
    """
    before = dict(leaves(raw()))
    changed = YAML(typ="safe", pure=True).load(
        with_values(FILE.read_text(), {key: other(before[key])})
    )
    after = dict(leaves(changed))
    assert {name for name in before if before[name] != after[name]} == {key}


@pytest.mark.parametrize(
    "key",
    [
        "demo.crops.margin",
        "paper.scoring.threshold",
        "smoke.sbi.blend.flip",
        "demo.index.compression",
        "paper.sampling.seed",
        "demo.train.epochs",
    ],
)
def test_dvc_exp_run_obeys_an_override(key: str, tmp_path: Path) -> None:
    """``dvc exp run -S key=value`` writes the key with this function of DVC's; on an alias it would
    be lost silently.
    """
    file = tmp_path / "params.yaml"
    file.write_bytes(FILE.read_bytes())
    before = dict(leaves(raw()))
    value = other(before[key])
    apply_overrides(file, [f"{key}={value}"])
    after = dict(leaves(YAML(typ="safe", pure=True).load(file.read_text())))
    assert after == before | {key: value}
