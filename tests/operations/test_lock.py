"""Merging dvc.lock: by stage, as a command and as git's merge driver."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils.serialize import dumps_yaml, parse_yaml

from deepfake_repro.cli import main
from deepfake_repro.operations.lock import merge_lock, put_stages

ROOT = Path(__file__).resolve().parents[2]


def entry(content: str) -> dict[str, object]:
    """A stage's record as DVC writes it: its output has this content."""
    out = {"path": "model.json", "hash": "md5", "md5": content * 32, "size": 9}
    return {"cmd": "python -m deepfake_repro train " + "demo " * 20, "outs": [out]}


def lock(path: Path, **stages: str) -> Path:
    content = {name: entry(content) for name, content in stages.items()}
    path.write_text(dumps_yaml({"schema": "2.0", "stages": content}))
    return path


def stages(path: Path) -> dict[str, object]:
    return parse_yaml(path.read_text(), str(path))["stages"]


def test_rows_of_two_machines_are_joined_in_order(tmp_path: Path) -> None:
    base = lock(tmp_path / "base", crops="a")
    ours = lock(tmp_path / "ours", crops="a", row1="b", row2="c")
    theirs = lock(tmp_path / "theirs", crops="a", row3="d", row4="b")
    assert merge_lock(ours, theirs, base) == []
    expected = lock(tmp_path / "expected", crops="a", row1="b", row2="c", row3="d", row4="b")
    assert ours.read_bytes() == expected.read_bytes()


def test_finished_stages_replace_their_entries_and_others_stay(tmp_path: Path) -> None:
    ours = lock(tmp_path / "ours", crops="a", row1="b")
    put_stages(ours, {"row1": entry("c"), "row2": entry("d")})
    assert ours.read_bytes() == lock(tmp_path / "e", crops="a", row1="c", row2="d").read_bytes()


@pytest.mark.parametrize("base, ours, theirs", itertools.product(["", "a", "b", "c"], repeat=3))
def test_every_case_of_one_stage(tmp_path: Path, base: str, ours: str, theirs: str) -> None:
    """The side that changed a stage decides; an empty text stands for no such stage."""
    files = [
        lock(tmp_path / str(number), **({"row": content} if content else {}), other="a")
        for number, content in enumerate((ours, theirs, base))
    ]
    changed = {side for side in (ours, theirs) if side != base}
    conflicts = merge_lock(*files)
    assert conflicts == (["row"] if len(changed) == 2 else [])
    if len(changed) < 2:
        left = (changed or {base}).pop()
        assert stages(files[0]).get("row") == (entry(left) if left else None)
    else:
        assert stages(files[0]).get("row") == (entry(ours) if ours else None)
    assert "other" in stages(files[0])


def test_without_a_base_stages_of_one_side_stay_and_different_ones_conflict(tmp_path: Path) -> None:
    ours = lock(tmp_path / "ours", same="a", mine="b", row="c")
    theirs = lock(tmp_path / "theirs", row="d", same="a", yours="b")
    assert merge_lock(ours, theirs) == ["row"]
    assert set(stages(ours)) == {"same", "mine", "row", "yours"}
    assert stages(ours)["row"] == entry("c")


def test_the_committed_lock_keeps_its_bytes(tmp_path: Path) -> None:
    """Its first stages, which say how DVC folds lines and orders keys."""
    text = (ROOT / "dvc.lock").read_text(encoding="utf-8")
    text = text[: [found.start() for found in re.finditer(r"^  \S", text, re.M)][10]]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for file in (ours, theirs):
        file.write_text(text, encoding="utf-8")
    assert merge_lock(ours, theirs) == []
    assert ours.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "text", ["", "<<<<<<< ours\nschema: '2.0'\n=======\n", "[]", "schema: '2.0'"]
)
def test_what_is_no_lock_is_refused_and_nothing_is_written(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = lock(tmp_path / "ours", row="a")
    before = ours.read_bytes()
    (tmp_path / "theirs").write_text(text)
    assert main(["merge-lock", str(ours), str(tmp_path / "theirs")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "theirs is not a dvc.lock" in message
    assert ours.read_bytes() == before


def test_a_folder_is_refused_and_a_lock_without_stages_is_not(tmp_path: Path) -> None:
    ours = lock(tmp_path / "ours", row="a")
    before = ours.read_bytes()
    with pytest.raises(ValueError, match="is a folder"):
        merge_lock(tmp_path, ours)
    empty = tmp_path / "empty"
    empty.write_text("schema: '2.0'\nstages:\n")
    assert merge_lock(ours, empty) == []
    assert merge_lock(empty, ours) == []
    assert stages(empty) == stages(ours)
    assert ours.read_bytes() == before


def test_two_schemas_are_refused(tmp_path: Path) -> None:
    ours = lock(tmp_path / "ours", row="a")
    theirs = lock(tmp_path / "theirs", row="a")
    theirs.write_text(theirs.read_text().replace("2.0", "3.0"))
    with pytest.raises(ValueError, match=r"schema 3.0, .* has 2.0: run both with one version"):
        merge_lock(ours, theirs)


def git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    names = {
        f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env={**os.environ, **names, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=check,
    )


@pytest.mark.parametrize("theirs, is_merged", [({"row2": "c"}, True), ({"row1": "c"}, False)])
def test_git_merges_by_the_driver(tmp_path: Path, theirs: dict[str, str], is_merged: bool) -> None:
    """Both branches add a row at the end, where git alone finds a conflict."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    driver = f"{sys.executable} -m deepfake_repro merge-lock %A %B --base %O"
    git(tmp_path, "config", "merge.dvc-lock.driver", driver)
    (tmp_path / ".gitattributes").write_text("dvc.lock merge=dvc-lock\n")

    def commit(**rows: str) -> None:
        lock(tmp_path / "dvc.lock", crops="a", **rows)
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "--quiet", "--message", "rows")

    commit()
    git(tmp_path, "switch", "--quiet", "--create", "theirs")
    commit(**theirs)
    git(tmp_path, "switch", "--quiet", "main")
    commit(row1="b")
    result = git(tmp_path, "merge", "--no-edit", "theirs", check=False)
    assert (result.returncode == 0) == is_merged, result.stderr
    assert set(stages(tmp_path / "dvc.lock")) == {"crops", "row1", *theirs}
    if not is_merged:
        assert "row1 was changed on both sides, ours is kept" in result.stderr
