"""The door through which best shots leave: into the outbox at once, to every sink in time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from streamgate.config import DeliverySection
from streamgate.delivery.lane import Lane, Pace
from streamgate.delivery.outbox import Outbox
from streamgate.delivery.payload import encode_shot
from streamgate.metrics import Metrics
from streamgate.ports import Clock, Sink
from streamgate.values import Acceptance, BestShot, EncodedShot

__all__ = ["Dispatcher"]

log = structlog.get_logger(__name__)

_TEND_S = 1.0
_CLOSE_S = 1.0


class Dispatcher:
    """Accepts best shots and delivers each to every sink.

    Args:
        outbox: made for the names of exactly these sinks.
        sinks: closed by `run`, as the outbox is.
    """

    def __init__(
        self,
        section: DeliverySection,
        *,
        outbox: Outbox,
        sinks: Sequence[Sink],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._section = section
        self._outbox = outbox
        self._sinks = tuple(sinks)
        at_once = {sink.name: sink.at_once for sink in section.sinks}
        self._lanes = [
            Lane(
                sink, outbox, Pace(at_once.get(sink.name, 1), section.retry),
                metrics=metrics, clock=clock,
            )
            for sink in sinks
        ]  # fmt: skip
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = asyncio.Event()
        self._stopped = asyncio.Event()
        self._out_of_time = False
        for sink in sinks:
            metrics.expect_sink(sink.name)
            metrics.watch(
                metrics.outbox_shots.labels(sink.name), partial(outbox.waiting, sink.name)
            )

    def pending(self) -> int:
        """How many best shots wait for at least one sink."""
        return self._outbox.pending

    async def open(self) -> None:
        """Open the outbox, so that it fails at start where it must fail; `run` does so too.

        Raises:
            OutboxError: it can never work as it is configured.
        """
        await self._outbox.open()

    async def accept(self, shot: BestShot) -> Acceptance:
        """Take a best shot; returning means that it is as safe as the outbox can make it.

        It waits for no sink, and may be called before `run` and after `drain`.
        """
        encoded = await asyncio.to_thread(
            encode_shot,
            shot,
            crop_format=self._section.crop_format,
            jpeg_quality=self._section.jpeg_quality,
        )
        return await self.accept_encoded(encoded)

    async def accept_encoded(self, shot: EncodedShot) -> Acceptance:
        """Take a best shot that is encoded already, see `accept`."""
        await self._outbox.open()
        acceptance = await self._outbox.add(shot)
        for lane in self._lanes:
            lane.wake()
        return acceptance

    async def run(self) -> None:
        """Deliver until `drain` was asked for; then close sinks and outbox.

        Raises:
            OutboxError: the outbox can never work as it is configured.
        """
        try:
            await self._outbox.open()
            async with asyncio.TaskGroup() as group:
                self._tasks = [group.create_task(lane.run()) for lane in self._lanes]
                tending = group.create_task(self._tend())
                if self._out_of_time:
                    self._cancel()
                # A lane ends when it is drained; without lanes there is nothing to wait for.
                if self._tasks:
                    await asyncio.wait(self._tasks)
                else:
                    await self._draining.wait()
                tending.cancel()
        finally:
            self._stopped.set()
            await self._close()

    async def drain(self, deadline_s: float) -> int:
        """Stop delivering once nothing waits, or when time is up.

        Returns:
            How many best shots are left undelivered.
        """
        self._draining.set()
        for lane in self._lanes:
            lane.drain()
        try:
            async with asyncio.timeout(deadline_s):
                await self._stopped.wait()
        except TimeoutError:
            self._out_of_time = True
            self._cancel()
        left = self.pending()
        if left:
            log.warning(
                "delivery stops before everything was delivered", left=left,
                kept=self._outbox.durable,
            )  # fmt: skip
        return left

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_TEND_S)
            if await self._outbox.tend():
                for lane in self._lanes:
                    lane.wake()

    async def _close(self) -> None:
        for sink in self._sinks:
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await sink.close()
            except TimeoutError:
                log.warning("sink did not close in time", sink=sink.name)
        await self._outbox.close()
