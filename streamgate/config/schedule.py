"""When which profile is in use, by the clock or by the sun."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from streamgate.config.section import Name, Section
from streamgate.values.day_time import DAY_MINUTES, parse_day_time

__all__ = ["DAYS", "PlaceSection", "ScheduleEntry", "ScheduleSection"]

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)


def _day_time(value: Any) -> Any:
    """Check a time; YAML takes 22:00 without quotes for 1320 minutes."""
    if isinstance(value, int) and not isinstance(value, bool) and 60 <= value <= DAY_MINUTES:
        value = f"{value // 60:02d}:{value % 60:02d}"
    if not isinstance(value, str):
        value = ""
    parse_day_time(value)
    return value


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("wanted a time zone by its IANA name, such as Europe/Berlin") from None
    return name


DayTimeText = Annotated[str, BeforeValidator(_day_time)]


class PlaceSection(Section):
    """Where the camera is, for sunrise and sunset; a degree of error is four minutes."""

    latitude: float = Field(ge=-90, le=90, description="Degrees, north is positive.")
    longitude: float = Field(ge=-180, le=180, description="Degrees, east is positive.")


class ScheduleEntry(Section):
    """A time at which a profile is in use."""

    profile: Name = Field(description="Name of the profile.")
    start: DayTimeText = Field(
        description="Time of day at which it is taken into use, such as 22:00, sunset or "
        "sunset-00:30."
    )
    end: DayTimeText = Field(
        description="Time of day at which it ends. A time that is not after start is on the next "
        "day; 24:00 is the end of the day."
    )
    days: tuple[Day, ...] = Field(
        default=DAYS,
        min_length=1,
        max_length=7,
        description="Days of the week on which it starts.",
    )

    @model_validator(mode="after")
    def _lasts(self) -> ScheduleEntry:
        if parse_day_time(self.start) == parse_day_time(self.end):
            raise ValueError("wanted an end that is not the start; the whole day is 00:00 to 24:00")
        return self


class ScheduleSection(Section):
    """When which profile is in use. Where entries overlap, the first of them counts."""

    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC",
        description="Time zone of the entries by its IANA name, such as Europe/Berlin. Summer time "
        "is followed.",
    )
    place: PlaceSection | None = Field(
        default=None, description="Where the camera is; needed by entries that name the sun."
    )
    entries: tuple[ScheduleEntry, ...] = Field(
        default=(),
        max_length=64,
        description="Times at which a profile is in use. At all others the settings of the file "
        "itself are, which are called the profile `default`.",
    )

    @model_validator(mode="after")
    def _sun_has_place(self) -> ScheduleSection:
        if self.place is None:
            for entry in self.entries:
                if parse_day_time(entry.start).by_sun or parse_day_time(entry.end).by_sun:
                    raise ValueError(
                        "wanted place: {latitude: ..., longitude: ...}, because an entry names the "
                        "sun"
                    )
        return self
