"""How long faults must last before somebody is alerted. Tests shorten it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FLEET", "Timing"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Windows and delays of the rules, in seconds.

    Attributes:
        window_s: over which rates are taken.
        trend_s: over which growth is measured.
        hour_s, day_s, week_s: lengths of an hour, a day and a week.
        at_once_s, soon_s, later_s, long_s: how long a fault must last, from urgent to minor.
    """

    window_s: int = 300
    trend_s: int = 900
    hour_s: int = 3600
    day_s: int = 86_400
    week_s: int = 604_800
    at_once_s: int = 60
    soon_s: int = 120
    later_s: int = 300
    long_s: int = 900


FLEET = Timing()


def duration(seconds: int) -> str:
    """Return a duration as Prometheus writes it."""
    for size, unit in ((604_800, "w"), (86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
