"""Helpers of several lessons: sliders, source code beside its formula, toy data.

No import here loads PyTorch, so that the lessons which need none run without it.
"""

from __future__ import annotations

import inspect
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
from IPython.display import Image, Markdown
from matplotlib.figure import Figure
from scipy.spatial.distance import pdist
from sklearn.metrics import roc_auc_score

from ..evaluation.statistics import LEVEL
from ..report.figures import picture


def require(path: Path, command: str) -> Path:
    """Return ``path`` if it exists, else raise ``FileNotFoundError`` naming the command to run."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: run `{command}` first")
    return path


def source(*functions: Callable) -> Markdown:
    """Show the source of functions of the package beside the formula they compute."""
    blocks = [f"```python\n{inspect.getsource(function)}```\n" for function in functions]
    return Markdown("".join(blocks))


def with_alt(figure: Figure, alt: str) -> Image:
    """Render a figure as a picture whose alternative text is ``alt`` and the figure's finding."""
    image = picture(figure)
    image.alt = _with_finding(alt, figure)
    return image


def _with_finding(alt: str, figure: Figure) -> str:
    finding = str(figure.get_label()).partition("\n")[2]
    return f"{alt}. {finding}" if finding else alt


class Explorer(ipywidgets.VBox):
    """Sliders above a picture; without a kernel (book, nbviewer, print) the picture alone."""

    def __init__(
        self, draw: Callable[..., Figure], alt: str, sliders: dict[str, tuple[float, float, float]]
    ) -> None:
        self._draw = draw
        self._alt = alt
        self._sliders = {name: _slider(name, *limits) for name, limits in sliders.items()}
        self._picture = ipywidgets.Image(format="png")
        for slider in self._sliders.values():
            slider.observe(self._redraw, "value")
        self._redraw()
        super().__init__([*self._sliders.values(), self._picture])

    def _redraw(self, _change: object = None) -> None:
        values = {name: slider.value for name, slider in self._sliders.items()}
        figure = self._draw(**values)
        self._picture.value = picture(figure).data
        self._text = _with_finding(self._alt, figure)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict, dict]:
        widget = super()._repr_mimebundle_(**options)
        static = {"image/png": b64encode(self._picture.value).decode()}
        return {**static, **widget}, {"image/png": {"alt": self._text}}


def explore(
    draw: Callable[..., Figure], alt: str, **sliders: tuple[float, float, float]
) -> Explorer:
    """Show a figure with sliders, each (low, high, start); ``draw`` takes their values by name."""
    return Explorer(draw, alt, sliders)


def _slider(name: str, low: float, high: float, start: float) -> ipywidgets.Widget:
    if all(isinstance(value, int) for value in (low, high, start)):
        return ipywidgets.IntSlider(start, low, high, description=name)
    return ipywidgets.FloatSlider(start, min=low, max=high, step=0.05, description=name)


def toy_batch(size: int, gap: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw two overlapping clouds: points float32 ``[size, 2]``, labels 0 real / 1 fake ``[size]``.

    ``gap``: distance of their centres in units of their spread.
    """
    labels = np.arange(size) % 2
    points = np.random.default_rng(seed).normal(size=(size, 2))
    points[:, 0] += gap * labels
    return points.astype(np.float32), labels


def pair_distances(
    embedding: np.ndarray, labels: np.ndarray, videos: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances of pairs within a class and of pairs between classes (Section 3.3).

    ``embedding`` ``[N, D]``, ``labels`` and ``videos`` ``[N]``. Distances are divided by their
    mean. Pairs of one video are left out: they are close for other reasons.
    """
    first, second, of_two_videos = _pairs_of_two_videos(np.asarray(videos))
    distance = pdist(embedding)[of_two_videos]
    same = np.asarray(labels)[first] == np.asarray(labels)[second]
    return distance[same] / distance.mean(), distance[~same] / distance.mean()


def separation(
    embedding: np.ndarray, labels: np.ndarray, videos: np.ndarray, draws: int = 200, seed: int = 0
) -> tuple[float, float, float]:
    """Return how often a real and a fake are farther apart than a pair of one class, with its ends.

    Arguments as for :func:`pair_distances`; 0.5 means no separation. The ends are those of a 95 %
    bootstrap interval over videos; draws that lack one kind of pair do not count.
    """
    first, second, of_two_videos = _pairs_of_two_videos(np.asarray(videos))
    distance = pdist(embedding)[of_two_videos]
    differs = np.asarray(labels)[first] != np.asarray(labels)[second]
    codes, names = pd.factorize(np.asarray(videos))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        times = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[codes]
        weights = times[first] * times[second]
        if weights[differs].any() and weights[~differs].any():
            drawn.append(roc_auc_score(differs, distance, sample_weight=weights))
    low, high = np.percentile(drawn, LEVEL)
    return float(roc_auc_score(differs, distance)), float(low), float(high)


def _pairs_of_two_videos(videos: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return both ends of the pairs that count, and which of SciPy's pairs these are."""
    first, second = np.triu_indices(len(videos), 1)
    of_two_videos = videos[first] != videos[second]
    return first[of_two_videos], second[of_two_videos], of_two_videos


def normalised_names(manipulations: pd.Series) -> pd.Series:
    """Unify the corpora's spellings, such as ``FaceSwap``, ``face-swap`` and ``faceswaps``."""
    return manipulations.str.lower().str.replace(r"[^a-z0-9]|s$", "", regex=True)


def trained_elsewhere(index: pd.DataFrame, corpora: Sequence[str]) -> pd.DataFrame:
    """List the manipulations that a corpus only tests and one of ``corpora`` trains on.

    Returns ``dataset, manipulation, trained_in`` (keys of corpora, comma-separated). Equal names
    count as equal manipulations; unknown ones are left out.
    """
    fakes = index[(index["label"] == 1) & ~index["manipulation"].str.contains("unknown")]
    fakes = fakes.assign(name=normalised_names(fakes["manipulation"]))
    is_trained = (fakes["split"] == "train") & fakes["dataset"].isin(corpora)
    trained = fakes[is_trained].groupby("name")["dataset"].unique().map(", ".join)
    tested = fakes.groupby(["dataset", "manipulation", "name"])["split"].agg(set).reset_index()
    only_tested = tested[[splits == {"test"} for splits in tested["split"]]]
    shared = only_tested.assign(trained_in=only_tested["name"].map(trained)).dropna()
    return shared[["dataset", "manipulation", "trained_in"]].reset_index(drop=True)


def seen_share(index: pd.DataFrame, corpora: Sequence[str]) -> float:
    """Return the share of fake test videos whose manipulation ``corpora`` train on (Section 3.1).

    Manipulations are compared by :func:`normalised_names`; unknown ones (DFDC, in the wild) count
    as unseen outside their own corpus.
    """
    fakes = index[index["label"] == 1]
    fakes = fakes.assign(manipulation=normalised_names(fakes["manipulation"]))
    unknown = fakes["manipulation"].str.contains("unknown")
    fakes.loc[unknown, "manipulation"] += fakes["dataset"]
    is_trained = (fakes["split"] == "train") & fakes["dataset"].isin(corpora)
    trained = fakes.loc[is_trained, "manipulation"]
    return float(fakes.loc[fakes["split"] == "test", "manipulation"].isin(trained).mean())
