"""Estimate what a profile costs before it runs: hours per stage and row, disk and memory.

Every line of the plan shows its arithmetic. Counts come from the profile's own index, crops and
sample, or from the paper's tables if there are none yet. Speeds are measured (``plan``) or scaled
from one given speed by counting operations. Nothing here measures or reads a clock: the same counts
and speeds give the same plan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ...crops.store import CropStore, list_parts
from ...evaluation.prediction import crops_of_sets
from ...methods.sbi.faces import real_faces
from ...project.params import Params, Profile
from ...project.paths import Paths
from ...project.vocabulary import FINETUNE, LNCLIP, SBI, VALIDATION

DAY = 24 * 3600.0
DF40_VIDEOS = 11_544
"""Section 4.2; fakes of Celeb-DF's test videos."""
CROP_BYTES = 64_000
"""Mean size of a 224 x 224 PNG of the miniatures, for when there is no crop store to measure."""
PREDICTION_BYTES = 110
"""Size of one crop in the Parquet files of a row, measured on the demo; larger files need less."""


@dataclass(frozen=True)
class Counts:
    """Numbers of videos and crops of a profile.

    ``crops``, ``train``, ``validation`` and ``test`` are crops in the store, the training sample,
    the validation sample and all test sets; ``sbi`` are the real training crops of SBI;
    ``crop_bytes`` is the mean size of a crop; ``source`` says where the numbers come from.
    """

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
    """Costs of one image in one network.

    ``training`` and ``predicting`` are floating-point operations of a training step and of a
    prediction; ``trained`` is how many of the ``parameters`` are trained; ``activations`` are the
    bytes kept for the backward pass in fp32 (mixed precision needs less).
    """

    architecture: str
    training: float
    predicting: float
    parameters: int
    trained: int
    activations: float


@dataclass(frozen=True)
class Speed:
    """Images per second of a network in training and in prediction."""

    training: float
    predicting: float


def scale_speeds(
    networks: Mapping[str, Network], reference: str, images_per_second: float
) -> dict[str, Speed]:
    """Return the speeds of all networks on a device that trains ``reference`` at a given speed.

    Speeds are scaled by operations, which is optimistic for work that runs less efficiently than
    the training of ``reference``: EfficientNets and fp32 predictions. Raises ``ValueError`` for a
    speed that is not above 0.
    """
    if not images_per_second > 0:
        raise ValueError(f"--images-per-second is {images_per_second}: give a number above 0")
    operations = images_per_second * networks[reference].training
    return {
        key: Speed(operations / network.training, operations / network.predicting)
        for key, network in networks.items()
    }


def gather_counts(paths: Paths, options: Profile) -> Counts:
    """Count the crops of a profile; without a sample, estimate them by :func:`paper_counts`."""
    if not (paths.samples / "validation.parquet").is_file():
        return paper_counts(paths.base / "results" / "published", options)
    index = pd.read_parquet(paths.index)
    store = CropStore(paths.crops)
    train = pd.read_parquet(paths.samples / "train.parquet")
    validation = pd.read_parquet(paths.samples / "validation.parquet")
    sets = crops_of_sets(index, store)
    return Counts(
        videos=len(index),
        crops=len(store),
        train=len(train),
        validation=len(validation),
        test=sum(len(rows) for name, rows in sets.items() if name != VALIDATION),
        sbi=len(real_faces(train, index, "train", options.sbi)),
        crop_bytes=bytes_per_crop(paths.crops),
        source=f"index, crops and sample of the profile {paths.profile}",
    )


def paper_counts(published: Path, options: Profile) -> Counts:
    """Estimate counts from Tables 1 and 2 of the paper and its Section 4.2 (DF40).

    The paper does not print the crops per video. The training sample keeps every real crop, so this
    is a corpus's real crops over its real training videos (real videos x share of the training
    split). DF40 has Celeb-DF's crops per video.
    """
    table1 = pd.read_csv(published / "table1.csv").set_index("dataset")
    total = table1.loc["total"]
    corpora = table1.drop(index="total")
    wild = pd.read_csv(published / "table2.csv")
    videos = corpora[["videos_train", "videos_val", "videos_test"]].fillna(0)
    real_train = corpora["videos_real"] * videos["videos_train"] / videos.sum(axis=1)
    crops_per_video = corpora["samples_real"] / real_train
    test = (
        (videos["videos_test"] * crops_per_video).sum()
        + DF40_VIDEOS * crops_per_video["celebdf2"]
        + wild["frames_total"].sum()
    )
    train = int(total["samples_real"] + total["samples_fake"])
    learned_from = videos[["videos_train", "videos_val"]].sum(axis=1)
    return Counts(
        videos=int(videos.sum().sum() + DF40_VIDEOS + wild["videos_total"].sum()),
        crops=round((learned_from * crops_per_video).sum() + test),
        train=train,
        validation=round(train * total["videos_val"] / total["videos_train"]),
        test=round(test),
        sbi=round(real_train["ffpp"] * options.sbi.crops_per_video),
        crop_bytes=CROP_BYTES,
        source="Tables 1 and 2 of the paper, because there is no sample yet; "
        "crops of test videos are estimated from them",
    )


def bytes_per_crop(folder: Path) -> float:
    """Return the mean size of a crop in a store with all its columns, or ``CROP_BYTES``."""
    if not folder.is_dir():
        return CROP_BYTES
    parts = list_parts(folder)
    rows = parts["rows"].sum()
    return parts["bytes"].sum() / rows if rows else CROP_BYTES


def shared_rows(params: Params, own: Collection[str] = ()) -> list[str]:
    """Return the rows of Table 3 that fine-tune the same network: nine in the paper.

    ``own``: rows with values of their own, which do not count.
    """
    rows = params.rows_of_run
    return [row for row in rows if params.method_of(row) == FINETUNE and row not in own]


def batch_sizes(options: Profile) -> dict[str, int]:
    """Return the images per training step of each method."""
    return {
        FINETUNE: options.train.batch_size,
        SBI: 2 * options.sbi.pairs,
        LNCLIP: options.lnclip.batch_size,
    }


def own_options(params: Params, profile: str) -> dict[str, Profile]:
    """Return the options of each row of ``run`` that has values of its own in a profile."""
    plain = params.profile(profile)
    chosen = {row: params.profile(profile, row) for row in params.rows_of_run}
    return {row: options for row, options in chosen.items() if options != plain}


def own_key(row: str) -> str:
    """Return the key of the network of a row with values of its own; the others' is the method."""
    return f"variants.{row}"


def network_key(params: Params, row: str, known: Collection[str]) -> str:
    """Return the key of a row's network: the row's own if it is ``known``, else its method."""
    return own_key(row) if own_key(row) in known else params.method_of(row)


def estimate_hours(
    params: Params,
    options: Profile,
    counts: Counts,
    speeds: Mapping[str, Speed],
    frames_per_second: float | None = None,
    own: Mapping[str, Profile] | None = None,
) -> pd.DataFrame:
    """Return ``stage, row, arithmetic, hours``: cropping, then training and prediction per row.

    ``speeds``: by method, and by row for those with values of their own; ``frames_per_second``:
    measured speed of cropping, if there is one; ``own``: the options of rows with their own values.
    """
    lines = [_cropping(counts, frames_per_second)]
    for row in params.rows_of_run:
        speed = speeds[network_key(params, row, speeds)]
        chosen = (own or {}).get(row, options)
        images, validation, epochs = _training(params.method_of(row), counts, chosen)
        training_seconds = images * epochs / speed.training + validation / speed.predicting
        arithmetic = (
            f"{images:,} x {epochs:,} / {speed.training:,.1f}/s"
            f" + {validation:,} validation / {speed.predicting:,.1f}/s"
        )
        lines.append(("train", row, arithmetic, training_seconds / 3600))
        prediction_seconds = counts.test / speed.predicting
        arithmetic = f"{counts.test:,} / {speed.predicting:,.1f}/s"
        lines.append(("predict", row, arithmetic, prediction_seconds / 3600))
    return pd.DataFrame(lines, columns=["stage", "row", "arithmetic", "hours"])


def _training(method: str, counts: Counts, options: Profile) -> tuple[int, int, int]:
    """Return training images per epoch, validation images in total, and epochs.

    SBI trains on pairs; SAM doubles its epochs, because it passes over each batch twice.
    """
    if method == SBI:
        recipe = options.sbi
        return 2 * counts.sbi, 0, recipe.epochs * (2 if recipe.sam_radius else 1)
    epochs = options.lnclip.epochs if method == LNCLIP else options.train.epochs
    return counts.train, counts.validation * epochs, epochs


def _cropping(counts: Counts, frames_per_second: float | None) -> tuple[str, str, str, float]:
    if not frames_per_second:
        return "crops", "-", "not measured: run dvc repro crops@demo first", float("nan")
    arithmetic = f"{counts.crops:,} sampled frames / {frames_per_second:,.1f}/s on all cores"
    return "crops", "-", arithmetic, counts.crops / frames_per_second / 3600


def required_speed(
    params: Params,
    options: Profile,
    counts: Counts,
    network: Network,
    seconds: float = DAY,
    own: Collection[str] = (),
) -> float:
    """Return the training images per second at which the shared rows take ``seconds`` in total.

    A prediction counts as its share of a training step's operations.
    """
    images, validation, epochs = _training(FINETUNE, counts, options)
    predictions = validation + counts.test
    steps = images * epochs + predictions * network.predicting / network.training
    return len(shared_rows(params, own)) * steps / seconds


def estimate_disk(params: Params, counts: Counts, networks: Mapping[str, Network]) -> pd.DataFrame:
    """Return ``what, arithmetic, GB`` of crops, weights, predictions and the largest checkpoint."""
    rows = len(params.run.variants)
    used = [networks[network_key(params, row, networks)] for row in params.rows_of_run]
    weights = sum(4 * network.parameters for network in used)
    checkpoint = max(16 * network.trained for network in networks.values())
    lines = [
        (
            "crop store",
            f"{counts.crops:,} crops x {counts.crop_bytes:,.0f} bytes",
            counts.crops * counts.crop_bytes,
        ),
        ("weights", f"4 bytes per parameter, {rows} rows", weights),
        (
            "predictions",
            f"{counts.test:,} crops x {rows} rows x {PREDICTION_BYTES} bytes",
            counts.test * rows * PREDICTION_BYTES,
        ),
        (
            "checkpoint",
            "an unfinished run: weights, moments, best epoch, 16 bytes per parameter",
            checkpoint,
        ),
    ]
    table = pd.DataFrame(lines, columns=["what", "arithmetic", "GB"])
    return table.assign(GB=table["GB"] / 1e9)


def estimate_memory(
    params: Params,
    options: Profile,
    networks: Mapping[str, Network],
    own: Mapping[str, Profile] | None = None,
) -> pd.DataFrame:
    """Return ``network, arithmetic, GB`` of training on one device, without the framework's own."""
    sizes = batch_sizes(options)
    for row, chosen in (own or {}).items():
        sizes[own_key(row)] = batch_sizes(chosen)[params.method_of(row)]
    lines = []
    for key, network in _used(params, networks):
        batch = sizes[key]
        size = 4 * network.parameters + 12 * network.trained + batch * network.activations
        arithmetic = (
            f"4 x {network.parameters:,} + 12 x {network.trained:,} trained + batch {batch} x "
            f"{network.activations / 1e6:,.0f} MB (fp32: mixed precision needs less)"
        )
        lines.append((network.architecture, arithmetic, size / 1e9))
    return pd.DataFrame(lines, columns=["network", "arithmetic", "GB"])


def _used(params: Params, networks: Mapping[str, Network]) -> Iterator[tuple[str, Network]]:
    keys = {network_key(params, row, networks) for row in params.rows_of_run}
    return ((key, network) for key, network in networks.items() if key in keys)


def format_plan(
    params: Params,
    options: Profile,
    counts: Counts,
    networks: Mapping[str, Network],
    speeds: Mapping[str, Speed],
    source: str,
    frames_per_second: float | None = None,
    own: Mapping[str, Profile] | None = None,
) -> str:
    """Return the plan as text; ``source``: where the speeds come from."""
    hours = estimate_hours(params, options, counts, speeds, frames_per_second, own)
    disk = estimate_disk(params, counts, networks)
    memory = estimate_memory(params, options, networks, own)
    shared = shared_rows(params, own or ())
    shared_hours = hours.loc[hours["row"].isin(shared), "hours"].sum()
    network = networks[FINETUNE]
    required = required_speed(params, options, counts, network, own=own or ())
    paragraphs = [
        f"Counts from {counts.source}: {counts.videos:,} videos, {counts.crops:,} crops; training "
        f"{counts.train:,}, validation {counts.validation:,}, test {counts.test:,} crops.",
        f"Speeds: {source}.",
        hours.round({"hours": 2}).to_string(index=False, na_rep="-"),
        f"The {len(shared)} rows of {network.architecture} on one device: {shared_hours:,.1f} "
        f"hours, training and prediction. They fit into 24 hours at {required:,.0f} training "
        f"images/s or more: {required * network.training / 1e12:,.0f} TFLOP/s at "
        f"{network.training / 1e9:,.1f} GFLOP per image ({network.predicting / 1e9:,.1f} per "
        "prediction).",
        "Disk, beside the corpora\n" + disk.round({"GB": 1}).to_string(index=False),
        "Memory of one device\n" + memory.round({"GB": 1}).to_string(index=False),
    ]
    return "\n\n".join(paragraphs) + "\n"
