"""The page of a video: self-contained, its name and content escaped, quiet in a browser."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from deepfake_repro.scoring.calibration import verdict
from deepfake_repro.scoring.model import Model, read_model
from deepfake_repro.scoring.page import file_page, iframe, video_page
from deepfake_repro.scoring.pages.drawings import COLOURS, POINTS, highest_points
from deepfake_repro.scoring.pages.pictures import with_box
from deepfake_repro.scoring.pages.templates import STYLE
from deepfake_repro.scoring.results import FileResults, Result
from deepfake_repro.scoring.score import Moment, Portrait, Scored
from support import scoring_model
from support.browser import (
    Seen,
    keep_screenshot,
    needs_browser,
    new_page,
    take_picture,
    watch_offline,
)

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
    assert all(
        re.match(r"data:(image/(jpeg|svg\+xml);base64,|,)|a\"b<c>\.md$", target)
        for target in outside
    )
    assert "&lt;script&gt;alert(1)" in page and "default-src 'none'" in page
    assert STYLE in page


def test_a_thinned_curve_keeps_its_highest_points(model: Model) -> None:
    points = [(i / 899, 0.9 if i == 777 else 0.1) for i in range(900)]
    kept = highest_points(points)
    assert len(kept) <= POINTS and (777 / 899, 0.9) in kept
    assert highest_points(points[:5]) == points[:5]


def test_tracks_that_are_not_drawn_are_counted(model: Model) -> None:
    page = video_page(scored_video(model, tracks=11, frames=3), model)
    assert "3 shorter tracks are in the JSON file only" in page
    (curves,) = [
        picture["src"]
        for tag, picture in Tags(page).tags
        if tag == "img" and picture["alt"].startswith("Score of each face")
    ]
    drawing = base64.b64decode(curves.partition(",")[2]).decode()
    drawn = {colour for colour in COLOURS if f"stroke: {colour}" in drawing}
    assert drawn == set(COLOURS) and len(COLOURS) == 8


def test_a_video_without_a_score_and_a_model_without_calibration(model: Model) -> None:
    failed = Scored(
        EVIL, skipped=[{"reason": "empty", "detail": "nothing"}], verdict="No score: empty"
    )
    page = video_page(failed, model)
    assert "No score: empty" in page and "svg+xml" not in page and Tags(page).open == []
    bare = Model(model.detector, model.manifest, model.folder, model.digest)
    page = video_page(scored_video(model), bare)
    assert "No error rates are stored with this model" in page
    assert "calibrated" in page  # the probability in the made-up record


def test_two_detectors_have_a_section_each_below_their_agreement(model: Model) -> None:
    """Same file, one calibrated detector and one without error rates, whose name is hostile."""
    bare = replace(
        model,
        calibration=None,
        described=replace(model.recipe, name="<script>alert(1)</script>"),
    )
    first = scored_video(model)
    second = replace(scored_video(model), no_verdict="no error rates are stored", p_fake=0.77)
    page = file_page(FileResults([Result(first, model), Result(second, bare)]))
    tags = Tags(page)
    assert tags.open == [] and "script" not in {tag for tag, _ in tags.tags}
    assert [tag for tag, _ in tags.tags].count("section") == 2
    agreement = page.index("Only one detector gives a verdict.")
    assert agreement < page.index("<section") and "1 of 2 detectors give no verdict." in page
    assert page.index("0.770") < page.index("<section")
    assert "no verdict: no error rates are stored" in page


def test_the_box_is_drawn_where_the_margin_ends() -> None:
    drawn = with_box(np.zeros((224, 224, 3), np.uint8), "#ff0000", 0.3)
    rows, columns = np.nonzero(drawn[..., 0])
    edge = 224 * (1 - 1 / 1.3) / 2
    gaps = np.array([rows.min(), columns.min(), 224 - rows.max(), 224 - columns.max()])
    assert np.abs(gaps - edge).max() < 3


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_framed_page_is_in_a_picture_of_the_whole_notebook_and_runs_no_script(
    tmp_path: Path, scheme: str
) -> None:
    """Below the window, on a dark page; the frame is white where its own page paints nothing."""
    inside = (
        "<script>parent.document.title = 'ran'</script><img src=x onerror='alert(1)'>"
        "<div style='height: 100px; background: #00aa00'></div>"
    )
    notebook = tmp_path / "notebook.html"
    notebook.write_text(
        "<title>notebook</title><style>:root { color-scheme: light dark }</style>"
        f"<div style='height: 2000px'></div>{iframe(inside, 300)}"
    )
    with new_page(tmp_path, color_scheme=scheme, viewport={"width": 400, "height": 600}) as page:
        page.goto(notebook.as_uri())
        box = page.locator("iframe").bounding_box()
        picture = take_picture(page, full_page=True)
        assert page.title() == "notebook"
    column = int(box["x"]) + 100
    assert picture.getpixel((column, int(box["y"]) + 60)) == (0, 170, 0)
    assert picture.getpixel((column, int(box["y"]) + 250)) == (255, 255, 255)


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
