"""Videos that crash or hang their reader cost themselves only."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from deepfake_repro.crops import isolation
from deepfake_repro.crops.isolation import StoppedError, extractor
from deepfake_repro.crops.store import CropStore
from support.runs import ISOLATED, content, extraction_processes, run
from support.squares import (
    OPTIONS,
    Dropped,
    Squares,
    Trapped,
    Unmakeable,
    dropped_by_the_decoder,
    index_row,
    unimportable,
)

HERE = Path(__file__).parent


def test_a_video_that_crashes_or_hangs_costs_itself_only(trapped, tmp_path):
    records = []
    for name, workers in (("one", 1), ("two", 2)):
        skipped = run(
            trapped,
            tmp_path / name,
            detector_factory=Trapped,
            workers=workers,
            videos_per_part=3,
            options=replace(OPTIONS, video_timeout=2),
        )
        records.append(skipped.to_numpy().tolist())
    # The first group of eight frames is kept; the ninth is lost with its group.
    assert (
        records[0]
        == records[1]
        == [
            ["ffpp/v1-segfault", "crashed", "SIGSEGV after 8 sampled frames"],
            ["ffpp/v2-hang", "timeout", "no answer after 8 sampled frames"],
            [
                "ffpp/v3-raise",
                "crashed",
                "RuntimeError: a library's own error after 8 sampled frames",
            ],
        ]
    )
    assert content(tmp_path / "one") == content(tmp_path / "two")
    faces = CropStore(tmp_path / "one").table()["video_id"].value_counts().to_dict()
    assert faces == {
        "ffpp/v0": 3,
        "ffpp/v9": 3,
        **{f"ffpp/{name}": 8 for name in ("v1-segfault", "v2-hang", "v3-raise")},
    }


def test_crashed_videos_count_against_the_limit(trapped, tmp_path):
    root, index = trapped
    with pytest.raises(ValueError, match=r"1 of 1 videos .* first ffpp/v1-segfault \(crashed\)"):
        run(
            (root, index[index["path"].str.contains("segfault")]),
            tmp_path,
            detector_factory=Trapped,
            options=replace(ISOLATED, max_skipped=0.5),
        )


def test_a_video_left_halfway_does_not_disturb_the_next_one(trapped):
    extract = extractor(Squares, ISOLATED)
    abandoned = extract(index_row("v1-segfault.mp4"), trapped[0])
    next(abandoned)
    frames = extract(index_row("v0.mp4"), trapped[0])
    rows = [row for frame in frames for row in frame.rows]
    assert [(row["video_id"], row["frame"]) for row in rows] == [
        ("ffpp/v0", frame) for frame in range(3)
    ]
    extract.close()
    with pytest.raises(StoppedError):
        next(extract(index_row("v0.mp4"), trapped[0]))
    assert extraction_processes() == []


# Detector factory -> the library's message, the call, where it was raised.
DROPPED = {
    dropped_by_the_decoder: (
        r"TypeError: .*unexpected keyword argument 'metadata_errors'",
        r"decoding\.py:\d+: opened = av\.open\(.*metadata_errors=.*\)",
        "first raised at ffpp/v0",
    ),
    partial(Dropped, "argument"): (
        r"TypeError: .*'kind'.*",
        r"extraction\.py:\d+: .*detector\(.*",
        "first raised at ffpp/v0",
    ),
    partial(Dropped, "function"): (
        "AttributeError: module 'cv2' has no attribute 'resized'",
        ".*",
        ".* at ffpp/v0",
    ),
    partial(Dropped, "OpenCV's argument"): (
        r"error: .*'method' is an invalid keyword argument.*",
        ".*",
        ".* at ffpp/v0",
    ),
    partial(Dropped, "module"): (
        "ImportError: cannot import name 'resized' from 'cv2' .*",
        ".*",
        ".* at ffpp/v0",
    ),
    partial(Dropped, "nothing"): (
        "NotImplementedError: gone since version 19",
        ".*",
        ".* at ffpp/v0",
    ),
    Unmakeable: (
        r"TypeError: .*'kind'.*",
        r"isolation\.py:\d+: detector = factory\(\)",
        "raised when .* was made",
    ),
    unimportable: (
        "ImportError: cannot import name 'resized' from 'cv2' .*",
        ".*",
        "raised when .* was made",
    ),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "factory", DROPPED, ids=lambda factory: getattr(factory, "__name__", "") or factory.args[0]
)
def test_a_call_that_a_library_has_dropped_stops_the_run_with_its_message(
    trapped, tmp_path, factory, workers
):
    """It is not the video's fault: nothing is recorded, whatever ``max_skipped`` (here: all)."""
    root, index = trapped
    index = index[index["path"].isin(["v0.mp4", "v9.mp4"])]
    message, call, where = DROPPED[factory]
    pattern = rf"^{message} \(at {call}; {where}\): an error of the program "
    with pytest.raises(isolation.ProgramError, match=pattern) as raised:
        run(
            (root, index),
            tmp_path,
            detector_factory=factory,
            options=ISOLATED,
            workers=workers,
            videos_per_part=2,
        )
    assert "\n" not in str(raised.value) and "make environment" in str(raised.value)
    assert not list(tmp_path.iterdir()) and extraction_processes() == []


def missing_weights():
    raise FileNotFoundError("no weights here; run the assets stage first")


def test_a_detector_that_cannot_be_made_ends_the_run_with_its_own_message(corpus, tmp_path):
    for workers in (1, 2):
        with pytest.raises(
            FileNotFoundError, match=r"^no weights here; run the assets stage first$"
        ):
            run(
                corpus,
                tmp_path,
                detector_factory=missing_weights,
                options=ISOLATED,
                workers=workers,
            )
    assert not list(tmp_path.iterdir()) and extraction_processes() == []


def test_a_process_that_never_starts_is_an_error_not_a_skipped_video(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(isolation.sys, "executable", "false")
    with pytest.raises(RuntimeError, match=r"does not start \(exit code 1\)"):
        run(corpus, tmp_path, options=ISOLATED)


def test_an_unknown_kind_is_reported_before_anything_is_done(tmp_path):
    with pytest.raises(ValueError, match="ffpp/x: kind 'audio'"):
        run((tmp_path, pd.DataFrame([index_row("x.wav", "audio")])), tmp_path / "out")
    assert not (tmp_path / "out").exists()
