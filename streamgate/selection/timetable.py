"""Which profile a schedule wants at an instant; time is an argument.

An entry stands for one span of time a day, from an instant to an instant, so that changes to and
from summer time need no case of their own. A local time becomes an instant like this: one that
exists twice, when the clocks are put back, is the first of the two; one that does not exist, when
they are put forward, is the instant at which they are. Both keep the order of times, so that two
entries of which one ends when the other begins leave no gap and never overlap, on those days too.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from streamgate.config.profiles import DEFAULT_PROFILE
from streamgate.config.schedule import DAYS, PlaceSection, ScheduleEntry, ScheduleSection
from streamgate.selection.sun import sun_event
from streamgate.values.day_time import DAY_MINUTES, DayTime, parse_day_time

__all__ = ["local_instant", "profile_at", "span_of"]

_NOON = DAY_MINUTES // 2


def profile_at(schedule: ScheduleSection, instant: datetime) -> str:
    """Return the profile that is to be in use: that of the first entry whose span holds it.

    Args:
        instant: with a time zone.
    """
    today = instant.astimezone(ZoneInfo(schedule.time_zone)).date()
    for entry in schedule.entries:
        # A span that began yesterday may last; the sun of far zones may belong to a date beside.
        for days in (0, -1, -2, 1):
            day = today + timedelta(days=days)
            if DAYS[day.weekday()] not in entry.days:
                continue
            start, end = span_of(entry, schedule, day)
            if start <= instant < end:
                return entry.profile
    return DEFAULT_PROFILE


def span_of(
    entry: ScheduleEntry, schedule: ScheduleSection, day: date
) -> tuple[datetime, datetime]:
    """Return the instants, UTC, between which an entry holds that starts on a day.

    An end that comes before its start, such as a sunset at 22:10 for an entry until 22:00, makes it
    empty that day.
    """
    start, end = parse_day_time(entry.start), parse_day_time(entry.end)
    end_day = day + timedelta(days=1) if _is_next_day(start, end) else day
    return _instant(start, schedule, day), _instant(end, schedule, end_day)


def local_instant(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """Return the instant, UTC, of a local time; see the module for those that are not one."""
    midnight = datetime(day.year, day.month, day.day)
    local = midnight + timedelta(minutes=minutes)
    first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == local:
        return first
    # The hour that is left out: with either offset the time falls on another side of the change.
    before, after = local.replace(tzinfo=zone, fold=1).astimezone(UTC), first
    return _change_between(before, after, zone)


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The instant, to the second, at which a zone's offset changes."""
    offset = before.astimezone(zone).utcoffset()
    seconds = int((after - before).total_seconds())
    low, high = 0, seconds
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)


def _is_next_day(start: DayTime, end: DayTime) -> bool:
    """Whether an entry ends on the day after the one on which it starts.

    By the clock, if its end is not later than its start. With the sun the order differs through the
    year, so that it is by noon: from the evening to the morning is over midnight.
    """
    if start.anchor == end.anchor:
        return end.minutes <= start.minutes
    return _is_evening(start) and not _is_evening(end)


def _is_evening(time: DayTime) -> bool:
    if time.by_sun:
        return time.anchor == "sunset"
    return time.minutes >= _NOON


def _instant(time: DayTime, schedule: ScheduleSection, day: date) -> datetime:
    if not time.by_sun:
        return local_instant(day, time.minutes, ZoneInfo(schedule.time_zone))
    place: PlaceSection | None = schedule.place
    assert place is not None, "validated with the schedule"
    event = sun_event(
        day,
        rises=time.anchor == "sunrise",
        latitude=place.latitude,
        longitude=place.longitude,
    )
    return event + timedelta(minutes=time.minutes)
