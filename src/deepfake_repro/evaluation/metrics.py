"""Scores of crops -> scores of videos -> AUC and balanced accuracy (Sections 4.3 and 5).

A video's score is the mean over all its faces; both metrics are computed once over all videos of a
test set, never per batch. A video without a score is counted separately and does not get 0.5.
Scores and metrics are fractions in [0, 1]; only :func:`table_row` converts them to percent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.metrics import roc_curve

from ..project.layout import DF40, PAPER, Layout
from ..project.vocabulary import LNCLIP13

Metric = Callable[[np.ndarray, np.ndarray], float]

VIDEO_COLUMNS = ["video_id", "dataset", "manipulation", "category", "label"]
"""What a table of crops or videos says about each video."""
SOURCE = "source"
"""The person or source video that videos share: they are not independent of each other."""
SOURCE_COLUMNS = ("target_id", "group", "pair_key")
"""Columns of the index that name it, the most specific first."""


def video_scores(predictions: pd.DataFrame, reduce: str = "mean") -> pd.DataFrame:
    """Reduce one row per crop to one row per video, sorted by ``video_id`` (Section 4.3).

    ``predictions`` needs ``video_id, dataset, manipulation, category, label, p_fake``. ``reduce``:
    ``"mean"`` over all faces of the video (the paper), or ``"frame_max"``, SBI's own rule: the
    highest score in each frame (column ``frame``), then the mean over frames. Returns these columns
    with ``p_fake`` in [0, 1] and the number of ``crops``. Raises ``ValueError`` for missing
    columns, scores outside [0, 1] and a video with two labels, categories or datasets.
    """
    if reduce not in ("mean", "frame_max"):
        raise ValueError(
            f"reduce is {reduce!r}: use 'mean' (the paper) or 'frame_max' (SBI's own rule)"
        )
    _check_predictions(predictions, ["frame"] if reduce == "frame_max" else [])
    table = predictions.assign(
        video_id=predictions["video_id"].astype("str"),
        p_fake=predictions["p_fake"].astype("float64"),
    )
    videos = table[VIDEO_COLUMNS].drop_duplicates()
    repeated = videos["video_id"].duplicated()
    if repeated.any():
        name = videos.loc[repeated, "video_id"].min()
        raise ValueError(
            f"video {name} has two labels, categories or datasets: make its video_id unique"
        )
    crops = table.groupby("video_id").size()
    if reduce == "frame_max":
        table = table.groupby(["video_id", "frame"], as_index=False)["p_fake"].max()
    # Sorting by score makes the last bit of the sum independent of the order of the crops.
    mean = table.sort_values("p_fake").groupby("video_id")["p_fake"].mean()
    videos = videos.set_index("video_id").sort_index()
    return videos.assign(p_fake=mean, crops=crops).reset_index()


def with_sources(videos: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Add the column ``source``: who or what each video shows, so that people can be counted.

    It is the person whose video it is (``target_id`` of the index); where a corpus does not say,
    its group, else the real video that a fake was made from, else the video itself.
    """
    known = index.set_index("video_id")
    source = pd.Series(known.index, index=known.index)
    for column in reversed(SOURCE_COLUMNS):
        source = known[column].where(known[column] != "", source)
    return videos.assign(**{SOURCE: videos["video_id"].map(source).fillna(videos["video_id"])})


def without_names(videos: pd.DataFrame) -> pd.DataFrame:
    """Replace ids and sources by digests: a table for git of people who were not asked.

    Whoever has the files can compute the digests, and tables of several rows still match. Sorted by
    the digests, so that the order says nothing either.
    """
    columns = [column for column in ("video_id", SOURCE) if column in videos]
    digests = {column: videos[column].astype("str").map(_digest) for column in columns}
    return videos.assign(**digests).sort_values("video_id", ignore_index=True)


def _digest(name: str) -> str:
    return sha256(name.encode()).hexdigest()[:12]


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Compute the area under the ROC curve, a fraction (Section 4.3).

    It is the share of (real, fake) pairs in which the fake scores higher; ties count half.
    ``labels`` ``[N]`` 0 real / 1 fake, ``scores`` ``[N]``. Raises ``ValueError`` unless both
    classes are present and all scores are finite.
    """
    real, fake = _split(labels, scores)
    ranks = rankdata(np.concatenate([real, fake]))
    above = ranks[len(real) :].sum() - len(fake) * (len(fake) + 1) / 2
    return float(above / (len(real) * len(fake)))


def balanced_accuracy(labels: np.ndarray, scores: np.ndarray, threshold: float = 0.5) -> float:
    """Average the shares of correctly classified reals and fakes; fake iff ``score >= threshold``.

    Shapes, unit and errors as for :func:`auc` (Section 4.3, "with 0.5 threshold").
    """
    real, fake = _split(labels, scores)
    specificity = (real < threshold).mean()
    sensitivity = (fake >= threshold).mean()
    return float((specificity + sensitivity) / 2)


def roc(labels: np.ndarray, scores: np.ndarray, points: int = 200) -> pd.DataFrame:
    """Compute the ROC curve, thinned to at most ``points`` rows.

    Columns ``false_positive_rate, true_positive_rate, threshold``. Rows are kept at equal steps
    along the curve, both ends included; the first threshold is above all scores, infinity. Errors
    as for :func:`auc`.
    """
    real, fake = _split(labels, scores)
    classes = np.repeat([0, 1], [len(real), len(fake)])
    false_positive, true_positive, threshold = roc_curve(classes, np.concatenate([real, fake]))
    distance = false_positive + true_positive  # rises from 0 to 2 along the curve
    nearest = np.searchsorted(distance, np.linspace(0, 2, points))
    keep = np.unique(nearest.clip(max=len(distance) - 1))
    rows = {
        "false_positive_rate": false_positive,
        "true_positive_rate": true_positive,
        "threshold": threshold,
    }
    return pd.DataFrame(rows).iloc[keep].reset_index(drop=True)


def table_row(
    videos: pd.DataFrame,
    unscored: Mapping[str, int],
    threshold: float = 0.5,
    layout: Layout = PAPER,
) -> dict:
    """Compute one row of Table 3, the content of ``scores.json``.

    Returns ``auc`` and ``bacc`` in percent under the keys of ``layout``, and counts of ``videos``
    and, if their ``source`` is given, of independent ``sources``. ``videos`` as returned by
    :func:`video_scores`; ``unscored``: number of videos without a face or a readable stream, by
    dataset. A test set without both classes is left out, and so is each average it belongs to. For
    DF40 each method is scored against the same reals and the metric is averaged over methods
    (Section 5). Datasets outside Table 3 come after its columns.
    """
    metrics: dict[str, Metric] = {
        "auc": auc,
        "bacc": lambda y, p: balanced_accuracy(y, p, threshold),
    }
    scored = videos["dataset"].value_counts()
    row: dict[str, dict] = {
        **{name: cells(videos, metric, layout) for name, metric in metrics.items()},
        "videos": {
            "scored": {key: int(scored[key]) for key in _datasets(scored.index, layout)},
            "unscored": {key: int(unscored[key]) for key in _datasets(unscored, layout)},
        },
    }
    if SOURCE in videos:
        sources = videos.groupby("dataset")[SOURCE].nunique()
        row["videos"]["sources"] = {
            key: int(sources[key]) for key in _datasets(sources.index, layout)
        }
    return row


def sbi_protocol(videos: pd.DataFrame, threshold: float = 0.5, layout: Layout = PAPER) -> dict:
    """Compute ``auc`` and ``bacc`` of a row as :func:`table_row` does, from scores by SBI's rule.

    ``videos``: scores of :func:`video_scores` with ``reduce="frame_max"``. SBI also drops faces
    smaller than half of a frame's largest and scores a failed video with 0.5; here the faces and
    the videos are those of all rows.
    """
    row = table_row(videos, {}, threshold, layout)
    return {name: row[name] for name in ("auc", "bacc")}


def _check_predictions(predictions: pd.DataFrame, extra: list[str]) -> None:
    required = [*VIDEO_COLUMNS, "p_fake", *extra]
    missing = [name for name in required if name not in predictions]
    if missing:
        raise ValueError(
            f"predictions lack the column {', '.join(missing)}: join them with the index first"
        )
    wrong = ~predictions["p_fake"].between(0, 1)  # true for NaN as well
    if wrong.any():
        row = predictions[wrong].iloc[0]
        raise ValueError(
            f"video {row.video_id} has p_fake {row.p_fake}, not in [0, 1]: predict it again"
        )


def _split(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of the reals and of the fakes, fp64."""
    labels = np.asarray(labels)
    scores = np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or not np.isfinite(scores).all():
        raise ValueError(
            f"labels {labels.shape}, scores {scores.shape}: "
            "give one label per score and only finite scores"
        )
    real = scores[labels == 0]
    fake = scores[labels == 1]
    if not (len(real) and len(fake)) or len(real) + len(fake) < len(labels):
        raise ValueError(
            f"{len(real)} real and {len(fake)} fake of {len(labels)} labels: "
            "give both 0 (real) and 1 (fake), and nothing else"
        )
    return real, fake


def _datasets(names: Iterable[str], layout: Layout) -> list[str]:
    """Sort dataset names: those of the table in its order, then the others alphabetically."""
    present = set(names)
    return [key for key in layout.sets if key in present] + sorted(present.difference(layout.sets))


def cells(videos: pd.DataFrame, metric: Metric, layout: Layout = PAPER) -> dict[str, float]:
    """Compute all cells of one metric in percent; averages are taken before rounding."""
    values: dict[str, float] = {}
    for dataset, part in videos.groupby("dataset"):
        if dataset == DF40:
            values |= _df40(part, metric)
        elif part["label"].nunique() == 2:
            values[dataset] = metric(part["label"], part["p_fake"])
    for name, members in {**layout.averages, "lnclip13": LNCLIP13}.items():
        if all(key in values for key in members):
            values[name] = float(np.mean([values[key] for key in members]))
    return {key: round(100 * values[key], 2) for key in _datasets(values, layout)}


def _df40(part: pd.DataFrame, metric: Metric) -> dict[str, float]:
    """Average over the FS, RE and all methods of DF40; ``df40`` only if both kinds are present."""
    reals = part[part["label"] == 0]
    fakes = part[(part["label"] == 1) & part["category"].isin(["FS", "RE"])]
    if reals.empty:
        return {}
    values: dict[str, list[float]] = {"FS": [], "RE": []}
    for (category, _), method in fakes.groupby(["category", "manipulation"]):
        both = pd.concat([reals, method])
        values[category].append(metric(both["label"], both["p_fake"]))
    cells = {
        f"df40_{kind.lower()}": float(np.mean(of_kind))
        for kind, of_kind in values.items()
        if of_kind
    }
    if len(cells) == 2:
        cells["df40"] = float(np.mean(values["FS"] + values["RE"]))
    return cells
