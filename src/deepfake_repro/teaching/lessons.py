"""What several lessons share: figures with sliders, source beside the formula, toy batches.

Nothing here loads a network's libraries: most lessons start in half the time without them.
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
import torch
from IPython.display import Image, Markdown
from matplotlib.figure import Figure

from ..report.figures import picture
from ..training.losses import TRIPLET_LOSSES, active_fraction, distances


def need(path: Path, how: str) -> Path:
    """``path`` if it is there; else ``FileNotFoundError`` saying which command makes it."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: run `{how}` first")
    return path


def source(*functions: Callable) -> Markdown:
    """The source of functions of the package, to stand beside the formula that they compute."""
    return Markdown(
        "".join(f"```python\n{inspect.getsource(function)}```\n" for function in functions)
    )


def shown(figure: Figure, alt: str) -> Image:
    """The figure as a picture, described by ``alt`` for those who cannot see it."""
    image = picture(figure)
    image.alt = alt
    return image


class Explorer(ipywidgets.VBox):
    """Sliders above a picture; where no kernel is (book, nbviewer, print) the picture alone stands there."""

    def __init__(
        self, draw: Callable[..., Figure], alt: str, sliders: dict[str, tuple[float, float, float]]
    ) -> None:
        self._draw, self._alt = draw, alt
        self._sliders = {name: _slider(name, *limits) for name, limits in sliders.items()}
        self._picture = ipywidgets.Image(format="png")
        for slider in self._sliders.values():
            slider.observe(self._redraw, "value")
        self._redraw()
        super().__init__([*self._sliders.values(), self._picture])

    def _redraw(self, _change: object = None) -> None:
        values = {name: slider.value for name, slider in self._sliders.items()}
        self._picture.value = picture(self._draw(**values)).data

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict, dict]:
        bundle = super()._repr_mimebundle_(**options)
        static = {"image/png": b64encode(self._picture.value).decode()}
        return {**static, **bundle}, {"image/png": {"alt": self._alt}}


def explore(
    draw: Callable[..., Figure], alt: str, **sliders: tuple[float, float, float]
) -> Explorer:
    """A figure with sliders: ``draw`` is called with the value of each; a slider is (low, high, start)."""
    return Explorer(draw, alt, sliders)


def _slider(name: str, low: float, high: float, start: float) -> ipywidgets.Widget:
    if all(isinstance(value, int) for value in (low, high, start)):
        return ipywidgets.IntSlider(start, low, high, description=name)
    return ipywidgets.FloatSlider(start, min=low, max=high, step=0.05, description=name)


def toy_batch(size: int, gap: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping clouds in the plane: points float32 ``[size, 2]``, labels 0 real / 1 fake ``[size]``.

    ``gap``: distance of their centres in units of their spread.
    """
    labels = np.arange(size) % 2
    points = np.random.default_rng(seed).normal(size=(size, 2))
    points[:, 0] += gap * labels
    return points.astype(np.float32), labels


def walk(
    points: np.ndarray, labels: np.ndarray, loss: str, margin: float, steps: int = 120
) -> pd.DataFrame:
    """Train a small network (2 -> 16 -> 2) on one batch with a triplet loss alone (Section 3.3.1).

    Columns ``step, loss, active, distance`` (the mean distance of two embeddings). ``loss`` as in
    ``TRIPLET_LOSSES``. The same arguments give the same walk.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)
        )
    optimiser = torch.optim.Adam(network.parameters(), lr=0.03)
    inputs, targets, rows = torch.as_tensor(points), torch.as_tensor(labels), []
    for step in range(steps):
        embeddings = network(inputs)
        value = TRIPLET_LOSSES[loss](embeddings, targets, margin)
        rows.append(
            (
                step,
                value.item(),
                active_fraction(embeddings, targets, margin).item(),
                distances(embeddings).mean().item(),
            )
        )
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    return pd.DataFrame(rows, columns=["step", "loss", "active", "distance"])


def pair_distances(
    embedding: np.ndarray, labels: np.ndarray, videos: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances of crops within a class and between the classes, divided by the mean of all (Section 3.3).

    ``embedding`` ``[N, D]``, ``labels`` and ``videos`` ``[N]``. Two crops of one video are no pair:
    they are close for other reasons.
    """
    first, second = np.triu_indices(len(labels), 1)
    apart = np.asarray(videos)[first] != np.asarray(videos)[second]
    first, second = first[apart], second[apart]
    distance = distances(torch.as_tensor(embedding)).numpy()[first, second]
    same = np.asarray(labels)[first] == np.asarray(labels)[second]
    return distance[same] / distance.mean(), distance[~same] / distance.mean()


def method_names(manipulations: pd.Series) -> pd.Series:
    """Names of manipulations with the corpora's spellings made one: ``FaceSwap`` and ``face-swap`` are the same."""
    return manipulations.str.lower().str.replace(r"[^a-z0-9]", "", regex=True)


def seen_share(index: pd.DataFrame, corpora: Sequence[str]) -> float:
    """Share of all fake test videos whose manipulation is among the training fakes of ``corpora`` (Section 3.1).

    By :func:`method_names`; fakes of unknown make (DFDC, in the wild) count as unseen outside their
    own corpus.
    """
    fakes = index[index["label"] == 1].assign(
        method=lambda table: method_names(table["manipulation"])
    )
    fakes.loc[fakes["method"].str.contains("unknown"), "method"] += fakes["dataset"]
    trained = fakes.loc[(fakes["split"] == "train") & fakes["dataset"].isin(corpora), "method"]
    return float(fakes.loc[fakes["split"] == "test", "method"].isin(trained).mean())
