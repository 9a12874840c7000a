"""What a scan of a folder takes and what it leaves out, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_repro.scoring import inputs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    names = ("a.M2TS", "b.vob", "c.3g2", "d.qt", "e.ogg", ".hidden.mp4", "sub/notes.txt", "README")
    for name in (*names, *(f"label{number}.csv" for number in range(4))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "loop").symlink_to(tmp_path)
    return folder


def test_less_common_videos_are_taken(folder: Path) -> None:
    taken = [file.name for file in inputs.collect([folder])]
    assert taken == ["a.M2TS", "b.vob", "c.3g2", "d.qt", "e.ogg"]


def test_a_scan_says_what_it_left_out_and_why(folder: Path) -> None:
    assert inputs.left_out([folder, folder / "a.M2TS"]) == [
        f"{folder}: left out 1 (links to folders are not followed): loop",
        f"{folder}: left out 1 (hidden): .hidden.mp4",
        f"{folder}: left out 1 (no suffix): README",
        f"{folder}: left out 4 (.csv is no video or image): label0.csv, label1.csv, label2.csv, …",
        f"{folder}: left out 1 (.txt is no video or image): notes.txt",
    ]


def test_a_name_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "x\x1b]0;.odd").touch()
    (line,) = inputs.left_out([tmp_path])
    assert line.isprintable()
