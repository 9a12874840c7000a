"""FFIW, UADFV, DFDM, KoDF, PolyGlotFake, IDForge and DeepSpeak, read from small trees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepfake_repro.corpora.schema import IndexReport
from deepfake_repro.dataset.index import adapter_options
from deepfake_repro.project.params import load
from support.benchmark_trees import cells, make, read


def test_ffiw_equal_stems_are_two_videos_and_no_pair(tmp_path):
    root = make(
        tmp_path / "FFIW10K",
        *(
            f"{name}/{split}/{split}_00000000.mp4"
            for split in ("train", "val", "test")
            for name in ("source", "target", "target_mask")
        ),
    )
    rows, report = read("ffiw", root)
    assert cells(rows, "label", "category", "split", "split_source", "pair_key", "group") == {
        f"{name}/{split}/{split}_00000000": (
            label,
            category,
            split,
            "official",
            "",
            f"{split}/{split}_00000000",
        )
        for split in ("train", "val", "test")
        for name, label, category in (("source", 0, "REAL"), ("target", 1, "FS"))
    }
    assert report == IndexReport("ffiw", 6)


def test_ffiw_without_test_scores_val_and_says_so(tmp_path):
    make(
        tmp_path / "FFIW10K-v1-release",
        "source/val/videos/1.mp4",
        "target/val/videos/1.mp4",
        "source/train/2.mp4",
        "target/train/2.mp4",
        "source/3.mp4",
    )
    rows, report = read("ffiw", tmp_path)
    assert cells(rows, "split", "split_source") == {
        "source/val/videos/1": ("test", "paper-rule"),
        "target/val/videos/1": ("test", "paper-rule"),
        "source/train/2": ("train", "official"),
        "target/train/2": ("train", "official"),
    }
    assert report.disk_only == ("FFIW10K-v1-release/source/3.mp4",)
    assert report.notes == (
        "1 videos outside train/, val/ and test/ left out, "
        "such as 'FFIW10K-v1-release/source/3.mp4'",
        "test/ is absent: val/ is taken for the test set",
    )


def test_ffiw_releases_beside_each_other(tmp_path):
    make(
        tmp_path,
        "FFIW10K-v1-release/source/val/1.mp4",
        "FFIW10K-v1-release/target/val/1.mp4",
        "FFIW10K-v1-release-test/source/test/1.mp4",
        "FFIW10K-v1-release-test/target/test/1.mp4",
    )
    assert cells(read("ffiw", tmp_path)[0], "split", "path") == {
        f"{name}/{split}/1": (split, f"FFIW10K-v1-release{more}/{name}/{split}/1.mp4")
        for name in ("source", "target")
        for split, more in (("val", ""), ("test", "-test"))
    }


def test_ffiw_one_video_in_two_releases(tmp_path):
    make(
        tmp_path,
        *(f"{release}/{name}/val/1.mp4" for release in "ab" for name in ("source", "target")),
    )
    with pytest.raises(
        ValueError, match=r"ffiw/source/val/1: listed twice, as 'a/source/val/1.mp4' and 'b/source"
    ):
        read("ffiw", tmp_path)


def test_uadfv_pairs_by_number_and_odd_names(tmp_path):
    root = make(
        tmp_path / "fake_or_real" / "UADFV", "real/0000.mp4", "real/0001.mp4", "fake/0000_fake.mp4"
    )
    rows, report = read("uadfv", root.parent)
    assert cells(rows, "label", "category", "split", "split_source", "pair_key", "group") == {
        "real/0000": (0, "REAL", "test", "derived", "", "0000"),
        "real/0001": (0, "REAL", "test", "derived", "", "0001"),
        "fake/0000_fake": (1, "FS", "test", "derived", "uadfv/real/0000", "0000"),
    }
    assert report.notes == ()
    make(root, "fake/0001.mp4", "real/0002_fake.mp4")
    rows, report = read("uadfv", root)
    assert (rows["fake/0001"]["label"], rows["real/0002_fake"]["label"]) == (1, 0)
    assert report.notes == (
        "2 names that contradict their folder ('_fake' marks fakes), such as 'fake/0001.mp4'",
    )


def test_uadfv_needs_both_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"uadfv: .* does not contain real/ and fake/"):
        read("uadfv", make(tmp_path, "real/0000.mp4"))


@pytest.fixture
def dfdm(tmp_path) -> Path:
    return make(
        tmp_path,
        "Celeb-DF-v2/Celeb-real/id28_0008.mp4",
        "Celeb-DF-v2/Celeb-real/id3_0001.mp4",
        "Celeb-DF-v2/YouTube-real/00000.mp4",
        *(
            f"DFDM/DFDM_crf{crf}/{model}/id28_id20_0008_{tag}.mp4"
            for crf in (0, 10, 23)
            for model, tag in (("Dfaker", "4dfaker"), ("DFL-H128", "5dflh"))
        ),
    )


def test_dfdm_one_compression_against_celeb_df(dfdm):
    rows, report = read("dfdm", dfdm)
    assert cells(
        rows, "label", "manipulation", "compression", "split", "target_id", "source_id", "pair_key"
    ) == {
        "Celeb-real/id28_0008": (0, "real", "", "test", "id28", "", ""),
        "Celeb-real/id3_0001": (0, "real", "", "test", "id3", "", ""),
        **{
            f"DFDM_crf23/{model}/id28_id20_0008_{tag}": (
                1,
                model.lower(),
                "crf23",
                "test",
                "id28",
                "id20",
                "dfdm/Celeb-real/id28_0008",
            )
            for model, tag in (("Dfaker", "4dfaker"), ("DFL-H128", "5dflh"))
        },
    }
    assert report.notes == ("2 other compressions left out, such as 'DFDM_crf0'",)
    assert json.loads(rows["DFDM_crf23/Dfaker/id28_id20_0008_4dfaker"]["attrs"]) == {
        "tag": "4dfaker"
    }
    assert (
        sum(
            row["compression"] == "crf0"
            for row in read("dfdm", dfdm, compression="crf0")[0].values()
        )
        == 2
    )


def test_dfdm_model_from_the_tag_where_the_folders_are_flat(dfdm):
    make(
        dfdm,
        "DFDM/DFDM_crf23/id28_id20_0008_4dfaker.mp4",
        "DFDM/DFDM_crf23/iae/odd.mp4",
        "DFDM/DFDM_crf23/id28_id20_0008_9new.mp4",
        "DFDM/DFDM_crf23/id28_id20_0008_1original.mp4",
    )
    rows, report = read("dfdm", dfdm)
    assert rows["DFDM_crf23/id28_id20_0008_4dfaker"]["manipulation"] == "dfaker"
    assert rows["DFDM_crf23/id28_id20_0008_9new"]["manipulation"] == "unknown"
    assert cells(rows, "manipulation", "target_id", "pair_key")["DFDM_crf23/iae/odd"] == (
        "iae",
        "",
        "",
    )
    assert [note.partition(",")[0] for note in report.notes] == [
        "1 videos tagged original left out: they may be real",
        "1 fakes whose folder and tag name none of the five models: method unknown",
        "1 names not like id28_id20_0008_4dfaker: pairs left empty",
        "2 other compressions left out",
    ]


def test_dfdm_original_as_fakes_of_the_baseline_on_demand(dfdm):
    make(dfdm, "DFDM/DFDM_crf23/id28_id20_0008_1original.mp4")
    rows, _ = read("dfdm", dfdm, original="fake")
    assert rows["DFDM_crf23/id28_id20_0008_1original"]["manipulation"] == "faceswap"
    with pytest.raises(ValueError, match="dfdm: original 'real' is not one of drop, fake"):
        read("dfdm", dfdm, original="real")


def test_dfdm_errors(dfdm, tmp_path):
    with pytest.raises(
        ValueError, match="dfdm: compression 'c23' is not one of crf0, crf10, crf23"
    ):
        read("dfdm", dfdm, compression="c23")
    with pytest.raises(
        FileNotFoundError, match="dfdm: 'Celeb-real/' is missing; DFDM ships no reals"
    ):
        read("dfdm", dfdm / "DFDM")


KODF = (
    "original_videos/123456/123456_001.mp4",
    "original_videos/0a1b2c3d4e5f60718293/0a1b2c3d4e5f60718293_002.mp4",
    *(
        f"synthesized_videos/{folder}/20200101/123456/123456_654321_{code}_0001.mp4"
        for code, folder in enumerate(("dfl", "dffs", "fsgan", "fo", "audio-driven"), start=1)
    ),
)


def test_kodf_codes_give_methods_and_categories(tmp_path):
    rows, report = read(
        "kodf", make(tmp_path / "kodf_release", *KODF, "adversarial/1.mp4", "x/1.mp4").parent
    )
    fakes = {name.split("/")[1]: row for name, row in rows.items() if row["label"]}
    assert cells(fakes, "manipulation", "category", "target_id", "source_id", "group") == {
        folder: (method, category, "123456", "654321", "123456")
        for folder, method, category in (
            ("dfl", "dfl", "FS"),
            ("dffs", "dffs", "FS"),
            ("fsgan", "fsgan", "FS"),
            ("fo", "fomm", "RE"),
            ("audio-driven", "audio-driven", "RE"),
        )
    }
    assert cells(rows, "label", "group")[
        "original_videos/0a1b2c3d4e5f60718293/0a1b2c3d4e5f60718293_002"
    ] == (0, "0a1b2c3d4e5f60718293")
    assert set(cells(rows, "split", "split_source", "pair_key").values()) == {
        ("test", "derived", "")
    }
    assert report.notes == (
        "1 folders of the adversarial set, a test set apart, left out, such as 'adversarial'",
        "1 other folders left out, such as 'x'",
    )


def test_kodf_unknown_code_is_left_out(tmp_path):
    root = make(
        tmp_path, *KODF, "synthesized_videos/dfl/a/1_2_6_1.mp4", "original_videos/1/noname.mp4"
    )
    rows, report = read("kodf", root)
    assert len(rows) == 7 and report.disk_only == (
        "original_videos/1/noname.mp4",
        "synthesized_videos/dfl/a/1_2_6_1.mp4",
    )
    assert report.notes[0].startswith(
        "2 names not like <target>_<source>_<code 1 to 5>_<number> left out, such as"
    )


def test_kodf_code_and_folder_must_agree(tmp_path):
    with pytest.raises(
        ValueError, match=r"kodf: 'synthesized_videos/audio_driven/1_2_4_1.mp4': code 4 .* \(5\)"
    ):
        read("kodf", make(tmp_path, *KODF, "synthesized_videos/audio_driven/1_2_4_1.mp4"))


POLYGLOT = (
    "videos/es/es_1.mp4",
    "videos/ja/ja_12.mp4",
    "videos/to_ru/es_1_to_ru_Xtts.mp4",
    "videos/to_en/ru_3_to_en_bark.mp4",
)


def test_polyglotfake_reals_by_list_and_dubs_by_name(tmp_path):
    listed = {"videos": [{"filename": "es_1.mp4", "source": "x"}, {"filename": "es_2.mp4"}]}
    root = make(
        tmp_path / "PolyGlotFake",
        *POLYGLOT,
        "intro.mp4",
        {"real_json_files/es.json": json.dumps(listed)},
    )
    expected = {
        "es/es_1": (0, "real", "REAL", "", "es_1"),
        "ja/ja_12": (0, "real", "REAL", "", "ja_12"),
        "to_ru/es_1_to_ru_Xtts": (1, "lip-sync", "RE", "polyglotfake/es/es_1", "es_1"),
        "to_en/ru_3_to_en_bark": (1, "lip-sync", "RE", "", "ru_3"),
    }
    for given in (root, tmp_path):  # ids do not depend on the folder given
        rows, report = read("polyglotfake", given)
        assert cells(rows, "label", "manipulation", "category", "pair_key", "group") == expected
    assert (report.metadata_only, report.disk_only) == (("es_2",), ("PolyGlotFake/intro.mp4",))
    assert report.notes == (
        "1 names of another shape left out, such as 'PolyGlotFake/intro.mp4'",
        "1 reals not in real_json_files, such as 'ja_12'",
    )


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("es2ru_Wav2Lip/es_1_to_ru_Xtts", "wav2lip"),
        ("dubs/es_1_to_ru_Xtts_video_retalking", "video_retalking"),
        ("dubs/es_1_to_ru_Xtts", "lip-sync"),
    ],
)
def test_polyglotfake_tool_of_a_folder_or_name(tmp_path, name, tool):
    rows, _ = read("polyglotfake", make(tmp_path, *POLYGLOT, f"videos/{name}.mp4"))
    assert cells(rows, "manipulation")[name] == (tool,)


def test_polyglotfake_without_lists_says_so(tmp_path):
    assert read("polyglotfake", make(tmp_path, *POLYGLOT))[1].notes == (
        "real_json_files/ is absent: only names separate reals from fakes",
    )


@pytest.mark.parametrize(
    "listed", ['{"videos": [{"filename": "es_1_to_ru_x.mp4"}]}', '{"videos": [{}]}', "[]"]
)
def test_polyglotfake_refuses_lists(tmp_path, listed):
    with pytest.raises(
        ValueError, match=r"polyglotfake: 'real_json_files/es.json' lists '.*' as a real"
    ):
        read("polyglotfake", make(tmp_path, *POLYGLOT, {"real_json_files/es.json": listed}))


@pytest.mark.parametrize("name", ["Fake/es_7.mp4", "real/es_7_to_fr_x.mp4"])
def test_polyglotfake_folders_must_not_contradict_names(tmp_path, name):
    with pytest.raises(ValueError, match=f"polyglotfake: '{name}': folder and name disagree"):
        read("polyglotfake", make(tmp_path, *POLYGLOT, name))


IDFORGE = {
    "pristine/id00/id00_03/id00_scene_0010-0.mp4": "train",
    "pristine/id53/id53_08/id53_scene_0001.mp4": "test",
    "face_tts/id53/id53_08/id53_scene_0083_0_simswap.mp4": "test",
    "face_rvc_textmismatch/id53/id53_08/id53_scene_0083_0_other.mp4": "val",
    "lip_tts_textgen/id00/id00_03/id00_scene_0011.mp4": "test",
    "rvc_textmismatch/id00/id00_03/id00_scene_0014.mp3.mp4": "test",
}


def idforge(root: Path, **lists: str) -> Path:
    """Each file listed in its split, unless another text is given for a list."""
    texts = {
        split: "\n".join(name for name in IDFORGE if IDFORGE[name] == split)
        for split in ("train", "val", "test")
    }
    return make(
        root,
        *(f"main/{name}" for name in IDFORGE),
        {f"IDForge_v1/{split}.csv": text for split, text in (texts | lists).items()},
    )


def test_idforge_types_splits_and_audio_only(tmp_path):
    root = idforge(tmp_path / "download")
    assert list(read("idforge", root / "main")[0]) == list(read("idforge", tmp_path)[0])
    rows, report = read("idforge", root)
    assert {
        f"{name}.mp4": (
            row["label"],
            row["manipulation"],
            row["category"],
            row["split"],
            row["target_id"],
            row["source_id"],
            json.loads(row["attrs"])["audio_only"],
        )
        for name, row in rows.items()
    } == dict(
        zip(
            IDFORGE,
            (
                (0, "real", "REAL", "train", "id00", "", False),
                (0, "real", "REAL", "test", "id53", "", False),
                (1, "simswap", "FS", "test", "", "id53", False),
                (1, "unknown", "FS", "val", "", "id53", False),
                (1, "wav2lip", "RE", "test", "id00", "", False),
                (0, "real", "REAL", "test", "id00", "", True),
            ),
            strict=True,
        )
    )
    assert {row["split_source"] for row in rows.values()} == {"official"}
    assert report.notes == (
        f"1 videos with fake sound and real pictures labelled real, such as '{list(IDFORGE)[-1]}'",
        f"1 fakes whose name does not end with a known tool, such as 'main/{list(IDFORGE)[3]}'",
    )


def test_idforge_audio_only_dropped_on_demand(tmp_path):
    rows, report = read("idforge", idforge(tmp_path), audio_only="drop")
    assert len(rows) == 5 and not any(name.startswith("rvc") for name in rows)
    assert report.notes[0].startswith("1 videos with fake sound and real pictures left out")
    with pytest.raises(ValueError, match="idforge: audio_only 'fake' is not one of real, drop"):
        read("idforge", tmp_path, audio_only="fake")


def test_idforge_test_set_of_the_second_paper(tmp_path):
    """Reals and face_tts by a known tool; training and validation keep all types."""
    root = idforge(tmp_path)
    kept, report = read("idforge", root, selection="lnclip")
    everything, _ = read("idforge", root)
    left_out = {
        "lip_tts_textgen/id00/id00_03/id00_scene_0011",
        "rvc_textmismatch/id00/id00_03/id00_scene_0014.mp3",
    }
    assert set(everything) - set(kept) == left_out
    assert "2 test videos of other types or tools left out" in report.notes[-1]
    assert adapter_options(load().profile("paper").index)["idforge"] == {"selection": "lnclip"}
    with pytest.raises(ValueError, match="idforge: selection 'some' is not one of all, lnclip"):
        read("idforge", root, selection="some")


def test_idforge_lists_from_a_clone_and_what_is_on_one_side_only(tmp_path):
    root = idforge(tmp_path / "data", train="pristine/id00/id00_00/gone.mp4")
    (root / "IDForge_v1").rename(tmp_path / "clone")
    report = read("idforge", root, splits=tmp_path / "clone")[1]
    assert report.metadata_only == ("pristine/id00/id00_00/gone.mp4",)
    assert report.disk_only == ("pristine/id00/id00_03/id00_scene_0010-0.mp4",)
    with pytest.raises(FileNotFoundError, match=r"idforge: 'IDForge_v1/train.csv' is missing"):
        read("idforge", root)


@pytest.mark.parametrize(
    "train, message",
    [
        (list(IDFORGE)[-1], "test.csv' line 4 'rvc_.*' is in train.csv too"),
        ("path,label", "'train.csv' line 1 'path,label'; expected <type>/id00/id00_00/<name>.mp4"),
    ],
)
def test_idforge_refuses_lists(tmp_path, train, message):
    with pytest.raises(ValueError, match=message):
        read("idforge", idforge(tmp_path, train=train))


FAKE_COLUMNS = (
    "video-file,kind,engine,identity-source,identity-target,"
    "recording-source,recording-target,gen-config"
)


def deepspeak(
    root: Path, *fakes: str, splits: str = "identity,split\n10,train\n11,test\n87,test\n"
) -> Path:
    """Two reals and the given rows of annotations-fake.csv."""
    videos = [line.partition(",")[0] for line in fakes]
    return make(
        root,
        "part0/87-0.mp4",
        "part1/11-4897.mp4",
        *(f"part1/{name}" for name in videos),
        {
            "annotations-split-def.csv": splits,
            "annotations-real.csv": "identity,video-file\n"
            "87,87-0.mp4\n11,11-4897.mp4\n10,10-1.mp4\n",
            "annotations-fake.csv": "\n".join((FAKE_COLUMNS, *fakes)),
        },
    )


def test_deepspeak1_splits_by_the_person_on_screen(tmp_path):
    root = deepspeak(
        tmp_path,
        'facefusion--10-11--4100-4897--0.mp4,face-swap,facefusion,10,11,4100,4897,"{""a"": 1}"',
        "wav2lip--87-87--1-0--1.mp4,lip-sync,Wav2Lip,87,87,1,0,",
    )
    make(root, "part1/extra.mp4")
    rows, report = read("deepspeak1", root)
    assert cells(
        rows, "label", "manipulation", "category", "split", "target_id", "source_id", "pair_key"
    ) == {
        "part0/87-0": (0, "real", "REAL", "test", "87", "", ""),
        "part1/11-4897": (0, "real", "REAL", "test", "11", "", ""),
        "part1/facefusion--10-11--4100-4897--0": (
            1,
            "facefusion",
            "FS",
            "test",
            "11",
            "10",
            "deepspeak1/part1/11-4897",
        ),
        "part1/wav2lip--87-87--1-0--1": (
            1,
            "wav2lip",
            "RE",
            "test",
            "87",
            "87",
            "deepspeak1/part0/87-0",
        ),
    }
    assert (report.metadata_only, report.disk_only) == (("10-1",), ("part1/extra.mp4",))
    assert report.notes == (
        "1 fakes whose two identities are in different splits, such as "
        "'part1/facefusion--10-11--4100-4897--0.mp4'",
    )


def test_deepspeak2_unknown_engine_and_identity_are_noted(tmp_path):
    root = deepspeak(
        tmp_path,
        "diff2lip-1-0-playht.mp4,lip-sync,diff2lip,87,87,1,0,",
        "new.mp4,avatar,Brand New,5,5,,,",
    )
    rows, report = read("deepspeak2", root)
    assert cells(rows, "manipulation", "category", "split", "pair_key") == {
        "part0/87-0": ("real", "REAL", "test", ""),
        "part1/11-4897": ("real", "REAL", "test", ""),
        "part1/diff2lip-1-0-playht": ("diff2lip", "RE", "test", "deepspeak2/part0/87-0"),
        "part1/new": ("brand_new", "UNK", "none", ""),
    }
    assert report.notes == (
        "1 fakes of an engine that is not described: category UNK, "
        "such as 'brand_new in part1/new.mp4'",
        "1 identities not in annotations-split-def.csv: split none, such as '5'",
    )


def test_deepspeak_roots_swapped(tmp_path):
    root = deepspeak(tmp_path, "diff2lip-1-0-playht.mp4,lip-sync,diff2lip,87,87,1,0,")
    with pytest.raises(
        ValueError, match=r"deepspeak1: .* is made by 'diff2lip', an engine of deepspeak2"
    ):
        read("deepspeak1", root)


def test_deepspeak_refuses_annotations(tmp_path):
    for number, (splits, message) in enumerate(
        (
            ("identity,split\n87,dev\n", "identity '87' has split 'dev'"),
            (
                "identity,split\n87,test\n87,train\n",
                "identity '87' has split 'train'; .* for each identity",
            ),
            ("person,split\n87,test\n", "'annotations-split-def.csv' has no column 'identity'"),
        )
    ):
        with pytest.raises(ValueError, match=message):
            read("deepspeak1", deepspeak(tmp_path / str(number), splits=splits))
    with pytest.raises(ValueError, match="deepspeak1: '87-0' is in both annotation files"):
        read("deepspeak1", deepspeak(tmp_path / "both", "87-0.mp4,lip-sync,wav2lip,87,87,1,0,"))
    root = deepspeak(tmp_path / "missing")
    (root / "annotations-real.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"'annotations-real.csv' is missing"):
        read("deepspeak1", root)
