"""Watching a source as the daemon does: one task runs it, another reads its slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from streamgate.pipeline.slot import LatestSlot
from streamgate.ports import FrameSource
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Discontinuity, Frame

__all__ = ["SystemClock", "Viewer", "reach", "until", "value", "watching"]

PATIENCE_S = 15.0


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


class Viewer:
    """Reads what a source leaves in its slot."""

    def __init__(self, task: asyncio.Task[None], slot: LatestSlot) -> None:
        self.task = task
        self.slot = slot
        self._items = slot.frames()

    async def next(self) -> Frame | Discontinuity:
        """Return the next item."""
        async with asyncio.timeout(PATIENCE_S):
            return await anext(self._items)

    async def frames(self, count: int) -> list[Frame]:
        """Return frames, skipping discontinuities."""
        frames: list[Frame] = []
        while len(frames) < count:
            item = await self.next()
            if isinstance(item, Frame):
                frames.append(item)
        return frames

    async def frame_where(self, wanted: Callable[[Frame], bool]) -> Frame:
        """Return the first frame that fits."""
        while True:
            (frame,) = await self.frames(1)
            if wanted(frame):
                return frame

    async def discontinuity(self) -> Discontinuity:
        """Return the next discontinuity, skipping frames."""
        while True:
            item = await self.next()
            if isinstance(item, Discontinuity):
                return item

    async def everything(self) -> list[Frame | Discontinuity]:
        """Return all that a source leaves until it has ended."""
        self.task.add_done_callback(lambda _task: self.slot.close())
        async with asyncio.timeout(PATIENCE_S):
            items = [item async for item in self._items]
        await self.task
        return items


@asynccontextmanager
async def watching(source: FrameSource) -> AsyncIterator[Viewer]:
    """Run a source; it is cancelled at the end, and must then be gone."""
    slot = LatestSlot()
    task = asyncio.create_task(source.run(slot))
    task.add_done_callback(lambda done: slot.close() if not done.cancelled() else None)
    try:
        yield Viewer(task, slot)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def value(metrics: Metrics, name: str, **labels: Any) -> float:
    """Return a metric's value, 0 where it has never been touched."""
    return metrics.registry.get_sample_value(f"streamgate_{name}", labels) or 0.0


async def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds that other threads bring about."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  # nothing tells the loop when a metric changes
            await asyncio.sleep(0.02)


async def reach(metrics: Metrics, name: str, wanted: float, **labels: Any) -> float:
    """Wait until a metric has reached a value, and return how long that took."""
    began_at = time.monotonic()
    await until(lambda: value(metrics, name, **labels) >= wanted)
    return time.monotonic() - began_at
