"""Links, leftovers, copies and odd names do not change an index."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from deepfake_repro.corpora import ADAPTERS
from support.official_trees import (
    TREES,
    fakeavceleb,
    itw,
    write,
)
from support.quirks import SMALL, without_path
from support.trees import rows

SCALE = dict.fromkeys(TREES, SMALL) | {"dfdc": 0.005, "forgerynet": 0.002}
# Without itw: a manifest's paths are relative to the root itself.
LOCATED = [corpus for corpus in TREES if corpus != "itw"]


@pytest.mark.parametrize("corpus", LOCATED)
def test_the_corpus_its_parent_and_a_doubled_folder_give_the_same_index(tmp_path, corpus):
    inner = tmp_path / "deepfake" / "all_fake" / "really_real"
    TREES[corpus](inner, SCALE[corpus])
    videos = rows(corpus, inner)
    # FakeAVCeleb's tree is doubled already.
    for root in (
        inner.parent,
        inner / "FakeAVCeleb_v1.2" if corpus == "fakeavceleb" else inner.parent.parent,
    ):
        again = rows(corpus, root)
        assert without_path(again) == without_path(videos)
        assert all((root / row["path"].partition("!")[0]).exists() for row in again.values())


@pytest.mark.parametrize("corpus", LOCATED)
def test_two_copies_side_by_side_are_not_chosen_between(tmp_path, corpus):
    TREES[corpus](tmp_path / "a", SCALE[corpus])
    TREES[corpus](tmp_path / "b", SCALE[corpus])
    with pytest.raises(
        ValueError, match=f"{corpus}: both '.*/a.*' and '.*/b.*' contain .*; give one of them"
    ):
        rows(corpus, tmp_path)


@pytest.mark.parametrize("corpus", TREES)
def test_what_systems_and_broken_downloads_leave_behind_changes_nothing(tmp_path, corpus):
    root = TREES[corpus](tmp_path / "official", SCALE[corpus])
    before = rows(corpus, root)
    for folder, _, names in list(os.walk(root)):
        write(
            Path(folder),
            {
                ".DS_Store": "x",
                "Thumbs.db": "x",
                "__MACOSX/0.mp4": "x",
                ".hidden/1.png": "x",
                "empty.mp4": "",
                "empty.png": "",
                "late.mp4.part": "x",
                "late.mp4.aria2": "x",
                "late.mp4": "half a video",
            },
        )
        write(Path(folder), {f"._{name}": "x" for name in names[:2]})
    assert rows(corpus, root) == before


@pytest.mark.parametrize("corpus", TREES)
def test_the_order_in_which_files_were_written_does_not_matter(tmp_path, corpus):
    root = TREES[corpus](tmp_path / "one", SCALE[corpus])
    files = [path for path in root.rglob("*") if path.is_file()]
    for path in reversed(files):
        copy = tmp_path / "two" / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    assert ADAPTERS[corpus].index(root)[0].equals(ADAPTERS[corpus].index(tmp_path / "two")[0])


@pytest.mark.parametrize("corpus", LOCATED)
def test_folders_linked_to_another_disk_are_followed(tmp_path, corpus):
    root = TREES[corpus](tmp_path / "official", SCALE[corpus])
    before = rows(corpus, root)
    for folder in [path for path in root.iterdir() if path.is_dir()]:
        shutil.move(folder, tmp_path / "disk" / folder.name)
        folder.symlink_to(tmp_path / "disk" / folder.name)
    assert rows(corpus, root) == before


@pytest.mark.parametrize("corpus", TREES)
def test_circular_and_broken_links_end(tmp_path, corpus):
    root = TREES[corpus](tmp_path / "official", SCALE[corpus])
    before = rows(corpus, root)
    for number, folder in enumerate(path for path in list(root.rglob("*")) if path.is_dir()):
        (folder / f"up{number}").symlink_to("..")
        (folder / f"here{number}").symlink_to(".")
        (folder / f"itself{number}.mp4").symlink_to(f"itself{number}.mp4")
        (folder / f"gone{number}.mp4").symlink_to("nowhere.mp4")
    assert rows(corpus, root) == before


def test_two_folders_that_hold_links_to_each_other(tmp_path):
    root = fakeavceleb(tmp_path / "official", SMALL)
    before = rows("fakeavceleb", root)
    one, two = sorted(root.glob("*/FakeVideo-RealAudio/*/*"))[:2]
    (one / "other").symlink_to(two)
    (two / "other").symlink_to(one)
    assert rows("fakeavceleb", root) == before


@pytest.mark.skipif(os.name != "posix", reason="only posix names are bytes")
def test_a_name_that_is_not_utf8_is_an_error_that_can_be_printed(tmp_path):
    root = itw(tmp_path, SMALL)
    (root / "manifest.csv").unlink()
    (root / "clips").rename(root / "real")
    video = root / "real" / "fake" / "0000.mp4"
    video.rename(root / "real" / os.fsdecode(b"\xff.mp4"))
    with pytest.raises(
        ValueError, match=r"itw: the name 'real/\\udcff.mp4' is not UTF-8; rename the file"
    ):
        rows("itw", root)
