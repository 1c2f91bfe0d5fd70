"""RTP timestamps to capture times.

A sender counts time from an origin of its own. Its reports tie that count to its wall clock; where
that clock agrees with ours, capture times are exact. Where it does not (a phone that is minutes
off), the packet that travelled fastest ties the two: its capture is taken to be its arrival, and
every other frame is older by what its own packets took longer.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CaptureClock"]

_RATE = 90_000
# A report that seems to have travelled longer than this, or to come from the future, was written by
# a clock that is not ours.
_LONGEST_TRANSIT_S = 0.5
_FUTURE_TOLERANCE_S = 0.02
# The fastest packet is looked for in the last one or two of these, so that clock drift is followed.
_WINDOW_S = 10.0
# A timestamp further than this from where arrival puts it belongs to another time base.
_LARGEST_JUMP_S = 5.0
_SHORTEST_STEP_S = 0.001


@dataclass(frozen=True, slots=True)
class _Report:
    ticks: int
    wall: float


class CaptureClock:
    """Gives each frame of one stream the monotonic time of its capture; times only grow."""

    def __init__(self) -> None:
        self._last_captured = float("-inf")
        self._restart()

    def _restart(self) -> None:
        self._ticks: int | None = None
        self._report: _Report | None = None
        self._window_began = 0.0
        self._fastest = float("inf")
        self._fastest_before = float("inf")

    def report(self, timestamp: int, *, sender_wall: float, wall: float) -> None:
        """Take a sender report.

        Args:
            timestamp: RTP timestamp of the report.
            sender_wall: the sender's Unix seconds at that timestamp.
            wall: our Unix seconds at the report's arrival.
        """
        transit_s = wall - sender_wall
        if -_FUTURE_TOLERANCE_S <= transit_s <= _LONGEST_TRANSIT_S:
            self._report = _Report(self._unwrap(timestamp), sender_wall)
        else:
            self._report = None

    def captured_at(self, timestamp: int, *, arrived_at: float, wall_ahead_s: float) -> float:
        """Return the monotonic capture time of the frame with this RTP timestamp.

        Args:
            arrived_at: monotonic seconds at which its first packet came.
            wall_ahead_s: our Unix seconds minus our monotonic seconds.
        """
        ticks = self._unwrap(timestamp)
        if self._jumped(ticks, arrived_at):
            self._restart()
            ticks = self._unwrap(timestamp)
        self._ticks = ticks
        captured = self._by_arrival(ticks, arrived_at)
        if self._report is not None:
            captured = self._report.wall + (ticks - self._report.ticks) / _RATE - wall_ahead_s
        captured = max(min(captured, arrived_at), self._last_captured + _SHORTEST_STEP_S)
        self._last_captured = captured
        return captured

    def _unwrap(self, timestamp: int) -> int:
        if self._ticks is None:
            self._ticks = timestamp
        step = (timestamp - self._ticks) & 0xFFFFFFFF
        return self._ticks + (step - 0x100000000 if step & 0x80000000 else step)

    def _jumped(self, ticks: int, arrived_at: float) -> bool:
        fastest = min(self._fastest, self._fastest_before)
        if fastest == float("inf"):
            return False
        return abs(arrived_at - ticks / _RATE - fastest) > _LARGEST_JUMP_S

    def _by_arrival(self, ticks: int, arrived_at: float) -> float:
        if arrived_at - self._window_began > _WINDOW_S:
            self._window_began = arrived_at
            self._fastest_before, self._fastest = self._fastest, float("inf")
        self._fastest = min(self._fastest, arrived_at - ticks / _RATE)
        return ticks / _RATE + min(self._fastest, self._fastest_before)
