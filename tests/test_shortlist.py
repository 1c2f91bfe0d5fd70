"""Faces that compete for the scorer."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from streamgate.prospects import Prospects, promise
from streamgate.shortlist import Shortlist
from streamgate.values import SkipReason, Standing
from tests.builders import candidate, measures, scored

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


@given(st.lists(st.floats(0, 100), min_size=1, max_size=80), st.floats(0.05, 0.95))
def test_no_more_is_scored_than_the_budget_allows(qualities: list[float], share: float) -> None:
    """One face and the share of a track, however its qualities run; its end included."""
    shortlist, best, taken = Shortlist(64, share=share), 0.0, 0
    shortlist._standing = lambda _track: Standing(best, math.inf)
    for number, _ in enumerate(qualities):
        shortlist.offer(candidate(1, number / 25))
        if number == len(qualities) - 1:
            shortlist.end(1)
        while batch := shortlist.take(8, number / 25):
            for found in batch:
                taken += 1
                place = round(found.captured_at * 25)
                best = max(best, qualities[place])
                shortlist.learn(scored(1, found.captured_at, qualities[place]))
    assert 1 <= taken <= 1 + share * len(qualities) + 1e-6


def test_faces_of_a_released_track_are_not_scored() -> None:
    """Nothing of it can go any more: those that waited are given up with the new one."""
    standing = Standing(0.0, math.inf)
    shortlist = Shortlist(8, share=0.3, standing=lambda _track: standing)
    for number in range(3):
        assert not shortlist.offer(candidate(1, number / 25))
    standing = Standing(math.inf, math.inf)
    lost = shortlist.offer(candidate(1, 0.2))
    assert [skipped.reason for skipped in lost] == [SkipReason.CANNOT_WIN] * 4
    assert not shortlist.take(8, 0.2)


def test_the_track_that_is_decided_first_is_served_first() -> None:
    """Earliest deadline first, before any gain."""
    deadlines = {1: math.inf, 2: 5.2, 3: 5.1}
    shortlist = Shortlist(8, share=0.3, standing=lambda track: Standing(0.0, deadlines[track]))
    for track in deadlines:
        shortlist.offer(candidate(track, 5.0))
    assert [found.track_id for found in shortlist.take(8, 5.0)] == [3, 2, 1]


def test_a_track_saves_for_its_end() -> None:
    """A score that no face was worth is spent when the track is about to be decided."""
    deadline = 100.0
    shortlist = Shortlist(8, share=0.4, standing=lambda _track: Standing(60.0, deadline))
    shortlist.offer(candidate(1, 0.0))
    shortlist.learn(scored(1, shortlist.take(1, 0.0)[0].captured_at, 45.0))
    for number in range(1, 4):
        shortlist.offer(candidate(1, number / 25))
    assert not shortlist.take(1, 3 / 25)
    deadline = 0.2
    assert shortlist.take(1, 3 / 25)


def test_a_busy_scorer_and_a_small_budget_are_told_apart() -> None:
    """Only faces that would have been scored, had there been time, count as load that was shed."""
    busy, poor = Shortlist(64), Shortlist(64, share=0.01)
    poor.offer(candidate(1, 0.0))
    poor.learn(scored(1, poor.take(1, 0.0)[0].captured_at, 10.0))
    reasons = {
        name: {
            lost.reason for i in range(1, 60) for lost in shortlist.offer(candidate(1, float(i)))
        }
        for name, shortlist in (("busy", busy), ("poor", poor))
    }
    assert reasons["busy"] == {SkipReason.MORE_PROMISING_FACE}
    assert reasons["poor"] == {SkipReason.OVER_BUDGET}


def test_a_face_between_good_ones_is_expected_to_be_good() -> None:
    """More is expected beside a good face than beside a poor one, and of the better measures."""
    prospects = Prospects()
    for at, quality in ((0.0, 20.0), (1.0, 22.0), (2.0, 70.0), (3.0, 25.0)):
        prospects.learn(at, quality, 5.0)
    gain = prospects.expected_gain
    assert gain(2.05, 5.0, 70.0) > gain(1.05, 5.0, 70.0)
    assert gain(2.05, 6.0, 70.0) > gain(2.05, 5.0, 70.0)
    assert gain(2.05, 5.0, 60.0) > gain(2.05, 5.0, 70.0)
    assert gain(2.05, 5.0, math.inf) == 0


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 100)), max_size=200))
def test_expectations_are_numbers_whatever_was_seen(faces: list[tuple[float, float]]) -> None:
    """Equal times, equal qualities and long tracks included."""
    prospects = Prospects()
    for at, quality in faces:
        prospects.learn(at, quality, 3.0)
    for at in (0.0, 30.0, 60.0):
        gain = prospects.expected_gain(at, 3.0, 50.0)
        assert gain >= 0
        assert math.isfinite(gain)
