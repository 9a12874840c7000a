"""Damaged files of every kind in one process: it ends, within bounded memory, with reasons."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepfake_repro.crops.preprocess import LOST
from support import corrupt_files

REASONS = {*LOST, "broken_off", "frame_without_face"}
HOPELESS = {
    "empty": {"empty"},
    "zeros": {"undecodable"},
    "header_only": {"undecodable"},
    "noise": {"undecodable", "no_face"},
    "other_content": {"undecodable"},
}


@pytest.fixture(scope="module")
def outcome(assets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    run = subprocess.run(
        [sys.executable, corrupt_files.__file__, str(folder / "c"), "210", "0"],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    *files, memory = json.loads(run.stdout)
    return files, memory["peak_memory_mib"]


def test_every_file_gives_crops_or_a_reason_in_one_line(outcome):
    files, _ = outcome
    assert len(files) == 210
    for file in files:
        assert file["crops"] > 0 if file["reason"] == "" else file["reason"] in REASONS, file
        assert (file["crops"] == 0) == (file["reason"] in LOST), file
        assert bool(file["detail"]) == bool(file["reason"]) and "\n" not in file["detail"], file


@pytest.mark.parametrize("fault", HOPELESS)
def test_hopeless_files_give_no_crops(outcome, fault):
    assert {file["reason"] for file in outcome[0] if file["fault"] == fault} <= HOPELESS[fault]


def test_file_names_do_not_matter(outcome):
    sound = [file for file in outcome[0] if file["fault"] == "wrong_extension"]
    assert len(sound) == 14
    assert all(
        file["crops"] == (6 if file["kind"] == "frames" else 3) and not file["reason"]
        for file in sound
    )


def test_memory_stays_bounded(outcome):
    _, peak = outcome
    assert peak < 1500  # MiB: 300, and 800 for eight frames of the largest allowed size


def test_files_depend_on_the_seed_not_on_the_clock(assets, tmp_path, monkeypatch):
    def content(name, seed):
        day = len(list(tmp_path.iterdir()))
        monkeypatch.setattr(time, "time", lambda: 1e9 + 86400.0 * day)
        corrupt_files.make(tmp_path / name, 30, seed)
        return {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in sorted(Path(tmp_path / name).rglob("*"))
            if path.is_file()
        }

    first = content("a", 1)
    assert first == content("b", 1) != content("c", 2)
