"""Robustness study: the AUC of a trained row when its test crops are compressed, coarsened, blurred or noisy.

Not in the paper, whose in-the-wild sets mix all of these at unknown strength (Sections 4.2, 5).
Here the same 224-px crops are perturbed one way at a time, so that a fall can be told from the
difficulty of a corpus. The perturbations are those of DeeperForensics-1.0's robustness test (Jiang
et al. 2020), applied to crops and not to whole frames: the face detector sees clean frames, and
only the detector of fakes is tested.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np
import pandas as pd
from lightning_fabric import Fabric

from ..crops.store import CropStore
from ..project.params import Predict, Robustness, load
from ..project.paths import profile_paths
from ..project.vocabulary import SETS, VALIDATION
from ..training import checkpoints
from ..training.detector import Detector
from ..training.devices import this_fabric
from ..training.loading import CropDataset, evaluation_loader, positions
from ..training.transforms import Transform, views_of
from .metrics import table_row, video_scores
from .prediction import class_probabilities, crops_of_sets, prediction_table

CLEAN = "none"
"""The perturbation that changes nothing, severity 0: the point that every curve starts from."""
COLUMNS = ["perturbation", "severity", "set", "auc", "bacc"]


def jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """``image`` (RGB uint8 ``[H, W, 3]``, as in and out of all perturbations) through JPEG of quality 1-100."""
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


def resolution(image: np.ndarray, side: float) -> np.ndarray:
    """Shrunk to ``side`` pixels (area averages) and back to its size (bilinear): detail is lost, the size stays."""
    small = cv2.resize(image, (int(side), int(side)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of standard deviation ``sigma`` pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def noise(image: np.ndarray, deviation: float) -> np.ndarray:
    """Gaussian noise of standard deviation ``deviation`` grey levels, rounded and cut to 0-255.

    Seeded by the crop's own pixels: neither order nor workers change it, and all severities share
    one pattern.
    """
    pattern = np.random.default_rng(zlib.crc32(image.tobytes())).standard_normal(
        image.shape, np.float32
    )
    return np.rint(image + deviation * pattern).clip(0, 255).astype(np.uint8)


PERTURBATIONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "jpeg": jpeg,
    "resolution": resolution,
    "blur": blur,
    "noise": noise,
}


def conditions(
    options: Robustness,
) -> Iterator[tuple[str, float, Callable[[np.ndarray], np.ndarray]]]:
    """Perturbation, severity and function of each cell of the grid, the clean one first.

    Raises ``ValueError`` for a perturbation that is not known.
    """
    if unknown := sorted(set(options.severities) - set(PERTURBATIONS)):
        raise ValueError(
            f"params.yaml: robustness.severities has {unknown[0]!r}; known: {', '.join(PERTURBATIONS)}"
        )
    yield CLEAN, 0.0, lambda image: image
    for name, severities in options.severities.items():
        for severity in severities:
            yield (
                name,
                severity,
                lambda image, name=name, severity=severity: PERTURBATIONS[name](image, severity),
            )


def chosen_sets(sets: Mapping[str, pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """The crops of the test sets called ``names`` (none: of all), one table; ``ValueError`` for a set without crops."""
    if unknown := sorted(set(names) - set(sets)):
        raise ValueError(
            f"params.yaml: robustness.sets has {unknown[0]!r}, of which there is no test crop; "
            f"there are {', '.join(sets)}"
        )
    return pd.concat([sets[name] for name in names or sets], ignore_index=True)


def spread(rows: pd.DataFrame, crops_per_video: int) -> pd.DataFrame:
    """At most ``crops_per_video`` rows of each video, at equal steps through its crops; 0 keeps all.

    Row *i* of a video with n crops is kept if ``floor(i k / n)`` differs from that of row i - 1: k
    rows if n >= k.
    """
    if not crops_per_video:
        return rows
    videos = rows.groupby("video_id")["video_id"]
    number, size = videos.cumcount(), videos.transform("size")
    kept = number * crops_per_video // size != (number - 1) * crops_per_video // size
    return rows[kept].reset_index(drop=True)


def study(
    detector: Detector,
    facts: dict,
    store: CropStore,
    rows: pd.DataFrame,
    options: Robustness,
    predict: Predict,
    threshold: float,
    fabric: Fabric,
) -> pd.DataFrame:
    """AUC and balanced accuracy of one row under every condition: columns ``COLUMNS``, a row per condition and set.

    ``rows``: a row per test crop (:func:`.evaluation.prediction.crops_of_sets`, test sets together);
    ``facts``: the manifest of the weights; sets and averages as in Table 3, percent with two decimals.
    """
    views = views_of(facts)
    rows = spread(rows, options.crops_per_video)
    rows_in_store, records = positions(store, rows), []
    for name, severity, perturb in conditions(options):
        data = CropDataset(store, rows_in_store, _after(perturb, views), rows["label"])
        loader = evaluation_loader(data, predict.batch_size, predict.workers)
        found = class_probabilities(detector, loader, fabric, f"{name} {severity:g}")
        records += _cells(
            prediction_table(rows, found, tuple(facts["classes"])), name, severity, threshold
        )
    return pd.DataFrame(records, columns=COLUMNS)


def robustness(profile: str, variant: str, seed: int) -> None:
    """The study of one run -> ``results/<profile>/robustness/<variant>-<seed>.csv``."""
    paths, options = profile_paths(profile), load().profile(profile)
    fabric, (detector, facts) = (
        this_fabric(options.predict.precision),
        checkpoints.load(paths.weights(variant, seed)),
    )
    store = CropStore(paths.crops)
    sets = crops_of_sets(pd.read_parquet(paths.index), store)
    sets.pop(VALIDATION, None)
    rows = chosen_sets(sets, options.robustness.sets)
    table = study(
        fabric.to_device(detector),
        facts,
        store,
        rows,
        options.robustness,
        options.predict,
        options.scoring.threshold,
        fabric,
    )
    paths.robustness.mkdir(parents=True, exist_ok=True)
    table.to_csv(paths.robustness / f"{variant}-{seed}.csv", index=False, lineterminator="\n")


def _after(perturb: Callable[[np.ndarray], np.ndarray], views: Transform) -> Transform:
    return lambda image: views(perturb(image))


def _cells(predictions: pd.DataFrame, name: str, severity: float, threshold: float) -> list[tuple]:
    """A record per test set and average of Table 3."""
    row = table_row(video_scores(predictions), {}, threshold)
    return [
        (name, severity, key, row["auc"][key], row["bacc"][key])
        for key in SETS
        if key in row["auc"]
    ]
