"""Write one self-contained HTML page per scored file: no script, no network, pictures embedded.

Whatever comes from the file or its name is escaped, and a content security policy forbids the
browser to load or run anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from ..crops.shapes import RecipeCrops
from ..crops.store import Row
from ..detectors.manifest import DetectorManifest
from ..report.pages.html import page, render
from .calibration import Calibration, format_share, measured_on
from .card import describe_tests
from .clips.stress import SECONDS
from .model import Model
from .pages import templates
from .pages.drawings import COLOURS, SHOWN_TRACKS, beside_validation, over_time
from .pages.pictures import jpeg_uri, overlay, thumbnail, with_box
from .results import FileResults, Result
from .saliency import method
from .score import MOMENTS_PER_TRACK, Scored

NOTE = "note"
"""Reason of the records that name a peculiarity of the file (``crops.extraction``)."""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_RULES = {
    "mean": "mean over all faces (the paper's rule)",
    "frame_max": "highest face of each frame, then the mean (SBI's rule)",
    "confident": "mean over the confident faces (the DFDC winner's rule)",
}


class Face(NamedTuple):
    """A picture of a face as a ``data:`` address, and its caption."""

    source: str
    caption: str


def video_page(scored: Scored, model: Model, links: Mapping[str, str] | None = None) -> str:
    """Write the page of one file with one detector.

    ``links``: file beside the page by its label (model card, JSON).
    """
    return file_page(FileResults([Result(scored, model)], links=dict(links or {})))


def file_page(file: FileResults) -> str:
    """Write the page of one file with all detectors that scored it."""
    first = file.results[0].scored
    heading = "h3" if len(file.results) > 1 else "h2"
    body = render(
        templates.FILE,
        name=first.name,
        notes=[record["detail"] for record in first.skipped if record["reason"] == NOTE],
        agreement=file.agreement,
        has_verdict=any(result.leaning for result in file.results),
        overview=[_overview(result) for result in file.results],
        detectors=[(result.detector, _detector(result, heading)) for result in file.results],
        stress=[_stress_row(row) for row in file.stress],
        stress_head=("change", "what it is", *(result.detector for result in file.results)),
        stress_seconds=f"{SECONDS:.0f}",
        signals=file.signals,
        links=file.links,
    )
    return page(first.name, body, templates.STYLE, POLICY)


def iframe(html: str, height: int = 900) -> str:
    """Wrap a page for a notebook so that it keeps its styles and policy; ``height`` in pixels.

    The sandbox allows no script, and the policy nothing from outside. It keeps the notebook's
    origin: the frame of another origin is a process of its own, which Chromium does not draw into a
    picture or print of more than the window.
    """
    return (
        f'<div><iframe srcdoc="{escape(html)}" width="100%" height="{height}" '
        'sandbox="allow-same-origin" style="border: 1px solid #ccc; background: #fff; '
        'color-scheme: light"></iframe></div>'
    )


def _stress_row(row: Row) -> tuple[str, ...]:
    """Write one change with the score and its shift of each detector."""
    cells = []
    for score, shift in zip(row["p_fake"], row["shift"], strict=True):
        missing = row["problem"] or "no face"
        cells.append(missing if score is None else f"{score:.3f} ({shift or 0:+.3f})")
    return (row["change"], row["words"], *cells)


def _overview(result: Result) -> tuple[str, str, str]:
    """Return detector, score and leaning, the latter with the reason if there is none."""
    scored = result.scored
    score = "" if scored.p_fake is None else f"{scored.p_fake:.3f}"
    silent = f"no verdict: {scored.no_verdict}" if scored.no_verdict else scored.verdict
    return result.detector, score, result.leaning or silent


def _detector(result: Result, heading: str) -> Markup:
    """Write what one detector says about the file."""
    scored = result.scored
    model = result.model
    left_out = [record for record in scored.skipped if record["reason"] != NOTE]
    has_score = scored.p_fake is not None
    return render(
        templates.DETECTOR,
        h=Markup(heading),
        scored=scored,
        numbers=_numbers(scored, model),
        scale=_scale(scored, model.calibration),
        over_time=over_time(scored, model.calibration) if has_score else None,
        more_tracks=len(scored.tracks) - SHOWN_TRACKS,
        people=_people(scored, model),
        moments=_moments(scored),
        heat_map=_heat_map(scored, model),
        per_track=MOMENTS_PER_TRACK,
        points=_points(model.calibration),
        measured_on=measured_on(model.calibration) if model.calibration else "",
        left_out=[(record["reason"].replace("_", " "), record["detail"]) for record in left_out],
    )


def _numbers(scored: Scored, model: Model) -> list[tuple[str, str]]:
    """List the numbers of the file and what the detector is."""
    if scored.p_fake is None or scored.highest_track is None:
        return []
    frames = len({crop["frame"] for crop in scored.crops})
    faces = f"{len(scored.crops)} in {frames} sampled frames, {len(scored.tracks)} track(s)"
    rows = [(f"score: {_RULES[model.recipe.aggregation]}", f"{scored.p_fake:.3f}")]
    if scored.probability is not None:
        label = "calibrated probability of fake, if reals and fakes were equally frequent"
        rows.append((label, f"{scored.probability:.2f}"))
    return [
        *rows,
        ("highest mean of one person (track)", f"{scored.highest_track:.3f}"),
        ("faces scored", faces),
        *_detector_rows(model.recipe, model.calibration),
        *((f"tested {scenario}", numbers) for scenario, numbers in describe_tests(model)),
    ]


def _detector_rows(
    recipe: DetectorManifest, calibration: Calibration | None
) -> list[tuple[str, str]]:
    """Name the detector, its training, paper, licence, and what its error rates rest on."""
    measured = "not at all: no error rates are stored with it"
    if calibration:
        videos = calibration["videos"]
        measured = (
            f"on {videos['real']} real and {videos['fake']} fake validation videos of "
            f"{', '.join(calibration['corpora'])}, see below"
        )
    rows = [
        ("detector", recipe.name),
        ("trained on", recipe.trained_on or "unknown"),
        ("error rates measured", measured),
        ("paper", recipe.paper),
        ("licence of the weights", recipe.weights.licence or "unknown"),
        ("note", recipe.note),
    ]
    return [(name, text) for name, text in rows if text]


def _scale(scored: Scored, calibration: Calibration | None) -> object:
    if scored.p_fake is None or calibration is None:
        return None
    return beside_validation(scored.p_fake, calibration)


def _people(scored: Scored, model: Model) -> list[Face]:
    """Show a thumbnail of each shown track with the detected box, and its mean score."""
    people = []
    for colour, track in zip(COLOURS, scored.tracks, strict=False):
        portrait = scored.portraits.get(track["track"])
        picture = portrait.image if portrait else None
        if picture is not None and not isinstance(model.crops, RecipeCrops):
            picture = with_box(picture, colour, model.crops.margin)
        when = "" if track["first"] is None else f", {track['first']:g}–{track['last']:g} s"
        caption = f"track {track['track']}: {track['p_fake']:.3f}, {track['faces']} face(s){when}"
        people.append(Face(jpeg_uri(thumbnail(picture)), caption))
    return people


def _moments(scored: Scored) -> list[Face]:
    """Show the faces of highest score, each with its heat map."""
    moments = []
    for crop, image, heat in scored.moments:
        when = f"frame {crop['frame']}" if crop["seconds"] is None else f"{crop['seconds']:g} s"
        pictures = [thumbnail(image)]
        if heat.size:
            pictures.append(thumbnail(overlay(image, heat)))
        caption = f"{when}, track {crop['track']}: {crop['p_fake']:.3f}"
        moments.append(Face(jpeg_uri(np.concatenate(pictures, axis=1)), caption))
    return moments


def _heat_map(scored: Scored, model: Model) -> str:
    """Say what the heat maps show; empty if there are none."""
    if model.detector and any(heat.size for *_, heat in scored.moments):
        return method(model.detector)
    return ""


def _points(calibration: Calibration | None) -> list[tuple[str, str, str, str]]:
    """Tabulate the measured error rates."""
    if calibration is None:
        return []
    return [
        (
            name,
            f"{point['threshold']:.3f}",
            format_share(point["false_alarms"]),
            format_share(point["found"]),
        )
        for name, point in calibration["points"].items()
    ]
