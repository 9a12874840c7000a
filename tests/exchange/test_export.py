"""Tests of DeepfakeBench and GenD formats against a re-implementation of their loaders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake_repro.corpora.adapters import manifest
from deepfake_repro.corpora.schema import Video, index_table
from deepfake_repro.crops.store import encode, write_part
from deepfake_repro.exchange.deepfakebench import (
    ExportedVideo,
    document,
    label_key,
    meaning,
    read_dataset,
)
from deepfake_repro.exchange.export import export, import_deepfakebench, safe
from deepfake_repro.exchange.gend import source

ROOT = Path(__file__).resolve().parents[2]
# Facts of the stock configuration.
STOCK_LABELS = {
    "FF-real": 0,
    "CelebDFv2_real": 0,
    "DFDC_Real": 0,
    "FF-DF": 1,
    "FF-F2F": 1,
    "FF-FS": 1,
    "FF-NT": 1,
    "FF-FH": 1,
    "CelebDFv2_fake": 1,
    "DFDC_Fake": 1,
}
WITH_LEVELS = {
    "FaceForensics++",
    "FF-DF",
    "FF-F2F",
    "FF-FS",
    "FF-NT",
    "DeepFakeDetection",
    "FaceShifter",
}


def stock_loader(
    folder: Path, name: str, mode: str, labels: dict[str, int]
) -> dict[str, tuple[int, list[bytes]]]:
    """What DeepfakeBench's loader does with a file, from its description, with ``folder`` as
    working directory.
    """
    content, videos = json.loads((folder / f"{name}.json").read_text()), {}
    for label in content[name]:
        entries = content[name][label][mode]
        if name in WITH_LEVELS:
            entries = entries["c23"]
        for video, entry in entries.items():
            frames = entry["frames"]
            slash = "\\" if "\\" in frames[0] else "/"
            frames = sorted(frames, key=lambda path: int(path.split(slash)[-1].split(".")[0]))
            frames = [path if path[0] == "." else "./datasets/rgb\\" + path for path in frames]
            assert f"{label}_{video}" not in videos
            videos[f"{label}_{video}"] = (
                labels[entry["label"]],
                [(folder / path).read_bytes() for path in frames],
            )
    return videos


def video(video_id: str, label: int, manipulation: str, split: str = "test", **more: str) -> Video:
    category = "FS" if label else "REAL"
    return Video(
        video_id,
        f"{video_id}.mp4",
        "video",
        label,
        manipulation,
        category,
        video_id.partition("/")[0],
        split,
        "official",
        **more,
    )


FF = "ffpp/manipulated_sequences"
VIDEOS = [
    video("ffpp/original_sequences/youtube/c23/videos/953", 0, "real", compression="c23"),
    video(f"{FF}/Deepfakes/c23/videos/953_974", 1, "deepfakes", compression="c23"),
    video(f"{FF}/FaceSwap/c23/videos/953_974", 1, "faceswap", compression="c23"),
    video(f"{FF}/FaceSwap/c23/videos/974_953", 1, "faceswap", compression="c23"),  # has no crop
    video(f"{FF}/FaceSwap/c23/videos/071_054", 1, "faceswap", "train", compression="c23"),
    video("celebdf2/Celeb-real/id0_0000", 0, "real"),
    video("celebdf2/YouTube-real/00170", 0, "real"),
    video("celebdf2/Celeb-synthesis/id0_id1_0000", 1, "deepfake"),
    video("fakeavceleb/RealVideo-RealAudio/African/men/id1/00109", 0, "real"),
    video("fakeavceleb/RealVideo-RealAudio/African/men/id2/00109", 0, "real"),
    video("fakeavceleb/FakeVideo-FakeAudio/African/men/id1/00109_1_id2_wavtolip", 1, "wav2lip"),
]
WITHOUT_CROP = f"{FF}/FaceSwap/c23/videos/974_953"
REST_OF_CROP = {
    "seconds": 0.0,
    "x0": 0.0,
    "y0": 0.0,
    "x1": 1.0,
    "y1": 1.0,
    "score": 1.0,
    "landmarks": [0.0] * 10,
    "width": 9,
    "height": 9,
}
"""Columns of the crop store that the export does not read."""


def crops_of(number: int) -> list[tuple[int, int, bytes]]:
    """Three (frame, face, PNG): two faces in the first frame, every crop another grey."""
    return [
        (frame, face, encode(np.full((8, 8, 3), 20 * number + 5 * frame + face, np.uint8), "png"))
        for frame, face in ((0, 0), (0, 1), (3, 0))
    ]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an index and a crop store of the profile demo."""
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/index/demo").mkdir(parents=True)
    index_table(VIDEOS).to_parquet(tmp_path / "data/index/demo/index.parquet")
    for corpus in ("ffpp", "celebdf2", "fakeavceleb"):
        write_part(
            tmp_path / f"data/crops/demo/{corpus}-00000-x.arrow",
            [
                {
                    "video_id": row.video_id,
                    "frame": frame,
                    "face": face,
                    "image": image,
                    **REST_OF_CROP,
                }
                for number, row in enumerate(VIDEOS)
                for frame, face, image in crops_of(number)
                if row.dataset == corpus and row.video_id != WITHOUT_CROP
            ],
        )
    return tmp_path


def images(number: int) -> list[bytes]:
    return [image for *_, image in crops_of(number)]


# ---- export


def test_the_stock_loader_reads_an_export_with_compression_levels(checkout: Path, capsys) -> None:
    export("demo", "deepfakebench", checkout / "out")
    read = stock_loader(checkout / "out", "FaceForensics++", "test", STOCK_LABELS)
    assert read == {
        "FF-real_953": (0, images(0)),
        "FF-DF_953_974": (1, images(1)),
        "FF-FS_953_974": (1, images(2)),
    }
    assert stock_loader(checkout / "out", "FaceForensics++", "train", STOCK_LABELS) == {}
    assert capsys.readouterr().out.startswith("9 videos of split test written to ")


def test_the_stock_loader_reads_an_export_without_levels(checkout: Path) -> None:
    export("demo", "deepfakebench", checkout / "out", corpora=["celebdf2"])
    assert stock_loader(checkout / "out", "Celeb-DF-v2", "test", STOCK_LABELS) == {
        "CelebDFv2_real_id0_0000": (0, images(5)),
        "CelebDFv2_real_00170": (0, images(6)),
        "CelebDFv2_fake_id0_id1_0000": (1, images(7)),
    }
    assert not (checkout / "out" / "FaceForensics++.json").exists()


def test_corpora_without_stock_labels_bring_their_own(checkout: Path, capsys) -> None:
    export("demo", "deepfakebench", checkout / "out")
    labels = json.loads((checkout / "out/label_dict.json").read_text())
    assert {key: STOCK_LABELS[key] for key in labels.keys() & STOCK_LABELS.keys()} == {
        key: value for key, value in labels.items() if key in STOCK_LABELS
    }
    read = stock_loader(checkout / "out", "fakeavceleb", "test", labels)
    # Two identities have a clip of the same name: those get their whole path.
    assert {key: value[0] for key, value in read.items()} == {
        "fakeavceleb_Real_RealVideo-RealAudio__African__men__id1__00109": 0,
        "fakeavceleb_Real_RealVideo-RealAudio__African__men__id2__00109": 0,
        "fakeavceleb_wav2lip_Fake_00109_1_id2_wavtolip": 1,
    }
    assert "1 without a crop left out" in capsys.readouterr().out


def test_gend_lists(checkout: Path) -> None:
    export("demo", "gend", checkout / "out")
    lists = {
        path.relative_to(checkout / "out/config/datasets").as_posix(): path.read_text().splitlines()
        for path in (checkout / "out/config").rglob("*.txt")
    }
    assert set(lists) == {
        "FF/test/real.txt",
        "FF/test/DF.txt",
        "FF/test/FS.txt",
        "CDFv2/test/Celeb-real.txt",
        "CDFv2/test/YouTube-real.txt",
        "CDFv2/test/Celeb-synthesis.txt",
        "FAVC/test/RV-RA-real.txt",
        "FAVC/test/FV-FA-wav2lip.txt",
    }
    assert lists["FF/test/DF.txt"] == [f"datasets/FF/DF/953_974/{n:03d}.png" for n in range(3)]
    assert [(checkout / "out" / path).read_bytes() for path in lists["FF/test/DF.txt"]] == images(1)
    real = [
        path for name, paths in lists.items() if "real" in Path(name).name for path in paths
    ]  # GenD's rule
    assert len(real) == 5 * 3 and sum(map(len, lists.values())) == 9 * 3


def test_a_manipulation_called_real_something_does_not_become_real_for_gend() -> None:
    assert "real" not in source("itw", "itw/a", "real3dportrait")
    assert source("itw", "itw/a", "real") == "real"
    assert (
        source("df40", "df40/a", "faceswap") == "fake-faceswap"
        and source("ffpp", "ffpp/a", "faceswap") == "FS"
    )


def test_csv_is_the_index(checkout: Path) -> None:
    export("demo", "csv", checkout / "out")
    index = pd.read_parquet("data/index/demo/index.parquet")
    assert pd.read_csv(checkout / "out/index.csv", keep_default_na=False, dtype=str).equals(
        index.astype(str)
    )
    pd.testing.assert_frame_equal(pd.read_parquet(checkout / "out/index.parquet"), index)


def test_export_is_deterministic(checkout: Path) -> None:
    def everything(out: str) -> dict[str, bytes]:
        export("demo", "deepfakebench", checkout / out)
        return {
            path.relative_to(checkout / out).as_posix(): path.read_bytes()
            for path in (checkout / out).rglob("*")
            if path.is_file()
        }

    assert everything("one") == everything("two")


@pytest.mark.parametrize("to", ["deepfakebench", "gend"])
def test_no_video_id_leads_out_of_the_folder(checkout: Path, to: str) -> None:
    wild = ["itw/../../evil", "itw/a\\..\\..\\evil2", "itw//etc/passwd"]
    rows = index_table([video(name, 1, "../../up") for name in wild])
    rows.to_parquet("data/index/demo/index.parquet")
    write_part(
        Path("data/crops/demo/itw-00000-x.arrow"),
        [
            {"video_id": name, "frame": 0, "face": 0, "image": images(0)[0], **REST_OF_CROP}
            for name in wild
        ],
    )
    before = {path for path in checkout.rglob("*") if path.is_file()}
    export("demo", to, checkout / "deep" / "out")
    new = {
        path for path in checkout.parent.rglob("*") if path.is_file() and checkout in path.parents
    } - before
    assert len(new) > len(wild)
    assert all(checkout / "deep" / "out" in path.resolve().parents for path in new)


def test_safe_names() -> None:
    assert (
        safe("a b/ü:c") == "a_b___c"
        and safe("..hidden") == "hidden"
        and safe("id0_id1_0000") == "id0_id1_0000"
    )
    for name in ("..", ".", ""):
        with pytest.raises(ValueError, match="gives no file name: rename it in the index"):
            safe(name)


def test_export_refuses(checkout: Path) -> None:
    with pytest.raises(ValueError, match="is not empty: give a new folder"):
        export("demo", "csv", checkout)
    with pytest.raises(
        ValueError, match="corpus 'dfdc' is not in the index; it has celebdf2, fakeavceleb, ffpp"
    ):
        export("demo", "gend", checkout / "out", corpora=["dfdc"])
    with pytest.raises(
        ValueError, match="no video of split 'val' to export; the index has test, train"
    ):
        export("demo", "deepfakebench", checkout / "out", "val")
    assert not (checkout / "out").exists()
    twins = index_table([video("itw/x y", 0, "real"), video("itw/x_y", 0, "real")])
    twins.to_parquet("data/index/demo/index.parquet")
    with pytest.raises(ValueError, match="would share the folder"):
        export("demo", "gend", checkout / "out")
    shutil.rmtree("data/crops")
    index_table(VIDEOS).to_parquet("data/index/demo/index.parquet")
    with pytest.raises(FileNotFoundError, match="run the crops stage first"):
        export("demo", "deepfakebench", checkout / "out")


@pytest.mark.parametrize(
    "frames, message",
    [
        ([], "has no frames"),
        (["a/000.png"], "must begin with './'"),
        (["./a/face.png"], "named by a number"),
    ],
)
def test_document_refuses_what_the_stock_loader_stumbles_over(
    frames: list[str], message: str
) -> None:
    video = ExportedVideo("DFDC_Real", split="test", compression="", name="a", frames=frames)
    with pytest.raises(ValueError, match=message):
        document("dfdc", [video])


def test_every_label_has_every_mode_and_level() -> None:
    real = ExportedVideo("FF-real", "test", "c23", name="1", frames=["./a/0.png"])
    fake = ExportedVideo("FF-DF", "train", "c40", name="1", frames=["./b/0.png"])
    content = document("ffpp", [real, fake])["FaceForensics++"]
    for modes in content.values():
        assert list(modes) == ["train", "val", "test"]
        assert all(set(levels) == {"c23", "c40"} for levels in modes.values())
    with pytest.raises(ValueError, match="two videos of FF-DF are called '1'"):
        document("ffpp", [fake, fake])


# ---- import


def frames_on_disk(root: Path, *folders: str, count: int = 2) -> None:
    for folder in folders:
        for number in range(count):
            path = root / folder / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")


def entry(label: str, folder: str, *frames: str) -> dict:
    return {
        "label": label,
        "frames": [f"{folder}/{frame}" for frame in frames or ("000.png", "001.png")],
    }


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_released_files_with_all_their_defects(tmp_path: Path) -> None:
    root = tmp_path / "rgb"
    real, fake = "Celeb-DF-v2/YouTube-real/frames", "Celeb-DF-v2/Celeb-synthesis/frames"
    frames_on_disk(root, f"{real}/00000", f"{real}/00001", f"{real}/00170", f"{fake}/id0_id1_0000")
    windows = {
        "label": "CelebDFv2_real",
        "frames": [f"{real}/00000/{n}.png".replace("/", "\\") for n in ("000", "001")],
    }
    file = write(
        tmp_path / "Celeb-DF-v2.json",
        {
            "Celeb-DF-v2": {
                "CelebDFv2_real": {
                    "train": {
                        "00000": windows,
                        "00001": entry("CelebDFv2_real", f"./{real}/00001", "000.png", "007.png"),
                        "00170": entry("CelebDFv2_real", f"{real}/00170"),
                        "gone": entry("CelebDFv2_real", f"{real}/gone"),
                    },
                    "val": {
                        "label": "CelebDFv2_real",
                        "frames": ["a/000.png"],
                    },  # the entry instead of the videos
                    "test": {"00170": entry("CelebDFv2_real", f"{real}/00170")},
                },
                "CelebDFv2_fake": {
                    "train": {},
                    "val": [entry("CelebDFv2_fake", fake)],
                    "test": {
                        "id0_id1_0000": entry("CelebDFv2_fake", f"{fake}/id0_id1_0000"),
                        "empty": {"label": "CelebDFv2_fake", "frames": []},
                    },
                },
            }
        },
    )
    table, notes = read_dataset(file, root)
    assert table[["path", "label", "manipulation", "category", "split"]].values.tolist() == [
        [f"{fake}/id0_id1_0000", "fake", "deepfake", "FS", "test"],
        [f"{real}/00000", "real", "real", "REAL", "train"],
        [f"{real}/00001", "real", "real", "REAL", "train"],
        [f"{real}/00170", "real", "real", "REAL", "test"],
    ]  # not train
    assert notes == (
        "3 entries that are not videos",
        "1 listed frames missing on disk, of videos that are there",
        "1 videos listed again in another split or twice, kept once (test before val before train)",
        "1 videos not on disk",
        "1 videos with an empty list of frames",
    )


def test_compression_levels_and_paths_from_another_machine(tmp_path: Path) -> None:
    real = "original_sequences/youtube/c23/frames/071"
    frames_on_disk(tmp_path / "FF", real, "manipulated_sequences/Deepfakes/c23/frames/071_054")
    far = "D:\\of\\mine\\rgb\\FaceForensics++"
    file = write(
        tmp_path / "x.json",
        {
            "FaceForensics++": {
                "FF-real": {
                    "train": {
                        "c23": {"071": entry("FF-real", f"/mnt/bench/rgb/FaceForensics++/{real}")},
                        "c40": {},
                    }
                },
                "FF-DF": {
                    "train": {
                        "c23": {
                            "071_054": entry(
                                "FF-DF", f"{far}/manipulated_sequences/Deepfakes/c23/frames/071_054"
                            )
                        }
                    }
                },
            }
        },
    )
    with pytest.raises(FileNotFoundError, match="none of its 2 folders of frames is below"):
        read_dataset(file, tmp_path / "elsewhere")
    table, notes = read_dataset(file, tmp_path / "FF")
    assert (
        table["path"].tolist() == ["manipulated_sequences/Deepfakes/c23/frames/071_054", real]
        and notes == ()
    )
    assert table["compression"].tolist() == ["c23", "c23"]


def test_a_path_shorter_than_what_the_others_lose_is_not_the_root(tmp_path: Path) -> None:
    frames_on_disk(tmp_path, "frames/1")
    frames_on_disk(tmp_path, "")  # images in the root itself
    file = write(
        tmp_path / "x.json",
        {
            "UADFV": {
                "UADFV_Real": {
                    "test": {
                        "1": entry("UADFV_Real", "far/away/frames/1"),
                        "2": entry("UADFV_Real", "far/away"),
                    }
                },
                "UADFV_Fake": {"test": {"3": entry("UADFV_Fake", "far/away")}},
            }
        },
    )
    table, notes = read_dataset(file, tmp_path)
    assert table["path"].tolist() == ["frames/1"] and notes == ("2 videos not on disk",)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"a": {}, "b": {}}, "is it a dataset_json"),
        ([1], "is it a dataset_json"),
        ({"x": {"FF-real": []}}, "dataset_json"),
        (
            {"x": {"FF-real": {"test": {"v": entry("FF-real", "../../etc")}}}},
            "must have a folder and no '..'",
        ),
        (
            {"x": {"FF-real": {"test": {"v": {"label": "FF-real", "frames": ["000.png"]}}}}},
            "must have a folder",
        ),
        ({"x": {"strange": {"test": {}}}}, "label 'strange' is unknown"),
        (
            {
                "x": {
                    "FF-real": {"test": {"v": entry("", "a")}},
                    "FF-DF": {"train": {"v": entry("", "a")}},
                }
            },
            "'a' is listed as FF-real and as FF-DF",
        ),
    ],
)
def test_import_refuses(tmp_path: Path, change: object, message: str) -> None:
    frames_on_disk(tmp_path, "a")
    with pytest.raises(ValueError, match=message):
        read_dataset(write(tmp_path / "x.json", change), tmp_path)


@pytest.mark.parametrize(
    "key, expected",
    [
        ("FF-F2F", ("face2face", "RE")),
        ("FF-FH", ("faceshifter", "FS")),
        ("UADFV_Real", ("real", "REAL")),
        ("roop_Fake", ("unknown", "UNK")),
        ("simswap_Fake", ("simswap", "FS")),
        ("MRAA_fake", ("mraa", "RE")),
        ("DFDCP_FakeB", ("method_b", "FS")),
        ("DFD_fake", ("dfd", "FS")),
        ("DFD_real", ("real", "REAL")),
        ("UADFV_Fake", ("unknown", "FS")),
        ("CelebDFv1_fake", ("deepfake", "FS")),
        ("heygen_Fake", ("heygen", "RE")),
        ("StyleGAN2_Fake", ("stylegan2", "OTHER")),
        ("inswapper_Fake", ("inswap", "FS")),
        ("forgerynet_fs-gan_Fake", ("fs-gan", "UNK")),
    ],
)
def test_labels(key: str, expected: tuple[str, str]) -> None:
    assert meaning(key) == expected


def test_our_labels_keep_their_side() -> None:
    for dataset, manipulation in (
        ("ffpp", "real"),
        ("ffpp", "faceshifter"),
        ("dfdc", "dfdc_unknown"),
        ("itw", "real"),
        ("df40", "simswap"),
        ("forgerynet", "fs-gan"),
        ("itw", "unknown"),
    ):
        assert (meaning(label_key(dataset, manipulation))[0] == "real") == (manipulation == "real")


def test_round_trip_through_the_manifest_adapter(checkout: Path, capsys) -> None:
    """Exported, imported and indexed as a private collection: the same labels and splits, the same
    frames.
    """
    out = checkout / "out"
    export("demo", "deepfakebench", out, corpora=["ffpp"])
    import_deepfakebench(out / "FaceForensics++.json", out, out / "manifest.csv")
    assert "3 videos written" in capsys.readouterr().out
    table, report = manifest.ADAPTER.index(out)
    found = {
        row.path: (row.label, row.manipulation, row.split, row.kind) for row in table.itertuples()
    }
    assert found == {
        "FaceForensics++/FF-DF/frames/953_974": (1, "deepfakes", "test", "frames"),
        "FaceForensics++/FF-FS/frames/953_974": (1, "faceswap", "test", "frames"),
        "FaceForensics++/FF-real/frames/953": (0, "real", "test", "frames"),
    }
    assert report.metadata_only == () and json.loads(table["attrs"][0])["listed_as"] == "FF-DF"
