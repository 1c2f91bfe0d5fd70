"""Which profile is in use, and why: what a call has asked for, or else what the schedule wants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from streamgate.config import CameraConfig
from streamgate.config.profiles import DEFAULT_PROFILE
from streamgate.errors import ConfigError
from streamgate.selection.timetable import profile_at
from streamgate.values.reasons import ProfileReason

__all__ = ["CalledProfile", "ProfileChoice", "UnknownProfileError", "choose_profile"]


class UnknownProfileError(ConfigError):
    """There is no profile of that name."""


@dataclass(frozen=True, slots=True)
class CalledProfile:
    """A profile that a call has asked for.

    Attributes:
        until: monotonic seconds at which it ends; None until it is cancelled.
    """

    name: str
    until: float | None = None

    def holds(self, config: CameraConfig, monotonic: float) -> bool:
        """Whether it is still asked for, and there is such a profile."""
        is_known = self.name == DEFAULT_PROFILE or self.name in config.profiles
        return is_known and (self.until is None or monotonic < self.until)


@dataclass(frozen=True, slots=True)
class ProfileChoice:
    """The profile to be in use, and what wants it."""

    name: str
    reason: ProfileReason


def choose_profile(
    config: CameraConfig, called: CalledProfile | None, *, wall: float, monotonic: float
) -> ProfileChoice:
    """Return the profile that is to be in use now.

    Args:
        config: as the file has it.
        wall: Unix seconds, for the schedule.
        monotonic: seconds, for the end of what a call has asked for.
    """
    if called is not None and called.holds(config, monotonic):
        return ProfileChoice(called.name, ProfileReason.CALL)
    if not config.schedule.entries:
        return ProfileChoice(DEFAULT_PROFILE, ProfileReason.FILE)
    now = datetime.fromtimestamp(wall, UTC)
    return ProfileChoice(profile_at(config.schedule, now), ProfileReason.SCHEDULE)
