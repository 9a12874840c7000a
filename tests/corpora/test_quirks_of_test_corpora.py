"""Quirks of the corpora that only test, each reported by users or seen in the official files."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter

import pytest

from support.official_trees import (
    df40,
    dfeval2024,
    fill,
    itw,
    tar_bytes,
    wilddeepfake,
    write,
)
from support.quirks import SMALL, report, without_path
from support.trees import rows


@pytest.mark.parametrize(
    "spelling, method",
    [
        ("inswapper", "inswap"),
        ("MobileFaceSwap", "mobileswap"),
        ("FS_vid2vid", "facevid2vid"),
        ("face_vid2vid", "facevid2vid"),
        ("OneShot", "one_shot_free"),
        ("DaGAN", "danet"),
        ("mraa", "mraa"),
    ],
)
def test_df40_methods_by_their_other_names(tmp_path, spelling, method):
    root = df40(tmp_path, SMALL)
    before = Counter(row["manipulation"] for row in rows("df40", root).values())
    folder = next(path for path in (root / "DF40").iterdir() if path.name.lower() == method)
    folder.rename(root / "DF40" / spelling)
    assert Counter(row["manipulation"] for row in rows("df40", root).values()) == before
    fill(
        root, [f"DF40/{method.title() if spelling == method else method}/cdf/frames/00000/000.png"]
    )
    with pytest.raises(ValueError, match=f"are both {method}; remove one"):
        rows("df40", root)


def test_df40_reals_from_its_own_json_where_the_list_is_absent(tmp_path):
    root = df40(tmp_path, SMALL)
    listed = {name for name, row in rows("df40", root).items() if row["label"] == 0}
    (root / "Celeb-DF-v2/List_of_testing_videos.txt").unlink()
    names = [name.rpartition("/")[2] for name in listed]
    content = {
        "simswap_cdf": {
            "simswap_Fake": {"train": {}, "test": {"id0_id1_0000": {"label": "simswap_Fake"}}},
            "simswap_Real": {
                "train": {},
                "val": None,
                "test": {
                    name: {"label": "simswap_Real", "frames": []} for name in [*names, "id99_0000"]
                },
            },
            "": None,
        },
        "empty": None,
    }
    write(root, {"dataset_json/simswap_cdf.json": json.dumps(content)})
    assert {name for name, row in rows("df40", root).items() if row["label"] == 0} == listed
    summary = report("df40", root)
    assert summary.metadata_only == ("celeb-real/id99_0000",)
    assert "are those of 'simswap_cdf.json'" in summary.notes[0]


def test_df40_reals_as_the_original_videos(tmp_path):
    root = df40(tmp_path, SMALL)
    before = rows("df40", root)
    for folder in ("Celeb-real", "YouTube-real"):
        for path in list((root / "Celeb-DF-v2" / folder / "frames").iterdir()):
            fill(root, [f"Celeb-DF-v2/{folder}/{path.name}.mp4"])
        shutil.rmtree(root / "Celeb-DF-v2" / folder / "frames")
    after = rows("df40", root)
    assert Counter(
        (row["label"], row["manipulation"], row["target_id"]) for row in after.values()
    ) == Counter((row["label"], row["manipulation"], row["target_id"]) for row in before.values())
    assert {row["kind"] for row in after.values() if row["label"] == 0} == {"video"}
    assert (
        report("df40", root)
        .notes[0]
        .startswith("reals are videos but fakes are DF40's aligned crops")
    )


def test_df40_only_the_celebdf_domain_of_the_papers_methods(tmp_path):
    root = df40(tmp_path, SMALL)
    fill(
        root,
        [
            "DF40/deepfacelab/fake/x/000.png",
            "DF40/deepfacelab/real/x/000.png",
            "DF40/e4s/ff/frames/a/0.png",
        ],
    )
    shutil.rmtree(root / "DF40/lia/cdf")
    videos = rows("df40", root)
    assert not any(
        "/ff/" in name or "/landmarks/" in name or "deepfacelab" in name for name in videos
    )
    assert report("df40", root).notes == (
        "methods outside the paper's 21 left out: StyleGAN2, deepfacelab, heygen",
        "no cdf/frames/ of: lia",
    )


def test_wilddeepfake_archives_unpacked_into_folders_of_their_own(tmp_path):
    videos = rows("wilddeepfake", wilddeepfake(tmp_path / "tars", 0.1))
    root = wilddeepfake(tmp_path / "extracted", 0.1, extracted=True)
    for shard in list(root.glob("*/*")):
        shard.rename(shard.with_name("moved"))
        shard.mkdir()
        shard.with_name("moved").rename(shard / shard.name)
    assert without_path(rows("wilddeepfake", root)) == without_path(videos)


def test_wilddeepfake_a_true_gzip_is_read_too(tmp_path):
    root = wilddeepfake(tmp_path, SMALL)
    before = rows("wilddeepfake", root)
    for path in root.glob("*/*.tar.gz"):
        path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    assert rows("wilddeepfake", root) == before


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        b"<html>sign in</html>",
        tar_bytes(["./0/real/0/3.png"])[:700],
        gzip.compress(tar_bytes(["./0/real/0/3.png"]), mtime=0)[:60],
    ],
    ids=["pointer", "page", "half", "half a gzip"],
)
def test_wilddeepfake_what_is_no_whole_archive(tmp_path, content):
    root = write(wilddeepfake(tmp_path, SMALL), {"real_train/9.tar.gz": content})
    with pytest.raises(
        ValueError, match=r"'9.tar.gz' in 'real_train' is not a readable tar .*download it again"
    ):
        rows("wilddeepfake", root)


@pytest.mark.parametrize(
    "member", ["0/real/../3.png", "../0/real/7/3.png", "/0/real/7/3.png", "0/real/7/../../../3.png"]
)
def test_wilddeepfake_members_cannot_lead_out(tmp_path, member):
    root = write(wilddeepfake(tmp_path, SMALL), {"real_train/9.tar.gz": tar_bytes([member])})
    with pytest.raises(
        ValueError,
        match=r"'9.tar.gz' in 'real_train' contains '.*', which leads out of the archive",
    ):
        rows("wilddeepfake", root)


def test_wilddeepfake_extracted_folder_of_the_other_label(tmp_path):
    root = fill(wilddeepfake(tmp_path, SMALL, extracted=True), ["real_train/9/fake/0/3.png"])
    with pytest.raises(
        ValueError, match="'real_train/9/fake/0': expected '<shard>/real/<sequence>'"
    ):
        rows("wilddeepfake", root)


def test_dfeval_edition_of_the_paper_is_preferred_to_the_one_with_links(tmp_path):
    """With links the 960 Unknown are Real: 1,072 / 964 instead of the paper's 112 / 964."""
    root = dfeval2024(tmp_path, 0.1)
    before, path = rows("dfeval2024", root), root / "video-metadata-publish.csv"
    later = path.read_text(encoding="utf-8-sig").replace("Unknown", "Real")
    write(root, {"video-metadata-publish-with-links.csv": later})
    assert rows("dfeval2024", root) == before
    path.unlink()
    reals = sum(row["label"] == 0 for row in rows("dfeval2024", root).values())
    assert reals > sum(row["label"] == 0 for row in before.values())
    note = report("dfeval2024", root).notes[1]
    assert "1,072 / 964" in note and "112 / 964" in note and "with-links" in note


def test_dfeval_newer_edition_with_links_and_columns_by_name(tmp_path):
    root = dfeval2024(tmp_path, 0.1)
    before, path = rows("dfeval2024", root), root / "video-metadata-publish.csv"
    header, _, rest = path.read_text(encoding="utf-8-sig").partition("\n")
    path.unlink()
    write(
        root,
        {
            "video-metadata-publish-with-links.csv": header.replace(
                "Video Ground Truth", " VIDEO  ground truth"
            ).replace("Filename", "filename")
            + ",Link\n"
            + rest
        },
    )
    assert rows("dfeval2024", root) == before


def test_dfeval_one_name_in_two_folders(tmp_path):
    root = dfeval2024(tmp_path, 0.1)
    name = next(path.name for path in (root / "video-data").iterdir())
    fill(root, [f"video-data/again/{name}"])
    with pytest.raises(
        ValueError, match=f"dfeval2024: '{name}' is in both 'video-data' and 'again'"
    ):
        rows("dfeval2024", root)


def test_manifest_paths_of_windows_and_names_with_spaces_and_letters(tmp_path):
    names = ["clips/a b.mp4", "clips/été 日本.mp4", "clips/100%,'x'.mp4"]
    fill(tmp_path, names)
    written = (
        "\ufeffpath,label\r\n"
        "clips\\a b.mp4,real\r\n"
        ".\\clips\\été 日本.mp4,fake\r\n"
        "\"clips/100%,'x'.mp4\",1\r\n"
    )
    write(tmp_path, {"manifest.csv": written})
    label_of = {row["path"]: row["label"] for row in rows("itw", tmp_path).values()}
    assert label_of == dict(zip(names, (0, 1, 1), strict=True))


def test_manifest_links_out_of_the_root_are_refused_but_inside_it_they_work(tmp_path):
    fill(tmp_path, ["outside/a.mp4", "root/clips/b.mp4"])
    root = tmp_path / "root"
    (root / "inside").symlink_to("clips")
    write(root, {"manifest.csv": "path,label\ninside/b.mp4,fake\n"})
    assert [row["label"] for row in rows("itw", root).values()] == [1]
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "file.mp4").symlink_to(tmp_path / "outside/a.mp4")
    for path in ("folder/a.mp4", "file.mp4"):
        write(root, {"manifest.csv": f"path,label\n{path},fake\n"})
        with pytest.raises(
            ValueError, match=f"entry 1: path '{path}' must be inside the root but is a link out"
        ):
            rows("itw", root)


def test_manifest_under_a_root_that_is_itself_a_link(tmp_path):
    itw(tmp_path / "disk", SMALL)
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    assert rows("itw", tmp_path / "link") == rows("itw", tmp_path / "disk")


def test_manifest_two_entries_with_one_id(tmp_path):
    fill(tmp_path, ["a.mp4", "b.mp4"])
    write(tmp_path, {"manifest.csv": "path,label,video_id\na.mp4,real,x\nb.mp4,real,x\n"})
    with pytest.raises(ValueError, match=r"itw/x: listed twice, as 'a.mp4' and 'b.mp4'"):
        rows("itw", tmp_path)
    write(tmp_path, {"manifest.csv": "path,label\na.mp4,real\n.\\a.mp4,fake\n"})
    with pytest.raises(ValueError, match="two labels"):
        rows("itw", tmp_path)
