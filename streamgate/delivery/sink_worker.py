"""The deliveries to one sink: attempts, retries, and when to stop trying.

A failure may be the sink's or the best shot's, and no answer tells for sure which: a service that
chokes on one picture answers 500 or hangs up, and so does one that is broken. So after a failure
*another* best shot is tried. If it passes, the first one was at fault: it has pauses, a count and
an error of its own, and is a dead letter when it has failed often enough while others passed. If it
fails too, the sink is in trouble: it is probed by one delivery at a time, after pauses that grow,
and nobody is blamed. One worker's trouble is no other's.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from streamgate.config import RetrySection
from streamgate.delivery.lease.permit import FreePermit, SendPermit
from streamgate.delivery.outbox import Claim, Outbox
from streamgate.errors import DeliveryError, SinkFault
from streamgate.ports import Clock, Sink
from streamgate.telemetry.exposition import exemplar_of
from streamgate.telemetry.metrics import Metrics
from streamgate.values.backoff import pause_s

__all__ = ["DeliveryPace", "SinkWorker"]

log = structlog.get_logger(__name__)

_LONGEST_REST_S = 1.0
_LONGEST_RETRY_AFTER_S = 3600.0
_FREE_FAULTS = {SinkFault.UNCLEAR: 1, SinkFault.REFUSED: 3}
"""So many failures of different best shots in a row are followed by another one without a pause."""
_BLAMED_TOGETHER = 3
"""Where more than so many in a row have failed before one passes, it was the sink, not they."""


@dataclass(frozen=True, slots=True)
class DeliveryPace:
    """How fast a sink is served.

    Attributes:
        at_once: most deliveries that are under way at the same time.
        place: the sink's place in the configuration, such as `delivery.sinks[0]`.
    """

    at_once: int
    retry: RetrySection
    place: str = "delivery.sinks"


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A best shot that has failed since the sink last took one."""

    number: int
    key: str
    fault: SinkFault
    error: str


class _LapsedError(Exception):
    """The lease does not allow this delivery, or did not last until its end."""


class SinkWorker:
    """Delivers what waits for one sink, some at a time.

    Args:
        permit: whether, and as what, best shots may be sent.
        on_outcome: told the key, the sink and the state after each attempt: delivered, failing
            (it is tried again) or refused (for good).
    """

    def __init__(  # noqa: PLR0913 # what it is told, and whom it tells
        self,
        sink: Sink,
        outbox: Outbox,
        pace: DeliveryPace,
        *,
        metrics: Metrics,
        clock: Clock,
        on_outcome: Callable[[str, str, str], None] = lambda _key, _sink, _state: None,
        permit: SendPermit | None = None,
    ) -> None:
        self.sink = sink
        self._permit = permit or FreePermit()
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
        self._row: deque[_Suspect] = deque(maxlen=_BLAMED_TOGETHER)
        self._row_length = 0
        self._one_at_a_time = False
        self._is_down = False
        self._paused_until = 0.0
        self._faulted_at = 0.0
        self._random = random.Random()  # noqa: S311 - spreads retries, guards nothing

    def wake(self) -> None:
        """Check again, because something may have arrived."""
        self._wake.set()

    def adopt(self, pace: DeliveryPace) -> None:
        """Use other settings for pauses and parallel deliveries."""
        self._at_once = pace.at_once
        self._retry = pace.retry
        self._place = pace.place

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
        name = self.sink.name
        if self._outbox.durable and self._permit.limit_s == 0:
            return True
        if self._outbox.durable:
            # What it holds can wait for the next start; a dead sink must not delay the stop, nor a
            # best shot that is tried again later.
            due = self._outbox.next_due(name)
            if self._faults > 0 or due is None or due > self._clock.monotonic():
                return True
        return self._outbox.waiting(name) == 0

    async def _next(self) -> Claim | None:
        most = 1 if self._one_at_a_time else self._at_once
        if self._stopping or self._permit.limit_s == 0:
            return None
        if self._under_way >= most or self._clock.monotonic() < self._paused_until:
            return None
        return await self._outbox.claim(self.sink.name)

    async def _rest(self) -> None:
        rest_s = _LONGEST_REST_S
        now = self._clock.monotonic()
        paused_s = self._paused_until - now
        due = self._outbox.next_due(self.sink.name)
        most = 1 if self._one_at_a_time else self._at_once
        if paused_s > 0:
            rest_s = min(rest_s, paused_s)
        elif due is not None and self._under_way < most and self._permit.limit_s != 0:
            rest_s = min(rest_s, max(0.001, due - now))
        try:
            async with asyncio.timeout(rest_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _deliver(self, claim: Claim) -> None:
        started = self._clock.monotonic()
        try:
            await self._sink_takes(claim)
        except _LapsedError:
            # Nobody is to blame; it is sent under the next tenure.
            await self._outbox.release(claim)
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
        # Asked here, and not only before the claim: reading a best shot takes time, and a process
        # may be stopped at any point. Where that happens later, the limit ends the attempt.
        limit_s = self._permit.limit_s
        if limit_s == 0:
            raise _LapsedError
        message = self._permit.message(claim.shot)
        try:
            async with asyncio.timeout(limit_s) as limit:
                await self.sink.deliver(message)
        except DeliveryError:
            raise
        except TimeoutError:
            if limit.expired():
                raise _LapsedError from None
            raise DeliveryError("no answer in time") from None
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

    # The sink takes one

    async def _acknowledged(self, claim: Claim) -> None:
        if self._is_down:
            log.info("sink takes best shots again", sink=self.sink.name, faults=self._faults)
        self._is_down = False
        self._faults = 0
        self._paused_until = 0.0
        self._one_at_a_time = False
        shot, name = claim.shot, self.sink.name
        # Acceptance follows the decision at once, and no date of a shot is a measure of time.
        waited_s = max(0.0, self._clock.monotonic() - claim.accepted_at)
        captured_s = waited_s + max(0.0, shot.decided_wall - shot.captured_wall)
        track = exemplar_of(shot.camera, shot.boot_id, shot.track_id)
        metrics = self._metrics
        metrics.sink_up.labels(name).set(1)
        metrics.decision_to_ack.labels(name).observe(waited_s, track)
        metrics.capture_to_ack.labels(name).observe(captured_s, track)
        failed = self._row_length
        suspects = [suspect for suspect in self._end_row() if suspect.number != claim.number]
        await self._outbox.acknowledge(claim)
        self._on_outcome(shot.key, name, "delivered")
        if failed:
            await self._judge(suspects if failed <= _BLAMED_TOGETHER else suspects[-1:])

    def _end_row(self) -> list[_Suspect]:
        suspects = list(self._row)
        self._row.clear()
        self._row_length = 0
        return suspects

    async def _judge(self, suspects: list[_Suspect]) -> None:
        """Blame those that failed right before another passed; the rest failed with the sink."""
        for suspect in suspects:
            await self._blame(suspect)
        await self._outbox.clear_failures(self.sink.name)

    async def _blame(self, suspect: _Suspect) -> None:
        name = self.sink.name
        now, chance = self._clock.monotonic(), self._random.random()
        refusals = self._outbox.refusals(suspect.number, name) + 1
        due = now + pause_s(refusals, self._retry, chance)
        counted = await self._outbox.count_failure(suspect.number, name, due=due)
        if counted < self._most_tries(suspect.fault):
            return
        if await self._outbox.dead_letter(suspect.number, name):
            log.warning(
                "best shot given up by its sink, which takes others", sink=name, key=suspect.key,
                error=suspect.error, refusals=counted,
            )  # fmt: skip
            self._metrics.outbox_dropped.labels(name, "refused").inc()
            self._on_outcome(suspect.key, name, "refused")

    def _most_tries(self, fault: SinkFault) -> int:
        refused = fault is SinkFault.REFUSED
        return self._retry.max_refusals if refused else self._retry.max_faults

    # The sink does not take one

    async def _failed(self, claim: Claim, error: DeliveryError, started: float) -> None:
        fault, now = error.fault, self._clock.monotonic()
        said = str(error)
        if error.setting is not None:
            said += f"; check {self._place}.{error.setting}"
        self._count(claim, "refused" if fault is SinkFault.REFUSED else "failed")
        if fault is SinkFault.FENCED:
            log.warning(
                "a later tenure delivers", sink=self.sink.name, key=claim.shot.key, error=said
            )
            self._permit.fenced()
            await self._outbox.release(claim)
            self._on_outcome(claim.shot.key, claim.sink, "failing")
            return
        wait_s = 0.0
        # One that others have passed says nothing of the sink.
        if not claim.refusals or fault is SinkFault.AWAY:
            # Those that were under way together fail together: that is one fault.
            if started >= self._faulted_at:
                self._faults += 1
            self._faulted_at = now
            wait_s = self._pause_after(fault)
            self._show_trouble(claim, fault)
        tries = max(claim.failures, claim.refusals) + 1
        own_s = max(wait_s, pause_s(tries, self._retry, self._random.random()))
        if error.retry_after_s is not None:
            own_s = min(max(0.0, error.retry_after_s), _LONGEST_RETRY_AFTER_S)
            # It may have been said of this one best shot, until another is told the same.
            wait_s = own_s if wait_s else 0.0
        self._paused_until = max(self._paused_until, now + wait_s)
        log.warning(
            "best shot not delivered", sink=self.sink.name, key=claim.shot.key, error=said,
            faults=self._faults, retry_in_s=round(wait_s if fault is SinkFault.AWAY else own_s, 2),
            waiting=self._outbox.waiting(self.sink.name),
        )  # fmt: skip
        if fault is SinkFault.AWAY:
            self._end_row()
            await self._outbox.release(claim)
            await self._outbox.clear_failures(self.sink.name)
        else:
            suspect = _Suspect(claim.number, claim.shot.key, fault, said)
            await self._outbox.set_aside(claim, due=now + own_s, error=suspect.error)
            await self._suspect(suspect)
        self._on_outcome(claim.shot.key, claim.sink, "failing")

    async def _suspect(self, suspect: _Suspect) -> None:
        if self._draining and not self._outbox.durable:
            # No other will come that could clear it, and its time is short.
            await self._blame(suspect)
            return
        others = [one for one in self._row if one.number != suspect.number]
        self._row_length += len(others) == len(self._row)
        self._row.clear()
        self._row.extend([*others, suspect])

    def _pause_after(self, fault: SinkFault) -> float:
        """How long the sink is left alone after so many faults in a row."""
        if fault is SinkFault.CREDENTIALS and self._faults > 1:
            # Nothing but a person will mend that, and services lock out who tries too often.
            return self._retry.max_s
        paused = self._faults - _FREE_FAULTS.get(fault, 0)
        if paused < 1:
            return 0.0
        return pause_s(paused, self._retry, self._random.random())

    def _show_trouble(self, claim: Claim, fault: SinkFault) -> None:
        """Whether the sink is down, as far as that is known."""
        is_trouble = self._faults > _FREE_FAULTS.get(fault, 0)
        is_alone = self._outbox.waiting(claim.sink) == 1
        if is_trouble or (is_alone and fault is not SinkFault.REFUSED):
            self._metrics.sink_up.labels(claim.sink).set(0)
            self._is_down = True
        if is_trouble or fault is not SinkFault.REFUSED:
            self._one_at_a_time = True

    def _count(self, claim: Claim, outcome: str) -> None:
        self._metrics.deliveries.labels(claim.sink, outcome).inc()
