"""RTP timestamps to capture times."""

from __future__ import annotations

from streamgate.sources.webrtc.clock import CaptureClock

RATE = 90_000
WALL_AHEAD_S = 1_000_000.0
STEP_S = 0.04


def ticks(seconds: float, origin: int = 0xFFFF0000) -> int:
    """An RTP timestamp; the origin lets it wrap early."""
    return (origin + round(seconds * RATE)) & 0xFFFFFFFF


def captured(clock: CaptureClock, sent_at: float, delay_s: float) -> float:
    return clock.captured_at(
        ticks(sent_at), arrived_at=sent_at + delay_s, wall_ahead_s=WALL_AHEAD_S
    )


def test_a_late_picture_is_old_and_a_quick_one_is_new() -> None:
    """Without reports the quickest packet sets the origin; others are older by their delay."""
    clock = CaptureClock()
    for number in range(50):
        captured(clock, number * STEP_S, 0.02)
    late = captured(clock, 2.0, 0.3)
    assert abs(2.3 - late - 0.28) < 0.001


def test_a_sender_whose_clock_agrees_is_believed() -> None:
    """A report from a clock like ours gives exact times, delay included."""
    clock = CaptureClock()
    captured(clock, 0.0, 0.1)
    clock.report(ticks(0.02), sender_wall=0.02 + WALL_AHEAD_S, wall=0.12 + WALL_AHEAD_S)
    # What was guessed before is caught up with, because times only grow.
    captured(clock, 0.04, 0.1)
    assert abs(captured(clock, 0.2, 0.1) - 0.2) < 0.001


def test_a_sender_whose_clock_is_wrong_is_not_believed() -> None:
    """A phone that is minutes off does not make pictures minutes old, or from the future."""
    for error_s in (-120.0, -1.0, 1.0, 120.0):
        clock = CaptureClock()
        captured(clock, 0.0, 0.05)
        wall = 0.07 + WALL_AHEAD_S
        clock.report(ticks(0.02), sender_wall=0.02 + WALL_AHEAD_S + error_s, wall=wall)
        assert abs(captured(clock, 0.04, 0.05) - 0.09) < 0.001


def test_times_grow_and_never_lie_in_the_future() -> None:
    """A timestamp that goes back, or a report that is a little fast, breaks neither rule."""
    clock = CaptureClock()
    clock.report(ticks(0.0), sender_wall=WALL_AHEAD_S + 0.015, wall=WALL_AHEAD_S)
    last = float("-inf")
    for sent_at, delay_s in (
        (0.0, 0.001),
        (0.04, 0.001),
        (0.03, 0.015),
        (0.08, 0.001),
        (0.08, 0.005),
    ):
        at = captured(clock, sent_at, delay_s)
        assert last < at <= sent_at + delay_s
        last = at


def test_another_time_base_is_taken_up_at_once() -> None:
    """A sender that starts to count anew is not five seconds behind for ever."""
    clock = CaptureClock()
    captured(clock, 0.0, 0.02)
    at = clock.captured_at(12_345, arrived_at=10.0, wall_ahead_s=WALL_AHEAD_S)
    assert at == 10.0


def test_a_slow_clock_is_followed() -> None:
    """A sender whose clock loses 0.1 % does not seem to fall behind for ever."""
    clock = CaptureClock()
    ages = []
    for number in range(3000):
        arrived_at = number * STEP_S
        stamp = ticks(arrived_at * 0.999)
        ages.append(
            arrived_at - clock.captured_at(stamp, arrived_at=arrived_at, wall_ahead_s=WALL_AHEAD_S)
        )
    assert max(ages) < 0.05
