"""How often 95 % intervals contain the truth for a handful of videos, simulated.

Normal scores of reals and fakes, made of a part that the videos of one person share and one of
their own; two rows of equal quality share most of the noise. ``before`` is the percentile bootstrap
over clips. Written to ``results/benchmarks/coverage.csv``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from deepfake_repro.evaluation.statistics import LEVEL, paired_bootstrap

pytestmark = pytest.mark.bench

FILE = Path(__file__).resolve().parents[2] / "results" / "benchmarks" / "coverage.csv"
SIMULATIONS = 400
DRAWS = 400
AREAS = (0.9, 0.97, 0.999)
SHARED = 0.7  # of the variance of both rows' scores
QUANTITIES = ("auc", "bacc", "auc_difference", "bacc_difference")


class Design(NamedTuple):
    """A test set: people of each class, clips per person, variance that a person's clips share."""

    real_people: int
    fake_people: int
    real_clips: int
    fake_clips: int
    alike: float
    same_people: bool


DESIGNS = (
    Design(4, 4, 1, 1, 0.0, False),
    Design(4, 20, 1, 1, 0.0, False),
    Design(8, 8, 1, 1, 0.0, False),
    Design(12, 12, 1, 1, 0.0, False),
    Design(6, 6, 2, 4, 0.0, True),
    Design(6, 6, 2, 4, 0.5, True),
    Design(4, 4, 3, 5, 0.8, False),
    Design(10, 10, 2, 3, 0.5, True),
)


def noise(design: Design, rng: np.random.Generator) -> np.ndarray:
    """Draw standard normal scores, reals first."""
    real = rng.normal(size=design.real_people)
    fake = real if design.same_people else rng.normal(size=design.fake_people)
    people = np.concatenate(
        [np.repeat(real, design.real_clips), np.repeat(fake, design.fake_clips)]
    )
    return design.alike**0.5 * people + (1 - design.alike) ** 0.5 * rng.normal(size=len(people))


def simulated(design: Design, area: float, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    """Make ``videos.csv`` of two rows with the true AUC ``area``; their best threshold is 0.5."""
    reals = design.real_people * design.real_clips
    fakes = design.fake_people * design.fake_clips
    label = np.repeat([0, 1], [reals, fakes])
    prefix = "person" if design.same_people else "other"
    source = [f"person {n // design.real_clips}" for n in range(reals)]
    source += [f"{prefix} {n // design.fake_clips}" for n in range(fakes)]
    shift = 2**0.5 * norm.ppf(area) * (label - 0.5)
    common = noise(design, rng)
    videos = pd.DataFrame(
        {
            "video_id": [f"{number:05d}" for number in range(reals + fakes)],
            "dataset": "itw",
            "manipulation": np.where(label, "x", "real"),
            "category": np.where(label, "UNK", "REAL"),
            "label": label,
            "source": source,
        }
    )
    scores = (
        SHARED**0.5 * common + (1 - SHARED) ** 0.5 * noise(design, rng) + shift for _ in range(2)
    )
    return {
        f"{row}-0": videos.assign(p_fake=norm.cdf(score))
        for row, score in zip(("fsfm", "fsfm_ba"), scores, strict=True)
    }


def before(runs: dict[str, pd.DataFrame], rng: np.random.Generator) -> list[np.ndarray]:
    """Resample clips within each class: AUC and balanced accuracy ``[draws, rows]``, percent."""
    label = next(iter(runs.values()))["label"].to_numpy()
    counts = [
        rng.multinomial(size, np.full(size, 1 / size), size=DRAWS) / size
        for size in np.bincount(label)
    ]
    areas, accuracies = [], []
    for videos in runs.values():
        score = videos["p_fake"].to_numpy()
        real, fake = score[label == 0], score[label == 1]
        above = (fake > real[:, None]).astype(float)
        areas.append(((counts[0] @ above) * counts[1]).sum(1))
        accuracies.append((counts[0] @ (real < 0.5) + counts[1] @ (fake >= 0.5)) / 2)
    return [100 * np.stack(drawn, axis=1) for drawn in (areas, accuracies)]


def measured(design: Design, area: float) -> list[tuple]:
    """Return a record per method and quantity: share of intervals with the truth, mean width."""
    accuracy = 100 * norm.cdf(norm.ppf(area) / 2**0.5)
    truth = dict(zip(QUANTITIES, (100 * area, accuracy, 0.0, 0.0), strict=True))
    hits = {(method, name): 0 for method in ("before", "after") for name in QUANTITIES}
    widths = dict.fromkeys(hits, 0.0)
    for number in range(SIMULATIONS):
        rng = np.random.default_rng([number, int(1000 * area), *map(int, design[:4])])
        runs = simulated(design, area, rng)
        ours = paired_bootstrap(runs, DRAWS, seed=number)
        drawn = {
            "before": before(runs, rng),
            "after": [ours.cells[metric, "itw"] for metric in ("auc", "bacc")],
        }
        for method, (areas, accuracies) in drawn.items():
            gaps = [values[:, 0] - values[:, 1] for values in (areas, accuracies)]
            values = (areas[:, 0], accuracies[:, 0], *gaps)
            for name, draws in zip(QUANTITIES, values, strict=True):
                low, high = np.percentile(draws, LEVEL)
                hits[method, name] += low - 1e-9 <= truth[name] <= high + 1e-9
                widths[method, name] += high - low
    return [
        (*design, area, name, method, hits[method, name] / SIMULATIONS, width / SIMULATIONS)
        for (method, name), width in widths.items()
    ]


def test_intervals_contain_the_truth() -> None:
    records = [record for design in DESIGNS for area in AREAS for record in measured(design, area)]
    columns = [*Design._fields, "auc", "quantity", "method", "coverage", "mean_width"]
    table = pd.DataFrame(records, columns=columns)
    table["mean_width"] = table["mean_width"].round(1)
    table.to_csv(FILE, index=False, lineterminator="\n")
    by_method = table.groupby(["method", "quantity"])["coverage"]
    print(by_method.agg(["min", "mean"]).round(3))
    error = (0.93 * 0.07 / SIMULATIONS) ** 0.5
    after = table[table["method"] == "after"]
    assert (after["coverage"] >= 0.93 - 2 * error).all()
