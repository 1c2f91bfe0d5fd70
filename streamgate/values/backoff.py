"""When to try again: one schedule of pauses and one reading of `Retry-After` for the whole project.

Pure, so that years of it can be tested at once. The pause doubles up to a limit and is shortened at
random, so that a fleet does not fall on a server that has come back in one wave.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

__all__ = ["Backoff", "Pauses", "pause_s", "retry_after_s"]

_LONGEST_DIGITS = 9


class Pauses(Protocol):
    """First and longest pause in seconds, and the random share that is taken off each."""

    @property
    def initial_s(self) -> float:
        """First pause, seconds."""
        ...

    @property
    def max_s(self) -> float:
        """Longest pause, seconds."""
        ...

    @property
    def jitter(self) -> float:
        """Largest share taken off a pause, 0-1."""
        ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that no configuration sets, see `Pauses`."""

    initial_s: float
    max_s: float
    jitter: float = 0.3


def pause_s(failures: int, pauses: Pauses, fraction: float) -> float:
    """Return how long to wait before the next attempt.

    Args:
        failures: attempts that have failed in a row, at least 1.
        pauses: the schedule.
        fraction: a random number from 0 to 1: the share of the jitter that is taken.
    """
    # Beyond 2**64 times the first pause every schedule is at its limit, and no float overflows.
    doubled = pauses.initial_s * 2.0 ** min(failures - 1, 64)
    return min(doubled, pauses.max_s) * (1.0 - pauses.jitter * fraction)


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks to wait: a number of them, or a date (RFC 9110).

    Args:
        value: the header, None where there was none.
        now: the present, with its time zone.

    Returns:
        None where nothing usable was said; never below 0.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:_LONGEST_DIGITS])
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(0.0, (date - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
