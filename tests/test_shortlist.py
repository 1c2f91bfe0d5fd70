"""Faces that compete for the scorer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamgate.prospects import promise
from streamgate.shortlist import Shortlist
from tests.builders import candidate, measures

offers = st.lists(st.tuples(st.integers(1, 6), st.floats(0.5, 1.0), st.booleans()), max_size=60)


@given(offers, st.integers(1, 8))
def test_nothing_is_lost_without_a_word(
    given_offers: list[tuple[int, float, bool]], places: int
) -> None:
    """Every face offered is taken, returned as lost, or still waits; never more than the places."""
    shortlist = Shortlist(places)
    lost = taken = 0
    for number, (track, score, take) in enumerate(given_offers):
        lost += len(shortlist.offer(candidate(track, float(number), detector_score=score)))
        assert len(shortlist) <= places
        if take:
            taken += len(shortlist.take(1, float(number)))
    assert lost + taken + len(shortlist) == len(given_offers)


def test_most_promising_face_of_a_track_goes_first() -> None:
    """Of the faces of one track the most promising is scored first, whichever came first."""
    shortlist = Shortlist(8)
    for at, eyes in ((0.0, 20.0), (1.0, 45.0), (2.0, 30.0)):
        shortlist.offer(candidate(1, at, eye_distance_px=eyes))
    assert [face.captured_at for face in shortlist.take(8, 2.0)] == [1.0, 2.0, 0.0]


def test_tracks_take_turns() -> None:
    """A track with many good faces does not keep a poorer one waiting."""
    shortlist = Shortlist(8)
    for track, score in ((1, 0.99), (1, 0.98), (2, 0.7)):
        shortlist.offer(candidate(track, detector_score=score))
    assert [face.track_id for face in shortlist.take(3, 0.0)] == [1, 2, 1]


def test_second_faces_give_way_first() -> None:
    """When places are short, a track's second face gives way before another track's only one."""
    shortlist = Shortlist(2)
    shortlist.offer(candidate(1, 0.0, detector_score=0.99))
    shortlist.offer(candidate(1, 1.0, detector_score=0.98))
    (lost,) = shortlist.offer(candidate(2, 2.0, detector_score=0.7))
    assert (lost.candidate.track_id, lost.candidate.captured_at) == (1, 1.0)


def test_promise_falls_with_every_fault() -> None:
    """Small, turned, soft, dark, bright and doubtful faces promise less than a good one."""
    best = promise(measures())
    faults = (
        {"eye_distance_px": 15.0}, {"yaw_deg": -40.0}, {"sharpness": 20.0},
        {"brightness": 40.0}, {"brightness": 220.0}, {"detector_score": 0.7},
    )  # fmt: skip
    assert all(promise(measures(**fault)) < best for fault in faults)
