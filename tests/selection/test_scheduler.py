"""Faces that compete for the scorer."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from streamgate.selection.expected_improvement import ExpectedImprovement, prior_score
from streamgate.selection.scheduler import Scheduler
from streamgate.values import ReleaseTarget, SkipReason
from tests.builders import candidate, measures, scored

offers = st.lists(st.tuples(st.integers(1, 6), st.floats(0.5, 1.0), st.booleans()), max_size=60)


@given(offers, st.integers(1, 8))
def test_nothing_is_lost_without_a_word(
    given_offers: list[tuple[int, float, bool]], places: int
) -> None:
    """Every face offered is taken, returned as lost, or still waits; never more than the places."""
    scheduler = Scheduler(places)
    lost = taken = 0
    for number, (track, score, take) in enumerate(given_offers):
        lost += len(scheduler.offer(candidate(track, float(number), detector_score=score)))
        assert len(scheduler) <= places
        if take:
            taken += len(scheduler.take(1, float(number)))
    assert lost + taken + len(scheduler) == len(given_offers)


def test_most_promising_face_of_a_track_goes_first() -> None:
    """Of the faces of one track the most promising is scored first, whichever came first."""
    scheduler = Scheduler(8)
    for at, eyes in ((0.0, 20.0), (1.0, 45.0), (2.0, 30.0)):
        scheduler.offer(candidate(1, at, eye_distance_px=eyes))
    assert [face.captured_at for face in scheduler.take(8, 2.0)] == [1.0, 2.0, 0.0]


def test_tracks_take_turns() -> None:
    """A track with many good faces does not keep a poorer one waiting."""
    scheduler = Scheduler(8)
    for track, score in ((1, 0.99), (1, 0.98), (2, 0.7)):
        scheduler.offer(candidate(track, detector_score=score))
    assert [face.track_id for face in scheduler.take(3, 0.0)] == [1, 2, 1]


def test_second_faces_give_way_first() -> None:
    """When places are short, a track's second face gives way before another track's only one."""
    scheduler = Scheduler(2)
    scheduler.offer(candidate(1, 0.0, detector_score=0.99))
    scheduler.offer(candidate(1, 1.0, detector_score=0.98))
    (lost,) = scheduler.offer(candidate(2, 2.0, detector_score=0.7))
    assert (lost.candidate.track_id, lost.candidate.captured_at) == (1, 1.0)


def test_promise_falls_with_every_fault() -> None:
    """Small, turned, soft, dark, bright and doubtful faces promise less than a good one."""
    best = prior_score(measures())
    faults = (
        {"eye_distance_px": 15.0}, {"yaw_deg": -40.0}, {"sharpness": 20.0},
        {"brightness": 40.0}, {"brightness": 220.0}, {"detector_score": 0.7},
    )  # fmt: skip
    assert all(prior_score(measures(**fault)) < best for fault in faults)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=80), st.floats(0.05, 0.95))
def test_no_more_is_scored_than_the_budget_allows(qualities: list[float], share: float) -> None:
    """One face and the share of a track, however its qualities run; its end included."""
    scheduler, best, taken = Scheduler(64, share=share), 0.0, 0
    scheduler._target_of = lambda _track: ReleaseTarget(best, math.inf)
    for number, _ in enumerate(qualities):
        scheduler.offer(candidate(1, number / 25))
        if number == len(qualities) - 1:
            scheduler.end(1)
        while batch := scheduler.take(8, number / 25):
            for found in batch:
                taken += 1
                place = round(found.captured_at * 25)
                best = max(best, qualities[place])
                scheduler.learn(scored(1, found.captured_at, qualities[place]))
    assert 1 <= taken <= 1 + share * len(qualities) + 1e-6


def test_faces_of_a_released_track_are_not_scored() -> None:
    """Nothing of it can go any more: those that waited are given up with the new one."""
    target = ReleaseTarget(0.0, math.inf)
    scheduler = Scheduler(8, share=0.3, target_of=lambda _track: target)
    for number in range(3):
        assert not scheduler.offer(candidate(1, number / 25))
    target = ReleaseTarget(math.inf, math.inf)
    lost = scheduler.offer(candidate(1, 0.2))
    assert [skipped.reason for skipped in lost] == [SkipReason.CANNOT_WIN] * 4
    assert not scheduler.take(8, 0.2)


def test_the_track_that_is_decided_first_is_served_first() -> None:
    """Earliest deadline first, before any gain."""
    deadlines = {1: math.inf, 2: 5.2, 3: 5.1}
    scheduler = Scheduler(
        8, share=0.3, target_of=lambda track: ReleaseTarget(0.0, deadlines[track])
    )
    for track in deadlines:
        scheduler.offer(candidate(track, 5.0))
    assert [found.track_id for found in scheduler.take(8, 5.0)] == [3, 2, 1]


def test_a_track_saves_for_its_end() -> None:
    """A score that no face was worth is spent when the track is about to be decided."""
    deadline = 100.0
    scheduler = Scheduler(8, share=0.4, target_of=lambda _track: ReleaseTarget(60.0, deadline))
    scheduler.offer(candidate(1, 0.0))
    scheduler.learn(scored(1, scheduler.take(1, 0.0)[0].captured_at, 45.0))
    for number in range(1, 4):
        scheduler.offer(candidate(1, number / 25))
    assert not scheduler.take(1, 3 / 25)
    deadline = 0.2
    assert scheduler.take(1, 3 / 25)


def test_a_busy_scorer_and_a_small_budget_are_told_apart() -> None:
    """Only faces that would have been scored, had there been time, count as load that was shed."""
    busy, poor = Scheduler(64), Scheduler(64, share=0.01)
    poor.offer(candidate(1, 0.0))
    poor.learn(scored(1, poor.take(1, 0.0)[0].captured_at, 10.0))
    reasons = {
        name: {
            lost.reason for i in range(1, 60) for lost in scheduler.offer(candidate(1, float(i)))
        }
        for name, scheduler in (("busy", busy), ("poor", poor))
    }
    assert reasons["busy"] == {SkipReason.MORE_PROMISING_FACE}
    assert reasons["poor"] == {SkipReason.OVER_BUDGET}


def test_a_face_between_good_ones_is_expected_to_be_good() -> None:
    """More is expected beside a good face than beside a poor one, and of the better measures."""
    expected_improvement = ExpectedImprovement()
    for at, quality in ((0.0, 20.0), (1.0, 22.0), (2.0, 70.0), (3.0, 25.0)):
        expected_improvement.learn(at, quality, 5.0)
    gain = expected_improvement.expected_gain
    assert gain(2.05, 5.0, 70.0) > gain(1.05, 5.0, 70.0)
    assert gain(2.05, 6.0, 70.0) > gain(2.05, 5.0, 70.0)
    assert gain(2.05, 5.0, 60.0) > gain(2.05, 5.0, 70.0)
    assert gain(2.05, 5.0, math.inf) == 0


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 100)), max_size=200))
def test_expectations_are_numbers_whatever_was_seen(faces: list[tuple[float, float]]) -> None:
    """Equal times, equal qualities and long tracks included."""
    expected_improvement = ExpectedImprovement()
    for at, quality in faces:
        expected_improvement.learn(at, quality, 3.0)
    for at in (0.0, 30.0, 60.0):
        gain = expected_improvement.expected_gain(at, 3.0, 50.0)
        assert gain >= 0
        assert math.isfinite(gain)
