"""Tests that files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepfake_repro.project.files import replacing


@pytest.mark.parametrize("several", [False, True])
def test_what_is_written_takes_the_place_of_what_was(tmp_path: Path, several: bool) -> None:
    file = tmp_path / "new" / "file.txt"
    for content in ("one", "two"):
        with replacing(file, several_writers=several) as temporary:
            temporary.write_text(content)
            assert not file.exists() or file.read_text() == "one"
        assert file.read_text() == content
    assert list(file.parent.iterdir()) == [file]


def test_an_interrupted_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(file) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("theirs")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with replacing(link) as temporary:
        temporary.write_text("ours")
    assert not link.is_symlink() and (tmp_path / "elsewhere").read_text() == "theirs"


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    with replacing(file, several_writers=True) as one, replacing(file, several_writers=True) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert file.read_text() == "one"
