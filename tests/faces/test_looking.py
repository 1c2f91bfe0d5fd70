"""When the detector is asked: often for people, now and then for nobody, never too rarely."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgate.config import DetectorSection
from streamgate.faces.looking import LookPolicy
from streamgate.values import LookReason, PassReason

FRAME_S = 0.04


def looks(
    policy: LookPolicy, seconds: float, *, moves: bool = False, tracks: int = 0, start: float = 0.0
) -> Counter[LookReason | PassReason]:
    count: Counter[LookReason | PassReason] = Counter()
    for number in range(round(seconds / FRAME_S)):
        count[policy.decide(start + number * FRAME_S, moves=moves, tracks=tracks)] += 1
    return count


def test_an_empty_room_is_looked_at_once_a_second() -> None:
    """Of 250 pictures ten, and the reasons are told."""
    policy = LookPolicy(DetectorSection())
    counted = looks(policy, 10)
    assert counted[LookReason.DUE] == 10
    assert counted[PassReason.NOTHING_MOVES] == 240


@pytest.mark.parametrize(("moves", "tracks", "reason"), [
    (True, 0, LookReason.MOTION), (False, 2, LookReason.TRACKS), (True, 1, LookReason.TRACKS),
    (True, 4, LookReason.TRACKS),
])  # fmt: skip
def test_people_are_looked_at_several_times_a_second(
    moves: bool, tracks: int, reason: LookReason
) -> None:
    """At 25 a second: a few people in every second picture, crowds and motion in every third."""
    policy = LookPolicy(DetectorSection(looks_per_s=15))
    counted = looks(policy, 9, moves=moves, tracks=tracks)
    few = 1 <= tracks <= 3
    assert counted[reason] == pytest.approx(112 if few else 75, abs=2)
    assert counted[PassReason.NOTHING_MOVES] == 0


def test_motion_is_looked_at_with_its_first_picture() -> None:
    """However long nothing has moved: the next picture is looked at, unless one just was."""
    policy = LookPolicy(DetectorSection(looks_per_s=10))
    looks(policy, 5.4)
    assert policy.decide(5.4, moves=True, tracks=0) is LookReason.MOTION
    assert policy.decide(5.44, moves=True, tracks=0) is PassReason.BETWEEN_LOOKS


def test_who_has_come_to_rest_is_looked_for_a_little_longer() -> None:
    """The looks go on for a moment after the last motion, and then cease."""
    policy = LookPolicy(DetectorSection(looks_per_s=15))
    looks(policy, 1.0, moves=True)
    assert looks(policy, 1.2, start=1.0)[LookReason.MOTION] >= 8
    assert looks(policy, 5, start=3.0)[LookReason.MOTION] == 0


def test_every_frame_means_every_frame() -> None:
    """The reference: nothing is passed over."""
    policy = LookPolicy(DetectorSection(look="every_frame"))
    assert looks(policy, 4) == {LookReason.EVERY_FRAME: 100}


@given(
    st.lists(st.tuples(st.floats(0.001, 0.5), st.booleans(), st.integers(0, 3)), max_size=80),
    st.floats(0.2, 3),
    st.floats(1, 50),
)
def test_no_wait_is_longer_than_was_asked_for(
    steps: list[tuple[float, bool, int]], every_s: float, per_s: float
) -> None:
    """Whatever moves: at the first picture after `look_every_s` there is a look."""
    policy = LookPolicy(DetectorSection(look_every_s=every_s, looks_per_s=per_s))
    at, looked_at = 0.0, None
    for step, moves, tracks in steps:
        at += step
        looked = isinstance(policy.decide(at, moves=moves, tracks=tracks), LookReason)
        if looked_at is None or at - looked_at >= every_s:
            assert looked
        if looked:
            looked_at = at


def test_a_time_that_steps_back_is_a_beginning() -> None:
    """A clock that was set back stops no look."""
    policy = LookPolicy(DetectorSection())
    policy.decide(100.0, moves=False, tracks=0)
    assert policy.decide(3.0, moves=False, tracks=0) is LookReason.DUE


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=120),
    st.floats(0.2, 3),
    st.floats(1, 50),
)
def test_a_pause_costs_no_look(steps: list[tuple[bool, int]], every_s: float, per_s: float) -> None:
    """Where nothing new moves, each picture that a pause covers would have been passed over."""
    policy = LookPolicy(DetectorSection(look_every_s=every_s, looks_per_s=per_s))
    pause, known = None, 0
    for number, (moves, tracks) in enumerate(steps):
        at = number * FRAME_S
        if pause is not None and pause.covers(at):
            told = copy.copy(policy).decide(at, moves=False, tracks=known)
            assert isinstance(told, PassReason)
            continue
        policy.decide(at, moves=moves, tracks=tracks)
        pause, known = policy.pause(at, tracks=tracks), tracks


def test_an_empty_room_is_checked_six_times_a_second() -> None:
    """Of 25 pictures at rest 18 wake nobody, and who comes waits for 0.12 s at most."""
    policy = LookPolicy(DetectorSection())
    pause, seen, longest = None, 0, 0.0
    for number in range(500):
        at = number * FRAME_S
        if pause is None or not pause.covers(at):
            policy.decide(at, moves=False, tracks=0)
            pause = policy.pause(at, tracks=0)
            seen += number >= 250
            longest = max(longest, pause.until - at) if pause else longest
    assert seen <= 75
    assert longest <= 0.16


def test_a_picture_from_before_is_no_part_of_a_pause() -> None:
    """A clock that was set back pauses nothing."""
    policy = LookPolicy(DetectorSection())
    policy.decide(100.0, moves=False, tracks=0)
    pause = policy.pause(100.0, tracks=0)
    assert pause is not None
    assert not pause.covers(99.9)


def test_every_frame_pauses_never() -> None:
    """The reference is handed over whole."""
    policy = LookPolicy(DetectorSection(look="every_frame"))
    policy.decide(0.0, moves=False, tracks=0)
    assert policy.pause(0.0, tracks=0) is None


def test_who_has_just_come_is_looked_at_in_every_picture() -> None:
    """For as long as was asked for, and nothing is paused meanwhile."""
    policy = LookPolicy(DetectorSection(newcomer_s=0.5))
    policy.decide(0.0, moves=True, tracks=0)
    looked = []
    for number in range(1, 25):
        at = number * FRAME_S
        told = policy.decide(at, moves=True, tracks=1, newest_at=FRAME_S)
        looked.append(isinstance(told, LookReason))
        assert (policy.pause(at, tracks=1, newest_at=FRAME_S) is None) == (at - FRAME_S < 0.5)
    assert all(looked[:13])
    assert sum(looked[13:]) <= 5
