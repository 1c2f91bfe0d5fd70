"""How old a stored best shot is, whatever anybody does to the clock.

The outbox has a time of its own: seconds since its file was made, counted on a clock that nobody
can set, sleep of the machine included. The file remembers this time together with a *moment*: the
machine's boot, its seconds since boot, and the wall clock. Within one boot, what has passed since
is exact. Across boots only the wall clock tells, and it is believed where it can be true: a machine
without a battery begins in 1970 until a time server has answered.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["EARLIEST_WALL", "Moment", "elapsed_s", "moment_now"]

EARLIEST_WALL = 1_735_689_600.0
"""2025-01-01: this program is younger."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time by every clock there is.

    Attributes:
        boot: the machine's boot, empty where it has no name.
        boot_s: seconds since boot.
        wall: Unix seconds.
    """

    boot: str
    boot_s: float
    wall: float


def moment_now() -> Moment:
    """This moment."""
    return Moment(_boot(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


def elapsed_s(before: Moment, now: Moment) -> float:
    """Seconds between two moments, at least 0; 0 where nothing that can be believed tells."""
    if before.boot == now.boot and now.boot_s >= before.boot_s:
        return now.boot_s - before.boot_s
    if before.wall < EARLIEST_WALL:
        return 0.0
    return max(0.0, now.wall - before.wall)


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
