"""Tracks: people who stay apart keep their number, cuts start new ones, lost faces may return."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_repro.faces.tracks import Tracker, appearance


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


def face(skin: tuple[int, int, int], hair: tuple[int, int, int], shift: int = 0) -> np.ndarray:
    """A crop with hair above a face, a little lower by ``shift`` pixels."""
    crop = np.full((224, 224, 3), skin, np.uint8)
    crop[: 90 + shift] = hair
    return crop


PALE = (225, 190, 170)
DARK = (120, 75, 55)
BLOND = (200, 170, 100)
BLACK = (30, 25, 25)


def test_another_person_cut_in_at_the_same_place_is_a_new_track() -> None:
    tracker = Tracker()
    one, other = appearance(face(PALE, BLOND)), appearance(face(DARK, BLACK))
    assert [tracker.add(number, boxes(box(0)), [one]) for number in range(3)] == [[0]] * 3
    assert tracker.add(3, boxes(box(2)), [other]) == [1]
    assert tracker.add(4, boxes(box(0)), [one]) == [0], "back within the gap"


def test_one_person_in_other_light_and_pose_keeps_the_track() -> None:
    tracker = Tracker()
    bright, nodding = face(PALE, BLOND), face(PALE, BLOND, shift=20)
    dim = (bright * 0.8).astype(np.uint8)
    looks = [appearance(crop) for crop in (bright, nodding, bright)]
    assert [tracker.add(number, boxes(box(0)), [look]) for number, look in enumerate(looks)] == [
        [0]
    ] * 3
    grey = [
        appearance(crop.mean(axis=2, keepdims=True).repeat(3, 2).astype(np.uint8))
        for crop in (bright, dim)
    ]
    assert np.array_equal(*grey), "in black and white there are no colours to compare"


def test_appearance_is_the_share_of_each_colour() -> None:
    """Of a face of two colours, in shares of the part within the margin: rows 25 to 199."""
    look = appearance(face(PALE, BLACK))
    assert look.sum() == np.float32(1)
    shares = sorted(look[look > 0].tolist())
    assert np.allclose(shares, [(90 - 25) / 174, 1 - (90 - 25) / 174])
