"""Tests of the command line: wrong input exits with 2 and one line with the cause and the cure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.cli import main
from deepfake_repro.project.vocabulary import TRAINING_CORPORA

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the pipeline's two files only, as the working directory."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def roots(checkout: Path, text: str) -> None:
    """Write the roots file of the paper profile."""
    folder = checkout / "data" / "corpora"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "paper.yaml").write_text(f"roots:\n  {text}\n")


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]):
    """``complaint(arguments)``: the one line on stderr with which the command ends."""

    def run(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        printed = capsys.readouterr()
        assert (
            printed.out == "" and printed.err.startswith("error: ") and printed.err.count("\n") == 1
        ), printed
        return printed.err

    return run


@pytest.mark.parametrize(
    "command",
    [
        ("index", "--profile", "bogus", "--part", "training"),
        ("score-row", "bogus", "fsfm", "0"),
        ("counts", "--profile", "bogus"),
        ("train", "bogus", "fsfm", "0"),
        ("train", "bogus", "sbi", "0"),
        ("train", "bogus", "lnclip", "0"),
        ("predict", "bogus", "fsfm", "0"),
        ("export", "--profile", "bogus", "--format", "csv", "--out", "new"),
    ],
)
def test_unknown_profile(checkout: Path, complaint, command: tuple[str, ...]) -> None:
    assert (
        complaint(*command)
        == "error: unknown profile 'bogus'; params.yaml has demo, smoke, open, paper\n"
    )


def test_unknown_miniature(checkout: Path, complaint) -> None:
    assert (
        complaint("miniatures", "bogus")
        == "error: unknown miniature 'bogus'; params.yaml has demo, smoke\n"
    )
    assert not (checkout / "data").exists()


def test_missing_roots_file(checkout: Path, complaint) -> None:
    line = complaint("index", "--profile", "paper", "--part", "training")
    assert (
        "paper.yaml not found" in line
        and str(checkout / "data" / "corpora") in line
        and "data/README.md" in line
    )


def test_root_that_does_not_exist(checkout: Path, complaint) -> None:
    roots(checkout, "celebdf2: nowhere")
    line = complaint("index", "--profile", "paper", "--part", "training")
    assert (
        "celebdf2: root" in line and "nowhere' is not a folder; give the official download" in line
    )


def test_unknown_corpus(checkout: Path, complaint) -> None:
    roots(checkout, "celebdf3: here")
    line = complaint("index", "--profile", "paper", "--part", "unseen")
    assert "unknown corpus 'celebdf3': write 'celebdf2' in the roots file" in line


@pytest.mark.parametrize(
    "corpus",
    [
        "ffpp",
        "celebdf2",
        "dfdc",
        "fakeavceleb",
        "forgerynet",
        "df40",
        "wilddeepfake",
        "itw",
        "dfeval2024",
    ],
)
def test_empty_corpus_folder(checkout: Path, complaint, corpus: str) -> None:
    (checkout / "data" / "corpora" / "empty").mkdir(parents=True)
    roots(checkout, f"{corpus}: empty")
    part = "training" if corpus in TRAINING_CORPORA else "unseen"
    line = complaint("index", "--profile", "paper", "--part", part)
    assert corpus in line and "empty" in line
    assert not (checkout / "data" / "index").exists()


def test_one_broken_corpus_beside_a_good_one(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("real/a.mp4", "fake/b.mp4"):
        (checkout / "data" / "corpora" / "mine" / name).parent.mkdir(parents=True)
        (checkout / "data" / "corpora" / "mine" / name).write_bytes(b"x")
    roots(checkout, "itw: nowhere\n  my_test: mine")
    assert main(["index", "--profile", "paper", "--part", "unseen"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: itw: root") and "is not a folder" in line
    index = pd.read_parquet(checkout / "data" / "index" / "paper" / "unseen")
    assert index["video_id"].tolist() == ["my_test/fake/b", "my_test/real/a"]


def test_missing_metadata(checkout: Path, complaint) -> None:
    (checkout / "data" / "corpora" / "cdf" / "Celeb-synthesis").mkdir(parents=True)
    roots(checkout, "celebdf2: cdf")
    line = complaint("index", "--profile", "paper", "--part", "training")
    assert "celebdf2: 'List_of_testing_videos.txt' is missing; it decides the test split" in line


def test_wrong_key_in_params(checkout: Path, complaint) -> None:
    text = (checkout / "params.yaml").read_text()
    (checkout / "params.yaml").write_text(text.replace("  seeds: [0]", "  seed: [0]"))
    assert "unknown key run.seed;" in complaint("index", "--profile", "demo", "--part", "training")


def test_score_without_predictions_says_which_stage_makes_them(checkout: Path, complaint) -> None:
    line = complaint("score-row", "demo", "fsfm", "0")
    assert "no predictions in" in line and "dvc repro predict@demo-fsfm-0" in line
    assert not (checkout / "results").exists()


def test_audit_before_its_inputs_exist_names_the_missing_file(checkout: Path, complaint) -> None:
    assert "data/index/demo" in complaint("audit", "--profile", "demo")


def test_a_profile_that_the_run_does_not_audit_gets_an_audit_without_a_corpus(
    checkout: Path,
) -> None:
    """The report depends on the audit; that of the paper's corpora would read every video."""
    assert main(["audit", "--profile", "paper"]) == 0
    (file,) = (checkout / "results" / "paper" / "audit").iterdir()
    assert (file.name, file.read_text()) == ("shortcuts.csv", "dataset\n")


@pytest.mark.parametrize("command", [("counts",), ("export", "--format", "gend", "--out", "new")])
def test_before_the_index_exists_its_file_is_named(
    checkout: Path, complaint, command: tuple[str, ...]
) -> None:
    assert "data/index/demo" in complaint(*command, "--profile", "demo")
    assert not (checkout / "new").exists() and not (checkout / "results").exists()


def test_import_of_what_is_no_dataset_json(checkout: Path, complaint) -> None:
    command = ("import-deepfakebench", "x.json", "--frames-root", ".", "--out", "manifest.csv")
    assert "'x.json' does not exist; give DeepfakeBench's <dataset>.json" in complaint(*command)
    (checkout / "x.json").write_text("{")
    assert "x.json' is broken" in complaint(*command)
    (checkout / "x.json").write_text(
        '{"DFDC": {"DFDC_Real": {"test": {"a": {"frames": ["a/000.png"]}}}}}'
    )
    assert "none of its 1 folders of frames is below" in complaint(*command)
    assert not (checkout / "manifest.csv").exists()


def test_index_prints_what_was_found(checkout: Path, capsys) -> None:
    """A Celeb-DF of three videos, everything else without root: nothing stops."""
    root = checkout / "data" / "corpora" / "cdf"
    for name in (
        "Celeb-real/id0_0000.mp4",
        "YouTube-real/00000.mp4",
        "Celeb-synthesis/id0_id1_0000.mp4",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    (root / "List_of_testing_videos.txt").write_text(
        "1 YouTube-real/00000.mp4\n1 YouTube-real/00001.mp4"
    )
    roots(checkout, "celebdf2: cdf")
    assert main(["index", "--profile", "paper", "--part", "training"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["celebdf2", "test", "1", "0"] in [line[:4] for line in lines]
    assert ["celebdf2", "train", "1", "1"] in [line[:4] for line in lines]
    index = pd.read_parquet(checkout / "data" / "index" / "paper" / "training")
    assert index["split"].value_counts().to_dict() == {"train": 2, "test": 1}


def test_outside_a_checkout(tmp_path: Path, complaint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = complaint("index", "--profile", "demo", "--part", "training")
    assert "no dvc.yaml in or above" in line and "run this inside the repository" in line


@pytest.mark.parametrize(
    "arguments", [[], ["bogus"], ["index"], ["score-row", "demo", "fsfm", "first"]]
)
def test_wrong_usage_is_code_2_too(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2 and "usage: deepfake-repro" in capsys.readouterr().err


def module(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-m", "deepfake_repro", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_ctrl_c_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(chosen: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deepfake_repro.cli.operations._readme", interrupt)
    assert main(["readme"]) == 130
    assert capsys.readouterr().err == "interrupted: run the same command again\n"


def test_as_a_module(checkout: Path) -> None:
    """The process itself: exit code, nothing but the one line, no traceback."""
    result = module(checkout, "miniatures", "bogus")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: unknown miniature 'bogus'; params.yaml has demo, smoke\n"


def test_cheap_commands_do_not_load_torch() -> None:
    code = (
        "import sys; from deepfake_repro.cli import main; "
        "main(['index', '--profile', 'bogus', '--part', 'unseen']); "
    )
    result = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "False\n", result.stderr


def test_notebooks_are_checked_without_the_library_that_takes_long_to_load() -> None:
    """Every stage reads a notebook; ``jsonschema`` works without what it does not need there."""
    lines = (
        "import sys",
        "from deepfake_repro.cli import main",
        "main(['weights', 'list'])",
        "import nbformat",
        "nbformat.validate(nbformat.v4.new_notebook())",
        "assert 'rfc3987_syntax.syntax_helpers' not in sys.modules",
        "assert 'jsonschema' in sys.modules",
    )
    subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "src"},
        check=True,
    )
