"""One HTML file per scored video that needs nothing else: no script, no network, every picture inside.

Whatever comes from the video or its name is escaped, and a content policy forbids the browser to
load or run anything.
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
from ..report.html import page
from .calibration import Calibration, measured_on, rate
from .model import Model
from .saliency import method
from .score import OF_ONE, Scored

COLOURS = ("#0173b2", "#de8f05", "#029e73", "#cc78bc", "#ca9161", "#949494", "#56b4e9", "#222222")
REAL, FAKE = COLOURS[:2]
SHOWN_TRACKS, POINTS = len(COLOURS), 400
WIDTH, HEIGHT, LEFT, TOP = 860, 240, 44, 14
THUMBNAIL = 130
_HEAT = matplotlib.colormaps["inferno"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 900px; margin: 1.5em auto; padding: 0 1em; }
h1 { font-size: 1.3em; overflow-wrap: anywhere; } h2 { font-size: 1.05em; margin: 1.6em 0 .4em; }
.verdict { border-left: 6px solid #555; background: #f4f4f4; padding: .7em 1em; font-size: 1.1em; }
.warning { border-left: 6px solid #de8f05; background: #fff7e6; padding: .4em 1em; margin: .4em 0; }
table { border-collapse: collapse; } td, th { padding: .2em .8em .2em 0; text-align: left; vertical-align: top; }
figure { display: inline-block; margin: .3em .8em .3em 0; vertical-align: top; } figcaption, .small { font-size: .85em;
color: #555; } svg text { font: 12px system-ui, sans-serif; fill: #555; } td { overflow-wrap: anywhere; }
"""


def html(scored: Scored, known: Model, links: Mapping[str, str] | None = None) -> str:
    """The report page of one video; ``links``: words -> file beside the report (model card, JSON)."""
    parts = [
        f"<h1>{escape(scored.name)}</h1>",
        f'<p class="verdict">{escape(scored.verdict)}</p>',
        *(f'<p class="warning">{escape(text)}</p>' for text in scored.warnings),
    ]
    if scored.p_fake is not None:
        parts += [
            _numbers(scored),
            _scale(scored.p_fake, known.calibration),
            _over_time(scored, known.calibration),
            _people(scored, known),
            _moments(scored, known),
            _worth(known),
        ]
    parts += [_left_out(scored), _list_of(links or {})]
    return page(scored.name, "\n".join(parts), _STYLE, _POLICY)


def embedded(whole: str, height: int = 900) -> str:
    """A page as a frame inside a notebook, its styles and its content policy its own; ``height`` in pixels."""
    return (
        f'<div><iframe srcdoc="{escape(whole)}" width="100%" height="{height}" sandbox="" '
        'style="border: 1px solid #ccc"></iframe></div>'
    )


def _numbers(scored: Scored) -> str:
    """The score and what stands beside it."""
    frames = len({crop["frame"] for crop in scored.crops})
    rows = [
        ("score of the video: mean over all faces (the paper's rule)", f"{scored.p_fake:.3f}"),
        ("highest mean of one person (track)", f"{scored.highest_track:.3f}"),
        (
            "faces scored",
            f"{len(scored.crops)} in {frames} sampled frames, {len(scored.tracks)} track(s)",
        ),
    ]
    if scored.probability is not None:
        rows.insert(
            1,
            (
                "calibrated probability of fake, if reals and fakes were equally frequent",
                f"{scored.probability:.2f}",
            ),
        )
    return _table(rows)


def _table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    cells = [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    titles = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>" if head else ""
    return f"<table>{titles}{''.join(cells)}</table>"


def _scale(score: float, calibration: Calibration | None) -> str:
    """The score among those of the validation videos, a line each, and the thresholds."""
    if calibration is None:
        return ""
    rows = []
    for y, word, colour in ((16, "real", REAL), (40, "fake", FAKE)):
        rows += [f'<text x="0" y="{y + 12}">{word}s</text>'] + [
            f'<line x1="{_x(s):.1f}" x2="{_x(s):.1f}" y1="{y}" y2="{y + 16}" stroke="{colour}" stroke-width="2" '
            'stroke-opacity=".6"/>'
            for s in calibration["scores"][word]
        ]
    rows += [
        f'<line x1="{_x(point["threshold"]):.1f}" x2="{_x(point["threshold"]):.1f}" y1="10" y2="62" stroke="#888" '
        f'stroke-dasharray="3 3"><title>{escape(name)}</title></line>'
        for name, point in calibration["points"].items()
    ]
    rows += [
        f'<path d="M{_x(score):.1f} 60 l-7 14 h14 z" fill="#222"/>',
        f'<text x="{_x(score):.1f}" y="88" text-anchor="middle">this video {score:.2f}</text>',
        *(f'<text x="{_x(tick):.1f}" y="88" text-anchor="middle">{tick}</text>' for tick in (0, 1)),
    ]
    return (
        "<h2>Beside the held-out validation videos</h2>"
        + _svg(94, rows)
        + '<p class="small">Each line is a validation video; dashed: the thresholds of the table below.</p>'
    )


def _svg(height: int, rows: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="100%" role="img" xmlns="http://www.w3.org/2000/svg">'
        f"{''.join(rows)}</svg>"
    )


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - 14)


def _y(score: float) -> float:
    return TOP + (1 - score) * (HEIGHT - TOP - 30)


def _over_time(scored: Scored, calibration: Calibration | None) -> str:
    """The score of each face over time, a curve per track, the longest ``SHOWN_TRACKS`` of them."""
    times = [_time(crop) for crop in scored.crops]
    begin, span = min(times), max(max(times) - min(times), 1e-9)
    rows = [
        f'<line x1="{_x(0)}" x2="{_x(1)}" y1="{_y(s):.1f}" y2="{_y(s):.1f}" stroke="#ddd"/><text x="{_x(0) - 8}" '
        f'y="{_y(s) + 4:.1f}" text-anchor="end">{s:g}</text>'
        for s in (0, 0.25, 0.5, 0.75, 1)
    ]
    if calibration:
        cut = _y(calibration["points"]["balanced"]["threshold"])
        rows.append(
            f'<line x1="{_x(0)}" x2="{_x(1)}" y1="{cut:.1f}" y2="{cut:.1f}" stroke="#888" '
            'stroke-dasharray="3 3"/>'
        )
    for colour, track in zip(COLOURS, scored.tracks, strict=False):
        points = [
            ((_time(crop) - begin) / span if max(times) > begin else 0.5, crop["p_fake"])
            for crop in scored.crops
            if crop["track"] == track["track"]
        ]
        rows.append(_curve(_highest(points), colour))
    unit = "s" if scored.crops[0]["seconds"] is not None else ""
    rows += [
        f'<text x="{_x(0)}" y="{HEIGHT - 8}">{begin:g} {unit}</text>',
        f'<text x="{_x(1)}" y="{HEIGHT - 8}" text-anchor="end">{max(times):g} {unit}</text>',
    ]
    more = len(scored.tracks) - SHOWN_TRACKS
    return (
        "<h2>Score of each face over time</h2>"
        + _svg(HEIGHT, rows)
        + '<p class="small">0: like the training reals, '
        "1: like the training fakes; dashed: balanced threshold. The colours are those of the tracks below."
        + (f" {more} shorter tracks are in the JSON file only." if more > 0 else "")
        + "</p>"
    )


def _time(crop: Mapping[str, Any]) -> float:
    return crop["frame"] if crop["seconds"] is None else crop["seconds"]


def _highest(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``POINTS`` points: of neighbours the highest, so that no suspicious moment is lost."""
    step = -(-len(points) // POINTS)
    return [
        max(points[i : i + step], key=lambda point: point[1]) for i in range(0, len(points), step)
    ]


def _curve(points: list[tuple[float, float]], colour: str) -> str:
    places = [f"{_x(x):.1f},{_y(y):.1f}" for x, y in points]
    dots = "".join(
        '<circle cx="{}" cy="{}" r="3" fill="{}"/>'.format(*place.split(","), colour)
        for place in places
    )
    return f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'


def _people(scored: Scored, known: Model) -> str:
    """A thumbnail of each shown track with the detected box, and its mean."""
    figures = []
    for colour, track in zip(COLOURS, scored.tracks, strict=False):
        portrait = scored.portraits.get(track["track"])
        when = "" if track["first"] is None else f", {track['first']:g}–{track['last']:g} s"
        words = f"track {track['track']}: {track['p_fake']:.3f}<br>{track['faces']} face(s){when}"
        picture = (
            _boxed(portrait[1], colour, known.crops.margin)
            if portrait
            else np.full((224, 224, 3), 238, np.uint8)
        )
        figures.append(_figure(_small(picture), words))
    return (
        "<h2>People</h2>"
        + "".join(figures)
        + '<p class="small">Tracks join faces whose boxes overlap from one '
        "sampled frame to the next; a cut begins new ones. The box is the detector's, the picture what the network "
        "saw.</p>"
    )


def _boxed(crop: np.ndarray, colour: str, margin: float) -> np.ndarray:
    """A copy of a crop with the face box drawn in: the crop is the box enlarged about its centre."""
    left, top, right, bottom = inner_box(crop.shape[0], margin).round().astype(int).tolist()
    rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return cv2.rectangle(crop.copy(), (left, top), (right, bottom), rgb, 3)


def _figure(image: np.ndarray, words: str) -> str:
    """A picture inside the page; ``words`` are HTML made here of numbers only."""
    data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 85)
    )[1]
    return (
        f'<figure><img alt="face" src="data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def _small(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)


def _moments(scored: Scored, known: Model) -> str:
    """The highest faces, each with its heat map beside it."""
    figures = []
    for crop, image, heat in scored.moments:
        when = f"frame {crop['frame']}" if crop["seconds"] is None else f"{crop['seconds']:g} s"
        both = np.concatenate([_small(image), _small(overlay(image, heat))], axis=1)
        figures.append(_figure(both, f"{when}, track {crop['track']}: {crop['p_fake']:.3f}"))
    return (
        f"<h2>Highest faces</h2>{''.join(figures)}"
        f'<p class="small">Right of each face: {method(known.detector)}. They are the highest of this '
        f"video, at most {OF_ONE} of a track, whatever its score.</p>"
    )


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A crop uint8 ``[H, W, 3]`` under its heat map ``[H, W]`` in [0, 1]."""
    colours = 255 * _HEAT(heat)[..., :3]
    return (0.5 * image + 0.5 * colours).astype(np.uint8)


def _left_out(scored: Scored) -> str:
    if not scored.skipped:
        return "<h2>Left out</h2><p>Nothing: every sampled frame gave a face.</p>"
    return "<h2>Left out</h2>" + _table(
        [(one["reason"].replace("_", " "), one["detail"]) for one in scored.skipped]
    )


def _worth(known: Model) -> str:
    """Which error rates were measured, and on what."""
    if known.calibration is None:
        return "<h2>What the score is worth</h2><p>No error rates are stored with this model.</p>"
    rows = [
        (name, f"{point['threshold']:.3f}", rate(point["false_alarms"]), rate(point["found"]))
        for name, point in known.calibration["points"].items()
    ]
    head = ("operating point", "threshold", "false alarms among reals", "fakes found")
    return f"<h2>What the score is worth</h2>{_table(rows, head)}<p>{escape(measured_on(known.calibration))}</p>"


def _list_of(links: Mapping[str, str]) -> str:
    return (
        "<p>"
        + " · ".join(
            f'<a href="{escape(file)}">{escape(words)}</a>' for words, file in links.items()
        )
        + "</p>"
    )
