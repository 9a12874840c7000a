"""Tests of the balanced sample (Section 4.1) on random tables and against a naive version."""

from hashlib import blake2b

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_repro.dataset.sampling import COLUMNS, balanced_sample, summary


def crops(reals, fakes, dataset="ffpp"):
    """A table with one video per entry, of as many crops as the entry says; some frames show two
    faces.
    """
    rows = [
        (f"{dataset}/{kind}/{number:03d}", place // 2, place % 2, label, category, dataset)
        for kind, label, category, sizes in (("real", 0, "REAL", reals), ("fake", 1, "FS", fakes))
        for number, size in enumerate(sizes)
        for place in range(size)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def filled(sizes, target):
    """Crops of each video: at least one, then one more each in turn until the target is reached."""
    taken = [1] * len(sizes)
    while sum(taken) < min(target, sum(sizes)):
        lowest = min(t for t, size in zip(taken, sizes, strict=True) if t < size)
        for place, size in enumerate(sizes):
            if taken[place] == lowest < size and sum(taken) < target:
                taken[place] += 1
    return taken


SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=15)


@settings(max_examples=120, deadline=None)
@given(reals=SIZES, fakes=SIZES, ratio=st.sampled_from([0.5, 1.0, 2.0]), seed=st.integers(0, 5))
def test_rule(reals, fakes, ratio, seed):
    sample = balanced_sample(crops(reals, fakes), ratio, seed=seed)
    per_video = sample.groupby(["label", "video_id"]).size()
    cut, kept = (0, 1) if sum(reals) > ratio * sum(fakes) else (1, 0)
    target = round(ratio * sum(fakes)) if cut == 0 else round(sum(reals) / ratio)
    sizes = (reals, fakes)
    assert per_video[kept].tolist() == list(sizes[kept]), "the rarer class is kept whole"
    assert len(per_video[cut]) == len(sizes[cut]), "every video gives a crop"
    assert per_video[cut].sum() == max(target, len(sizes[cut])), (
        "the ratio is met unless videos outnumber it"
    )
    short = per_video[cut].to_numpy() < np.array(sizes[cut])
    if short.any():
        assert per_video[cut].max() - per_video[cut][short].min() <= 1, (
            "a video gives less only when it has less"
        )
    assert (per_video[cut].to_numpy() <= np.array(sizes[cut])).all()
    assert sorted(per_video[cut]) == sorted(filled(sizes[cut], target))


@settings(max_examples=40, deadline=None)
@given(reals=SIZES, fakes=SIZES, order=st.randoms(use_true_random=False))
def test_row_order_index_and_column_types_do_not_matter(reals, fakes, order):
    table = crops(reals, fakes)
    rows = list(range(len(table)))
    order.shuffle(rows)
    names = pd.CategoricalDtype(table["video_id"].unique()[::-1])  # an order of its own
    shuffled = table.iloc[rows].astype({"frame": "int32", "face": "int16", "video_id": names})
    expected = balanced_sample(table, seed=3)
    found = balanced_sample(shuffled[COLUMNS[::-1]], seed=3)
    assert found.astype(expected.dtypes).equals(expected)


def mixed(value):
    """SplitMix64 with Python's whole numbers."""
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def test_crops_are_chosen_by_hash_alone():
    # A fixed function of seed and crop key, so no other Python, NumPy or pandas can change the
    # sample.
    chosen = balanced_sample(crops([4], [5, 5]), seed=7).query("label == 1")
    expected = []
    for video in ("ffpp/fake/000", "ffpp/fake/001"):
        start = int.from_bytes(blake2b(f"7\0{video}".encode(), digest_size=8).digest(), "little")
        keys = {
            (place // 2, place % 2): mixed(mixed(start ^ (place // 2)) ^ (place % 2))
            for place in range(5)
        }
        expected += [(video, *key) for key in sorted(sorted(keys, key=keys.get)[:2])]
    assert list(zip(chosen["video_id"], chosen["frame"], chosen["face"], strict=True)) == expected


def test_seed_chooses_the_crops_and_the_videos_of_the_remainder():
    table = crops([10], [9, 9, 9])  # 3 each and one more from one video
    samples = [balanced_sample(table, seed=seed) for seed in range(20)]
    most = {sample[sample["label"] == 1].groupby("video_id").size().idxmax() for sample in samples}
    assert len(most) == 3
    assert len({tuple(sample.index[sample["label"] == 0]) for sample in samples}) == 1
    assert len({tuple(sample["frame"]) for sample in samples}) > 10


def test_every_crop_of_a_video_is_equally_likely():
    table = crops([1], [6])
    counts = np.zeros(6)
    for seed in range(480):
        row = balanced_sample(table, seed=seed).query("label == 1").iloc[0]
        counts[2 * row["frame"] + row["face"]] += 1
    assert abs(counts - 80).max() < 5 * np.sqrt(80)  # 5 standard deviations


def test_other_columns_are_left_out_and_rows_sorted():
    sample = balanced_sample(
        crops([2, 3], [4, 4]).assign(image=b"x").sample(frac=1, random_state=0), seed=0
    )
    assert list(sample.columns) == COLUMNS
    assert sample.equals(sample.sort_values(["video_id", "frame", "face"], ignore_index=True))


def test_summary_by_hand():
    table = pd.concat(
        [crops([1], [2, 3], "zeta"), crops([4, 2], [1], "dfdc"), crops([2], [2], "ffpp")]
    )
    assert summary(table).to_dict("split")["data"] == [
        ["ffpp", 1, 1, 2, 2],
        ["dfdc", 2, 1, 6, 1],
        ["zeta", 1, 2, 1, 5],
        ["total", 4, 4, 9, 8],
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns=["face", "dataset"]), "lack the columns face, dataset"),
        (lambda t: pd.concat([t, t.iloc[[0]]]), "ffpp/real/000 frame 0 face 0 is listed twice"),
        (
            lambda t: t.assign(label=(t["frame"] == 0).astype(int)),
            "video ffpp/fake/000 has crops of both labels",
        ),
        (lambda t: t[t["label"] == 1], "0 real and 4 fake crops cannot be balanced"),
        (lambda t: t.assign(label=t["label"] * 2), "labels other than 0"),
    ],
)
def test_bad_tables_are_refused_in_one_line(change, words):
    with pytest.raises(ValueError, match=words) as error:
        balanced_sample(change(crops([4], [4])), seed=0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ratio", [0, -1, float("nan")])
def test_ratio_must_be_positive(ratio):
    with pytest.raises(ValueError, match="real_to_fake"):
        balanced_sample(crops([4], [4]), ratio, seed=0)
