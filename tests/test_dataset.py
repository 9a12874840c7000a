"""Crop store + sample -> batches: places against a naive loop, order as a function of (seed, epoch)."""

import numpy as np
import pandas as pd
import pytest
import torch

from deepfake_repro.augment import Normalisation, training_transform
from deepfake_repro.crop_store import CropStore, encode, write_part
from deepfake_repro.dataset import CropDataset, evaluation_loader, positions, set_epoch, training_loader

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
    rows = [{"video_id": video, "frame": frame, "seconds": float(frame), "face": face, "x0": 0.0, "y0": 0.0,
             "x1": 24.0, "y1": 24.0, "score": 0.9, "landmarks": [0.0] * 10, "width": 64, "height": 64,
             "image": encode(crop(number), "png")} for number, (video, frame, face) in enumerate(KEYS)]
    write_part(folder / "a.arrow", rows[:11])
    write_part(folder / "b.arrow", rows[11:])
    return CropStore(folder)


def sample(numbers):
    return pd.DataFrame([KEYS[number] for number in numbers], columns=["video_id", "frame", "face"])


def raw(image):
    return torch.from_numpy(image)


def dataset(store, numbers, transform=raw):
    return CropDataset(store, positions(store, sample(numbers)), transform, [number % 2 for number in numbers],
                       [number % 3 for number in numbers])


def epoch_items(loader, seed, epoch):
    set_epoch(loader, seed, epoch)
    return [item for *_, items in loader for item in items.tolist()]


def test_positions_equal_a_naive_search(store):
    rows = sample([17, 0, 5, 12, 11, 10, 3, 0])  # any order, twice the same
    keys = list(store.table(["video_id", "frame", "face"]).itertuples(index=False, name=None))
    naive = [keys.index(key) for key in rows.itertuples(index=False, name=None)]
    found = positions(store, rows)
    assert found.tolist() == naive and found.dtype == np.int64
    assert [int(store.image(place)[0, 0, 0]) for place in found] == [17, 0, 5, 12, 11, 10, 3, 0]


def test_a_crop_that_the_store_lacks_is_named(store):
    rows = pd.concat([sample([1, 2]), pd.DataFrame([("ffpp/a", 3, 0), ("ffpp/z", 0, 0)], columns=sample([0]).columns)])
    with pytest.raises(ValueError, match=r"crop \('ffpp/a', 3, 0\) is in the sample but not in the crop store") as info:
        positions(store, rows)
    assert "run the crops stage again" in str(info.value) and "\n" not in str(info.value)


def test_items_come_in_the_samples_order_with_their_labels(store):
    numbers = [9, 2, 15, 4, 11]
    data = dataset(store, numbers)
    assert len(data) == 5
    for item, number in enumerate(numbers):
        image, label, triplet_label, place = data[item]
        assert np.array_equal(image.numpy(), crop(number))
        assert (label, triplet_label, place) == (number % 2, number % 3, item)
    assert data[1][1:] == (0, 2, 1)  # crop 2 by hand


def test_triplet_labels_default_to_the_class_labels(store):
    data = CropDataset(store, positions(store, sample([3, 4])), raw, [5, 1])
    assert [data[item][2] for item in range(2)] == [5, 1]


def test_evaluation_keeps_order_and_every_crop(store):
    images, labels, triplet_labels, items = zip(*evaluation_loader(dataset(store, range(18)), 4, 0), strict=True)
    assert torch.cat(items).tolist() == list(range(18))
    assert torch.cat(images)[:, 0, 0, 0].tolist() == list(range(18))
    assert torch.cat(labels).tolist() == [n % 2 for n in range(18)]
    assert torch.cat(triplet_labels).tolist() == [n % 3 for n in range(18)]


def test_the_order_is_a_function_of_seed_and_epoch(store):
    first, second = (training_loader(dataset(store, range(18)), 6, 0, seed=3) for _ in range(2))
    orders = [epoch_items(first, 3, epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(18)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert epoch_items(second, 3, 2) == orders[2]  # jumped to, as a resumed run does
    assert epoch_items(second, 3, 0) == orders[0]
    assert epoch_items(second, 4, 0) != orders[0]
    assert epoch_items(second, 0, 3) != epoch_items(second, 3, 0)


@pytest.mark.parametrize("kind", ["windows", "fsfm"])
def test_the_augmentation_of_an_epoch_can_be_repeated(store, kind):
    loader = training_loader(dataset(store, range(18), training_transform(kind, 16, NORM)), 6, 0, seed=0)

    def images(epoch):
        set_epoch(loader, 0, epoch)
        return torch.cat([batch[0] for batch in loader])

    one, other = images(1), images(2)
    assert torch.equal(one, images(1)) and not torch.equal(one, other)


@pytest.mark.parametrize("batch_size, sizes", [(5, [5, 5, 5]), (18, [18]), (30, [18])])
def test_a_last_smaller_batch_is_kept_only_when_it_is_the_only_one(store, batch_size, sizes):
    loader = training_loader(dataset(store, range(18)), batch_size, 0, seed=0)
    assert [len(items) for *_, items in loader] == sizes


def test_a_worker_process_reads_the_same_crops(store):
    def images(workers):
        loader = training_loader(dataset(store, range(18)), 6, workers, seed=0)
        set_epoch(loader, 0, 0)
        return torch.cat([batch[0] for batch in loader])

    assert torch.equal(images(0), images(1))
