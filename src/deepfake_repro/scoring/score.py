"""Score a user's own videos as the pipeline scores its test sets, and say what the number is worth.

The road is the pipeline's (Section 4.1 and 4.3): a frame a second, every face, box + 30 %, the mean
over all faces. Beside it stand what a reader needs: tracks, calibrated probability, quality
warnings. A video streams: of its pictures only a batch and the few that the report shows are ever
held.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..crops.isolation import extractor
from ..crops.preprocess import detector_factory
from ..crops.store import Row, decode
from ..faces.tracks import Tracker
from ..training.detector import by_view, probabilities
from ..training.labels import p_fake
from .calibration import calibrated, distance, verdict
from .inputs import collect, confined, opened, printable, slug
from .model import Model, read_model
from .saliency import saliency

BATCH, MOMENTS, OF_ONE, PORTRAITS = (
    32,
    6,
    3,
    64,
)  # pictures kept: highest faces in all, of one track, portraits
SMALL_FACE = 64  # pixels, shorter side: the crop of 224 pixels is then enlarged more than two and a half times
THIN = 0.5  # bits a pixel and second below which little but the codec's own traces is left
UNEQUAL = 0.15  # by which the highest track may exceed the mean over all faces without a word


@dataclass(frozen=True)
class Limits:
    """What one video may cost: sampled ``frames``, ``faces``, ``seconds`` of work, seconds of a decoder's ``silence``."""

    frames: int = 7200
    faces: int = 20_000
    seconds: float = 1800.0
    silence: float = 60.0


@dataclass
class Scored:
    """All about one video. ``p_fake``: the paper's score, None without a face; ``probability``: calibrated.

    ``crops``: a record per face; ``tracks``: a record per person, the longest first; ``moments``: the most suspicious
    faces as (record, crop, heat map), ``portraits``: track -> its surest face.
    """

    path: Path
    p_fake: float | None = None
    probability: float | None = None
    highest_track: float | None = None
    verdict: str = "No score."
    tracks: list[Row] = field(default_factory=list)
    crops: list[Row] = field(default_factory=list)
    skipped: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    moments: list[tuple[Row, np.ndarray, np.ndarray]] = field(default_factory=list)
    portraits: dict[int, tuple[float, np.ndarray]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file name on one line, without control characters."""
        return printable(self.path.name)

    @property
    def slug(self) -> str:
        """A safe name for files about it."""
        return slug(self.path)

    def record(self) -> Row:
        """Everything but the pictures, for JSON."""
        plain = {
            key: value
            for key, value in vars(self).items()
            if key not in ("path", "moments", "portraits")
        }
        return {"name": self.name, **plain, "moments": [crop for crop, _, _ in self.moments]}


def score_videos(
    paths: Iterable[str | Path],
    weights: Path | Model | None = None,
    limits: Limits | None = None,
    scratch: Path | None = None,
) -> Iterator[Scored]:
    """Score files, folders and patterns one after another with a model that is read once.

    ``weights``: as for ``read_model``, by default the demo's. Runs on the processor. A file that cannot be scored
    is an item with ``skipped`` saying why; ``FileNotFoundError`` and ``ValueError`` are for paths and weights only.
    """
    known = weights if isinstance(weights, Model) else read_model(weights)
    for path in collect(paths):
        yield score_video(path, known, limits or Limits(), scratch)


def score_video(path: Path, known: Model, limits: Limits, scratch: Path | None = None) -> Scored:
    """Score one video or image, whatever the file holds; decoding runs in a child process of bounded memory."""
    scored = Scored(path)
    options = replace(known.crops, video_timeout=limits.silence)
    extract = extractor(partial(confined, detector_factory(options)), options)
    try:
        with opened(path, scratch) as (row, folder):
            for batch in _batches(extract(row, folder), limits, scored.skipped):
                _add(scored, known, batch)
    except (ValueError, OSError) as error:
        scored.skipped.append({"reason": "unreadable", "detail": printable(error)})
    if scored.crops:
        _conclude(scored, known)
    else:
        scored.verdict = f"No score: {scored.skipped[0]['reason']}: {scored.skipped[0]['detail']}"
    return scored


def _batches(
    found: Iterable[tuple[list[Row], list[Row]]], limits: Limits, skipped: list[Row]
) -> Iterator[list[Row]]:
    """Faces with their tracks in batches, until a limit is reached; records of what is left out go to ``skipped``."""
    tracker, batch, faces, begin = Tracker(), [], 0, time.monotonic()
    for number, (rows, records) in enumerate(found):
        skipped += (
            {"reason": record["reason"], "detail": printable(record["detail"])}
            for record in records
        )
        if reached := _reached(limits, number, faces, time.monotonic() - begin):
            skipped.append(
                {
                    "reason": "limit",
                    "detail": f"only the first {number} sampled frames: more than {reached}",
                }
            )
            break
        faces += len(rows)
        boxes = np.array(
            [[row[side] for side in ("x0", "y0", "x1", "y1")] for row in rows], np.float32
        ).reshape(-1, 4)
        batch += (
            {**row, "track": track}
            for row, track in zip(rows, tracker.add(number, boxes), strict=True)
        )
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _reached(limits: Limits, frames: int, faces: int, seconds: float) -> str:
    """The limit that is reached, in words."""
    reached = {
        f"{limits.frames} frames": frames >= limits.frames,
        f"{limits.faces} faces": faces >= limits.faces,
        f"{limits.seconds:.0f} seconds of work": seconds >= limits.seconds,
    }
    return next((what for what, is_reached in reached.items() if is_reached), "")


@torch.inference_mode()
def predict(known: Model, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Crops uint8 ``[H, W, 3]`` -> P(fake) ``[N]``, as the pipeline's to six decimals, and embeddings ``[N, D]``."""
    views = torch.stack([known.transform(image) for image in images])
    embedding, logits = by_view(known.detector, views)
    return np.asarray(p_fake(probabilities(logits).numpy())).round(6), embedding.mean(1).numpy()


def _add(scored: Scored, known: Model, batch: list[Row]) -> None:
    """Score a batch; keep its numbers, and of its pictures those that the report will show."""
    images = [decode(row["image"]) for row in batch]
    scores, embedding = predict(known, images)
    fitted = known.calibration and known.calibration["embedding"]
    far = distance(embedding, fitted) if fitted else np.full(len(batch), np.nan)
    for row, image, score, away in zip(batch, images, scores.tolist(), far.tolist(), strict=True):
        crop = {
            "frame": row["frame"],
            "seconds": _plain(row["seconds"], 3),
            "track": row["track"],
            "p_fake": score,
            "distance": _plain(away, 3),
            "box": [round(row[side], 1) for side in ("x0", "y0", "x1", "y1")],
            "size": [row["width"], row["height"]],
            "detector_score": round(row["score"], 4),
        }
        scored.crops.append(crop)
        scored.moments.append((crop, image, np.empty(0)))
        best = scored.portraits.get(row["track"], (-1.0, image))
        if row["track"] < PORTRAITS and row["score"] > best[0]:
            scored.portraits[row["track"]] = row["score"], image
    scored.moments = _highest(scored.moments)


def _highest(
    moments: list[tuple[Row, np.ndarray, np.ndarray]],
) -> list[tuple[Row, np.ndarray, np.ndarray]]:
    """The ``MOMENTS`` of highest score, at most ``OF_ONE`` of a track."""
    kept, of_track = [], Counter()
    for moment in sorted(moments, key=lambda moment: -moment[0]["p_fake"]):
        of_track[moment[0]["track"]] += 1
        kept += [moment] if of_track[moment[0]["track"]] <= OF_ONE else []
    return kept[:MOMENTS]


def _plain(value: float, digits: int) -> float | None:
    """Rounded, and None for NaN, which JSON does not know."""
    return None if np.isnan(value) else round(float(value), digits)


def _conclude(scored: Scored, known: Model) -> None:
    """Scores of tracks and video, verdict, warnings, heat maps."""
    of_track: dict[int, list[Row]] = {}
    for crop in scored.crops:
        of_track.setdefault(crop["track"], []).append(crop)
    scored.tracks = sorted(
        (
            {
                "track": track,
                "faces": len(crops),
                "first": crops[0]["seconds"],
                "last": crops[-1]["seconds"],
                "p_fake": _mean(crops),
            }
            for track, crops in of_track.items()
        ),
        key=lambda track: (-track["faces"], track["track"]),
    )
    scored.p_fake, scored.highest_track = (
        _mean(scored.crops),
        max(track["p_fake"] for track in scored.tracks),
    )
    if known.calibration:
        scored.probability = calibrated(scored.p_fake, known.calibration)
    scored.verdict = verdict(scored.p_fake, known.calibration)
    scored.warnings = list(_warnings(scored, known))
    facts = known.facts
    scored.moments = [
        (
            crop,
            image,
            saliency(known.detector, image, facts["views"], facts["input_size"], known.norm),
        )
        for crop, image, _ in scored.moments
    ]


def _mean(crops: list[Row]) -> float:
    """The paper's mean over faces (Section 4.3); sorted as in ``video_scores``, so that the last bit is the same."""
    return float(np.mean(sorted(crop["p_fake"] for crop in crops)))


def _warnings(scored: Scored, known: Model) -> Iterator[str]:
    """What makes this score less trustworthy than the measured error rates say."""
    if known.of_miniatures:
        yield (
            "This model was trained on the demo alone: synthetic people and home-made manipulations. It knows "
            "nothing of real deepfakes; its score of any other video is a demonstration and no evidence."
        )
    if len(scored.crops) < 3:
        yield f"Only {len(scored.crops)} face(s) were scored: a mean of so few is uncertain."
    if scored.highest_track - scored.p_fake > UNEQUAL:
        yield (
            f"The people differ: one has a mean of {scored.highest_track:.2f}, all faces together "
            f"{scored.p_fake:.2f}. The video's score hides this: look at the tracks."
        )
    side = np.median(
        [min(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (crop["box"] for crop in scored.crops)]
    )
    if side < SMALL_FACE:
        yield f"Small faces: half of them have fewer than {side:.0f} pixels; traces of manipulation may be gone."
    bits = _bits(scored)
    if bits is not None and bits < THIN:
        yield f"Heavy compression: {bits:.2f} bits a pixel and second; traces of manipulation may be gone."
    far = np.median([crop["distance"] or 0 for crop in scored.crops])
    limit = known.calibration["embedding"]["quantiles"]["0.99"] if known.calibration else np.inf
    if far > limit:
        yield (
            f"Unlike the training faces: the embeddings lie {far:.1f} from them, farther than 99 % of the validation "
            f"crops ({limit:.1f}). The measured error rates say nothing about such a video."
        )


def _bits(scored: Scored) -> float | None:
    """Bits of the file a pixel and second, from what was read of it; None for an image."""
    last = scored.crops[-1]
    if last["seconds"] is None:
        return None
    return (
        8 * scored.path.stat().st_size / (last["size"][0] * last["size"][1] * (last["seconds"] + 1))
    )
