"""The BibTeX file: entries of what was used, whatever a manifest says."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from deepfake_repro.detectors.catalogue import RELEASED
from deepfake_repro.scoring.model import Model, read_model
from deepfake_repro.scoring.sources.citations import bibliography
from support import scoring_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return read_model(scoring_model.make(tmp_path_factory.mktemp("weights") / "tiny-0"))


def keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{(\w+),$", text, flags=re.M)


def test_a_row_cites_method_face_detector_and_calibration(model: Model) -> None:
    text = bibliography([model])
    assert keys(text) == ["detector1", "mylonas2025", "deng2020", "guo2017", "deepfakerepro"]
    assert model.digest in text and "10.1145/3746275.3762208" in text


def test_each_entry_stands_once_and_braces_are_balanced(model: Model) -> None:
    released = [
        replace(model, described=RELEASED[name].manifest, calibration=None)
        for name in ("gend_clip_l14", "fsfm_vit_b", "sbi_c23", "sbi_raw")
    ]
    text = bibliography([model, *released])
    assert len(keys(text)) == len(set(keys(text))) and {"yermakov2025", "wang2025"} <= {*keys(text)}
    assert text.count("{") == text.count("}")


def test_a_manifest_cannot_break_out_of_its_entry(model: Model) -> None:
    evil = replace(model.recipe, name="x}\n@string{a = 1}\\input{/etc} 5 % & more")
    text = bibliography([replace(model, described=evil)])
    assert keys(text)[0] == "detector1" and "@string{" not in text and "\\input" not in text
    assert r"5 \% \& more" in text and text.count("{") == text.count("}")
