"""A clock that stands until it is moved, and a sink that does as it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from streamgate.values import EncodedShot


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


class HandClock:
    """Both clocks stand still until `pass_s`."""

    def __init__(self, wall: float = 1_790_000_000.0) -> None:
        self.now = 0.0
        self.start = wall

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.start + self.now

    def pass_s(self, seconds: float) -> None:
        self.now += seconds


class Recorder:
    """A sink that notes what it is given; `answer` may raise instead of taking it."""

    def __init__(self, name: str = "recorder", *, takes_s: float = 0.0) -> None:
        self.name = name
        self.takes_s = takes_s
        self.answer: Callable[[EncodedShot], None] = lambda _shot: None
        self.taken: list[EncodedShot] = []
        self.attempts = 0
        self.failed: set[str] = set()
        self.under_way: list[tuple[str, int]] = []
        self.most_under_way = 0
        self.closed = False
        self._changed = asyncio.Event()

    @property
    def keys(self) -> list[str]:
        return [shot.key for shot in self.taken]

    async def deliver(self, shot: EncodedShot) -> None:
        # One that has failed is tried again by itself.
        tried_again = shot.key in self.failed
        assert tried_again or shot.track not in self.under_way, "two of one track at once"
        self.under_way.append(shot.track)
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        try:
            self.attempts += 1
            self._changed.set()
            await asyncio.sleep(self.takes_s)
            try:
                self.answer(shot)
            except BaseException:
                self.failed.add(shot.key)
                raise
            self.taken.append(shot)
        finally:
            self.under_way.remove(shot.track)
            self._changed.set()

    async def close(self) -> None:
        self.closed = True

    async def until(self, condition: Callable[[], bool], limit_s: float = 20.0) -> None:
        """Wait until a condition holds, looking after each attempt."""
        async with asyncio.timeout(limit_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()
