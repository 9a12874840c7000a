"""What each video and each source adds to a cell of Table 3, for all runs at once.

The influence of a video on a mean is its deviation from the mean over the number of videos; for an
AUC the values are placements: the share of the other class that it is ranked against correctly
(DeLong et al. 1988). Sums of influences over a source give variances that respect that its videos
are alike (Obuchowski 1997). Fractions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .bounds import auc_bounds, auc_variance, share_bounds
from .metrics import SOURCE

_DOUBT = 2
"""Few sources say little about how alike their videos are: this many vote for *quite alike*."""


@dataclass(frozen=True)
class TestSet:
    """A test set: its reals, the fakes of each method, and the source of each video.

    ``real``, ``fakes``: positions in the table of videos; ``weights``: cell -> weights of the
    methods; ``sources`` ``[videos of the table]``: a number below ``count``, -1 in other sets.
    """

    name: str
    real: np.ndarray
    fakes: tuple[np.ndarray, ...]
    weights: Mapping[str, np.ndarray]
    sources: np.ndarray
    count: int


@dataclass(frozen=True)
class Cell:
    """A cell: value and distances to both bounds ``[runs]``, influence ``[runs, sources]``."""

    value: np.ndarray
    below: np.ndarray
    above: np.ndarray
    influence: np.ndarray


class View:
    """One cell of a test set: its classes of videos, each a real or a method's fakes, weighed."""

    def __init__(self, part: TestSet, weights: np.ndarray) -> None:
        self.real = part.real
        self.fakes = [part.fakes[method] for method in np.flatnonzero(weights)]
        self.weights = weights[weights > 0]
        self.videos = np.concatenate([self.real, *self.fakes])
        self.sources = part.sources[self.videos]
        self.count = part.count

    def sizes(self) -> list[int]:
        """Count the reals, the fakes and the sources."""
        reals = len(self.real)
        return [reals, len(self.videos) - reals, len(np.unique(self.sources))]

    def class_sources(self) -> tuple[int, int]:
        """Count the sources of the reals and those of the fakes."""
        real, fake = np.split(self.sources, [len(self.real)])
        return len(np.unique(real)), len(np.unique(fake))

    def auc(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the AUC ``[runs]`` and each video's influence ``[runs, videos]``."""
        placed = [
            np.stack([placements(score[fake], score[self.real]) for score in scores])
            for fake in self.fakes
        ]
        real = np.stack(
            [
                [1 - placements(score[self.real], score[fake]) for score in scores]
                for fake in self.fakes
            ]
        )
        real_mean = np.tensordot(self.weights, real, 1)
        return self._area(placed), self._influence(real_mean, placed)

    def shares(
        self, scores: np.ndarray, threshold: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute the shares of correct reals and fakes ``[runs]`` and the influence on both."""
        real = scores[:, self.real] < threshold
        fakes = [(scores[:, fake] >= threshold).astype(float) for fake in self.fakes]
        return real.mean(1), self._area(fakes), self._influence(real.astype(float), fakes)

    def by_source(self, influence: np.ndarray) -> np.ndarray:
        """Sum influences over sources: ``[runs, sources]``, unbiased for few sources."""
        scaled = influence * self._correction(self.sources)
        return np.stack(
            [np.bincount(self.sources, weights=row, minlength=self.count) for row in scaled]
        )

    def independent(self, influence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the numbers ``[runs]`` of independent reals and fakes.

        They lie between the number of sources and the number of videos, by how much larger the
        variance is over sources than over videos. Where no video deviates, or sources are few,
        videos of one source count as one. Unequal weights lower the number (Kish 1965).
        """
        scaled = influence * self._correction(np.arange(len(self.videos)))
        over_videos = (scaled**2).sum(1)
        over_sources = (self.by_source(influence) ** 2).sum(1)
        known = over_videos > 0
        alike = np.where(known, over_sources / np.where(known, over_videos, 1), np.inf)
        reals = len(self.real)
        weights = [1 / (reals * np.ones(reals)), *self._fake_weights()]
        numbers = []
        for chosen in (slice(0, reals), slice(reals, None)):
            weight = np.concatenate(weights)[chosen]
            most = 1 / (weight**2).sum()
            least = 1 / (np.bincount(self.sources[chosen], weights=weight) ** 2).sum()
            trust = least / (least + _DOUBT)
            inflation = trust * np.clip(alike, 1, most / least) + (1 - trust) * most / least
            numbers.append(most / inflation)
        return numbers[0], numbers[1]

    def _area(self, fakes: list[np.ndarray]) -> np.ndarray:
        return self.weights @ [values.mean(1) for values in fakes]

    def _influence(self, real: np.ndarray, fakes: list[np.ndarray]) -> np.ndarray:
        parts = [(real - real.mean(1, keepdims=True)) / len(self.real)]
        for weight, values in zip(self.weights, fakes, strict=True):
            parts.append(weight * (values - values.mean(1, keepdims=True)) / values.shape[1])
        return np.concatenate(parts, axis=1)

    def _fake_weights(self) -> Iterator[np.ndarray]:
        for weight, fake in zip(self.weights, self.fakes, strict=True):
            yield np.full(len(fake), weight / len(fake))

    def _correction(self, units: np.ndarray) -> np.ndarray:
        """Return the factor ``[videos]`` that makes the variance of each class unbiased."""
        starts = np.cumsum([len(self.real), *map(len, self.fakes)])[:-1]
        factors = []
        for own in np.split(units, starts):
            number = len(np.unique(own))
            factors.append(np.full(len(own), (number / max(number - 1, 1)) ** 0.5))
        return np.concatenate(factors)


def cells(
    part: TestSet, scores: np.ndarray, threshold: float
) -> Iterator[tuple[tuple[str, str], Cell]]:
    """Yield ``(metric, set)`` and the cell of every run, for all cells of a test set."""
    for key, weights in part.weights.items():
        view = View(part, weights)
        yield ("auc", key), auc_cell(view, scores)
        yield ("bacc", key), accuracy_cell(view, scores, threshold)


def auc_cell(view: View, scores: np.ndarray) -> Cell:
    """Bound the AUC; never narrower than DeLong's variance over sources would make it."""
    area, influence = view.auc(scores)
    reals, fakes = view.independent(influence)
    by_source = view.by_source(influence)
    low, high = auc_bounds(area, reals, fakes)
    expected = auc_variance(area, reals, fakes)
    known = expected > 0
    ratio = (by_source**2).sum(1) / np.where(known, expected, 1)
    widening = np.sqrt(np.where(known, np.maximum(ratio, 1), 1))
    return Cell(area, (area - low) * widening, (high - area) * widening, by_source)


def accuracy_cell(view: View, scores: np.ndarray, threshold: float) -> Cell:
    """Bound the balanced accuracy: a share per class, their distances added as squares."""
    specificity, sensitivity, influence = view.shares(scores, threshold)
    reals, fakes = view.independent(influence)
    real_low, real_high = share_bounds(specificity, reals)
    fake_low, fake_high = share_bounds(sensitivity, fakes)
    below = np.hypot(specificity - real_low, sensitivity - fake_low) / 2
    above = np.hypot(real_high - specificity, fake_high - sensitivity) / 2
    value = (specificity + sensitivity) / 2
    return Cell(value, below, above, view.by_source(influence) / 2)


def test_sets(videos: pd.DataFrame) -> Iterator[TestSet]:
    """Yield the test sets that have both classes; of DF40's fakes only FS and RE count."""
    for name, part in videos.groupby("dataset"):
        real = part.index[part["label"] == 0].to_numpy()
        fake = part.index[part["label"] == 1].to_numpy()
        sources = np.full(len(videos), -1)
        codes, names = pd.factorize(part[SOURCE])
        sources[part.index] = codes
        if name != "df40":
            if len(real) and len(fake):
                yield TestSet(name, real, (fake,), {name: np.ones(1)}, sources, len(names))
        elif len(real):
            fakes = part[(part["label"] == 1) & part["category"].isin(["FS", "RE"])]
            methods = fakes.groupby(["category", "manipulation"]).groups
            weights = _df40_weights(np.array([category for category, _ in methods]))
            indices = tuple(index.to_numpy() for index in methods.values())
            yield TestSet(name, real, indices, weights, sources, len(names))


def placements(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute the share of ``others`` below each of ``values``; ties count half."""
    others = np.sort(others)
    left = np.searchsorted(others, values, "left")
    right = np.searchsorted(others, values, "right")
    return (left + right) / (2 * len(others))


def _df40_weights(categories: np.ndarray) -> dict[str, np.ndarray]:
    """Weigh the methods equally in each DF40 column; ``df40`` only if both kinds are present."""
    kinds = {"df40_fs": categories == "FS", "df40_re": categories == "RE"}
    weights = {key: member / member.sum() for key, member in kinds.items() if member.any()}
    if len(weights) == 2:
        weights["df40"] = np.full(len(categories), 1 / len(categories))
    return weights
