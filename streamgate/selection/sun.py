"""When the sun rises and sets: the equations of NOAA's solar calculator.

They are those of J. Meeus, Astronomical Algorithms (2nd edition, 1998, chapters 25 and 28), with
atmospheric refraction at the horizon and the sun's radius as NOAA takes them: the sun's centre is
then 0.833° below the horizon. Up to 60° of latitude the result is right to about a minute.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

__all__ = ["sun_event"]

_ZENITH = math.radians(90.833)
_J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)
_CENTURY_S = 36_525 * 86_400.0
_MINUTES_PER_DEGREE = 4.0


def sun_event(day: date, *, rises: bool, latitude: float, longitude: float) -> datetime:
    """Return the instant of a day's sunrise or sunset, in UTC.

    Where the sun does not set that day, the day counts from one midnight of the sun to the next;
    where it does not rise, sunrise and sunset are both at noon.

    Args:
        day: the date at the place.
        rises: sunrise, else sunset.
        latitude: degrees, north is positive.
        longitude: degrees, east is positive.
    """
    mean_noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) - timedelta(
        minutes=_MINUTES_PER_DEGREE * longitude
    )
    at = mean_noon
    # The sun moves on between noon and the event; a second and third look take that in.
    for _ in range(3):
        declination, equation_minutes = _sun_at(at)
        half_day = math.degrees(_hour_angle(math.radians(latitude), declination))
        minutes = _MINUTES_PER_DEGREE * (-half_day if rises else half_day) - equation_minutes
        at = mean_noon + timedelta(minutes=minutes)
    return at


def _hour_angle(latitude: float, declination: float) -> float:
    """Half of the day as an angle, radians, 0 to π."""
    below = math.cos(latitude) * math.cos(declination)
    above = math.cos(_ZENITH) - math.sin(latitude) * math.sin(declination)
    # At a pole there is no angle, only a side.
    cosine = above / below if abs(below) > 1e-9 else math.copysign(2.0, above)
    return math.acos(min(1.0, max(-1.0, cosine)))


def _sun_at(instant: datetime) -> tuple[float, float]:
    """The sun's declination, radians, and the equation of time, minutes."""
    century = (instant - _J2000).total_seconds() / _CENTURY_S
    mean_longitude = math.radians(
        (280.46646 + century * (36000.76983 + century * 0.0003032)) % 360.0
    )
    anomaly = math.radians(357.52911 + century * (35999.05029 - 0.0001537 * century))
    eccentricity = 0.016708634 - century * (0.000042037 + 0.0000001267 * century)
    centre = math.radians(
        math.sin(anomaly) * (1.914602 - century * (0.004817 + 0.000014 * century))
        + math.sin(2 * anomaly) * (0.019993 - 0.000101 * century)
        + math.sin(3 * anomaly) * 0.000289
    )
    node = math.radians(125.04 - 1934.136 * century)
    longitude = mean_longitude + centre - math.radians(0.00569 + 0.00478 * math.sin(node))
    mean_obliquity = (
        23.0
        + (26.0 + (21.448 - century * (46.815 + century * (0.00059 - century * 0.001813))) / 60.0)
        / 60.0
    )
    obliquity = math.radians(mean_obliquity + 0.00256 * math.cos(node))
    declination = math.asin(math.sin(obliquity) * math.sin(longitude))
    y = math.tan(obliquity / 2) ** 2
    equation = (
        y * math.sin(2 * mean_longitude)
        - 2 * eccentricity * math.sin(anomaly)
        + 4 * eccentricity * y * math.sin(anomaly) * math.cos(2 * mean_longitude)
        - 0.5 * y * y * math.sin(4 * mean_longitude)
        - 1.25 * eccentricity * eccentricity * math.sin(2 * anomaly)
    )
    return declination, _MINUTES_PER_DEGREE * math.degrees(equation)
