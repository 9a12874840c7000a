"""What a score means: calibrated probability, thresholds with measured error rates, distance to the training faces.

Everything is measured on the validation split, which chose the epoch and nothing else, never on a
test set:

* temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017) of a video's mean score, reals
  and fakes weighing the same, with Platt's (1999) targets so that a few well separated videos give
  no certainty;
* thresholds: the balanced one, and those at which 1 % and 5 % of the reals are false alarms, with exact intervals;
* a Gaussian of few directions (Tipping & Bishop 1999) about the embeddings of the training crops, and how far
  validation crops lie from it.
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
from ..project.paths import profile_paths
from ..project.provenance import file_digest
from ..training import checkpoints
from ..training.loading import CropDataset, positions
from ..training.transforms import views_of

FALSE_ALARMS = {"1 % false alarms": 0.01, "5 % false alarms": 0.05}
HALF_UNIT = (
    5e-5  # scores of videos are stored with four decimals: a threshold lies between two of them
)
FEW = 100
"""Reals below which a false-alarm rate of 1 % cannot be measured."""
KEPT = 400  # scores of each class at most; of more, as many quantiles
TRAINING_CROPS, DIRECTIONS = 2000, 16

Calibration = Mapping[str, Any]


def temperature(labels: np.ndarray, scores: np.ndarray) -> float:
    """T such that sigmoid(logit(score) / T) is best calibrated: least cross-entropy, both classes weighing the same.

    ``labels`` ``[N]`` 0 / 1 with both present, ``scores`` ``[N]`` in [0, 1]; T in [0.05, 20]. Below
    1 the network is less sure than it should be.
    """
    fake, logits = np.asarray(labels) == 1, _logit(scores)
    fakes, reals = fake.sum(), (~fake).sum()
    target = np.where(fake, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    weight = 1 / np.where(fake, fakes, reals)

    def cross_entropy(log_t: float) -> float:
        z = logits / np.exp(log_t)
        return float(-(weight * (target * log_expit(z) + (1 - target) * log_expit(-z))).sum())

    return float(
        np.exp(
            minimize_scalar(cross_entropy, bounds=(np.log(0.05), np.log(20)), method="bounded").x
        )
    )


def calibrated(score: float, calibration: Calibration) -> float:
    """Probability of fake of a video's ``score``, if reals and fakes were equally frequent."""
    return float(expit(_logit(score) / calibration["temperature"]))


def _logit(scores: np.ndarray | float) -> np.ndarray:
    return logit(np.clip(np.asarray(scores, np.float64), 1e-6, 1 - 1e-6))


def thresholds(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Operating point -> threshold; a video is flagged from it upwards. Scores as stored, with four decimals.

    ``balanced``: highest balanced accuracy (``best_threshold``); ``… false alarms``: the lowest
    that flags at most this share of the reals. Raises ``ValueError`` unless both classes are present.
    """
    balanced = best_threshold(labels, scores)
    reals = np.sort(np.asarray(scores)[np.asarray(labels) == 0])[::-1]
    alarms = {
        name: reals[int(share * len(reals))] + HALF_UNIT for name, share in FALSE_ALARMS.items()
    }
    return {name: round(float(cut), 5) for name, cut in {"balanced": balanced, **alarms}.items()}


def share(flagged: int, of: int) -> dict[str, Any]:
    """``count``, ``of``, and the exact (Clopper-Pearson) 95 % interval ``low``, ``high`` of the true share."""
    interval = binomtest(flagged, of).proportion_ci(0.95, "exact")
    return {
        "count": flagged,
        "of": of,
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
    }


def fit(videos: pd.DataFrame) -> dict[str, Any]:
    """Temperature, operating points and sorted scores of a table of validation videos (``label, p_fake, dataset``).

    Raises ``ValueError`` unless both reals and fakes are in it.
    """
    labels, scores = videos["label"].to_numpy(), videos["p_fake"].to_numpy(np.float64)
    points = {
        name: {
            "threshold": cut,
            "false_alarms": _flagged(scores[labels == 0], cut),
            "found": _flagged(scores[labels == 1], cut),
        }
        for name, cut in thresholds(labels, scores).items()
    }
    counts = {word: int((labels == label).sum()) for label, word in ((0, "real"), (1, "fake"))}
    return {
        "temperature": round(temperature(labels, scores), 4),
        "points": points,
        "videos": counts,
        "corpora": sorted(videos["dataset"].unique()),
        "scores": {
            word: _thinned(scores[labels == label]) for label, word in ((0, "real"), (1, "fake"))
        },
        "few": counts["real"] < FEW,
    }


def _flagged(scores: np.ndarray, cut: float) -> dict[str, Any]:
    return share(int((scores >= cut).sum()), len(scores))


def _thinned(scores: np.ndarray) -> list[float]:
    kept = np.sort(scores) if len(scores) <= KEPT else np.quantile(scores, np.linspace(0, 1, KEPT))
    return kept.round(4).tolist()


def at_least(score: float, calibration: Calibration, word: str) -> tuple[int, int]:
    """(how many, of how many) validation videos of class ``word`` have this ``score`` or a higher one."""
    scores, total = np.asarray(calibration["scores"][word]), calibration["videos"][word]
    return round(float((scores >= round(score, 4)).mean()) * total), total


def gaussian(embedding: np.ndarray) -> dict[str, Any]:
    """Probabilistic PCA of embeddings ``[N, D]``: mean, at most ``DIRECTIONS`` directions, variances, noise."""
    fitted = PCA(min(DIRECTIONS, min(embedding.shape) - 1), svd_solver="full").fit(
        embedding.astype(np.float64)
    )
    return {
        "mean": _short(fitted.mean_),
        "directions": [_short(row) for row in fitted.components_],
        "variances": _short(fitted.explained_variance_),
        "noise": _short(np.array([fitted.noise_variance_]))[0],
    }


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def distance(embedding: np.ndarray, fitted: Mapping[str, Any]) -> np.ndarray:
    """Mahalanobis distance to ``gaussian`` of embeddings ``[N, D]``, divided by sqrt(D): about 1 for its own crops."""
    off = np.asarray(embedding, np.float64) - fitted["mean"]
    along = off @ np.asarray(fitted["directions"]).T
    beside = np.maximum((off**2).sum(1) - (along**2).sum(1), 0)
    square = (along**2 / np.asarray(fitted["variances"])).sum(1) + beside / max(
        fitted["noise"], 1e-12
    )
    return np.sqrt(square / off.shape[1])


def calibrate(profile: str, variant: str, seed: int) -> Path:
    """Fit everything for one run -> ``results/<profile>/calibration/<row>-<seed>.json``, in git; prints a summary.

    Reads ``runs/<row>-<seed>/validation.csv``, the samples, the crops and the weights.
    """
    paths, params = profile_paths(profile), load().profile(profile)
    table = paths.runs / f"{variant}-{seed}" / "validation.csv"
    if not table.is_file():
        raise FileNotFoundError(
            f"{table.name} not found in {table.parent}: run dvc repro "
            f"score@{profile}-{variant}-{seed} first"
        )
    content = {
        "profile": profile,
        "variant": variant,
        "seed": seed,
        "weights": file_digest(paths.weights(variant, seed) / "model.safetensors"),
        **fit(pd.read_csv(table)),
    }
    detector, facts = checkpoints.load(paths.weights(variant, seed))
    view = views_of(facts)
    store, found = CropStore(paths.crops), {}
    for name in ("train", "validation"):
        rows = pd.read_parquet(paths.samples / f"{name}.parquet")
        rows = rows.sample(min(len(rows), TRAINING_CROPS), random_state=0).sort_index()
        data = CropDataset(store, positions(store, rows), view, rows["label"])
        found[name] = embeddings(detector, data, params.predict.batch_size, f"embed {name}")
    fitted = gaussian(found["train"])
    far = np.quantile(distance(found["validation"], fitted), [0.5, 0.95, 0.99])
    content["embedding"] = {
        **fitted,
        "crops": len(found["train"]),
        "quantiles": dict(zip(("0.5", "0.95", "0.99"), _short(far), strict=True)),
    }
    out = paths.base / "results" / profile / "calibration" / f"{variant}-{seed}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content) + "\n")
    print(summary(content))
    return out


def read(path: Path) -> Calibration:
    """The content of a calibration file. Raises ``ValueError`` if it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        (
            content["temperature"],
            content["points"]["balanced"]["threshold"],
            content["scores"]["real"],
        )
        content["embedding"]["quantiles"]["0.99"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path.name} is no calibration ({error}); make it again: python -m deepfake_repro calibrate "
            "PROFILE ROW SEED"
        ) from None
    return content


def summary(calibration: Calibration) -> str:
    """Markdown table of the operating points with their measured error rates, and a plain word on their worth."""
    lines = [
        "| operating point | threshold | false alarms among reals | fakes found |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {point['threshold']:.4f} | {rate(point['false_alarms'])} | {rate(point['found'])} |"
        for name, point in calibration["points"].items()
    ]
    return "\n".join([*lines, "", measured_on(calibration)]) + "\n"


def verdict(score: float, calibration: Calibration | None) -> str:
    """One or two sentences on a video's mean score; never that it *is* fake or real."""
    if calibration is None:
        return (
            f"Score {score:.2f} on a scale from 0 (like the training reals) to 1 (like the training fakes). No error "
            "rates are stored with this model: what the number means is not known."
        )
    cuts = [calibration["points"][name]["threshold"] for name in ("balanced", "5 % false alarms")]
    if score >= max(cuts):
        side = "More like the fakes than like the reals that this model has seen"
    elif score < min(cuts):
        side = "More like the reals than like the fakes that this model has seen, which does not make it genuine"
    else:
        side = "Undecided: between the thresholds, where this model's reals and fakes both lie"
    (reals, of_reals), (fakes, of_fakes) = (
        at_least(score, calibration, word) for word in ("real", "fake")
    )
    return (
        f"{side}. On held-out validation videos this score or a higher one occurred in {100 * reals / of_reals:.0f} "
        f"% of the reals ({reals} of {of_reals}) and {100 * fakes / of_fakes:.0f} % of the fakes ({fakes} of "
        f"{of_fakes})."
    )


def rate(counted: Mapping[str, Any]) -> str:
    """A share in words: ``1 of 10 (0–45 %)``, the interval at 95 %."""
    return f"{counted['count']} of {counted['of']} ({100 * counted['low']:.0f}–{100 * counted['high']:.0f} %)"


def measured_on(calibration: Calibration) -> str:
    """On which videos the error rates were measured, and what this leaves open."""
    videos = calibration["videos"]
    text = (
        f"Measured on {videos['real']} real and {videos['fake']} fake held-out validation videos of "
        f"{', '.join(calibration['corpora'])}; intervals at 95 %."
    )
    few = (
        f" So few videos say little: with {videos['real']} reals not even a false-alarm rate of "
        f"{100 * share(0, videos['real'])['high']:.0f} % can be ruled out at any threshold."
    )
    return text + (few if calibration["few"] else "") + " Other videos may differ in every way."
