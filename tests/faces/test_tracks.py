"""Tracks: people who stay apart keep their number, cuts start new ones, lost faces may return."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_repro.faces.tracks import Tracker


def box(x: float, y: float = 0, side: float = 100) -> list[float]:
    return [x, y, x + side, y + side]


def boxes(*corners: list[float]) -> np.ndarray:
    return np.array(corners, np.float32).reshape(-1, 4)


@settings(max_examples=60, deadline=None)
@given(people=st.integers(1, 5), frames=st.integers(1, 12), seed=st.integers(0, 2**16))
def test_people_who_stay_apart_keep_their_number_in_any_order(
    people: int, frames: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    tracker = Tracker()
    x = np.arange(people) * 400.0
    number: dict[int, int] = {}
    for frame in range(frames):
        x += rng.uniform(-30, 30, people)
        order = rng.permutation(people)
        tracks = tracker.add(frame, boxes(*(box(x[person]) for person in order)))
        for person, track in zip(order, tracks, strict=True):
            assert number.setdefault(int(person), track) == track
    assert sorted(number.values()) == list(range(people)) and tracker.count == people


def test_the_largest_overlap_wins_whatever_the_order_of_the_faces() -> None:
    tracker = Tracker()
    assert tracker.add(0, boxes(box(0), box(60))) == [0, 1]
    assert tracker.add(1, boxes(box(50), box(10))) == [1, 0]  # both overlap with both


def test_a_cut_starts_new_tracks() -> None:
    tracker = Tracker()
    tracker.add(0, boxes(box(0)))
    assert tracker.add(1, boxes(box(85))) == [1]  # IoU 15 / 185


def test_a_face_may_be_lost_for_two_frames_and_no_more() -> None:
    for missing, track in ((2, 0), (3, 1)):
        tracker = Tracker()
        tracker.add(0, boxes(box(0)))
        for frame in range(1, 1 + missing):
            assert tracker.add(frame, boxes()) == []
        assert tracker.add(1 + missing, boxes(box(0))) == [track]


def test_one_track_never_has_two_faces_of_a_frame() -> None:
    tracker = Tracker()
    tracker.add(0, boxes(box(0)))
    assert tracker.add(1, boxes(box(5), box(0))) == [1, 0]
