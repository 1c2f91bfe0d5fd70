"""The rules of a lease that need no server: how epochs grow, and how long a tenure may be used."""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["ORIGIN_WALL", "Tenure", "margin_s", "next_epoch", "since_boot_s"]

ORIGIN_WALL = 1_735_689_600
"""2025-01-01: epochs begin with the seconds since then, which fit 31 bits until 2093."""
_LEAST_MARGIN_S = 0.5
_MARGIN = 0.1


def next_epoch(last: int, wall: float) -> int:
    """The epoch of a new tenure.

    It is larger than the last one. It also begins with the time: where the server has lost its
    memory, consumers that remember an epoch would drop all that follows a fresh start at 1.

    Args:
        last: that of the tenure before, 0 where none is known.
        wall: Unix seconds.
    """
    return max(last + 1, int(wall) - ORIGIN_WALL, 1)


def since_boot_s() -> float:
    """Seconds since the machine's boot, sleep included: a lease also runs out while it sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def margin_s(ttl_s: float) -> float:
    """How long before its end a tenure is no longer used, so that what was sent can arrive."""
    return max(_LEAST_MARGIN_S, _MARGIN * ttl_s)


@dataclass(frozen=True, slots=True)
class Tenure:
    """A time in which one process may deliver for a camera.

    Attributes:
        epoch: its number, larger than that of every tenure before it.
        until: seconds since boot at which the server may give the lease to another.
    """

    epoch: int
    until: float
