"""Corpora that only test, private collections, photographs, and the index of all of them."""

import csv
import io
import json
import tarfile
from pathlib import Path

import pytest

from deepfake_repro.corpora import ADAPTERS, PAPER, index_corpora
from deepfake_repro.corpora.adapters.df40 import METHODS as df40_methods
from support.trees import make, rows


@pytest.fixture
def df40(tmp_path) -> Path:
    """Two methods under their own and another name, one outside the paper, three reals of which two
    are test.
    """
    return make(
        tmp_path / "download",
        {
            **dict.fromkeys(
                (
                    "DF40/simswap/cdf/frames/id0_id1_0000/000.png",
                    "DF40/MRAA/cdf/frames/00170/000.png",
                    "DF40/inswapper/cdf/frames/id0_id2_0000/000.png",
                    "DF40/simswap/ff/frames/071_054/000.png",
                    "DF40/heygen/fake/x/000.png",
                    "DF40/simswap/cdf/frames/id9_id1_0000/notes.txt",
                    "Celeb-DF-v2/Celeb-real/frames/id0_0000/000.png",
                    "Celeb-DF-v2/Celeb-real/frames/id5_0000/000.png",
                    "Celeb-DF-v2/YouTube-real/frames/00170/000.png",
                ),
                b"x",
            ),
            "Celeb-DF-v2/List_of_testing_videos.txt": "1 Celeb-real/id0_0000.mp4\n"
            "1 YouTube-real/00170.mp4\n"
            "0 Celeb-synthesis/id0_id1_0000.mp4",
        },
    )


def test_df40_methods_reals_and_pairs(df40):
    videos = rows("df40", df40)
    assert {
        name: (
            row["manipulation"],
            row["category"],
            row["label"],
            row["pair_key"].rpartition("/")[2],
        )
        for name, row in videos.items()
    } == {
        "Celeb-DF-v2/Celeb-real/frames/id0_0000": ("real", "REAL", 0, ""),
        "Celeb-DF-v2/YouTube-real/frames/00170": ("real", "REAL", 0, ""),
        "DF40/simswap/cdf/frames/id0_id1_0000": ("simswap", "FS", 1, "id0_0000"),
        "DF40/inswapper/cdf/frames/id0_id2_0000": ("inswap", "FS", 1, "id0_0000"),
        "DF40/MRAA/cdf/frames/00170": ("mraa", "RE", 1, "00170"),
    }
    assert {(row["kind"], row["split"]) for row in videos.values()} == {("frames", "test")}
    assert "heygen" in ADAPTERS["df40"].index(df40)[1].notes[0]


def test_df40_without_list_or_without_reals(df40):
    (df40 / "Celeb-DF-v2/List_of_testing_videos.txt").unlink()
    table, report = ADAPTERS["df40"].index(df40)
    assert (
        table["label"] == 0
    ).sum() == 3 and "all 3 reals are taken for test reals" in report.notes[0]
    make(df40, {"Celeb-DF-v2/List_of_testing_videos.txt": "1 Celeb-real/id77_0000.mp4"})
    with pytest.raises(FileNotFoundError, match="df40: no real under"):
        rows("df40", df40)


def test_df40_counts_of_methods():
    assert [list(df40_methods.values()).count(category) for category in ("FS", "RE")] == [9, 12]


def tar_bytes(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    return buffer.getvalue()


@pytest.mark.parametrize("between", ["_", " ", "-"])
def test_wilddeepfake_archives_and_folder_names(tmp_path, between):
    root = make(
        tmp_path / "deepfake_in_the_wild",
        {
            f"real{between}train/1.tar.gz": tar_bytes(
                ["./1/real/131/3.png", "./1/real/131/17.png", "./1/real/7/0.png"]
            ),
            f"fake{between}test/1.tar.gz": tar_bytes(
                ["./1/fake/131/3.png", "./1/fake/131/._3.png"]
            ),
        },
    )
    videos = rows("wilddeepfake", tmp_path)
    assert {name: (row["label"], row["category"]) for name, row in videos.items()} == {
        "real_train/1/131": (0, "REAL"),
        "real_train/1/7": (0, "REAL"),
        "fake_test/1/131": (1, "UNK"),
    }
    row = videos["real_train/1/131"]
    assert (
        row["path"] == f"{root.name}/real{between}train/1.tar.gz!1/real/131"
        and row["split"] == "test"
    )
    assert json.loads(row["attrs"]) == {"every": 10, "fold": "train"}


def test_wilddeepfake_extracted_has_the_same_ids_and_both_at_once_is_an_error(tmp_path):
    make(tmp_path, ["real_train/1/real/131/3.png"])
    assert list(rows("wilddeepfake", tmp_path)) == ["real_train/1/131"]
    make(tmp_path, {"real_train/1.tar.gz": tar_bytes(["./1/real/131/3.png"])})
    with pytest.raises(ValueError, match="real_train/1/131: listed twice"):
        rows("wilddeepfake", tmp_path)


def test_wilddeepfake_inner_folder_must_agree(tmp_path):
    make(tmp_path, {"real_train/1.tar.gz": tar_bytes(["./1/fake/131/3.png"])})
    with pytest.raises(ValueError, match="expected '<shard>/real/<sequence>'"):
        rows("wilddeepfake", tmp_path)
    make(tmp_path, {"real_train/1.tar.gz": b"this is not an archive"})
    with pytest.raises(ValueError, match=r"'1.tar.gz' in 'real_train' is not a readable tar"):
        rows("wilddeepfake", tmp_path)


def dfeval_csv(
    entries: list[tuple[str, str]],
    header: str = "Filename,Date,Video Ground Truth,Audio Ground Truth,"
    "Public Comments,Finetuning Set",
) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(
        [name, "2024-02-03", truth, "Fake", "two\nlines, a comma", "train"]
        for name, truth in entries
    )
    return f"\ufeff{header}\n{buffer.getvalue()}"


def test_dfeval_drops_unknown_and_ignores_audio(tmp_path):
    make(
        tmp_path,
        ["video-data/a.mp4", "video-data/b.webm", "video-data/c.mp4", "video-data/unlisted.mp4"],
    )
    make(
        tmp_path,
        {
            "video-metadata-publish.csv": dfeval_csv(
                [("a.mp4", "Real"), ("b.webm", "Fake"), ("c.mp4", "Unknown"), ("gone.mp4", "Fake")]
            )
        },
    )
    table, report = ADAPTERS["dfeval2024"].index(tmp_path)
    assert table[["path", "label", "category", "split"]].to_numpy().tolist() == [
        ["video-data/a.mp4", 0, "REAL", "test"],
        ["video-data/b.webm", 1, "UNK", "test"],
    ]
    assert (report.metadata_only, report.disk_only) == (("gone.mp4",), ("unlisted.mp4",))
    assert report.notes == ("1 videos with ground truth Unknown left out",)
    assert json.loads(table["attrs"][0])["fold"] == "train"


@pytest.mark.parametrize(
    "text, message",
    [
        (dfeval_csv([("a.mp4", "Perhaps")]), "'a.mp4' has ground truth 'perhaps'"),
        (dfeval_csv([("a.mp4", "Real"), ("a.mp4", "Fake")]), "'a.mp4' has two labels"),
        (
            dfeval_csv([("a.mp4", "Real")], "Filename,Date,Label,x,y,z"),
            "no column 'video ground truth'",
        ),
    ],
)
def test_dfeval_refuses_wrong_metadata(tmp_path, text, message):
    make(tmp_path, {"video-data/a.mp4": b"x", "video-metadata-publish.csv": text})
    with pytest.raises(ValueError, match=message):
        rows("dfeval2024", tmp_path)


def test_manifest_fields_and_unknown_columns(tmp_path):
    make(
        tmp_path,
        {
            "clips/a.mp4": b"x",
            "clips/b.mp4": b"x",
            "crops/c/0.png": b"x",
            "loose.mp4": b"x",
            "manifest.csv": "path,label,category,identity,source_video,city\n"
            "clips/a.mp4,Real,,p1,,\n"
            "clips/b.mp4,1,fs,p1,clips/a.mp4,Rome\n"
            "crops/c,manipulated,,,,\n"
            "gone.mp4,0,,,,\n",
        },
    )
    table, report = ADAPTERS["itw"].index(tmp_path)
    videos = {row["path"]: row for row in table.to_dict("records")}
    assert {path: (row["label"], row["category"], row["kind"]) for path, row in videos.items()} == {
        "clips/a.mp4": (0, "REAL", "video"),
        "clips/b.mp4": (1, "FS", "video"),
        "crops/c": (1, "UNK", "frames"),
    }
    assert (
        videos["clips/b.mp4"]["pair_key"] == "itw/clips/a"
        and videos["clips/b.mp4"]["group"] == "p1"
    )
    assert json.loads(videos["clips/b.mp4"]["attrs"]) == {"city": "Rome"}
    assert (report.metadata_only, report.disk_only) == (("gone.mp4",), ("loose.mp4",))


@pytest.mark.parametrize(
    "path", ["../a.mp4", "clips/../../a.mp4", "/etc/a.mp4", "C:\\a.mp4", "..\\a.mp4", ""]
)
def test_manifest_paths_stay_inside(tmp_path, path):
    make(tmp_path, {"manifest.csv": f"path,label\n{path},real\n"})
    with pytest.raises(ValueError, match=r"entry 1: path .* must be inside the root"):
        rows("itw", tmp_path)


def test_manifest_two_labels_and_wrong_label(tmp_path):
    make(tmp_path, {"a.mp4": b"x", "manifest.csv": "path,label\na.mp4,real\na.mp4,fake\n"})
    with pytest.raises(ValueError, match="two labels"):
        rows("itw", tmp_path)
    make(tmp_path, {"manifest.csv": "path,label\na.mp4,genuine\n"})
    with pytest.raises(ValueError, match="entry 1: label 'genuine' is not one of real, 0"):
        rows("itw", tmp_path)


def test_manifest_folders_decide_by_their_exact_name_only(tmp_path):
    root = make(
        tmp_path / "fake_collection", ["real/fake_looking/a.mp4", "fake/a.mp4", "unsorted/b.mp4"]
    )
    assert {name: row["label"] for name, row in rows("itw", root).items()} == {
        "real/fake_looking/a": 0,
        "fake/a": 1,
    }


@pytest.mark.parametrize("corpus", list(ADAPTERS))
def test_empty_and_missing_roots(tmp_path, corpus):
    with pytest.raises(FileNotFoundError, match=f"{corpus}: "):
        ADAPTERS[corpus].index(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        ADAPTERS[corpus].index(tmp_path / "absent")
    with pytest.raises(ValueError, match="unknown option 'nonsense'"):
        ADAPTERS[corpus].index(tmp_path, nonsense=1)


def test_index_corpora_joins_and_reports_what_was_not_run(ffpp, celeb):
    index, report = index_corpora({"ffpp": ffpp, "celebdf2": str(celeb), "dfdc": None, "itw": ""})
    assert len(index) == 36 + 5 and index["video_id"].is_monotonic_increasing
    counts = {(row["corpus"], row["split"]): row for row in report.to_dict("records")}
    assert (counts["ffpp", "val"]["real"], counts["ffpp", "val"]["fake"]) == (2, 10)
    assert (counts["celebdf2", "test"]["real"], counts["celebdf2", "test"]["fake"]) == (2, 1)
    assert {
        corpus for (corpus, _), row in counts.items() if row["notes"].startswith("not run")
    } == (set(PAPER) - {"ffpp", "celebdf2"})


def test_photographs_of_people_belong_to_no_split_and_are_cropped_by_the_detector(
    tmp_path: Path,
) -> None:
    for path in (
        "train/n000002/0001_01.jpg",
        "train/n000002/0002_01.jpg",
        "test/n000001/0001_01.jpg",
    ):
        (tmp_path / "VGGFace2" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "VGGFace2" / path).write_bytes(b"x")
    index, report = index_corpora({"vggface2": tmp_path})
    rows = index[index["dataset"] == "vggface2"]
    assert rows[["video_id", "path", "kind", "label", "split"]].values.tolist() == [
        ["vggface2/test/n000001", "VGGFace2/test/n000001", "photos", 0, "none"],
        ["vggface2/train/n000002", "VGGFace2/train/n000002", "photos", 0, "none"],
    ]
    assert report.set_index("corpus").loc["vggface2", "real"] == 2
    flat, _ = ADAPTERS["vggface2"].index(tmp_path / "VGGFace2" / "train")
    assert flat["video_id"].tolist() == ["vggface2/n000002"]
