"""Write one self-contained HTML page per scored video: no script, no network, pictures embedded.

Whatever comes from the video or its name is escaped, and a content security policy forbids the
browser to load or run anything.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import cv2
import matplotlib
import numpy as np

from ..crops.extraction import inner_box
from ..crops.shapes import RecipeCrops
from ..detectors.manifest import DetectorManifest
from ..report.pages.html import page
from .calibration import Calibration, format_share, measured_on
from .model import Model
from .saliency import method
from .score import MOMENTS_PER_TRACK, Scored

COLOURS = ("#0173b2", "#de8f05", "#029e73", "#cc78bc", "#ca9161", "#949494", "#56b4e9", "#222222")
"""Of the tracks that are shown."""
CLASS_COLOURS = {"real": COLOURS[0], "fake": COLOURS[1]}
SHOWN_TRACKS = len(COLOURS)
NOTE = "note"
"""Reason of the records that name a peculiarity of the file (``crops.extraction``)."""
POINTS = 400  # of a curve at most

# Pixels: the diagrams, their left and top margins, and a thumbnail's side.
WIDTH = 860
HEIGHT = 240
LEFT = 44
TOP = 14
THUMBNAIL = 130

_HEAT = matplotlib.colormaps["inferno"]
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222;
  max-width: 900px; margin: 1.5em auto; padding: 0 1em; }
h1 { font-size: 1.3em; overflow-wrap: anywhere; }
h2 { font-size: 1.05em; margin: 1.6em 0 .4em; }
.verdict { border-left: 6px solid #555; background: #f4f4f4; padding: .7em 1em; font-size: 1.1em; }
.none { border-left-color: #b00020; background: #fdecee; }
.notice { border: 2px solid #0173b2; background: #eaf4fb; padding: .5em 1em; margin: .6em 0; }
.notice ul { margin: .2em 0; padding-left: 1.3em; }
.warning { border-left: 6px solid #de8f05; background: #fff7e6; padding: .4em 1em; margin: .4em 0; }
table { border-collapse: collapse; }
td, th { padding: .2em .8em .2em 0; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
figure { display: inline-block; margin: .3em .8em .3em 0; vertical-align: top; }
figcaption, .small { font-size: .85em; color: #555; }
svg text { font: 12px system-ui, sans-serif; fill: #555; }
"""


def video_page(scored: Scored, model: Model, links: Mapping[str, str] | None = None) -> str:
    """Write the report page of one video.

    ``links``: file beside the report by its label (model card, JSON).
    """
    verdict = "verdict none" if scored.no_verdict else "verdict"
    parts = [
        f"<h1>{escape(scored.name)}</h1>",
        _notices(scored),
        f'<p class="{verdict}">{escape(scored.verdict)}</p>',
        *(f'<p class="warning">{escape(text)}</p>' for text in scored.warnings),
    ]
    if scored.p_fake is not None:
        parts += [
            _numbers(scored, model),
            _scale(scored.p_fake, model.calibration),
            _over_time(scored, model.calibration),
            _people(scored, model),
            _moments(scored, model),
            _error_rates(model.calibration),
        ]
    parts += [_left_out(scored), _links(links or {})]
    return page(scored.name, "\n".join(parts), _STYLE, _POLICY)


def _notices(scored: Scored) -> str:
    """List in a box what a player would show differently from what was scored."""
    notes = [record["detail"] for record in scored.skipped if record["reason"] == NOTE]
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        '<div class="notice"><strong>Look at the file before you read the score:</strong>'
        f"<ul>{items}</ul></div>"
    )


def iframe(html: str, height: int = 900) -> str:
    """Wrap a page for a notebook so that it keeps its styles and policy; ``height`` in pixels."""
    return (
        f'<div><iframe srcdoc="{escape(html)}" width="100%" height="{height}" sandbox="" '
        'style="border: 1px solid #ccc"></iframe></div>'
    )


_RULES = {
    "mean": "mean over all faces (the paper's rule)",
    "frame_max": "highest face of each frame, then the mean (SBI's rule)",
    "confident": "mean over the confident faces (the DFDC winner's rule)",
}


def _numbers(scored: Scored, model: Model) -> str:
    frames = len({crop["frame"] for crop in scored.crops})
    faces = f"{len(scored.crops)} in {frames} sampled frames, {len(scored.tracks)} track(s)"
    rule = _RULES[model.recipe.aggregation]
    rows = [(f"score of the video: {rule}", f"{scored.p_fake:.3f}")]
    if scored.probability is not None:
        label = "calibrated probability of fake, if reals and fakes were equally frequent"
        rows.append((label, f"{scored.probability:.2f}"))
    rows += [
        ("highest mean of one person (track)", f"{scored.highest_track:.3f}"),
        ("faces scored", faces),
        *_detector_rows(model.recipe),
    ]
    return _table(rows)


def _detector_rows(recipe: DetectorManifest) -> list[tuple[str, str]]:
    """Name the detector, what it was trained on, its paper and the licence of its weights."""
    rows = [
        ("detector", recipe.name),
        ("trained on", recipe.trained_on),
        ("paper", recipe.paper),
        ("licence of the weights", recipe.weights.licence),
        ("note", recipe.note),
    ]
    return [(name, text) for name, text in rows if text]


def _table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    lines = [_table_row(head, "th")] if head else []
    lines += [_table_row(row, "td") for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _table_row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _scale(score: float, calibration: Calibration | None) -> str:
    """Draw the score among those of the validation videos, one line each, and the thresholds."""
    if calibration is None:
        return ""
    shapes = []
    for name, y in (("real", 16), ("fake", 40)):
        shapes.append(f'<text x="0" y="{y + 12}">{name}s</text>')
        style = f'stroke="{CLASS_COLOURS[name]}" stroke-width="2" stroke-opacity=".6"'
        shapes += [_vertical(value, y, y + 16, style) for value in calibration["scores"][name]]
    for name, point in calibration["points"].items():
        style = 'stroke="#888" stroke-dasharray="3 3"'
        shapes.append(_vertical(point["threshold"], 10, 62, style, name))
    x = f"{_x(score):.1f}"
    shapes += [
        f'<path d="M{x} 60 l-7 14 h14 z" fill="#222"/>',
        f'<text x="{x}" y="88" text-anchor="middle">this video {score:.2f}</text>',
    ]
    for tick in (0, 1):
        shapes.append(f'<text x="{_x(tick):.1f}" y="88" text-anchor="middle">{tick}</text>')
    return (
        "<h2>Beside the held-out validation videos</h2>"
        + _svg(94, shapes)
        + '<p class="small">Each line is a validation video; dashed: the thresholds of the table '
        "below.</p>"
    )


def _vertical(score: float, top: int, bottom: int, style: str, title: str = "") -> str:
    """Draw a vertical line at a score."""
    x = f"{_x(score):.1f}"
    content = f"<title>{escape(title)}</title>" if title else ""
    return f'<line x1="{x}" x2="{x}" y1="{top}" y2="{bottom}" {style}>{content}</line>'


def _svg(height: int, shapes: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="100%" role="img" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(shapes)}</svg>'
    )


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - 14)


def _y(score: float) -> float:
    return TOP + (1 - score) * (HEIGHT - TOP - 30)


def _over_time(scored: Scored, calibration: Calibration | None) -> str:
    """Draw the score of each face over time, one curve per track, the longest ``SHOWN_TRACKS``."""
    times = [_time(crop) for crop in scored.crops]
    begin = min(times)
    end = max(times)
    shapes = [_level(score) for score in (0, 0.25, 0.5, 0.75, 1)]
    if calibration:
        threshold = calibration["points"]["balanced"]["threshold"]
        shapes.append(_horizontal(threshold, 'stroke="#888" stroke-dasharray="3 3"'))
    for colour, track in zip(COLOURS, scored.tracks, strict=False):
        crops = [crop for crop in scored.crops if crop["track"] == track["track"]]
        points = [(_share(_time(crop), begin, end), crop["p_fake"]) for crop in crops]
        shapes.append(_curve(_highest(points), colour))
    unit = "s" if scored.crops[0]["seconds"] is not None else ""
    y = HEIGHT - 8
    shapes += [
        f'<text x="{_x(0)}" y="{y}">{begin:g} {unit}</text>',
        f'<text x="{_x(1)}" y="{y}" text-anchor="end">{end:g} {unit}</text>',
    ]
    more = len(scored.tracks) - SHOWN_TRACKS
    rest = f" {more} shorter tracks are in the JSON file only." if more > 0 else ""
    return (
        "<h2>Score of each face over time</h2>"
        + _svg(HEIGHT, shapes)
        + '<p class="small">0: like the training reals, 1: like the training fakes; dashed: '
        f"balanced threshold. The colours are those of the tracks below.{rest}</p>"
    )


def _level(score: float) -> str:
    """Draw a horizontal grid line with its score at the left."""
    label = f'<text x="{_x(0) - 8}" y="{_y(score) + 4:.1f}" text-anchor="end">{score:g}</text>'
    return _horizontal(score, 'stroke="#ddd"') + label


def _horizontal(score: float, style: str) -> str:
    y = f"{_y(score):.1f}"
    return f'<line x1="{_x(0)}" x2="{_x(1)}" y1="{y}" y2="{y}" {style}/>'


def _share(time: float, begin: float, end: float) -> float:
    """Return how far ``time`` is between begin and end, in [0, 1]; 0.5 if they are the same."""
    return (time - begin) / max(end - begin, 1e-9) if end > begin else 0.5


def _time(crop: Mapping[str, Any]) -> float:
    return crop["frame"] if crop["seconds"] is None else crop["seconds"]


def _highest(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Thin to at most ``POINTS`` points: the highest of each group of neighbours is kept."""
    step = -(-len(points) // POINTS)
    groups = [points[start : start + step] for start in range(0, len(points), step)]
    return [max(group, key=lambda point: point[1]) for group in groups]


def _curve(points: list[tuple[float, float]], colour: str) -> str:
    xs = [f"{_x(x):.1f}" for x, _ in points]
    ys = [f"{_y(y):.1f}" for _, y in points]
    line = " ".join(f"{x},{y}" for x, y in zip(xs, ys, strict=True))
    dots = [
        f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in zip(xs, ys, strict=True)
    ]
    style = f'fill="none" stroke="{colour}" stroke-width="2"'
    return f'<polyline points="{line}" {style}/>{"".join(dots)}'


def _people(scored: Scored, model: Model) -> str:
    """Show a thumbnail of each shown track with the detected box, and its mean score."""
    figures = []
    for colour, track in zip(COLOURS, scored.tracks, strict=False):
        portrait = scored.portraits.get(track["track"])
        if portrait and isinstance(model.crops, RecipeCrops):
            picture = portrait.image
        elif portrait:
            picture = _with_box(portrait.image, colour, model.crops.margin)
        else:
            picture = np.full((224, 224, 3), 238, np.uint8)
        when = "" if track["first"] is None else f", {track['first']:g}–{track['last']:g} s"
        caption = f"track {track['track']}: {track['p_fake']:.3f}<br>{track['faces']} face(s){when}"
        figures.append(_figure(_thumbnail(picture), caption))
    return (
        "<h2>People</h2>"
        + "".join(figures)
        + '<p class="small">A track joins faces whose boxes overlap from one sampled frame to the '
        "next; a cut begins new tracks. The picture is the crop that the network got, a box in it "
        "the face detector's.</p>"
    )


def _with_box(crop: np.ndarray, colour: str, margin: float) -> np.ndarray:
    """Draw the face box into a copy of a crop, which is the box enlarged about its centre."""
    left, top, right, bottom = inner_box(crop.shape[0], margin).round().astype(int).tolist()
    rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return cv2.rectangle(crop.copy(), (left, top), (right, bottom), rgb, 3)


def _figure(image: np.ndarray, caption: str) -> str:
    """Embed a picture; ``caption`` is HTML of numbers only, so it is not escaped."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, 85))
    data = base64.b64encode(jpeg.tobytes()).decode()
    return (
        f'<figure><img alt="face" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _thumbnail(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)


def _moments(scored: Scored, model: Model) -> str:
    """Show the faces of highest score, each with its heat map."""
    figures = []
    for crop, image, heat in scored.moments:
        when = f"frame {crop['frame']}" if crop["seconds"] is None else f"{crop['seconds']:g} s"
        pictures = [_thumbnail(image)]
        if heat.size:
            pictures.append(_thumbnail(overlay(image, heat)))
        caption = f"{when}, track {crop['track']}: {crop['p_fake']:.3f}"
        figures.append(_figure(np.concatenate(pictures, axis=1), caption))
    explained = ""
    if model.detector and any(heat.size for *_, heat in scored.moments):
        explained = f"Right of each face: {method(model.detector)}. "
    return (
        f"<h2>Highest faces</h2>{''.join(figures)}"
        f'<p class="small">{explained}These faces have the '
        f"highest scores of this video, whatever its own score is; at most {MOMENTS_PER_TRACK} per "
        "track.</p>"
    )


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blend a crop uint8 ``[H, W, 3]`` with its heat map ``[H, W]`` in [0, 1]."""
    colours = 255 * _HEAT(heat)[..., :3]
    return (0.5 * image + 0.5 * colours).astype(np.uint8)


def _left_out(scored: Scored) -> str:
    records = [record for record in scored.skipped if record["reason"] != NOTE]
    if not records:
        return "<h2>Left out</h2><p>Nothing: every sampled frame gave a face.</p>"
    rows = [(record["reason"].replace("_", " "), record["detail"]) for record in records]
    return "<h2>Left out</h2>" + _table(rows)


def _error_rates(calibration: Calibration | None) -> str:
    """Tabulate the measured error rates and say what they were measured on."""
    title = "<h2>What the score is worth</h2>"
    if calibration is None:
        return f"{title}<p>No error rates are stored with this model.</p>"
    head = ("operating point", "threshold", "false alarms among reals", "fakes found")
    rows = []
    for name, point in calibration["points"].items():
        false_alarms = format_share(point["false_alarms"])
        found = format_share(point["found"])
        rows.append((name, f"{point['threshold']:.3f}", false_alarms, found))
    return f"{title}{_table(rows, head)}<p>{escape(measured_on(calibration))}</p>"


def _links(links: Mapping[str, str]) -> str:
    anchors = [f'<a href="{escape(file)}">{escape(label)}</a>' for label, file in links.items()]
    return f"<p>{' · '.join(anchors)}</p>"
