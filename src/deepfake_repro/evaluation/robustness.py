"""Robustness study: AUC of a trained row on compressed, coarsened, blurred or noisy test crops.

Not in the paper, whose in-the-wild sets mix all of these at unknown strength (Sections 4.2, 5).
Here the same 224-px crops are perturbed one way at a time, which separates a drop in AUC from the
difficulty of a corpus. The perturbations are those of DeeperForensics-1.0's robustness test (Jiang
et al. 2020), applied to crops instead of whole frames: the face detector sees clean frames, and
only the deepfake detector is tested.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np
import pandas as pd
from lightning_fabric import Fabric

from ..crops.store import CropStore
from ..project.layout import PAPER, Layout
from ..project.params import Predict, Robustness, load
from ..project.paths import profile_paths
from ..project.vocabulary import VALIDATION
from ..training import checkpoints
from ..training.detector import Detector
from ..training.devices import launch_fabric
from ..training.loading import CropDataset, evaluation_loader, positions
from ..training.manifest import Manifest
from ..training.transforms import Transform
from .metrics import table_row, video_scores
from .prediction import class_probabilities, crops_of_sets, prediction_table

CLEAN = "none"
"""The perturbation that changes nothing, severity 0: the first point of every curve."""
COLUMNS = ["perturbation", "severity", "set", "auc", "bacc"]
# The parameter is the severity: a quality, a size, a blur radius or a noise level.
Perturbation = Callable[[np.ndarray, float], np.ndarray]
Change = Callable[[np.ndarray], np.ndarray]


def jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """Compress an image by JPEG of quality 1-100.

    All perturbations map RGB uint8 ``[H, W, 3]`` to the same type and shape.
    """
    bgr = image[..., ::-1]
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None  # it has just been encoded
    return np.ascontiguousarray(decoded[..., ::-1])


def resolution(image: np.ndarray, side: float) -> np.ndarray:
    """Shrink to ``side`` pixels (area averages), then enlarge to the original size (bilinear)."""
    small = cv2.resize(image, (int(side), int(side)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by a Gaussian of standard deviation ``sigma`` pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def noise(image: np.ndarray, deviation: float) -> np.ndarray:
    """Add Gaussian noise of standard deviation ``deviation`` grey levels; round and clip to 0-255.

    The seed is a checksum of the crop's pixels: neither order nor workers change the noise, and all
    severities share one pattern.
    """
    rng = np.random.default_rng(zlib.crc32(image.tobytes()))
    pattern = rng.standard_normal(image.shape, np.float32)
    return np.rint(image + deviation * pattern).clip(0, 255).astype(np.uint8)


PERTURBATIONS: dict[str, Perturbation] = {
    "jpeg": jpeg,
    "resolution": resolution,
    "blur": blur,
    "noise": noise,
}


def conditions(options: Robustness) -> Iterator[tuple[str, float, Change]]:
    """Yield perturbation, severity and function of each condition, the clean one first.

    Raises ``ValueError`` for an unknown perturbation.
    """
    unknown = sorted(set(options.severities) - set(PERTURBATIONS))
    if unknown:
        raise ValueError(
            f"params.yaml: robustness.severities has {unknown[0]!r}: "
            f"use one of {', '.join(PERTURBATIONS)}"
        )
    yield CLEAN, 0.0, lambda image: image
    for name, severities in options.severities.items():
        for severity in severities:
            yield name, severity, _at(PERTURBATIONS[name], severity)


def select_sets(sets: Mapping[str, pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """Return the crops of the test sets ``names`` (of all if empty) as one table.

    Raises ``ValueError`` for a set without crops.
    """
    unknown = sorted(set(names) - set(sets))
    if unknown:
        raise ValueError(
            f"params.yaml: robustness.sets has {unknown[0]!r}, which has no test crops: "
            f"use some of {', '.join(sets)}"
        )
    return pd.concat([sets[name] for name in names or sets], ignore_index=True)


def thin(rows: pd.DataFrame, crops_per_video: int) -> pd.DataFrame:
    """Keep at most ``crops_per_video`` rows of each video, evenly spaced; 0 keeps all.

    Row *i* of a video with n crops is kept if ``floor(i k / n)`` differs from that of row i - 1: k
    rows if n >= k.
    """
    if not crops_per_video:
        return rows
    videos = rows.groupby("video_id")["video_id"]
    number = videos.cumcount()
    size = videos.transform("size")
    kept = number * crops_per_video // size != (number - 1) * crops_per_video // size
    return rows[kept].reset_index(drop=True)


def score_conditions(
    detector: Detector,
    manifest: Manifest,
    store: CropStore,
    rows: pd.DataFrame,
    options: Robustness,
    predict: Predict,
    threshold: float,
    fabric: Fabric,
    *,
    layout: Layout = PAPER,
) -> pd.DataFrame:
    """Compute AUC and balanced accuracy of one detector under every condition.

    Columns ``COLUMNS``, one row per condition and set. ``rows``: one row per test crop, test sets
    together (:func:`.evaluation.prediction.crops_of_sets`); ``manifest``: that of the weights. Sets
    and averages as in Table 3, percent with two decimals.
    """
    rows = thin(rows, options.crops_per_video)
    store_rows = positions(store, rows)
    transform = manifest.transform
    records = []
    for name, severity, change in conditions(options):
        crops = CropDataset(store, store_rows, _after(change, transform), rows["label"])
        loader = evaluation_loader(crops, predict.batch_size, predict.workers)
        probabilities = class_probabilities(detector, loader, fabric, f"{name} {severity:g}")
        predictions = prediction_table(rows, probabilities, manifest.classes)
        records += _cells(predictions, name, severity, threshold, layout)
    return pd.DataFrame(records, columns=COLUMNS)


def run_study(profile: str, variant: str, seed: int) -> None:
    """Write the study of one run to ``results/<profile>/robustness/<variant>-<seed>.csv``."""
    paths = profile_paths(profile)
    options = load().profile(profile)
    fabric = launch_fabric(options.predict.precision)
    detector, manifest = checkpoints.load(paths.weights(variant, seed))
    fabric.to_device(detector)
    store = CropStore(paths.crops)
    sets = crops_of_sets(pd.read_parquet(paths.index), store)
    sets.pop(VALIDATION, None)
    table = score_conditions(
        detector,
        manifest,
        store,
        select_sets(sets, options.robustness.sets),
        options.robustness,
        options.predict,
        options.scoring.threshold,
        fabric,
        layout=options.layout,
    )
    paths.robustness.mkdir(parents=True, exist_ok=True)
    table.to_csv(paths.robustness / f"{variant}-{seed}.csv", index=False, lineterminator="\n")


def _at(perturb: Perturbation, severity: float) -> Change:
    return lambda image: perturb(image, severity)


def _after(change: Change, transform: Transform) -> Transform:
    return lambda image: transform(change(image))


def _cells(
    predictions: pd.DataFrame, name: str, severity: float, threshold: float, layout: Layout
) -> list[tuple]:
    """Return one record per test set and average of the table."""
    row = table_row(video_scores(predictions), {}, threshold, layout)
    return [
        (name, severity, key, row["auc"][key], row["bacc"][key])
        for key in layout.sets
        if key in row["auc"]
    ]
