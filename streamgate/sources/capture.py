"""When the camera took a picture, as well as can be known from its timestamps.

A stream's timestamps run at the camera's pace from an unknown origin, and pictures are delayed by
an amount that varies: a burst arrives after opening, TCP retransmits, the machine is busy. No
picture arrives before it was taken, so the smallest difference between arrival and timestamp is
the best estimate of the origin, and whatever a picture is late beyond it is its age. The constant
part of the delay (exposure, encoding, the shortest way) cannot be seen from here.
"""

from __future__ import annotations

__all__ = ["JUMP_BACK_S", "WINDOW_S", "CaptureClock"]

WINDOW_S = 10.0
"""How long a smallest delay is believed: a camera whose clock runs slow by 1 % would otherwise
seem to fall behind for ever, by half a minute an hour."""

JUMP_BACK_S = 0.5
"""Timestamps that go back further have a new origin; decoders reorder by less."""


class CaptureClock:
    """Maps the timestamps of one connection to monotonic seconds.

    Instants never lie in the future and never run backwards.
    """

    def __init__(self) -> None:
        self._forget()
        self._first_pts_s: float | None = None
        self._last_captured_at: float | None = None

    def _forget(self) -> None:
        self._newest_pts_s: float | None = None
        self._window_from: float | None = None
        self._smallest_s: float | None = None
        self._smallest_before_s: float | None = None

    def observe(self, pts_s: float, arrived_at: float) -> None:
        """Learn from a packet: its timestamp and when it came."""
        if self._newest_pts_s is not None and pts_s < self._newest_pts_s - JUMP_BACK_S:
            self._forget()
        if self._first_pts_s is None:
            self._first_pts_s = pts_s
        self._newest_pts_s = max(pts_s, self._newest_pts_s or pts_s)
        self._turn_window(arrived_at)
        delay_s = arrived_at - pts_s
        self._smallest_s = delay_s if self._smallest_s is None else min(self._smallest_s, delay_s)

    def _turn_window(self, now: float) -> None:
        if self._window_from is None:
            self._window_from = now
        elif now - self._window_from >= WINDOW_S:
            self._window_from = now
            self._smallest_before_s, self._smallest_s = self._smallest_s, None

    def captured_at(self, pts_s: float | None, now: float) -> float:
        """Return when a picture was taken, in monotonic seconds.

        Args:
            pts_s: its timestamp; the first picture of a stream may have none, and is then as old
                as the first packet that has one.
            now: the present, monotonic seconds.
        """
        if pts_s is None and self._last_captured_at is None:
            pts_s = self._first_pts_s
        captured_at = now
        delays = [d for d in (self._smallest_s, self._smallest_before_s) if d is not None]
        if pts_s is not None and delays:
            captured_at = min(now, pts_s + min(delays))
        if self._last_captured_at is not None:
            captured_at = max(captured_at, self._last_captured_at)
        self._last_captured_at = captured_at
        return captured_at
