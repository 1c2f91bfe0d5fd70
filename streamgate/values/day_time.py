"""A time of day as a schedule names it: by the clock, or by the sun."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["DAY_MINUTES", "DayTime", "parse_day_time"]

DAY_MINUTES = 24 * 60
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_SUN = re.compile(r"(sunrise|sunset)(?:\s*([+-])\s*(\d{1,2}):(\d{2}))?")
_MOST_OFFSET = 6 * 60
_WANTED = (
    "wanted a time of day such as 22:00 (24:00 is the end of the day), or sunrise or sunset, with "
    "an offset of at most 06:00 such as sunset-00:30"
)


@dataclass(frozen=True, slots=True)
class DayTime:
    """A time of day.

    Attributes:
        anchor: what it is counted from: local midnight, or an event of the sun.
        minutes: after midnight, 0 to 1440; or after the event, negative before it.
    """

    anchor: Literal["midnight", "sunrise", "sunset"]
    minutes: int

    @property
    def by_sun(self) -> bool:
        """Whether a place must be known to tell when it is."""
        return self.anchor != "midnight"


def parse_day_time(text: str) -> DayTime:
    """Read `22:00`, `sunset` or `sunrise+01:15`.

    Raises:
        ValueError: it says what is wanted.
    """
    text = text.strip().lower()
    if found := _CLOCK.fullmatch(text):
        minutes = _minutes(found[1], found[2])
        if minutes is not None and minutes <= DAY_MINUTES:
            return DayTime("midnight", minutes)
    elif found := _SUN.fullmatch(text):
        anchor: Literal["sunrise", "sunset"] = "sunrise" if found[1] == "sunrise" else "sunset"
        offset = 0 if found[2] is None else _minutes(found[3], found[4])
        if offset is not None and offset <= _MOST_OFFSET:
            return DayTime(anchor, -offset if found[2] == "-" else offset)
    raise ValueError(_WANTED)


def _minutes(hours: str, minutes: str) -> int | None:
    return None if int(minutes) >= 60 else 60 * int(hours) + int(minutes)
