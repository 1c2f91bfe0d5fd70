"""Takes best shots into the outbox at once, and delivers them to every sink."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from streamgate.config import DeliverySection
from streamgate.delivery.lease.permit import FreePermit, SendPermit
from streamgate.delivery.outbox import Outbox
from streamgate.delivery.payload import encode_shot
from streamgate.delivery.sink_worker import DeliveryPace, SinkWorker
from streamgate.delivery.threads import Threads
from streamgate.errors import StreamgateError
from streamgate.ports import Clock, Sink, TendedSink
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Acceptance, BestShot, EncodedShot, Image
from streamgate.values.reasons import DropReason

__all__ = ["Dispatcher"]

log = structlog.get_logger(__name__)

_MAINTAIN_S = 1.0
_CLOSE_S = 1.0


class Dispatcher:
    """Accepts best shots and delivers each to every sink.

    Args:
        outbox: made for the names of exactly these sinks.
        sinks: closed by `run`, as the outbox is.
        on_outcome: told the key, the sink and the state after each attempt, see `SinkWorker`.
        hide_bystanders: makes the context picture in which nobody else can be recognised.
        permit: whether, and as what, best shots may be sent; where it is None, always.
    """

    def __init__(  # noqa: PLR0913 # its parts, and whom it tells
        self,
        section: DeliverySection,
        *,
        outbox: Outbox,
        sinks: Sequence[Sink],
        metrics: Metrics,
        clock: Clock,
        on_outcome: Callable[[str, str, str], None] = lambda _key, _sink, _state: None,
        hide_bystanders: Callable[[BestShot], Image | None] | None = None,
        permit: SendPermit | None = None,
    ) -> None:
        self._section = section
        self._hide_bystanders = hide_bystanders
        self._outbox = outbox
        self._metrics = metrics
        self._clock = clock
        self._on_outcome = on_outcome
        self._permit = permit or FreePermit()
        self._workers: dict[str, SinkWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._draining = asyncio.Event()
        self._stopped = asyncio.Event()
        self._out_of_time = False
        # The loop's own threads look names up as well, and a dead name server would hold all of
        # them: no sink may keep a best shot from the outbox.
        self._encoder = Threads("encode")
        for sink in sinks:
            self._add(sink)

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
        if not self._permit.takes_new:
            return self._leave_to_another(shot)
        section = self._section
        encode = partial(
            encode_shot,
            shot,
            crop_format=section.crop_format,
            jpeg_quality=section.jpeg_quality,
            template=section.template,
            context_from=self._context_of,
        )
        encoded = await self._encoder.begin(encode)
        return await self.accept_encoded(encoded)

    def _context_of(self, shot: BestShot) -> Image | None:
        """The wider picture, if it may be sent; called by the encoder's thread."""
        context = shot.face.candidate.context
        if context is None or self._hide_bystanders is None or self._section.bystanders == "show":
            return context
        try:
            return self._hide_bystanders(shot)
        except StreamgateError as error:
            log.error("context left out: bystanders cannot be found", error=str(error))
            return None

    def _leave_to_another(self, shot: BestShot) -> Acceptance:
        for sink in self._outbox.sinks:
            self._metrics.outbox_dropped.labels(sink, DropReason.NO_LEASE.value).inc()
        log.warning("best shot left to the holder of the lease", key=shot.key)
        return Acceptance.DROPPED

    def wake(self) -> None:
        """Let every worker look again whether it may deliver."""
        for worker in self._workers.values():
            worker.wake()

    async def accept_encoded(self, shot: EncodedShot) -> Acceptance:
        """Take a best shot that is encoded already, see `accept`."""
        await self._outbox.open()
        acceptance = await self._outbox.add(shot)
        for worker in self._workers.values():
            worker.wake()
        return acceptance

    async def run(self) -> None:
        """Deliver until `drain` was asked for; then close sinks and outbox.

        Raises:
            OutboxError: the outbox can never work as it is configured.
        """
        try:
            await self._outbox.open()
            async with asyncio.TaskGroup() as group:
                self._group = group
                for worker in self._workers.values():
                    self._start(worker)
                maintaining = group.create_task(self._maintain())
                if self._out_of_time:
                    self._cancel()
                await self._draining.wait()
                # From here on nothing is added; a worker ends when it is drained.
                if self._tasks:
                    await asyncio.wait(self._tasks.values())
                maintaining.cancel()
        finally:
            self._group = None
            self._stopped.set()
            await self._close()

    async def drain(self, deadline_s: float) -> int:
        """Stop delivering once nothing waits, or when time is up.

        Returns:
            How many best shots are left undelivered.
        """
        self._draining.set()
        for worker in self._workers.values():
            worker.drain()
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

    @property
    def drain_s(self) -> float:
        """At stop, time allowed for what still waits, seconds."""
        return self._section.drain_s

    async def adopt(self, section: DeliverySection, fresh: Sequence[Sink]) -> None:
        """Go on with other settings; takes at most `drain_s` where a sink is slow to end.

        A sink that the section no longer names is given what waits for it for so long; then the
        outbox gives it up or keeps it, see `Outbox.detach`. A sink that replaces one of the same
        name takes over what waits.

        Args:
            section: the settings; the outbox stays as it is.
            fresh: sinks that are new, or that replace one of the same name. They belong to the
                dispatcher from here on.
        """
        self._section = section
        names = [sink.name for sink in section.sinks]
        self._outbox.serve(names)
        replaced = {sink.name for sink in fresh}
        async with asyncio.TaskGroup() as group:
            for name, worker in self._workers.items():
                if name not in names or name in replaced:
                    group.create_task(self._retire(worker, removed=name not in names))
                else:
                    worker.adopt(self._pace(name))
        for sink in fresh:
            if self._draining.is_set():
                await _close(sink)
            else:
                self._start(self._add(sink))

    def _add(self, sink: Sink) -> SinkWorker:
        worker = SinkWorker(
            sink, self._outbox, self._pace(sink.name),
            metrics=self._metrics, clock=self._clock, on_outcome=self._on_outcome,
            permit=self._permit,
        )  # fmt: skip
        self._workers[sink.name] = worker
        self._metrics.expect_sink(sink.name)
        self._metrics.watch(
            self._metrics.outbox_shots.labels(sink.name), partial(self._outbox.waiting, sink.name)
        )
        return worker

    def _start(self, worker: SinkWorker) -> None:
        if self._group is not None:
            self._tasks[worker.sink.name] = self._group.create_task(_tended(worker))

    def _pace(self, name: str) -> DeliveryPace:
        for index, sink in enumerate(self._section.sinks):
            if sink.name == name:
                return DeliveryPace(sink.at_once, self._section.retry, f"delivery.sinks[{index}]")
        return DeliveryPace(1, self._section.retry)

    async def _retire(self, worker: SinkWorker, *, removed: bool) -> None:
        """End a worker; a stop cuts its time short."""
        name = worker.sink.name
        if removed:
            worker.drain()
        else:
            worker.stop()
        task = self._tasks.get(name)
        if task is not None:
            # When delivery stops for good, its deadline counts, and it cancels what is left.
            await asyncio.wait({task}, timeout=self._section.drain_s)
            task.cancel()
            await asyncio.wait({task})
            del self._tasks[name]
        if self._stopped.is_set():
            return
        self._outbox.detach(name, removed=removed)
        del self._workers[name]
        await _close(worker.sink)
        if removed:
            self._metrics.forget_sink(name)

    def _cancel(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(_MAINTAIN_S)
            if await self._outbox.maintain():
                for worker in self._workers.values():
                    worker.wake()

    async def _close(self) -> None:
        closing = [_close(worker.sink) for worker in self._workers.values()]
        failed, *_ = await asyncio.gather(self._outbox.close(), *closing, return_exceptions=True)
        self._encoder.close()
        if isinstance(failed, BaseException):
            raise failed


async def _tended(worker: SinkWorker) -> None:
    """Run a worker, and beside it what else its sink has to do."""
    sink = worker.sink
    if not isinstance(sink, TendedSink):
        await worker.run()
        return
    tending = asyncio.ensure_future(_tend(sink, sink.name))
    try:
        await worker.run()
    finally:
        tending.cancel()
        await asyncio.wait({tending})


async def _tend(sink: TendedSink, name: str) -> None:
    trouble = ""
    while True:
        try:
            await sink.tend()
            trouble = ""
        except Exception as error:  # a client library may raise anything; deliveries go on
            said = str(error) if isinstance(error, StreamgateError) else type(error).__name__
            if said != trouble:
                log.warning("sink cannot be tended", sink=name, error=said)
            trouble = said
        await asyncio.sleep(_MAINTAIN_S)


async def _close(sink: Sink) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await sink.close()
    except TimeoutError:
        log.warning("sink did not close in time", sink=sink.name)
    except Exception as error:  # a client library may raise anything, and its text hold secrets
        log.warning("sink did not close", sink=sink.name, error=type(error).__name__)
