"""An index exported and imported is the same; stock labels and GenD's lists are understood."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake_repro.corpora import ADAPTERS, FACES
from deepfake_repro.corpora.adapters import manifest
from deepfake_repro.corpora.schema import Video, index_table
from deepfake_repro.crops.store import encode, write_part
from deepfake_repro.exchange.deepfakebench import label_key, read_dataset
from deepfake_repro.exchange.export import export
from deepfake_repro.exchange.gend import read_lists
from deepfake_repro.exchange.listed import KEPT

ROOT = Path(__file__).resolve().parents[2]
CORPORA = [name for name in ADAPTERS if name not in FACES]
METHODS = {
    "ffpp": (("deepfakes", "FS"), ("face2face", "RE"), ("faceshifter", "FS")),
    "celebdf2": (("deepfake", "FS"),),
    "dfdc": (("dfdc_unknown", "FS"),),
    "dfd": (("dfd", "FS"),),
    "dfdcp": (("method_a", "FS"), ("method_b", "FS")),
    "faceshifter": (("faceshifter", "FS"),),
    "uadfv": (("unknown", "FS"),),
    "df40": (("simswap", "FS"), ("mraa", "RE")),
}
AWKWARD = (("talking head video", "RE"), ("real3dportrait", "RE"), ("fs-gan", "FS"), ("x", "UNK"))


def index_of(corpus: str) -> pd.DataFrame:
    """Two people of a corpus in its methods, or in names that are hard to keep."""
    compression = "c23" if corpus in ("ffpp", "dfd", "faceshifter") else ""
    videos = []
    for person in ("p1", "p2"):
        real = f"{corpus}/Celeb-real/{person}"
        common = {"compression": compression, "target_id": person, "group": person}
        kind = ("video", 0, "real", "REAL", corpus, "test", "official")
        videos.append(Video(real, f"{person}.mp4", *kind, **common))
        for method, category in METHODS.get(corpus, AWKWARD):
            name = f"Celeb-synthesis/{method}/{person}_x"
            kind = ("video", 1, method, category, corpus, "test", "derived")
            made = {"source_id": "x", "pair_key": real, "attrs": json.dumps({"tag": method})}
            videos.append(Video(f"{corpus}/{name}", f"{name}.mp4", *kind, **common, **made))
    return index_table(videos)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/index/demo").mkdir(parents=True)
    (tmp_path / "data/crops/demo").mkdir(parents=True)
    return tmp_path


def store(index: pd.DataFrame) -> None:
    image = encode(np.zeros((8, 8, 3), np.uint8), "png")
    numbers = dict.fromkeys(("seconds", "x0", "y0", "score"), 0.0)
    rest = {**numbers, "x1": 1.0, "y1": 1.0, "landmarks": [0.0] * 10, "width": 9, "height": 9}
    index.to_parquet("data/index/demo/index.parquet")
    rows = [
        {"video_id": name, "frame": 0, "face": 0, "image": image, **rest}
        for name in index["video_id"]
    ]
    write_part(Path("data/crops/demo/x-00000-x.arrow"), rows)


def imported(to: str, out: Path) -> pd.DataFrame:
    if to == "gend":
        return read_lists(out / "config" / "datasets", out)[0]
    files = [file for file in out.glob("*.json") if file.name != "label_dict.json"]
    return pd.concat([read_dataset(file, out)[0] for file in files])


@pytest.mark.parametrize("to", ["deepfakebench", "gend"])
def test_export_and_import_lose_nothing(checkout: Path, to: str) -> None:
    index = pd.concat([index_of(corpus) for corpus in CORPORA], ignore_index=True)
    store(index)
    export("demo", to, checkout / "out")
    rows = imported(to, checkout / "out")
    kept = rows.set_index("video_id").rename(columns={new: old for old, new in KEPT.items()})
    wanted = index.set_index("video_id")
    columns = [name for name in KEPT if name != "video_id"]
    pd.testing.assert_frame_equal(
        kept[columns].sort_index(), wanted[columns].sort_index(), check_dtype=False
    )
    assert (kept["label"].sort_index() == "fake").tolist() == (
        wanted["label"].sort_index() == 1
    ).tolist()
    ids = rows.set_index("path")["video_id"]
    pairs = rows.set_index("video_id")["source_video"].map(ids).fillna("")
    assert pairs.to_dict() == wanted["pair_key"].to_dict()


@pytest.mark.parametrize("to", ["deepfakebench", "gend"])
@pytest.mark.parametrize("corpus", METHODS)
def test_labels_alone_tell_what_the_formats_can_say(checkout: Path, corpus: str, to: str) -> None:
    """Without our own table beside the lists, as if another tool had written them."""
    index = index_of(corpus)
    store(index)
    export("demo", to, checkout / "out")
    (checkout / "out" / "videos.csv").unlink()
    columns = ["label", "manipulation", "category"]
    wanted = index.assign(label=index["label"].map({0: "real", 1: "fake"}))[columns]
    if (corpus, to) == ("uadfv", "gend"):  # its lists are only called real and fake
        wanted = wanted.replace({"category": {"FS": "UNK"}})
    found = imported(to, checkout / "out")[columns]
    assert sorted(map(tuple, found.values)) == sorted(map(tuple, wanted.values))


def test_the_manifest_adapter_reads_an_import(checkout: Path) -> None:
    store(index_of("ffpp"))
    export("demo", "gend", checkout / "out")
    imported("gend", checkout / "out").to_csv(checkout / "out" / "manifest.csv", index=False)
    table, _ = manifest.ADAPTER.index(checkout / "out")
    fakes = table[table["label"] == 1]
    assert len(table) == 8 and set(table["target_id"]) == {"p1", "p2"}
    assert set(fakes["manipulation"]) == {"deepfakes", "face2face", "faceshifter"}


@pytest.mark.parametrize(
    "corpus, manipulation, key",
    [
        ("dfd", "real", "DFD_real"),
        ("dfd", "dfd", "DFD_fake"),
        ("faceshifter", "faceshifter", "FF-FH"),
        ("dfdcp", "method_a", "DFDCP_FakeA"),
        ("uadfv", "unknown", "UADFV_Fake"),
        ("df40", "simswap", "simswap_Fake"),
    ],
)
def test_export_uses_stock_names(corpus: str, manipulation: str, key: str) -> None:
    assert label_key(corpus, manipulation) == key


def test_photographs_are_in_no_split_of_deepfakebench(checkout: Path) -> None:
    store(index_of("itw").assign(split="none"))
    with pytest.raises(ValueError, match="is in split 'none': DeepfakeBench has only"):
        export("demo", "deepfakebench", checkout / "out", "none")


@pytest.mark.parametrize(
    "listed, expected",
    [
        ("FF/test/F2F", ("ffpp", "test", "face2face", "RE")),
        ("CDFv2/val/Celeb-real", ("celebdf2", "val", "real", "REAL")),
        ("CDFv3-x1.3-th0.5-all/my-val/LIA", ("celebdfpp", "val", "lia", "RE")),
        ("DFDM/all/dfl", ("dfdm", "test", "dfl-h128", "FS")),
        ("DFD/fake", ("dfd", "test", "dfd", "FS")),
        (
            "DeepSpeak-1.1/my-train/train-facefusion_gan",
            ("deepspeak1", "train", "facefusion_gan", "FS"),
        ),
        ("FFIW/val-fake", ("ffiw", "val", "unknown", "UNK")),
        ("FakeAVCeleb/FV-FA-fsgan-wav2lip", ("fakeavceleb", "test", "fsgan-wav2lip", "FS")),
        ("DF40/test/test_cdf_sadtalker", ("df40", "test", "sadtalker", "RE")),
        ("IDForge-v1/test/test-face_tts_simswap", ("idforge", "test", "simswap", "FS")),
        ("PolyGlotFake/ar2en_Wav2Lip", ("polyglotfake", "test", "wav2lip", "RE")),
        ("PolyGlotFake/zh2ru_video_retalking", ("polyglotfake", "test", "video_retalking", "RE")),
        ("PolyGlotFake/real-ja", ("polyglotfake", "test", "real", "REAL")),
        ("KoDF/fake-fo", ("kodf", "test", "fomm", "RE")),
        ("KoDF/fake-adv", ("kodf-adv", "test", "unknown", "UNK")),
        ("KoDF/real-adv", ("kodf-adv", "test", "real", "REAL")),
    ],
)
def test_gend_lists_tell_corpus_split_and_tool(
    tmp_path: Path, listed: str, expected: tuple[str, ...]
) -> None:
    frame = tmp_path / "datasets" / "any" / "clip" / "0.png"
    frame.parent.mkdir(parents=True)
    frame.write_bytes(b"x")
    file = tmp_path / "config" / "datasets" / f"{listed}.txt"
    file.parent.mkdir(parents=True)
    file.write_text("datasets/any/clip/0.png\n")
    table, _ = read_lists(tmp_path / "config" / "datasets", tmp_path)
    found = table[["corpus", "split", "manipulation", "category"]].values.tolist()
    assert found == [list(expected)]
    inner = read_lists(tmp_path / "config" / "datasets" / listed.split("/")[0], tmp_path)[0]
    assert inner["corpus"].tolist() == [expected[0]]


def test_gend_without_lists(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no lists such as FF/test/real\.txt"):
        read_lists(tmp_path, tmp_path)
