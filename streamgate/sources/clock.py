"""When a picture was taken: the one place that decides it, for cameras, browsers and recordings.

A camera stamps its pictures with a clock of its own, whose origin is unknown and whose pace may be
wrong: cameras stamp the nominal rate at night while they ship half of it, count milliseconds where
ninetieths are wanted, stand still, or jump when their time is set. So the stamps are compared with
the arrivals. While they keep pace, the packet that travelled fastest ties the two clocks, and every
other picture is older by what its own packet took longer. A clock that does not keep pace is given
up: pictures are then as old as their arrival, until the stamps have kept pace for a while again.

The constant part of the delay (exposure, encoding, the shortest way) cannot be seen from here,
unless the sender reports it. `CaptureClock` is for what arrives, `Timeline` for what is stored.
Nothing here does I/O or knows the time: instants are arguments, in monotonic seconds.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["LONGEST_LAG_S", "CaptureClock", "ClockFault", "RtpTimestamps", "Timeline"]

LONGEST_LAG_S = 0.5
"""By how much a picture may be older than its arrival where no pause of the stream explains it.
A clock that runs slow looks like a stream that falls behind; this bounds the mistake."""

_WINDOW_S = 4.0
"""For how long the fastest packet counts: a clock that is 10 % slow seems 0.4 s late by then."""
_OFF_PACE, _OFF_S = 0.1, 0.3
"""Stamps and arrivals that drift apart by more than both, from one span to a later one, are off.
Crystals are off by 0.0001, drivers by a few per cent; jitter of less than 0.3 s is none."""
_SOUND_PACE, _SOUND_S = 0.05, 0.2
"""Those that drift apart by less than either keep pace."""
_SPAN_S, _SPAN_PACKETS, _LONGEST_SPAN_S = 0.5, 3, 2.0
"""How much of the stream makes a span, of which the packet that travelled fastest is kept."""
_SPANS_APART = 4
_OFF_SPANS = 2
"""This many comparisons in a row must be off before a clock is not used: three seconds in all."""
_JUMP_S = 0.5
_REORDERED = 16
"""Decoders reorder by so many pictures; stamps that go back further have another origin."""
_FEWEST_STEPS = 5
_STEPS_KEPT = 31
_PAUSE_S, _PAUSE_STEPS = 0.45, 4.0
"""A packet that is awaited for longer than both, in seconds and in usual steps, ends a pause. What
is shorter, and jitter is, lies within `LONGEST_LAG_S` by itself."""
_FIRST_PROBATION_S, _LONGEST_PROBATION_S = 3.0, 60.0
"""How long a clock must keep pace to be believed again; longer for one that failed again."""
_FUTURE_TOLERANCE_S = 0.02


class ClockFault(StrEnum):
    """What is wrong with a clock, in words that follow `the camera's clock`."""

    STANDS_STILL = "stands still"
    SLOW = "runs slow"
    FAST = "runs fast"
    JUMPS = "jumps"
    MISSING = "is missing"


@dataclass(slots=True)
class _Span:
    """A short time of the stream, and the packet in it that had travelled fastest."""

    began_at: float
    arrived_at: float
    delay_s: float
    packets: int = 1


class CaptureClock:
    """Maps the stamps of one connection to capture times, which never run backwards.

    Attributes:
        fault: why the stamps are not believed; None while they are.
        pace: seconds that the stamps count for each second of arrivals; None before it is known.
    """

    def __init__(self) -> None:
        self.fault: ClockFault | None = None
        self.pace: float | None = None
        self._first_pts_s: float | None = None
        self._last_captured_at: float | None = None
        self._arrived_at: float | None = None
        self._stamped_at: float | None = None
        self._arrival_steps: deque[float] = deque(maxlen=_STEPS_KEPT)
        self._stamp_steps: deque[float] = deque(maxlen=_STEPS_KEPT)
        self._probation_s = _FIRST_PROBATION_S
        self._sound_since: float | None = None
        self._trusted_again_at: float | None = None
        self._forget()

    def _forget(self) -> None:
        """Begin with another origin."""
        self._newest_pts_s: float | None = None
        self._spans: deque[_Span] = deque(maxlen=_SPANS_APART + 8)
        self._off_spans = 0
        self._pause_s = 0.0
        self._report: tuple[float, float] | None = None

    # What arrives

    def observe(self, pts_s: float | None, arrived_at: float) -> None:
        """Learn from a packet: its stamp, None where it has none, and when it came."""
        step_s = 0.0 if self._arrived_at is None else max(0.0, arrived_at - self._arrived_at)
        self._arrived_at = arrived_at
        if self._stamped_at is None:
            self._stamped_at = arrived_at
        if pts_s is None:
            self._miss(arrived_at)
            return
        if self._first_pts_s is None:
            self._first_pts_s = pts_s
        if self._has_jumped(pts_s, arrived_at):
            self._forget()
            self._doubt(ClockFault.JUMPS, arrived_at)
        if self._newest_pts_s is not None:
            self._notice_pause(pts_s, step_s)
            self._arrival_steps.append(step_s)
            self._stamp_steps.append(abs(pts_s - self._newest_pts_s))
        self._stamped_at = arrived_at
        self._newest_pts_s = max(pts_s, self._newest_pts_s or pts_s)
        self._learn(arrived_at, arrived_at - pts_s)

    def report(self, pts_s: float, *, sent_at: float, arrived_at: float) -> None:
        """Take a sender's word for when it counted a stamp (a sender report of RTCP).

        Args:
            pts_s: the report's stamp.
            sent_at: the sender's wall clock at that stamp, led back to our monotonic seconds.
            arrived_at: when the report came.
        """
        # What seems to have travelled for long, or to come from the future, was written by a clock
        # that is not ours.
        agrees = -_FUTURE_TOLERANCE_S <= arrived_at - sent_at <= LONGEST_LAG_S
        self._report = (pts_s, sent_at) if agrees else None

    def captured_at(self, pts_s: float | None, arrived_at: float) -> float:
        """Return when a picture was taken, in monotonic seconds.

        Args:
            pts_s: its stamp; the first picture of a stream may have none, and is then as old as
                the first packet that has one.
            arrived_at: when its packet came.
        """
        if pts_s is None and self._last_captured_at is None:
            pts_s = self._first_pts_s
        captured_at = arrived_at
        if pts_s is not None and self.fault is None and self._spans:
            captured_at = min(arrived_at, self._by_stamp(pts_s))
            captured_at = max(captured_at, arrived_at - LONGEST_LAG_S - self._pause_s)
        if self._last_captured_at is not None:
            captured_at = max(captured_at, self._last_captured_at)
        self._last_captured_at = captured_at
        return captured_at

    def _by_stamp(self, pts_s: float) -> float:
        if self._report is not None:
            return self._report[1] + (pts_s - self._report[0])
        return pts_s + self._shortest_delay_s()

    def _shortest_delay_s(self) -> float:
        """The delay of the packet that travelled fastest in the window: where zero age lies."""
        from_s = self._spans[-1].began_at - _WINDOW_S
        return min(span.delay_s for span in self._spans if span.began_at >= from_s)

    # What is learnt

    def _miss(self, now: float) -> None:
        if self._stamped_at is not None and now - self._stamped_at > _FIRST_PROBATION_S:
            self._forget()
            self._doubt(ClockFault.MISSING, now)

    def _has_jumped(self, pts_s: float, arrived_at: float) -> bool:
        """Whether a packet came from further back, or earlier, than can be of one origin."""
        if self._newest_pts_s is None or len(self._stamp_steps) < _FEWEST_STEPS:
            return False
        usual_s = statistics.median(self._stamp_steps)
        early_s = self._shortest_delay_s() - (arrived_at - pts_s)
        back_s = self._newest_pts_s - pts_s
        return early_s > _JUMP_S + _PAUSE_STEPS * usual_s or back_s > max(
            _JUMP_S, _REORDERED * usual_s
        )

    def _notice_pause(self, pts_s: float, step_s: float) -> None:
        """What goes on where it stood is late by as long as it stood, and comes in a burst."""
        newest_s = pts_s if self._newest_pts_s is None else self._newest_pts_s
        if self._is_pause(step_s):
            late_s = max(0.0, step_s - max(0.0, pts_s - newest_s))
            self._pause_s += late_s
            for span in self._spans:
                # Or the window would forget in a pause how fast packets can be.
                span.began_at += late_s
        if self._spans and self._arrived_at is not None:
            lag_s = self._arrived_at - pts_s - self._shortest_delay_s()
            self._pause_s = max(0.0, min(self._pause_s, lag_s))

    def _is_pause(self, step_s: float) -> bool:
        if len(self._arrival_steps) < _FEWEST_STEPS:
            return False
        return step_s > max(_PAUSE_S, _PAUSE_STEPS * statistics.median(self._arrival_steps))

    def _learn(self, now: float, delay_s: float) -> None:
        span = self._spans[-1] if self._spans else None
        if span is None or _is_over(span, now):
            if span is not None:
                self._judge(now)
            self._spans.append(_Span(now, now, delay_s))
            return
        span.packets += 1
        if delay_s <= span.delay_s:
            span.arrived_at, span.delay_s = now, delay_s

    def _judge(self, now: float) -> None:
        """Compare the stamps with the arrivals at the end of a span."""
        if len(self._spans) <= _SPANS_APART:
            return
        first, last = self._spans[-1 - _SPANS_APART], self._spans[-1]
        between_s = last.arrived_at - first.arrived_at
        if between_s <= 0.0:
            return
        drift_s = last.delay_s - first.delay_s
        self.pace = 1.0 - drift_s / between_s
        is_off = abs(drift_s) > max(_OFF_S, _OFF_PACE * between_s)
        self._off_spans = self._off_spans + 1 if is_off else 0
        if self._off_spans >= _OFF_SPANS:
            self._doubt(_fault_of(self.pace), now)
        if abs(drift_s) <= max(_SOUND_S, _SOUND_PACE * between_s):
            self._prove(now)
        else:
            self._sound_since = None

    def _doubt(self, fault: ClockFault, now: float) -> None:
        self._sound_since = None
        if self.fault is not None:
            return
        self.fault = fault
        if self._trusted_again_at is not None:
            relapsed = now - self._trusted_again_at < 10 * self._probation_s
            longer_s = 2 * self._probation_s if relapsed else _FIRST_PROBATION_S
            self._probation_s = min(longer_s, _LONGEST_PROBATION_S)

    def _prove(self, now: float) -> None:
        if self.fault is None:
            return
        if self._sound_since is None:
            self._sound_since = now
        elif now - self._sound_since >= self._probation_s:
            self.fault, self._trusted_again_at = None, now


def _is_over(span: _Span, now: float) -> bool:
    lasted_s = now - span.began_at
    return lasted_s >= _LONGEST_SPAN_S or (lasted_s >= _SPAN_S and span.packets >= _SPAN_PACKETS)


def _fault_of(pace: float) -> ClockFault:
    if pace > 1.0:
        return ClockFault.FAST
    return ClockFault.STANDS_STILL if abs(pace) < 0.0005 else ClockFault.SLOW


class RtpTimestamps:
    """Turns RTP timestamps, which begin again after 32 bits, into seconds that go on."""

    def __init__(self, ticks_a_second: int = 90_000) -> None:
        self._ticks_a_second = ticks_a_second
        self._ticks: int | None = None

    def seconds(self, timestamp: int) -> float:
        """Return the seconds of a stamp, from which the next one is counted on."""
        self._ticks = self._unwrapped(timestamp)
        return self._ticks / self._ticks_a_second

    def beside(self, timestamp: int) -> float:
        """Return the seconds of a stamp that is not of the stream's own order: a report's."""
        return self._unwrapped(timestamp) / self._ticks_a_second

    def _unwrapped(self, timestamp: int) -> int:
        if self._ticks is None:
            return timestamp
        step = (timestamp - self._ticks) & 0xFFFFFFFF
        return self._ticks + (step - 0x100000000 if step & 0x80000000 else step)


_LONGEST_GAP_S, _LONGEST_GAP_PICTURES = 1.0, 10
"""A recording's stamps that go on further than both are a fault, not a pause of what is shown."""
_USUAL_RATES = (0.02, 240.0)
_USUAL_PICTURE_S = 0.04


class Timeline:
    """Maps a recording's stamps to seconds since the first picture of the first round.

    Recordings are cut, joined byte by byte, and written by cameras whose clocks were set meanwhile.
    Stamps that go back, go on further than any gap, stand or are missing are no reason to skip,
    to wait or to hold time: the picture follows the one before, and its stamp is a new origin.

    Attributes:
        faults: how many new origins were needed.
    """

    def __init__(self) -> None:
        self.faults = 0
        self._picture_s = _USUAL_PICTURE_S
        self._end_s = 0.0
        self._last_s: float | None = None
        self._last_pts_s: float | None = None
        self._shift_s = 0.0
        self._shift_before_s: float | None = None

    def expect_rate(self, pictures_a_second: float | None) -> None:
        """Take the file's word for its rate, where that can be."""
        least, most = _USUAL_RATES
        rate = pictures_a_second or 0.0
        self._picture_s = 1.0 / rate if least <= rate <= most else _USUAL_PICTURE_S

    def at(self, pts_s: float | None) -> float:
        """Return a picture's time, which is after that of the picture before it."""
        seconds = self._first(pts_s) if self._last_s is None else self._next(self._last_s, pts_s)
        self._last_s = seconds
        self._last_pts_s = pts_s if pts_s is not None else self._last_pts_s
        return seconds

    def restart(self) -> float:
        """Return the time of the end, from which the next round goes on."""
        if self._last_s is not None:
            self._end_s = self._last_s + self._picture_s
        self._last_s = self._last_pts_s = self._shift_before_s = None
        return self._end_s

    def _first(self, pts_s: float | None) -> float:
        self._shift_s = self._end_s - (pts_s or 0.0)
        return self._end_s

    def _next(self, last_s: float, pts_s: float | None) -> float:
        following_s = last_s + self._picture_s
        if pts_s is None:
            return following_s
        if self._last_pts_s is None:
            # The first stamp after pictures that had none.
            self._shift_s = following_s - pts_s
            return following_s
        if not self._is_plausible(pts_s + self._shift_s - last_s):
            self.faults += 1
            before_s, self._shift_before_s = self._shift_before_s, self._shift_s
            if before_s is not None and self._is_plausible(pts_s + before_s - last_s):
                # A wrong stamp or two, and then as before.
                self._shift_s = before_s
            else:
                self._shift_s = following_s - pts_s
        seconds = pts_s + self._shift_s
        if seconds > last_s:
            return seconds
        # Stamps that stand go on at the file's rate; time that was ahead waits for its stamps.
        return following_s if pts_s == self._last_pts_s else last_s + self._picture_s / 2

    def _is_plausible(self, step_s: float) -> bool:
        gap_s = max(_LONGEST_GAP_S, _LONGEST_GAP_PICTURES * self._picture_s)
        return -max(_JUMP_S, _REORDERED * self._picture_s) < step_s <= gap_s
