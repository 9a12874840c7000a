"""Tests of the paths of a profile and of the file that lists the corpora."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from deepfake_repro.project.paths import Paths, corpus_roots, profile_paths

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, text: str) -> Path:
    file = folder / "paper.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_relative_roots_count_from_the_file_and_absolute_ones_stay(tmp_path: Path) -> None:
    file = write(
        tmp_path, f"roots:\n  ffpp: paper/ffpp\n  dfdc: {tmp_path}/elsewhere\n  df40: ../df40\n"
    )
    assert corpus_roots(file) == {
        "ffpp": tmp_path / "paper" / "ffpp",
        "dfdc": tmp_path / "elsewhere",
        "df40": tmp_path / ".." / "df40",
    }


def test_corpora_without_a_folder_are_left_out(tmp_path: Path) -> None:
    assert list(corpus_roots(write(tmp_path, 'roots:\n  ffpp:\n  dfdc: ""\n  itw: mine\n'))) == [
        "itw"
    ]


def test_missing_roots_file_is_named_with_its_folder_and_the_page_that_helps(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError) as error:
        corpus_roots(tmp_path / "paper.yaml")
    message = str(error.value)
    assert "paper.yaml" in message and str(tmp_path) in message and "data/README.md" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "text", ["", "ffpp: here\n", "roots:\n", "roots: here\n", "- ffpp\n", "ffpp\n"]
)
def test_roots_file_without_roots_says_what_to_write(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"^paper\.yaml: missing key 'roots' with lines 'corpus: folder'$",
    ):
        corpus_roots(write(tmp_path, text))


def test_broken_yaml_is_one_line_with_file_and_line_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^paper\.yaml line 3 is not valid YAML: [^\n]+$"):
        corpus_roots(write(tmp_path, "roots:\n  ffpp: a\n\tdfdc: b\n"))


def test_the_paper_profiles_file_in_git_is_readable_and_claims_no_corpus() -> None:
    assert corpus_roots(ROOT / "data" / "corpora" / "paper.yaml") == {}


def test_places_are_those_of_the_nearest_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert profile_paths("smoke") == Paths("smoke", tmp_path)


def test_places_outside_a_checkout_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="run this inside the repository"):
        profile_paths("smoke")


def declared_outputs(profile: str) -> set[Path]:
    """Outputs, metrics and plots of ``dvc.yaml`` for one profile, variant fsfm and seed 0."""
    text = (ROOT / "dvc.yaml").read_text()
    values = {"": profile, ".profile": profile, ".variant": "fsfm", ".seed": "0"}
    for name, value in {**values, ".part": "training"}.items():
        text = text.replace(f"${{item{name}}}", value)
    bodies = [
        stage.get("do", stage)
        for stage in YAML(typ="safe", pure=True).load(text)["stages"].values()
    ]
    entries = [
        entry
        for body in bodies
        for kind in ("outs", "metrics", "plots")
        for entry in body.get(kind, [])
    ]
    return {Path(entry if isinstance(entry, str) else next(iter(entry))) for entry in entries}


def test_places_agree_with_the_outputs_in_dvc_yaml() -> None:
    outputs, paths = declared_outputs("demo"), Paths("demo", Path())
    assert {
        paths.roots,
        paths.training_index.parent,
        paths.training_crops,
        paths.samples,
        paths.report,
        paths.weights("fsfm", 0),
        paths.predictions("fsfm", 0),
        paths.runs / "fsfm-0" / "scores.json",
    } <= outputs


def test_scratch_is_outside_every_output_because_dvc_empties_those() -> None:
    scratch = Paths("demo", Path()).scratch("run")
    assert not any(scratch.is_relative_to(output) for output in declared_outputs("demo"))
