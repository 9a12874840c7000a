"""The page of a video: self-contained, its name and content escaped, quiet in a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from deepfake_repro.scoring import page as page_module
from deepfake_repro.scoring.calibration import verdict
from deepfake_repro.scoring.model import Model, read_model
from deepfake_repro.scoring.page import POINTS, video_page
from deepfake_repro.scoring.score import Moment, Portrait, Scored
from support import scoring_model
from support.browser import Seen, keep_screenshot, needs_browser, new_page, watch_offline

EVIL = Path("x<script>alert(1) \"'onload=alert(1) <img src=x.png>.mp4")


class Tags(HTMLParser):
    """Collect all tags of a page with their attributes; check that every open tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open += [tag] if tag not in ("meta", "link", "img", "br") else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return read_model(scoring_model.make(tmp_path_factory.mktemp("weights") / "tiny-0"))


def scored_video(model: Model, tracks: int = 2, frames: int = 900) -> Scored:
    """Make up a video of many frames and tracks; frame 777 alone has a high score."""
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
    summaries = [
        {"track": track, "faces": frames, "first": 0.0, "last": frames - 1.0, "p_fake": 0.1}
        for track in range(tracks)
    ]
    heat = np.random.default_rng(1).random((224, 224))
    return Scored(
        EVIL,
        p_fake=0.12,
        probability=0.3,
        highest_track=0.14,
        verdict=verdict(0.12, model.calibration),
        tracks=summaries,
        crops=crops,
        skipped=[{"reason": "broken_off", "detail": "<b>bold</b>"}],
        warnings=["<i>careful</i>"],
        moments=[Moment(crops[0], image, heat)],
        portraits={0: Portrait(0.9, image)},
    )


def test_names_and_messages_are_escaped(model: Model) -> None:
    page = video_page(scored_video(model), model, {"card": 'a"b<c>.md'})
    tags = Tags(page)
    assert tags.open == []
    assert not {tag for tag, _ in tags.tags} & {"script", "b", "i", "iframe", "object", "form"}
    assert not [key for _, attributes in tags.tags for key in attributes if key.startswith("on")]
    outside = [
        attributes[key]
        for _, attributes in tags.tags
        for key in ("src", "href")
        if key in attributes
    ]
    assert all(re.match(r"data:(image/jpeg;base64,|,)|a\"b<c>\.md$", target) for target in outside)
    assert "&lt;script&gt;alert(1)" in page and "default-src 'none'" in page
    assert page_module._STYLE in page


def test_a_thinned_curve_keeps_its_highest_points(model: Model) -> None:
    points = [(i / 899, 0.9 if i == 777 else 0.1) for i in range(900)]
    kept = page_module._highest(points)
    assert len(kept) <= POINTS and (777 / 899, 0.9) in kept
    assert page_module._highest(points[:5]) == points[:5]


def test_tracks_that_are_not_drawn_are_counted(model: Model) -> None:
    page = video_page(scored_video(model, tracks=11, frames=3), model)
    assert "3 shorter tracks are in the JSON file only" in page and page.count("<polyline") == 8


def test_a_video_without_a_score_and_a_model_without_calibration(model: Model) -> None:
    failed = Scored(
        EVIL, skipped=[{"reason": "empty", "detail": "nothing"}], verdict="No score: empty"
    )
    page = video_page(failed, model)
    assert "No score: empty" in page and "<svg" not in page and Tags(page).open == []
    bare = Model(model.detector, model.manifest, model.folder, model.digest)
    page = video_page(scored_video(model), bare)
    assert "No error rates are stored with this model" in page
    assert "calibrated" in page  # the probability in the made-up record


def test_the_box_is_drawn_where_the_margin_ends() -> None:
    drawn = page_module._with_box(np.zeros((224, 224, 3), np.uint8), "#ff0000", 0.3)
    rows, columns = np.nonzero(drawn[..., 0])
    edge = 224 * (1 - 1 / 1.3) / 2
    gaps = np.array([rows.min(), columns.min(), 224 - rows.max(), 224 - columns.max()])
    assert np.abs(gaps - edge).max() < 3


def browse(file: Path, name: str) -> Seen:
    """Open a page in a browser without a network; return its messages and requests."""
    with new_page(file.parent) as page:
        seen = watch_offline(page)
        page.on("dialog", lambda dialog: dialog.dismiss())
        page.goto(file.as_uri())
        keep_screenshot(page, name)
        assert page.locator("h1").is_visible()
    return seen


@needs_browser
def test_quiet_in_a_browser(model: Model, tmp_path: Path) -> None:
    quiet = video_page(scored_video(model), model)
    file = tmp_path / "page.html"
    file.write_text(quiet, encoding="utf-8")
    assert browse(file, "score-page") == Seen()
    picture = "http://127.0.0.1:9/x.png"
    loud = quiet.replace("<h1>", f'<script>alert(1)</script><img src="{picture}"><h1>')
    file.write_text(loud, encoding="utf-8")
    stopped = browse(file, "score-page-loud")
    assert len(stopped.messages) >= 2, "the console reports the blocked script and picture"
    assert stopped.requests == []
    lax = loud.replace("default-src 'none'", "default-src *").replace("img-src data:", "img-src *")
    file.write_text(lax, encoding="utf-8")
    assert picture in browse(file, "score-page-lax").requests, (
        "without the policy the request is made"
    )
