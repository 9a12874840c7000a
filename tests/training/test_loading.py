"""Crop store + sample -> batches: rows against a naive loop, order as a function of (seed,
epoch).
"""

import random

import numpy as np
import pandas as pd
import pytest
import torch

from deepfake_repro.crops.store import CropStore, encode, write_part
from deepfake_repro.training.loading import (
    CropDataset,
    GlobalBatches,
    SeededDataset,
    evaluation_loader,
    positions,
    seeded,
    set_epoch,
    training_loader,
)
from deepfake_repro.training.transforms import Normalisation, training_transform

NORM = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
KEYS = [(f"ffpp/{video}", frame, face) for video in "cab" for frame in (0, 1, 7) for face in (0, 1)]


def crop(number):
    """A 24 × 24 crop of noise whose first pixel is its number."""
    image = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    image[0, 0] = number
    return image


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> CropStore:
    """18 numbered crops in two parts."""
    folder = tmp_path_factory.mktemp("crops")
    rows = [
        {
            "video_id": video,
            "frame": frame,
            "seconds": float(frame),
            "face": face,
            "x0": 0.0,
            "y0": 0.0,
            "x1": 24.0,
            "y1": 24.0,
            "score": 0.9,
            "landmarks": [0.0] * 10,
            "width": 64,
            "height": 64,
            "image": encode(crop(number), "png"),
        }
        for number, (video, frame, face) in enumerate(KEYS)
    ]
    write_part(folder / "a.arrow", rows[:11])
    write_part(folder / "b.arrow", rows[11:])
    return CropStore(folder)


def sample(numbers):
    return pd.DataFrame([KEYS[number] for number in numbers], columns=["video_id", "frame", "face"])


def raw(image):
    return torch.from_numpy(image)


def dataset(store, numbers, transform=raw):
    return CropDataset(
        store,
        positions(store, sample(numbers)),
        transform,
        [number % 2 for number in numbers],
        [number % 3 for number in numbers],
    )


def epoch_items(loader, epoch):
    set_epoch(loader, epoch)
    return [item for *_, items in loader for item in items.tolist()]


def test_positions_equal_a_naive_search(store):
    rows = sample([17, 0, 5, 12, 11, 10, 3, 0])  # any order, twice the same
    keys = list(store.table(["video_id", "frame", "face"]).itertuples(index=False, name=None))
    naive = [keys.index(key) for key in rows.itertuples(index=False, name=None)]
    actual = positions(store, rows)
    assert actual.tolist() == naive and actual.dtype == np.int64
    values = [int(store.image(position)[0, 0, 0]) for position in actual]
    assert values == [17, 0, 5, 12, 11, 10, 3, 0]


def test_a_crop_that_the_store_lacks_is_named(store):
    rows = pd.concat(
        [
            sample([1, 2]),
            pd.DataFrame([("ffpp/a", 3, 0), ("ffpp/z", 0, 0)], columns=sample([0]).columns),
        ]
    )
    with pytest.raises(
        ValueError, match=r"crop \('ffpp/a', 3, 0\) is in the sample but not in the crop store"
    ) as info:
        positions(store, rows)
    assert "rerun the crops stage" in str(info.value) and "\n" not in str(info.value)


def test_items_come_in_the_samples_order_with_their_labels(store):
    numbers = [9, 2, 15, 4, 11]
    data = dataset(store, numbers)
    assert len(data) == 5
    for item, number in enumerate(numbers):
        image, label, triplet_label, position = data[item]
        assert np.array_equal(image.numpy(), crop(number))
        assert (label, triplet_label, position) == (number % 2, number % 3, item)
    assert data[1][1:] == (0, 2, 1)  # crop 2 by hand


def test_triplet_labels_default_to_the_class_labels(store):
    data = CropDataset(store, positions(store, sample([3, 4])), raw, [5, 1])
    assert [data[item][2] for item in range(2)] == [5, 1]


def test_evaluation_keeps_order_and_every_crop(store):
    images, labels, triplet_labels, items = zip(
        *evaluation_loader(dataset(store, range(18)), 4, 0), strict=True
    )
    assert torch.cat(items).tolist() == list(range(18))
    assert torch.cat(images)[:, 0, 0, 0].tolist() == list(range(18))
    assert torch.cat(labels).tolist() == [n % 2 for n in range(18)]
    assert torch.cat(triplet_labels).tolist() == [n % 3 for n in range(18)]


def test_the_order_is_a_function_of_seed_and_epoch(store):
    first, second = (training_loader(dataset(store, range(18)), 6, 0, seed=3) for _ in range(2))
    orders = [epoch_items(first, epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(18)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert epoch_items(second, 2) == orders[2]  # jumped to, as a resumed run does
    assert epoch_items(second, 0) == orders[0]
    other = training_loader(dataset(store, range(18)), 6, 0, seed=4)
    assert epoch_items(other, 0) != orders[0] and epoch_items(other, 3) != orders[0]


@pytest.mark.parametrize("kind", ["windows", "fsfm"])
def test_the_augmentation_of_an_epoch_can_be_repeated(store, kind):
    loader = training_loader(
        dataset(store, range(18), training_transform(kind, 16, NORM)), 6, 0, seed=0
    )

    def images(epoch):
        set_epoch(loader, epoch)
        return torch.cat([batch[0] for batch in loader])

    one, other = images(1), images(2)
    assert torch.equal(one, images(1)) and not torch.equal(one, other)


@pytest.mark.parametrize("batch_size, sizes", [(5, [5, 5, 5]), (18, [18]), (30, [18])])
def test_a_last_smaller_batch_is_kept_only_when_it_is_the_only_one(store, batch_size, sizes):
    loader = training_loader(dataset(store, range(18)), batch_size, 0, seed=0)
    assert [len(items) for *_, items in loader] == sizes


@pytest.mark.parametrize("kind", ["windows", "fsfm"])
def test_worker_processes_change_neither_crops_nor_augmentation(store, kind):
    def images(workers):
        loader = training_loader(
            dataset(store, range(18), training_transform(kind, 16, NORM)), 6, workers, seed=0
        )
        epochs = []
        for epoch in (0, 1):  # the same processes serve both
            set_epoch(loader, epoch)
            epochs += [batch[0] for batch in loader]
        return torch.cat(epochs)

    assert torch.equal(images(0), images(2))


def test_an_epoch_that_begins_at_a_later_step_goes_on_as_the_whole_one(store):
    loader = training_loader(
        dataset(store, range(18), training_transform("windows", 16, NORM)), 4, 0, seed=0
    )
    set_epoch(loader, 2)
    whole = list(loader)
    set_epoch(loader, 2, start=3)
    rest = list(loader)
    assert len(loader) == len(whole) == 4 and len(rest) == 1
    assert all(torch.equal(one, other) for one, other in zip(whole[3], rest[0], strict=True))


def test_a_crops_augmentation_depends_on_seed_epoch_and_crop_only(store):
    data = dataset(store, [0, 0, 1], training_transform("fsfm", 16, NORM))
    first = SeededDataset(data, 0)[5, 0][0]
    torch.rand(3), np.random.rand(), SeededDataset(data, 0)[5, 2]
    assert torch.equal(SeededDataset(data, 0)[5, 0][0], first)
    for other in (
        SeededDataset(data, 0)[5, 1],
        SeededDataset(data, 0)[6, 0],
        SeededDataset(data, 1)[5, 0],
    ):  # item 1 is the same crop
        assert not torch.equal(other[0], first)


def test_the_callers_generators_are_left_as_they_were():
    def draw():
        return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()

    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = draw()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    with pytest.raises(KeyError), seeded(3, 4):
        inside = draw()
        raise KeyError
    assert draw() == expected
    with seeded(3, 4):
        assert draw() == inside


@pytest.mark.parametrize("size", [0, 1, 5, 18])
def test_evaluation_batches_of_all_devices_are_those_of_one(store, size):
    data = dataset(store, range(size)) if size else torch.utils.data.Subset(dataset(store, [0]), [])
    whole = [items.tolist() for *_, items in evaluation_loader(data, 4, 0)]
    parts = [
        [items.tolist() for *_, items in evaluation_loader(data, 4, 0, rank, 2)]
        for rank in range(2)
    ]
    assert parts == [whole[0::2], whole[1::2]]
    assert [item for batch in whole for item in batch] == list(range(size))


def test_no_crops_make_no_step():
    assert len(GlobalBatches(0, 8, 0)) == 0 == len(list(GlobalBatches(0, 8, 0)))
