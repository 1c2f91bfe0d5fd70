"""Figures beside the limit that they are compared with, which must not contradict it."""

from __future__ import annotations

import math

__all__ = ["figure", "limit_figure"]

_MOST_DIGITS = 4


def limit_figure(limit: float) -> str:
    """A limit in as few digits as it is set in, at most two behind the point."""
    return f"{limit:.2f}".rstrip("0").rstrip(".")


def figure(value: float, limit: float | None = None, *, digits: int = 0) -> str:
    """A value in as few digits as tell on which side of the limit it is.

    39.6 of 40 is not 40, and a confidence of 0.6996 of 0.7 is not 0.70.

    Args:
        limit: what the value must reach.
        digits: how many are shown behind the point where the limit asks for no more.
    """
    if limit is None:
        return f"{value:.{digits}f}"
    wanted = float(limit_figure(limit))
    for more in range(digits, _MOST_DIGITS + 1):
        shown = f"{value:.{more}f}"
        if (float(shown) >= wanted) == (value >= limit):
            return shown
    # So near that no reader cares, except about the side.
    step = 10.0**-_MOST_DIGITS
    side = math.ceil(wanted / step) * step
    return f"{side if value >= limit else side - step:.{_MOST_DIGITS}f}"
