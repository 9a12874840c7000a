"""What a profile costs before it is run: hours for each stage and row, disk and memory, every line with its arithmetic.

Counts come from the profile's own index, crops and sample, or, where there are none yet, from the
paper's tables. Speeds are measured (``plan``) or follow from one given speed by counting
operations. Nothing here measures or reads a clock: the same counts and speeds give the same plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..crops.store import CropStore, list_parts
from ..evaluation.prediction import crops_of_sets
from ..methods.sbi.faces import real_faces
from ..project.params import Params, Profile
from ..project.paths import Paths
from ..project.vocabulary import FINETUNE, LNCLIP, SBI, VALIDATION, method_of

DAY = 24 * 3600.0
DF40_VIDEOS = 11_544  # Section 4.2; fakes of Celeb-DF's test videos
CROP_BYTES = 64_000  # a PNG of 224 x 224, mean of the miniatures; where no store can be asked
PREDICTION_BYTES = (
    110  # a crop in the Parquet files of one row, measured on the demo; larger files need less
)


@dataclass(frozen=True)
class Counts:
    """How much there is: videos; crops in the store, in training, in validation, in all test sets; SBI's real crops."""

    videos: int
    crops: int
    train: int
    validation: int
    test: int
    sbi: int
    crop_bytes: float
    source: str


@dataclass(frozen=True)
class Network:
    """One image through one network: floating-point operations of a training step and of a prediction; parameters,
    those of them that are trained, and bytes that the backward pass needs (fp32, so that mixed precision needs less).
    """

    architecture: str
    training: float
    predicting: float
    parameters: int
    trained: int
    activations: float


@dataclass(frozen=True)
class Speed:
    """Images a second of a network: training steps and predictions."""

    training: float
    predicting: float


def scaled(
    networks: Mapping[str, Network], known: str, images_per_second: float
) -> dict[str, Speed]:
    """Speeds of all ``networks`` on a device that trains network ``known`` at ``images_per_second``, by operations.

    Kind to what a device does not do at the rate of ``known``: an EfficientNet, and predictions in
    fp32. Raises ``ValueError`` for a speed that is not above 0.
    """
    if not images_per_second > 0:
        raise ValueError(f"--images-per-second is {images_per_second}: give a number above 0")
    operations = images_per_second * networks[known].training
    return {
        key: Speed(operations / one.training, operations / one.predicting)
        for key, one in networks.items()
    }


def counts(paths: Paths, options: Profile) -> Counts:
    """Counts of a profile whose index, crops and sample are there, else those that the paper prints."""
    if not (paths.samples / "validation.parquet").is_file():
        return paper_counts(paths.base / "results" / "published", options)
    index, store = pd.read_parquet(paths.index), CropStore(paths.crops)
    train, validation = (
        pd.read_parquet(paths.samples / f"{name}.parquet") for name in ("train", "validation")
    )
    test = sum(
        len(rows) for name, rows in crops_of_sets(index, store).items() if name != VALIDATION
    )
    return Counts(
        len(index),
        len(store),
        len(train),
        len(validation),
        test,
        len(real_faces(train, index, "train", options.sbi)),
        bytes_per_crop(paths.crops),
        f"index, crops and sample of the profile {paths.profile}",
    )


def paper_counts(published: Path, options: Profile) -> Counts:
    """Counts from Tables 1 and 2 of the paper and its Section 4.2 (DF40).

    The paper does not print how many crops a video gave. The training sample keeps every real crop,
    so a corpus's real crops over its real training videos (real videos x share of the training
    split) say it; DF40 is of Celeb-DF's.
    """
    corpora = pd.read_csv(published / "table1.csv").set_index("dataset")
    total, corpora = corpora.loc["total"], corpora.drop(index="total")
    wild = pd.read_csv(published / "table2.csv")
    videos = corpora[["videos_train", "videos_val", "videos_test"]].fillna(0)
    real_train = corpora["videos_real"] * videos["videos_train"] / videos.sum(axis=1)
    per_video = corpora["samples_real"] / real_train
    test = (
        (videos["videos_test"] * per_video).sum()
        + DF40_VIDEOS * per_video["celebdf2"]
        + wild["frames_total"].sum()
    )
    train = int(total["samples_real"] + total["samples_fake"])
    crops = (videos[["videos_train", "videos_val"]].sum(axis=1) * per_video).sum() + test
    return Counts(
        int(videos.sum().sum() + DF40_VIDEOS + wild["videos_total"].sum()),
        round(crops),
        train,
        round(train * total["videos_val"] / total["videos_train"]),
        round(test),
        round(real_train["ffpp"] * options.sbi.crops_per_video),
        CROP_BYTES,
        "Tables 1 and 2 of the paper (no sample here yet); crops of test videos estimated from them",
    )


def bytes_per_crop(folder: Path) -> float:
    """Mean size of a crop in the store at ``folder``, all its columns; ``CROP_BYTES`` where there is none."""
    parts = list_parts(folder) if folder.is_dir() else pd.DataFrame({"bytes": [], "rows": []})
    return parts["bytes"].sum() / parts["rows"].sum() if parts["rows"].sum() else CROP_BYTES


def shared_rows(params: Params) -> list[str]:
    """The rows of Table 3 that share the network of fine-tuning: nine in the paper."""
    return [row for row in params.run.variants if method_of(row) == FINETUNE]


def hours(
    params: Params,
    options: Profile,
    found: Counts,
    speeds: Mapping[str, Speed],
    frames_per_second: float | None = None,
) -> pd.DataFrame:
    """``stage, row, arithmetic, hours``: the crops stage (None: not measured), then training and prediction by row."""
    lines = [_cropping(found, options, frames_per_second)]
    for row in params.run.variants:
        key = method_of(row)
        speed = speeds[key]
        images, seen, passes = _training(key, found, options)
        seconds = images * passes / speed.training + seen / speed.predicting
        told = f"{images:,} x {passes:,} / {speed.training:,.1f}/s + {seen:,} validation / {speed.predicting:,.1f}/s"
        lines.append(("train", row, told, seconds / 3600))
        lines.append(
            (
                "predict",
                row,
                f"{found.test:,} / {speed.predicting:,.1f}/s",
                found.test / speed.predicting / 3600,
            )
        )
    return pd.DataFrame(lines, columns=["stage", "row", "arithmetic", "hours"])


def _training(key: str, found: Counts, options: Profile) -> tuple[int, int, int]:
    """Training images an epoch, validation images in all, passes over the former; SBI has pairs, SAM two passes."""
    if key == SBI:
        recipe = options.sbi
        return 2 * found.sbi, 0, recipe.epochs * (2 if recipe.sam_radius else 1)
    epochs = (options.lnclip if key == LNCLIP else options.train).epochs
    return found.train, found.validation * epochs, epochs


def _cropping(
    found: Counts, options: Profile, frames_per_second: float | None
) -> tuple[str, str, str, float]:
    if not frames_per_second:
        return "crops", "-", "not measured: run dvc repro crops@demo first", float("nan")
    return (
        "crops",
        "-",
        f"{found.crops:,} sampled frames / {frames_per_second:,.1f}/s on all cores",
        found.crops / frames_per_second / 3600,
    )


def needed_speed(
    params: Params, options: Profile, found: Counts, network: Network, seconds: float = DAY
) -> float:
    """Training images a second at which all rows of the shared network take ``seconds``, training and prediction.

    A prediction is counted as its share of a training step's operations.
    """
    images, seen, passes = _training(FINETUNE, found, options)
    steps = images * passes + (seen + found.test) * network.predicting / network.training
    return len(shared_rows(params)) * steps / seconds


def disk(params: Params, found: Counts, networks: Mapping[str, Network]) -> pd.DataFrame:
    """``what, arithmetic, GB`` of the crop store, all rows' weights and predictions, and a run's checkpoint."""
    stored = sum(networks[method_of(row)].parameters * 4 for row in params.run.variants)
    rows, largest = len(params.run.variants), max(16 * one.trained for one in networks.values())
    lines = [
        (
            "crop store",
            f"{found.crops:,} crops x {found.crop_bytes:,.0f} bytes",
            found.crops * found.crop_bytes,
        ),
        ("weights", f"4 bytes a parameter, {rows} rows", stored),
        (
            "predictions",
            f"{found.test:,} crops x {rows} rows x {PREDICTION_BYTES} bytes",
            found.test * rows * PREDICTION_BYTES,
        ),
        (
            "checkpoint",
            "a run under way: weights, moments, best epoch, 16 bytes a parameter",
            largest,
        ),
    ]
    return pd.DataFrame(
        [(what, told, size / 1e9) for what, told, size in lines],
        columns=["what", "arithmetic", "GB"],
    )


def memory(params: Params, options: Profile, networks: Mapping[str, Network]) -> pd.DataFrame:
    """``network, arithmetic, GB`` on one device while each network is trained (without the framework's own)."""
    batches = {
        FINETUNE: options.train.batch_size,
        SBI: 2 * options.sbi.pairs,
        LNCLIP: options.lnclip.batch_size,
    }
    lines = []
    for key, one in _used(params, networks):
        size = 4 * one.parameters + 12 * one.trained + batches[key] * one.activations
        told = (
            f"4 x {one.parameters:,} + 12 x {one.trained:,} trained + batch {batches[key]} x "
            f"{one.activations / 1e6:,.0f} MB (fp32: mixed precision needs less)"
        )
        lines.append((one.architecture, told, size / 1e9))
    return pd.DataFrame(lines, columns=["network", "arithmetic", "GB"])


def _used(params: Params, networks: Mapping[str, Network]) -> Iterator[tuple[str, Network]]:
    keys = {method_of(row) for row in params.run.variants}
    return ((key, one) for key, one in networks.items() if key in keys)


def report(
    params: Params,
    options: Profile,
    found: Counts,
    networks: Mapping[str, Network],
    speeds: Mapping[str, Speed],
    told: str,
    frames_per_second: float | None = None,
) -> str:
    """The plan as text; ``told``: where the speeds come from."""
    stages = hours(params, options, found, speeds, frames_per_second)
    shared, network = shared_rows(params), networks[FINETUNE]
    table3, needed = (
        stages.loc[stages["row"].isin(shared), "hours"].sum(),
        needed_speed(params, options, found, network),
    )
    return (
        "\n\n".join(
            [
                f"Counts: {found.source}: {found.videos:,} videos, {found.crops:,} crops; training {found.train:,}, validation "
                f"{found.validation:,}, test {found.test:,} crops.",
                f"Speeds: {told}.",
                stages.round({"hours": 2}).to_string(index=False, na_rep="-"),
                f"The {len(shared)} rows of {network.architecture} on one device: {table3:,.1f} hours, training and prediction. "
                f"They fit into 24 hours from {needed:,.0f} training images/s on, "
                f"{needed * network.training / 1e12:,.0f} TFLOP/s at {network.training / 1e9:,.1f} GFLOP an image "
                f"({network.predicting / 1e9:,.1f} a prediction).",
                "Disk, beside the corpora\n"
                + disk(params, found, networks).round({"GB": 1}).to_string(index=False),
                "Memory of one device\n"
                + memory(params, options, networks).round({"GB": 1}).to_string(index=False),
            ]
        )
        + "\n"
    )
