"""The deliveries of one sink: what is tried, when it is tried again, and when it is given up.

A sink that fails is probed by one delivery at a time, after pauses that grow; a best shot that a
sink refuses for good waits by itself while others pass. One worker's trouble is no other's.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from streamgate.config import RetrySection
from streamgate.delivery.outbox import Claim, Outbox
from streamgate.errors import DeliveryError
from streamgate.ports import Clock, Sink
from streamgate.telemetry.exposition import exemplar_of
from streamgate.telemetry.metrics import Metrics

__all__ = ["Pace", "SinkWorker", "pause_s"]

log = structlog.get_logger(__name__)

_LONGEST_REST_S = 1.0
_LONGEST_RETRY_AFTER_S = 3600.0


def pause_s(faults: int, retry: RetrySection, chance: float) -> float:
    """How long to wait after so many faults in a row; `chance` is a random number in 0-1."""
    # Past 2^32 the pause is at its longest whatever the settings.
    longest = min(retry.max_s, retry.initial_s * 2.0 ** min(faults - 1, 32))
    return longest * (1 - retry.jitter * chance)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a sink is served.

    Attributes:
        at_once: most deliveries that are under way at the same time.
    """

    at_once: int
    retry: RetrySection


class SinkWorker:
    """Delivers what waits for one sink, some at a time.

    Args:
        on_outcome: told the key, the sink and the state after each attempt: delivered, failing
            (it is tried again) or refused (for good).
    """

    def __init__(  # noqa: PLR0913 # what it is told, and whom it tells
        self,
        sink: Sink,
        outbox: Outbox,
        pace: Pace,
        *,
        metrics: Metrics,
        clock: Clock,
        on_outcome: Callable[[str, str, str], None] = lambda _key, _sink, _state: None,
    ) -> None:
        self.sink = sink
        self.adopt(pace)
        self._outbox = outbox
        self._on_outcome = on_outcome
        self._stopping = False
        self._metrics = metrics
        self._clock = clock
        self._wake = asyncio.Event()
        self._draining = False
        self._under_way = 0
        self._faults = 0
        self._paused_until = 0.0
        self._faulted_at = 0.0
        self._random = random.Random()  # noqa: S311 - spreads retries, guards nothing

    def wake(self) -> None:
        """Look again: something may have come in."""
        self._wake.set()

    def adopt(self, pace: Pace) -> None:
        """Go on at another pace."""
        self._at_once = pace.at_once
        self._retry = pace.retry

    def stop(self) -> None:
        """End once nothing is under way, whatever waits."""
        self._stopping = True
        self._wake.set()

    def drain(self) -> None:
        """End once nothing waits."""
        self._draining = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until it is drained or cancelled."""
        async with asyncio.TaskGroup() as group:
            while not self._is_drained():
                self._wake.clear()
                claim = await self._next()
                if claim is None:
                    await self._rest()
                else:
                    self._under_way += 1
                    group.create_task(self._deliver(claim))

    def _is_drained(self) -> bool:
        if not (self._draining or self._stopping) or self._under_way:
            return False
        if self._stopping:
            return True
        # What a durable outbox holds can wait for the next start; a dead sink must not delay stop.
        hopeless = self._faults > 0 and self._outbox.durable
        return hopeless or self._outbox.waiting(self.sink.name) == 0

    async def _next(self) -> Claim | None:
        most = 1 if self._faults else self._at_once
        if self._stopping:
            return None
        if self._under_way >= most or self._clock.monotonic() < self._paused_until:
            return None
        return await self._outbox.claim(self.sink.name)

    async def _rest(self) -> None:
        rest_s = _LONGEST_REST_S
        paused_s = self._paused_until - self._clock.monotonic()
        due = self._outbox.next_due(self.sink.name)
        if paused_s > 0:
            rest_s = min(rest_s, paused_s)
        elif due is not None and self._under_way == 0:
            rest_s = min(rest_s, max(0.001, due - self._clock.wall()))
        try:
            async with asyncio.timeout(rest_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _deliver(self, claim: Claim) -> None:
        started = self._clock.monotonic()
        try:
            await self._sink_takes(claim)
        except DeliveryError as error:
            await self._failed(claim, error, started)
        else:
            self._count(claim, "acknowledged")
            await self._acknowledged(claim)
        finally:
            self._metrics.delivery_seconds.labels(self.sink.name).observe(
                self._clock.monotonic() - started
            )
            self._under_way -= 1
            self._wake.set()

    async def _sink_takes(self, claim: Claim) -> None:
        try:
            await self.sink.deliver(claim.shot)
        except DeliveryError:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # A client library that loses its connection cancels what waits for it: nobody asked
            # this delivery to end, and it would stay claimed for ever.
            raise DeliveryError("the client broke off") from None
        except Exception as error:
            # A client library may raise anything; its text may hold secrets, so only the type and
            # the place are told.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}:{frame.lineno}"
            raise DeliveryError(f"{type(error).__name__} at {place}") from None

    async def _acknowledged(self, claim: Claim) -> None:
        if self._faults:
            log.info("sink takes best shots again", sink=self.sink.name, faults=self._faults)
        self._faults = 0
        self._paused_until = 0.0
        now, shot, name = self._clock.wall(), claim.shot, self.sink.name
        track = exemplar_of(shot.camera, shot.boot_id, shot.track_id)
        metrics = self._metrics
        metrics.sink_up.labels(name).set(1)
        metrics.decision_to_ack.labels(name).observe(max(0.0, now - shot.decided_wall), track)
        metrics.capture_to_ack.labels(name).observe(max(0.0, now - shot.captured_wall), track)
        await self._outbox.acknowledge(claim)
        self._on_outcome(shot.key, name, "delivered")

    async def _failed(self, claim: Claim, error: DeliveryError, started: float) -> None:
        if error.permanent:
            self._count(claim, "refused")
            await self._refused(claim, error)
            return
        self._count(claim, "failed")
        self._metrics.sink_up.labels(claim.sink).set(0)
        # Those that were under way together fail together: that is one fault.
        if started >= self._faulted_at:
            self._faults += 1
        self._faulted_at = self._clock.monotonic()
        wait_s = pause_s(self._faults, self._retry, self._random.random())
        if error.retry_after_s is not None:
            wait_s = min(max(0.0, error.retry_after_s), _LONGEST_RETRY_AFTER_S)
        self._paused_until = max(self._paused_until, self._clock.monotonic() + wait_s)
        log.warning(
            "best shot not delivered", sink=self.sink.name, key=claim.shot.key, error=str(error),
            faults=self._faults, retry_in_s=round(wait_s, 2),
            waiting=self._outbox.waiting(self.sink.name),
        )  # fmt: skip
        await self._outbox.release(claim)
        self._on_outcome(claim.shot.key, claim.sink, "failing")

    async def _refused(self, claim: Claim, error: DeliveryError) -> None:
        # An answer is an answer: the sink is there.
        self._faults = 0
        self._metrics.sink_up.labels(claim.sink).set(1)
        refusals = claim.refusals + 1
        last = refusals >= self._retry.max_refusals
        log.warning(
            "best shot refused", sink=self.sink.name, key=claim.shot.key, error=str(error),
            refusals=refusals, given_up=last,
        )  # fmt: skip
        self._on_outcome(claim.shot.key, claim.sink, "refused" if last else "failing")
        if last:
            self._metrics.outbox_dropped.labels(self.sink.name, "refused").inc()
            await self._outbox.dead_letter(claim, error=str(error))
            return
        wait_s = pause_s(refusals, self._retry, self._random.random())
        await self._outbox.refuse(claim, due=self._clock.wall() + wait_s, error=str(error))

    def _count(self, claim: Claim, outcome: str) -> None:
        self._metrics.deliveries.labels(claim.sink, outcome).inc()
