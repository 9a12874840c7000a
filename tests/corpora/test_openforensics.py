"""Pictures as rows of the index: OpenForensics as it circulates, its repeats, and manifests."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from deepfake_repro.corpora import index_corpora
from deepfake_repro.corpora.adapters import openforensics
from deepfake_repro.corpora.duplicates import perceptual_hash, smallest_duplicates


def jpeg(seed: int, quality: int = 90) -> bytes:
    """A smooth random picture of 64 × 64 pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(
        content, "JPEG", quality=quality
    )
    return content.getvalue()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twenty pictures of each kind in Train, five in Validation, all different."""
    seeds = iter(range(1000))
    for folder, count in (("Train", 20), ("Validation", 5)):
        for label in ("Real", "Fake"):
            for number in range(count):
                file = tmp_path / "Dataset" / folder / label / f"{label.lower()}_{number}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(jpeg(next(seeds)))
    return tmp_path


def test_groups_are_those_of_all_pairs() -> None:
    """Against a flood fill over all pairs; some hashes are a few bits from others."""
    rng = np.random.default_rng(0)
    hashes = [int(value) for value in rng.integers(0, 2**63, 60, np.uint64)]
    for start in range(20):
        for _ in range(2):
            flips = rng.choice(64, rng.integers(1, 6), replace=False)
            hashes.append(hashes[start] ^ sum(1 << int(bit) for bit in flips))
    expected = []
    for start in range(len(hashes)):
        group, waiting = {start}, [start]
        while waiting:
            one = waiting.pop()
            near = {
                other
                for other, value in enumerate(hashes)
                if (value ^ hashes[one]).bit_count() <= 3
            }
            waiting += near - group
            group |= near
        expected.append(min(hashes[member] for member in group))
    assert smallest_duplicates(hashes, 3) == expected
    assert 60 < len(set(expected)) < len(hashes)
    assert smallest_duplicates([]) == []


def test_a_hash_survives_another_quality_and_size_but_not_another_picture(tmp_path: Path) -> None:
    for name, content in {"a": jpeg(1), "b": jpeg(1, 50), "c": jpeg(2)}.items():
        (tmp_path / name).write_bytes(content)
    with Image.open(tmp_path / "a") as picture:
        picture.resize((200, 200)).save(tmp_path / "d", "PNG")
    first, other, different, larger = (perceptual_hash(tmp_path / name) for name in "abcd")
    assert (first ^ other).bit_count() <= 2 and (first ^ larger).bit_count() <= 2
    assert (first ^ different).bit_count() > 10
    # The hash is in the order of ImageHash's own text.
    with Image.open(tmp_path / "a") as picture:
        assert f"{first:016x}" == str(imagehash.phash(picture))


def test_what_circulates_as_validation_is_for_testing_and_train_is_divided(corpus: Path) -> None:
    table, report = openforensics.ADAPTER.index(corpus, validation=0.3)
    assert Counter(table["kind"]) == {"image": 50} and not report.notes
    from_train = table["path"].str.contains("/Train/")
    assert set(table.loc[~from_train, "split"]) == {"test"}
    assert set(table.loc[from_train, "split"]) == {"train", "val"}
    assert set(table.groupby("label")["manipulation"].unique().map(tuple)) == {
        ("real",),
        ("gan_swap",),
    }
    again, _ = openforensics.ADAPTER.index(corpus, validation=0.3)
    assert table.equals(again)


def test_a_subset_by_number_keeps_the_splits_of_the_whole(corpus: Path) -> None:
    whole, _ = openforensics.ADAPTER.index(corpus)
    part, _ = openforensics.ADAPTER.index(corpus, first={"Train": 3, "Validation": 3})
    assert len(part) == 12
    split = whole.set_index("video_id")["split"]
    assert (part["split"] == part["video_id"].map(split)).all()


def test_repeats_are_left_out_of_testing_and_stay_together_in_training(corpus: Path) -> None:
    folder = corpus / "Dataset"
    for target, seed in {
        "Validation/Real/real_0.jpg": 0,  # as a real of Train
        "Validation/Fake/fake_1.jpg": 31,  # as a fake of Train
        "Validation/Real/real_3.jpg": 42,  # as real_2 of its own folder
        "Validation/Fake/fake_4.jpg": 44,  # made from real_4: both are kept
    }.items():
        (folder / target).write_bytes(jpeg(seed, 60))
    for number in range(10):
        (folder / f"Train/Fake/fake_{number}.jpg").write_bytes(jpeg(number, 70))
    (folder / "Validation/Fake/fake_2.jpg").write_bytes(b"no picture")
    table, report = openforensics.ADAPTER.index(corpus, validation=0.5)
    test = set(table.loc[table["split"] == "test", "path"].map(lambda path: path[19:]))
    assert test == {
        *(f"Real/real_{number}.jpg" for number in (1, 2, 4)),
        *(f"Fake/fake_{number}.jpg" for number in (0, 3, 4)),
    }
    assert any("cannot be decoded" in note for note in report.notes)
    assert any(note.startswith("3 test pictures left out") for note in report.notes)
    sides = table[table["split"] != "test"].groupby("group")["split"].nunique()
    assert (sides == 1).all() and (table.groupby("group").size() > 1).any()
    assert all(len(json.loads(attrs)["phash"]) == 16 for attrs in table["attrs"])


def test_a_manifest_lists_pictures_and_says_which_are_face_crops(corpus: Path) -> None:
    folder = corpus / "Dataset" / "Train"
    (folder / "manifest.csv").write_text(
        "path,label,face_crop\n"
        "Real/real_0.jpg,real,\n"
        "Fake/fake_0.jpg,fake,yes\n"
        "Fake,fake,\n"
        "Fake/none.jpg,fake,\n"
    )
    table, report = index_corpora({"itw": folder})
    kinds = dict(zip(table["path"], table["kind"], strict=True))
    assert kinds == {"Real/real_0.jpg": "image", "Fake/fake_0.jpg": "face", "Fake": "frames"}
    assert report.set_index("corpus").loc["itw", "metadata_only"].sum() == 1


def test_a_folder_without_a_number_is_left_out_and_an_unknown_one_is_named(corpus: Path) -> None:
    table, _ = openforensics.ADAPTER.index(corpus, first={"Validation": 2})
    assert set(table["path"].map(lambda path: path.split("/")[1])) == {"Validation"}
    with pytest.raises(ValueError, match="openforensics: no folder 'Holiday'; known: Train"):
        openforensics.ADAPTER.index(corpus, first={"Holiday": 2})
