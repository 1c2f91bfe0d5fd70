"""When a lost source is opened again: a pure schedule, so that years of it can be tested at once.

The pause doubles up to a limit and is shortened at random, so that a fleet of gates does not fall
on a rebooted recorder in one wave. A stream that had lived for a while starts the schedule anew;
one that dies at once does not, or a camera that accepts and hangs up would be hammered.
"""

from __future__ import annotations

from streamgate.config.source import ReconnectSection

__all__ = ["HEALTHY_S", "failures_after", "pause_s"]

HEALTHY_S = 10.0


def pause_s(failures: int, settings: ReconnectSection, fraction: float) -> float:
    """Return how long to wait before the next attempt.

    Args:
        failures: attempts that have failed in a row, at least 1.
        settings: first and longest pause in seconds, and the jitter's share.
        fraction: a random number from 0 to 1: the share of the jitter that is taken.
    """
    # Beyond 2**64 times the first pause every schedule is at its limit, and no float overflows.
    doubled = settings.initial_s * 2.0 ** min(failures - 1, 64)
    return min(doubled, settings.max_s) * (1.0 - settings.jitter * fraction)


def failures_after(failures: int, delivered_s: float) -> int:
    """Return the failures in a row, given how long the stream just lost had delivered frames."""
    return 1 if delivered_s >= HEALTHY_S else failures + 1
