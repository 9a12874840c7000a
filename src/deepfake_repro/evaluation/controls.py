"""Untrained controls: how far one number per face crop separates fakes from reals.

A benchmark on which the sharpness of the face alone does as well as a trained network says little
about the network. Each control is scored like a row of Table 3. Which direction means fake, and the
threshold, are chosen on validation videos; nothing is learnt from the test sets.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pandas as pd

from ..crops.store import CropStore
from ..project.layout import PAPER, Layout
from ..project.params import load
from ..project.paths import profile_paths
from ..project.progress import track
from .metrics import SOURCE_COLUMNS, auc, table_row, with_sources
from .rows import publishable, write_csv, write_json
from .thresholds import best_threshold

CONTROLS = ("sharpness", "blockiness", "high_frequencies", "saturation")
INDEX_COLUMNS = ("video_id", "dataset", "split", "label", "category", "manipulation")
_BLOCK = 8
"""Side of a JPEG block, pixels."""
_FAR = 0.25
"""Cycles per pixel above which a frequency counts as high: half of the highest."""


def write_controls(profile: str) -> None:
    """Write ``results/<profile>/controls``: ``videos.csv`` and ``scores.json``.

    ``videos.csv``: one row per validation or test video with one column per control.
    ``scores.json``: per control the content of a row's ``scores.json``, and ``direction``,
    ``threshold``, ``validation_auc``.
    """
    paths = profile_paths(profile)
    listed = pd.read_parquet(paths.index)
    index = listed.loc[listed["split"].isin(["val", "test"])]
    options = load().profile(profile)
    videos = measured(index[list(INDEX_COLUMNS)], CropStore(paths.crops), options.crops.margin)
    out = paths.base / "results" / profile / "controls"
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "videos.csv", publishable(options.report)(videos))
    sources = with_sources(videos, listed[["video_id", *SOURCE_COLUMNS]])
    scores = control_rows(sources, options.layout)
    write_json(out / "scores.json", scores)


def measured(index: pd.DataFrame, store: CropStore, margin: float) -> pd.DataFrame:
    """Add one column per control to the videos of ``index``: its mean over the video's crops.

    ``margin``: share by which the crops' boxes were enlarged. Videos without a crop are left out.
    """
    records = []
    for video in track(index.to_dict("records"), "controls", len(index)):
        rows = store.rows_of(video["video_id"])
        if len(rows):
            faces = [face_of(store.image(int(row)), margin) for row in rows]
            means = np.mean([controls(face) for face in faces], axis=0)
            records.append(video | dict(zip(CONTROLS, means.tolist(), strict=True)))
    columns = [*index.columns, *CONTROLS]
    return pd.DataFrame(records, columns=columns).sort_values("video_id", ignore_index=True)


def face_of(crop: np.ndarray, margin: float) -> np.ndarray:
    """Cut the detector's box out of a crop ``[H, W, 3]`` that was enlarged by ``margin``."""
    height, width = crop.shape[:2]
    y = round(height * (1 - 1 / (1 + margin)) / 2)
    x = round(width * (1 - 1 / (1 + margin)) / 2)
    return crop[y : height - y, x : width - x]


def controls(face: np.ndarray) -> tuple[float, float, float, float]:
    """Measure a face, RGB uint8 ``[H, W, 3]``, in the order of ``CONTROLS``."""
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float64)
    return sharpness(grey), blockiness(grey), high_frequencies(grey), saturation(face)


def sharpness(grey: np.ndarray) -> float:
    """Return the variance of the Laplacian of grey levels ``[H, W]``."""
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def blockiness(grey: np.ndarray) -> float:
    """Return how much larger steps between 8 x 8 blocks are than steps elsewhere, a ratio.

    Takes the largest ratio over the eight possible offsets of the grid, because a crop need not
    start at a block's edge, and averages both directions. An image without steps gives 1.
    """
    ratios = []
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)
        means = np.array([steps[start::_BLOCK].mean() for start in range(min(_BLOCK, len(steps)))])
        ratios.append(means.max() / steps.mean() if steps.any() else 1.0)
    return float(np.mean(ratios))


def high_frequencies(grey: np.ndarray) -> float:
    """Return the share of the energy, without the mean, above a quarter cycle per pixel."""
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    ys = np.fft.fftfreq(grey.shape[0])[:, None]
    xs = np.fft.fftfreq(grey.shape[1])
    total = power.sum()
    return float(power[np.hypot(ys, xs) > _FAR].sum() / total) if total else 0.0


def saturation(face: np.ndarray) -> float:
    """Return the mean of (max - min) / max over the colour channels, 0 for black."""
    highest = face.max(axis=2).astype(np.float64)
    spread = highest - face.min(axis=2)
    return float(np.divide(spread, highest, out=np.zeros_like(spread), where=highest > 0).mean())


def control_rows(videos: pd.DataFrame, layout: Layout = PAPER) -> dict[str, dict]:
    """Score each control on the test videos.

    ``videos``: columns of the index, ``split`` included, and ``CONTROLS``. Raises ``ValueError``
    without reals and fakes among the validation videos.
    """
    validation = videos[videos["split"] == "val"]
    test = videos[videos["split"] == "test"]
    if validation["label"].nunique() < 2:
        raise ValueError(
            "controls need real and fake validation videos: their direction is chosen on these"
        )
    return {name: _control_row(validation, test, name, layout) for name in CONTROLS}


def _control_row(validation: pd.DataFrame, test: pd.DataFrame, name: str, layout: Layout) -> dict:
    labels = validation["label"].to_numpy()
    values = validation[name].to_numpy()
    found = auc(labels, values)
    sign = 1 if found >= 0.5 else -1
    threshold = best_threshold(labels, sign * values)
    chosen: Mapping[str, object] = {
        "direction": "higher is fake" if sign > 0 else "lower is fake",
        "threshold": round(sign * threshold, 4),
        "validation_auc": round(100 * max(found, 1 - found), 2),
    }
    return {**table_row(test.assign(p_fake=sign * test[name]), {}, threshold, layout), **chosen}
