"""Capture times of cameras whose clocks are right, wrong and both by turns; time is virtual."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamgate.sources.clock import LONGEST_LAG_S, CaptureClock, ClockFault, RtpTimestamps

STEP_S = 0.04
ORIGIN_S = 5_000.0


@dataclass
class Watched:
    """What came of a stream."""

    clock: CaptureClock
    excess_s: list[float] = field(default_factory=list)
    ages_s: list[float] = field(default_factory=list)
    faults: list[ClockFault] = field(default_factory=list)
    faulty: list[bool] = field(default_factory=list)


@dataclass(frozen=True)
class Sent:
    """A picture: when it was taken, what its stamp says, and when it came."""

    taken_at: float
    pts_s: float | None
    arrived_at: float


def watch(stream: Iterable[Sent], *, read_first: int = 1) -> Watched:
    """Run a stream through a clock; `read_first` packets are read before any is decoded."""
    watched = Watched(CaptureClock())
    clock, waiting, last, was = watched.clock, [], float("-inf"), None
    for number, sent in enumerate(stream):
        clock.observe(sent.pts_s, sent.arrived_at)
        waiting.append(sent)
        if number + 1 < read_first:
            continue
        for each in waiting:
            captured_at = clock.captured_at(each.pts_s, each.arrived_at)
            assert last <= captured_at <= sent.arrived_at
            last = captured_at
            watched.excess_s.append(each.taken_at - captured_at)
            watched.ages_s.append(each.arrived_at - captured_at)
            watched.faulty.append(clock.fault is not None)
        waiting.clear()
        if clock.fault is not None and was is None:
            watched.faults.append(clock.fault)
        was = clock.fault
    return watched


def camera(
    seconds: float,
    stamp: Callable[[float], float | None],
    *,
    rate: float = 25.0,
    jitter_s: float = 0.0,
    delay: Callable[[float], float] = lambda _at: 0.02,
    seed: int = 0,
) -> list[Sent]:
    """A camera that stamps as told; packets come in order, late by delay and jitter."""
    chance = random.Random(seed)
    stream, came_at = [], float("-inf")
    for number in range(int(seconds * rate)):
        at = number / rate
        came_at = max(came_at, 100.0 + at + delay(at) + chance.uniform(0, jitter_s))
        stream.append(Sent(100.0 + at, stamp(at), came_at))
    return stream


def held_until(*holds: tuple[float, float]) -> Callable[[float], float]:
    """A delay under which what was sent in a hold comes at its end."""

    def delay(at: float) -> float:
        return 0.02 + max((end - at for begin, end in holds if begin <= at < end), default=0.0)

    return delay


def at_pace(pace: float) -> Callable[[float], float]:
    return lambda at: ORIGIN_S + pace * at


# An honest clock


def test_a_late_picture_is_as_old_as_it_is_late() -> None:
    """A picture held up by 0.3 s on the way is 0.3 s old."""
    late = camera(4, at_pace(1.0), delay=lambda at: 0.32 if at == 2.0 else 0.02)
    ages_s = watch(late).ages_s
    assert ages_s[50] == pytest.approx(0.3)
    assert ages_s[49] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("stall_s", [0.4, 2.0, 6.0, 25.0])
def test_after_a_stall_pictures_are_as_old_as_they_are(stall_s: float) -> None:
    """What a network holds back comes in a burst, and each picture of it keeps its own age."""
    watched = watch(camera(60, at_pace(1.0), delay=held_until((20.0, 20.0 + stall_s))))
    assert max(map(abs, watched.excess_s)) < 0.03
    assert watched.faults == []


@pytest.mark.parametrize("burst_s", [0.5, 1.0, 2.0, 4.0])
def test_pictures_that_come_in_bursts_keep_their_times(burst_s: float) -> None:
    """A relay that sends a group of pictures at once is no fault of the camera's clock."""

    def delay(at: float) -> float:
        return burst_s - at % burst_s

    watched = watch(camera(60, at_pace(1.0), delay=delay))
    assert max(watched.excess_s) < STEP_S + 1e-6
    assert watched.faults == []


@pytest.mark.parametrize("rate", [1.0, 5.0, 25.0, 120.0])
def test_a_backlog_that_was_read_first_is_known_to_be_old(rate: float) -> None:
    """Once the newest packet of the opening's burst has been seen, the oldest's age is right."""
    watched = watch(
        camera(30, at_pace(1.0), rate=rate, delay=held_until((0.0, 3.0))),
        read_first=int(3 * rate) + 1,
    )
    assert watched.faults == []
    assert max(watched.excess_s) < 0.03


@pytest.mark.parametrize("rate", [1.0, 5.0, 25.0, 60.0])
@pytest.mark.parametrize("jitter_s", [0.02, 0.1, 0.25])
def test_jitter_is_no_fault(rate: float, jitter_s: float) -> None:
    """Packets that are late at random do not bring an honest clock into doubt."""
    for seed in range(5):
        stream = camera(100, at_pace(1.0), rate=rate, jitter_s=jitter_s, seed=seed)
        watched = watch(stream)
        assert watched.faults == []
        assert max(watched.excess_s) <= 0.0


def test_pictures_out_of_order_keep_their_times() -> None:
    """In the order of coding stamps go back by a few pictures, which is no jump."""
    clock, ages_s = CaptureClock(), []
    for group in range(200):
        for place in (3, 1, 2):
            number = 3 * group + place
            came_at = 100 + STEP_S * (3 * group + [3, 1, 2].index(place))
            clock.observe(number * STEP_S, came_at)
            ages_s.append(came_at - clock.captured_at(number * STEP_S, came_at))
        assert clock.fault is None
    assert max(ages_s) < 4 * STEP_S


# A clock at another pace


@pytest.mark.parametrize("pace", [0.9, 0.95, 0.99, 1.0, 1.01, 1.05, 1.1])
def test_a_clock_that_is_a_few_per_cent_off_is_followed(pace: float) -> None:
    """It stays believed for ten minutes, and nothing ever seems late by more than half a second."""
    watched = watch(camera(600, at_pace(pace)))
    assert watched.faults == []
    assert max(watched.excess_s) < LONGEST_LAG_S


@pytest.mark.parametrize("rate", [1.0, 12.5, 25.0, 60.0])
@pytest.mark.parametrize(
    "pace", [0.0, 0.001, 1 / 90, 0.1, 0.5, 0.7, 1.5, 2.0, 10.0, 90.0, 1000.0, -1.0]
)
def test_a_clock_at_another_pace_is_given_up_once(pace: float, rate: float) -> None:
    """From a thousandth to a thousand times the true pace: one doubt, and ages of arrivals."""
    for jitter_s in (0.0, 0.05):
        watched = watch(camera(60, at_pace(pace), rate=rate, jitter_s=jitter_s))
        assert len(watched.faults) == 1
        assert watched.faulty[-1]
        assert watched.faulty.index(True) <= 16 * max(rate, 1) / min(rate, 4.0) ** 0.5
        assert max(watched.excess_s) <= LONGEST_LAG_S
        after = [age for age, doubt in zip(watched.ages_s, watched.faulty, strict=True) if doubt]
        assert max(after) == 0.0


def test_what_is_wrong_with_a_clock_is_named() -> None:
    """Words for a log: it stands still, runs slow or fast, jumps or is missing."""
    paces = {0.0: ClockFault.STANDS_STILL, 0.5: ClockFault.SLOW, 10.0: ClockFault.FAST}
    for pace, fault in paces.items():
        assert watch(camera(10, at_pace(pace))).faults == [fault]
    assert watch(camera(10, lambda _at: None)).faults == [ClockFault.MISSING]
    jump = camera(10, lambda at: at + (3600.0 if at >= 5 else 0.0))
    assert watch(jump).faults == [ClockFault.JUMPS]


# A clock that jumps, and one that recovers


@pytest.mark.parametrize("jump_s", [-95_443.7, -3600.0, -2.0, 2.0, 20.0, 3600.0, 95_443.7])
@pytest.mark.parametrize("rate", [5.0, 25.0])
def test_a_jump_starts_anew(jump_s: float, rate: float) -> None:
    """A clock that is set makes no picture old, is told of once, and is believed again."""
    stream = camera(60, lambda at: 1e5 + at + (jump_s if at >= 20 else 0.0), rate=rate)
    watched = watch(stream)
    assert max(watched.excess_s) <= LONGEST_LAG_S
    # One that goes back by less than a decoder reorders is a late picture or two.
    assert watched.faults == [ClockFault.JUMPS] or (jump_s, rate) == (-2.0, 5.0)
    assert not watched.faulty[-1]


def test_a_wrong_stamp_does_not_make_the_next_ones_old() -> None:
    """One stamp of an hour ahead costs nothing but a doubt."""
    watched = watch(camera(40, lambda at: at + (3600.0 if at == 20 else 0.0)))
    assert max(watched.excess_s) <= 0.0
    assert len(watched.faults) == 1


def test_a_clock_that_jumps_again_and_again_is_not_told_of_each_time() -> None:
    """Each time it must keep pace for twice as long: half an hour of jumps is two doubts."""
    watched = watch(camera(1800, lambda at: at + 100.0 * (at // 8)))
    assert len(watched.faults) <= 2
    assert max(watched.excess_s) <= LONGEST_LAG_S


@pytest.mark.parametrize("pace", [0.0, 0.5, 10.0])
def test_a_clock_that_has_recovered_is_believed_again(pace: float) -> None:
    """Night and day: while it is wrong arrivals count, soon after that its stamps again."""

    def stamp(at: float) -> float:
        wrong_s = min(max(at - 60, 0.0), 60.0)
        return at - wrong_s + pace * wrong_s

    late = camera(240, stamp, delay=lambda at: 0.32 if round(at * 25) == 5000 else 0.02)
    watched = watch(late)
    assert len(watched.faults) == 1
    assert not any(watched.faulty[: 60 * 25])
    assert all(watched.faulty[65 * 25 : 120 * 25])
    assert not any(watched.faulty[130 * 25 :])
    assert watched.ages_s[5000] == pytest.approx(0.3, abs=0.01)
    assert max(watched.excess_s) <= LONGEST_LAG_S


def test_a_stream_without_stamps_is_as_old_as_its_arrival() -> None:
    """Nothing is claimed where nothing is known."""
    assert watch([Sent(5.0, None, 5.0), Sent(5.1, None, 5.1)]).ages_s == [0.0, 0.0]


def test_the_first_picture_may_lack_its_stamp() -> None:
    """It is then as old as the first packet that has one."""
    clock = CaptureClock()
    for i in range(25):
        clock.observe(i * STEP_S, 100.0 + i * 0.001)
    assert 100.0 - clock.captured_at(None, 100.0) == pytest.approx(LONGEST_LAG_S)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.none() | st.floats(-1e6, 1e6), st.floats(0, 5)), min_size=1, max_size=80)
)
def test_captures_are_ordered_and_never_in_the_future(
    steps: list[tuple[float | None, float]],
) -> None:
    """Whatever a camera claims, its pictures come in order and not from the future."""
    clock, now, before = CaptureClock(), 1000.0, float("-inf")
    for pts_s, waited_s in steps:
        now += waited_s
        clock.observe(pts_s, now)
        captured_at = clock.captured_at(pts_s, now)
        assert before <= captured_at <= now
        before = captured_at


@settings(max_examples=150, deadline=None)
@example(pace=0.001, rate=25.0, jitter_s=0.1875, seed=82)
@example(pace=0.001, rate=8.0, jitter_s=0.125, seed=586)
@given(
    pace=st.floats(0.0, 1.0).map(lambda x: 10 ** (4 * x - 3)),
    rate=st.sampled_from([2.0, 8.0, 25.0, 50.0]),
    jitter_s=st.floats(0.0, 0.2),
    seed=st.integers(0, 1000),
)
def test_whatever_the_pace_no_picture_is_older_than_half_a_second_beyond_truth(
    pace: float, rate: float, jitter_s: float, seed: int
) -> None:
    """From a thousandth to ten times: ages are true to half a second, and a doubt is told once."""
    watched = watch(camera(25, at_pace(pace), rate=rate, jitter_s=jitter_s, seed=seed))
    assert max(watched.excess_s) <= LONGEST_LAG_S
    assert len(watched.faults) <= 1


# What a sender says


def test_a_sender_whose_clock_agrees_is_believed() -> None:
    """A report from a clock like ours gives exact times, delay included."""
    clock = CaptureClock()
    clock.observe(0.0, 100.1)
    clock.report(0.02, sent_at=100.02, arrived_at=100.12)
    clock.observe(0.2, 100.3)
    assert clock.captured_at(0.2, 100.3) == pytest.approx(100.2)


def test_a_sender_whose_clock_is_wrong_is_not_believed() -> None:
    """A phone that is minutes off does not make pictures minutes old, or from the future."""
    for error_s in (-120.0, -1.0, 1.0, 120.0):
        clock = CaptureClock()
        clock.observe(0.0, 100.05)
        clock.report(0.02, sent_at=100.02 + error_s, arrived_at=100.07)
        clock.observe(0.04, 100.09)
        assert clock.captured_at(0.04, 100.09) == pytest.approx(100.09)


def test_timestamps_of_rtp_wrap_around() -> None:
    """After 32 bits they go on, forwards and backwards."""
    stamps = RtpTimestamps()
    begin = stamps.seconds(0xFFFFFFFF - 3599)
    assert stamps.beside(3600) - begin == pytest.approx(0.08)
    assert stamps.seconds(0) - begin == pytest.approx(0.04)
    assert stamps.seconds(0xFFFFFFFF - 3599) == begin
