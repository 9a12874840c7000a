"""The nine official downloads at their full counts through the adapters.

The two largest are a tenth of their size by default and whole with ``-m bench``: together a quarter
of a million entries, which adapters read in seconds but a disk takes a minute to make and delete.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro import corpora
from deepfake_repro.corpora import ADAPTERS
from deepfake_repro.corpora.schema import IndexReport
from support.official_trees import COUNTS, FAV_RACES, FFPP_STRADDLING, FORGERYNET, TREES

Indexed = tuple[pd.DataFrame, IndexReport, Path]
SCALE = {"dfdc": 0.1, "forgerynet": 0.1}
SIZES = [pytest.param(corpus, SCALE.get(corpus, 1.0), id=corpus) for corpus in TREES] + [
    pytest.param(corpus, 1.0, id=f"{corpus}-whole", marks=pytest.mark.bench) for corpus in SCALE
]
# Real or fake by the one part of an official path that says so, as a second opinion beside the
# adapters.
REAL_PLACES = {
    "ffpp": r"original_sequences/",
    "celebdf2": r"(Celeb|YouTube)-real/",
    "df40": r"Celeb-DF-v2/",
    "fakeavceleb": r"FakeAVCeleb_v1.2/RealVideo-RealAudio/",
    "forgerynet": r"\w+/video/\w+/1[6-9]/",
    "wilddeepfake": r"real_(train|test)/",
    "itw": r"clips/real/",
}


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Indexed]]:
    """``indexed(corpus)``: index, report and root; the root's name says fake and real, a trap."""
    base = tmp_path_factory.mktemp("official") / "fake_and_real" / "deepfake"
    done: dict[tuple[str, float], Indexed] = {}

    def index(corpus: str, scale: float | None = None) -> Indexed:
        key = (corpus, scale or SCALE.get(corpus, 1.0))
        if key not in done:
            root = TREES[corpus](base / f"{corpus}-{key[1]}", key[1])
            done[key] = (*ADAPTERS[corpus].index(root), root)
        return done[key]

    yield index
    shutil.rmtree(base)


def counts(table: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """split -> (real, fake), and "all"."""
    per_split = {split: rows["label"] for split, rows in table.groupby("split")} | {
        "all": table["label"]
    }
    return {
        split: (int((labels == 0).sum()), int(labels.sum())) for split, labels in per_split.items()
    }


def expected(corpus: str, scale: float) -> dict[str, tuple[int, int]]:
    """The published counts, or their share in a smaller tree."""
    if corpus != "forgerynet" or scale == 1:
        return {
            split: (round(real * scale), round(fake * scale))
            for split, (real, fake) in COUNTS[corpus].items()
        }
    sums = {
        release: [
            sum(round(count * scale) for folder, count in folders.items() if (folder < 16) == fake)
            for fake in (False, True)
        ]
        for release, folders in FORGERYNET.items()
    }
    test, train = sums.values()
    return {"test": tuple(test), "all": (test[0] + train[0], test[1] + train[1])}


@pytest.mark.parametrize("corpus, scale", SIZES)
def test_official_counts(indexed, corpus, scale):
    table, report, root = indexed(corpus, scale)
    assert {split: counts(table)[split] for split in COUNTS[corpus]} == expected(corpus, scale)
    assert report.indexed == len(table) == table["video_id"].nunique() == table["path"].nunique()
    assert report.metadata_only == ()
    official = getattr(getattr(corpora, corpus, None), "OFFICIAL", None)
    # Of ForgeryNet's 221,247 videos the tree has those with labels by the paper's protocol.
    assert official == COUNTS[corpus] or corpus in ("forgerynet", "itw")
    for path in table["path"].iloc[:: max(1, len(table) // 200)]:
        assert (root / path.partition("!")[0]).exists()


@pytest.mark.parametrize("corpus", REAL_PLACES)
def test_labels_by_the_part_of_the_path_that_decides(indexed, corpus):
    table, *_ = indexed(corpus)
    assert (table["label"] == (~table["path"].str.match(REAL_PLACES[corpus])).astype(int)).all()


def test_labels_by_the_metadata_where_it_decides(indexed):
    table, _, root = indexed("dfdc")
    truth = {
        name: entry["label"] == "FAKE"
        for path in root.glob("train/*/metadata.json")
        for name, entry in json.loads(path.read_text()).items()
    }
    for table_file in ("validation/labels.csv", "test/labels.csv"):
        truth |= {
            line.split(",")[0]: line.endswith(",1")
            for line in (root / table_file).read_text().splitlines()[1:]
        }
    names = table["path"].str.rpartition("/")[2]
    assert len(truth) == len(table) and (names.map(truth).astype(int) == table["label"]).all()
    table, _, root = indexed("dfeval2024")
    truth = dict(
        re.findall(
            r"^(\w{27}\.\w+),2024-02-03,(Fake|Real),",
            (root / "video-metadata-publish.csv").read_text(),
            re.MULTILINE,
        )
    )
    assert (
        table["path"].str.rpartition("/")[2].map(truth)
        == table["label"].map({0: "Real", 1: "Fake"})
    ).all()


def test_ffpp_methods_pairs_and_straddling_sequences(indexed):
    table, report, _ = indexed("ffpp")
    assert (
        table["manipulation"].value_counts().eq(1_000).all()
        and table["manipulation"].nunique() == 6
    )
    assert table["category"].value_counts().to_dict() == {"FS": 3_000, "RE": 2_000, "REAL": 1_000}
    assert (table["pair_key"] != "").sum() == 5_000 and table.groupby("group")[
        "split"
    ].nunique().eq(1).all()
    reals = table[table["label"] == 0].set_index("target_id")["split"]
    assert all(reals[sequence] == split for sequence, split in FFPP_STRADDLING.items())
    assert report.notes[0].endswith("605/606, 639/640, 755/756, 837/838, 875/876, 954/955, 982/983")


def test_celebdf_pairs_cross_its_official_splits(indexed):
    table, *_ = indexed("celebdf2")
    split_of = table.set_index("video_id")["split"]
    fakes = table[(table["label"] == 1) & (table["split"] == "test")]
    # The reference says of the official list: 106 of 340 have their real in the test list.
    assert fakes["pair_key"].map(split_of).value_counts().to_dict() == {"train": 234, "test": 106}
    assert fakes["pair_key"].nunique() == 213


def test_dfdc_every_fake_has_its_original_in_its_own_part(indexed):
    table, *_ = indexed("dfdc")
    fakes = table[(table["label"] == 1) & (table["split"] == "train")]
    assert (
        fakes["pair_key"].str.rpartition("/")[0] == fakes["video_id"].str.rpartition("/")[0]
    ).all()
    assert (table["pair_key"] != "").sum() == len(fakes) == 10_000


def test_fakeavceleb_splits_by_identity_in_every_stratum(indexed):
    table, report, _ = indexed("fakeavceleb")
    assert table.groupby("group")["split"].nunique().eq(1).all() and table["group"].nunique() == 500
    assert report.notes[0].startswith("500 RealVideo-FakeAudio")
    fakes = table[table["label"] == 1]
    assert (
        fakes["pair_key"].str.split("/").str[1:5]
        == fakes["path"].str.split("/").map(lambda parts: ["RealVideo-RealAudio", *parts[2:5]])
    ).all()
    people = table.drop_duplicates("group")
    # Hashes know no race or gender. 500 people: four standard deviations of 15 % are 32; of 100
    # people 14.
    assert (people["split"].value_counts()[["val", "test"]] - 75).abs().max() < 32
    race = people["path"].str.split("/").str[2]
    assert set(race) == set(FAV_RACES)
    assert (pd.crosstab(race, people["split"])[["val", "test"]] - 15).abs().to_numpy().max() < 15


def test_forgerynet_folders_two_and_eight_are_in_no_list(indexed):
    table, report, _ = indexed("forgerynet")
    training = FORGERYNET["Training/video/train_video_release"]
    assert len(report.disk_only) == round(training[2] / 10) + round(training[8] / 10)
    assert table.loc[table["label"] == 1, "manipulation"].nunique() == 8
    sides = table.loc[table["split"] != "test", "split"].value_counts()
    # 13.5 % of the outer folders: 3,300 of one real and 1,000 of four fakes, so four standard
    # deviations are 0.026.
    assert abs(sides["val"] / sides.sum() - 0.135) < 0.026
    assert table.groupby("group")["split"].nunique().eq(1).all()


def test_df40_methods_share_their_reals(indexed):
    table, report, _ = indexed("df40")
    per_method = table.loc[table["label"] == 1, "manipulation"].value_counts()
    assert len(per_method) == 21 and set(per_method) == {541, 542}
    assert table.loc[table["label"] == 1, "pair_key"].ne("").all()
    assert report.notes == ("methods outside the paper's 21 left out: StyleGAN2, heygen",)


def test_wilddeepfake_extracted_is_the_same_index(indexed, tmp_path):
    archived, *_ = indexed("wilddeepfake")
    extracted, _ = ADAPTERS["wilddeepfake"].index(
        TREES["wilddeepfake"](tmp_path / "w", extracted=True)
    )
    columns = ["video_id", "label", "category", "split", "group", "attrs"]
    assert extracted[columns].equals(archived[columns])


def test_dfeval_folds_and_what_is_left_out(indexed):
    table, report, _ = indexed("dfeval2024")
    folds = table["attrs"].map(lambda text: json.loads(text)["fold"])
    assert pd.crosstab(folds, table["label"]).to_numpy().tolist() == [[48, 386], [64, 578]]
    assert report.notes == ("960 videos with ground truth Unknown left out",)
    assert table["path"].str.endswith(".webm").sum() == 1
