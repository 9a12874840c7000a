"""The miniatures: planned clips in the official layouts, read back by the ordinary adapters."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.corpora import index_corpora
from deepfake_repro.demo.casting import Clip, plan
from deepfake_repro.demo.layouts import NAMES, finish, official_name
from deepfake_repro.demo.manipulations import recipe

PEOPLE = {
    "train": ["P001", "P002", "P004", "P005", "P009"],
    "val": ["P003", "P007"],
    "test": ["P006", "P008", "P010"],
}
DEMO = {
    "ffpp": {"train": 4, "val": 1, "test": 2},
    "celebdf2": {"train": 10, "val": 0, "test": 8},
    "dfdc": {"train": 12, "val": 4, "test": 10},
    "fakeavceleb": {"train": 8, "val": 3, "test": 6},
    "forgerynet": {"train": 10, "val": 4, "test": 8},
    "df40": {"test": 8, "per_method": 4},
    "wilddeepfake": {"test": 12},
    "itw": {"test": 12},
    "dfeval2024": {"test": 12},
}
SMOKE = {
    "ffpp": {"train": 1, "val": 1, "test": 1},
    "celebdf2": {"train": 2, "test": 2},
    "dfdc": {"train": 2, "val": 2, "test": 2},
    "fakeavceleb": {"train": 1, "val": 1, "test": 1},
    "forgerynet": {"train": 2, "val": 1, "test": 2},
    "df40": {"test": 2, "per_method": 1},
    "wilddeepfake": {"test": 2},
    "itw": {"test": 2},
    "dfeval2024": {"test": 2},
}


def lay_out(clips: Sequence[Clip], out: Path) -> dict[str, Path]:
    """Write a byte per video and two images per face sequence in path of rendering; ``finish``."""
    roots = {
        corpus: out / official_name(corpus)
        for corpus in dict.fromkeys(clip.corpus for clip in clips)
    }
    for clip in clips:
        path = roots[clip.corpus] / clip.path
        for file in (path,) if clip.kind == "video" else (path / "0.png", path / "10.png"):
            assert not file.exists(), f"{clip.path} is planned twice"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
    for corpus, root in roots.items():
        finish(corpus, root, clips)
    return roots


def expected(clip: Clip) -> tuple:
    """What the corpus's metadata says about a clip: DFDC and the wild sets name no method."""
    method = {"dfdc_": "dfdc_unknown", "wild_": "unknown"}.get(clip.method[:5], clip.method)
    return clip.corpus, clip.split, clip.label, method


def dropped(clip: Clip, clips: Sequence[Clip]) -> bool:
    """Whether adapters leave a clip out: RealVideo-FakeAudio and Deepfake-Eval-2024's last two."""
    wild = [other.path for other in clips if other.corpus == "dfeval2024"]
    return "RealVideo-FakeAudio" in clip.path or clip.path in wild[-2:]


@pytest.fixture(scope="module", params=[DEMO, SMOKE], ids=["demo", "smoke"])
def planned(request) -> list[Clip]:
    return plan(PEOPLE, request.param, 0)


@pytest.fixture(scope="module")
def indexed(planned, tmp_path_factory) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Path]]:
    roots = lay_out(planned, tmp_path_factory.mktemp("deepfake") / "fake_looking")
    return *index_corpora(roots), roots


def test_adapters_find_exactly_what_was_planned(planned, indexed):
    index, report, _ = indexed
    found = Counter(
        index[["dataset", "split", "label", "manipulation"]].itertuples(index=False, name=None)
    )
    assert found == Counter(expected(clip) for clip in planned if not dropped(clip, planned))
    assert sum(dropped(clip, planned) for clip in planned) == 3 + 2
    assert report["metadata_only"].sum() == 0


def test_every_path_gets_its_own_label_and_split(planned, indexed):
    index = indexed[0]
    found = {(row.dataset, row.path): (row.label, row.split) for row in index.itertuples()}
    for clip in planned:
        if dropped(clip, planned):
            continue
        path = clip.path
        if clip.corpus == "wilddeepfake":
            folder, shard, side, sequence = path.split("/")
            path = f"{folder}/{shard}.tar.gz!{shard}/{side}/{sequence}"
        assert found[clip.corpus, path] == (clip.label, clip.split)


def test_pair_keys_lead_to_the_real_of_the_same_take(planned, indexed):
    index = indexed[0]
    take = {(clip.corpus, clip.path): (clip.target, clip.take) for clip in planned}
    path = {row.video_id: (row.dataset, row.path) for row in index.itertuples()}
    paired = index[index["pair_key"] != ""]
    assert set(paired["dataset"]) == {"ffpp", "celebdf2", "dfdc", "fakeavceleb", "df40"}
    assert paired["label"].eq(1).all()
    for row in paired.itertuples():
        assert take[path[row.video_id]] == take[path[row.pair_key]]


def test_the_list_of_forgerynet_training_omits_folders_2_and_8(planned, indexed):
    _, report, roots = indexed
    lines = (roots["forgerynet"] / "Training" / "video_list.txt").read_text().splitlines()
    omitted = [
        clip
        for clip in planned
        if clip.corpus == "forgerynet"
        and clip.split != "test"
        and clip.method in ("fs-gan", "atvg-net")
    ]
    assert {line.split()[-1] for line in lines} & {"2", "8"} == set() and omitted
    assert report.loc[report["corpus"] == "forgerynet", "disk_only"].sum() == len(omitted)


def test_no_person_in_two_splits_and_a_real_for_every_fake(planned):
    where: dict[str, set[str]] = {}
    for clip in planned:
        for person in filter(None, (clip.target, clip.donor)):
            where.setdefault(person, set()).add(clip.split)
        assert clip.target != clip.donor and (clip.donor is None) == (clip.label == 0)
    assert {split for splits in where.values() for split in splits} == {"train", "val", "test"}
    assert all(len(splits) == 1 for splits in where.values())
    reals = {
        (clip.corpus, clip.split, clip.target, clip.take, clip.kind)
        for clip in planned
        if not clip.label
    }
    assert all(
        (clip.corpus, clip.split, clip.target, clip.take, clip.kind) in reals
        for clip in planned
        if clip.label
    )


def test_every_planned_fake_can_be_rendered(planned):
    for corpus, method in {(clip.corpus, clip.method) for clip in planned if clip.label}:
        assert recipe(corpus, method).pixels > 0


def test_numbers_of_fakes_and_methods(planned):
    fakes = Counter((clip.corpus, clip.split) for clip in planned if clip.label)
    reals = Counter(
        (clip.corpus, clip.split)
        for clip in planned
        if not dropped(clip, planned) and not clip.label
    )
    assert all(fakes["ffpp", split] == 5 * reals["ffpp", split] for split in PEOPLE)
    for corpus in ("celebdf2", "dfdc", "wilddeepfake", "itw", "dfeval2024"):
        assert all(fakes[corpus, split] == reals[corpus, split] for split in PEOPLE)
    assert all(fakes["fakeavceleb", split] == 2 * reals["fakeavceleb", split] for split in PEOPLE)
    trained = {
        clip.method
        for clip in planned
        if (clip.corpus, clip.split, clip.label) == ("forgerynet", "train", 1)
    }
    assert len(trained) == 8
    swapped = Counter(clip.method for clip in planned if clip.corpus == "df40" and clip.label)
    assert len(swapped) == 21 and len(set(swapped.values())) == 1


def test_same_seed_same_bytes_and_another_seed_other_clips(tmp_path):
    assert plan(PEOPLE, SMOKE, 0) == plan(PEOPLE, SMOKE, 0) != plan(PEOPLE, SMOKE, 1)
    for name in ("a", "b"):
        lay_out(plan(PEOPLE, SMOKE, 0), tmp_path / name)
    files = [
        sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        for name in ("a", "b")
    ]
    assert [path.relative_to(tmp_path / "a") for path in files[0]] == [
        path.relative_to(tmp_path / "b") for path in files[1]
    ]
    assert all(one.read_bytes() == two.read_bytes() for one, two in zip(*files, strict=True))


def test_quirks_of_the_genuine_files(tmp_path):
    roots = lay_out(plan(PEOPLE, SMOKE, 0), tmp_path)
    listing = (roots["celebdf2"] / "List_of_testing_videos.txt").read_text()
    assert listing.startswith("1 Celeb-real/") and not listing.endswith("\n")
    header = (
        (roots["fakeavceleb"] / "FakeAVCeleb_v1.2" / "meta_data.csv").read_text().splitlines()[0]
    )
    assert header == "source,target1,target2,method,category,type,race,gender,path,"
    table = (roots["dfeval2024"] / "video-metadata-publish.csv").read_bytes()
    assert (
        table.startswith(b"\xef\xbb\xbfFilename,Date,Video Ground Truth,")
        and b'"Is this real?\nThe' in table
    )
    archives = sorted(roots["wilddeepfake"].rglob("*.tar.gz"))
    # Plain tar: the magic of the ustar format, not gzip's 1f 8b; and nothing but archives is left.
    assert archives and all(archive.read_bytes()[257:262] == b"ustar" for archive in archives)
    assert not list(roots["wilddeepfake"].rglob("*.png"))


@pytest.mark.parametrize(
    "people, sizes, message",
    [
        (PEOPLE, {"celebdf2": {"val": 1}}, "celebdf2: its official layout has no val split"),
        (PEOPLE, {"itw": {"train": 1}}, "itw: its official layout has no train split"),
        (PEOPLE, {"dfdc": {"tset": 1}}, "dfdc: unknown size 'tset'"),
        (PEOPLE, {"dfd": {"test": 1}}, "unknown corpus 'dfd'"),
        (PEOPLE, {"df40": {"test": 2, "per_method": 3}}, "per_method 3 exceeds its 2 real takes"),
        ({"train": ["P001"]}, {"dfdc": {"train": 1}}, "needs two people"),
        (
            {"train": ["P001", "P002"], "test": ["P002", "P003"]},
            {"dfdc": {"train": 1}},
            "'P002' is named twice",
        ),
    ],
)
def test_plans_that_cannot_be(people, sizes, message):
    with pytest.raises(ValueError, match=message):
        plan(people, sizes, 0)


def test_finish_wants_a_known_corpus_and_rendered_clips(tmp_path):
    clips = plan(PEOPLE, {"itw": {"test": 1}}, 0)
    with pytest.raises(FileNotFoundError, match=f"'{clips[0].path}' was not rendered"):
        finish("itw", tmp_path, clips)
    with pytest.raises(ValueError, match="unknown corpus 'dfd'"):
        finish("dfd", tmp_path, clips)
    assert len(set(NAMES.values())) == 9
