"""Capture times from a camera's timestamps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgate.sources.capture import WINDOW_S, CaptureClock

STEP_S = 0.04


def ages(stream: list[tuple[float | None, float]]) -> list[float]:
    """Feed (timestamp, arrival) one by one; return how old each picture seems."""
    clock = CaptureClock()
    result = []
    for pts_s, arrived_at in stream:
        if pts_s is not None:
            clock.observe(pts_s, arrived_at)
        result.append(arrived_at - clock.captured_at(pts_s, arrived_at))
    return result


def test_a_late_picture_is_as_old_as_it_is_late() -> None:
    """A picture held up by 0.3 s on the way is 0.3 s old."""
    stream = [(i * STEP_S, 100 + i * STEP_S + (0.3 if i == 50 else 0.0)) for i in range(60)]
    found = ages([*stream])
    assert found[50] == pytest.approx(0.3)
    assert max(found[:50] + found[51:]) == pytest.approx(0.0)


def test_a_backlog_that_was_read_first_is_known_to_be_old() -> None:
    """Once the newest packet of a burst has been seen, the oldest picture's age is right."""
    clock = CaptureClock()
    for i in range(25):
        clock.observe(i * STEP_S, 100.0 + i * 0.001)
    assert 100.0 - clock.captured_at(None, 100.0) == pytest.approx(24 * STEP_S, abs=0.03)


def test_a_stream_without_timestamps_is_as_old_as_its_arrival() -> None:
    """Nothing is claimed where nothing is known."""
    assert ages([(None, 5.0), (None, 5.1)]) == [0.0, 0.0]


@pytest.mark.parametrize("jump_s", [-95_443.7, 95_443.7], ids=["wrap", "ahead"])
def test_a_jump_of_the_timestamps_starts_anew(jump_s: float) -> None:
    """Timestamps that wrap around or leap do not make pictures old."""
    stream: list[tuple[float | None, float]] = [
        (100_000 + i * STEP_S + (jump_s if i >= 30 else 0.0), 7 + i * STEP_S) for i in range(60)
    ]
    assert max(ages(stream)) == pytest.approx(0.0, abs=1e-6)


def test_a_slow_camera_clock_does_not_age_its_pictures_for_ever() -> None:
    """One per cent of drift over an hour costs less than two windows' share of it."""
    stream: list[tuple[float | None, float]] = [
        (i * STEP_S * 0.99, i * STEP_S) for i in range(90_000)
    ]
    assert max(ages(stream)) <= 2 * WINDOW_S * 0.01 + STEP_S


@given(
    st.lists(st.tuples(st.none() | st.floats(-1e6, 1e6), st.floats(0, 5)), min_size=1, max_size=60)
)
def test_captures_are_ordered_and_never_in_the_future(
    steps: list[tuple[float | None, float]],
) -> None:
    """Whatever a camera claims, its pictures come in order and not from the future."""
    clock, now, before = CaptureClock(), 1000.0, float("-inf")
    for pts_s, waited_s in steps:
        now += waited_s
        if pts_s is not None:
            clock.observe(pts_s, now)
        captured_at = clock.captured_at(pts_s, now)
        assert before <= captured_at <= now
        before = captured_at
