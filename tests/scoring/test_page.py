"""The report of a video: everything in one file, nothing of the video's name or content alive in
it, no browser noise.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from deepfake_repro.scoring import page as one_page
from deepfake_repro.scoring.calibration import verdict
from deepfake_repro.scoring.model import Model, read_model
from deepfake_repro.scoring.page import POINTS
from deepfake_repro.scoring.score import Scored
from support import scoring_model
from support.browser import Seen, keep_screenshot, needs_browser, new_page, watch_offline

EVIL = Path("x<script>alert(1) \"'onload=alert(1) <img src=x.png>.mp4")


class Tags(HTMLParser):
    """All tags of a page with their attributes; every tag that is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.depth: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.depth += [tag] if tag not in ("meta", "link", "img", "br") else []

    def handle_endtag(self, tag: str) -> None:
        assert self.depth.pop() == tag


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return read_model(scoring_model.make(tmp_path_factory.mktemp("weights") / "tiny-0"))


def scored_video(known: Model, tracks: int = 2, frames: int = 900) -> Scored:
    """A made-up video of many frames and tracks, whose one high frame is 777."""
    image = np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8)
    crops = [
        {
            "frame": frame,
            "seconds": float(frame),
            "track": track,
            "distance": 1.0,
            "box": [0, 0, 90, 90],
            "size": [640, 480],
            "p_fake": 0.9 if frame == 777 else 0.1 + track / 50,
        }
        for frame in range(frames)
        for track in range(tracks)
    ]
    of = [
        {"track": t, "faces": frames, "first": 0.0, "last": frames - 1.0, "p_fake": 0.1}
        for t in range(tracks)
    ]
    return Scored(
        EVIL,
        0.12,
        0.3,
        0.14,
        verdict(0.12, known.calibration),
        of,
        crops,
        [{"reason": "broken_off", "detail": "<b>bold</b>"}],
        ["<i>careful</i>"],
        [(crops[0], image, np.random.default_rng(1).random((224, 224)))],
        {0: (0.9, image)},
    )


def test_nothing_of_a_name_or_message_is_alive(known: Model) -> None:
    page = one_page.html(scored_video(known), known, {"card": 'a"b<c>.md'})
    tags = Tags(page)
    assert tags.depth == [] and not {tag for tag, _ in tags.found} & {
        "script",
        "b",
        "i",
        "iframe",
        "object",
        "form",
    }
    assert not [key for _, attributes in tags.found for key in attributes if key.startswith("on")]
    outside = [
        attributes[key]
        for _, attributes in tags.found
        for key in ("src", "href")
        if key in attributes
    ]
    assert all(re.match(r"data:(image/jpeg;base64,|,)|a\"b<c>\.md$", target) for target in outside)
    assert "&lt;script&gt;alert(1)" in page and "default-src 'none'" in page
    assert one_page._STYLE in page


def test_the_curve_keeps_the_highest_of_its_neighbours(known: Model) -> None:
    points = [(i / 899, 0.9 if i == 777 else 0.1) for i in range(900)]
    kept = one_page._highest(points)
    assert len(kept) <= POINTS and (777 / 899, 0.9) in kept
    assert one_page._highest(points[:5]) == points[:5]


def test_more_tracks_than_colours_are_told(known: Model) -> None:
    page = one_page.html(scored_video(known, tracks=11, frames=3), known)
    assert "3 shorter tracks are in the JSON file only" in page and page.count("<polyline") == 8


def test_a_video_without_a_score_and_a_model_without_calibration(known: Model) -> None:
    failed = Scored(
        EVIL, skipped=[{"reason": "empty", "detail": "nothing"}], verdict="No score: empty"
    )
    page = one_page.html(failed, known)
    assert "No score: empty" in page and "<svg" not in page and Tags(page).depth == []
    bare = Model(known.detector, known.manifest, known.folder, known.digest)
    page = one_page.html(scored_video(known), bare)
    assert (
        "No error rates are stored with this model" in page and "calibrated" in page
    )  # of the made-up record itself


def test_the_box_is_drawn_where_the_margin_ends() -> None:
    drawn = one_page._boxed(np.zeros((224, 224, 3), np.uint8), "#ff0000", 0.3)
    rows, columns = np.nonzero(drawn[..., 0])
    edge = 224 * (1 - 1 / 1.3) / 2
    assert (
        np.abs(
            np.array([rows.min(), columns.min(), 224 - rows.max(), 224 - columns.max()]) - edge
        ).max()
        < 3
    )


def browse(file: Path, name: str) -> Seen:
    """What a page says in a browser without a network, and what it asks for."""
    with new_page(file.parent) as page:
        seen = watch_offline(page)
        page.on("dialog", lambda dialog: dialog.dismiss())
        page.goto(file.as_uri())
        keep_screenshot(page, name)
        assert page.locator("h1").is_visible()
    return seen


@needs_browser
def test_quiet_in_a_browser(known: Model, tmp_path: Path) -> None:
    quiet = one_page.html(scored_video(known), known)
    file = tmp_path / "page.html"
    file.write_text(quiet, encoding="utf-8")
    assert browse(file, "score-page") == Seen()
    picture = "http://127.0.0.1:9/x.png"
    loud = quiet.replace("<h1>", f'<script>alert(1)</script><img src="{picture}"><h1>')
    file.write_text(loud, encoding="utf-8")
    stopped = browse(file, "score-page-loud")
    assert len(stopped.messages) >= 2, (
        "the policy stops script and picture, and the console says so"
    )
    assert stopped.requests == []
    lax = loud.replace("default-src 'none'", "default-src *").replace("img-src data:", "img-src *")
    file.write_text(lax, encoding="utf-8")
    assert picture in browse(file, "score-page-lax").requests, "a request is seen"
