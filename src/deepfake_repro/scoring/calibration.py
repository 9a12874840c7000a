"""Calibrate a model on its validation videos: probability, thresholds, distance to training faces.

Everything is measured on the validation split, which chose the epoch and nothing else, never on a
test set:

* Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017) of a
  video's mean score. Reals and fakes have equal weight, and Platt's (1999) targets keep a few well
  separated videos from giving certainty.
* Thresholds: the balanced one, and those that flag 1 % and 5 % of the reals, with exact intervals.
* A probabilistic PCA (Tipping & Bishop 1999) of the embeddings of training crops, and the distances
  of validation crops from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, logit
from scipy.stats import binomtest
from sklearn.decomposition import PCA

from ..crops.store import CropStore
from ..evaluation.prediction import embeddings
from ..evaluation.thresholds import best_threshold
from ..project.params import load
from ..project.paths import Paths, profile_paths
from ..project.provenance import file_digest
from ..training import checkpoints
from ..training.detector import Detector
from ..training.loading import CropDataset, positions
from ..training.transforms import Transform

FALSE_ALARMS = {"1 % false alarms": 0.01, "5 % false alarms": 0.05}
"""Operating points by their highest false-alarm rate."""
HALF_UNIT = 5e-5
"""Half of the last stored decimal (scores have four): a threshold is between two scores."""
FEW = 100
"""With fewer reals a false-alarm rate of 1 % cannot be measured."""
STORED_SCORES = 400
"""Stored scores per class at most; if there are more, their quantiles are stored instead."""
MAX_CROPS = 2000
"""Crops per split whose embeddings are used."""
DIRECTIONS = 16
"""Principal directions of the embeddings."""
CLASSES = {"real": 0, "fake": 1}
"""Class names with their labels."""

Calibration = Mapping[str, Any]


def fit_temperature(labels: np.ndarray, scores: np.ndarray) -> float:
    """Find T in [0.05, 20] for which sigmoid(logit(score) / T) is best calibrated.

    It minimises the cross-entropy with equal weight for both classes. ``labels`` ``[N]`` 0 / 1,
    both present; ``scores`` ``[N]`` in [0, 1]. T below 1: the network is less confident than it
    should be.
    """
    fake = np.asarray(labels) == 1
    logits = _logit(scores)
    fakes = fake.sum()
    reals = (~fake).sum()
    target = np.where(fake, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    weight = 1 / np.where(fake, fakes, reals)

    def cross_entropy(log_t: float) -> float:
        z = logits / np.exp(log_t)
        return float(-(weight * (target * log_expit(z) + (1 - target) * log_expit(-z))).sum())

    bounds = (np.log(0.05), np.log(20))
    return float(np.exp(minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))


def calibrated(score: float, calibration: Calibration) -> float:
    """Return P(fake) for a video's ``score``, if reals and fakes were equally frequent."""
    return float(expit(_logit(score) / calibration["temperature"]))


def _logit(scores: np.ndarray | float) -> np.ndarray:
    return logit(np.clip(np.asarray(scores, np.float64), 1e-6, 1 - 1e-6))


def thresholds(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return the threshold of each operating point; a score at or above it flags a video.

    ``scores``: as stored, with four decimals. ``balanced`` has the highest balanced accuracy
    (``best_threshold``); ``… false alarms`` is the lowest threshold that flags at most that share
    of the reals. Raises ``ValueError`` unless both classes are present.
    """
    balanced = best_threshold(labels, scores)
    reals = np.sort(np.asarray(scores)[np.asarray(labels) == 0])[::-1]
    alarms = {
        name: reals[int(rate * len(reals))] + HALF_UNIT for name, rate in FALSE_ALARMS.items()
    }
    points = {"balanced": balanced, **alarms}
    return {name: round(float(threshold), 5) for name, threshold in points.items()}


def share_with_interval(count: int, total: int) -> dict[str, Any]:
    """Return ``count``, ``of`` and the exact (Clopper-Pearson) 95 % interval ``low``, ``high``."""
    interval = binomtest(count, total).proportion_ci(0.95, "exact")
    return {
        "count": count,
        "of": total,
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
    }


def fit_scores(videos: pd.DataFrame) -> dict[str, Any]:
    """Fit temperature and operating points to validation videos (``label, p_fake, dataset``).

    The result also has the sorted scores of each class. Raises ``ValueError`` unless the table
    contains both reals and fakes.
    """
    labels = videos["label"].to_numpy()
    scores = videos["p_fake"].to_numpy(np.float64)
    by_class = {name: scores[labels == label] for name, label in CLASSES.items()}
    points = {
        name: {
            "threshold": threshold,
            "false_alarms": _flagged(by_class["real"], threshold),
            "found": _flagged(by_class["fake"], threshold),
        }
        for name, threshold in thresholds(labels, scores).items()
    }
    return {
        "temperature": round(fit_temperature(labels, scores), 4),
        "points": points,
        "videos": {name: len(values) for name, values in by_class.items()},
        "corpora": sorted(videos["dataset"].unique()),
        "scores": {name: _thinned(values) for name, values in by_class.items()},
        "few": len(by_class["real"]) < FEW,
    }


def _flagged(scores: np.ndarray, threshold: float) -> dict[str, Any]:
    return share_with_interval(int((scores >= threshold).sum()), len(scores))


def _thinned(scores: np.ndarray) -> list[float]:
    """Sort the scores; keep ``STORED_SCORES`` quantiles if there are more."""
    if len(scores) <= STORED_SCORES:
        kept = np.sort(scores)
    else:
        kept = np.quantile(scores, np.linspace(0, 1, STORED_SCORES))
    return kept.round(4).tolist()


def count_at_least(score: float, calibration: Calibration, class_name: str) -> tuple[int, int]:
    """Count a class's validation videos with this ``score`` or a higher one: (count, total)."""
    scores = np.asarray(calibration["scores"][class_name])
    total = calibration["videos"][class_name]
    return round(float((scores >= round(score, 4)).mean()) * total), total


def fit_gaussian(embedding: np.ndarray) -> dict[str, Any]:
    """Fit a probabilistic PCA to embeddings ``[N, D]``, with at most ``DIRECTIONS`` directions.

    Returns plain numbers: ``mean``, ``directions``, ``variances`` along them, and the variance
    ``noise`` along all other directions.
    """
    directions = min(DIRECTIONS, min(embedding.shape) - 1)
    pca = PCA(directions, svd_solver="full").fit(embedding.astype(np.float64))
    return {
        "mean": _short(pca.mean_),
        "directions": [_short(row) for row in pca.components_],
        "variances": _short(pca.explained_variance_),
        "noise": _short(np.array([pca.noise_variance_]))[0],
    }


def _short(values: np.ndarray) -> list[float]:
    """Round to five significant digits."""
    return [float(f"{value:.5g}") for value in values]


def distance(embedding: np.ndarray, gaussian: Mapping[str, Any]) -> np.ndarray:
    """Compute the Mahalanobis distance ``[N]`` of embeddings ``[N, D]``, divided by sqrt(D).

    ``gaussian``: result of ``fit_gaussian``; the crops it was fitted to have distances of about 1.
    """
    centred = np.asarray(embedding, np.float64) - gaussian["mean"]
    along = centred @ np.asarray(gaussian["directions"]).T
    residual = np.maximum((centred**2).sum(1) - (along**2).sum(1), 0)
    noise = max(gaussian["noise"], 1e-12)
    squared = (along**2 / np.asarray(gaussian["variances"])).sum(1) + residual / noise
    return np.sqrt(squared / centred.shape[1])


def calibrate(profile: str, variant: str, seed: int) -> Path:
    """Calibrate one run and print a summary.

    Reads ``runs/<row>-<seed>/validation.csv``, the samples, the crops and the weights. Writes and
    returns ``results/<profile>/calibration/<row>-<seed>.json``, which is kept in git.
    """
    options = load().profile(profile)
    paths = profile_paths(profile)
    run = f"{variant}-{seed}"
    table = paths.runs / run / "validation.csv"
    if not table.is_file():
        raise FileNotFoundError(
            f"{table.name} not found in {table.parent}: run dvc repro score@{profile}-{run} first"
        )
    weights = paths.weights(variant, seed)
    content = {
        "profile": profile,
        "variant": variant,
        "seed": seed,
        "weights": file_digest(weights / "model.safetensors"),
        **fit_scores(pd.read_csv(table)),
    }
    detector, manifest = checkpoints.load(weights)
    content["embedding"] = _fit_embeddings(
        paths, detector, manifest.transform, options.predict.batch_size
    )

    path = paths.base / "results" / profile / "calibration" / f"{run}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content) + "\n")
    print(operating_points_table(content))
    return path


def _fit_embeddings(
    paths: Paths, detector: Detector, transform: Transform, batch_size: int
) -> dict[str, Any]:
    """Fit the Gaussian to training crops; add quantiles of the distances of validation crops."""
    store = CropStore(paths.training_crops)
    by_split = {}
    for split in ("train", "validation"):
        rows = pd.read_parquet(paths.samples / f"{split}.parquet")
        rows = rows.sample(min(len(rows), MAX_CROPS), random_state=0).sort_index()
        crops = CropDataset(store, positions(store, rows), transform, rows["label"])
        by_split[split] = embeddings(detector, crops, batch_size, f"embed {split}")

    gaussian = fit_gaussian(by_split["train"])
    levels = {"0.5": 0.5, "0.95": 0.95, "0.99": 0.99}
    quantiles = np.quantile(distance(by_split["validation"], gaussian), list(levels.values()))
    return {
        **gaussian,
        "crops": len(by_split["train"]),
        "quantiles": dict(zip(levels, _short(quantiles), strict=True)),
    }


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file. Raises ``ValueError`` if the file is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for keys in (
            ("temperature",),
            ("points", "balanced", "threshold"),
            ("scores", "real"),
            ("embedding", "quantiles", "0.99"),
        ):
            value = content
            for key in keys:
                value = value[key]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path.name} is not a calibration file ({error}); make it again: "
            "deepfake-repro calibrate PROFILE ROW SEED"
        ) from None
    return content


def operating_points_table(calibration: Calibration) -> str:
    """Write operating points with error rates as Markdown, and what they were measured on."""
    lines = [
        "| operating point | threshold | false alarms among reals | fakes found |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, point in calibration["points"].items():
        false_alarms = format_share(point["false_alarms"])
        found = format_share(point["found"])
        lines.append(f"| {name} | {point['threshold']:.4f} | {false_alarms} | {found} |")
    return "\n".join([*lines, "", measured_on(calibration)]) + "\n"


FAKES = "more like the fakes than the reals that this model has seen"
REALS = (
    "more like the reals than the fakes that this model has seen, which does not make it genuine"
)
BETWEEN = "undecided: between the thresholds, where both reals and fakes occur"


def leaning(score: float, calibration: Calibration) -> str:
    """Return ``FAKES``, ``REALS`` or ``BETWEEN``: on which side of the thresholds a score is."""
    points = calibration["points"]
    cuts = [points[name]["threshold"] for name in ("balanced", "5 % false alarms")]
    if score >= max(cuts):
        return FAKES
    return REALS if score < min(cuts) else BETWEEN


def verdict(score: float, calibration: Calibration | None, against: str = "") -> str:
    """Describe a video's score in one or two sentences, without calling it fake or real.

    ``against``: why there must be no verdict; the number follows the reason.
    """
    if against or calibration is None:
        reason = against or "no error rates are stored with this detector"
        return (
            f"No verdict: {reason}. The score is {score:.2f} on a scale from 0 (like the training "
            "reals) to 1 (like the training fakes)."
        )
    side = leaning(score, calibration)
    side = side[0].upper() + side[1:]
    reals, all_reals = count_at_least(score, calibration, "real")
    fakes, all_fakes = count_at_least(score, calibration, "fake")
    return (
        f"{side}. On held-out validation videos this score or a higher one occurred in "
        f"{100 * reals / all_reals:.0f} % of the reals ({reals} of {all_reals}) and "
        f"{100 * fakes / all_fakes:.0f} % of the fakes ({fakes} of {all_fakes})."
    )


def format_share(share: Mapping[str, Any]) -> str:
    """Write a share with its 95 % interval, such as ``1 of 10 (0–45 %)``."""
    interval = f"{100 * share['low']:.0f}–{100 * share['high']:.0f} %"
    return f"{share['count']} of {share['of']} ({interval})"


def measured_on(calibration: Calibration) -> str:
    """Say which videos the error rates were measured on, and what remains unknown."""
    videos = calibration["videos"]
    text = (
        f"Measured on {videos['real']} real and {videos['fake']} fake held-out validation videos "
        f"of {', '.join(calibration['corpora'])}; intervals at 95 %."
    )
    if calibration["few"]:
        bound = share_with_interval(0, videos["real"])["high"]
        text += (
            f" This is too few for firm conclusions: with {videos['real']} reals not even a "
            f"false-alarm rate of {100 * bound:.0f} % can be ruled out at any threshold."
        )
    return text + " Other videos may differ in every way."
