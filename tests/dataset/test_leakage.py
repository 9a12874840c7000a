"""Tests of leakage against a naive count and the known numbers of the official splits."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from deepfake_repro.corpora.adapters.ffpp import STRADDLING
from deepfake_repro.corpora.schema import COLUMNS, Video, index_table
from deepfake_repro.dataset.leakage import leakage


def video(video_id: str, split: str, label: int = 0, **more: str) -> Video:
    kind = ("deepfake", "FS") if label else ("real", "REAL")
    dataset = video_id.partition("/")[0]
    return Video(video_id, video_id, "video", label, *kind, dataset, split, "official", **more)


def fact(table: pd.DataFrame, corpus: str, words: str) -> tuple[int, int, str]:
    rows = table[(table["corpus"] == corpus) & table["fact"].str.contains(words, regex=False)]
    assert len(rows) == 1, table
    row = rows.iloc[0]
    return row["count"], row["of"], row["detail"]


def test_the_seven_pairs_of_ffpp_that_the_official_splits_part() -> None:
    """Splits of the fourteen sequences as in the authors' lists."""
    split = dict(
        zip(
            [
                "605",
                "606",
                "639",
                "640",
                "755",
                "756",
                "837",
                "838",
                "875",
                "876",
                "954",
                "955",
                "982",
                "983",
            ],
            [
                "train",
                "val",
                "train",
                "val",
                "test",
                "train",
                "val",
                "train",
                "val",
                "train",
                "train",
                "test",
                "val",
                "train",
            ],
            strict=True,
        )
    )
    reals = [
        video(f"ffpp/youtube/{name}", split[name], target_id=name, group=name) for name in split
    ]
    count, of, detail = fact(leakage(index_table(reals)), "ffpp", "one YouTube video")
    assert (count, of) == (7, 7) == (len(STRADDLING),) * 2
    assert detail.startswith("605 train, 606 val; 639 train, 640 val; 755 test, 756 train")
    together = [
        video(f"ffpp/youtube/{name}", "train", target_id=name) for name in ("605", "606", "639")
    ]
    assert fact(leakage(index_table(together)), "ffpp", "one YouTube video") == (0, 1, "")


def test_celeb_df_s_test_fakes_whose_target_is_in_training() -> None:
    """106 of 340 have their target real in the test list, as in the official list."""
    reals = [
        video(f"celebdf2/Celeb-real/id{n}_0000", "test" if n < 70 else "train", target_id=f"id{n}")
        for n in range(213)
    ]
    targets = [n % 70 for n in range(106)] + [70 + n % 143 for n in range(234)]
    fakes = [
        video(
            f"celebdf2/Celeb-synthesis/id{target}_id{n}_{n}",
            "test",
            1,
            target_id=f"id{target}",
            pair_key=f"celebdf2/Celeb-real/id{target}_0000",
        )
        for n, target in enumerate(targets)
    ]
    table = leakage(index_table(reals + fakes))
    assert fact(table, "celebdf2", "real counterpart is outside") == (
        234,
        340,
        "106 in test, 234 in train",
    )
    lost = [
        video(
            "celebdf2/Celeb-synthesis/id999_id1_0000",
            "test",
            1,
            pair_key="celebdf2/Celeb-real/id999_0000",
        )
    ]
    assert fact(
        leakage(index_table(reals + fakes + lost)), "celebdf2", "real counterpart is outside"
    ) == (235, 341, "106 in test, 234 in train, 1 not indexed")


def test_identities_and_groups_against_a_naive_count() -> None:
    rng = np.random.default_rng(0)
    videos = [
        video(
            f"x/{n}",
            str(rng.choice(["train", "val", "test"])),
            int(rng.integers(2)),
            target_id=f"id{rng.integers(40)}",
            source_id=str(rng.choice(["", f"id{rng.integers(60)}"])),
            group=f"g{rng.integers(90)}",
        )
        for n in range(120)
    ]
    table = leakage(index_table(videos))

    def several(names: dict[str, set[str]]) -> tuple[int, int]:
        return sum(len(splits) > 1 for splits in names.values()), len(names)

    groups, people = {}, {}
    for row in videos:
        groups.setdefault(row.group, set()).add(row.split)
        for name in filter(None, (row.target_id, row.source_id)):
            people.setdefault(name, set()).add(row.split)
    count, of, detail = fact(table, "x", "groups in several splits")
    assert (count, of) == several(groups) and 5 < count < of
    assert detail.endswith("; …") and detail.count(";") == 5
    name, _, splits = detail.partition(" (")
    assert sorted(groups[name]) == splits.partition(")")[0].split(", ")
    assert fact(table, "x", "identities")[:2] == several(people)


def test_videos_that_two_corpora_list() -> None:
    reals = [
        video(f"celebdf2/Celeb-real/videos/id{n}_0000", "train" if n == 3 else "test")
        for n in range(4)
    ]
    again = [video(f"df40/Celeb-DF-v2/Celeb-real/frames/ID{n}_0000", "test") for n in (1, 2, 3)]
    # Common names that mean nothing across corpora.
    alike = [
        video("itw/real/0001", "test"),
        video("uadfv/real/0001", "test"),
        video("df40/DF40/lia/x", "test", 1),
    ]
    table = leakage(index_table(reals + again + alike))
    assert fact(table, "df40", "that celebdf2 lists as test") == (2, 4, "2 of them real")
    assert fact(table, "df40", "that celebdf2 lists as train") == (1, 4, "1 of them real")
    assert len(table) == 2


def test_an_empty_index_and_videos_without_split() -> None:
    assert leakage(pd.DataFrame(columns=list(COLUMNS))).empty
    rows = [video(f"x/{n}", split, group="g") for n, split in enumerate(("train", "none"))]
    assert leakage(index_table(rows)).empty


def test_order_of_rows_does_not_matter() -> None:
    rows = [
        video(f"x/{a}{b}", a, group=b) for a, b in itertools.product(("train", "test"), "pqrstuvw")
    ]
    table = index_table(rows)
    assert leakage(table).equals(leakage(table.sample(frac=1, random_state=0)))
