"""The study of few labels on toy crops, which tell real from fake by colour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from deepfake_repro.evaluation.metrics import auc
from deepfake_repro.methods.finetune import label_curve
from deepfake_repro.methods.finetune.few_labels import COLUMNS, linear_scores
from deepfake_repro.methods.finetune.label_curve import Cell, Study, cells, repeated
from deepfake_repro.project import params
from deepfake_repro.project.paths import Paths
from deepfake_repro.project.recipes import LabelCurve
from deepfake_repro.training.detector import build_detector
from support import toy_training as toy

PARAMS = params.load(Path(__file__).resolve().parents[3] / "params.yaml")
LABELS = LabelCurve(
    rows=("imagenet", "fsfm"),
    sizes=(16, 64, 4096),
    fine_tune_sizes=(16,),
    min_steps=30,
    neighbours=5,
    split="test",
    test_crops=64,
    seeds=(0, 1),
)
OPTIONS = replace(PARAMS.profile("smoke"), train=toy.RECIPE, labels=LABELS)
ALL = list(cells(LABELS, 128))


def toy_start(row, options, seed):
    """Build a network whose random weights depend on the start, and its head on the seed."""
    torch.manual_seed(len(row.name))
    recipe = options.train
    detector = build_detector(recipe.architecture, 2, depth=1, input_size=32)
    torch.manual_seed(seed)
    torch.nn.init.trunc_normal_(detector.encoder.head.weight, std=recipe.head_std)
    return detector, toy.NORM


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    store = toy.toy_store(tmp_path / "crops")
    rows = store.table(["video_id", "frame", "face"])
    rows["label"] = toy.LABELS[rows["video_id"].str[-3:].astype(int)]
    study = Study(
        rows={name: PARAMS.variant(name) for name in LABELS.rows},
        options=OPTIONS,
        store=store,
        train=rows.iloc[:128].assign(number=np.arange(128)),
        test=rows.iloc[128:192].reset_index(drop=True),
        scratch=tmp_path / "scratch",
    )
    monkeypatch.setattr(label_curve, "start_detector", toy_start)
    monkeypatch.setattr(label_curve, "open_study", lambda profile: study)
    monkeypatch.setattr(label_curve, "profile_paths", lambda profile: Paths(profile, tmp_path))
    return study


def test_cells_are_those_whose_subsets_the_sample_has() -> None:
    assert len(ALL) == len(set(ALL)) == 2 * 2 * (2 + 2 + 1 + 1)
    assert {cell.pictures for cell in ALL} == {16, 64}
    assert [cell.seed for cell in ALL] == [0] * 12 + [1] * 12


def test_an_epoch_repeats_a_small_subset_evenly_and_a_large_one_never() -> None:
    subset = pd.DataFrame({"video_id": range(20)})
    counts = repeated(subset, toy.RECIPE, LABELS)["video_id"].value_counts()
    assert counts.sum() == 10 * 16 and set(counts) == {8}  # 30 steps in three epochs
    large = pd.DataFrame({"video_id": range(500)})
    assert repeated(large, toy.RECIPE, LABELS)["video_id"].is_unique


def test_an_interrupted_study_ends_with_the_same_file(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    file = label_curve.write_curve("smoke")
    first = file.read_bytes()
    table = pd.read_csv(file)
    assert list(table) == COLUMNS and len(table) == len(ALL)
    assert f"labels {len(ALL)}/{len(ALL)}: " in capsys.readouterr().out

    lost = Cell("fsfm", "fine_tuning", 16, 1)
    (study.scratch / "fsfm-fine_tuning-16-1.txt").unlink()
    computed = []
    scores = Study._scores
    monkeypatch.setattr(
        Study, "_scores", lambda self, cell: computed.append(cell) or scores(self, cell)
    )
    file.unlink()
    assert label_curve.write_curve("smoke").read_bytes() == first
    assert computed == [lost]


def test_the_linear_probe_sees_the_embeddings_of_its_subset(study: Study) -> None:
    cell = Cell("imagenet", "linear", 64, 0)
    subset = label_curve.balanced_subset(study.train, 64, 0)
    detector, norm = toy_start(study.rows["imagenet"], OPTIONS, 0)
    view = toy.evaluation_transform("windows", 32, norm)

    def embed(rows: pd.DataFrame) -> np.ndarray:
        numbers = rows["video_id"].str[-3:].astype(int)
        images = torch.stack([view(study.store.image(number)) for number in numbers])
        with torch.inference_mode():
            return detector.eval().embed(images.flatten(0, 1)).unflatten(0, (-1, 4)).mean(1).numpy()

    expected = linear_scores(embed(subset), subset["label"].to_numpy(), embed(study.test))
    assert study.auc_of(cell) == pytest.approx(
        100 * auc(study.test["label"].to_numpy(), expected), abs=0.2
    )


def test_fine_tuning_learns_the_colour(study: Study) -> None:
    assert study.auc_of(Cell("imagenet", "fine_tuning", 16, 0)) > 90


def test_sizes_that_the_sample_lacks_are_an_error(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(study, train=study.train.iloc[:8])
    monkeypatch.setattr(label_curve, "open_study", lambda profile: few)
    with pytest.raises(ValueError, match=r"params.yaml: smoke.labels: the sample has 8 balanced"):
        label_curve.write_curve("smoke")


def test_the_control_learns_the_same_crops_with_other_labels(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt = []

    def fine_tuned(self: Study, cell: Cell, subset: pd.DataFrame) -> np.ndarray:
        learnt.append(subset)
        return np.linspace(0, 1, len(self.test))

    monkeypatch.setattr(Study, "_fine_tuned_scores", fine_tuned)
    for method in ("fine_tuning", "shuffled"):
        study.auc_of(Cell("fsfm", method, 64, 0))
    told, shuffled = learnt
    pd.testing.assert_frame_equal(told.drop(columns="label"), shuffled.drop(columns="label"))
    assert sorted(told["label"]) == sorted(shuffled["label"])
    assert told["label"].tolist() != shuffled["label"].tolist()
