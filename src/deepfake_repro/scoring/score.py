"""Score a user's own videos as the pipeline scores its test sets, and say what the score is worth.

The method of our rows is the pipeline's (Sections 4.1 and 4.3): one frame per second, every face,
box + 30 %, the mean over all faces; a released detector brings its own recipe. Tracks, calibrated
probability and quality warnings help to read the score. Videos are streamed: only one batch of
crops and the few that the report shows are in memory.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..crops.isolation import IsolatedExtractor, extractor
from ..crops.preprocess import detector_factory
from ..crops.store import Row, decode
from ..detectors.aggregation import AGGREGATIONS, select_faces
from ..detectors.scorers import Scores
from ..faces.tracks import Tracker, appearance
from .calibration import calibrated, distance, verdict
from .domain import why_no_verdict
from .inputs import collect, confined, opened, printable, slug
from .model import Model, read_model
from .saliency import saliency

BATCH = 32  # crops that the network scores at once
MOMENTS = 6  # highest faces kept for the report
MOMENTS_PER_TRACK = 3
PORTRAITS = 64  # tracks whose surest face is kept
SMALL_FACE = 64  # pixels, shorter side: enlarged more than 2.5 times for a crop of 224 pixels
THIN = 0.5  # bits per pixel and second: below, little but the codec's own traces is left
UNEQUAL = 0.15  # difference between the highest track and the mean that calls for a warning
FEW_FACES = 3

BOX = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Limits:
    """What one video may cost.

    ``frames``: sampled frames; ``seconds``: of work; ``silence``: seconds without an answer from
    the decoder.
    """

    frames: int = 7200
    faces: int = 20_000
    seconds: float = 1800.0
    silence: float = 60.0


class Moment(NamedTuple):
    """A face of high score: its record, its crop and, once the video is scored, its heat map."""

    crop: Row
    image: np.ndarray
    heat: np.ndarray = np.empty(0)


class Portrait(NamedTuple):
    """The crop of a track that the face detector is surest of, with the detector's score."""

    detector_score: float
    image: np.ndarray


@dataclass
class Scored:
    """The result of one video.

    ``p_fake``: the detector's score, None without a face; ``probability``: the calibrated one;
    ``no_verdict``: why the score says nothing here, empty if it may be read; ``tracks``: one
    record per person, the longest first; ``crops``: one record per face; ``moments``: the faces of
    highest score; ``portraits``: by track.
    """

    path: Path
    p_fake: float | None = None
    probability: float | None = None
    highest_track: float | None = None
    verdict: str = "No score."
    no_verdict: str = ""
    tracks: list[Row] = field(default_factory=list)
    crops: list[Row] = field(default_factory=list)
    skipped: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    portraits: dict[int, Portrait] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file name on one line, without control characters."""
        return printable(self.path.name)

    @property
    def slug(self) -> str:
        """A safe name for the files of its results."""
        return slug(self.path)

    def record(self) -> Row:
        """Return everything but the pictures, for JSON."""
        pictures = ("path", "moments", "portraits")
        plain = {key: value for key, value in vars(self).items() if key not in pictures}
        return {"name": self.name, **plain, "moments": [moment.crop for moment in self.moments]}


def score_videos(
    paths: Iterable[str | Path],
    weights: Path | Model | None = None,
    limits: Limits | None = None,
    scratch: Path | None = None,
) -> Iterator[Scored]:
    """Score files, folders and patterns one after another; the model is read once.

    ``weights``: as for ``read_model``, which chooses the default. A file that cannot be scored
    gives an item whose ``skipped`` says why; ``FileNotFoundError`` and ``ValueError`` are for paths
    and weights.
    """
    model = weights if isinstance(weights, Model) else read_model(weights)
    model.to_accelerator()
    for path in collect(paths):
        yield score_video(path, model, limits or Limits(), scratch)


def score_video(path: Path, model: Model, limits: Limits, scratch: Path | None = None) -> Scored:
    """Score one video or image, whatever the file contains.

    It is decoded in a child process of limited memory.
    """
    scored = Scored(path)
    options = replace(model.crops, video_timeout=limits.silence)
    extract = extractor(partial(confined, detector_factory(options)), options)
    if isinstance(extract, IsolatedExtractor):
        extract.start()  # what is wrong with the detector is not wrong with the video
    try:
        with opened(path, scratch) as (row, folder):
            frames = _selected(extract(row, folder), model)
            for batch in _batches(frames, limits, scored.skipped):
                _score_batch(scored, model, batch)
    except (ValueError, OSError) as error:
        scored.skipped.append({"reason": "unreadable", "detail": printable(str(error))})
    if scored.crops:
        _conclude(scored, model)
    else:
        reason = scored.skipped[0]
        scored.verdict = f"No score: {reason['reason']}: {reason['detail']}"
    return scored


def _selected(
    frames: Iterable[tuple[list[Row], list[Row]]], model: Model
) -> Iterator[tuple[list[Row], list[Row]]]:
    """Keep the faces of each frame that the detector's recipe takes."""
    crop = model.recipe.crop
    for rows, left_out in frames:
        areas = np.array([(row["x1"] - row["x0"]) * (row["y1"] - row["y0"]) for row in rows])
        scores = np.array([row["score"] for row in rows])
        keep = select_faces(crop.faces if crop else "all", areas, scores)
        yield [row for row, kept in zip(rows, keep, strict=True) if kept], left_out


def _batches(
    frames: Iterable[tuple[list[Row], list[Row]]], limits: Limits, skipped: list[Row]
) -> Iterator[list[Row]]:
    """Yield batches of faces with their tracks until a limit is reached.

    ``frames``: (faces, records of what was left out) per sampled frame; the records, and one for a
    limit, are appended to ``skipped``.
    """
    tracker = Tracker()
    begin = time.monotonic()
    batch: list[Row] = []
    faces = 0
    for number, (rows, left_out) in enumerate(frames):
        for record in left_out:
            detail = printable(record["detail"])
            skipped.append({"reason": record["reason"], "detail": detail})
        limit = _reached(limits, number, faces, time.monotonic() - begin)
        if limit:
            detail = f"only the first {number} sampled frames: more than {limit}"
            skipped.append({"reason": "limit", "detail": detail})
            break
        faces += len(rows)
        boxes = np.array([[row[side] for side in BOX] for row in rows], np.float32).reshape(-1, 4)
        looks = [appearance(decode(row["image"])) for row in rows]
        tracks = tracker.add(number, boxes, looks)
        batch += ({**row, "track": track} for row, track in zip(rows, tracks, strict=True))
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _reached(limits: Limits, frames: int, faces: int, seconds: float) -> str:
    """Return the limit that is reached, in words; empty if none is."""
    if frames >= limits.frames:
        return f"{limits.frames} frames"
    if faces >= limits.faces:
        return f"{limits.faces} faces"
    if seconds >= limits.seconds:
        return f"{limits.seconds:.0f} seconds of work"
    return ""


def predict(model: Model, images: list[np.ndarray]) -> Scores:
    """Score crops uint8 ``[H, W, 3]``: P(fake) ``[N]`` and, if there are any, embeddings.

    The scores equal the pipeline's to six decimals.
    """
    return model.scorer(images)


def _score_batch(scored: Scored, model: Model, batch: list[Row]) -> None:
    """Score a batch; keep its numbers and those of its pictures that the report may show."""
    images = [decode(row["image"]) for row in batch]
    scores, embedding = predict(model, images)
    if model.calibration and embedding is not None:
        distances = distance(embedding, model.calibration["embedding"])
    else:
        distances = np.full(len(batch), np.nan)

    for row, image, score, far in zip(
        batch, images, scores.tolist(), distances.tolist(), strict=True
    ):
        track = row["track"]
        crop = {
            "frame": row["frame"],
            "seconds": _rounded(row["seconds"]),
            "track": track,
            "p_fake": score,
            "distance": _rounded(far),
            "box": [round(row[side], 1) for side in BOX],
            "size": [row["width"], row["height"]],
            "detector_score": round(row["score"], 4),
        }
        scored.crops.append(crop)
        scored.moments.append(Moment(crop, image))
        best = scored.portraits.get(track, Portrait(-1.0, image))
        if track < PORTRAITS and row["score"] > best.detector_score:
            scored.portraits[track] = Portrait(row["score"], image)
    scored.moments = _highest(scored.moments)


def _highest(moments: list[Moment]) -> list[Moment]:
    """Keep the ``MOMENTS`` of highest score, at most ``MOMENTS_PER_TRACK`` of each track."""
    kept = []
    per_track: Counter[int] = Counter()
    for moment in sorted(moments, key=lambda moment: -moment.crop["p_fake"]):
        track = moment.crop["track"]
        per_track[track] += 1
        if per_track[track] <= MOMENTS_PER_TRACK:
            kept.append(moment)
    return kept[:MOMENTS]


def _rounded(value: float) -> float | None:
    """Round to three decimals; None for NaN, which JSON does not have."""
    return None if np.isnan(value) else round(float(value), 3)


def _conclude(scored: Scored, model: Model) -> None:
    """Fill in the scores of tracks and video, the verdict, the warnings and the heat maps."""
    scored.tracks = _tracks(scored.crops)
    score = _score_of_video(scored.crops, model)
    highest = max(track["p_fake"] for track in scored.tracks)
    scored.p_fake = score
    scored.highest_track = highest
    if model.calibration:
        scored.probability = calibrated(score, model.calibration)
    scored.no_verdict = why_no_verdict(scored.path, scored.crops, model)
    scored.verdict = verdict(score, model.calibration, scored.no_verdict)
    scored.warnings = list(_warnings(scored, score, highest))

    manifest = model.manifest
    if manifest is None or model.detector is None or model.described:
        return  # heat maps are drawn for our own networks only
    images = [moment.image for moment in scored.moments]
    maps = saliency(model.detector, images, manifest.views, manifest.input_size, model.norm)
    scored.moments = [
        moment._replace(heat=heat) for moment, heat in zip(scored.moments, maps, strict=True)
    ]


def _score_of_video(crops: list[Row], model: Model) -> float:
    """Aggregate the scores of all faces by the detector's rule; the paper's is the mean."""
    frames = np.array([crop["frame"] for crop in crops])
    scores = np.array([crop["p_fake"] for crop in crops])
    return AGGREGATIONS[model.recipe.aggregation](frames, scores)


def _tracks(crops: list[Row]) -> list[Row]:
    """Summarise the faces of each track, the longest track first."""
    by_track: dict[int, list[Row]] = {}
    for crop in crops:
        by_track.setdefault(crop["track"], []).append(crop)
    tracks = [
        {
            "track": track,
            "faces": len(members),
            "first": members[0]["seconds"],
            "last": members[-1]["seconds"],
            "p_fake": _mean(members),
        }
        for track, members in by_track.items()
    ]
    return sorted(tracks, key=lambda track: (-track["faces"], track["track"]))


def _mean(crops: list[Row]) -> float:
    """Return the paper's mean over faces (Section 4.3).

    Sorted as in ``video_scores``, so that the sum is the same to the last bit.
    """
    return float(np.mean(sorted(crop["p_fake"] for crop in crops)))


def _warnings(scored: Scored, score: float, highest: float) -> Iterator[str]:
    """Yield what makes this score less reliable than the measured error rates say.

    ``score``: of the video; ``highest``: the highest mean of one track.
    """
    if len(scored.crops) < FEW_FACES:
        yield (
            f"Only {len(scored.crops)} face(s) were scored: a mean of so few faces is uncertain."
        )
    if highest - score > UNEQUAL:
        yield (
            f"The people differ: one has a mean of {highest:.2f}, all faces together {score:.2f}. "
            "The video's score hides this: look at the tracks."
        )
    yield from _quality_warnings(scored)


def _quality_warnings(scored: Scored) -> Iterator[str]:
    boxes = [crop["box"] for crop in scored.crops]
    side = np.median([min(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes])
    if side < SMALL_FACE:
        yield (
            f"Small faces: half of them have fewer than {side:.0f} pixels; traces of manipulation "
            "may be lost."
        )
    bits = _bits(scored)
    if bits is not None and bits < THIN:
        yield (
            f"Heavy compression: {bits:.2f} bits per pixel and second; traces of manipulation may "
            "be lost."
        )


def _bits(scored: Scored) -> float | None:
    """Estimate the bits per pixel and second from what was read of the file; None for an image."""
    last = scored.crops[-1]
    if last["seconds"] is None:
        return None
    width, height = last["size"]
    return 8 * scored.path.stat().st_size / (width * height * (last["seconds"] + 1))
