"""Pairs: who was made from whom, halves of the sources, batches in which pairs stand together."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_repro.methods.lnclip.pairing import (
    PairedBatches,
    choose_sources,
    paired_order,
    source_videos,
)
from deepfake_repro.training.loading import seeded_loader, set_epoch

INDEX = pd.DataFrame(
    {
        "video_id": ["real/a", "fake/a1", "fake/a2", "real/b", "fake/x"],
        "pair_key": ["", "real/a", "real/a", "", ""],
    }
)
CROPS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from("abcde")), max_size=40)


def test_source_of_a_fake_is_its_pair_and_of_others_their_own_video():
    rows = pd.DataFrame(
        {"video_id": ["fake/a2", "real/b", "fake/x", "real/a", "fake/a1", "fake/a2"]}
    )
    assert source_videos(rows, INDEX).tolist() == [
        "real/a",
        "real/b",
        "fake/x",
        "real/a",
        "real/a",
        "real/a",
    ]
    with pytest.raises(ValueError, match=r"^video real/z of the sample is not in the index"):
        source_videos(pd.DataFrame({"video_id": ["real/z"]}), INDEX)


@given(CROPS, st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_order_holds_every_crop_once_and_as_many_pairs_as_there_can_be(crops, seed):
    labels = np.array([label for label, _ in crops], dtype=int)
    sources = np.array([source for _, source in crops], dtype=str)
    order = paired_order(labels, sources, np.random.default_rng(seed))
    assert sorted(order) == list(range(len(crops)))
    twos = order[: len(order) // 2 * 2].reshape(-1, 2)
    count = Counter(crops)
    possible = sum(min(count[0, source], count[1, source]) for source in "abcde")
    mixed = [(labels[a], labels[b]) == (0, 1) for a, b in twos]
    paired = [m and sources[a] == sources[b] for m, (a, b) in zip(mixed, twos, strict=True)]
    assert sum(paired) >= possible
    assert sum(mixed) == min((labels == 0).sum(), (labels == 1).sum())


def test_order_is_random_over_the_whole_table():
    labels, sources = np.tile([0, 1], 50), np.repeat(np.arange(50), 2).astype(str)
    first, again, other = (
        paired_order(labels, sources, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert first.tolist() == again.tolist() != other.tolist()
    assert np.abs(np.corrcoef(first[::2], np.arange(50))[0, 1]) < 0.5
    assert (first[1::2] == first[::2] + 1).all(), "each real is followed by its fake"


def test_batches_depend_on_seed_and_epoch_and_drop_a_smaller_last_one():
    labels, sources = np.tile([0, 1], 25), np.repeat(np.arange(25), 2).astype(str)
    batches = PairedBatches(labels, sources, 8, paired=True, seed=3)
    first = batches.plan()
    assert first.shape == (6, 8) and len(batches) == 6
    assert np.array_equal(first, batches.plan())
    assert (sources[first[:, ::2]] == sources[first[:, 1::2]]).all()
    batches.epoch = 1
    assert not np.array_equal(batches.plan(), first)
    plain = PairedBatches(labels, sources, 8, paired=False, seed=3).plan()
    assert (sources[plain[:, ::2]] == sources[plain[:, 1::2]]).mean() < 0.3
    assert PairedBatches(labels[:6], sources[:6], 8, paired=True, seed=0).plan().shape == (1, 6)
    with pytest.raises(ValueError, match=r"^lnclip\.batch_size is 7: give an even number"):
        PairedBatches(labels, sources, 7, paired=True, seed=0)


def test_the_loader_follows_the_batches_from_any_step():
    labels, sources = np.tile([0, 1], 8), np.repeat(np.arange(8), 2).astype(str)
    batches = PairedBatches(labels, sources, 4, paired=True, seed=0)
    loader = seeded_loader(list(range(16)), batches, 0)
    assert [batch.tolist() for batch in loader] == batches.plan().tolist()
    set_epoch(loader, 2, start=1)
    rest = [batch.tolist() for batch in loader]
    assert rest == batches.plan()[1:].tolist() and len(rest) == 3


def test_halves_are_of_equal_size_and_the_unpaired_list_has_no_source_of_its_fakes():
    names = [f"s{number}" for number in range(20)]
    table = [(name, label) for name in names for label in (0, 1, 1)]
    table += [(f"real{number}", 0) for number in range(6)] + [
        (f"fake{number}", 1) for number in range(10)
    ]
    sources, labels = np.array([name for name, _ in table]), np.array([label for _, label in table])
    kept = {
        which: choose_sources(labels, sources, which, 0)
        for which in ("all", "same_half", "other_half")
    }
    assert kept["all"].all()
    counts = {which: np.bincount(labels[mask]).tolist() for which, mask in kept.items()}
    assert counts["same_half"] == counts["other_half"] == [10 + 3, 20 + 5]
    for which, shared in (("same_half", 10), ("other_half", 0)):
        reals, fakes = (set(sources[kept[which] & (labels == label)]) for label in (0, 1))
        assert len(reals & fakes) == shared
    same, other = kept["same_half"], kept["other_half"]
    assert (same[labels == 0] == other[labels == 0]).all(), "both lists have the same reals"
    assert (choose_sources(labels, sources, "same_half", 1) != same).any(), (
        "another seed, other halves"
    )
    with pytest.raises(
        ValueError, match=r"^lnclip\.sources is 'half'; known: all, same_half, other_half$"
    ):
        choose_sources(labels, sources, "half", 0)
