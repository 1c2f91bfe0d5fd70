"""Sunrise and sunset, against another implementation."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from astral import Observer
from astral.sun import sunrise, sunset
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgate.selection.sun import sun_event

DAYS = st.dates(date(2000, 1, 1), date(2060, 12, 31))


@settings(max_examples=200, deadline=None)
@given(day=DAYS, latitude=st.floats(-60, 60), longitude=st.floats(-180, 180), rises=st.booleans())
def test_the_sun_is_where_another_library_has_it(
    day: date, latitude: float, longitude: float, rises: bool
) -> None:
    """Within 90 seconds, up to 60° of latitude."""
    ours = sun_event(day, rises=rises, latitude=latitude, longitude=longitude)
    event = sunrise if rises else sunset
    observer = Observer(latitude, longitude)
    # It takes the date as one of Greenwich, where the event of a far place may be on another.
    near = [
        event(observer, day + timedelta(days=days), tzinfo=UTC) for days in (-1, 0, 1)
    ]  # fmt: skip
    assert min(abs((ours - theirs).total_seconds()) for theirs in near) < 90


@pytest.mark.parametrize(
    ("day", "rises", "place", "at"),
    [
        # Published tables, in UTC.
        (date(2026, 6, 21), True, (52.52, 13.405), "2026-06-21T02:43"),
        (date(2026, 6, 21), False, (52.52, 13.405), "2026-06-21T19:33"),
        (date(2026, 12, 21), False, (51.507, -0.128), "2026-12-21T15:53"),
    ],
)
def test_the_sun_of_known_days(day: date, rises: bool, place: tuple[float, float], at: str) -> None:
    """Berlin and London at the solstices, to two minutes."""
    found = sun_event(day, rises=rises, latitude=place[0], longitude=place[1])
    wanted = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert abs((found - wanted).total_seconds()) < 120


@given(day=DAYS, latitude=st.floats(-90, 90), longitude=st.floats(-180, 180))
def test_sunset_is_never_before_sunrise(day: date, latitude: float, longitude: float) -> None:
    """Up to the poles; where the sun stays down both are at noon, where it stays up a day apart."""
    risen = sun_event(day, rises=True, latitude=latitude, longitude=longitude)
    gone = sun_event(day, rises=False, latitude=latitude, longitude=longitude)
    assert timedelta(0) <= gone - risen < timedelta(hours=24, minutes=2)


def test_the_polar_night_is_all_night() -> None:
    """From noon to noon."""
    place = {"latitude": 78.2, "longitude": 15.6}
    gone = sun_event(date(2026, 12, 21), rises=False, **place)
    risen = sun_event(date(2026, 12, 22), rises=True, **place)
    assert abs((risen - gone) - timedelta(hours=24)) < timedelta(minutes=2)
