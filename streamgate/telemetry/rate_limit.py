"""How often the same thing is said: a flood from outside must not become a flood of lines."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

__all__ = ["Rarely"]

_MOST_KEYS = 256


@dataclass(slots=True)
class _Said:
    since: float
    times: int = 0
    left_out: int = 0


class Rarely:
    """Admits so many of each kind in a period, and counts the rest.

    Args:
        most: how many are admitted in a period.
        period_s: its length, seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self, most: int = 1, period_s: float = 60.0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._period_s = period_s
        self._clock = clock
        self._said: OrderedDict[Hashable, _Said] = OrderedDict()

    def admit(self, key: Hashable = None) -> int | None:
        """Return how many were left out since the last that was admitted, or None for this too."""
        now = self._clock()
        said = self._said.get(key)
        if said is None:
            said = self._said[key] = _Said(now)
            while len(self._said) > _MOST_KEYS:
                self._said.popitem(last=False)
        if now - said.since >= self._period_s:
            said.since, said.times = now, 0
        if said.times >= self._most:
            said.left_out += 1
            return None
        said.times += 1
        left_out, said.left_out = said.left_out, 0
        return left_out
