"""When the schedule of a lost source's attempts begins anew.

A stream that had lived for a while starts it anew; one that dies at once does not, or a camera that
accepts and hangs up would be hammered.
"""

from __future__ import annotations

__all__ = ["HEALTHY_S", "failures_after"]

HEALTHY_S = 10.0


def failures_after(failures: int, delivered_s: float) -> int:
    """Return the failures in a row, given how long the stream just lost had delivered frames."""
    return 1 if delivered_s >= HEALTHY_S else failures + 1
