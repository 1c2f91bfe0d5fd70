"""Which profile a schedule wants, over changes of the clocks and through the year."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgate.config.schedule import ScheduleSection
from streamgate.selection.timetable import local_instant, profile_at, span_of

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from([
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC",
    "America/Santiago", "Africa/Casablanca",
])  # fmt: skip
INSTANTS = st.datetimes(
    datetime(2011, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)
)  # fmt: skip
MINUTES = st.integers(0, 24 * 60 - 1)
DAYS = st.dates(date(2011, 1, 2), date(2037, 1, 1))


def clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def schedule(*entries: dict[str, Any], zone: str = "Europe/Berlin", **more: Any) -> ScheduleSection:
    return ScheduleSection.model_validate({"time_zone": zone, "entries": entries, **more})


def at(text: str, zone: ZoneInfo = BERLIN, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


NIGHT = {"profile": "night", "start": "22:00", "end": "06:00"}


@pytest.mark.parametrize(
    ("when", "profile"),
    [
        ("2026-07-01T21:59:59", "default"),
        ("2026-07-01T22:00:00", "night"),
        ("2026-07-02T00:00:00", "night"),
        ("2026-07-02T05:59:59", "night"),
        ("2026-07-02T06:00:00", "default"),
    ],
)
def test_a_night_lasts_over_midnight(when: str, profile: str) -> None:
    """From its start on, up to its end and not at it."""
    assert profile_at(schedule(NIGHT), at(when)) == profile


def test_days_are_those_on_which_an_entry_starts() -> None:
    """Friday's night lasts until Saturday morning; Saturday's does not begin."""
    friday = schedule({**NIGHT, "days": ["fri"]})
    assert profile_at(friday, at("2026-07-04T05:00")) == "night"
    assert profile_at(friday, at("2026-07-04T23:00")) == "default"
    assert profile_at(friday, at("2026-07-03T05:00")) == "default"


def test_the_first_entry_counts_where_several_hold() -> None:
    """So an exception stands before the rule; it may be the file's own settings."""
    entries = ({"profile": "default", "start": "23:00", "end": "24:00"}, NIGHT)
    assert profile_at(schedule(*entries), at("2026-07-01T23:30")) == "default"
    assert profile_at(schedule(*entries), at("2026-07-02T00:00")) == "night"


def test_a_time_that_exists_twice_is_the_first_of_the_two() -> None:
    """25 October 2026 in Berlin: 02:30 comes at 00:30 and at 01:30 UTC."""
    early = schedule({"profile": "early", "start": "01:00", "end": "02:30"})
    assert profile_at(early, at("2026-10-25T02:29", fold=0)) == "early"
    assert profile_at(early, at("2026-10-25T02:29", fold=1)) == "default"
    late = schedule({"profile": "late", "start": "02:30", "end": "03:00"})
    assert profile_at(late, at("2026-10-25T02:31", fold=0)) == "late"
    assert profile_at(late, at("2026-10-25T02:15", fold=1)) == "late"
    assert profile_at(late, at("2026-10-25T03:00")) == "default"


def test_a_time_that_does_not_exist_is_the_change_itself() -> None:
    """29 March 2026 in Berlin: from 02:00 to 03:00 in no time, at 01:00 UTC."""
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert local_instant(date(2026, 3, 29), 150, BERLIN) == change
    until = schedule({"profile": "until", "start": "01:00", "end": "02:30"})
    assert profile_at(until, change - timedelta(seconds=1)) == "until"
    assert profile_at(until, change) == "default"
    within = schedule({"profile": "within", "start": "02:10", "end": "02:50"})
    assert profile_at(within, change) == "default"
    assert profile_at(within, change + timedelta(hours=12)) == "default"


@settings(max_examples=200, deadline=None)
@given(zone=ZONES, instant=INSTANTS, start=MINUTES, end=MINUTES)
def test_entries_that_meet_leave_no_gap_and_do_not_overlap(
    zone: str, instant: datetime, start: int, end: int
) -> None:
    """One from a to b and one from b to a: at each instant exactly one of them holds."""
    if start == end:
        return
    one = {"profile": "one", "start": clock(start), "end": clock(end)}
    other = {"profile": "other", "start": clock(end), "end": clock(start)}
    found = profile_at(schedule(one, other, zone=zone), instant)
    assert found == profile_at(schedule(other, one, zone=zone), instant)
    assert found in ("one", "other")


@settings(max_examples=200, deadline=None)
@given(zone=ZONES, day=DAYS, minutes=st.lists(st.integers(0, 1440), min_size=2, max_size=2))
def test_later_local_times_are_never_earlier_instants(
    zone: str, day: date, minutes: list[int]
) -> None:
    """Whatever the clocks do that day; and the day's end is the next day's beginning."""
    earlier, later = (local_instant(day, m, ZoneInfo(zone)) for m in sorted(minutes))
    assert earlier <= later
    next_day = local_instant(day + timedelta(days=1), 0, ZoneInfo(zone))
    assert local_instant(day, 1440, ZoneInfo(zone)) == next_day


@settings(max_examples=200, deadline=None)
@given(zone=ZONES, day=DAYS, minutes=MINUTES)
def test_an_instant_shows_the_time_that_it_was_made_from(
    zone: str, day: date, minutes: int
) -> None:
    """Or, where that is left out, is the first instant after the gap."""
    instant = local_instant(day, minutes, ZoneInfo(zone))
    shown = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    wanted = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)
    before = (instant - timedelta(seconds=1)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert shown == wanted or before < wanted < shown


PLACE = {"latitude": 52.52, "longitude": 13.405}


@pytest.mark.parametrize(
    ("entry", "day", "hours"),
    [
        # Berlin, midsummer: the sun sets at 21:33 and rises at 04:43.
        ({"start": "sunset", "end": "sunrise"}, date(2026, 6, 21), 7.2),
        ({"start": "sunset", "end": "06:00"}, date(2026, 6, 21), 8.4),
        ({"start": "sunset", "end": "21:00"}, date(2026, 6, 21), -0.6),
        ({"start": "sunset-01:00", "end": "sunset+01:00"}, date(2026, 6, 21), 2.0),
        ({"start": "20:00", "end": "sunrise"}, date(2026, 6, 21), 8.7),
        ({"start": "03:00", "end": "sunrise"}, date(2026, 6, 21), 1.7),
        ({"start": "sunrise", "end": "sunset"}, date(2026, 6, 21), 16.8),
        # Midwinter: from 15:54 to 08:15.
        ({"start": "sunset", "end": "sunrise"}, date(2026, 12, 21), 16.4),
        ({"start": "sunset", "end": "21:00"}, date(2026, 12, 21), 5.1),
        ({"start": "20:00", "end": "sunset"}, date(2026, 12, 21), -4.1),
    ],
)
def test_spans_by_the_sun(entry: dict[str, str], day: date, hours: float) -> None:
    """From evening to morning is over midnight; what ends before it begins is empty."""
    timetable = schedule({"profile": "night", **entry}, place=PLACE)
    start, end = span_of(timetable.entries[0], timetable, day)
    assert (end - start).total_seconds() / 3600 == pytest.approx(hours, abs=0.1)


@settings(max_examples=100, deadline=None)
@given(instant=INSTANTS, latitude=st.floats(-60, 60))
def test_night_and_day_by_the_sun_share_all_time(instant: datetime, latitude: float) -> None:
    """From sunset to sunrise and from sunrise to sunset there is no gap and no overlap."""
    place = {"latitude": latitude, "longitude": 13.4}
    night = {"profile": "night", "start": "sunset", "end": "sunrise"}
    day = {"profile": "day", "start": "sunrise", "end": "sunset"}
    found = profile_at(schedule(night, day, place=place), instant)
    assert found == profile_at(schedule(day, night, place=place), instant)
    assert found in ("night", "day")
